#!/usr/bin/env python3
"""Checks docs/vectors/*.json with a second implementation that shares nothing with the one in Rust.

    python3 docs/check_vectors.py docs/vectors

Each file is {"structure", "section", "about", "given"?, "cases": [{"name", "hex" or "pieces", "valid", "reason"?, "input"?,
"fields"?}]}; "pieces" are [[hex, times], ...]. A valid case must be the one canonical encoding (PROTOCOL.md 2.1), its hashes,
signatures and tags must be right, and it must mean what "fields" says. An invalid one must be refused, for a reason of the
same group. Standard library only; the primitives it lacks are in primitives.py. Only Argon2id is not done again.
Exits 1 when a case is judged otherwise than the file says.
"""

import base64
import json
import re
import sys
import unicodedata
from pathlib import Path

sys.dont_write_bytecode = True
import primitives  # noqa: E402

DEPTH_MAX = 16


class Refused(Exception):
    """The bytes are not acceptable: their form, or what only a key can tell."""

    def __init__(self, why, group="form"):
        super().__init__(why)
        self.group = group


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
U8, U32 = uint(2**8 - 1), uint(2**32 - 1)
TEXT = text(1, 64_000)
NAME = rule(text(1, 64), lambda v: v.strip() == v and not any(map(unsafe, v)), "not a display name")
TAGS = {chr(n) for n in range(0xE0020, 0xE0080)}  # flags of regions are made of them
EMOJI = rule(text(1, 32), lambda v: not any(map(unsafe, set(v) - TAGS)), "not an emoji")
HEADER_MAX, BODY_MAX, ENTRY_MAX, RUN_MAX = 1_024, 72_000, 73_000, 65_536
ENVELOPE_MAX, REQUEST_MAX, RESPONSE_MAX = 73_728, 128 << 10, (512 + 256) << 10

FRONTIER = rule(many(row(blob(16), uint(), blob(8)), 2_000), lambda v: rising([c[0] for c in v]), "frontier not sorted")
# Control kinds are refused; other kinds that are not in use are carried unread (PROTOCOL.md 6).
CONTROL = range(16, 32)
KIND = rule(U8, lambda v: v not in CONTROL, "a control kind")
HEADER = rule(
    row(
        VERSION, ROOM, KEY, uint(), optional(HASH), many(ENTRY_ID, 16), uint(), uint(), KIND, optional(ENTRY_ID),
        EPOCH, uint(), optional(U32), DIGEST, uint(BODY_MAX, 272),
    ),
    lambda h: (h[3] == 0) == (h[4] is None) and rising(h[5]),
    "position and prev disagree, or parents are not sorted",
)  # fmt: skip
CERT = row(VERSION, KEY, KEY, uint(), optional(uint()), uint(), SIGNATURE)
HEAD = row(blob(0, ENVELOPE_MAX), optional(SIGNATURE))
ENTRY = row(blob(0, ENVELOPE_MAX), optional(SIGNATURE), optional(blob(0, ENVELOPE_MAX)))


def certificate(v):
    if type(v) is not bytes:
        raise Refused("not a certificate")
    read(v, 180, CERT)


# Header kind -> shape of the body's plaintext (PROTOCOL.md 6).
PROFILE, LEAVE = 0, 6
CONTENTS = {
    PROFILE: row(NAME, certificate),
    1: row(TEXT, optional(ENTRY_ID)),
    2: row(ENTRY_ID, TEXT),
    3: row(ENTRY_ID),
    4: row(ENTRY_ID, EMOJI, boolean),
    5: row(TEXT),
    LEAVE: row(),
}
ENVELOPE = row(VERSION, KEY, U32, blob(24), blob(0, ENVELOPE_MAX), many(optional(blob(0, ENVELOPE_MAX)), 64), SIGNATURE)
ACK = row(VERSION, ROOM, KEY, FRONTIER, SIGNATURE)
PRESENCE = row(VERSION, ROOM, KEY, blob(0, 64), DIGEST, uint(), SIGNATURE)
REQUEST = row(VERSION, uint(4, 1), EPOCH, DIGEST, blob(0, REQUEST_MAX))
HELLO = row(blob(0, REQUEST_MAX), blob(24), blob(0, REQUEST_MAX))
SYNC = row(FRONTIER, only(None), U32)
WANTED = rule(many(ENTRY_ID, 256, 1), lambda v: len(set(v)) == len(v), "an id twice")
BODIES = row(VERSION, U8, DIGEST, many(row(ENTRY_ID, optional(row(blob(0, ENVELOPE_MAX), blob(0, ENVELOPE_MAX)))), 256))
RESPONSE = row(VERSION, U8, DIGEST, many(ENTRY, 1_064), FRONTIER, boolean)


def read(data, maximum, shape):
    if len(data) > maximum:
        raise Refused(f"longer than {maximum} bytes")
    value = decode(data)
    shape(value)
    return value


# ---- Hashes, keys, signatures (PROTOCOL.md 2.2, 2.3, 4) ----


def H(purpose, *parts):
    material = b"".join(len(p).to_bytes(8, "little") + p for p in parts)
    return primitives.blake3_derive_key(f"klatch v1 {purpose}", material)


def signed(purpose, key, digest, signature):
    if not primitives.ed25519_verify(key, f"klatch v1 {purpose}".encode() + b"\0" + digest, signature):
        raise Refused(f"signature on {purpose}", "signature")


def signed_array(purpose, key, data):
    """An array whose last item signs the array of the others. What is signed is a prefix but for the array's header."""
    fields = decode(data)
    signed(purpose, key, H(purpose, bytes([data[0] - 1]) + data[1:-66]), fields[-1])
    return fields


def padded(length):
    n = max(length + 1, 256)
    e = n.bit_length() - 1
    step = 1 << (e - e.bit_length())
    return -(-n // step) * step


def unpad(data):
    text_ = data.rstrip(b"\0")
    if text_[-1:] != b"\x80" or padded(len(text_) - 1) != len(data):
        raise Refused("padding", "open")
    return text_[:-1]


def opened(key, nonce, associated, sealed):
    plain = primitives.xchacha20_poly1305_open(key, nonce, associated, sealed)
    if plain is None:
        raise Refused("authentication tag", "open")
    return unpad(plain)


def base32(data):
    return base64.b32encode(data).decode().rstrip("=").lower()


class Room:
    """What follows from a room's root."""

    def __init__(self, root):
        self.room = H("room-id", root)[:16]
        bits = int.from_bytes(H("room-words", self.room)[:5], "big")
        self.words = [bits >> shift & 0x7FF for shift in (29, 18, 7)]
        self.secret = H("static-epoch", root)
        self.epoch = H("epoch-id", self.secret, self.room)[:16]
        self.topic_key = primitives.ed25519_public(H("topic-key", self.secret))
        self.topic = H("topic", self.topic_key)
        self.envelope_key = H("envelope", self.secret)
        self.sync_key = H("sync-proof", self.secret)

    def proof(self, purpose, sender, receiver):
        return H(f"proof-{purpose}", self.sync_key, self.epoch, sender, receiver)


# ---- Structures. Each returns what the bytes mean, as in the vectors' `fields`. ----


def brief(data):
    return data.hex() if len(data) <= 1_024 else len(data)


def padding(data, given, case):
    return {"plain": brief(unpad(data))}


def hash_(data, given, case):
    purpose = case["input"]["context"].removeprefix("klatch v1 ")
    if data != H(purpose, *map(bytes.fromhex, case["input"]["parts"])):
        raise Refused("another hash", "hash")


def base32_(data, given, case):
    written = case["input"]["text"]
    if not all(c.isascii() and c.isalnum() for c in written):
        raise Refused("a foreign character")
    try:
        value = base64.b32decode(written.upper() + "=" * (-len(written) % 8))
    except ValueError as e:
        raise Refused(str(e)) from e
    if value != data or base32(value) != written.lower():
        raise Refused("spare bits")


def fingerprint(data, given, case):
    text_ = base32(H("fingerprint", data)[:10]).upper()
    return {"fingerprint": "-".join(text_[i : i + 4] for i in range(0, 16, 4))}


# Default-ignorable code points and blanks that are letters or marks.
UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U00016fe4\U000e0100-\U000e01ef]")
ROOTS = {}  # (salt, password) -> root


def room(data, given, case):
    fields = {}
    if case.get("input"):
        bare = case["input"]["name"].removeprefix("#")
        bare = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", bare).lower())
        fine = all((c.isalnum() or c in "-_." or unicodedata.category(c)[0] == "M") and not UNSEEN.match(c) for c in bare)
        fine = fine and not re.fullmatch("[a-z2-7]{25}[aeimquy4]|[a-z2-7]{51}[aq]", bare)
        if not fine or not 1 <= len(bare.encode()) <= 64 or unicodedata.category(bare[0])[0] == "M":
            raise Refused("not a room name")
        # Argon2id itself takes minutes in this language; the root is taken from the file.
        password = unicodedata.normalize("NFC", case["input"]["passphrase"]).encode()
        fields = {"name": "#" + bare, "salt": H("room-salt", bare.encode())[:16].hex(), "password": password.hex()}
        if ROOTS.setdefault((fields["salt"], password), data) != data:
            raise Refused("another root from the same salt and password")
    keys = Room(data)
    a, b = b"\1\2\3", b"\4\5"
    return fields | {
        "room": keys.room.hex(),
        "words": keys.words,
        "epoch_secret": keys.secret.hex(),
        "epoch": keys.epoch.hex(),
        "topic_key": keys.topic_key.hex(),
        "topic": keys.topic.hex(),
        "gossipsub_topic": base32(keys.topic),
        "envelope_key": keys.envelope_key.hex(),
        "sync_key": keys.sync_key.hex(),
        "proof_request_010203_to_0405": keys.proof("request", a, b).hex(),
        "proof_response_0405_to_010203": keys.proof("response", b, a).hex(),
    }


def device_cert(data, given=None, case=None):
    read(data, 180, CERT)
    _, identity, device, not_before, not_after, n, _ = signed_array("device-cert", decode(data)[1], data)
    return {"identity": identity.hex(), "device": device.hex(), "not_before": not_before, "not_after": not_after, "n": n}


def cert_fields(data):
    _, identity, device, not_before, not_after, n, _ = decode(data)
    return {"identity": identity.hex(), "device": device.hex(), "not_before": not_before, "not_after": not_after, "n": n}


def core(data):
    """Hash of a header without its last two items: a body hash is 34 bytes, a length 3 or 5."""
    tail = 34 + (3 if decode(data)[14] <= 0xFFFF else 5)
    return H("entry-core", data[:-tail])


def header(data, given=None, case=None):
    h = read(data, HEADER_MAX, HEADER)
    hash_of = H("entry", data)
    return {
        "hash": hash_of.hex(),
        "id": base32(hash_of[:16]),
        "core": core(data).hex(),
        "seq": h[3],
        "parents": [p.hex() for p in h[5]],
        "lamport": h[6],
        "hlc": h[7],
        "kind": h[8],
        "ttl": h[12],
        "body_len": h[14],
    }


def content(data, given, case):
    kind = case["input"]["kind"]
    KIND(kind)
    if kind not in CONTENTS:
        return {"newer": kind}
    value = read(data, 1 if kind == LEAVE else BODY_MAX, CONTENTS[kind])
    hexed = lambda v: None if v is None else v.hex()
    return {
        PROFILE: lambda: {"name": value[0], "cert": cert_fields(value[1])},
        1: lambda: {"text_bytes": len(value[0].encode()), "reply_to": hexed(value[1])},
        2: lambda: {"target": hexed(value[0]), "text": value[1]},
        3: lambda: {"target": hexed(value[0])},
        4: lambda: {"target": hexed(value[0]), "emoji": value[1], "on": value[2]},
        5: lambda: {"text": value[0]},
        LEAVE: dict,
    }[kind]()


def body_of(keys, data, h, body):
    """The plaintext of an entry's body."""
    if h[3] == 0 and h[8] != PROFILE:
        raise Refused("the first entry is a profile", "rule")
    if body is None:
        if h[8] == PROFILE:
            raise Refused("a profile without its body", "body")
        return None
    if len(body) != h[14] or H("body", body) != h[13]:
        raise Refused("not the body that the header names", "body")
    message_key = H("msg", keys.secret, core(data))
    plain = opened(message_key, bytes(24), core(data), body)
    if h[8] not in CONTENTS:
        return plain
    value = read(plain, 1 if h[8] == LEAVE else BODY_MAX, CONTENTS[h[8]])
    if h[8] == PROFILE:
        if decode(value[1])[2] != h[2]:
            raise Refused("the certificate of another device", "signature")
        device_cert(value[1])
    return plain


def verify_run(keys, entries):
    size = sum(len(data) + 64 + len(body or b"") + 16 for data, _, body in entries)
    if not 1 <= len(entries) <= 64 or (len(entries) > 1 and size > RUN_MAX):
        raise Refused("size of a run", "run")
    out, before = [], None
    for i, (data, signature, body) in enumerate(entries):
        last = i == len(entries) - 1
        if len(data) + 64 + len(body or b"") + 16 > ENTRY_MAX:
            raise Refused("entry too long")
        h = read(data, HEADER_MAX, HEADER)
        if (h[1], h[10]) != (keys.room, keys.epoch):
            raise Refused("another room or epoch", "unknown_room")
        follows = before is None or (h[2] == before[0][2] and h[3] == before[0][3] + 1 and h[4] == before[1])
        if not follows or (signature is not None) != last or (h[8] in (PROFILE, LEAVE) and not last):
            raise Refused("entries do not follow one another, or are signed elsewhere than at the end", "run")
        plain = body_of(keys, data, h, body)
        before = (h, H("entry", data))
        out.append({"hash": before[1].hex(), "device": base32(h[2]), "plain": None if plain is None else brief(plain)})
    signed("entry", before[0][2], before[1], entries[-1][1])
    return out


def run(data, given, case):
    return verify_run(given["keys"], read(data, RESPONSE_MAX, many(ENTRY, 2**16)))


def frontier(value):
    return [[device.hex(), seq, hash_of.hex()] for device, seq, hash_of in value]


def in_room(keys, fields):
    if fields[1] != keys.room:
        raise Refused("another room", "unknown_room")


def ack(data, given, case=None):
    in_room(given["keys"], read(data, REQUEST_MAX, ACK))
    fields = signed_array("ack", decode(data)[2], data)
    return {"device": fields[2].hex(), "frontier": frontier(fields[3])}


def presence(data, given, case=None):
    in_room(given["keys"], read(data, 320, PRESENCE))
    fields = signed_array("presence", decode(data)[2], data)
    return {"device": fields[2].hex(), "peer": fields[3].hex(), "direct": fields[4].hex(), "expires_ms": fields[5]}


def envelope(data, given, case):
    keys = given["keys"]
    _, topic_key, slot, nonce, head, bodies, signature = read(data, ENVELOPE_MAX, ENVELOPE)
    if topic_key != keys.topic_key:
        raise Refused("another topic", "unknown_room")
    associated = b"\1" + topic_key + slot.to_bytes(4, "little")
    hashes = b"".join(bytes(32) if b is None else H("body", b) for b in bodies)
    signed("envelope-digest", topic_key, H("envelope-digest", associated, nonce, head, hashes), signature)
    head = opened(keys.envelope_key, nonce, associated, head)
    kind, payload = read(head, ENVELOPE_MAX, row(uint(3, 1), blob(0, ENVELOPE_MAX)))
    if kind != 1:
        if bodies:
            raise Refused("bodies that belong to nothing")
        return {"beacon": ack(payload, given)} if kind == 2 else {"presence": presence(payload, given)}
    heads = read(payload, ENVELOPE_MAX, many(HEAD, 2**16))
    if len(heads) != len(bodies):
        raise Refused("as many bodies as headers", "run")
    if None in bodies:
        raise Refused("gossip comes with its bodies", "body")
    return {"run": verify_run(keys, [(*head, body) for head, body in zip(heads, bodies)])}


def request(data, given, case):
    keys = given["keys"]
    _, kind, epoch, proof, body = read(data, REQUEST_MAX, REQUEST)
    if epoch != keys.epoch or proof != keys.proof("request", given["peer"], given["me"]):
        raise Refused("no proof of membership", "proof")
    if kind == 2:
        return {"ack": ack(body, given)}
    if kind == 3:
        said, nonce, sealed = read(body, REQUEST_MAX, HELLO)
        fields = presence(said, given)
        if fields["peer"] != given["peer"].hex():
            raise Refused("the presence of another peer", "proof")
        bound = H("hello", epoch, given["peer"], given["me"])
        process = opened(keys.envelope_key, nonce, bound, sealed)
        if len(process) != 16:
            raise Refused("a process is 16 bytes")
        return {"hello": {**fields, "process": process.hex()}}
    if kind == 4:
        return {"bodies": [i.hex() for i in read(body, REQUEST_MAX, WANTED)]}
    heights, _, most = read(body, REQUEST_MAX, SYNC)
    return {"sync": {"bytes_max": most, "frontier": frontier(heights)}}


def response(data, given, case):
    keys = given["keys"]
    _, status, proof, entries, heights, more = read(data, RESPONSE_MAX, RESPONSE)
    if status != 0 or proof != keys.proof("response", given["peer"], given["me"]):
        raise Refused("no proof of membership", "proof")
    runs, part = [], []
    for entry in entries:
        part.append(entry)
        if entry[1] is not None:
            runs.append(verify_run(keys, part))
            part = []
    if part:
        raise Refused("the page ends inside a run", "run")
    return {"runs": runs, "frontier": frontier(heights), "more": more}


def lent(keys, name, found):
    """The plain body, or None where there is none that is the one the header names."""
    if found is None:
        return None
    data, body = found
    try:
        h = read(data, HEADER_MAX, HEADER)
        if (h[1], h[10]) != (keys.room, keys.epoch) or H("entry", data)[:16] != name:
            return None
        return brief(body_of(keys, data, h, body))
    except Refused:
        return None


def bodies(data, given, case):
    keys = given["keys"]
    no = None
    try:
        no = read(data, RESPONSE_MAX, RESPONSE)[1]
    except Refused:
        pass
    if no:
        raise Refused("refused", "proof")
    _, status, proof, found = read(data, RESPONSE_MAX, BODIES)
    if status != 0 or proof != keys.proof("response", given["peer"], given["me"]):
        raise Refused("no proof of membership", "proof")
    return [{"id": name.hex(), "plain": lent(keys, name, pair)} for name, pair in found]


DM_CERT = blob(1, 180)
DM_FRAME = row(VERSION, uint(255), blob(0, ENVELOPE_MAX))
DM_REQUESTS = {
    1: row(blob(16), DM_CERT, SIGNATURE),
    2: row(KEY, blob(8), optional(uint(2**64 - 2)), boolean, blob(0, ENVELOPE_MAX)),
}
DM_ANSWERS = {
    1: row(blob(16), DM_CERT, blob(32), SIGNATURE, blob(32), boolean, SIGNATURE),
    2: row(blob(8), uint(), uint(), blob(16)),
    3: row(blob(8)),
    4: row(blob(8), optional(uint())),
    5: row(),
}


def dm_body(data, maximum, bodies):
    _, kind, body = read(data, maximum, DM_FRAME)
    if kind not in bodies:
        raise Refused("unknown type")
    return kind, read(body, maximum, bodies[kind])


def direct_request(data, given, case):
    kind, fields = dm_body(data, ENVELOPE_MAX, DM_REQUESTS)
    if kind == 1:
        nonce, cert, signature = fields
        who = device_cert(cert)
        digest = H("dm-ask", nonce, given["peer"], given["me"])
        signed("dm-ask", bytes.fromhex(who["device"]), digest, signature)
        return {"ask": {"nonce": nonce.hex(), "cert": who}}
    device, session, number, begins, olm = fields
    return {
        "message": {
            "device": device.hex(),
            "session": session.hex(),
            "number": number,
            "begins": begins,
            "olm": brief(olm),
            "hash": H("dm-frame", olm)[:16].hex(),
        }
    }


def direct_answer(data, given, case):
    kind, fields = dm_body(data, 1_024, DM_ANSWERS)
    if kind == 1:
        nonce, cert, identity_key, key_sig, one_time, fallback, signature = fields
        who = device_cert(cert)
        device = bytes.fromhex(who["device"])
        flag = b"\x01" if fallback else b"\x00"
        digest = H("dm-bundle", nonce, given["peer"], given["me"], identity_key, one_time, flag)
        signed("dm-bundle", device, digest, signature)
        signed("dm-key", device, H("dm-key", device, identity_key), key_sig)
        return {
            "bundle": {
                "nonce": nonce.hex(),
                "cert": who,
                "identity_key": identity_key.hex(),
                "one_time_key": one_time.hex(),
                "fallback": fallback,
            }
        }
    if kind == 2:
        session, upto, bits, code = fields
        numbers = upto.to_bytes(8, "little"), bits.to_bytes(8, "little")
        right = H("dm-stored", b"\xac" * 32, session, b"\xfa" * 16, *numbers)[:16]
        return {"stored": {"session": session.hex(), "next": upto, "bits": bits, "code_is_right": code == right}}
    if kind == 3:
        return {"no_session": fields[0].hex()}
    return {"unreadable": [fields[0].hex(), fields[1]]} if kind == 4 else "refused"


EMOJI_NAMES = """Dog,Cat,Lion,Horse,Unicorn,Pig,Elephant,Rabbit,Panda,Rooster,Penguin,Turtle,Fish,Octopus,Butterfly,Flower,Tree,
Cactus,Mushroom,Globe,Moon,Cloud,Fire,Banana,Apple,Strawberry,Corn,Pizza,Cake,Heart,Smiley,Robot,Hat,Glasses,Spanner,Santa,
Thumbs up,Umbrella,Hourglass,Clock,Gift,Light bulb,Book,Pencil,Paperclip,Scissors,Lock,Key,Hammer,Telephone,Flag,Train,Bicycle,
Aeroplane,Rocket,Trophy,Ball,Guitar,Trumpet,Bell,Anchor,Headphones,Folder,Pin""".replace("\n", "").split(",")
CODES = {}  # digest -> stretch


def verify(data, given, case):
    sides = sorted([bytes.fromhex(part) for part in case["input"][side]] for side in ("own", "theirs"))
    digest = H("verify", *sides[0], *sides[1])
    # As with rooms, Argon2id is not done again: the same digest must give the same bytes, another one others.
    if CODES.setdefault(digest, data) != data or list(CODES.values()).count(data) != 1:
        raise Refused("another stretch of the same digest")
    groups = [int.from_bytes(data[i : i + 5], "big") % 100_000 for i in range(0, 60, 5)]
    bits = int.from_bytes(data[60:], "big")
    return {
        "digest": digest.hex(),
        "digits": " ".join(f"{g:05}" for g in groups),
        "emoji": [EMOJI_NAMES[bits >> (42 - 6 * i) & 63] for i in range(7)],
    }


# Structure name in the vector files -> how to judge its bytes.
STRUCTURES = {
    "hash": hash_,
    "base32": base32_,
    "padding": padding,
    "fingerprint": fingerprint,
    "room": room,
    "device_cert": device_cert,
    "header": header,
    "run": run,
    "content": content,
    "envelope": envelope,
    "request": request,
    "response": response,
    "bodies": bodies,
    "ack": ack,
    "presence": presence,
    "direct_request": direct_request,
    "direct_answer": direct_answer,
    "verify": verify,
}
# Refusals that need no key are one group: which fault is found first is up to the decoder.
OF_FORM = {"too_long", "malformed", "trailing", "not_canonical", "unknown", "bounds"}


def judge(document, case):
    """What is wrong with the verdict or the meaning that the file gives, or nothing."""
    data = b"".join(bytes.fromhex(piece) * times for piece, times in case.get("pieces", [[case.get("hex", ""), 1]]))
    try:
        fields = STRUCTURES[document["structure"]](data, document["given"], case)
    except Refused as e:
        if case["valid"]:
            return f"should be accepted, but: {e}"
        expected = "form" if case["reason"] in OF_FORM else case["reason"]
        return None if e.group == expected else f"should be refused for {case['reason']}, not for: {e}"
    if not case["valid"]:
        return f"should be refused: {case['reason']}"
    if fields is not None and fields != case.get("fields"):
        return f"means {fields}, not {case.get('fields')}"
    return None


def prepare(document):
    """The keys of the room that the structure is in."""
    given = document.setdefault("given", {})
    if "root" in given:
        given["keys"] = Room(bytes.fromhex(given["root"]))
        given["me"], given["peer"] = bytes.fromhex(given["me"]), bytes.fromhex(given["peer"])
        if (given["keys"].room.hex(), given["keys"].epoch.hex()) != (given["room"], given["epoch"]):
            sys.exit(f"{document['structure']}: room or epoch do not follow from the root")


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
    primitives.self_test()
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "vectors")
    files = sorted(folder.glob("*.json"))
    if not files:
        sys.exit(f"{folder} holds no vectors")
    missing = STRUCTURES.keys() - {path.stem for path in files}
    if missing:
        sys.exit(f"no vectors for {', '.join(sorted(missing))}")
    cases = wrong = 0
    for path in files:
        document = json.loads(path.read_text())
        if document["structure"] not in STRUCTURES or document["structure"] != path.stem:
            sys.exit(f"{path.name}: nothing here reads the structure {document['structure']!r}")
        prepare(document)
        for case in document["cases"]:
            cases += 1
            fault = judge(document, case)
            if fault:
                wrong += 1
                print(f"{path.name}: {case['name']}: {fault}")
    print(f"{len(files)} files, {cases} vectors, {wrong} judged otherwise")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
