"""BLAKE3 (derive_key), Ed25519 (strict verification) and XChaCha20-Poly1305 in plain Python, for check_vectors.py.

Written from the specifications, to be read and to agree, not to protect: slow, and not in constant time.
"""

import hashlib

M32 = 0xFFFFFFFF


def rotr(x, n):
    return (x >> n | x << (32 - n)) & M32


def rotl(x, n):
    return (x << n | x >> (32 - n)) & M32


def words(data):
    return [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]


def unwords(values):
    return b"".join(v.to_bytes(4, "little") for v in values)


# ---- BLAKE3 ----

IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
MIXES = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
START, END, PARENT, ROOT, CONTEXT, MATERIAL = 1, 2, 4, 8, 32, 64
CHUNK = 1024


def compress(chaining, block, counter, length, flags):
    v = [*chaining, *IV[:4], counter & M32, counter >> 32, length, flags]
    m = words(block)
    for turn in range(7):
        for i, (a, b, c, d) in enumerate(MIXES):
            for word, r1, r2 in ((m[2 * i], 16, 12), (m[2 * i + 1], 8, 7)):
                v[a] = (v[a] + v[b] + word) & M32
                v[d] = rotr(v[d] ^ v[a], r1)
                v[c] = (v[c] + v[d]) & M32
                v[b] = rotr(v[b] ^ v[c], r2)
        m = [m[p] for p in PERMUTATION]
    return [x ^ y for x, y in zip(v[:8], v[8:])]


def chunk(data, key, counter, flags, root):
    chaining = key
    blocks = [data[i : i + 64] for i in range(0, len(data), 64)] or [b""]
    for i, block in enumerate(blocks):
        last = i == len(blocks) - 1
        mode = flags | (START if i == 0 else 0) | (END | (ROOT if root else 0) if last else 0)
        chaining = compress(chaining, block.ljust(64, b"\0"), counter, len(block), mode)
    return chaining


def tree(data, key, counter, flags, root):
    if len(data) <= CHUNK:
        return chunk(data, key, counter, flags, root)
    chunks = (len(data) + CHUNK - 1) // CHUNK
    left = 1 << ((chunks - 1).bit_length() - 1)  # the largest power of two that leaves something on the right
    cut = left * CHUNK
    block = unwords(tree(data[:cut], key, counter, flags, False) + tree(data[cut:], key, counter + left, flags, False))
    return compress(key, block, 0, 64, flags | PARENT | (ROOT if root else 0))


def blake3_derive_key(context, material):
    key = tree(context.encode(), IV, 0, CONTEXT, True)
    return unwords(tree(material, key, 0, MATERIAL, True))


# ---- Ed25519 ----

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
ZERO = (0, 1, 1, 0)


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def double(p):
    a, b, c = p[0] * p[0], p[1] * p[1], 2 * p[2] * p[2]
    h = a + b
    e, g = h - (p[0] + p[1]) ** 2, a - b
    f = c + g
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(n, p):
    out = ZERO
    for bit in bin(n)[2:]:
        out = double(out)
        if bit == "1":
            out = add(out, p)
    return out


def same(p, q):
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def point(encoded):
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, (number & (1 << 255) - 1) % P
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if (v * x * x - u) % P != 0:
        x = x * SQRT_M1 % P
    if (v * x * x - u) % P != 0 or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def small(p):
    return same(times(8, p), ZERO)


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519_public(seed):
    h = bytearray(hashlib.sha512(seed).digest()[:32])
    h[0] &= 248
    h[31] = h[31] & 63 | 64
    x, y, z, _ = times(int.from_bytes(h, "little"), BASE)
    inverse = pow(z, P - 2, P)
    return (y * inverse % P | (x * inverse % P & 1) << 255).to_bytes(32, "little")


def ed25519_verify(public, message, signature):
    """Strict: s below the group order, no small-order key or R, and no cofactor in the equation."""
    a, r, s = point(public), point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L or small(a) or small(r):
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    return same(times(s, BASE), add(r, times(k, a)))


# ---- XChaCha20-Poly1305 ----

CONSTANTS = words(b"expand 32-byte k")


def rounds(state):
    v = state[:]
    for _ in range(10):
        for a, b, c, d in MIXES:
            v[a] = (v[a] + v[b]) & M32
            v[d] = rotl(v[d] ^ v[a], 16)
            v[c] = (v[c] + v[d]) & M32
            v[b] = rotl(v[b] ^ v[c], 12)
            v[a] = (v[a] + v[b]) & M32
            v[d] = rotl(v[d] ^ v[a], 8)
            v[c] = (v[c] + v[d]) & M32
            v[b] = rotl(v[b] ^ v[c], 7)
    return v


def chacha20_block(key, counter, nonce):
    state = [*CONSTANTS, *words(key), counter, *words(nonce)]
    return unwords([(x + y) & M32 for x, y in zip(rounds(state), state)])


def poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for i in range(0, len(message), 16):
        total = (total + int.from_bytes(message[i : i + 16] + b"\1", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def zeros_to_16(data):
    return bytes(-len(data) % 16)


def xchacha20_poly1305_open(key, nonce, associated, sealed):
    """The plaintext, or None."""
    if len(sealed) < 16:
        return None
    ends = rounds([*CONSTANTS, *words(key), *words(nonce[:16])])
    key, nonce = unwords(ends[:4] + ends[12:]), bytes(4) + nonce[16:]
    text, tag = sealed[:-16], sealed[-16:]
    lengths = len(associated).to_bytes(8, "little") + len(text).to_bytes(8, "little")
    message = associated + zeros_to_16(associated) + text + zeros_to_16(text) + lengths
    if poly1305(chacha20_block(key, 0, nonce)[:32], message) != tag:
        return None
    stream = b"".join(chacha20_block(key, i + 1, nonce) for i in range((len(text) + 63) // 64))
    return bytes(a ^ b for a, b in zip(text, stream))


# ---- known answers ----


def self_test():
    """Published test vectors: BLAKE3's derive_key of 1,025 bytes, RFC 8032 test 2, draft-irtf-cfrg-xchacha A.3.1."""
    material = bytes(i % 251 for i in range(1_025))
    derived = blake3_derive_key("BLAKE3 2019-12-27 16:29:52 test vectors context", material)
    assert derived.hex() == "effaa245f065fbf82ac186839a249707c3bddf6d3fdda22d1b95a3c970379bcb", derived.hex()
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert ed25519_verify(public, b"\x72", signature) and not ed25519_verify(public, b"\x73", signature)
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    assert ed25519_public(seed) == public
    key, nonce = bytes(range(0x80, 0xA0)), bytes(range(0x40, 0x58))
    associated = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    sealed = bytes.fromhex(
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
        "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49"
    )
    opened = xchacha20_poly1305_open(key, nonce, associated, sealed)
    assert opened is not None and opened.startswith(b"Ladies and Gentlemen of the class of '99"), opened
    assert xchacha20_poly1305_open(key, nonce, b"", sealed) is None


if __name__ == "__main__":
    self_test()
