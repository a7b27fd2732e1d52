"""SLH-DSA, verification alone, in plain Python: no Python package has it."""
# SPDX-License-Identifier: Apache-2.0
# Source: FIPS 205, pure version

import hashlib

# n, h, d, h', a, k, m of FIPS 205, table 2: 128s, 128f, 192s, 192f, 256s, 256f.
SETS = (
    (16, 63, 7, 9, 12, 14, 30),
    (16, 66, 22, 3, 6, 33, 34),
    (24, 63, 7, 9, 14, 17, 39),
    (24, 66, 22, 3, 8, 33, 42),
    (32, 64, 8, 8, 14, 22, 47),
    (32, 68, 17, 4, 9, 35, 49),
)
WOTS_HASH, WOTS_PK, TREE, FORS_TREE, FORS_ROOTS = range(5)


def oid(number):
    """The DER body of the OID of a set: 0 to 5 SHA-2, 6 to 11 SHAKE."""
    return bytes.fromhex("6086480165030403") + bytes([20 + number])


def address(layer, tree, kind, first=0, second=0, third=0):
    """An ADRS of 32 bytes."""
    words = (first, second, third)
    return layer.to_bytes(4, "big") + tree.to_bytes(12, "big") + b"".join(w.to_bytes(4, "big") for w in (kind, *words))


class Hashes:
    """The hash functions of a set and public key (sections 11.1 and 11.2)."""

    def __init__(self, number, seed):
        self.n = len(seed)
        self.shake = number >= 6
        self.seed = seed
        self.wide = hashlib.sha256 if self.n == 16 else hashlib.sha512

    def f(self, where, data):
        """F, of one value."""
        return self._tweaked(hashlib.sha256, 64, where, data)

    def t(self, where, data):
        """H and T, of two and more."""
        return self._tweaked(self.wide, 64 if self.n == 16 else 128, where, data)

    def _tweaked(self, new_hash, block, where, data):
        if self.shake:
            return hashlib.shake_256(self.seed + where + data).digest(self.n)
        short = where[3:4] + where[8:16] + where[19:]
        return new_hash(self.seed + bytes(block - self.n) + short + data).digest()[: self.n]

    def message(self, r, root, message, length):
        """H_msg."""
        if self.shake:
            return hashlib.shake_256(r + self.seed + root + message).digest(length)
        inner = r + self.seed + self.wide(r + self.seed + root + message).digest()
        out, count = b"", 0
        while len(out) < length:
            out += self.wide(inner + count.to_bytes(4, "big")).digest()
            count += 1
        return out[:length]


def digits(data, bits, count):
    """base_2b: the first `count` numbers of `bits` bits."""
    value = int.from_bytes(data, "big")
    total = 8 * len(data)
    return [value >> (total - bits * (i + 1)) & ((1 << bits) - 1) for i in range(count)]


def climb(hashes, node, index, path, at):
    """From a leaf to the root; `at(height, index)` gives the address of a node."""
    n = hashes.n
    for height in range(len(path) // n):
        other = path[n * height : n * (height + 1)]
        pair = other + node if index >> height & 1 else node + other
        node = hashes.t(at(height + 1, index >> (height + 1)), pair)
    return node


def fors_root(hashes, a, k, signature, md, tree, leaf):
    """Algorithm 17."""
    n, roots = hashes.n, b""
    for i, index in enumerate(digits(md, a, k)):
        part = signature[i * (a + 1) * n : (i + 1) * (a + 1) * n]

        def at(height, place, base=i):
            return address(0, tree, FORS_TREE, leaf, height, (base << (a - height)) + place)

        roots += climb(hashes, hashes.f(at(0, index), part[:n]), index, part[n:], at)
    return hashes.t(address(0, tree, FORS_ROOTS, leaf), roots)


def wots_root(hashes, signature, message, layer, tree, leaf):
    """Algorithm 8."""
    n = hashes.n
    parts = digits(message, 4, 2 * n)
    checksum = sum(15 - part for part in parts) << 4
    parts += digits(checksum.to_bytes(2, "big"), 4, 3)
    ends = b""
    for i, part in enumerate(parts):
        value = signature[i * n : (i + 1) * n]
        for step in range(part, 15):
            value = hashes.f(address(layer, tree, WOTS_HASH, leaf, i, step), value)
        ends += value
    return hashes.t(address(layer, tree, WOTS_PK, leaf), ends)


def verify(number, public, message, signature, context=b""):
    """Whether a signature of the pure version is right (algorithms 24 and 20)."""
    n, h, d, height, a, k, m = SETS[number % 6]
    chains = 2 * n + 3
    if len(public) != 2 * n or len(context) > 255:
        return False
    if len(signature) != n * (1 + k * (a + 1) + h + d * chains):
        return False
    hashes = Hashes(number, public[:n])
    message = b"\0" + bytes([len(context)]) + context + message
    digest = hashes.message(signature[:n], public[n:], message, m)
    md_bytes, tree_bytes = (k * a + 7) // 8, (h - height + 7) // 8
    tree = int.from_bytes(digest[md_bytes : md_bytes + tree_bytes], "big") % (1 << (h - height))
    leaf = int.from_bytes(digest[md_bytes + tree_bytes :], "big") % (1 << height)
    at = n * (1 + k * (a + 1))
    node = fors_root(hashes, a, k, signature[n:at], digest[:md_bytes], tree, leaf)
    for layer in range(d):
        part = signature[at : at + n * (chains + height)]
        at += len(part)
        node = wots_root(hashes, part, node, layer, tree, leaf)

        def where(level, place, layer=layer, tree=tree):
            return address(layer, tree, TREE, 0, level, place)

        node = climb(hashes, node, leaf, part[n * chains :], where)
        tree, leaf = tree >> height, tree % (1 << height)
    return node == public[n:]
