"""A second, independent reader of .mmh containers: format.md (3.0, draft 4) made executable."""
# SPDX-License-Identifier: Apache-2.0
#
# Every function names the section of format.md that it follows. Nothing here is quick on purpose;
# what is written is what the document says, in the document's order and words.

import argparse
import hashlib
import lzma
import os
import struct
import sys
import tempfile
import zlib
from array import array
from bisect import bisect_right

import zstandard

import mmh_reference_crypto as crypto
from mmh_reference_errors import Corrupt, Cursor, Limit, NoKey, Unsupported, Untrusted, ceil_div, need, unzigzag

HEADER_BYTES = 128
FOOTER_BYTES = 256
HEADER_MAGIC = b"\x89MMH\r\n\x1a\n"
FOOTER_MAGIC = b"MMHFOOT\n"
PAGE_BYTES = 1 << 18
CHUNK_BYTES_LIMIT = 1 << 24
CHUNK_ELEMENTS = 1 << 18
TIER_BLOCK = 16384
SLICE_BYTES = 65536
INDEX_LIMIT = 1 << 30
RESTORE_LIMIT = 1 << 31
ZSTD_WINDOW_LIMIT = 1 << 27
XZ_MEMORY_LIMIT = (64 << 20) + (1 << 20)

OK, DAMAGED, MENDED, CORRUPT, UNTRUSTED, NO_KEY, UNSUPPORTED, LIMIT = 0, 3, 4, 5, 7, 8, 9, 10

TRAILER_LIMIT = 1 << 26
SECTION_RECIPIENTS, SECTION_SIGNATURES, SECTION_PARITY = 1, 2, 3
REQUIRED_SEALED = 1

STORE, CONSTANT, ZSTD, LZMA, FLOAT, BYTES_RANS = 0, 1, 2, 3, 4, 5
ZERO_RUN, SHUFFLE_ZSTD, MODEL, BYTE_PAIRS, FIELDS, MIXED = 6, 7, 8, 9, 10, 11

MODEL_RANS, MODEL_SHIFTS, MODEL_PAIRS, MODEL_FIELDS, MODEL_MIXED = 1, 2, 3, 4, 5

# Section 5, element types: name and bits of one element.
TYPES = {
    0: ("opaque", 8),
    1: ("bool", 8),
    2: ("u8", 8),
    3: ("i8", 8),
    4: ("u16", 16),
    5: ("i16", 16),
    6: ("u32", 32),
    7: ("i32", 32),
    8: ("u64", 64),
    9: ("i64", 64),
    10: ("f16", 16),
    11: ("bf16", 16),
    12: ("f32", 32),
    13: ("f64", 64),
    14: ("f8_e4m3", 8),
    15: ("f8_e5m2", 8),
    16: ("f8_e8m0", 8),
    17: ("f4", 4),
    18: ("f6_e2m3", 6),
    19: ("f6_e3m2", 6),
    20: ("c64", 64),
    21: ("c128", 128),
    22: ("f8_e4m3fnuz", 8),
    23: ("f8_e5m2fnuz", 8),
    24: ("i4", 4),
    25: ("u4", 4),
    26: ("i2", 2),
    27: ("u2", 2),
}
# Section 5, block types: name, elements of a block, bytes of it.
BLOCKED_TYPES = {
    28: ("q4_0", 32, 18),
    29: ("q4_1", 32, 20),
    30: ("q5_0", 32, 22),
    31: ("q5_1", 32, 24),
    32: ("q8_0", 32, 34),
    33: ("q8_1", 32, 36),
    34: ("q2_k", 256, 84),
    35: ("q3_k", 256, 110),
    36: ("q4_k", 256, 144),
    37: ("q5_k", 256, 176),
    38: ("q6_k", 256, 210),
    39: ("q8_k", 256, 292),
    40: ("iq2_xxs", 256, 66),
    41: ("iq2_xs", 256, 74),
    42: ("iq2_s", 256, 82),
    43: ("iq3_xxs", 256, 98),
    44: ("iq3_s", 256, 110),
    45: ("iq1_s", 256, 50),
    46: ("iq1_m", 256, 56),
    47: ("iq4_nl", 32, 18),
    48: ("iq4_xs", 256, 136),
    49: ("tq1_0", 256, 54),
    50: ("tq2_0", 256, 66),
    51: ("mxfp4", 32, 17),
    52: ("nvfp4", 64, 36),
    53: ("q1_0", 128, 18),
}
# The type of a block of the container is a scalar: no complex type, no type below a byte, no block type.
BLOCK_TYPES = frozenset(set(TYPES) - {17, 18, 19, 20, 21, 24, 25, 26, 27})

# Section 8: exponent bits E, mantissa bits M of the head, tail bits t.
FLOAT_LAYOUT = {11: (8, 7, 0), 10: (5, 10, 0), 12: (8, 7, 16), 13: (11, 4, 48)}

# The bits of each byte value, lowest first, as bytes 0 and 1.
BITS_OF_BYTE = [bytes((value >> i) & 1 for i in range(8)) for value in range(256)]


# --------------------------------------------------------------------------------------------------
# Section 3: hashes
# --------------------------------------------------------------------------------------------------


def suite_hash(suite):
    """The constructor of the hash H of a suite (section 2)."""
    if suite == 1:
        from blake3 import blake3

        return blake3
    return hashlib.sha384 if suite == 3 else hashlib.sha256


def suite_bytes(suite):
    """n, the bytes of a suite's hashes."""
    return 48 if suite == 3 else 32


class ContentDigest:
    """H(0x03 || u64 size || slice hashes), slice hash = H(0x04 || up to 64 KiB of the file)."""

    def __init__(self, new_hash):
        self.new_hash = new_hash
        self.size = 0
        self.slices = []
        self.rest = bytearray()

    def update(self, data):
        """Take the next bytes of the file."""
        self.size += len(data)
        self.rest += data
        whole = len(self.rest) // SLICE_BYTES * SLICE_BYTES
        for at in range(0, whole, SLICE_BYTES):
            self._slice(self.rest[at : at + SLICE_BYTES])
        del self.rest[:whole]

    def _slice(self, data):
        self.slices.append(self.new_hash(b"\x04" + bytes(data)).digest())

    def digest(self):
        """The digest of what came."""
        if self.rest:
            self._slice(self.rest)
            self.rest = bytearray()
        head = b"\x03" + struct.pack("<Q", self.size)
        return self.new_hash(head + b"".join(self.slices)).digest()


# --------------------------------------------------------------------------------------------------
# Section 2: header
# --------------------------------------------------------------------------------------------------


def header_is_whole(header):
    """Whether the CRC, which is looked at before anything else, and the magic are right."""
    if len(header) != HEADER_BYTES:
        return False
    (crc,) = struct.unpack_from("<I", header, 124)
    return zlib.crc32(header[:124]) == crc and header[:8] == HEADER_MAGIC


def check_header(header):
    """Refuse what this reader does not know; gives the hash suite and the encryption suite."""
    major, minor, draft, suite, cipher, required, _ = struct.unpack_from("<HHHBBII", header, 8)
    if major != 3:
        raise Unsupported("major version %d" % major)
    if required & ~REQUIRED_SEALED:
        raise Unsupported("required features %#x of version 3.%d" % (required, minor))
    if draft != 4:
        raise Unsupported("draft %d" % draft)
    if suite not in (1, 2, 3):
        raise Unsupported("hash suite %d" % suite)
    if cipher > 2:
        raise Unsupported("encryption suite %d" % cipher)
    need(bool(required & REQUIRED_SEALED) == bool(cipher), "the sealed bit and the encryption suite do not agree")
    return suite, cipher


# --------------------------------------------------------------------------------------------------
# Section 4: footer
# --------------------------------------------------------------------------------------------------


class Footer:
    """The fields of a footer, or of a spare."""

    def __init__(self, raw):
        self.raw = raw
        (
            self.size,
            self.index_a,
            self.index_b,
            self.index_bytes,
            self.table_bytes,
            self.pages,
            self.trailer,
            self.trailer_bytes,
        ) = struct.unpack_from("<QQQQIIQQ", raw, 8)
        self.header = raw[96:224]
        self.hash_bytes = suite_bytes(self.header[14])
        self.root = raw[64:96] + raw[224 : 224 + self.hash_bytes - 32]
        self.spare = self.trailer + self.trailer_bytes

    def fits(self, at):
        """Whether its offsets fit each other and the place `at` where it was found."""
        return (
            self.index_a >= HEADER_BYTES
            and self.pages >= 1
            and header_is_whole(self.header)
            and self.header[14] in (1, 2, 3)
            and self.table_bytes == (8 + self.hash_bytes) * self.pages
            and self.table_bytes <= self.index_bytes
            and self.index_a + self.index_bytes <= self.trailer
            and self.trailer_bytes <= TRAILER_LIMIT
            and self.spare + FOOTER_BYTES == self.index_b
            and self.index_b + self.index_bytes + FOOTER_BYTES == self.size
            and at in (self.spare, self.size - FOOTER_BYTES)
        )


def footer_at(data, at):
    """The footer at an offset, or None: magic, CRC and offsets must be right."""
    raw = data[at : at + FOOTER_BYTES]
    if at < HEADER_BYTES or len(raw) != FOOTER_BYTES or raw[:8] != FOOTER_MAGIC:
        return None
    if zlib.crc32(raw[:252]) != struct.unpack_from("<I", raw, 252)[0]:
        return None
    footer = Footer(raw)
    return footer if footer.fits(at) else None


def find_footer(data):
    """The footer and whether it ends the container; a spare, looked for backwards, is the other."""
    footer = footer_at(data, len(data) - FOOTER_BYTES)
    if footer and footer.size == len(data):
        return footer, True
    at = data.rfind(FOOTER_MAGIC)
    while at >= 0:
        footer = footer_at(data, at)
        if footer:
            return footer, False
        at = data.rfind(FOOTER_MAGIC, 0, at + len(FOOTER_MAGIC) - 1)
    raise Corrupt("neither a footer nor a spare one is whole")


def section_crc(kind, body):
    """Section 4: of a section's type, its body's size and its body."""
    return zlib.crc32(body, zlib.crc32(struct.pack("<IQ", kind, len(body))))


def trailer_sections(data, footer):
    """Section 4: (CRC, body) of the trailer's sections, by type; those that are not known are walked over."""
    cursor = Cursor(data[footer.trailer : footer.spare], "trailer")
    need(len(cursor.data) == footer.trailer_bytes, "a trailer that is not all there")
    sections = {}
    while cursor.left():
        kind, crc, size = cursor.u32(), cursor.u32(), cursor.u64()
        body = cursor.take(size)
        cursor.take(-size % 8)
        if kind in (SECTION_RECIPIENTS, SECTION_SIGNATURES, SECTION_PARITY):
            need(kind not in sections, "a section that is there twice")
            sections[kind] = (crc, body)
    return sections


def section_body(sections, kind):
    """A section's body, whose CRC is checked by who uses it; None if it is not there."""
    if kind not in sections:
        return None
    crc, body = sections[kind]
    need(section_crc(kind, body) == crc, "section %d of the trailer is damaged" % kind)
    return body


# --------------------------------------------------------------------------------------------------
# Section 5: index
# --------------------------------------------------------------------------------------------------


class Chunk:
    """One row of the chunk list; the codec and the seal number come from the private part."""

    def __init__(self, at, stored_bytes):
        self.at = at
        self.stored_bytes = stored_bytes
        self.digest = b""
        self.codec = None
        self.seal = None


class Block:
    """One row of the block table."""

    def __init__(self, kind, big_endian, size, chunk_bytes, model, chunks):
        self.type = kind
        self.big_endian = big_endian
        self.bytes = size
        self.chunk_bytes = chunk_bytes
        self.model = model
        self.chunks = chunks
        self.element_bytes = TYPES[kind][1] // 8


class File:
    """One row of the file table; kind is "file", "folder" or "link"."""

    def __init__(self):
        self.name = ""
        self.kind = ""
        self.format = 0
        self.mode = 0
        self.time = None
        self.size = 0
        self.digest = b""
        self.blocks = []
        self.target = None
        self.metadata = []


class Tensor:
    """One row of the tensor table."""

    def __init__(self, file, name, kind, flags, shape, strides, offset, size):
        self.file = file
        self.name = name
        self.type = (TYPES.get(kind) or BLOCKED_TYPES[kind])[0]
        self.big_endian = bool(flags & 1)
        self.column_major = bool(flags & 2)
        self.shape = shape
        self.strides = strides
        self.offset = offset
        self.bytes = size


def decode_page(stored, decoded_bytes):
    """A page with fewer stored than decoded bytes is zstd frames, else it is stored as it is."""
    if len(stored) == decoded_bytes:
        return stored
    return zstd_frames(stored, decoded_bytes, "index page")


class Page:
    """One row of the page table."""

    def __init__(self, number, cursor, hash_bytes):
        self.number = number
        self.stored_bytes = cursor.u32()
        decoded = cursor.u32()
        self.sealed = bool(decoded >> 31)
        self.decoded_bytes = decoded & 0x7FFFFFFF
        self.digest = cursor.take(hash_bytes)
        self.plain_bytes = self.stored_bytes - 16 if self.sealed else self.stored_bytes


def page_table_rows(table, footer, cipher):
    """Section 5, page table: the public pages and the sealed ones (without encryption all and none)."""
    cursor = Cursor(table, "page table")
    pages = [Page(number, cursor, footer.hash_bytes) for number in range(footer.pages)]
    for page in pages:
        need(1 <= page.decoded_bytes <= PAGE_BYTES, "a page's decoded bytes")
        need(0 <= page.plain_bytes <= page.decoded_bytes, "a page's stored bytes are more than its decoded ones")
    need(
        sum(page.stored_bytes for page in pages) == footer.index_bytes - footer.table_bytes,
        "the pages do not fill the index",
    )
    public = [page for page in pages if not page.sealed]
    sealed = [page for page in pages if page.sealed]
    need(public + sealed == pages, "a sealed page before one that is not")
    need(public and bool(sealed) == bool(cipher), "sealed pages and the encryption suite do not agree")
    for part in (public, sealed):
        need(all(page.decoded_bytes == PAGE_BYTES for page in part[:-1]), "a page that is not full")
    decoded = sum(page.decoded_bytes for page in pages)
    need(decoded <= (1 << 20) + 16 * footer.index_bytes, "an index that decodes to too much")
    if decoded > INDEX_LIMIT:
        raise Limit("an index of %d bytes" % decoded)
    return public, sealed


class Index:
    """Sections 3 to 5: the pages of an index as stored, checked against the root."""

    def __init__(self, data, footer, header, new_hash, cipher):
        tables = []
        for start in (footer.index_a, footer.index_b):
            table = bytes(data[start : start + footer.table_bytes])
            if len(table) == footer.table_bytes and new_hash(b"\x02" + header + table).digest() == footer.root:
                tables.append(start)
                good = table
        need(tables, "neither page table has the container's root")
        self.table = good
        self.whole = tables[0] == footer.index_a
        self.public, self.sealed = page_table_rows(good, footer, cipher)
        self.stored = []
        offset = footer.table_bytes
        for page in self.public + self.sealed:
            for start in (footer.index_a, footer.index_b):
                stored = bytes(data[start + offset : start + offset + page.stored_bytes])
                if len(stored) == page.stored_bytes and new_hash(b"\x01" + stored).digest() == page.digest:
                    break
                self.whole = False
            else:
                raise Corrupt("both copies of an index page are damaged")
            self.stored.append(stored)
            offset += page.stored_bytes

    def public_part(self):
        """The decoded public pages; without encryption they are all."""
        return b"".join(decode_page(self.stored[page.number], page.decoded_bytes) for page in self.public)

    def private_part(self, keys, header):
        """The sealed pages, opened (section 15) and decoded."""
        return b"".join(
            decode_page(keys.open_page(page.number, self.stored[page.number], header), page.decoded_bytes)
            for page in self.sealed
        )


def read_chunk_list(cursor, end_of_chunks, hash_bytes, cipher):
    """Section 5, public part; chunks lie between the header and index A."""
    version = cursor.u32()
    if version != 2:
        raise Unsupported("index version %d" % version)
    count = cursor.varint()
    need(count <= cursor.left(), "more chunks than the index has bytes")
    sizes = [cursor.varint() for _ in range(count)]
    chunks = []
    at = HEADER_BYTES
    for size in sizes:
        at += cursor.varint()
        need(size >= 16 or not cipher, "a sealed chunk without a tag")
        chunks.append(Chunk(at, size))
        at += size
        need(at <= end_of_chunks, "a chunk lies outside of the container")
    for chunk in chunks:
        chunk.digest = cursor.take(hash_bytes)
    return chunks


def read_chunk_secrets(cursor, chunks, cipher):
    """Section 5, private part: codec ids, and with encryption seal numbers, which ascend strictly."""
    for chunk, codec in zip(chunks, cursor.take(len(chunks))):
        chunk.codec = codec
    if not cipher:
        return
    least = 0
    for chunk in chunks:
        chunk.seal = least + cursor.varint()
        need(chunk.seal < 1 << 63, "a seal number")
        least = chunk.seal + 1


def check_type_and_flags(kind, flags, known):
    """An element type or a flag that this reader does not know is unsupported."""
    if kind not in TYPES and kind not in BLOCKED_TYPES:
        raise Unsupported("element type %d" % kind)
    if flags & ~known:
        raise Unsupported(f"flags {flags:#x}")


def read_block_table(cursor, chunks):
    """Section 5, block table."""
    blocks = []
    following = 0

    def named_chunk():
        nonlocal following
        number = following + cursor.svarint()
        need(0 <= number < len(chunks), "a block names a chunk that is not there")
        following = number + 1
        return number

    block_count = cursor.varint()
    need(block_count * 6 <= cursor.left(), "more blocks than the index has bytes")
    for _ in range(block_count):
        kind = cursor.u8()
        flags = cursor.u8()
        check_type_and_flags(kind, flags, 3)
        need(kind in BLOCK_TYPES, "a block's type is not a scalar")
        size = cursor.varint()
        chunk_bytes = cursor.varint()
        need(size >= 1 and 1 <= chunk_bytes <= CHUNK_BYTES_LIMIT, "a block's bytes")
        width = TYPES[kind][1] // 8
        need(not (size % width or chunk_bytes % width), "a block that cuts an element")
        need(kind == 0 or size <= chunk_bytes or chunk_bytes == CHUNK_ELEMENTS * width, "a typed block's chunks")
        model = named_chunk() if flags & 2 else None
        need(model is None or chunks[model].codec == MODEL, "a block's model is not one")
        count = ceil_div(size, chunk_bytes)
        need(count <= cursor.left(), "a block of more chunks than the index has bytes")
        numbers = [named_chunk() for _ in range(count)]
        for number in numbers:
            if chunks[number].codec not in CODECS:
                raise Unsupported("codec %d" % chunks[number].codec)
        cursor.varint()
        blocks.append(Block(kind, bool(flags & 1), size, chunk_bytes, model, numbers))
    return blocks


def check_name(name):
    """Relative, divided by '/', no part empty, "." or ".."; "." alone is the packed folder."""
    if name != ".":
        need(not set(name.split("/")) & {"", ".", ".."}, "a file's name")


def check_target(name, target):
    """Relative, no ".." after a name, and beneath the folder that names are relative to."""
    need(target and target[0] != "/", "a link's target")
    depth = name.count("/")
    seen_name = False
    for part in target.split("/"):
        if part == "..":
            depth -= 1
            need(not seen_name and depth >= 0, "a link leads outside")
        elif part not in ("", "."):
            seen_name = True


def read_file_table(cursor, blocks, hash_bytes):
    """Section 5, file table."""
    files = []
    first_block = 0
    for _ in range(cursor.varint()):
        file = File()
        file.name = cursor.string()
        check_name(file.name)
        kind = cursor.u8()
        if kind > 2:
            raise Unsupported("files of kind %d" % kind)
        file.kind = ("file", "folder", "link")[kind]
        file.format = cursor.u8()
        file.mode = cursor.varint()
        need(file.mode <= 0o7777, "a file's mode")
        time = cursor.varint()
        need(time <= 1 << 63, "a file's time")
        file.time = time - 1 if time else None
        if file.kind == "file":
            file.size = cursor.varint()
            file.digest = cursor.take(hash_bytes)
            count = cursor.varint()
            need(count <= len(blocks) - first_block, "a file has more blocks than there are")
            file.blocks = blocks[first_block : first_block + count]
            first_block += count
            need(
                sum(block.bytes for block in file.blocks) == file.size, "the bytes of a file's blocks are not its size"
            )
        if file.kind == "link":
            file.target = cursor.string()
            check_target(file.name, file.target)
        for _ in range(cursor.varint()):
            key = cursor.string()
            file.metadata.append((key, cursor.string()))
        files.append(file)
    need(first_block == len(blocks), "blocks without a file")
    check_tree(files)
    return files


def check_tree(files):
    """Names ascend bytewise, are unique, and none but a folder is a parent of another name."""
    names = [file.name.encode("utf-8", "surrogateescape") for file in files]
    need(all(a < b for a, b in zip(names, names[1:])), "names are not sorted, or not unique")
    leaves = {file.name for file in files if file.kind != "folder"}
    need("." not in leaves, '"." is not a folder')
    for file in files:
        at = file.name.find("/")
        while at >= 0:
            need(file.name[:at] not in leaves, "a name beneath a file or a link")
            at = file.name.find("/", at + 1)


def read_tensor_table(cursor, files):
    """Section 5, tensor table, column by column."""
    count = cursor.varint()
    need(count <= cursor.left(), "more tensors than the index has bytes")
    owners = []
    number = 0
    for _ in range(count):
        number += cursor.varint()
        need(number < len(files), "a tensor of a file that is not there")
        need(files[number].kind == "file", "a tensor of a folder or link")
        owners.append(files[number])
    names = [cursor.string() for _ in range(count)]
    kinds = cursor.take(count)
    flags = cursor.take(count)
    for kind, flag in zip(kinds, flags):
        check_type_and_flags(kind, flag, 7)
    dimensions = cursor.take(count)
    need(all(number <= 64 for number in dimensions), "a tensor of too many dimensions")
    shapes = [tuple(cursor.varint() for _ in range(number)) for number in dimensions]
    strides = [
        tuple(cursor.varint() for _ in range(number)) if flag & 4 else None for number, flag in zip(dimensions, flags)
    ]
    said = [None if kind else cursor.varint() for kind in kinds]
    rows = zip(owners, names, kinds, flags, shapes, strides, said)
    return place_tensors(cursor, rows)


def place_tensors(cursor, rows):
    """Section 5, tensor table: the bytes of each tensor, and the last column, where it lies."""
    tensors = []
    before, end = None, 0
    for file, name, kind, flags, shape, strides, said in rows:
        size = said
        if strides is not None:
            need(not flags & 2, "a tensor with strides that is column-major")
            size = strided_bytes(kind, shape, strides)
            need(said in (None, size), "a tensor's strides and bytes do not agree")
        elif kind:
            size = plain_bytes(kind, shape)
        offset = (end if file is before else 0) + cursor.svarint()
        before, end = file, offset + size
        need(offset >= 0 and end <= file.size, "a tensor outside of its file")
        tensors.append(Tensor(file.name, name, kind, flags, shape, strides, offset, size))
    return tensors


def plain_bytes(kind, shape):
    """Section 5: the bytes of a tensor whose elements follow one another."""
    count = 1
    for dimension in shape:
        count *= dimension
    if kind in TYPES:
        return ceil_div(count * TYPES[kind][1], 8)
    _, elements, block_bytes = BLOCKED_TYPES[kind]
    need(count % elements == 0, "a tensor that cuts a block")
    return count // elements * block_bytes


def strided_bytes(kind, shape, strides):
    """Section 5: from the first to the last element of a view."""
    need(kind in TYPES and TYPES[kind][1] % 8 == 0, "strides of elements that have no whole bytes")
    if 0 in shape:
        return 0
    last = sum((dimension - 1) * stride for dimension, stride in zip(shape, strides))
    return (1 + last) * (TYPES[kind][1] // 8)


def read_extensions(cursor):
    """Section 5, extensions: an unknown odd type is refused, an unknown even one ignored."""
    for _ in range(cursor.varint()):
        kind = cursor.varint()
        cursor.take(cursor.varint())
        if kind & 1:
            raise Unsupported("extension %d" % kind)


# --------------------------------------------------------------------------------------------------
# Section 7: chunks
# --------------------------------------------------------------------------------------------------


class Decoder:
    """What is known from the index while a chunk is decoded: its block's type and model."""

    def __init__(self, kind, first_byte, model, inner=False, block_bytes=None):
        self.type = kind
        self.block_bytes = block_bytes
        self.inner = inner
        self.element_bytes = TYPES[kind][1] // 8
        self.first_byte = first_byte
        self.model = model

    def elements(self, size):
        """How many elements `size` bytes are."""
        need(size % self.element_bytes == 0, "a chunk that ends inside an element")
        return size // self.element_bytes

    def model_of(self, kind):
        """The block's model, which must be of the kind."""
        need(self.model is not None and self.model.kind == kind, "a chunk without its model")
        need(
            not self.inner or (not self.model.views and len(self.model.tables) == 1),
            "zero-run chunk: a model with classes",
        )
        return self.model


def decode_payload(codec, payload, size, decoder):
    """Section 7: `size` bytes of a payload."""
    if codec not in CODECS:
        raise Unsupported("codec %d" % codec)
    data = CODECS[codec](payload, size, decoder)
    need(len(data) == size, "a chunk decodes to another length")
    return data


def decode_store(payload, size, _):
    """Codec 0: the bytes themselves."""
    need(len(payload) == size, "a stored chunk of another length")
    return payload


def decode_constant(payload, size, _):
    """Codec 1: one element, repeated."""
    need(len(payload) in (1, 2, 4, 8) and size % len(payload) == 0, "a constant's length")
    return payload * (size // len(payload))


def decode_zstd(payload, size, _):
    """Codec 2: one or more zstd frames."""
    return zstd_frames(payload, size, "zstd chunk")


def zstd_frames(payload, size, what):
    """Zstd frames that give `size` bytes; fed in small pieces, so that little grows over it."""
    context = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_LIMIT)
    out = bytearray()
    at = 0
    need(payload, what + ": no frame")
    while at < len(payload):
        frame = context.decompressobj()
        try:
            while not frame.eof:
                need(at < len(payload), what + ": a frame ends too early")
                out += frame.decompress(payload[at : at + 256])
                at = min(at + 256, len(payload))
                need(len(out) <= size, what + ": too many bytes")
        except zstandard.ZstdError as error:
            raise Corrupt(f"{what}: {error}") from None
        at -= len(frame.unused_data)
    need(len(out) == size, what + ": too few bytes")
    return bytes(out)


def decode_lzma(payload, size, _):
    """Codec 3: one .xz stream."""
    try:
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_LIMIT)
        data = stream.decompress(payload, max_length=size + 1)
        while not stream.eof and not stream.needs_input and len(data) <= size:
            more = stream.decompress(b"", max_length=size + 1 - len(data))
            data += more
            if not more and not stream.eof:
                break
    except (lzma.LZMAError, EOFError) as error:
        raise Corrupt(f"lzma chunk: {error}") from None
    need(stream.eof and not stream.unused_data, "lzma chunk: not one whole stream")
    return data


def decode_bytes_rans(payload, size, decoder):
    """Codec 5: rANS symbols alone; one symbol is one byte."""
    cursor = Cursor(payload, "bytes-rans chunk")
    model = decoder.model_of(MODEL_RANS)
    need(decoder.element_bytes == 1 or not model.views, "bytes-rans chunk: views of wide elements")
    symbols = rans_symbols(cursor, size, model, decoder.first_byte)
    cursor.end()
    return symbols


def decode_shuffle_zstd(payload, size, decoder):
    """Codec 7: the elements transposed to byte planes, then as zstd."""
    planes = zstd_frames(payload, size, "shuffle-zstd chunk")
    count = decoder.elements(size)
    data = bytearray(size)
    for i in range(decoder.element_bytes):
        data[i :: decoder.element_bytes] = planes[i * count : (i + 1) * count]
    return bytes(data)


# --------------------------------------------------------------------------------------------------
# Section 8: float chunks
# --------------------------------------------------------------------------------------------------


def alignment_of(count):
    """A is 64 from 32768 elements (or pairs) on, else 8."""
    return 64 if count >= 32768 else 8


def rotr16(value):
    """The head of a key: key = rotl16(head, 1)."""
    return (value >> 1) | ((value & 1) << 15)


def decode_float(payload, size, decoder):
    """Section 8, payload of a float chunk."""
    need(decoder.type in FLOAT_LAYOUT, "a float chunk of another element type")
    exponent_bits, mantissa_bits, tail_bits = FLOAT_LAYOUT[decoder.type]
    n = decoder.elements(size)
    need(n <= CHUNK_ELEMENTS, "a float chunk of too many elements")
    alignment = alignment_of(n)
    cursor = Cursor(payload, "float chunk")
    symbol_kind, q, sign_mode, z, tail_mode, fill = cursor.take(6)
    window = cursor.u16()
    patch_count = cursor.u32()
    symbol_bytes = cursor.u32()
    need(symbol_kind <= 2 and q <= 2 and sign_mode <= 2, "float chunk: modes")
    need(z <= mantissa_bits - q, "float chunk: zero bits")
    need(tail_mode in ((1, 2) if tail_bits else (0,)), "float chunk: tail mode")
    need(symbol_kind == 2 or not fill, "float chunk: a fill that nothing uses")
    need(window % (1 << q) == 0, "float chunk: window")
    positions, heads = read_patches(cursor, n, patch_count)
    section = Cursor(cursor.take(symbol_bytes), "symbol section")
    symbols = symbol_section(section, symbol_kind, fill, n, decoder)
    section.end()
    cursor.pad(alignment)
    raw_bits = 16 - exponent_bits - q
    stored_bits = raw_bits - z - (1 if sign_mode else 0)
    stored = read_planes(cursor, n, stored_bits, alignment)
    high = [rotr16((symbol_of_byte(byte, q, window) << raw_bits) & 0xFFFF) for byte in range(256)]
    low = [rotr16(raw_of_stored(value, sign_mode, z)) for value in range(1 << stored_bits)]
    values = array("H", [high[s] | low[r] for s, r in zip(symbols, stored)])
    for position, head in zip(positions, heads):
        values[position] = head
    tails = []
    if tail_mode == 1:
        tails = plain_tails(cursor, n, tail_bits // 16, alignment)
    elif tail_mode == 2:
        tails = segment_tails(cursor, n, tail_bits, alignment)
    cursor.end()
    return join_u16([values] + tails)


def read_patches(cursor, n, count):
    """Strictly ascending positions, then as many heads; pad to 8."""
    need(count <= n, "float chunk: patches")
    positions = cursor.u32s(count)
    need(all(a < b for a, b in zip(positions, positions[1:])), "patches do not ascend")
    need(not positions or positions[-1] < n, "a patch behind the chunk's end")
    heads = cursor.u16s(count)
    cursor.pad(8)
    return positions, heads


def symbol_section(section, symbol_kind, fill, n, decoder):
    """The symbol bytes of a float chunk."""
    if symbol_kind == 0:
        return tier_symbols(section, n, decoder)
    if symbol_kind == 1:
        model = decoder.model_of(MODEL_RANS)
        return rans_symbols(section, n, model, decoder.first_byte // decoder.element_bytes)
    return bytes([fill]) * n


def symbol_of_byte(byte, q, window):
    """symbol = byte < 2^q ? byte : byte + window."""
    return byte if byte < 1 << q else (byte + window) & 0xFFFF


def raw_of_stored(stored, sign_mode, z):
    """The inverse of what section 8 stores of `raw`."""
    if sign_mode == 0:
        return ((stored >> 1) << (1 + z)) | (stored & 1)
    return (stored << (1 + z)) | (sign_mode == 2)


def plane_widths(bits, widest):
    """The fields that a value is cut into, from the top."""
    widths = [16] * (bits // 16) if widest == 16 else []
    return widths + [width for width in (8, 4, 2, 1) if bits % 16 & width]


def read_planes(cursor, n, bits, alignment, widest=8):
    """Section 8, planes: n values of `bits` bits."""
    values = None
    for width in plane_widths(bits, widest):
        fields = read_plane(cursor, n, width)
        cursor.pad(alignment)
        values = fields if values is None else [(value << width) | field for value, field in zip(values, fields)]
    return [0] * n if values is None else values


def read_plane(cursor, n, width):
    """One plane: byte j of a group holds the field of element j + k * 8w in bits [k*w, (k+1)*w)."""
    groups = ceil_div(n, 64)
    if width == 16:
        return cursor.u16s(groups * 64)[:n]
    stride = 8 * width
    plane = cursor.take(groups * stride)
    out = bytearray(groups * 64)
    for k in range(8 // width):
        field = bytes((byte >> (k * width)) & ((1 << width) - 1) for byte in range(256))
        fields = plane.translate(field)
        for group in range(groups):
            at = group * 64 + k * stride
            out[at : at + stride] = fields[group * stride : (group + 1) * stride]
    return bytes(out[:n])


def plain_tails(cursor, n, planes, alignment):
    """Tails, plain: u16 planes, the highest bits first."""
    tails = []
    for _ in range(planes):
        tails.append(array("H", read_plane(cursor, n, 16)))
        cursor.pad(alignment)
    return tails


def segment_tails(cursor, n, tail_bits, alignment):
    """Tails in segments, each without its trailing zero bits."""
    segment_elements = cursor.u32()
    first_elements = cursor.u32()
    need(segment_elements >= 64 and 1 <= first_elements <= segment_elements, "tail segments")
    segments = 1 + ceil_div(max(n - first_elements, 0), segment_elements)
    zeros = cursor.take(segments)
    need(max(zeros) <= tail_bits, "a tail segment's zero bits")
    cursor.pad(8)
    tails = []
    left = n
    for number in range(segments):
        count = min(left, segment_elements if number else first_elements)
        left -= count
        values = read_planes(cursor, count, tail_bits - zeros[number], 1, widest=16)
        tails.extend([value << zeros[number] for value in values])
    cursor.pad(alignment)
    return [array("H", [(tail >> shift) & 0xFFFF for tail in tails]) for shift in range(tail_bits - 16, -1, -16)]


def join_u16(planes):
    """Elements of u16 parts, the highest first, as bytes, little endian."""
    count = len(planes)
    out = array("H", bytes(2 * count * len(planes[0])))
    for i, plane in enumerate(planes):
        out[count - 1 - i :: count] = plane
    if sys.byteorder == "big":
        out.byteswap()
    return out.tobytes()


def bits_of(data, count):
    """The first `count` bits of bytes, lowest first, as bytes 0 and 1."""
    return b"".join([BITS_OF_BYTE[byte] for byte in data])[:count]


def tier_symbols(cursor, n, decoder):
    """Section 8.1: tier symbols."""
    tiers = cursor.u8()
    shifted = cursor.u8()
    need(1 <= tiers <= 6 and shifted <= 1 and not cursor.u16(), "tier symbols: head")
    ranks = cursor.take(3 * tiers)
    cursor.pad(4)
    blocks = ceil_div(n, TIER_BLOCK)
    directory = [cursor.u16s(1 + tiers) for _ in range(blocks)]
    cursor.pad(4)
    start = cursor.at
    symbols = []
    for number, (offset, *counts) in enumerate(directory):
        need(cursor.at - start == 4 * offset, "tier symbols: a block's offset")
        symbols += tier_block(cursor, min(TIER_BLOCK, n - number * TIER_BLOCK), counts, ranks)
    if shifted:
        model = decoder.model_of(MODEL_SHIFTS)
        shifts = model.class_sums(decoder.first_byte // decoder.element_bytes, n)
        symbols = [(symbol + shift) & 255 for symbol, shift in zip(symbols, shifts)]
    return bytes(symbols)


def tier_block(cursor, count, counts, ranks):
    """Section 8.1, a block: `counts` are N_2 .. N_(T+1)."""
    tiers = []
    for following in counts:
        codes = tier_codes(cursor, count)
        need(codes.count(3) == following, "tier symbols: a tier's count")
        tiers.append(codes)
        count = following
    symbols = cursor.take(count)
    cursor.pad(4)
    for tier in range(len(tiers) - 1, -1, -1):
        escaped = iter(symbols)
        names = ranks[3 * tier : 3 * tier + 3]
        symbols = [names[code] if code < 3 else next(escaped) for code in tiers[tier]]
    return symbols


def tier_codes(cursor, count):
    """The codes of a tier: plane0 + 2 * plane1, each of ceil(count / 32) u32."""
    planes = []
    for _ in range(2):
        bits = bits_of(cursor.take(4 * ceil_div(count, 32)), None)
        need(not any(bits[count:]), "tier symbols: unused bits")
        planes.append(bits[:count])
    return bytes([low + 2 * high for low, high in zip(*planes)])


# --------------------------------------------------------------------------------------------------
# Section 9: models
# --------------------------------------------------------------------------------------------------


class BitStream:
    """Reads a model's bits, low bits of a byte first."""

    def __init__(self, data):
        self.stream = bits_of(data, None)
        self.at = 0

    def bits(self, count):
        """`count` bits, low bit first."""
        piece = self.stream[self.at : self.at + count]
        need(len(piece) == count, "a model ends too early")
        self.at += count
        value = 0
        for bit in reversed(piece):
            value = value << 1 | bit
        return value

    def ones(self, most):
        """How many ones stand before a zero, which is taken too."""
        zero = self.stream.find(0, self.at, self.at + most + 1)
        need(zero >= 0, "a model ends too early, or too many ones")
        count = zero - self.at
        self.at = zero + 1
        return count

    def exp_golomb(self, order):
        """An exp-Golomb code of an order."""
        bits = self.ones(64) + order
        return (1 << bits) + self.bits(bits) - (1 << order)

    def rice(self, order):
        """A Rice code of an order: at most 255 ones."""
        quotient = self.ones(255)
        return (quotient << order) + self.bits(order)

    def end(self):
        """The last byte is filled up with zeros; nothing after it."""
        rest = self.stream[self.at :]
        need(len(rest) < 8 and not any(rest), "a model: bits follow its end")


class View:
    """A run of the block's elements seen as a matrix."""

    def __init__(self, first, elements, columns, phase):
        self.first = first
        self.elements = elements
        self.columns = columns
        self.phase = phase
        self.column_classes = None
        self.row_classes = None


class Model:
    """Section 9: what the chunks of one block share."""

    def __init__(self, payload):
        cursor = Cursor(payload, "model")
        self.kind, self.table_bits, table_count, zero = cursor.take(4)
        view_count = cursor.u32()
        need(not zero, "a model's reserved byte")
        if self.kind == MODEL_SHIFTS:
            need(not self.table_bits and not table_count, "a model of shifts with tables")
        else:
            if self.kind not in (MODEL_RANS, MODEL_PAIRS):
                raise Unsupported("models of kind %d" % self.kind)
            need(8 <= self.table_bits <= 12, "a model's table bits")
            need(1 <= table_count <= (8 if self.kind == MODEL_PAIRS else 64), "a model's tables")
        stream = BitStream(cursor.take(cursor.left()))
        self.buckets = read_buckets(stream, table_count) if self.kind == MODEL_PAIRS else []
        self.tables = [read_table(stream, self.table_bits) for _ in range(table_count)]
        self.bounds = [stream.bits(6) for _ in range(table_count - 1)]
        need(all(a < b for a, b in zip([0] + self.bounds, self.bounds)), "a model's bounds")
        self.views = []
        self.elements = 0
        for _ in range(view_count):
            view = read_view(stream, self.elements)
            self.elements += view.elements
            self.views.append(view)
        stream.end()
        self.slots = {}

    def class_sums(self, start, n):
        """Row class + column class of n elements from the block's element `start` on."""
        sums = []
        begin = max(bisect_right([view.first for view in self.views], start) - 1, 0)
        for view in self.views[begin:]:
            if view.first >= start + n:
                break
            at = max(start, view.first) - view.first + view.phase
            end = min(start + n - view.first, view.elements) + view.phase
            while at < end:
                row, column = divmod(at, view.columns)
                width = min(end - at, view.columns - column)
                row_class = view.row_classes[row] if view.row_classes else 0
                if view.column_classes:
                    classes = view.column_classes[column : column + width]
                    sums += [row_class + one for one in classes]
                else:
                    sums += [row_class] * width
                at += width
        return sums + [0] * (n - len(sums))

    def table_numbers(self, start, n):
        """The table of each of n elements: that of its bin, clamp(sum + 32, 0, 63)."""
        if len(self.tables) == 1:
            return bytes(n)
        of_bin = [bisect_right(self.bounds, number) for number in range(64)]
        return [of_bin[min(max(total + 32, 0), 63)] for total in self.class_sums(start, n)]

    def slots_of(self, number):
        """Section 10: for each slot of a table (symbol, frequency, slot - start)."""
        if number not in self.slots:
            slots = []
            for symbol, frequency in self.tables[number]:
                slots += [(symbol, frequency, place) for place in range(frequency)]
            self.slots[number] = slots
        return self.slots[number]


def read_buckets(stream, table_count):
    """Section 9, buckets: the bucket of each byte value, for each table."""
    tables = []
    for number in range(table_count):
        if number and stream.bits(1):
            tables.append(tables[-1])
            continue
        buckets = []
        before = 0
        for _ in range(256):
            if not stream.bits(1):
                bucket = stream.bits(4)
                need(bucket != before, "a bucket written as another that is the same")
                before = bucket
            buckets.append(before)
        need(all(buckets.count(bucket) == 16 for bucket in range(16)), "a bucket without 16 values")
        tables.append(buckets)
    return tables


def read_table(stream, table_bits):
    """Section 9, tables: symbols and their frequencies, which add up to 2^K."""
    first = stream.bits(8)
    last = stream.bits(8)
    need(first <= last, "a table's symbols")
    table = [(symbol, stream.exp_golomb(3)) for symbol in range(first, last + 1)]
    need(sum(frequency for _, frequency in table) == 1 << table_bits, "a table's sum")
    need(all(frequency < 1 << table_bits for _, frequency in table), "a table of one symbol")
    return table


def read_view(stream, first):
    """Section 9, views."""
    has_columns = stream.bits(1)
    has_rows = stream.bits(1)
    elements = stream.exp_golomb(12)
    columns = stream.exp_golomb(6)
    phase = stream.exp_golomb(0)
    need(elements >= 1 and 1 <= columns <= 1 << 31 and phase < columns, "a view's numbers")
    view = View(first, elements, columns, phase)
    if has_columns:
        view.column_classes = read_classes(stream, columns)
    if has_rows:
        view.row_classes = read_classes(stream, ceil_div(phase + elements, columns))
    return view


def read_classes(stream, count):
    """Section 9, classes(n)."""
    mean = (stream.bits(8) ^ 128) - 128
    order = stream.bits(3)
    need(count <= len(stream.stream), "a model ends too early")
    classes = [mean + unzigzag(stream.rice(order)) for _ in range(count)]
    need(all(-64 <= value <= 63 for value in classes), "a class out of range")
    return classes


# --------------------------------------------------------------------------------------------------
# Section 10: rANS symbols
# --------------------------------------------------------------------------------------------------


def rans_symbols(cursor, n, model, first):
    """Section 10: n symbols whose first is the block's element (or pair) `first`."""
    stripe = cursor.u32()
    need(stripe % 128 == 0 and 128 <= stripe <= CHUNK_ELEMENTS, "rANS: a stripe's elements")
    words = cursor.u32s(ceil_div(n, stripe))
    numbers = model.table_numbers(first, n)
    symbols = bytearray()
    for stripe_number, word_count in enumerate(words):
        start = stripe_number * stripe
        symbols += rans_stripe(cursor, word_count, model, numbers[start : start + stripe])
    return bytes(symbols)


def rans_stripe(cursor, word_count, model, numbers):
    """Section 10: one stripe, filled up with symbols of table 0 that are dropped."""
    states = list(cursor.u32s(32))
    words = cursor.u16s(word_count)
    if word_count % 2:
        need(not cursor.u16(), "rANS: padding is not zero")
    filled = list(numbers) + [0] * (-len(numbers) % 128)
    tables = [model.slots_of(number) for number in range(len(model.tables))]
    mask = (1 << model.table_bits) - 1
    shift = model.table_bits
    symbols = bytearray(len(filled))
    taken = 0
    for step in range(len(filled) // 32):
        at = (step >> 2) * 128 + (step & 3)
        for lane in range(32):
            x = states[lane]
            symbols[at], frequency, place = tables[filled[at]][x & mask]
            x = frequency * (x >> shift) + place
            if x < 65536:
                if taken == word_count:
                    raise Corrupt("rANS: too few words")
                x = x << 16 | words[taken]
                taken += 1
            states[lane] = x
            at += 4
    need(taken == word_count and all(x == 65536 for x in states), "rANS: the end does not match")
    return symbols[: len(numbers)]


# --------------------------------------------------------------------------------------------------
# Section 11: zero-run chunks
# --------------------------------------------------------------------------------------------------


def decode_zero_run(payload, size, decoder):
    """Section 11: a mask of the elements that are not zero, then these."""
    n = decoder.elements(size)
    width = decoder.element_bytes
    cursor = Cursor(payload, "zero-run chunk")
    nonzero_count = cursor.u32()
    inner = cursor.u8()
    mask_coding = cursor.u8()
    need(not cursor.u16() and mask_coding <= 1, "zero-run chunk: head")
    need(inner in (STORE, FLOAT, BYTES_RANS), "zero-run chunk: inner codec")
    mask = cursor.take(cursor.u32())
    mask_bytes = ceil_div(n, 8)
    if mask_coding:
        mask = zstd_frames(mask, mask_bytes, "zero-run mask")
    need(len(mask) == mask_bytes, "zero-run chunk: mask")
    need(not any(bits_of(mask[-1:], None)[(n - 1) % 8 + 1 :]), "zero-run chunk: mask behind its end")
    cursor.pad(8)
    bits = bits_of(mask, n)
    need(bits.count(1) == nonzero_count, "zero-run chunk: count")
    within = Decoder(decoder.type, 0, decoder.model, inner=True)
    elements = decode_payload(inner, cursor.take(cursor.left()), nonzero_count * width, within)
    data = bytearray(size)
    at = 0
    place = bits.find(1)
    while place >= 0:
        data[place * width : (place + 1) * width] = elements[at : at + width]
        at += width
        place = bits.find(1, place + 1)
    return bytes(data)


# --------------------------------------------------------------------------------------------------
# Section 12: byte-pair chunks
# --------------------------------------------------------------------------------------------------


def decode_byte_pairs(payload, size, decoder):
    """Section 12: two neighbours are one symbol."""
    need(decoder.element_bytes == 1, "byte pairs of another element type")
    need(size <= CHUNK_ELEMENTS, "a byte-pair chunk of too many bytes")
    m = size // 2
    alignment = alignment_of(m)
    model = decoder.model_of(MODEL_PAIRS)
    cursor = Cursor(payload, "byte-pair chunk")
    patch_count = cursor.u32()
    symbol_bytes = cursor.u32()
    positions, pairs = read_patches(cursor, m, patch_count)
    section = Cursor(cursor.take(symbol_bytes), "symbol section")
    first = decoder.first_byte // 2
    symbols = rans_symbols(section, m, model, first)
    section.end()
    cursor.pad(alignment)
    raw = cursor.take(m)
    need(not any(cursor.take(-m % 64)), "byte-pair chunk: the raw plane's filling is not zero")
    last = cursor.take(size % 2)
    cursor.end()
    byte_of_code = [bytes_of_codes(buckets) for buckets in model.buckets]
    numbers = model.table_numbers(first, m)
    data = bytearray(2 * m)
    data[0::2] = bytes(
        [byte_of_code[number][(symbol & 15) << 4 | low & 15] for number, symbol, low in zip(numbers, symbols, raw)]
    )
    data[1::2] = bytes(
        [byte_of_code[number][symbol & 0xF0 | low >> 4] for number, symbol, low in zip(numbers, symbols, raw)]
    )
    for position, pair in zip(positions, pairs):
        data[2 * position : 2 * position + 2] = struct.pack("<H", pair)
    return bytes(data) + last


def bytes_of_codes(buckets):
    """Section 12: the byte value of each code `bucket << 4 | place`."""
    return [value for bucket in range(16) for value in range(256) if buckets[value] == bucket]


# --------------------------------------------------------------------------------------------------
# Section 13: fields chunks
# --------------------------------------------------------------------------------------------------


def need_scalar(kind):
    """Sections 13 and 14: elements within a block are of a scalar that stands in the block table, not opaque."""
    check_type_and_flags(kind, 0, 0)
    need(kind in BLOCK_TYPES and kind != 0, "elements of a type that is not a scalar")


class Field:
    """A field of records: its element type, how many elements a record has, and where their bits are."""

    def __init__(self, kind, elements, pieces, model_bytes):
        self.type = kind
        self.elements = elements
        self.pieces = pieces
        self.model_bytes = model_bytes
        self.model = None
        need_scalar(kind)
        self.width = TYPES[kind][1] // 8
        need(elements >= 1, "a field without elements")
        whole = [piece for piece in pieces if not piece[2]]
        if whole:
            need(len(pieces) == 1 and whole[0][1] == TYPES[kind][1], "a field of whole elements")
            return
        need(self.width == 1 and sum(width for _, width, _ in pieces) <= 8, "a field's bits")
        for _, width, group in pieces:
            need(width in (1, 2, 4, 8), "a piece's width")
            need(elements % (group * 8 // width) == 0, "a piece that cuts a group")

    def bytes_of(self, piece):
        """The bytes of a record that belong to a piece."""
        return range(piece[0], piece[0] + self.elements * piece[1] // 8)

    def put(self, record, data):
        """One record's elements into its bytes; sections 13's formula, element by element."""
        offset, _, group = self.pieces[0]
        if not group:
            record[offset : offset + len(data)] = data
            return
        shift = 0
        for offset, width, group in self.pieces:
            places = 8 // width
            for i, value in enumerate(data):
                at = offset + i // (group * places) * group + i % group
                record[at] |= (value >> shift & (1 << width) - 1) << width * (i // group % places)
            shift += width


class FieldsModel:
    """Section 13: a model of kind 4, what the records are."""

    kind = MODEL_FIELDS

    def __init__(self, payload):
        cursor = Cursor(payload, "model of fields")
        cursor.u8()
        count = cursor.u8()
        self.record_bytes = cursor.u16()
        need(1 <= count <= 8 and 1 <= self.record_bytes <= 4096, "a model's fields")
        self.fields = [self._field(cursor) for _ in range(count)]
        owned = [at for field in self.fields for piece in field.pieces for at in field.bytes_of(piece)]
        need(sorted(owned) == list(range(self.record_bytes)), "fields that are no record")
        for field in self.fields:
            own = cursor.take(field.model_bytes)
            if own:
                field.model = inner_model(own)
        cursor.end()

    @staticmethod
    def _field(cursor):
        kind, count = cursor.take(2)
        elements = cursor.u16()
        pieces = [(cursor.u16(), cursor.u8(), cursor.u8()) for _ in range(2)]
        need(1 <= count <= 2 and not any(map(any, pieces[count:])), "a field's pieces")
        return Field(kind, elements, pieces[:count], cursor.u32())

    def check(self, size):
        """A block of `size` elements, an opaque one's are bytes."""
        need(size % self.record_bytes == 0, "a block that cuts a record")
        for field in self.fields:
            if field.model is not None:
                check_views(field.model, size // self.record_bytes * field.elements * field.width, field.width)


def inner_model(payload):
    """The model of a field or of a mixed block's elements is of kinds 1 to 3."""
    need(payload[0] not in (MODEL_FIELDS, MODEL_MIXED), "a model within of a kind that has others within")
    return Model(payload)


def check_views(model, size, width):
    """Section 9: the views of a model are at most the elements of a block; kind 3 counts pairs."""
    unit = 2 if model.kind == MODEL_PAIRS else width
    need(model.elements <= size // unit, "a model's views are more than its block")


def decode_fields(payload, size, decoder):
    """Section 13: each field as a chunk of its own."""
    model = decoder.model_of(MODEL_FIELDS)
    need(decoder.type == 0, "fields in a block that is not opaque")
    need(size % model.record_bytes == 0 and decoder.first_byte % model.record_bytes == 0, "a chunk that cuts a record")
    records = size // model.record_bytes
    before = decoder.first_byte // model.record_bytes
    cursor = Cursor(payload, "fields chunk")
    heads = [(cursor.u8(), any(cursor.take(3)), cursor.u32()) for _ in model.fields]
    out = [bytearray(model.record_bytes) for _ in range(records)]
    for field, (inner, reserved, length) in zip(model.fields, heads):
        need(not reserved and inner in CODECS and inner < FIELDS, "a field's head")
        need(records * field.elements <= CHUNK_ELEMENTS, "a field of too many elements")
        need(inner != BYTE_PAIRS or before * field.elements % 2 == 0, "byte pairs that begin within a pair")
        each = field.elements * field.width
        within = Decoder(field.type, before * each, field.model)
        data = decode_payload(inner, cursor.take(length), records * each, within)
        cursor.pad(8)
        for number, record in enumerate(out):
            field.put(record, data[number * each : (number + 1) * each])
    cursor.end()
    return b"".join(out)


# --------------------------------------------------------------------------------------------------
# Section 14: mixed chunks
# --------------------------------------------------------------------------------------------------


class MixedModel:
    """Section 14: a model of kind 5, what the elements among the other bytes are."""

    kind = MODEL_MIXED

    def __init__(self, payload):
        cursor = Cursor(payload, "model of a mixed block")
        cursor.u8()
        self.type = cursor.u8()
        flags, zero = cursor.take(2)
        self.elements = cursor.u32()
        need_scalar(self.type)
        need(flags <= 1 and not zero, "a mixed block's flags")
        need(1 <= self.elements <= CHUNK_ELEMENTS, "a mixed block's elements")
        self.big_endian = bool(flags & 1)
        self.width = TYPES[self.type][1] // 8
        own = cursor.take(cursor.left())
        self.model = inner_model(own) if own else None

    def check(self, size):
        """A block of `size` elements, an opaque one's are bytes."""
        need(self.elements * self.width <= size, "a mixed block of more elements than it has bytes")
        if self.model is not None:
            check_views(self.model, self.elements * self.width, self.width)


def decode_mixed(payload, size, decoder):
    """Section 14: elements as a chunk of their own, and the other bytes as another."""
    model = decoder.model_of(MODEL_MIXED)
    need(decoder.type == 0, "mixed in a block that is not opaque")
    need(not decoder.first_byte and size == decoder.block_bytes, "a mixed chunk that is not all of its block")
    cursor = Cursor(payload, "mixed chunk")
    inner, rest_codec, reserved = cursor.u8(), cursor.u8(), cursor.u16()
    length, rest_bytes, more_reserved = cursor.u32s(3)
    need(not reserved and not more_reserved, "a mixed chunk's head")
    need(inner in CODECS and inner < FIELDS, "a mixed chunk's inner codec")
    need(rest_codec in (STORE, ZSTD, LZMA), "a mixed chunk's codec of the rest")
    need(rest_bytes <= 4 * size, "a mixed chunk's rest is too long")
    coded = cursor.take(length)
    cursor.pad(8)
    within = Decoder(model.type, 0, model.model)
    data = decode_payload(inner, coded, model.elements * model.width, within)
    if model.big_endian:
        data = reverse_elements(data, model.width)
    rest = decode_payload(rest_codec, cursor.take(cursor.left()), rest_bytes, Decoder(0, 0, None))
    return lay_out(data, model.width, Cursor(rest, "rest of a mixed chunk"), size)


def lay_out(data, width, rest, size):
    """Section 14: run by run, other bytes and elements, then the other bytes behind the last run."""
    runs = []
    left = len(data) // width
    while left:
        other, count = rest.varint(), rest.varint()
        need(1 <= count <= left, "a run of a mixed chunk")
        left -= count
        runs.append((other, count * width))
    need(rest.left() == size - len(data), "the other bytes of a mixed chunk")
    out, at = [], 0
    for other, length in runs:
        out += [rest.take(other), data[at : at + length]]
        at += length
    out.append(rest.take(rest.left()))
    return b"".join(out)


CODECS = {
    STORE: decode_store,
    CONSTANT: decode_constant,
    ZSTD: decode_zstd,
    LZMA: decode_lzma,
    FLOAT: decode_float,
    BYTES_RANS: decode_bytes_rans,
    ZERO_RUN: decode_zero_run,
    SHUFFLE_ZSTD: decode_shuffle_zstd,
    BYTE_PAIRS: decode_byte_pairs,
    FIELDS: decode_fields,
    MIXED: decode_mixed,
}

MODELS = {MODEL_FIELDS: FieldsModel, MODEL_MIXED: MixedModel}


def read_model(payload):
    """A model of any kind."""
    need(payload, "a model of nothing")
    return MODELS.get(payload[0], Model)(payload)


# --------------------------------------------------------------------------------------------------
# The container
# --------------------------------------------------------------------------------------------------


class Container:
    """An opened container; `mended` says that a spare copy had to serve.

    `keys` are those of mmh_reference_crypto that may open it. Without any an encrypted container is
    `locked`: what needs no key can be checked, and nothing else.
    """

    def __init__(self, data, keys=()):
        self.data = data
        header = bytes(data[:HEADER_BYTES])
        header_good = header_is_whole(header)
        if header_good:
            check_header(header)
        self.footer, at_end = find_footer(data)
        if not header_good:
            header = self.footer.header
        need(header == self.footer.header, "the header differs from its copy")
        self.header = header
        self.suite, self.cipher = check_header(header)
        self.new_hash = suite_hash(self.suite)
        self.index = Index(data, self.footer, header, self.new_hash, self.cipher)
        self.mended = not (header_good and at_end and self.index.whole)
        self.root = self.footer.root
        self._models = {}
        self.secrets = None
        self.locked = bool(self.cipher) and not keys
        if self.cipher and keys:
            self.secrets = self._unlock(keys)
        public = Cursor(self.index.public_part(), "index")
        self._read_public(public)
        if self.cipher:
            public.end()
        if not self.locked:
            self._read_private(
                Cursor(self.index.private_part(self.secrets, header), "index") if self.cipher else public
            )

    def section(self, kind):
        """The body of a section of the trailer; None if it is not there."""
        return section_body(trailer_sections(self.data, self.footer), kind)

    def _unlock(self, keys):
        """Section 15: the file key of section 1, whose MAC is checked before anything is opened."""
        section = self.section(SECTION_RECIPIENTS)
        need(section is not None, "an encrypted container without recipients")
        return crypto.open_recipients(section, keys, self.header, self.root)

    def signatures(self):
        """Section 16: the signatures of section 2."""
        return crypto.read_signatures(self.section(SECTION_SIGNATURES))

    def signed_by(self, public_keys, signatures=None):
        """Section 16: those of the public keys of which there is a right signature."""
        signatures = self.signatures() if signatures is None else signatures
        return [
            key
            for key in public_keys
            if any(signature.is_right(key, self.suite, self.root) for signature in signatures)
        ]

    def require_signatures(self, public_keys, signatures=None):
        """Refuse (untrusted) unless each of the keys signed."""
        if len(self.signed_by(public_keys, signatures)) != len(public_keys):
            raise Untrusted("a signature is missing or wrong")

    def _read_public(self, cursor):
        """Section 5: the chunk list."""
        self.chunks = read_chunk_list(cursor, self.footer.index_a, self.footer.hash_bytes, self.cipher)

    def _read_private(self, cursor):
        """Section 5: the rest of the index."""
        self.writer = cursor.string()
        self.level = cursor.u8()
        read_chunk_secrets(cursor, self.chunks, self.cipher)
        self.blocks = read_block_table(cursor, self.chunks)
        self.files = read_file_table(cursor, self.blocks, self.footer.hash_bytes)
        self.tensors = read_tensor_table(cursor, self.files)
        read_extensions(cursor)
        cursor.end()
        self.metadata = {file.name: file.metadata for file in self.files if file.metadata}

    def stored(self, number):
        """Section 3: the stored bytes of a chunk, whose hash is checked before any is used."""
        chunk = self.chunks[number]
        stored = bytes(self.data[chunk.at : chunk.at + chunk.stored_bytes])
        need(len(stored) == chunk.stored_bytes, "a chunk is cut off")
        need(self.new_hash(b"\x00" + stored).digest() == chunk.digest, "a chunk is damaged")
        return stored

    def payload(self, number):
        """Section 15: a chunk's payload, of a sealed chunk after its tag was checked."""
        stored = self.stored(number)
        return self.secrets.open_chunk(self.chunks[number].seal, stored) if self.cipher else stored

    def model_of(self, block):
        """Section 9: a block's model, read before the block's chunks."""
        if block.model is None:
            return None
        if block.model not in self._models:
            payload = self.payload(block.model)
            self._models = {block.model: read_model(payload)}
        model = self._models[block.model]
        if model.kind in MODELS:
            model.check(block.bytes // block.element_bytes)
        else:
            check_views(model, block.bytes, block.element_bytes)
        return model

    def block_pieces(self, block):
        """Sections 6 and 7: the bytes of a block, chunk by chunk."""
        model = self.model_of(block)
        for i, number in enumerate(block.chunks):
            first = i * block.chunk_bytes
            size = min(block.chunk_bytes, block.bytes - first)
            decoder = Decoder(block.type, first, model, block_bytes=block.bytes)
            data = decode_payload(self.chunks[number].codec, self.payload(number), size, decoder)
            if block.big_endian:
                data = reverse_elements(data, block.element_bytes)
            yield data

    def pieces(self, file):
        """A regular file's bytes; Corrupt after the last if the content digest is another."""
        if file.kind != "file":
            return
        digest = ContentDigest(self.new_hash)
        for block in file.blocks:
            for piece in self.block_pieces(block):
                digest.update(piece)
                yield piece
        need(digest.digest() == file.digest, f"the content digest of {file.name!r} differs")

    def restore(self):
        """Every name with (kind, permission bits, bytes or target), all in memory."""
        self.need_key()
        if sum(file.size for file in self.files) > RESTORE_LIMIT:
            raise Limit("more than %d bytes in memory" % RESTORE_LIMIT)
        restored = {}
        for file in self.files:
            content = b"".join(self.pieces(file)) if file.kind == "file" else file.target
            restored[file.name] = (file.kind, file.mode & 0o777, content)
        return restored

    def need_key(self):
        """Names, and all that files hold, need a key."""
        if self.locked:
            raise NoKey("an encrypted container, and no key")

    def verify(self):
        """Check every byte that something covers; whether a spare copy or padding is damaged."""
        for number in range(len(self.chunks)):
            self.stored(number)
        for file in [] if self.locked else self.files:
            for _ in self.pieces(file):
                pass
        return self.mended or not (self._spares_are_whole() and self._padding_is_zero() and self._trailer_is_whole())

    def _spares_are_whole(self):
        """Section 4: both footers and both indexes are the same."""
        data, footer = self.data, self.footer
        end = footer.index_a + footer.index_bytes
        return (
            len(data) == footer.size
            and data[footer.spare : footer.spare + FOOTER_BYTES] == footer.raw
            and data[-FOOTER_BYTES:] == footer.raw
            and data[footer.index_a : end] == data[footer.index_b : len(data) - FOOTER_BYTES]
        )

    def _trailer_is_whole(self):
        """Section 4: sections fill the trailer, their padding is zero, the CRCs are right."""
        cursor = Cursor(self.data[self.footer.trailer : self.footer.spare], "trailer")
        try:
            trailer_sections(self.data, self.footer)
            while cursor.left():
                kind, crc, size = cursor.u32(), cursor.u32(), cursor.u64()
                need(section_crc(kind, cursor.take(size)) == crc, "a section is damaged")
                need(not any(cursor.take(-size % 8)), "padding that is not zero")
        except Corrupt:
            return False
        return True

    def _padding_is_zero(self):
        """Section 1: chunk padding is zero."""
        at = HEADER_BYTES
        for chunk in self.chunks:
            if any(self.data[at : chunk.at]):
                return False
            at = chunk.at + chunk.stored_bytes
        return not any(self.data[at : self.footer.index_a])


def reverse_elements(data, width):
    """Section 6, flag bit 0: every element's bytes are reversed."""
    need(len(data) % width == 0, "a big-endian chunk that ends inside an element")
    out = bytearray(len(data))
    for i in range(width):
        out[i::width] = data[width - 1 - i :: width]
    return bytes(out)


def open_container(source, keys=()):
    """Open a container given as bytes or as a path."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return Container(bytes(source), keys)
    with open(source, "rb") as file:
        return Container(file.read(), keys)


# --------------------------------------------------------------------------------------------------
# The command
# --------------------------------------------------------------------------------------------------


def read_file(path):
    """All of a file."""
    with open(path, "rb") as file:
        return file.read()


def restore_to(container, folder):
    """Restore beneath a folder that is new or empty; a file gets its name after its check."""
    container.need_key()
    os.makedirs(folder, exist_ok=True)
    if os.listdir(folder):
        raise OSError(f"{folder}: is not empty")
    modes = []
    for file in container.files:
        path = os.path.join(folder, file.name)
        os.makedirs(path if file.kind == "folder" else os.path.dirname(path), exist_ok=True)
        if file.kind == "link":
            os.symlink(file.target, path)
        else:
            modes.append((path, file))
        if file.kind == "file":
            restore_file(container, file, path)
    for path, file in reversed(modes):
        os.chmod(path, file.mode & 0o777)
        if file.time is not None:
            set_time(path, file.time)


def set_time(path, time):
    """A modification time that the system cannot hold is left away."""
    try:
        os.utime(path, (time, time))
    except (OverflowError, OSError) as error:
        print(f"mmh_reference: {path}: {error}", file=sys.stderr)


def restore_file(container, file, path):
    """Section 3: the content digest is compared before the file gets its name."""
    handle, partial = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".mmh-")
    try:
        with os.fdopen(handle, "wb") as out:
            for piece in container.pieces(file):
                out.write(piece)
        os.rename(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def list_container(container):
    """Files and tensors, one a line."""
    container.need_key()
    for file in container.files:
        target = " -> " + file.target if file.target is not None else ""
        print(printable("%-6s %04o %12d  %s%s" % (file.kind, file.mode, file.size, file.name, target)))
    for tensor in container.tensors:
        shape = ",".join(map(str, tensor.shape))
        print(printable("tensor %-8s [%s] %d  %s: %s" % (tensor.type, shape, tensor.bytes, tensor.file, tensor.name)))


def printable(text):
    """Text without control characters and lone surrogates."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def main(arguments=None):
    """The command; gives the exit status."""
    parser = argparse.ArgumentParser(description="Restore an .mmh container.")
    parser.add_argument("container")
    parser.add_argument("-o", "--output", help="the folder to restore into, new or empty")
    parser.add_argument("--list", action="store_true", help="list files and tensors")
    parser.add_argument("--verify", action="store_true", help="check every byte")
    parser.add_argument("--key", action="append", default=[], help="a file of a private key that may open it")
    parser.add_argument("--passphrase-file", help="the file of a passphrase that may open it")
    parser.add_argument("--signer", action="append", default=[], help="a file of a public key that must have signed it")
    parser.add_argument("--signature", help="a detached signature file")
    options = parser.parse_args(arguments)
    if not (options.output or options.list or options.verify):
        parser.error("one of -o, --list and --verify")
    try:
        keys = [key for name in options.key for key in crypto.private_keys(read_file(name))]
        if options.passphrase_file:
            keys.append(crypto.Passphrase(read_file(options.passphrase_file).rstrip(b"\n")))
        container = open_container(options.container, keys)
        if options.signer:
            signatures = crypto.read_detached(read_file(options.signature)) if options.signature else None
            signers = [key for name in options.signer for key in crypto.public_keys(read_file(name))]
            container.require_signatures(signers, signatures)
        if options.list:
            list_container(container)
        if options.output:
            restore_to(container, options.output)
        if options.verify:
            return DAMAGED if container.verify() else OK
        return MENDED if container.mended else OK
    except Corrupt as error:
        status, reason = CORRUPT, error
    except Unsupported as error:
        status, reason = UNSUPPORTED, error
    except Untrusted as error:
        status, reason = UNTRUSTED, error
    except NoKey as error:
        status, reason = NO_KEY, error
    except Limit as error:
        status, reason = LIMIT, error
    except OSError as error:
        status, reason = 1, error
    print(printable(f"mmh_reference: {reason}"), file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
