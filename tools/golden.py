#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the golden files of the format's current draft: tools/golden.py [BUILD]

tests/golden/draft-N/ (v3.0/ once the format is released) gets small containers that use every codec,
element type and kind of entry, damaged and hostile ones, and golden.json, which says what each must
give: the SHA-256 of every file, or exit codes. tests/test_golden.py reads them from then on. Their
parts become the seeds of fuzz_container.c and fuzz_codec.c in tests/fuzz/corpus/. The inputs are made
here out of integers alone, so that every machine makes the same. Run it (`make golden`) whenever the
draft number rises, and commit what it writes; the folders of older drafts, which nothing reads any
more, go.
"""

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
BYTES_MAX = 200_000

# What all golden files together must make use of, as build/tests/golden_features calls it.
FEATURES = {
    *(f"codec {name}" for name in ("store", "constant", "zstd", "lzma", "float", "bytes-rans", "zero-run",
                                   "shuffle-zstd", "model", "byte-pairs")),
    "float tiers", "float rans", "float one symbol", "tiers plain", "tiers shifted",
    "float sign stored", "float sign 0", "float sign 1", "float patches", "float window",
    "float zero mantissa bits", "float tails none", "float tails plain", "float tails segments",
    *(f"float symbols with {q} mantissa bits" for q in range(3)),
    "float tiers in zero-run", "float rans in zero-run",
    "zero-run mask plain", "zero-run mask zstd", "zero-run of float", "zero-run of store",
    "zero-run of bytes-rans",
    "model one table, no classes", "model several tables, classes", "model shifts", "model pairs",
    "model view with rows columns", "model of several views",
    *(f"block of {name}" for name in ("OPAQUE", "BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64",
                                      "I64", "F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2",
                                      "F8_E8M0")),
    "block big endian", "block of several chunks", "equal chunks",
    *(f"tensor of {name}" for name in ("F4", "F6_E2M3", "F6_E3M2", "C64", "C128", "BOOL", "BF16")),
    "tensor big endian", "tensor column-major", "tensor empty",
    "file regular", "file folder", "file symlink", "file empty", "file metadata", "file time",
    "hash blake3", "hash sha256", "level 1", "level 5", "level 9",
}


def draft():
    """The draft number of the format; 0 once it is released. The header says it, and nothing else."""
    text = (ROOT / "src/container/container.h").read_text()
    return int(re.search(r"MMH_FORMAT_DRAFT = (\d+)", text)[1])


def folder():
    """Where the golden files of this draft belong."""
    return GOLDEN / (f"draft-{draft()}" if draft() else "v3.0")


# ---- inputs ----


class Numbers:
    """A stream of integers that is the same everywhere: Knuth's MMIX generator, its upper half."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return self.state >> 32

    def below(self, limit):
        return self.next() % limit

    def bell(self):
        """About normal, of unit variance in 2^-16: a sum of twelve uniform ones."""
        return sum(self.below(1 << 16) for _ in range(12)) - 6 * (1 << 16)

    def bytes(self, count):
        return bytes(self.below(256) for _ in range(count))


def weights(rows, columns, seed, keep=lambda row, column, numbers: True):
    """Weights whose scale differs by row and column, as floats that are exact in fp32."""
    numbers = Numbers(seed)
    row_scale = [16 << numbers.below(5) for _ in range(rows)]
    column_scale = [16 << numbers.below(4) for _ in range(columns)]
    return [numbers.bell() * row_scale[r] * column_scale[c] / 2**34 if keep(r, c, numbers) else 0.0
            for r in range(rows) for c in range(columns)]


def pack_floats(values, dtype):
    """Bytes of floats; bf16 by cutting, fp16 and wider by IEEE rounding, fp8 as the top of fp16."""
    if dtype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    if dtype == "F8_E5M2":
        return bytes(struct.pack("<e", value)[1] for value in values)
    if dtype == "F8_E4M3":  # weights of 2^-7 and less: the exponent has room
        return bytes((sign := struct.pack("<f", value)[3] & 128) |
                     max(0, min(126, (struct.unpack("<I", struct.pack("<f", abs(value)))[0] >> 20) - 960))
                     for value in values)
    code = {"F16": "e", "F32": "f", "F64": "d"}[dtype]
    return struct.pack(f"<{len(values)}{code}", *values)


def safetensors(tensors, metadata=None):
    header, offset = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, _, _, data in tensors)


def npy(descr, shape, data, fortran=False):
    header = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape!r}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def text(lines, seed):
    words = "model layer weight bias norm query key value token embed head mask rope scale".split()
    numbers = Numbers(seed)
    return "".join(" ".join(words[numbers.below(len(words))] for _ in range(8)) + "\n"
                   for _ in range(lines)).encode()


def matrix(name, dtype, rows, columns, seed, **options):
    return name, dtype, [rows, columns], pack_floats(weights(rows, columns, seed, **options), dtype)


def trimmed(values, bits, rows=0, columns=1):
    """fp32 whose low bits are zero, in every row or, with rows, in every other one."""
    words = struct.unpack(f"<{len(values)}I", struct.pack(f"<{len(values)}f", *values))
    mask = 2**32 - 2**bits
    return struct.pack(f"<{len(words)}I", *(word & mask if not rows or i // columns % 2 else word
                                            for i, word in enumerate(words)))


def near_powers(numbers, count, keep):
    """bf16 a little above powers of two: the top mantissa bits are as good as known."""
    return b"".join(struct.pack("<H", numbers.below(2) << 15 | (118 + numbers.below(4)) << 7 | numbers.below(16)
                                if keep() else 0) for _ in range(count))


def patches_of(numbers, count, element):
    """Runs of 16 elements, two thirds of them of zeros."""
    return b"".join(bytes(element() for _ in range(16)) if numbers.below(3) == 0 else bytes(16)
                    for _ in range(count // 16))


def small_integers(count, seed, shift=14):
    numbers = Numbers(seed)
    return bytes((numbers.bell() >> shift) % 256 for _ in range(count))


def float_tensors():
    """Every way that the float codec has."""
    values = weights(8, 64, 20)
    numbers = Numbers(21)
    mantissas = [0x3f800000 | numbers.below(1 << 23) for _ in range(512)]
    noise = [numbers.next() << 32 | numbers.next() for _ in range(192)]
    rare = [word if i % 64 == 0 else (0x3f0 + word % 12) << 52 | word >> 12 for i, word in enumerate(noise)]
    return [
        matrix("bf16", "BF16", 16, 64, 1),
        matrix("fp16", "F16", 16, 64, 2),
        matrix("fp32", "F32", 8, 64, 3),
        matrix("fp64", "F64", 8, 32, 4),
        ("positive", "BF16", [8, 64], pack_floats([abs(v) + 2**-20 for v in values], "BF16")),
        ("negative", "F16", [8, 64], pack_floats([-abs(v) - 2**-10 for v in values], "F16")),
        ("trimmed", "F32", [8, 64], trimmed(values, 19)),
        ("trimmed rows", "F32", [8, 64], trimmed(values, 13, 8, 64)),
        ("rare", "F64", [192], struct.pack("<192Q", *rare)),
        ("one exponent", "F32", [512], struct.pack("<512I", *mantissas)),
        matrix("sparse", "F32", 32, 64, 6, keep=lambda row, column, numbers: numbers.below(10) == 0),
        ("near powers", "BF16", [3072], near_powers(numbers, 3072, lambda: numbers.below(4) == 0)),
        matrix("half empty", "F32", 8, 64, 7, keep=lambda row, column, numbers: numbers.below(2)),
        ("near powers, dense", "BF16", [1024], near_powers(numbers, 1024, lambda: True)),
    ]


def integer_tensors():
    numbers = Numbers(30)
    packed = {"U16": "H", "I16": "h", "U32": "I", "I32": "i", "U64": "Q", "I64": "q"}
    tensors = [
        ("u8", "U8", [1024], bytes(numbers.below(24) * 9 for _ in range(1024))),
        ("patches i8", "I8", [6144], patches_of(numbers, 6144, lambda: (numbers.bell() >> 14) % 256)),
        ("scales", "F8_E8M0", [512], bytes(120 + numbers.below(6) for _ in range(512))),
        ("patches u8", "U8", [2048], patches_of(numbers, 2048, lambda: 1 + numbers.below(255))),
        ("mask", "BOOL", [1024], bytes(int(i % 7 == 0) for i in range(1024))),
        ("i8", "I8", [16, 64], small_integers(1024, 31)),
        matrix("e4m3", "F8_E4M3", 16, 64, 32),
        matrix("e5m2", "F8_E5M2", 16, 64, 33),
        ("f4", "F4", [512], small_integers(256, 34)),
        ("f6a", "F6_E2M3", [512], small_integers(384, 35)),
        ("f6b", "F6_E3M2", [512], small_integers(384, 36)),
        ("c64", "C64", [64], pack_floats(weights(2, 64, 37), "F32")),
        ("c128", "C128", [32], pack_floats(weights(2, 32, 38), "F64")),
        ("scalar", "F32", [], struct.pack("<f", 0.5)),
        ("empty", "F32", [0, 4], b""),
    ]
    for name, code in packed.items():
        size = struct.calcsize(code)
        tensors.append((name.lower(), name, [384], b"".join(
            struct.pack("<Q", i * 3 + numbers.below(5))[:size] for i in range(384))))
    return tensors


def pair_tensors():
    """Bytes enough for pairs of them to pay; rows of an odd length have no classes."""
    return [("pairs", "I8", [128, 64], small_integers(8192, 70, 11)),
            ("odd pairs", "U8", [119, 69], small_integers(8211, 71, 11))]


def model_folder(base):
    """A folder as models come: several files, folders, links, modes; equal parts."""
    model = safetensors([matrix("a", "BF16", 12, 64, 42), matrix("b", "BF16", 12, 64, 43),
                         matrix("c", "F16", 8, 64, 44)], {"format": "pt", "note": "gr\u00fc\u00dfe"})
    files = {
        "config.json": json.dumps({"hidden": 64, "layers": 2, "vocabulary": [text(1, 40).decode()]}).encode(),
        "vocabulary.txt": text(60, 41),
        "empty": b"",
        "model.safetensors": model,
        "copy/model.safetensors": model,
        "arrays/column.npy": npy("<f4", (8, 64), pack_floats(weights(8, 64, 45), "F32"), True),
        "arrays/big.npy": npy(">f8", (8, 32), struct.pack(">256d", *weights(8, 32, 46))),
        "run.sh": b"#!/bin/sh\nexit 0\n",
    }
    for name, data in files.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    (base / "void").mkdir()
    (base / "link").symlink_to("copy/model.safetensors")
    for path in (base, base / "copy", base / "arrays", base / "void"):
        path.chmod(0o755)


def chunks_tensors():
    """Blocks of several chunks, small because there is little in them; two that are equal."""
    ramp = b"".join(bytes([i % 64]) * 4096 for i in range(130))
    return [("zeros", "U8", [600000], bytes(600000)), ("zeros again", "F32", [300000], bytes(1200000)),
            ("ramp", "I8", [len(ramp)], ramp)]


def classes_tensors(level):
    """Shifts of the tiers are looked for from 2^13 elements on; blocks are shared from level 5 on."""
    if level == 3:
        return [matrix("classes", "BF16", 64, 128, 50)]
    return [matrix("classes", "BF16", 64, 32, 50), matrix("more", "BF16", 64, 32, 51)]


# ---- containers ----


def mmh(build, *arguments):
    subprocess.run([build / "mmh", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def content(path):
    """What a restored entry must be."""
    if path.is_symlink():
        return {"link": os.readlink(path)}
    if path.is_dir():
        return {"folder": True, "mode": path.stat().st_mode & 0o777}
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size,
            "mode": path.stat().st_mode & 0o777}


def tree(path):
    """{relative name: content}; of a file its own name alone."""
    if not path.is_dir():
        return {path.name: content(path)}
    return {entry.relative_to(path).as_posix(): content(entry) for entry in sorted(path.rglob("*"))}


def good_files(build, target, work):
    """The containers that come back, and what they hold."""
    manifest = {}

    def add(name, source, *options):
        mmh(build, "pack", "-q", *options, source, "-o", target / f"{name}.mmh")
        manifest[name] = tree(source)

    def file(name, data):
        path = work / name
        path.write_bytes(data)
        path.chmod(0o644)
        return path

    floats = file("floats.safetensors", safetensors(float_tensors()))
    integers = file("integers.safetensors", safetensors(integer_tensors()))
    for level in (1, 5):
        add(f"floats-{level}", floats, f"-{level}")
    for level in (1, 9):
        add(f"integers-{level}", integers, f"-{level}")
    for level in (3, 9):
        name = f"classes-{level}.safetensors"
        add(f"classes-{level}", file(name, safetensors(classes_tensors(level))), f"-{level}")
    add("chunks-5", file("chunks.safetensors", safetensors(chunks_tensors())), "-5")
    add("pairs-5", file("pairs.safetensors", safetensors(pair_tensors())), "-5")
    add("noise-5", file("noise.bin", Numbers(60).bytes(600)), "-5")
    add("text-9", file("text.txt", text(120, 61)), "-9", "--hash=sha256")
    raw = file("raw.bin", pack_floats(weights(16, 64, 62), "BF16") + b"tail")
    os.utime(raw, (1700000000, 1700000000))
    add("raw-5", raw, "-5", "--dtype=bf16", "--times")
    model = work / "model"
    model.mkdir()
    model_folder(model)
    add("folder-5", model, "-5", "--hash=sha256")
    return manifest


# ---- containers by hand, from docs/format.md alone ----

OK, MENDED, DAMAGED, LOST, UNSUPPORTED = 0, 4, 3, 5, 9


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def string(value):
    return varint(len(value)) + value


def digest(domain, *parts):
    return hashlib.sha256(bytes([domain]) + b"".join(parts)).digest()


def content_digest(data):
    slices = [digest(4, data[at:at + 65536]) for at in range(0, len(data), 65536)]
    return digest(3, struct.pack("<Q", len(data)), *slices)


def crc(data):
    return data + struct.pack("<I", zlib.crc32(data))


class Handmade:
    """A container of one stored chunk in one file; every part of it can be made otherwise."""

    def __init__(self, **changes):
        self.major, self.minor, self.draft, self.suite, self.encryption = 3, 0, draft(), 2, 0
        self.required = self.optional = 0
        self.data = b"0123456789abcdef"
        self.codec, self.dtype, self.flags, self.chunk_bytes = 0, 0, 0, None
        self.gap, self.references, self.size = 0, b"\0", None
        self.name, self.kind, self.mode, self.link = b"file", 0, 0o644, b""
        self.digest = None
        self.more_files = self.extensions = b""
        self.tensors = b""
        self.file_count, self.tensor_count, self.extension_count = 1, 0, 0
        self.index_version, self.tail, self.pages = 1, b"", None
        for key, value in changes.items():
            assert hasattr(self, key), key
            setattr(self, key, value)

    def header(self):
        fields = struct.pack("<8sHHHBBIIII", b"\x89MMH\r\n\x1a\n", self.major, self.minor, self.draft,
                             self.suite, self.encryption, self.required, self.optional, 4096, 128)
        return crc(fields + bytes(124 - len(fields)))

    def index(self):
        size = len(self.data) if self.size is None else self.size
        block = bytes([self.dtype, self.flags]) + varint(size) + varint(self.chunk_bytes or size)
        block += self.references + varint(size)
        file = string(self.name) + bytes([self.kind, 0]) + varint(self.mode) + varint(0)
        if self.kind == 0:
            file += varint(size) + (self.digest or content_digest(self.data)) + varint(1)
        if self.kind == 2:
            file += string(self.link)
        blocks = varint(1) + block if self.kind == 0 else varint(0)
        return (struct.pack("<I", self.index_version) + string(b"by hand") + b"\0" +
                varint(1) + bytes([self.codec]) + varint(len(self.data)) + varint(self.gap) +
                digest(0, self.data) + blocks + varint(self.file_count) + file + varint(0) +
                self.more_files + varint(self.tensor_count) + self.tensors +
                varint(self.extension_count) + self.extensions + self.tail)

    def bytes(self):
        header, index = self.header(), self.index()
        parts = [index[at:at + 2**18] for at in range(0, len(index), 2**18)]
        pages = self.pages or [(part, len(part)) for part in parts]
        table = b"".join(struct.pack("<II", len(page), decoded) + digest(1, page)
                         for page, decoded in pages)
        stored = table + b"".join(page for page, _ in pages)
        at = len(header) + len(self.data)
        trailer = at + len(stored)
        second = trailer + 256
        foot = struct.pack("<8sQQQQIIQQ", b"MMHFOOT\n", second + len(stored) + 256, at, second, len(stored),
                           len(table), len(pages), trailer, 0)
        foot += digest(2, header, table) + header + bytes(28)
        return header + self.data + stored + crc(foot) + stored + crc(foot)


def rle_page(count):
    """A zstd frame of 2^18 zeros: two RLE blocks."""
    size = struct.pack("<I", count)
    block = struct.pack("<I", (count // 2) << 3 | 1 << 1)[:3] + b"\0"
    last = struct.pack("<I", (count // 2) << 3 | 1 << 1 | 1)[:3] + b"\0"
    return b"\x28\xb5\x2f\xfd" + b"\xa0" + size + block + last


def hostile_files(target):
    """Damaged and hostile containers; the exit codes that verify and unpack must give."""
    manifest = {}
    sound = Handmade().bytes()
    index_a = 128 + 16
    foot = struct.unpack("<8sQQQ", sound[-256:-224])
    index_b = foot[3]

    def add(name, data, verify, unpack=None):
        (target / f"{name}.mmh").write_bytes(data)
        manifest[name] = {"verify": verify, "unpack": verify if unpack is None else unpack}
        if manifest[name]["unpack"] in (OK, MENDED):
            manifest[name]["sha256"] = hashlib.sha256(Handmade().data).hexdigest()

    def flipped(at):
        return sound[:at] + bytes([sound[at] ^ 0x10]) + sound[at + 1:]

    def made(case, verify, unpack=None, **changes):
        add(case, Handmade(**changes).bytes(), verify, unpack)

    add("sound", sound, OK)
    add("nothing", b"", LOST)
    add("header-flipped", flipped(40), DAMAGED, MENDED)
    add("chunk-flipped", flipped(130), LOST)
    add("table-flipped", flipped(index_a + 9), DAMAGED, MENDED)
    add("page-flipped", flipped(index_a + 60), DAMAGED, MENDED)
    add("both-pages-flipped", bytes(b ^ (i in (index_a + 60, index_b + 60)) for i, b in enumerate(sound)), LOST)
    add("spare-footer-flipped", flipped(index_b - 100), DAMAGED, OK)
    add("second-index-flipped", flipped(index_b + 60), DAMAGED, OK)
    add("footer-flipped", flipped(len(sound) - 100), DAMAGED, MENDED)
    add("footer-cut", sound[:-256], DAMAGED, MENDED)
    add("second-index-cut", sound[:index_b], DAMAGED, MENDED)
    add("cut-in-half", sound[:len(sound) // 2], LOST)
    add("longer", sound + bytes(100), DAMAGED, MENDED)
    made("newer-major", UNSUPPORTED, major=4)
    made("other-draft", UNSUPPORTED, draft=draft() + 100)
    made("required-feature", UNSUPPORTED, required=1 << 20)
    made("optional-feature", OK, optional=1 << 20)
    made("unknown-hash", UNSUPPORTED, suite=77)
    made("encrypted", UNSUPPORTED, encryption=1)
    made("unknown-codec", UNSUPPORTED, codec=200)
    made("model-as-chunk", UNSUPPORTED, codec=8)
    made("unknown-type", UNSUPPORTED, dtype=200)
    made("unknown-flags", UNSUPPORTED, flags=0x80)
    made("odd-extension", UNSUPPORTED, extension_count=1, extensions=varint(7) + string(b"must"))
    made("even-extension", OK, extension_count=1, extensions=varint(8) + string(b"may"))
    made("index-version", UNSUPPORTED, index_version=2)
    made("index-with-a-tail", LOST, tail=b"\0")
    made("chunk-outside", LOST, gap=1 << 40)
    made("chunk-that-is-not", LOST, references=b"\2")
    made("chunk-too-short", LOST, size=17)
    made("payload-of-noise", LOST, codec=4, dtype=11)
    made("zstd-of-noise", LOST, codec=2)
    made("other-content", LOST, digest=bytes(32))
    made("huge-size", LOST, size=1 << 60)
    made("absolute-name", LOST, name=b"/etc/passwd")
    made("parent-name", LOST, name=b"../file")
    made("empty-part", LOST, name=b"a//b")
    made("nul-in-name", LOST, name=b"a\0b")
    made("absolute-link", LOST, kind=2, link=b"/etc/passwd")
    made("link-outside", LOST, kind=2, link=b"a/../../b")
    made("beneath-a-link", LOST, kind=2, name=b"a", link=b"b", file_count=2,
         more_files=string(b"a/b") + bytes([1, 0]) + varint(0o755) + varint(0) + varint(0))
    made("names-twice", LOST, file_count=2,
         more_files=string(b"file") + bytes([1, 0]) + varint(0o755) + varint(0) + varint(0))
    made("claims-many-files", LOST, file_count=1 << 40)
    page = rle_page(1 << 18)
    made("index-bomb", LOST, pages=[(page, 1 << 18)] * 8)
    return manifest


# ---- all of it ----


def features(build, path):
    run = subprocess.run([build / "tests" / "golden_features", path], stdout=subprocess.PIPE, check=True,
                         text=True)
    return set(run.stdout.splitlines())


def lines(manifest):
    """JSON with a line for each file and each case."""
    parts = [f'"draft": {manifest["draft"]}']
    for part in ("good", "hostile"):
        rows = ",\n".join(f"  {json.dumps(name)}: " + (
            json.dumps(entry) if part == "hostile" else "{\n" + ",\n".join(
                f"   {json.dumps(file)}: {json.dumps(is_)}" for file, is_ in entry.items()) + "}")
            for name, entry in manifest[part].items())
        parts.append(f'"{part}": {{\n{rows}}}')
    return "{" + ",\n ".join(parts) + "}\n"


def seeds(build, target, names):
    """Seeds of the fuzz targets, out of the same containers; what fuzzing found has other suffixes."""
    corpus = ROOT / "tests" / "fuzz" / "corpus"
    for part, suffix in (("container", "parts"), ("codec", "chunk"), ("cli", "command")):
        (corpus / part).mkdir(parents=True, exist_ok=True)
        for old in (corpus / part).glob(f"*.{suffix}"):
            old.unlink()
    for name in names:
        subprocess.run([build / "tests" / "fuzz_seeds", target / f"{name}.mmh", name, corpus], check=True)
    parts = sorted((corpus / "container").glob("*.parts"), key=lambda path: path.stat().st_size)[:3]
    command_seeds(corpus / "cli", parts)


COMMANDS = """
pack m.safetensors -f
pack -9 d m.safetensors -o out.mmh -T2 -v
pack --dtype=bf16 --shape=3,2 m.safetensors -f -o d/
pack --json --hash=sha256 --times --no-check -q m.safetensors -o y.mmh
pack -c m.safetensors
unpack x.mmh -o out/
unpack -f m.safetensors.mmh --json
unpack -c x.mmh
-df x.mmh -k
-t x.mmh
-l m.safetensors.mmh
verify --quick x.mmh m.safetensors.mmh
verify --json x.mmh
info x.mmh
info --json x.mmh m.safetensors.mmh
ls -l x.mmh
ls --json --long x.mmh
bench -1 -5 m.safetensors
bench --json -T1 m.safetensors
help pack
--version
unpakc x.mmh --levle=3
-- x.mmh
pack --shape 4x1 --dtype f32 --alone --output - d
"""


def command_seeds(corpus, parts):
    """Command lines for fuzz_cli.c, over containers of the parts that fuzz_container.c has as seeds."""
    for number, line in enumerate(COMMANDS.split("\n")[1:-1]):
        words = line.split()
        data = bytes([len(words)]) + b"".join(word.encode() + b"\0" for word in words)
        if "x.mmh" in words:
            data += parts[number % len(parts)].read_bytes()
        (corpus / f"{number:02}-{words[0].strip('-')}.command").write_bytes(data)


def main():
    build = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build").resolve()
    target = folder()
    for old in GOLDEN.glob("draft-*"):
        shutil.rmtree(old)
    (target / "hostile").mkdir(parents=True)
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="mmh-golden-") as work:
        good = good_files(build, target, Path(work))
    hostile = hostile_files(target / "hostile")
    manifest = {"draft": draft(), "good": good, "hostile": hostile}
    (target / "golden.json").write_text(lines(manifest))
    seeds(build, target, [name for name in good if name not in ("floats-1", "integers-1")])
    found = set().union(*(features(build, target / f"{name}.mmh") for name in good))
    missing = sorted(FEATURES - found)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target.relative_to(ROOT)}: {len(good)} containers, {len(hostile)} hostile, {size:,} bytes")
    if missing:
        print("no golden file makes use of: " + "; ".join(missing))
    if size > BYTES_MAX:
        print(f"that is more than {BYTES_MAX:,} bytes")
    return 1 if missing or size > BYTES_MAX else 0


if __name__ == "__main__":
    sys.exit(main())
