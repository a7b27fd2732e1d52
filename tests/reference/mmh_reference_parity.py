"""Section 17 of format.md, for the second reader and its writer: Reed-Solomon, packets, repair."""
# SPDX-License-Identifier: Apache-2.0

import struct
import zlib

import numpy

import mmh_reference as reference
from mmh_reference_errors import Corrupt, Cursor, ceil_div, need
import contextlib

PACKET_MAGIC = b"MMHPAR1\n"
HEAD_BYTES, GEOMETRY_BYTES, HASH_BYTES = 24, 64, 16
BEFORE_PAYLOAD = HEAD_BYTES + GEOMETRY_BYTES + HASH_BYTES
BLOCK, TABLE, TAIL = 1, 2, 3


# --------------------------------------------------------------------------------------------------
# GF(2^8) and the code
# --------------------------------------------------------------------------------------------------


def multiply(a, b):
    """a times b modulo 0x11d, step by step."""
    product = 0
    while b:
        product ^= a * (b & 1)
        a, b = a << 1, b >> 1
        a ^= 0x11D * (a >> 8)
    return product


TIMES = numpy.array([[multiply(a, b) for b in range(256)] for a in range(256)], numpy.uint8)
INVERSE = [0] + [int(numpy.nonzero(TIMES[a] == 1)[0][0]) for a in range(1, 256)]


def coefficient(k, i, j):
    """What block j counts in parity block i: 1 / ((k + i) xor j)."""
    return INVERSE[(k + i) ^ j]


def combine(coefficients, blocks, size):
    """The sum of coefficients times blocks (arrays of bytes; missing ones are zeros)."""
    out = numpy.zeros(size, numpy.uint8)
    for factor, block in zip(coefficients, blocks):
        if factor and block is not None:
            out ^= TIMES[factor][block]
    return out


def make_parity(blocks, k, m, size):
    """The m parity blocks of up to k blocks."""
    arrays = [numpy.frombuffer(block.ljust(size, b"\0"), numpy.uint8) for block in blocks]
    return [combine([coefficient(k, i, j) for j in range(len(arrays))], arrays, size).tobytes() for i in range(m)]


def solve(matrix, count):
    """The inverse of a square matrix over the field, by Gauss and Jordan."""
    rows = [list(row) + [int(i == j) for j in range(count)] for i, row in enumerate(matrix)]
    for column in range(count):
        pivot = next(i for i in range(column, count) if rows[i][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        scale = INVERSE[rows[column][column]]
        rows[column] = [int(TIMES[scale][value]) for value in rows[column]]
        for i in range(count):
            factor = rows[i][column]
            if i != column and factor:
                rows[i] = [a ^ int(TIMES[factor][b]) for a, b in zip(rows[i], rows[column])]
    return [row[count:] for row in rows]


def recover(data, parity, k, size):
    """All k blocks, of those that are there: {number: bytes} of data and of parity. None if too few are."""
    missing = [j for j in range(k) if j not in data]
    if len(missing) > len(parity):
        return None
    used = sorted(parity)[: len(missing)]
    arrays = [numpy.frombuffer(data[j].ljust(size, b"\0"), numpy.uint8) if j in data else None for j in range(k)]
    sums = []
    for i in used:
        known = combine([coefficient(k, i, j) for j in range(k)], arrays, size)
        sums.append(known ^ numpy.frombuffer(parity[i], numpy.uint8))
    inverse = solve([[coefficient(k, i, j) for j in missing] for i in used], len(missing))
    found = {j: combine(row, sums, size).tobytes() for j, row in zip(missing, inverse)}
    return [data[j].ljust(size, b"\0") if j in data else found[j] for j in range(k)]


# --------------------------------------------------------------------------------------------------
# Geometry and packets
# --------------------------------------------------------------------------------------------------


class Geometry:
    """What is cut, and how."""

    def __init__(self, end, block_bytes, k, m, stripes, tail_bytes, root):
        self.end = end
        self.block_bytes = block_bytes
        self.k = k
        self.m = m
        self.stripes = stripes
        self.tail_bytes = tail_bytes
        self.root = root[:32]
        self.blocks = ceil_div(end, block_bytes)
        self.table_bytes = 8 * self.blocks
        self.table_pieces = min(max(ceil_div(self.table_bytes, 4096), 1), 64)
        self.table_parity = min(max(self.table_pieces, m), 255 - self.table_pieces)
        self.table_piece_bytes = ceil_div(ceil_div(self.table_bytes, self.table_pieces), 8) * 8

    @classmethod
    def choose(cls, end, percent, tail_bytes, root):
        """What the document says that writers choose."""
        block_bytes = 65536
        while ceil_div(end, block_bytes) < 8 and block_bytes > 64:
            block_bytes //= 2
        blocks = ceil_div(end, block_bytes)

        def parity(k):
            return max(2, ceil_div(k * percent, 100))

        most = max([k for k in range(1, 254) if k + parity(k) <= 255 and parity(k) <= 8], default=0)
        stripes = ceil_div(blocks, max(most, 8))
        k = ceil_div(blocks, stripes)
        return cls(end, block_bytes, k, parity(k), stripes, tail_bytes, root)

    def encode(self):
        """Its 64 bytes."""
        head = struct.pack("<QIHHIIQ", self.end, self.block_bytes, self.k, self.m, self.stripes, self.tail_bytes, 0)
        return head + self.root

    @classmethod
    def parse(cls, raw, file_bytes):
        """A geometry that can be; None for any other, and for one of more than there can be."""
        end, block_bytes, k, m, stripes, tail_bytes, zeros = struct.unpack_from("<QIHHIIQ", raw)
        if block_bytes not in [1 << bits for bits in range(6, 17)] or not (end and k and m and stripes) or zeros:
            return None
        if k + m > 255 or k != ceil_div(ceil_div(end, block_bytes), stripes):
            return None
        if end > file_bytes + m * stripes * block_bytes or end < reference.HEADER_BYTES:
            return None
        return cls(end, block_bytes, k, m, stripes, tail_bytes, raw[32:])

    def cut(self, data):
        """The blocks of the bytes [0, end), the last one as short as it is."""
        size = self.block_bytes
        return [data[j * size : min((j + 1) * size, self.end)] for j in range(self.blocks)]


def block_mark(new_hash, number, block):
    """An entry of the table."""
    return new_hash(b"\x06" + struct.pack("<Q", number) + block).digest()[:8]


def make_packet(new_hash, geometry, kind, number, payload, generation=0):
    """A packet, filled up to a multiple of 8."""
    head = PACKET_MAGIC + struct.pack("<BBHIII", kind, 0, 0, number, len(payload), generation) + geometry.encode()
    packet = head + new_hash(b"\x05" + head + payload).digest()[:HASH_BYTES] + payload
    return packet + bytes(-len(packet) % 8)


class Packet:
    """A packet that was found whole."""

    def __init__(self, data, at, new_hash):
        cursor = Cursor(data[at : at + BEFORE_PAYLOAD], "packet")
        need(cursor.take(8) == PACKET_MAGIC, "no packet")
        self.kind, *zeros = cursor.u8(), cursor.u8(), cursor.u16()
        self.number, payload_bytes, self.generation = cursor.u32s(3)
        self.geometry_raw = cursor.take(GEOMETRY_BYTES)
        mark = cursor.take(HASH_BYTES)
        self.at = at
        self.payload = bytes(data[at + BEFORE_PAYLOAD : at + BEFORE_PAYLOAD + payload_bytes])
        need(len(self.payload) == payload_bytes and not any(zeros), "a packet's head")
        head = bytes(data[at : at + HEAD_BYTES + GEOMETRY_BYTES])
        need(new_hash(b"\x05" + head + self.payload).digest()[:HASH_BYTES] == mark, "a damaged packet")
        self.end = at + BEFORE_PAYLOAD + payload_bytes


def scan(data, start, end, new_hash):
    """All whole packets at multiples of 8."""
    packets = []
    at = data.find(PACKET_MAGIC, start, end)
    while at >= 0:
        if at % 8 == 0:
            with contextlib.suppress(Corrupt):
                packets.append(Packet(data, at, new_hash))
        at = data.find(PACKET_MAGIC, at + 1, end)
    return packets


# --------------------------------------------------------------------------------------------------
# Writing
# --------------------------------------------------------------------------------------------------


def cut_pieces(data, count, size):
    """`count` pieces of `size` bytes, the last filled up with zeros."""
    data = data.ljust(count * size, b"\0")
    return [data[i * size : (i + 1) * size] for i in range(count)]


def with_parity(pieces, parity):
    """Pieces, and parity pieces behind them."""
    return pieces + make_parity(pieces, len(pieces), parity, len(pieces[0]))


def tail_shape(size, m):
    """Pieces, parity pieces and bytes of a piece of a tail."""
    count = min(max(ceil_div(size, 1024), 1), 32)
    return count, min(max(count, m), 255 - count), ceil_div(ceil_div(size, count), 8) * 8


def table_of(new_hash, geometry, data):
    """The table of the blocks."""
    return b"".join(block_mark(new_hash, j, block) for j, block in enumerate(geometry.cut(data)))


def block_packets(new_hash, geometry, data):
    """The packets of kind 1, by i, and round the stripes from where the blocks ended."""
    blocks = geometry.cut(data)
    packets = []
    stripes = [
        make_parity(blocks[s :: geometry.stripes], geometry.k, geometry.m, geometry.block_bytes)
        for s in range(geometry.stripes)
    ]
    first = geometry.blocks % geometry.stripes
    for i in range(geometry.m):
        for s in [*range(first, geometry.stripes), *range(first)]:
            number = i * geometry.stripes + s
            packets.append(make_packet(new_hash, geometry, BLOCK, number, stripes[s][i]))
    return packets


def table_packets(new_hash, geometry, data):
    """The packets of kind 2."""
    packets = []
    pieces = cut_pieces(table_of(new_hash, geometry, data), geometry.table_pieces, geometry.table_piece_bytes)
    for number, piece in enumerate(with_parity(pieces, geometry.table_parity)):
        packets.append(make_packet(new_hash, geometry, TABLE, number, piece))
    return packets


def tail_packets(new_hash, geometry, tail, generation=0):
    """The packets of kind 3; their bytes depend on the size of the tail alone."""
    count, parity, size = tail_shape(len(tail), geometry.m)
    head = struct.pack("<IHH", len(tail), count, parity)
    return [
        make_packet(new_hash, geometry, TAIL, number, head + piece, generation)
        for number, piece in enumerate(with_parity(cut_pieces(tail, count, size), parity))
    ]


def make_area(new_hash, geometry, data, tail):
    """The recovery area: half of the table, half of the tail, the blocks' parity, and the other halves."""
    table = table_packets(new_hash, geometry, data)
    last = tail_packets(new_hash, geometry, tail)
    half, other = ceil_div(len(table), 2), ceil_div(len(last), 2)
    blocks = block_packets(new_hash, geometry, data)
    return [*table[:half], *last[:other], *blocks, *table[half:], *last[other:]]


# --------------------------------------------------------------------------------------------------
# Repair
# --------------------------------------------------------------------------------------------------


def repair(data):
    """The container made whole, to the byte; Corrupt if its parity does not reach so far."""
    for new_hash in hashes_to_try(data):
        packets = scan(data, 0, len(data), new_hash)
        geometries = list(dict.fromkeys(packet.geometry_raw for packet in reversed(packets)))
        for raw in geometries:
            geometry = Geometry.parse(raw, len(data))
            mine = [packet for packet in packets if packet.geometry_raw == raw]
            whole = geometry and repair_with(data, geometry, mine, new_hash)
            if whole:
                return whole
    raise Corrupt("no parity mends it")


def hashes_to_try(data):
    """The hash of the header's suite; without a header all of them."""
    header = data[: reference.HEADER_BYTES]
    if reference.header_is_whole(header):
        return [reference.suite_hash(reference.check_header(header)[0])]
    return [reference.suite_hash(suite) for suite in (1, 2, 3)]


def repair_with(data, geometry, packets, new_hash):
    """One geometry: the bytes before its end, then the tail, then what lies between; None if it fails."""
    front = repair_front(data, geometry, packets, new_hash)
    if front is None:
        return None
    tail, generation = whole_tail(data), None
    if tail is None:
        tail, generation = newest_tail(packets, geometry) or (None, None)
    if tail is None:
        return None
    footer = reference.Footer(tail[: reference.FOOTER_BYTES])
    if footer.index_a + footer.index_bytes != geometry.end or footer.root[:32] != geometry.root:
        return None
    out = bytearray(footer.size)
    out[: geometry.end] = front
    write_packets(out, data, geometry, packets, footer, tail, generation, new_hash)
    index = front[footer.index_a :]
    trailer = tail[reference.FOOTER_BYTES :]
    out[footer.trailer :] = trailer + footer.raw + index + footer.raw
    out = bytes(out)
    try:
        reference.Container(out)
    except Corrupt:
        return None
    return out


def repair_front(data, geometry, packets, new_hash):
    """The bytes [0, E)."""
    table = pieces_of(packets, TABLE, geometry.table_pieces, geometry.table_piece_bytes, geometry.table_parity)
    if table is None:
        return None
    blocks = geometry.cut(data[: geometry.end])
    good = {j: block for j, block in enumerate(blocks) if block_mark(new_hash, j, block) == table[8 * j : 8 * j + 8]}
    parity = {packet.number: packet.payload for packet in packets if packet.kind == BLOCK}
    out = [b""] * geometry.blocks
    for s in range(geometry.stripes):
        numbers = range(s, geometry.blocks, geometry.stripes)
        have = {place: good[j] for place, j in enumerate(numbers) if j in good}
        have.update({place: b"" for place in range(len(numbers), geometry.k)})
        mine = {i: parity[i * geometry.stripes + s] for i in range(geometry.m) if i * geometry.stripes + s in parity}
        mine = {i: block for i, block in mine.items() if len(block) == geometry.block_bytes}
        found = recover(have, mine, geometry.k, geometry.block_bytes)
        if found is None:
            return None
        for place, j in enumerate(numbers):
            out[j] = found[place]
    front = b"".join(out)[: geometry.end]
    return front if table_of(new_hash, geometry, front) == table[: geometry.table_bytes] else None


def pieces_of(packets, kind, count, size, parity, skip=0):
    """What was cut into pieces, of as many as are needed; None if too few are there."""
    pieces = {packet.number: packet.payload[skip:] for packet in packets if packet.kind == kind}
    pieces = {number: piece for number, piece in pieces.items() if len(piece) == size and number < count + parity}
    data = {number: piece for number, piece in pieces.items() if number < count}
    rest = {number - count: piece for number, piece in pieces.items() if number >= count}
    found = recover(data, rest, count, size)
    return None if found is None else b"".join(found)


def newest_tail(packets, geometry):
    """The tail of the highest generation of which enough is there, and the generation; None if there is none."""
    tails = [packet for packet in packets if packet.kind == TAIL and len(packet.payload) >= 8]
    for generation in sorted({packet.generation for packet in tails}, reverse=True):
        mine = [packet for packet in tails if packet.generation == generation]
        size, count, parity = struct.unpack_from("<IHH", mine[0].payload)
        if (count, parity) != tail_shape(size, geometry.m)[:2] or size < reference.FOOTER_BYTES:
            continue
        tail = pieces_of(mine, TAIL, count, tail_shape(size, geometry.m)[2], parity, skip=8)
        if tail is None:
            continue
        raw = tail[: reference.FOOTER_BYTES]
        footer = reference.Footer(raw)
        if zlib.crc32(raw[:252]) == struct.unpack_from("<I", raw, 252)[0] and footer.fits(footer.spare):
            return tail[:size], generation
    return None


def whole_tail(data):
    """Footer and trailer as they stand, if the footer ends the container and all of the trailer is whole."""
    try:
        footer, at_end = reference.find_footer(data)
        sections = reference.trailer_sections(data, footer)
        need(at_end, "a footer that is not the last")
        for kind in sections:
            reference.section_body(sections, kind)
    except Corrupt:
        return None
    return footer.raw + data[footer.trailer : footer.spare]


def write_packets(out, data, geometry, packets, footer, tail, generation, new_hash):
    """What lies between index A and the trailer: what is there, and lost packets made again."""
    kept = data[geometry.end : footer.trailer]
    out[geometry.end : geometry.end + len(kept)] = kept
    area = recovery_area_place(tail)
    if area is None:
        return
    at, size = area
    first = at + size == footer.trailer
    if not first:
        if generation is None:
            generation = max((packet.generation for packet in packets if packet.kind == TAIL), default=1)
        last = b"".join(tail_packets(new_hash, geometry, tail, generation))
        space = bytes(-(footer.trailer - len(last)) % 8) + last
        out[footer.trailer - len(last) - 8 : footer.trailer] = space.ljust(len(last) + 8, b"\0")
    need(at == geometry.end, "a recovery area that is not behind index A")
    out[at : at + -at % 8] = bytes(-at % 8)
    at, size = at + -at % 8, size - -at % 8
    whole = make_area(new_hash, geometry, bytes(out[: geometry.end]), tail if first else bytes(geometry.tail_bytes))
    need(sum(map(len, whole)) == size, "a recovery area of another size")
    for packet in whole:
        if first or packet[8] != TAIL:  # an older tail is not known
            out[at : at + len(packet)] = packet
        at += len(packet)


def recovery_area_place(tail):
    """Section 3 of the trailer: offset and bytes of the recovery area."""
    cursor = Cursor(tail[reference.FOOTER_BYTES :], "trailer")
    while cursor.left():
        kind, crc, size = cursor.u32(), cursor.u32(), cursor.u64()
        body = cursor.take(size)
        cursor.take(-size % 8)
        if kind == reference.SECTION_PARITY and size == 80 and reference.section_crc(kind, body) == crc:
            return struct.unpack_from("<QQ", body, 64)
    return None
