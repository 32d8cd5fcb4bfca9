#!/usr/bin/env python3
"""Checks docs/vectors/*.json with a decoder that shares nothing with the one in Rust.

    python3 docs/check_vectors.py docs/vectors

Each file is {"structure": NAME, "cases": [{"name", "hex", "valid", "reason"?, "fields"?}]}. A valid case must be the one
canonical encoding (PROTOCOL.md 2) of the structure's shape; an invalid one must be refused. Cases that only a key can
refuse (a wrong signature, tag or hash) are structurally sound: their reason says so, and here they must decode.
Standard library only. Exits 1 when a case is judged otherwise than the file says.
"""

import json
import sys
from pathlib import Path

DEPTH_MAX = 16


class Refused(Exception):
    """The bytes are not the canonical encoding of one value of the expected shape."""


def decode(data):
    """Exactly one strict CBOR value: unsigned, bytes, text, array, bool or null; shortest form, definite lengths."""
    value, end = item(data, 0, 0)
    if end != len(data):
        raise Refused("trailing bytes")
    return value


def item(data, at, depth):
    if depth > DEPTH_MAX:
        raise Refused("nested too deeply")
    if at >= len(data):
        raise Refused("truncated")
    major, low = data[at] >> 5, data[at] & 31
    if major == 7:
        if low not in (20, 21, 22):
            raise Refused("float, undefined or unknown simple value")
        return {20: False, 21: True, 22: None}[low], at + 1
    number, at = argument(data, at + 1, low)
    if major == 0:
        return number, at
    if major in (2, 3):
        if number > len(data) - at:
            raise Refused("truncated string")
        raw = bytes(data[at : at + number])
        if major == 2:
            return raw, at + number
        try:
            return raw.decode("utf-8"), at + number
        except UnicodeDecodeError as e:
            raise Refused("not UTF-8") from e
    if major == 4:
        if number > len(data) - at:  # each item needs a byte
            raise Refused("truncated array")
        items = []
        for _ in range(number):
            value, at = item(data, at, depth + 1)
            items.append(value)
        return items, at
    raise Refused({1: "negative integer", 5: "map", 6: "tag"}[major])


def argument(data, at, low):
    if low < 24:
        return low, at
    if low > 27:
        raise Refused("indefinite or reserved length")
    size = 1 << (low - 24)
    if at + size > len(data):
        raise Refused("truncated length")
    number = int.from_bytes(data[at : at + size], "big")
    least = {1: 24, 2: 1 << 8, 4: 1 << 16, 8: 1 << 32}[size]
    if number < least:
        raise Refused("not the shortest form")
    return number, at + size


# Shapes. Each is a function that raises Refused.


def uint(maximum=2**64 - 1, minimum=0):
    def check(v):
        if type(v) is not int or not minimum <= v <= maximum:
            raise Refused(f"not an integer of {minimum}..{maximum}: {v!r:.40}")

    return check


def only(*allowed):
    def check(v):
        if not any(type(v) is type(a) and v == a for a in allowed):
            raise Refused(f"not one of {allowed}: {v!r:.40}")

    return check


def blob(minimum, maximum=None):
    top = minimum if maximum is None else maximum

    def check(v):
        if type(v) is not bytes or not minimum <= len(v) <= top:
            raise Refused(f"not {minimum}..{top} bytes")

    return check


def text(minimum, maximum):
    def check(v):
        if type(v) is not str or not minimum <= len(v.encode()) <= maximum:
            raise Refused(f"not a text of {minimum}..{maximum} bytes")

    return check


def boolean(v):
    if type(v) is not bool:
        raise Refused("not a boolean")


def optional(shape):
    return lambda v: None if v is None else shape(v)


def either(*shapes):
    def check(v):
        why = []
        for shape in shapes:
            try:
                return shape(v)
            except Refused as e:
                why.append(str(e))
        raise Refused(" and ".join(why))

    return check


def row(*shapes):
    def check(v):
        if type(v) is not list or len(v) != len(shapes):
            raise Refused(f"not an array of {len(shapes)}")
        for shape, part in zip(shapes, v):
            shape(part)

    return check


def many(shape, maximum, minimum=0):
    def check(v):
        if type(v) is not list or not minimum <= len(v) <= maximum:
            raise Refused(f"not an array of {minimum}..{maximum}")
        for part in v:
            shape(part)

    return check


def rule(shape, holds, why):
    """A shape, and something that must hold between its parts."""

    def check(v):
        shape(v)
        if not holds(v):
            raise Refused(why)

    return check


def rising(values):
    return all(a < b for a, b in zip(values, values[1:]))


def unsafe(c):
    """Control, direction and invisible characters (PROTOCOL.md 6)."""
    n = ord(c)
    ranges = [(0, 0x1F), (0x7F, 0x9F), (0x2028, 0x202E), (0x2060, 0x206F), (0xFFF9, 0xFFFB), (0xE0000, 0xE007F)]
    single = {0xAD, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F, 0xFEFF}
    return n in single or any(a <= n <= b for a, b in ranges)


VERSION = only(1)
ROOM = EPOCH = ENTRY_ID = blob(16)
KEY = HASH = DIGEST = blob(32)
SIGNATURE = blob(64)
TEXT = text(1, 64_000)
NAME = rule(text(1, 64), lambda v: v.strip() == v and not any(map(unsafe, v)), "not a display name")
CONTROL = {chr(n) for n in [*range(0x20), *range(0x7F, 0xA0)]}
EMOJI = rule(text(1, 32), lambda v: not CONTROL & set(v), "control characters in an emoji")
BODY_MAX, ENVELOPE_MAX, REQUEST_MAX, RESPONSE_MAX = 72_000, 73_728, 128 << 10, (512 + 256) << 10

FRONTIER = rule(many(row(blob(8), uint(), blob(8)), 2_000), lambda v: rising([c[0] for c in v]), "frontier not sorted")
HEADER = rule(
    row(
        VERSION, ROOM, KEY, uint(), optional(HASH), many(ENTRY_ID, 16), uint(), uint(), uint(6), optional(ENTRY_ID),
        EPOCH, uint(), optional(uint(2**32 - 1)), optional(DIGEST), uint(BODY_MAX),
    ),
    lambda h: (h[3] == 0) == (h[4] is None) and rising(h[5]),
    "position and prev disagree, or parents are not sorted",
)  # fmt: skip
CERT = row(VERSION, KEY, KEY, uint(), optional(uint()), uint(), SIGNATURE)
HEAD = row(blob(0, ENVELOPE_MAX), optional(SIGNATURE))
ENTRY = row(blob(0, ENVELOPE_MAX), optional(SIGNATURE), optional(blob(0, ENVELOPE_MAX)))


def certificate(v):
    if type(v) is not bytes or len(v) > 180:
        raise Refused("not a certificate")
    CERT(decode(v))


# Structure name in the vector files -> (bytes at most, shape). PROTOCOL.md has the same table in words.
STRUCTURES = {
    "cert": (180, CERT),
    "header": (1_024, HEADER),
    "entry": (73_000, ENTRY),
    "content.profile": (BODY_MAX, row(NAME, certificate)),
    "content.text": (BODY_MAX, row(TEXT, optional(ENTRY_ID))),
    "content.edit": (BODY_MAX, row(ENTRY_ID, TEXT)),
    "content.delete": (BODY_MAX, row(ENTRY_ID)),
    "content.reaction": (BODY_MAX, row(ENTRY_ID, EMOJI, boolean)),
    "content.notice": (BODY_MAX, row(TEXT)),
    "content.leave": (1, row()),
    "envelope": (
        ENVELOPE_MAX,
        row(VERSION, KEY, uint(2**32 - 1), blob(24), blob(0, ENVELOPE_MAX), many(optional(blob(0, ENVELOPE_MAX)), 64), SIGNATURE),
    ),
    "envelope.head": (ENVELOPE_MAX, row(uint(3, 1), blob(0, ENVELOPE_MAX))),
    "run": (ENVELOPE_MAX, many(HEAD, 64, 1)),
    "ack": (REQUEST_MAX, row(VERSION, ROOM, KEY, FRONTIER, SIGNATURE)),
    "presence": (320, row(VERSION, ROOM, KEY, blob(0, 64), DIGEST, uint(), SIGNATURE)),
    "request": (REQUEST_MAX, row(VERSION, uint(3, 1), EPOCH, DIGEST, blob(0, REQUEST_MAX))),
    "request.sync": (REQUEST_MAX, row(FRONTIER, only(None), uint(2**32 - 1))),
    "response": (RESPONSE_MAX, row(VERSION, uint(1), DIGEST, many(ENTRY, 1_064), FRONTIER, boolean)),
    "frontier": (REQUEST_MAX, FRONTIER),
}


def judge(structure, data):
    if structure not in STRUCTURES:
        raise KeyError(f"no shape is known for structure {structure!r}: add it to STRUCTURES")
    maximum, shape = STRUCTURES[structure]
    if len(data) > maximum:
        raise Refused(f"longer than {maximum} bytes")
    shape(decode(data))


def self_test():
    """A decoder that accepts everything would pass too many files: show first that this one can refuse."""
    good = {"820182024100": [1, [2, b"\0"]], "831864f6f5": [100, None, True], "6161": "a", "80": [], "1903e8": 1000}
    for hexes, expected in good.items():
        try:
            if decode(bytes.fromhex(hexes)) != expected:
                sys.exit(f"self test: {hexes} was misread")
        except Refused as e:
            sys.exit(f"self test: {hexes} was refused: {e}")
    bad = "1801 190001 9f01ff 5f4161ff a0 c100 20 f97e00 f7 810100 62c328 5bffffffffffffffff 9affffffff 81 1c"
    for hexes in [*bad.split(), "81" * 40 + "00"]:
        try:
            decode(bytes.fromhex(hexes))
        except Refused:
            continue
        sys.exit(f"self test: {hexes} was accepted")


def main():
    self_test()
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "vectors")
    files = sorted(folder.glob("*.json"))
    if not files:
        sys.exit(f"{folder} holds no vectors")
    cases = wrong = 0
    for path in files:
        document = json.loads(path.read_text())
        for case in document["cases"]:
            cases += 1
            sound = case["valid"] or case.get("structurally_valid", False)
            try:
                judge(document["structure"], bytes.fromhex(case["hex"]))
                verdict, why = True, "it decodes"
            except Refused as e:
                verdict, why = False, str(e)
            if verdict != sound:
                wrong += 1
                print(f"{path.name}: {case['name']}: should be {'accepted' if sound else 'refused'}, but: {why}")
    print(f"{len(files)} files, {cases} vectors, {wrong} judged otherwise")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
