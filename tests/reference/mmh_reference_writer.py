"""A small writer of containers, for tests: plain, encrypted, signed, with parity, and hostile.

Chunks come from a container of mmh (`source_of`) or are made here, stored as they are (`source_from`).
`build` makes what format.md allows; `forge` makes what somebody without keys can make of a container.
"""
# SPDX-License-Identifier: Apache-2.0

import os
import struct
import zlib

import zstandard

import mmh_reference as reference
import mmh_reference_crypto as crypto
import mmh_reference_parity as parity_code
from mmh_reference_errors import Cursor

ALIGNMENT = 8


def varint(value):
    """Unsigned LEB128."""
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def svarint(value):
    """The zigzag form as a varint."""
    return varint(((value << 1) ^ (value >> 63)) & (1 << 64) - 1)


def string(data):
    """A byte count, then bytes."""
    data = data.encode() if isinstance(data, str) else data
    return varint(len(data)) + data


class Source:
    """What a container holds, before any of it is hashed, sealed or placed."""

    def __init__(self, suite, payloads, codecs, head, rest, required=0, optional=0):
        self.suite = suite
        self.payloads = payloads
        self.codecs = codecs
        self.head = head  # the private part before the codec ids
        self.rest = rest  # and what follows the seal numbers
        self.required = required
        self.optional = optional


def source_from(files, suite=2, chunk_bytes=1 << 16, shared=True):
    """Files {name: bytes}, each one block of stored chunks; equal chunks are stored once if `shared`."""
    payloads, numbers, blocks, rows = [], {}, [], []
    following = 0
    for name, data in sorted(files.items()):
        if data:
            row = bytes([0, 0]) + varint(len(data)) + varint(chunk_bytes)
            for at in range(0, len(data), chunk_bytes):
                piece = data[at : at + chunk_bytes]
                if not shared or piece not in numbers:
                    numbers[piece] = len(payloads)
                    payloads.append(piece)
                row += svarint(numbers[piece] - following)
                following = numbers[piece] + 1
            blocks.append(row + varint(0))
        digest = reference.ContentDigest(reference.suite_hash(suite))
        digest.update(data)
        row = string(name) + bytes([0, 0]) + varint(0o644) + varint(0)
        rows.append(row + varint(len(data)) + digest.digest() + varint(bool(data)) + varint(0))
    rest = varint(len(blocks)) + b"".join(blocks) + varint(len(rows)) + b"".join(rows) + varint(0) + varint(0)
    return Source(suite, payloads, bytes(len(payloads)), string("mmh reference writer") + b"\0", rest)


def source_of(data, keys=()):
    """What a container holds."""
    container = reference.Container(data, keys)
    public = Cursor(container.index.public_part(), "index")
    reference.read_chunk_list(public, container.footer.index_a, container.footer.hash_bytes, container.cipher)
    private = public
    if container.cipher:
        private = Cursor(container.index.private_part(container.secrets, container.header), "index")
    at = private.at
    private.string()
    private.u8()
    head = private.data[at : private.at]
    reference.read_chunk_secrets(private, container.chunks, container.cipher)
    payloads = [container.payload(number) for number in range(len(container.chunks))]
    codecs = bytes(chunk.codec for chunk in container.chunks)
    required, optional = struct.unpack_from("<II", container.header, 16)
    rest = private.take(private.left())
    return Source(container.suite, payloads, codecs, head, rest, required & ~1, optional)


def make_header(source, cipher=0, commitment=bytes(32), **fields):
    """The header; `fields` replace what would be there, by the document's table."""
    values = {"major": 3, "minor": 0, "draft": 4, "suite": source.suite, "cipher": cipher}
    values.update(required=source.required | bool(cipher), optional=source.optional, reserved=bytes(28))
    values.update(base=bytes(32), **fields)
    head = reference.HEADER_MAGIC + struct.pack(
        "<HHHBBIIII",
        *(values[name] for name in ("major", "minor", "draft", "suite", "cipher", "required", "optional")),
        4096,
        128,
    )
    head += commitment + values["base"] + values["reserved"]
    return head + struct.pack("<I", zlib.crc32(head))


def with_crc(header):
    """A header whose CRC is right."""
    return bytes(header[:124]) + struct.pack("<I", zlib.crc32(bytes(header[:124])))


def cut_pages(part, compress=True):
    """(what is stored, decoded bytes) for each page."""
    pages = []
    for at in range(0, len(part), reference.PAGE_BYTES):
        piece = part[at : at + reference.PAGE_BYTES]
        packed = zstandard.ZstdCompressor(3).compress(piece) if compress else piece
        pages.append((packed if len(packed) < len(piece) else piece, len(piece)))
    return pages


def public_part(new_hash, stored, gaps):
    """The chunk list."""
    out = struct.pack("<I", 2) + varint(len(stored))
    out += b"".join(varint(len(chunk)) for chunk in stored) + b"".join(map(varint, gaps))
    return out + b"".join(new_hash(b"\0" + chunk).digest() for chunk in stored)


def seal_differences(numbers):
    """The column of seal numbers."""
    return b"".join(varint(number - least) for number, least in zip(numbers, [0] + [n + 1 for n in numbers]))


class Body:
    """Header, chunks and index, with the root: what a trailer is put behind."""

    def __init__(self, header, stored, public_pages, sealed_pages=(), gaps=None):
        self.new_hash = reference.suite_hash(header[14])
        self.header = header
        self.chunks = stored
        self.gaps = gaps
        if gaps is None:
            sizes = [reference.HEADER_BYTES] + [len(chunk) for chunk in stored]
            self.gaps = [-size % ALIGNMENT for size in sizes[:-1]]
        front = header
        for gap, chunk in zip(self.gaps, stored):
            front += bytes(gap) + chunk
        public = public_pages
        if callable(public_pages):
            public = cut_pages(public_pages(self))
        table, pages = b"", b""
        for mark, rows in ((0, public), (1 << 31, sealed_pages)):
            for page, decoded in rows:
                table += struct.pack("<II", len(page), decoded | mark) + self.new_hash(b"\1" + page).digest()
                pages += page
        front += bytes(-len(front) % ALIGNMENT)
        self.index_at = len(front)
        self.table_bytes = len(table)
        self.page_count = len(public) + len(sealed_pages)
        self.index = table + pages
        self.front = front + self.index
        self.root = self.new_hash(b"\2" + header + table).digest()

    def chunk_list(self):
        """The public part that is right."""
        return public_part(self.new_hash, self.chunks, self.gaps)


def make_body(source, secrets=None, seals=None, header=None, compress=True):
    """Sections 2, 5 and 15: header, chunks, index."""
    if header is None:
        cipher = secrets.cipher if secrets else 0
        header = make_header(source, cipher, secrets.commitment if secrets else bytes(32))
    private = source.head + source.codecs
    if not secrets:
        stored = source.payloads
        return Body(header, stored, lambda body: body.chunk_list() + private + source.rest)
    seals = list(range(len(source.payloads))) if seals is None else seals
    stored = [secrets.seal_chunk(number, payload) for number, payload in zip(seals, source.payloads)]
    private += seal_differences(seals) + source.rest
    public = cut_pages(Body(header, stored, []).chunk_list(), compress)
    sealed = [
        (secrets.seal_page(len(public) + number, page, header), decoded)
        for number, (page, decoded) in enumerate(cut_pages(private, compress))
    ]
    return Body(header, stored, public, sealed)


def pack_sections(sections):
    """A trailer of (type, body)."""
    out = b""
    for kind, body in sections:
        out += struct.pack("<IIQ", kind, reference.section_crc(kind, body), len(body)) + body + bytes(-len(body) % 8)
    return out


def make_footer(body, trailer_at, trailer_bytes):
    """The footer."""
    spare = trailer_at + trailer_bytes
    index_b = spare + reference.FOOTER_BYTES
    size = index_b + len(body.index) + reference.FOOTER_BYTES
    raw = reference.FOOTER_MAGIC + struct.pack(
        "<QQQQIIQQ",
        size,
        body.index_at,
        index_b,
        len(body.index),
        body.table_bytes,
        body.page_count,
        trailer_at,
        trailer_bytes,
    )
    raw += body.root[:32] + body.header + body.root[32:].ljust(16, b"\0") + bytes(12)
    return raw + struct.pack("<I", zlib.crc32(raw))


def assemble(body, sections=(), percent=0):
    """Sections 1, 4 and 17: a container of a body and a trailer's sections, with parity of `percent`."""
    front, area, sections = body.front, b"", list(sections)
    if percent:
        gap = -len(front) % 8
        trailer_bytes = len(pack_sections(sections)) + 16 + 80
        tail_bytes = reference.FOOTER_BYTES + trailer_bytes
        geometry = parity_code.Geometry.choose(len(front), percent, tail_bytes, body.root)

        def packets(tail):
            return b"".join(parity_code.make_area(body.new_hash, geometry, front, tail))

        area_bytes = gap + len(packets(bytes(tail_bytes)))
        place = struct.pack("<QQ", len(front), area_bytes)
        sections.append((reference.SECTION_PARITY, geometry.encode() + place))
        tail = make_footer(body, len(front) + area_bytes, trailer_bytes) + pack_sections(sections)
        area = bytes(gap) + packets(tail)
    trailer = pack_sections(sections)
    footer = make_footer(body, len(front) + len(area), len(trailer))
    return front + area + trailer + footer + body.index + footer


def build(source, cipher=0, recipients=(), signers=(), percent=0, file_key=None, seals=None, counter=0):
    """A container: encrypted to recipients, signed by signers, with parity."""
    secrets = None
    if cipher:
        file_key = os.urandom(crypto.FILE_KEY_BYTES) if file_key is None else file_key
        secrets = crypto.FileKeys(file_key, cipher, source.suite)
    body = make_body(source, secrets, seals)
    return assemble(body, make_sections(body, secrets, recipients, signers, counter), percent)


def make_sections(body, secrets=None, recipients=(), signers=(), counter=0):
    """Sections 1 and 2 of a trailer."""
    sections = []
    if recipients:
        section = crypto.write_recipients(secrets, body.header, body.root, recipients)
        sections.append((reference.SECTION_RECIPIENTS, section))
    if signers:
        signatures = [crypto.sign(key, body.header[14], body.root, counter) for key in signers]
        sections.append((reference.SECTION_SIGNATURES, crypto.write_signatures(signatures)))
    return sections


class Forgery:
    """A container taken apart by somebody without keys, to be changed and put together again.

    Hashes, tables, CRCs and the root are made right again; seals, the MAC and signatures cannot be.
    """

    def __init__(self, data):
        container = reference.Container(data)
        self.header = container.header
        self.chunks = [container.stored(number) for number in range(len(container.chunks))]
        self.list = container.index.public_part()
        self.public_bytes = None  # to replace the chunk list
        index = container.index
        self.sealed = [(index.stored[page.number], page.decoded_bytes | 0) for page in index.sealed]
        self.sections = [
            (kind, body)
            for kind, (_, body) in reference.trailer_sections(data, container.footer).items()
            if kind != reference.SECTION_PARITY
        ]
        self.plain_rest = b""
        if not container.cipher:
            cursor = Cursor(self.list, "index")
            reference.read_chunk_list(cursor, container.footer.index_a, container.footer.hash_bytes, 0)
            self.plain_rest = cursor.take(cursor.left())

    def section(self, kind):
        """A section's body."""
        return dict(self.sections)[kind]

    def replace(self, kind, body):
        """Another body for a section; None: without it."""
        self.sections = [(k, body if k == kind else b) for k, b in self.sections if k != kind or body is not None]

    def container(self, percent=0):
        """The forged container."""

        def public(body):
            return (body.chunk_list() if self.public_bytes is None else self.public_bytes) + self.plain_rest

        return assemble(Body(self.header, self.chunks, public, self.sealed), self.sections, percent)


def append_trailer(data, sections):
    """Section 4: another trailer, spare footer, index B and footer behind the old footer."""
    container = reference.Container(data)
    footer = container.footer
    index = data[footer.index_a : footer.index_a + footer.index_bytes]

    class Old:
        pass

    body = Old()
    body.header, body.root, body.index = container.header, container.root, index
    body.index_at, body.table_bytes, body.page_count = footer.index_a, footer.table_bytes, footer.pages
    old = reference.trailer_sections(data, footer)
    out = data[: footer.size]
    if reference.SECTION_PARITY in old:
        section = old[reference.SECTION_PARITY][1]
        sections = [*sections, (reference.SECTION_PARITY, section)]
        geometry = parity_code.Geometry.parse(section[:64], len(data))
        newest = max(
            (p.generation for p in parity_code.scan(data, 0, len(data), container.new_hash) if p.kind == 3), default=0
        )
        size = reference.FOOTER_BYTES + len(pack_sections(sections))
        room = len(b"".join(parity_code.tail_packets(container.new_hash, geometry, bytes(size)))) + 8
        tail = make_footer(body, len(out) + room, size - reference.FOOTER_BYTES) + pack_sections(sections)
        packets = parity_code.tail_packets(container.new_hash, geometry, tail, newest + 1)
        out += (bytes(-len(out) % 8) + b"".join(packets)).ljust(room, b"\0")
    trailer = pack_sections(sections)
    footer = make_footer(body, len(out), len(trailer))
    return out + trailer + footer + index + footer
