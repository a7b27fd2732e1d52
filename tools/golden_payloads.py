# SPDX-License-Identifier: Apache-2.0
"""Chunks and models written by hand, field by field (docs/format.md sections 7 to 14), for golden.py.

Each payload is made sound first and then with one field otherwise, so that a reader which leaves out the
check of that field is found out. cases() gives (name, whether it is sound, Payload); None: a newer reader may know it.
"""

import dataclasses
import struct

OPAQUE, BF16, F32, U8, U16, F16 = 0, 11, 12, 2, 4, 10
STORE, CONSTANT, ZSTD, FLOAT, BYTES_RANS, ZERO_RUN, SHUFFLE, MODEL, PAIRS, FIELDS = 0, 1, 2, 4, 5, 6, 7, 8, 9, 10
MIXED = 11
TIERS, RANS, ONE_SYMBOL = 0, 1, 2


@dataclasses.dataclass
class Payload:
    """A chunk that is all of a block. content: what it decodes to, or bytes of that many."""

    codec: int
    dtype: int
    data: bytes
    content: bytes
    model: bytes = None


def padded(data, alignment, at=0, fill=b"\0"):
    count = -(at + len(data)) % alignment
    if fill != b"\0" and not count:
        raise ValueError("there is nothing to fill up here")
    return data + fill * count


# ---- models ----


class Bits:
    """A stream of bits, low bits of a byte first."""

    def __init__(self):
        self.stream = []

    def put(self, value, count):
        self.stream += [value >> i & 1 for i in range(count)]

    def exp_golomb(self, value, order):
        g = value + (1 << order)
        self.stream += [1] * (g.bit_length() - order - 1) + [0]
        self.put(g & ~(1 << g.bit_length() - 1), g.bit_length() - 1)

    def rice(self, value, order):
        self.stream += [1] * (value >> order) + [0]
        self.put(value & (1 << order) - 1, order)

    def bytes(self, fill=0):
        bits = self.stream + [fill] * (-len(self.stream) % 8)
        return bytes(sum(bit << i for i, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8))


TABLE = {0x7D: 16, 0x7E: 48, 0x7F: 128, 0x80: 64}  # frequencies that add up to 2^8
PAIR_TABLE = {symbol: 16 for symbol in range(16)}


@dataclasses.dataclass
class View:
    elements: int = 16
    columns: int = 4
    phase: int = 0
    column_classes: tuple = ()
    row_classes: tuple = ()
    order: int = 2


def classes_to(bits, classes, order):
    bits.put(0, 8)  # mean
    bits.put(order, 3)
    for value in classes:
        bits.rice(value << 1 if value >= 0 else -value * 2 - 1, order)


def model(kind=1, table_bits=8, tables=(TABLE,), bounds=(), views=(), buckets=(), **other):
    """A model's payload. Other: table_count, reserved, view_count, firsts, fill, tail; what is not as it should be."""
    head = struct.pack(
        "<BBBBI",
        kind,
        table_bits,
        other.get("table_count", len(tables)),
        other.get("reserved", 0),
        other.get("view_count", len(views)),
    )
    bits = Bits()
    for row in buckets:
        for value, before in zip(row, [0, *row]):
            same = value == before and not other.get("spelt_out")
            bits.put(same, 1)
            if not same:
                bits.put(value, 4)
    for table in tables:
        bits.put(other.get("first", min(table)), 8)
        bits.put(max(table), 8)
        for symbol in range(min(table), max(table) + 1):
            bits.exp_golomb(table.get(symbol, 0), 3)
    for bound in bounds:
        bits.put(bound, 6)
    for view in views:
        bits.put(bool(view.column_classes), 1)
        bits.put(bool(view.row_classes), 1)
        bits.exp_golomb(view.elements, 12)
        bits.exp_golomb(view.columns, 6)
        bits.exp_golomb(view.phase, 0)
        for classes in (view.column_classes, view.row_classes):
            if classes:
                classes_to(bits, classes, view.order)
    stream = bits.bytes(other.get("fill", 0))
    return head + stream[: len(stream) - other.get("cut", 0)] + other.get("tail", b"")


# ---- symbols ----


def ranges_of(table):
    start, ranges = 0, {}
    for symbol in sorted(table):
        ranges[symbol] = (start, table[symbol])
        start += table[symbol]
    return ranges


def rans_stripe(symbols, table, table_bits=8, end=1 << 16):
    """States, words; the stripe is filled up with the table's first symbol."""
    ranges = ranges_of(table)
    filled = list(symbols) + [min(table)] * (-len(symbols) % 128)
    states, words = [end] * 32, []
    for step in reversed(range(len(filled) // 32)):
        for lane in reversed(range(32)):
            start, frequency = ranges[filled[(step >> 2) * 128 + lane * 4 + (step & 3)]]
            x = states[lane]
            if x >= frequency << 32 - table_bits:
                words.append(x & 0xFFFF)
                x >>= 16
            states[lane] = (x // frequency << table_bits) + start + x % frequency
    return states, words[::-1]


def rans(symbols, table=TABLE, stripe=128, **other):
    """A rANS section. Other: word_count, end (of the states), odd (the two bytes that fill up), tail."""
    states, words = rans_stripe(symbols, table, end=other.get("end", 1 << 16))
    if other.get("even_words") is not None and len(words) % 2 == other["even_words"]:
        raise ValueError("these symbols take another number of words")
    section = struct.pack("<II", stripe, len(words) + other.get("more_words", 0))
    section += struct.pack("<32I", *states) + struct.pack(f"<{len(words)}H", *words)
    if len(words) % 2:
        section += other.get("odd", b"\0\0")
    return section + other.get("tail", b"")


def tiers(symbols, ranks=(0x7F, 0x80, 0x7E), at=16, **other):
    """A tier section of one tier and one block. Other: count, shifted, reserved, offset, left, unused, fills."""
    codes = [ranks.index(symbol) if symbol in ranks else 3 for symbol in symbols]
    rest = bytes(symbol for symbol in symbols if symbol not in ranks)
    fill = other.get("fill", b"\0")
    section = struct.pack("<BBH", other.get("count", 1), other.get("shifted", 0), other.get("reserved", 0))
    section = padded(section + bytes(ranks), 4, at, other.get("rank_fill", b"\0"))
    section += struct.pack("<HH", other.get("offset", 0), len(rest) + other.get("more_left", 0))
    section = padded(section, 4, at)
    for bit in range(2):
        plane = sum((code >> bit & 1) << i for i, code in enumerate(codes))
        section += struct.pack("<I", plane | (other.get("unused", 0) << len(codes)))
    return section + padded(rest, 4, 0, fill) + other.get("tail", b"")


# ---- float chunks ----

EXPONENTS = bytes([0x7F, 0x7F, 0x80, 0x7E, 0x7D, 0x7F, 0x80, 0x7F, 0x7E, 0x7F])
RAWS = bytes(range(20, 20 + 13 * len(EXPONENTS), 13))
TAILS = tuple(0x100 * (i * 37 % 256) for i in range(len(EXPONENTS)))


LEAVING = bytes([1, 2, 3, 1, 2, 9, 9, 9, 9, 9])  # five leave the first tier


def head_of(exponent, raw):
    key = exponent << 8 | raw
    return key >> 1 | (key & 1) << 15


def float_chunk(symbols=b"", kind=ONE_SYMBOL, patches=(), tails=b"", planes=None, **other):
    """A float chunk of len(EXPONENTS) elements with q = 0 and all mantissa bits and signs stored."""
    data = struct.pack(
        "<BBBBBBHII",
        kind,
        other.get("q", 0),
        other.get("sign_mode", 0),
        other.get("z", 0),
        other.get("tail_mode", 2 if tails else 0),
        other.get("fill", 0x7F if kind == ONE_SYMBOL else 0),
        other.get("window", 0),
        other.get("patch_count", len(patches)),
        (len(symbols) + other.get("more_symbols", 0)) & 0xFFFFFFFF,
    )
    data += b"".join(struct.pack("<I", at) for at, _ in patches)
    data += b"".join(struct.pack("<H", head) for _, head in patches)
    data = padded(data, 8, 0, other.get("patch_fill", b"\0"))
    data = padded(data + symbols, 8, 0, other.get("symbol_fill", b"\0"))
    data += padded(RAWS, 64) if planes is None else planes
    return data + tails + other.get("tail", b"")


def floats(exponents=EXPONENTS, patches=(), tails=None):
    heads = [head_of(*both) for both in zip(exponents, RAWS)]
    for at, head in patches:
        if at < len(heads):
            heads[at] = head
    if tails is None:
        return struct.pack(f"<{len(heads)}H", *heads)
    return struct.pack(f"<{len(heads)}I", *(head << 16 | tail for head, tail in zip(heads, tails)))


def segments(tail_bits=8, elements=64, first=4, zeros=(8, 8), **other):
    """Tail segments of TAILS: the top 8 bits of each, four elements and the rest."""
    data = struct.pack("<II", elements, first) + bytes(zeros)
    data = padded(data, 8, 0, other.get("zero_fill", b"\0"))
    for part in (TAILS[:4], TAILS[4:]):
        data += padded(bytes(tail >> 8 for tail in part), 64)
    return padded(data[: len(data) - other.get("cut", 0)], 8, 0, other.get("fill", b"\0"))


def float_cases():
    """(name, sound, Payload) of float chunks."""
    patches = ((2, 0x1234), (7, 0xFFFF))

    def one(name, sound=False, dtype=BF16, content=None, **changes):
        bare = floats(bytes([0x7F]) * len(EXPONENTS), changes.get("patches", ()))
        return f"float-{name}", sound, Payload(FLOAT, dtype, float_chunk(**changes), content or bare)

    yield one("one-symbol", True)
    yield one("patched", True, patches=patches)
    yield one("symbol-kind", kind=3)
    yield one("q", q=3)
    yield one("sign-mode", sign_mode=3)
    yield one("z", z=8)
    yield one("tail-mode", tail_mode=3)
    yield one("tail-without-a-tail", tail_mode=1)
    yield one("window", q=1, window=1, planes=bytes(64))
    yield one("patches-descend", patches=patches[::-1])
    yield one("patches-equal", patches=(patches[0], patches[0]))
    yield one("patch-past-the-end", patches=((10, 0x1234),))
    yield one("patches-most", patch_count=11)
    yield one("patches-wrap", patch_count=2**32 - 1)
    yield one("patch-padding", patches=patches[:1], patch_fill=b"\1")
    yield one("one-symbol-and-symbols", symbols=bytes(8))
    yield one("symbols-past-the-end", more_symbols=2**32 - 8)
    yield one("planes-cut", planes=bytes(56))
    yield one("longer", tail=bytes(8))
    yield one("header-alone", planes=b"")
    yield one("of-bytes", dtype=U8)
    yield one("of-too-many", content=bytes(2 * (1 << 18) + 2))

    def tiered(name, sound=False, model=None, chunk=None, **changes):
        data = float_chunk(tiers(EXPONENTS, **changes), TIERS, **(chunk or {}))
        return f"tiers-{name}", sound, Payload(FLOAT, BF16, data, floats(), model)

    yield tiered("plain", True)
    yield tiered("none", count=0)
    yield tiered("seven", count=7)
    yield tiered("shifted", shifted=2)
    yield tiered("reserved", reserved=1)
    yield tiered("rank-padding", rank_fill=b"\1")
    yield tiered("offset", offset=1)
    yield tiered("left-more", more_left=1)
    yield tiered("left-most", more_left=60000)
    yield tiered("unused-bits", unused=1)
    yield tiered("padding", fill=b"\1")
    yield tiered("longer", tail=bytes(4))
    yield tiered("fill", chunk={"fill": 1})
    yield (
        "tiers-symbol-padding",
        False,
        Payload(FLOAT, BF16, float_chunk(tiers(LEAVING, (1, 2, 3)), TIERS, symbol_fill=b"\1"), floats(LEAVING)),
    )
    yield "tiers-leaving", True, Payload(FLOAT, BF16, float_chunk(tiers(LEAVING, (1, 2, 3)), TIERS), floats(LEAVING))
    yield tiered("shifted-without-a-model", shifted=1)
    yield tiered("shifted-by-tables", shifted=1, model=model())
    # Row classes 0, 1, -1 of four columns: symbols are stored as if their rows had none.
    shifts = View(len(EXPONENTS), 4, 0, (), (0, 1, -1))
    stored = bytes((symbol - shifts.row_classes[i // 4]) % 256 for i, symbol in enumerate(EXPONENTS))
    made = float_chunk(tiers(stored, shifted=1), TIERS)
    yield "tiers-shifted-by-rows", True, Payload(FLOAT, BF16, made, floats(), model(2, 0, (), views=(shifts,)))
    yield (
        "tiers-shifted-by-too-many",
        False,
        Payload(FLOAT, BF16, made, floats(), model(2, 0, (), views=(View(11, 4, 0, (), (0, 1, -1)),))),
    )

    def tailed(name, sound=False, **changes):
        data = float_chunk(tiers(EXPONENTS), TIERS, tails=segments(**changes))
        return f"tails-{name}", sound, Payload(FLOAT, F32, data, floats(tails=TAILS))

    yield tailed("segments", True)
    yield tailed("small", elements=63)
    yield tailed("first-none", first=0, zeros=(8,))
    yield tailed("first-more", first=65, zeros=(8,))
    yield tailed("zeros", zeros=(8, 17))
    yield tailed("zeros-padding", zero_fill=b"\1")
    yield tailed("cut", cut=8)
    yield "tails-none", False, Payload(FLOAT, F32, float_chunk(tiers(EXPONENTS), TIERS), floats(tails=TAILS))
    plain = struct.pack(f"<{len(TAILS)}H", *TAILS)
    plain = float_chunk(tiers(EXPONENTS), TIERS, tails=padded(plain, 128), tail_mode=1)
    yield "tails-plain", True, Payload(FLOAT, F32, plain, floats(tails=TAILS))
    yield "tails-plain-cut", False, Payload(FLOAT, F32, plain[:-8], floats(tails=TAILS))


# ---- rans ----


def rans_cases():
    """(name, sound, Payload) of rANS symbols and their models."""

    def coded(name, sound=False, model=model(), **changes):  # noqa: B008
        data = rans(EXPONENTS, **changes)
        return f"rans-{name}", sound, Payload(BYTES_RANS, U8, data, EXPONENTS, model)

    yield coded("bytes", True)
    yield coded("stripe-none", stripe=0)
    yield coded("stripe-64", stripe=64)
    yield coded("stripe-odd", stripe=129)
    yield coded("stripe-most", stripe=(1 << 18) + 128)
    yield coded("words-more", more_words=2)
    yield coded("words-most", more_words=1 << 31)
    yield coded("words-fewer", more_words=-2)
    yield coded("end", end=(1 << 16) + 1)
    yield coded("longer", tail=b"\0\0")
    odd = EXPONENTS[:9]
    for length in range(1, 11):
        odd = EXPONENTS[:length]
        if len(rans_stripe(odd, TABLE)[1]) % 2:
            break
    yield "rans-odd-words", True, Payload(BYTES_RANS, U8, rans(odd), odd, model())
    yield "rans-odd-padding", False, Payload(BYTES_RANS, U8, rans(odd, odd=b"\0\1"), odd, model())
    yield coded("without-a-model", model=None)
    yield coded("with-shifts", model=model(2, 0, ()))
    section = rans(EXPONENTS)
    yield "rans-of-floats", True, Payload(FLOAT, BF16, float_chunk(section, RANS), floats(), model())
    yield "rans-of-floats-longer", False, Payload(FLOAT, BF16, float_chunk(section + bytes(4), RANS), floats(), model())
    yield "rans-of-floats-without-a-model", False, Payload(FLOAT, BF16, float_chunk(section, RANS), floats())
    yield "rans-of-bf16", True, Payload(BYTES_RANS, BF16, rans(EXPONENTS), EXPONENTS, model())
    yield (
        "rans-of-bf16-views",
        False,
        Payload(BYTES_RANS, BF16, rans(EXPONENTS), EXPONENTS, model(views=(View(5, 5, 0, (), (1,)),))),
    )

    def modelled(name, sound=False, **changes):
        return f"model-{name}", sound, Payload(BYTES_RANS, U8, rans(EXPONENTS), EXPONENTS, model(**changes))

    view = View(10, 5, 3, (0, 1, 0, -2, 0), (1, 0, -1))
    two = {"tables": (TABLE, TABLE), "bounds": (32,)}
    yield modelled("classes", True, **two, views=(view,))
    yield modelled("table-bits-few", table_bits=7)
    yield modelled("table-bits-many", table_bits=13)
    yield modelled("without-tables", table_count=0)
    yield modelled("many-tables", table_count=65)
    yield modelled("reserved", reserved=1)
    yield modelled("sum-more", tables=({**TABLE, 0x7D: 17},))
    yield modelled("sum-less", tables=({**TABLE, 0x7D: 15},))
    yield modelled("one-symbol", tables=({0x7F: 256},))
    yield modelled("symbols-descend", first=0x81)
    yield modelled("bound-none", tables=(TABLE, TABLE), bounds=(0,))
    yield modelled("bounds-equal", tables=(TABLE,) * 3, bounds=(5, 5))
    yield modelled("cut", cut=1)
    yield modelled("longer", tail=b"\0")
    yield modelled("filling", fill=1)
    yield modelled("views-most", view_count=2**32 - 1)
    yield modelled("shifts-and-tables", kind=2)
    yield modelled("shifts-and-table-bits", kind=2, tables=())

    def viewed(name, **changes):
        return modelled(f"view-{name}", **two, views=(dataclasses.replace(view, **changes),))

    yield viewed("of-nothing", elements=0)
    yield viewed("past-the-block", elements=11)
    yield viewed("without-columns", columns=0, column_classes=(), phase=0)
    yield viewed("phase", phase=5)
    yield viewed("columns-most", columns=(1 << 31) + 1, column_classes=(), row_classes=())
    yield viewed("class-high", row_classes=(64, 0, 0), order=5)
    yield viewed("class-low", row_classes=(-65, 0, 0), order=5)


# ---- zero runs, pairs, bytes ----


def zero_run(count=3, inner=STORE, coding=0, reserved=0, mask=b"\x2a\0", mask_bytes=None, fill=b"\0", rest=b"\1\2\3"):
    head = struct.pack("<IBBHI", count, inner, coding, reserved, len(mask) if mask_bytes is None else mask_bytes)
    return padded(head + mask, 8, 0, fill) + rest


def zero_run_cases():
    """(name, sound, Payload) of zero runs: ten bytes, of which the second, fourth and sixth are kept."""
    content = bytes([0, 1, 0, 2, 0, 3, 0, 0, 0, 0])

    def one(name, sound=False, dtype=U8, content=content, **changes):
        return f"zero-run-{name}", sound, Payload(ZERO_RUN, dtype, zero_run(**changes), content)

    yield one("bytes", True)
    yield one("count-more", count=4, rest=b"\1\2\3\4")
    yield one("count-less", count=2, rest=b"\1\2")
    yield one("count-most", count=2**32 - 1)
    yield one("inner", inner=ZSTD)
    yield one("mask-coding", coding=2)
    yield one("reserved", reserved=1)
    yield one("mask-cut", mask=b"\x2a")
    yield one("mask-longer", mask=b"\x2a\0\0")
    yield one("mask-past-the-end", mask_bytes=2**32 - 16)
    yield one("mask-behind-the-end", count=4, mask=b"\x2a\4", rest=b"\1\2\3\4")
    yield one("padding", fill=b"\1")
    yield one("rest-cut", rest=b"\1\2")
    yield one("rest-longer", rest=b"\1\2\3\4")
    yield one("of-floats", inner=FLOAT)
    table = {1: 128, 2: 64, 3: 64}
    kept = rans(b"\1\2\3", table)
    yield one("rans-without-a-model", inner=BYTES_RANS, rest=kept)
    for name, sound, changes in (
        ("rans", True, {}),
        ("rans-with-views", False, {"views": (View(3, 3, 0, (), (0,)),)}),
        ("rans-with-tables", False, {"tables": (table, table), "bounds": (32,)}),
    ):
        made = model(**{"tables": (table,), **changes})
        yield f"zero-run-{name}", sound, Payload(ZERO_RUN, U8, zero_run(inner=BYTES_RANS, rest=kept), content, made)


def pair_symbols(content):
    return [content[i] >> 4 | content[i + 1] >> 4 << 4 for i in range(0, len(content) - 1, 2)]


def pairs_chunk(content, patches=(), **other):
    symbols = pair_symbols(content)
    raws = bytes(content[i] & 15 | (content[i + 1] & 15) << 4 for i in range(0, len(content) - 1, 2))
    section = rans(symbols, other.get("table", PAIR_TABLE)) + other.get("section_tail", b"")
    length = len(section) + other.get("more_symbols", 0)
    data = struct.pack("<II", other.get("patch_count", len(patches)), length & 0xFFFFFFFF)
    data += b"".join(struct.pack("<I", at) for at, _ in patches) + b"".join(two for _, two in patches)
    data = padded(data, 8, 0, other.get("patch_fill", b"\0"))
    data = padded(data + section, 8, 0, other.get("symbol_fill", b"\0")) + padded(raws, 64)
    return data + (content[-1:] if len(content) % 2 else b"") + other.get("tail", b"")


NEAR_TABLE = {0x77: 64, 0x78: 64, 0x87: 64, 0x88: 64}  # pairs of EXPONENTS
NEAR_MODEL = model(3, 8, (NEAR_TABLE,), buckets=(tuple(value >> 4 for value in range(256)),))


def pairs_cases():
    """(name, sound, Payload) of byte pairs whose buckets are their upper four bits."""
    even = tuple(value >> 4 for value in range(256))
    good = model(3, 8, (PAIR_TABLE,), buckets=(even,))
    content = bytes([3, 9, 0x14, 7, 0x55, 1, 0xF0, 2, 0xA7, 0x0B, 0x66])

    def one(name, sound=False, model=good, content=content, **changes):
        return f"pairs-{name}", sound, Payload(PAIRS, U8, pairs_chunk(content, **changes), content, model)

    yield one("bytes", True)
    patches = ((1, b"\x14\x07"), (3, b"\xf0\x02"))
    yield one("patched", True, patches=patches)
    yield one("patches-descend", patches=patches[::-1])
    yield one("patch-past-the-end", patches=((5, b"ab"),))
    yield one("patches-most", patch_count=6)
    yield one("patches-wrap", patch_count=2**32 - 1)
    yield one("patch-padding", patches=patches[:1], patch_fill=b"\1")
    uneven = {symbol: 9 for symbol in range(15)} | {0: 128, 15: 2}
    short = next(content[:n] for n in range(2, 12) if len(rans_stripe(pair_symbols(content[:n]), uneven)[1]) % 4)
    for name, fill in (("padded", b"\0"), ("symbol-padding", b"\1")):
        chunk = pairs_chunk(short, table=uneven, symbol_fill=fill)
        made = model(3, 8, (uneven,), buckets=(even,))
        yield f"pairs-{name}", name == "padded", Payload(PAIRS, U8, chunk, short, made)
    yield one("symbols-longer", section_tail=b"\0\0\0\0")
    yield one("symbols-past-the-end", more_symbols=2**32 - 8)
    yield one("longer", tail=b"\0")
    yield one("without-a-model", model=None)
    yield one("of-tables", model=model(1, 8, (PAIR_TABLE,)))
    yield one("uneven-buckets", model=model(3, 8, (PAIR_TABLE,), buckets=((0, *even[:-1]),)))
    yield one("buckets-spelt-out", model=model(3, 8, (PAIR_TABLE,), buckets=(even,), spelt_out=True))
    yield one("many-tables", model=model(3, 8, (PAIR_TABLE,) * 9, buckets=(even,) * 9, bounds=tuple(range(1, 9))))
    yield "pairs-header-cut", False, Payload(PAIRS, U8, bytes(7), content, good)


# ---- fields ----


@dataclasses.dataclass
class Field:
    """A field of a record: (offset, width, group) of its pieces, and a model's payload."""

    dtype: int
    elements: int
    pieces: tuple
    model: bytes = b""
    piece_count: int = None
    model_bytes: int = None


def fields_model(fields, record_bytes=6, count=None, kind=4, tail=b"", cut=0):
    data = struct.pack("<BBH", kind, len(fields) if count is None else count, record_bytes)
    for field in fields:
        pieces = [*field.pieces, (0, 0, 0)][:2]
        data += struct.pack(
            "<BBHHBBHBBI",
            field.dtype,
            len(field.pieces) if field.piece_count is None else field.piece_count,
            field.elements,
            *pieces[0],
            *pieces[1],
            len(field.model) if field.model_bytes is None else field.model_bytes,
        )
    data += b"".join(field.model for field in fields) + tail
    return data[: len(data) - cut]


def fields_chunk(*parts, fill=b"\0", reserved=(0, 0), more=0, tail=b""):
    """parts: (inner codec, payload)."""
    head = b"".join(struct.pack("<BBHI", codec, *reserved, (len(data) + more) & 0xFFFFFFFF) for codec, data in parts)
    return head + b"".join(padded(data, 8, 0, fill if len(data) % 8 else b"\0") for _, data in parts) + tail


def fields_cases():
    """(name, sound, Payload) of three records of six bytes: a u16, four elements of nibbles from two places."""
    scales = struct.pack("<3H", 0x1234, 0x5678, 0x9ABC)
    values = EXPONENTS + EXPONENTS[:2]
    whole = Field(U16, 1, ((0, 16, 0),))
    low, high = (2, 4, 2), (4, 4, 1)
    bits = Field(U8, 4, (low, high), model())
    records = b""
    for at in range(3):
        v = values[4 * at : 4 * at + 4]
        records += scales[2 * at : 2 * at + 2]
        records += bytes([v[0] & 15 | (v[2] & 15) << 4, v[1] & 15 | (v[3] & 15) << 4])
        records += bytes([v[0] >> 4 | v[1] & 240, v[2] >> 4 | v[3] & 240])
    parts = ((STORE, scales), (BYTES_RANS, rans(values)))

    def one(
        name,
        sound=False,
        fields=(whole, bits),
        parts=parts,
        made=None,
        dtype=OPAQUE,
        content=records,
        chunk=None,
        **other,
    ):
        made = fields_model(fields, **other) if made is None else made
        return f"fields-{name}", sound, Payload(FIELDS, dtype, fields_chunk(*parts, **(chunk or {})), content, made)

    def piece(name, *pieces, elements=4, dtype=U8, **other):
        return one(name, fields=(whole, Field(dtype, elements, pieces, model())), **other)

    yield one("of-records", True)
    yield one("swapped", True, fields=(bits, whole), parts=parts[::-1])
    stored = Field(U8, 4, (low, high))
    yield one("stored", True, fields=(whole, stored), parts=(parts[0], (STORE, values)))
    yield one(
        "of-pairs",
        True,
        fields=(whole, Field(U8, 4, (low, high), NEAR_MODEL)),
        parts=(parts[0], (PAIRS, pairs_chunk(values, table=NEAR_TABLE))),
    )
    yield one("padding", chunk={"fill": b"\1"})
    yield one("reserved", chunk={"reserved": (1, 0)})
    yield one("reserved-more", chunk={"reserved": (0, 1)})
    yield one("past-the-end", chunk={"more": 2**32 - 8})
    yield one("longer", chunk={"tail": bytes(8)})
    yield one("header-cut", parts=parts[:1])
    yield one("in-fields", parts=(parts[0], (FIELDS, fields_chunk(*parts))))
    yield one("of-a-model", parts=(parts[0], (MODEL, model())))
    yield one("of-mixed", parts=(parts[0], (MIXED, mixed_chunk((STORE, values), rest_of(((0, 12),), b"")))))
    yield one("of-an-unknown-codec", parts=(parts[0], (12, values)))
    yield one("stored-cut", parts=((STORE, scales[:-1]), parts[1]))
    yield one("without-a-field-model", fields=(whole, stored))
    yield one("of-bytes", dtype=U8)
    yield "fields-without-a-model", False, Payload(FIELDS, OPAQUE, fields_chunk(*parts), records)
    yield "fields-of-tables", False, Payload(FIELDS, OPAQUE, fields_chunk(*parts), records, model())
    yield "fields-of-bytes-rans", False, Payload(BYTES_RANS, OPAQUE, rans(values), values, fields_model((whole, bits)))
    yield one("cuts-a-record", content=records[:-1])
    yield one("of-too-many", content=bytes(6 * ((1 << 16) + 1)))
    yield one("none", count=0)
    yield one("nine", fields=(Field(U8, 1, ((0, 8, 0),)),) * 9, record_bytes=9)
    yield one("without-bytes", record_bytes=0)
    yield one("of-records-too-long", fields=(Field(U8, 4098, ((0, 8, 0),)),), record_bytes=4098, content=bytes(4098))
    yield one("record-longer", record_bytes=9)
    yield one("record-shorter", record_bytes=3)
    yield one("model-longer", tail=b"\0")
    yield one("model-cut", cut=1)
    yield one("model-past-the-end", fields=(whole, dataclasses.replace(bits, model_bytes=2**32 - 1)))
    yield one("model-of-fields", fields=(whole, dataclasses.replace(bits, model=fields_model((whole, bits)))))
    yield one("model-of-mixed", fields=(whole, dataclasses.replace(bits, model=mixed_model(U8, 12, model()))))
    yield one("model-of-noise", fields=(whole, dataclasses.replace(bits, model=b"\1" + bytes(7))))
    yield one("model-alone", made=b"\4")
    yield one("pieces-none", fields=(whole, dataclasses.replace(bits, piece_count=0)))
    yield one("pieces-three", fields=(whole, dataclasses.replace(bits, piece_count=3)))
    yield one("piece-unused", fields=(whole, dataclasses.replace(bits, piece_count=1)))
    yield piece("of-half-bytes", low, high, dtype=26)
    yield piece("of-no-type", low, high, dtype=200, sound=None)
    yield piece("of-opaque", low, high, dtype=OPAQUE)
    yield piece("of-complex", (2, 64, 0), dtype=20, elements=1, record_bytes=10)
    yield piece("without-elements", low, high, elements=0)
    yield piece("of-three-bits", (2, 3, 1), high)
    yield piece("of-no-bits", (2, 0, 1), high)
    yield piece("of-many-bits", (2, 4, 2), (4, 8, 1))
    yield piece("cuts-a-group", (2, 4, 4), high)
    yield piece("of-wide-bits", low, high, dtype=U16)
    yield piece("overlaps", low, (3, 4, 1))
    yield piece("past-the-record", low, (5, 4, 1))
    yield piece("far-past-the-record", low, (65535, 4, 1))
    yield piece("whole-and-bits", (2, 8, 0), high)
    yield piece("whole-of-other-width", (2, 4, 0), high)
    odd = Field(U8, 1, ((2, 8, 0),), NEAR_MODEL)
    yield one(
        "of-a-pair-that-is-none",
        True,
        fields=(whole, odd),
        record_bytes=3,
        parts=((STORE, scales), (PAIRS, pairs_chunk(values[:3], table=NEAR_TABLE))),
        content=b"".join(scales[2 * i : 2 * i + 2] + values[i : i + 1] for i in range(3)),
    )


# ---- mixed ----


def mixed_model(dtype, elements, own=b"", kind=5, flags=0, zero=0):
    return struct.pack("<BBBBI", kind, dtype, flags, zero, elements) + own


def short_varint(value):
    """At most two bytes."""
    return bytes([value]) if value < 128 else bytes([value & 127 | 128, value >> 7])


def rest_of(runs, others):
    """The rest of a mixed chunk: (other bytes, elements) of each run, then the other bytes."""
    return b"".join(short_varint(other) + short_varint(count) for other, count in runs) + others


def mixed_chunk(elements, rest, **changes):
    """elements: (inner codec, payload). Other: rest_codec, rest_bytes, reserved, more (elements' bytes), fill, tail."""
    data = struct.pack(
        "<BBHIII",
        elements[0],
        changes.get("rest_codec", STORE),
        changes.get("reserved", 0),
        (len(elements[1]) + changes.get("more", 0)) & 0xFFFFFFFF,
        changes.get("rest_bytes", len(rest)),
        changes.get("more_reserved", 0),
    )
    return (
        padded(data + elements[1], 8, 0, changes.get("fill", b"\0"))
        + changes.get("rest", rest)
        + changes.get("tail", b"")
    )


MIXED_RUNS = ((3, 4), (0, 1), (2, 5))  # all of EXPONENTS
MIXED_OTHERS = b"abcdefgh"  # three, none, two, and three behind the last


def lay_out(elements, runs=MIXED_RUNS, others=MIXED_OTHERS):
    """The chunk itself: elements is a list of bytes."""
    content, at, done = b"", 0, 0
    for other, count in runs:
        content += others[at : at + other] + b"".join(elements[done : done + count])
        at, done = at + other, done + count
    return content + others[at:]


def mixed_block():
    """A sound one, whose elements have a model."""
    made = mixed_chunk((BYTES_RANS, rans(EXPONENTS)), rest_of(MIXED_RUNS, MIXED_OTHERS))
    content = lay_out([bytes([value]) for value in EXPONENTS])
    return Payload(MIXED, OPAQUE, made, content, mixed_model(U8, len(EXPONENTS), model()))


def mixed_cases():
    """(name, sound, Payload) of ten elements in three runs among eight other bytes."""
    sound = mixed_block()
    listed = rest_of(MIXED_RUNS, b"")

    def one(
        name,
        good=False,
        elements=None,
        rest=None,
        content=None,
        dtype=OPAQUE,
        made=None,
        **changes,
    ):
        elements = elements or (BYTES_RANS, rans(EXPONENTS))
        chunk = mixed_chunk(elements, rest_of(MIXED_RUNS, MIXED_OTHERS) if rest is None else rest, **changes)
        made = sound.model if made is None else made
        return f"mixed-{name}", good, Payload(MIXED, dtype, chunk, sound.content if content is None else content, made)

    def modelled(name, good=False, elements=(STORE, EXPONENTS), count=10, dtype=U8, own=b"", **changes):
        return one(f"model-{name}", good, elements, made=mixed_model(dtype, count, own, **changes))

    yield "mixed-bytes", True, sound
    yield modelled("none", True)
    words = [struct.pack(">H", 0x1200 + 3 * i) for i in range(10)]
    turned = b"".join(word[::-1] for word in words)
    yield one("big-endian", True, (STORE, turned), content=lay_out(words), made=mixed_model(U16, 10, flags=1))
    yield one("little-endian", True, (STORE, b"".join(words)), content=lay_out(words), made=mixed_model(U16, 10))
    near = [floats()[i : i + 2] for i in range(0, 20, 2)]
    coded = (FLOAT, float_chunk(rans(EXPONENTS), RANS))
    yield one("floats", True, coded, content=lay_out(near), made=mixed_model(BF16, 10, model()))
    runs = ((0, 10),)
    yield one("one-run", True, rest=rest_of(runs, b"xyz"), content=EXPONENTS + b"xyz")
    yield one("elements-alone", True, rest=rest_of(runs, b""), content=EXPONENTS)
    yield one("nothing-behind", True, rest=rest_of(((8, 10),), MIXED_OTHERS), content=MIXED_OTHERS + EXPONENTS)
    single = ((1, 1),) * 8 + ((0, 1),) * 2
    each = [bytes([value]) for value in EXPONENTS]
    yield one("runs-of-one", True, rest=rest_of(single, MIXED_OTHERS), content=lay_out(each, single))
    yield one(
        "pairs",
        True,
        (PAIRS, pairs_chunk(EXPONENTS, table=NEAR_TABLE)),
        made=mixed_model(U8, 10, NEAR_MODEL),
    )
    # The runs.
    yield one("run-of-none", rest=rest_of(((3, 0), (0, 4), *MIXED_RUNS[1:]), MIXED_OTHERS))
    yield one("runs-more", rest=rest_of(((3, 4), (0, 1), (2, 6)), MIXED_OTHERS))
    yield one("runs-fewer", rest=rest_of(MIXED_RUNS[:2], MIXED_OTHERS))
    yield one("runs-none", rest=MIXED_OTHERS)
    yield one("run-behind-the-last", rest=listed + b"\1\1" + MIXED_OTHERS)
    yield one("other-bytes-more", rest=rest_of(((9, 4), (0, 1), (0, 5)), MIXED_OTHERS))
    yield one("other-bytes-far-more", rest=b"\xff" * 9 + b"\1\4" + listed[2:] + MIXED_OTHERS)
    yield one("run-of-most", rest=b"\3" + b"\xff" * 9 + b"\1" + listed[2:] + MIXED_OTHERS)
    yield one("varint-not-shortest", rest=b"\x83\0\4" + listed[2:] + MIXED_OTHERS)
    yield one("varint-cut", rest=listed[:-1] + b"\x85")
    yield one("rest-longer", rest=rest_of(MIXED_RUNS, MIXED_OTHERS + b"\0"))
    yield one("rest-shorter", rest=rest_of(MIXED_RUNS, MIXED_OTHERS[:-1]))
    yield one("rest-of-nothing", rest=b"")
    # The payload.
    yield one("rest-bytes-less", rest_bytes=len(listed) + len(MIXED_OTHERS) - 1)
    yield one("rest-bytes-more", rest_bytes=len(listed) + len(MIXED_OTHERS) + 1)
    yield one("rest-bytes-most", rest_bytes=2**32 - 1)
    yield one("rest-too-long", rest=rest_of(MIXED_RUNS, MIXED_OTHERS) + bytes(60))
    yield one("rest-constant", rest_codec=CONSTANT)
    yield one("rest-zstd-of-noise", rest_codec=ZSTD)
    yield one("rest-of-a-model", rest_codec=MODEL)
    yield one("rest-of-mixed", rest_codec=MIXED)
    yield one("rest-of-an-unknown-codec", rest_codec=200)
    yield one("reserved", reserved=1)
    yield one("reserved-more", more_reserved=1)
    yield one("padding", elements=(STORE, EXPONENTS), fill=b"\1", made=mixed_model(U8, 10))
    yield one("past-the-end", more=2**32 - 200)
    yield one("elements-longer", more=4)
    yield one("elements-cut", elements=(STORE, EXPONENTS[:-1]))
    yield one("in-mixed", elements=(MIXED, mixed_chunk((STORE, EXPONENTS), rest_of(runs, b""))))
    yield one("of-fields", elements=(FIELDS, fields_chunk((STORE, EXPONENTS))))
    yield one("of-a-model", elements=(MODEL, model()))
    yield one("of-an-unknown-codec", elements=(12, EXPONENTS))
    yield "mixed-header-cut", False, dataclasses.replace(sound, data=sound.data[:15])
    yield one("of-bytes", dtype=U8)
    yield "mixed-without-a-model", False, dataclasses.replace(sound, model=None)
    yield "mixed-of-tables", False, dataclasses.replace(sound, model=model())
    yield "mixed-of-shifts", False, dataclasses.replace(sound, model=model(2, 0, ()))
    yield "mixed-of-bytes-rans", False, dataclasses.replace(sound, codec=BYTES_RANS, data=rans(EXPONENTS))
    whole = fields_model((Field(U8, 6, ((0, 8, 0),)),))
    yield "mixed-of-fields-model", False, dataclasses.replace(sound, model=whole)
    records = Payload(FIELDS, OPAQUE, fields_chunk((STORE, EXPONENTS[:6])), EXPONENTS[:6], mixed_model(U8, 6))
    yield "fields-of-mixed-model", False, records
    # The model.
    yield modelled("kind", None, kind=6)
    yield modelled("flags", flags=2)
    yield modelled("reserved", zero=1)
    yield modelled("without-elements", count=0)
    yield modelled("elements-more-than-the-block", count=19)
    yield modelled("elements-wider-than-the-block", dtype=U16)
    yield modelled("elements-most", count=2**32 - 1)
    many = (1 << 18) + 1
    yield one("model-elements-too-many", content=bytes(many), made=mixed_model(U8, many))
    yield modelled("of-opaque", dtype=OPAQUE)
    yield modelled("of-complex", dtype=20)
    yield modelled("of-nibbles", dtype=24)
    yield modelled("of-no-type", None, dtype=200)
    yield modelled("of-fields", own=fields_model((Field(U8, 1, ((0, 8, 0),)),), 1))
    yield modelled("of-mixed", own=mixed_model(U8, 10))
    yield modelled("of-an-unknown-kind", None, own=b"\6" + bytes(7))
    yield modelled("longer", own=model(tail=b"\0"))
    yield modelled("cut", own=model(cut=1))
    two = {"tables": (TABLE, TABLE), "bounds": (32,)}
    yield modelled("view-past-the-elements", own=model(**two, views=(View(11, 5, 0, (), (1, 0, 0)),)))
    yield modelled("view", True, own=model(**two, views=(View(10, 5, 0, (), (1, 0)),)))
    yield "mixed-model-cut", False, dataclasses.replace(sound, model=sound.model[:7])


def cases():
    yield from float_cases()
    yield from rans_cases()
    yield from zero_run_cases()
    yield from pairs_cases()
    yield from fields_cases()
    yield from mixed_cases()
