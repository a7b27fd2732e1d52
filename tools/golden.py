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

import dataclasses
import hashlib
import io
import json
import lzma
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import golden_payloads

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
BYTES_MAX = 1_200_000

# What all golden files together must make use of, as build/tests/golden_features calls it, besides
# what that says without an argument: every codec, element type, format, level and hash suite.
FEATURES = {
    "float tiers",
    "float rans",
    "float one symbol",
    "tiers plain",
    "tiers shifted",
    "float sign stored",
    "float sign 0",
    "float sign 1",
    "float patches",
    "float window",
    "float zero mantissa bits",
    "float tails none",
    "float tails plain",
    "float tails segments",
    *(f"float symbols with {q} mantissa bits" for q in range(3)),
    "float tiers in zero-run",
    "float rans in zero-run",
    "zero-run mask plain",
    "zero-run mask zstd",
    "zero-run of float",
    "zero-run of store",
    "zero-run of bytes-rans",
    "model one table, no classes",
    "model several tables, classes",
    "model shifts",
    "model pairs",
    "model fields",
    "fields bits",
    "model mixed",
    "model mixed without one of its own",
    "mixed big endian",
    *(f"mixed of {codec}" for codec in ("float", "bytes-rans", "shuffle-zstd")),
    *(f"mixed rest {codec}" for codec in ("store", "zstd", "lzma")),
    "model view with rows columns",
    "model of several views",
    "block big endian",
    "block of several chunks",
    "equal chunks",
    "tensor big endian",
    "tensor column-major",
    "tensor empty",
    "tensor with strides",
    "file regular",
    "file folder",
    "file symlink",
    "file empty",
    "file metadata",
    "file time",
    *(f"recipient {name}" for name in ("x-wing", "x25519", "ml-kem-1024", "passphrase")),
    *(f"signature {name}" for name in ("ml-dsa-65-ed25519", "ml-dsa-87", "ed25519", "slh-dsa-sha2-128s")),
    "parity",
}

# Who may read which container, and who has signed it: the folder's keys, made anew with it.
KEYS = {
    "default": "ml-dsa-65-ed25519,x-wing",
    "classical": "ed25519,x25519",
    "agency": "ml-dsa-87,ml-kem-1024",
    "hashes": "slh-dsa-sha2-128s",
}
PASSPHRASE = "correct horse battery staple"
GUARDS = {
    "sealed-folder-5": {"key": "default", "signer": "default"},
    "sealed-pairs-3": {"key": "agency", "signer": "agency"},
    "sealed-text-1": {"key": "classical", "signer": "hashes"},
    "signed-raw-9": {"signer": "classical"},
}


def draft():
    """The draft number of the format; 0 once it is released. The header says it, and nothing else."""
    text = (ROOT / "src/container/container.h").read_text()
    return int(re.search(r"MMH_FORMAT_DRAFT = (\d+)", text)[1])


def dtypes():
    """{name: number} of the element types, from the public header."""
    text = (ROOT / "include/mmh.h").read_text()
    found = {name: int(number) for name, number in re.findall(r"MMH_DTYPE_(\w+) = (\d+)", text)}
    assert list(found.values()) == list(range(len(found)))
    return found


def codec_names():
    """Names of the codecs by their ids, from the table's own list."""
    text = (ROOT / "src/codec/codec.h").read_text()
    ids = re.findall(r"MMH_CODEC_(\w+) = (\d+),", text)
    assert [int(number) for _, number in ids] == list(range(len(ids)))
    return [name.lower().replace("_", "-") for name, _ in ids]


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
    return [
        numbers.bell() * row_scale[r] * column_scale[c] / 2**34 if keep(r, c, numbers) else 0.0
        for r in range(rows)
        for c in range(columns)
    ]


def pack_floats(values, dtype):
    """Bytes of floats; bf16 by cutting, fp16 and wider by IEEE rounding, fp8 as the top of fp16."""
    if dtype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    if dtype == "F8_E5M2":
        return bytes(struct.pack("<e", value)[1] for value in values)
    if dtype == "F8_E4M3":  # weights of 2^-7 and less: the exponent has room
        return bytes(
            (struct.pack("<f", value)[3] & 128)
            | max(0, min(126, (struct.unpack("<I", struct.pack("<f", abs(value)))[0] >> 20) - 960))
            for value in values
        )
    code = {"F16": "e", "F32": "f", "F64": "d"}[dtype]
    return struct.pack(f"<{len(values)}{code}", *values)


# Few bytes before a small tensor are coded with it, as one mixed block: what must not be gets more of them.
APART_BYTES = 4096 + 128


def safetensors(tensors, metadata=None, head_bytes=0):
    """A model whose tensors begin at `head_bytes` or behind that: spaces fill its header."""
    header, offset = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode().ljust(head_bytes - 8)
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, _, _, data in tensors)


def npy(descr, shape, data, fortran=False, head_bytes=0):
    header = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape!r}, }}".encode().ljust(head_bytes - 11)
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def stored_zip(members):
    """A zip of (name, bytes) that are stored as they are, as an .npz has its arrays."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as out:
        for name, data in members:
            out.writestr(zipfile.ZipInfo(name), data)
    return made.getvalue()


def ustar(members):
    """A tar of (name, bytes)."""
    out = b""
    for name, data in members:
        block = bytearray(512)
        block[: len(name)] = name
        block[124:135] = b"%011o" % len(data)
        block[148:156] = b" " * 8
        block[156] = ord("0")
        block[148:155] = b"%06o\0" % sum(block)
        out += block + data + bytes(-len(data) % 512)
    return out


def gguf(tensors):
    """A GGUF file of (name, ggml's number of a type, shape, bytes)."""
    infos, data = b"", b""
    for name, kind, shape, content in tensors:
        data += bytes(-len(data) % 32)
        infos += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(shape))
        infos += struct.pack(f"<{len(shape)}Q", *reversed(shape)) + struct.pack("<IQ", kind, len(data))
        data += content
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 0) + infos
    return head + bytes(-len(head) % 32) + data


# ggml's numbers of the block types, and elements and bytes of their blocks: docs/format.md has ours.
GGML_TYPES = {
    "Q4_0": (2, 32, 18),
    "Q4_1": (3, 32, 20),
    "Q5_0": (6, 32, 22),
    "Q5_1": (7, 32, 24),
    "Q8_0": (8, 32, 34),
    "Q8_1": (9, 32, 36),
    "Q2_K": (10, 256, 84),
    "Q3_K": (11, 256, 110),
    "Q4_K": (12, 256, 144),
    "Q5_K": (13, 256, 176),
    "Q6_K": (14, 256, 210),
    "Q8_K": (15, 256, 292),
    "IQ2_XXS": (16, 256, 66),
    "IQ2_XS": (17, 256, 74),
    "IQ3_XXS": (18, 256, 98),
    "IQ1_S": (19, 256, 50),
    "IQ4_NL": (20, 32, 18),
    "IQ3_S": (21, 256, 110),
    "IQ2_S": (22, 256, 82),
    "IQ4_XS": (23, 256, 136),
    "IQ1_M": (29, 256, 56),
    "TQ1_0": (34, 256, 54),
    "TQ2_0": (35, 256, 66),
    "MXFP4": (39, 32, 17),
    "NVFP4": (40, 64, 36),
    "Q1_0": (41, 128, 18),
}


def bits_at(values, bits, group):
    """Some bits of every value: as many values of `group` bytes' distance as fit share a byte."""
    count = 8 // bits
    made = bytearray(len(values) // count)
    for i, value in enumerate(values):
        run, at = divmod(i, group * count)
        made[run * group + at % group] |= (value & 2**bits - 1) << at // group * bits
    return bytes(made)


def quantized(name, blocks, seed):
    """Weights of a type whose low and high bits lie apart; the scales are not there yet."""
    numbers = Numbers(seed)
    elements, bits = GGML_TYPES[name][1], int(name[1])
    made = b""
    for _ in range(blocks):
        middle = 2 ** (bits - 1)
        values = [min(max(middle + (numbers.bell() * middle >> 18), 0), 2 * middle - 1) for _ in range(elements)]
        high = [value >> 4 for value in values]
        if name == "Q5_0":
            made += bytes(2) + bits_at(high, 1, 1) + bits_at(values, 4, 16)
        else:
            scales = bytes(32 + numbers.below(8) for _ in range(16))
            made += bits_at(values, 4, 64) + bits_at(high, 2, 32) + scales + bytes(2)
    return made


def block_tensors():
    """Every block type of GGUF; some of them long enough to be records."""
    tensors = []
    for name, (kind, elements, size) in GGML_TYPES.items():
        blocks = 4096 // size + 1 if name in ("Q4_K", "Q5_0", "Q6_K", "Q8_0") else 2
        apart = name in ("Q5_0", "Q6_K")
        data = bytearray(quantized(name, blocks, 300 + kind) if apart else small_integers(blocks * size, 300 + kind))
        scales = size - 2 if name == "Q6_K" else 0  # about alike, where most types have theirs
        numbers = Numbers(400 + kind)
        for at in range(scales, len(data), size):
            data[at : at + 2] = struct.pack("<e", 0.01 + numbers.below(256) / 65536)
        tensors.append((name.lower(), kind, [blocks * elements], bytes(data)))
    return tensors


def text(lines, seed):
    words = "model layer weight bias norm query key value token embed head mask rope scale".split()
    numbers = Numbers(seed)
    return "".join(" ".join(words[numbers.below(len(words))] for _ in range(8)) + "\n" for _ in range(lines)).encode()


def matrix(name, dtype, rows, columns, seed, **options):
    return name, dtype, [rows, columns], pack_floats(weights(rows, columns, seed, **options), dtype)


def trimmed(values, bits, rows=0, columns=1):
    """fp32 whose low bits are zero, in every row or, with rows, in every other one."""
    words = struct.unpack(f"<{len(values)}I", struct.pack(f"<{len(values)}f", *values))
    mask = 2**32 - 2**bits
    return struct.pack(
        f"<{len(words)}I", *(word & mask if not rows or i // columns % 2 else word for i, word in enumerate(words))
    )


def near_powers(numbers, count, keep):
    """bf16 a little above powers of two: the top mantissa bits are as good as known."""
    return b"".join(
        struct.pack("<H", numbers.below(2) << 15 | (118 + numbers.below(4)) << 7 | numbers.below(16) if keep() else 0)
        for _ in range(count)
    )


def patches_of(numbers, count, element):
    """Runs of 16 elements, two thirds of them of zeros."""
    return b"".join(
        bytes(element() for _ in range(16)) if numbers.below(3) == 0 else bytes(16) for _ in range(count // 16)
    )


def small_integers(count, seed, shift=14):
    numbers = Numbers(seed)
    return bytes((numbers.bell() >> shift) % 256 for _ in range(count))


def float_tensors():
    """Every way that the float codec has."""
    values = weights(8, 64, 20)
    numbers = Numbers(21)
    mantissas = [0x3F800000 | numbers.below(1 << 23) for _ in range(512)]
    noise = [numbers.next() << 32 | numbers.next() for _ in range(192)]
    rare = [word if i % 64 == 0 else (0x3F0 + word % 12) << 52 | word >> 12 for i, word in enumerate(noise)]
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
        tensors.append(
            (
                name.lower(),
                name,
                [384],
                b"".join(struct.pack("<Q", i * 3 + numbers.below(5))[:size] for i in range(384)),
            )
        )
    return tensors


def zero_tensors():
    """Bytes most of which are zero, or few; no two of one type, which would be coded together."""
    numbers = Numbers(30)
    return [
        ("patches i8", "I8", [6144], patches_of(numbers, 6144, lambda: (numbers.bell() >> 14) % 256)),
        ("scales", "F8_E8M0", [512], bytes(120 + numbers.below(6) for _ in range(512))),
        ("patches u8", "U8", [2048], patches_of(numbers, 2048, lambda: 1 + numbers.below(255))),
        ("mask", "BOOL", [1024], bytes(int(i % 7 == 0) for i in range(1024))),
    ]


def pair_tensors():
    """Bytes enough for pairs of them to pay; rows of an odd length have no classes."""
    return [
        ("pairs", "I8", [128, 64], small_integers(8192, 70, 11)),
        ("odd pairs", "U8", [119, 69], small_integers(8211, 71, 11)),
    ]


def model_folder(base):
    """A folder as models come: several files, folders, links, modes; equal parts."""
    model = safetensors(
        [matrix("a", "BF16", 12, 64, 42), matrix("b", "BF16", 12, 64, 43), matrix("c", "F16", 8, 64, 44)],
        {"format": "pt", "note": "gr\u00fc\u00dfe"},
        APART_BYTES,
    )
    files = {
        "config.json": json.dumps({"hidden": 64, "layers": 2, "vocabulary": [text(1, 40).decode()]}).encode(),
        "vocabulary.txt": text(60, 41),
        "empty": b"",
        "model.safetensors": model,
        "copy/model.safetensors": model,
        "arrays/column.npy": npy("<f4", (8, 64), pack_floats(weights(8, 64, 45), "F32"), True),
        "arrays/big.npy": npy(">f8", (8, 32), struct.pack(">256d", *weights(8, 32, 46)), False, APART_BYTES),
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
    return [
        ("zeros", "U8", [600000], bytes(600000)),
        ("zeros again", "F32", [300000], bytes(1200000)),
        ("ramp", "I8", [len(ramp)], ramp),
    ]


def classes_tensors(level):
    """Shifts of the tiers are looked for from 2^13 elements on; blocks are shared from level 5 on."""
    if level == 3:
        return [matrix("classes", "BF16", 64, 128, 50)]
    return [matrix("classes", "BF16", 64, 32, 50), matrix("more", "BF16", 64, 32, 51)]


def small_arrays(descr, count, seed, name="layer"):
    """The members of an .npz: small arrays of one type between the headers of their formats, some of them equal."""
    dtype = {"f4": "F32", "f8": "F64", "f2": "F16"}.get(descr[1:])
    members = []
    for number in range(count):
        columns = 24 + number % 5 * 8
        if dtype:
            data = pack_floats(weights(8, columns, seed + number), dtype)
        else:  # integers of a few values
            data = b"".join(
                value.to_bytes(int(descr[2:]), "little")
                for value in small_integers(8 * columns, seed + number, 11 if descr[2:] == "1" else 14)
            )
        if descr[0] == ">":
            width = int(descr[2:])
            data = b"".join(data[at : at + width][::-1] for at in range(0, len(data), width))
        members.append((f"{name}{number}/weight.npy", npy(descr, (8, columns), data)))
    return members


def mixed_arrays():
    """An .npz whose small arrays are coded together, but for two that are equal and large enough to be stored once."""
    large = npy("<f4", (16, 64), pack_floats(weights(16, 64, 500), "F32"))
    members = small_arrays("<f4", 12, 501)
    return [*members[:4], ("tied.npy", large), *members[4:], ("again.npy", large)]


def gap_tensors():
    """Small weights with noise between them."""
    return [
        matrix("a", "F32", 8, 24, 660),
        ("noise", "U8", [40], Numbers(661).bytes(40)),
        matrix("b", "F32", 8, 32, 662),
    ]


def tar_of_old():
    """torch.save before 0.2: storages, tensors, and their names."""

    def pickled(text):
        return b"\x80\2" + text + b"."

    storage = pickled(b"(K\7X\3\0\0\0cpuctorch\nFloatStorage\nt") + struct.pack("<Q", 6)
    storages = pickled(b"K\1") + storage + pack_floats(weights(2, 3, 510), "F32") + pickled(b"]")
    tensors = pickled(b"K\1") + pickled(b"(K\nK\7ctorch\nFloatTensor\nt") + struct.pack("<5Q", 2, 2, 3, 1, 2)
    tensors += struct.pack("<Q", 0)
    names = pickled(b"}(X\1\0\0\0wK\nQu")
    return ustar([(b"storages", storages), (b"tensors", tensors), (b"pickle", names)])


LAYOUT = {"tensors": [{"name": "w", "dtype": "f32", "shape": [8, 64], "offset": 16}]}

# Models of other formats are the seeds of fuzz_format.c, made by hand: what they are called there, and as models.
SEEDS = {
    "coreml-network.bin": "network.mlmodel",
    "coreml-program.bin": "program.mlmodel",
    "coreml_weights-four.bin": "alone/weight.bin",
    "gguf-v3-big.bin": "big.gguf",
    "hdf5-earliest.bin": "earliest.h5",
    "hdf5-latest.bin": "latest.h5",
    "onnx-everything.bin": "everything.onnx",
    "onnx-external.bin": "external.onnx",
    "pickle-numpy5.bin": "numpy.pkl",
    "tf_bundle-index.bin": "variables.index",
    "tf_graph-saved_model.bin": "saved_model.pb",
    "tflite-two-graphs.bin": "graphs.tflite",
    "torch-views.bin": "views.pt",
    "torch-export.bin": "export.pt2",
    "torch_legacy-types.bin": "legacy.pt",
    "torch_metadata-dcp.bin": "checkpoint/.metadata",
    "torch_shard-two.bin": "checkpoint/__0_0.distcp",
    "zip-nested.bin": "nested.zip",
}


def formats(base):
    """A model of every format that is not made by itself elsewhere."""
    corpus = ROOT / "tests" / "fuzz" / "corpus"
    files = {name: (corpus / "format" / seed).read_bytes() for seed, name in SEEDS.items()}
    files["x.data"] = Numbers(520).bytes(256)
    files["web/weights_manifest.json"] = (corpus / "tfjs" / "one.json").read_bytes()
    files["web/group1-shard1of1"] = Numbers(521).bytes(65)
    files["old.tar"] = tar_of_old()
    for name, data in files.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o644)
    for path in (base, *base.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


def type_tensors(level):
    """Every element type, in little; what codes alike shares a block or not, as the level has it."""
    tensors = []
    for name, number in dtypes().items():
        if name == "OPAQUE" or name in GGML_TYPES or name in ("I2", "U2"):
            continue  # safetensors has none of these
        if name in ("F16", "BF16", "F32", "F64"):
            data = pack_floats(weights(4, 64, 100 * level + number), name)
        elif name in ("C64", "C128"):
            data = pack_floats(weights(2, 64, 100 * level + number), "F32" if name == "C64" else "F64")
        else:  # 192 bytes are whole elements of all the others
            data = small_integers(1024 if name.endswith("FNUZ") else 192, 100 * level + number)
        bits = {"F4": 4, "I4": 4, "U4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "C64": 64, "C128": 128, "BOOL": 8}
        width = bits.get(name) or int(re.search(r"\d+", name)[0])
        tensors.append((name.lower(), name, [8 * len(data) // width], data))
    return tensors


def shards(base):
    """A model in two files, and the index that names them."""
    for number in (1, 2):
        name = f"m-{number}.safetensors"
        (base / name).write_bytes(safetensors([matrix(f"w{number}", "BF16", 4, 64, 200 + number)]))
        (base / name).chmod(0o644)
    index = base / "m.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"w1": "m-1.safetensors", "w2": "m-2.safetensors"}}))
    index.chmod(0o644)
    return index


# ---- containers ----


def mmh(build, *arguments):
    subprocess.run([build / "mmh", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def content(path):
    """What a restored entry must be."""
    if path.is_symlink():
        return {"link": os.readlink(path)}
    if path.is_dir():
        return {"folder": True, "mode": path.stat().st_mode & 0o777}
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "mode": path.stat().st_mode & 0o777,
    }


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

    def guarded(name, source, recipients, signers, *options):
        for one in recipients:
            options += ("-r", target / f"{one}.pub")
        for one in signers:
            options += ("--sign-with", target / f"{one}.key")
        add(name, source, *options, "--no-time")

    def file(name, data):
        path = work / name
        path.write_bytes(data)
        path.chmod(0o644)
        return path

    floats = file("floats.safetensors", safetensors(float_tensors(), head_bytes=APART_BYTES))
    integers = file("integers.safetensors", safetensors(integer_tensors(), head_bytes=APART_BYTES))
    for level in (1, 5):
        add(f"floats-{level}", floats, f"-{level}")
    for level in (1, 9):
        add(f"integers-{level}", integers, f"-{level}")
    for level in (3, 9):
        name = f"classes-{level}.safetensors"
        add(f"classes-{level}", file(name, safetensors(classes_tensors(level), head_bytes=APART_BYTES)), f"-{level}")
    zeros = file("zeros.safetensors", safetensors(zero_tensors(), head_bytes=APART_BYTES))
    for level in (1, 9):
        add(f"zeros-{level}", zeros, f"-{level}")
    add("chunks-5", file("chunks.safetensors", safetensors(chunks_tensors())), "-5")
    add("pairs-5", file("pairs.safetensors", safetensors(pair_tensors(), head_bytes=APART_BYTES)), "-5")
    add("noise-5", file("noise.bin", Numbers(60).bytes(600)), "-5")
    add("text-9", file("text.txt", text(120, 61)), "-9", "--hash=sha256")
    raw = file("raw.bin", pack_floats(weights(16, 64, 62), "BF16") + b"tail")
    os.utime(raw, (1700000000, 1700000000))
    add("raw-5", raw, "-5", "--dtype=bf16", "--times")
    model = work / "model"
    model.mkdir()
    model_folder(model)
    add("folder-5", model, "-5", "--hash=sha256")
    for level in (2, 4, 6, 7, 8):
        add(
            f"types-{level}",
            file(f"types-{level}.safetensors", safetensors(type_tensors(level))),
            f"-{level}",
            f"--hash={'sha256' if level % 4 == 0 else 'blake3'}",
        )
    add("raw-i4-1", file("i4.bin", small_integers(200, 24)), "-1", "--dtype=i4", "--shape=20,20")
    add("raw-u2-1", file("u2.bin", small_integers(200, 25)), "-1", "--dtype=u2", "--shape=20,40")
    add("raw-i2-1", file("i2.bin", small_integers(200, 26)), "-1", "--dtype=i2", "--shape=20,40")
    add("blocks-5", file("blocks.gguf", gguf(block_tensors())), "-5")
    add("mixed-5", file("mixed.npz", stored_zip(mixed_arrays())), "-5")
    add("mixed-9", file("big.npz", stored_zip(small_arrays(">f4", 100, 530))), "-9")
    add("mixed-1", file("halves.npz", stored_zip(small_arrays("<f2", 3, 580))), "-1", "--hash=sha256")
    bytes_and_words = small_arrays("|i1", 40, 600) + small_arrays(">i8", 4, 650, "position")
    add("mixed-6", file("integers.npz", stored_zip(bytes_and_words)), "-6")
    add("mixed-4", file("gaps.safetensors", safetensors(gap_tensors())), "-4")
    models = work / "models"
    models.mkdir()
    formats(models)
    add("formats-5", models, "-5")
    layout = file("layout.json", json.dumps(LAYOUT).encode())
    add(
        "layout-5",
        file("own.weights", Numbers(91).bytes(16) + pack_floats(weights(8, 64, 92), "F32")),
        "-5",
        f"--layout={layout}",
    )
    for name, algorithms in KEYS.items():
        mmh(build, "keygen", "-q", f"--algorithm={algorithms}", "-o", target / name)
    secret = file("passphrase", PASSPHRASE.encode() + b"\n")
    guarded("sealed-folder-5", model, ["default"], ["default"], "-5", "--parity=5%", "--aead=aes-256-gcm")
    guarded(
        "sealed-pairs-3",
        file("sealed.safetensors", safetensors(pair_tensors(), head_bytes=APART_BYTES)),
        ["agency", "default"],
        ["agency"],
        "-3",
        "--hash=sha384",
        "--aead=chacha20-poly1305",
        "--counter=5",
    )
    words = file("sealed.txt", text(40, 63))
    guarded("sealed-text-1", words, ["classical"], ["hashes"], "-1", "--hash=sha256", f"--passphrase-file={secret}")
    guarded("signed-raw-9", raw, [], ["classical"], "-9", "--parity=20%")
    add("digests-2", file("digests.txt", text(20, 64)), "-2", "--hash=sha384")
    numbers = Numbers(90)
    values = bytearray(near_powers(numbers, 2048, lambda: True))
    for at in range(0, len(values), 128):  # elements that no window of the others holds
        values[at : at + 2] = struct.pack("<H", numbers.below(1 << 16))
    add(
        "patches-5",
        file("patches.safetensors", safetensors([("w", "BF16", [2048], bytes(values))], None, APART_BYTES)),
        "-5",
    )
    parts = work / "parts"
    parts.mkdir()
    index = shards(parts)
    mmh(build, "pack", "-q", "-6", index, "-o", target / "shards-6.mmh")
    manifest["shards-6"] = tree(parts)
    return manifest


# ---- containers by hand, from docs/format.md alone ----

OK, IO, DAMAGED, MENDED, LOST, UNSUPPORTED = 0, 1, 3, 4, 5, 9


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def string(value):
    return varint(len(value)) + value


def digest(domain, *parts, suite=2):
    function = hashlib.sha384 if suite == 3 else hashlib.sha256
    return function(bytes([domain]) + b"".join(parts)).digest()


def content_digest(data, suite=2):
    slices = [digest(4, data[at : at + 65536], suite=suite) for at in range(0, len(data), 65536)]
    return digest(3, struct.pack("<Q", len(data)), *slices, suite=suite)


def section(kind, body):
    """A section of the trailer."""
    crc = zlib.crc32(body, zlib.crc32(struct.pack("<IQ", kind, len(body))))
    return struct.pack("<IIQ", kind, crc, len(body)) + body + bytes(-len(body) % 8)


def crc(data):
    return data + struct.pack("<I", zlib.crc32(data))


class Handmade:
    """A container of one chunk (and a model) in one file; every part of it can be made otherwise."""

    def __init__(self, **changes):
        self.major, self.minor, self.draft, self.suite, self.encryption = 3, 0, draft(), 2, 0
        self.required = self.optional = 0
        self.data = b"0123456789abcdef"
        self.codec, self.dtype, self.flags, self.chunk_bytes = 0, 0, 0, None
        self.gap, self.references, self.size = 0, b"\0", None
        self.name, self.kind, self.mode, self.link = b"file", 0, 0o644, b""
        self.digest = self.content = self.model = self.second = None
        self.second_codec, self.more_references = 8, b""
        self.more_files = self.extensions = b""
        self.tensors = b""
        self.file_count, self.tensor_count, self.extension_count = 1, 0, 0
        self.index_version, self.tail, self.pages = 2, b"", None
        self.magic, self.alignments, self.reserved = b"\x89MMH\r\n\x1a\n", (4096, 128), bytes(92)
        self.time, self.file_format, self.size_text = b"\0", 0, None
        self.chunk_count = self.block_count = self.blocks_claimed = 1
        self.more_chunks, self.more_blocks, self.metadata = b"", b"", b"\0"
        self.raw_index, self.area, self.trailer, self.foot = None, b"", b"", {}
        self.hashes = None  # the suite of what is hashed, if it is not the header's
        for key, value in changes.items():
            assert hasattr(self, key), key
            setattr(self, key, value)
        if self.content is not None and self.size is None:
            self.size = len(self.content)
        if self.model is not None:  # chunk 1, which the block names first
            self.second, self.flags, self.references = self.model, 2, b"\2\3" + self.more_references
        if self.second is not None:
            self.chunk_count = 2
        if self.hashes is None:
            self.hashes = self.suite

    def header(self):
        fields = struct.pack(
            "<8sHHHBBIIII",
            self.magic,
            self.major,
            self.minor,
            self.draft,
            self.suite,
            self.encryption,
            self.required,
            self.optional,
            *self.alignments,
        )
        return crc(fields + self.reserved)

    def index(self):
        if self.raw_index is not None:
            return self.raw_index
        size = len(self.data) if self.size is None else self.size
        block = bytes([self.dtype, self.flags]) + varint(size) + varint(self.chunk_bytes or size)
        block += self.references + varint(size)
        file = string(self.name) + bytes([self.kind, self.file_format]) + varint(self.mode) + self.time
        if self.kind == 0:
            content = self.data if self.content is None else self.content
            file += (self.size_text or varint(size)) + (self.digest or content_digest(content, self.hashes))
            file += varint(self.blocks_claimed)
        if self.kind == 2:
            file += string(self.link)
        second, two = self.second or b"", self.second is not None
        blocks = varint(self.block_count) + block + self.more_blocks if self.kind == 0 else varint(0)
        return (
            struct.pack("<I", self.index_version)
            + varint(self.chunk_count)
            + varint(len(self.data))
            + varint(len(second)) * two
            + varint(self.gap)
            + b"\0" * two
            + digest(0, self.data, suite=self.hashes)
            + digest(0, second, suite=self.hashes) * two
            + self.more_chunks
            + string(b"by hand")
            + b"\0"
            + bytes([self.codec, self.second_codec][: 1 + two])
            + blocks
            + varint(self.file_count)
            + file
            + self.metadata
            + self.more_files
            + varint(self.tensor_count)
            + self.tensors
            + varint(self.extension_count)
            + self.extensions
            + self.tail
        )

    def parts(self):
        """Index and chunk as fuzz_container.c takes them."""
        index = self.index()
        return struct.pack("<I", len(index)) + index + self.data

    def bytes(self):
        header, index = self.header(), self.index()
        chunks = self.data + (self.second or b"")
        parts = [index[at : at + 2**18] for at in range(0, len(index), 2**18)]
        pages = self.pages or [(part, len(part)) for part in parts]
        table = b"".join(
            struct.pack("<II", len(page), decoded) + digest(1, page, suite=self.hashes) for page, decoded in pages
        )
        stored = table + b"".join(page for page, _ in pages)
        at = len(header) + len(chunks)
        trailer = at + len(stored) + len(self.area)
        root = digest(2, header, table, suite=self.hashes)
        second = trailer + len(self.trailer) + 256
        fields = {
            "magic": b"MMHFOOT\n",
            "size": second + len(stored) + 256,
            "index_a": at,
            "index_b": second,
            "index_bytes": len(stored),
            "table_bytes": len(table),
            "pages": len(pages),
            "trailer": trailer,
            "trailer_bytes": len(self.trailer),
            "root": root[:32],
            "header": header,
            "more_root": root[32:],
            "reserved": bytes(12),
        }
        fields.update({name: change(fields[name]) for name, change in self.foot.items()})
        foot = crc(struct.pack("<8sQQQQIIQQ32s128s16s12s", *fields.values()))
        return header + chunks + stored + self.area + self.trailer + foot + stored + foot


def hostile_parts():
    """What is hostile in an index, for fuzz_index.c and fuzz_container.c: {case: parts}."""
    made = {}

    def note(case, verify, unpack=None, **changes):
        container = Handmade(**changes)
        if not container.pages and len(container.parts()) < 1000:
            made[case] = container.parts()

    for group in (hostile_tables, hostile_names, hostile_tensors):
        group(note)
    # A slice of what has no bytes: an opaque tensor's shape may say anything.
    note("opaque-shape", OK, tensor_count=1, tensors=columns(Tensor(dtype=0, shape=(1 << 40,))))
    return made


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

    def add(name, data, verify, unpack=None, content=None):
        (target / f"{name}.mmh").write_bytes(data)
        manifest[name] = {"verify": verify, "unpack": verify if unpack is None else unpack}
        if manifest[name]["unpack"] in (OK, MENDED) and name != "no-chunks-no-files":
            manifest[name]["sha256"] = hashlib.sha256(content or Handmade().data).hexdigest()

    def flipped(at):
        return sound[:at] + bytes([sound[at] ^ 0x10]) + sound[at + 1 :]

    def made(case, verify, unpack=None, **changes):
        add(case, Handmade(**changes).bytes(), verify, unpack, changes.get("content"))

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
    add("cut-in-half", sound[: len(sound) // 2], LOST)
    add("longer", sound + bytes(100), DAMAGED, MENDED)
    made("newer-major", UNSUPPORTED, major=4)
    made("other-draft", UNSUPPORTED, draft=draft() + 100)
    made("required-feature", UNSUPPORTED, required=1 << 20)
    made("optional-feature", OK, optional=1 << 20)
    made("unknown-hash", UNSUPPORTED, suite=77)
    made("encrypted-by-a-feature-alone", LOST, required=1)
    made("encrypted-without-the-feature", LOST, encryption=1)
    made("encrypted-with-open-pages", LOST, encryption=1, required=1)
    made("unknown-encryption", UNSUPPORTED, encryption=77, required=1)
    made("unknown-codec", UNSUPPORTED, codec=200)
    made("model-as-chunk", UNSUPPORTED, codec=8)
    made("unknown-type", UNSUPPORTED, dtype=200)
    made("unknown-flags", UNSUPPORTED, flags=0x80)
    made("odd-extension", UNSUPPORTED, extension_count=1, extensions=varint(7) + string(b"must"))
    made("even-extension", OK, extension_count=1, extensions=varint(8) + string(b"may"))
    made("index-version", UNSUPPORTED, index_version=3)
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
    made(
        "beneath-a-link",
        LOST,
        kind=2,
        name=b"a",
        link=b"b",
        file_count=2,
        more_files=string(b"a/b") + bytes([1, 0]) + varint(0o755) + varint(0) + varint(0),
    )
    made(
        "names-twice",
        LOST,
        file_count=2,
        more_files=string(b"file") + bytes([1, 0]) + varint(0o755) + varint(0) + varint(0),
    )
    made("claims-many-files", LOST, file_count=1 << 40)
    page = rle_page(1 << 18)
    made("index-bomb", LOST, pages=[(page, 1 << 18)] * 8)
    hostile_headers(add, made, sound)
    hostile_pages(made)
    hostile_tables(made)
    hostile_names(made)
    hostile_tensors(made)
    hostile_payloads(made)
    return manifest


def hostile_headers(add, made, sound):
    """Versions, features and footers that lie, with right checksums and with wrong ones."""
    made("older-major", UNSUPPORTED, major=2)
    made("newer-minor", OK, minor=9)
    made("newer-minor-with-a-feature", UNSUPPORTED, minor=9, required=1 << 31)
    made("released", UNSUPPORTED, draft=0)
    for bit in range(1, 4):
        made(f"required-bit-{bit}", UNSUPPORTED, required=1 << bit)
    made("optional-bits", OK, optional=0xFFFFFFFF)
    made("hash-0", UNSUPPORTED, suite=0)
    made("hash-sha384", OK, suite=3)
    made("hash-sha384-of-short-ones", LOST, suite=3, hashes=2)
    made("hash-sha256-of-long-ones", LOST, suite=2, hashes=3)
    made("other-magic", LOST, magic=b"\x89MMH\r\n\x1a\0")
    made("other-alignments", OK, alignments=(0, 3))
    for name, at in (("major", 8), ("draft", 12), ("hash", 14), ("encryption", 15), ("required", 16)):
        # Only a right CRC makes a version one; the copy in the footer does.
        add(f"{name}-without-crc", sound[:at] + b"\x7f" + sound[at + 1 :], DAMAGED, MENDED)
    made("header-copies-differ", LOST, foot={"header": lambda header: crc(header[:20] + b"\1" + header[21:124])})
    made("header-copy-without-crc", LOST, foot={"header": lambda header: header[:30] + b"\1" + header[31:]})
    for name in ("size", "index_a", "index_b", "index_bytes", "trailer", "trailer_bytes"):
        for word, change in (
            ("more", lambda value: value + 8),
            ("less", lambda value: value - 8),
            ("most", lambda value: 2**64 - 8),
        ):
            if (name, word) != ("trailer_bytes", "less"):
                made(f"{name.replace('_', '-')}-{word}", LOST, foot={name: change})
    made("table-bytes-more", LOST, foot={"table_bytes": lambda value: value + 40})
    made("table-bytes-odd", LOST, foot={"table_bytes": lambda value: value + 1})
    made("pages-more", LOST, foot={"pages": lambda value: value + 1})
    made("pages-most", LOST, foot={"pages": lambda value: 2**32 - 1, "table_bytes": lambda value: 2**32 - 40})
    made("pages-none", LOST, foot={"pages": lambda value: 0, "table_bytes": lambda value: 0})
    made("other-root", LOST, foot={"root": lambda root: bytes(32)})
    made("unknown-section", OK, trailer=section(77, b"x" * 8))
    made("section-too-long", DAMAGED, OK, trailer=struct.pack("<IIQ", 3, 0, 2**60))
    made("section-type", DAMAGED, OK, trailer=b"\x4e" + section(77, b"x" * 8)[1:])
    made("section-crc", DAMAGED, OK, trailer=struct.pack("<IIQ", 77, 1, 8) + b"x" * 8)
    made("section-twice", DAMAGED, OK, trailer=section(2, b"x" * 8) * 2)
    made("section-padding", DAMAGED, OK, trailer=section(77, b"x")[:-7] + b"x" * 7)
    made("section-cut", DAMAGED, OK, trailer=b"x" * 8)
    made("bytes-behind-the-index", OK, area=b"x" * 100)
    for name, bytes_left in (
        ("header-alone", 128),
        ("header-and-chunk", 144),
        ("least-and-one-less", 383),
        ("least", 384),
        ("last-byte-cut", len(sound) - 1),
    ):
        mends = bytes_left > len(sound) // 2 + 200
        add(f"cut-{name}", sound[:bytes_left], DAMAGED if mends else LOST, MENDED if mends else LOST)
    add("two-in-one", sound + sound, DAMAGED, MENDED)
    add("no-container", b"\x89PNG\r\n\x1a\n" + bytes(1000), LOST)


def hostile_pages(made):
    """Page tables that lie."""
    index = Handmade().index()
    filler = Handmade(metadata=varint(9000) + (string(b"k" * 20) + string(b"v" * 20)) * 9000).index()
    parts = [filler[: 2**18], filler[2**18 :]]
    made("page-of-nothing", LOST, pages=[(b"", 0), (index, len(index))])
    made("page-decodes-to-nothing", LOST, pages=[(index, 0)])
    made("page-decodes-to-less", LOST, pages=[(index, len(index) - 1)])
    made("page-decodes-to-more", LOST, pages=[(index, len(index) + 1)])
    made("page-too-long", LOST, pages=[(index, 2**18 + 1)])
    made("page-not-full", LOST, pages=[(index[:100], 100), (index[100:], len(index) - 100)])
    made("page-of-zstd-noise", LOST, pages=[(b"\x28\xb5\x2f\xfd" + bytes(30), 2**18)])
    made("page-of-another-size", LOST, pages=[(rle_page(1 << 17), 2**18)])
    made("page-missing", LOST, pages=[(parts[0][:100], 2**18)])


def hostile_tables(made):
    """Chunks, blocks and files that cannot be."""
    most = varint(2**64 - 1)
    chunk = b"\0" + varint(16) + b"\0" + digest(0, Handmade().data)
    made("claims-many-chunks", LOST, chunk_count=1 << 40)
    made("claims-many-blocks", LOST, block_count=1 << 40)
    made("claims-many-tensors", LOST, tensor_count=1 << 40)
    made("claims-much-metadata", LOST, metadata=varint(1 << 40))
    made("claims-many-extensions", LOST, extension_count=1 << 40)
    made("two-chunks-of-one", LOST, chunk_count=2, more_chunks=chunk[1:])
    made("gap-wraps", LOST, gap=2**64 - 16)
    made("chunk-in-the-index", LOST, gap=8)
    made("chunk-before-the-first", LOST, references=b"\1")
    made("reference-far-before", LOST, references=varint(2**64 - 1))
    made("block-of-nothing", LOST, size=0, chunk_bytes=1)
    made("chunk-bytes-none", LOST, size=16, chunk_bytes=2**64)
    made("chunk-bytes-most", LOST, chunk_bytes=(1 << 24) + 1)
    made("block-of-half-elements", LOST, dtype=13, size=17, chunk_bytes=17)
    made("block-of-sub-bytes", LOST, dtype=17)
    made("block-of-complex", LOST, dtype=20)
    made("typed-chunks-too-short", LOST, dtype=11, chunk_bytes=8, references=b"\0\1")
    made("model-that-is-not", LOST, flags=2, references=b"\4\0")
    made("model-of-noise", UNSUPPORTED, dtype=11, codec=8, flags=2, references=b"\0\1")
    made("model-before-the-first", LOST, flags=2, references=b"\1\0")
    made(
        "block-without-a-file",
        LOST,
        block_count=2,
        more_blocks=bytes([0, 0]) + varint(16) + varint(16) + b"\1" + varint(16),
    )
    made("file-claims-blocks", LOST, blocks_claimed=2)
    made("file-claims-most-blocks", LOST, blocks_claimed=2**64 - 1)
    made("file-of-no-blocks", LOST, blocks_claimed=0)
    made("file-larger-than-blocks", LOST, size_text=varint(17))
    made("file-smaller-than-blocks", LOST, size_text=varint(15))
    made("file-of-the-most-bytes", LOST, size_text=most)
    made("file-kind", UNSUPPORTED, kind=3)
    made("file-mode", LOST, mode=0o10000)
    made("file-mode-setuid", OK, mode=0o4755)
    made("file-format-unknown", OK, file_format=200)
    made("file-time", OK, time=varint(1 << 33))
    made("file-time-most", LOST, time=most)
    made("varint-too-long", LOST, time=b"\x80" * 10 + b"\1")
    made("varint-not-shortest", LOST, time=b"\x81\x00")
    made("metadata-cut", LOST, metadata=varint(1) + string(b"key") + varint(1 << 20) + b"value")
    made("metadata-twice", OK, metadata=varint(2) + (string(b"key") + string(b"value")) * 2)
    made("nul-in-metadata", LOST, metadata=varint(1) + string(b"k\0y") + string(b"value"))
    made("extension-too-long", LOST, extension_count=1, extensions=varint(8) + varint(1 << 40))
    made("index-of-nothing", LOST, raw_index=b"\1")
    for at in (4, 12, 13, 30, 60, 100):
        made(f"index-cut-at-{at}", LOST, raw_index=Handmade().index()[:at])
    made("no-chunks-no-files", OK, data=b"", raw_index=struct.pack("<I", 2) + varint(0) + string(b"") + bytes(5))


def entry(name, kind=0, rest=None, mode=0o644):
    """A file of nothing, a folder or a symlink behind the first file."""
    rest = rest if rest is not None else varint(0) + content_digest(b"") + varint(0) if kind == 0 else b""
    return string(name) + bytes([kind, 0]) + varint(mode) + b"\0" + rest + b"\0"


def hostile_names(made):
    """Names and links that lead elsewhere, or round and round."""
    made("no-name", LOST, name=b"")
    made("dot-name", LOST, name=b".")
    made("dot-part", LOST, name=b"a/./b")
    made("parent-at-the-end", LOST, name=b"a/..")
    made("slash-at-the-end", LOST, name=b"a/")
    made("slash-alone", LOST, name=b"/")
    made("name-cut", LOST, name=b"a" * 200, raw_index=Handmade(name=b"a" * 200).index()[:200])
    made("name-too-long-for-files", OK, IO, name=b"n" * 300, file_count=2, more_files=entry(b"z"))
    made("names-unsorted", LOST, file_count=2, more_files=entry(b"a"))
    made("beneath-a-file", LOST, name=b"a", file_count=2, more_files=entry(b"a/b"))
    made("beneath-a-link-two-up", LOST, name=b"a", kind=2, link=b"b", file_count=2, more_files=entry(b"a/b/c"))
    made("folder-twice", LOST, name=b"a", kind=1, file_count=2, more_files=entry(b"a", 1))
    made("link-to-nothing", LOST, kind=2, link=b"")
    made("link-to-the-parent", LOST, kind=2, link=b"..")
    made("link-up-and-down", LOST, name=b"a/b", kind=2, link=b"../../a")
    made("nul-in-link", LOST, kind=2, link=b"a\0b")
    made(
        "link-to-a-link-up",
        LOST,
        name=b"a",
        kind=2,
        link=b"b/..",
        file_count=2,
        more_files=entry(b"b", 2, string(b".")),
    )
    made("control-characters", OK, name=b"\x1b[31m\r\n\x7f")
    made("no-utf-8", OK, name=b"\xff\xc0\x80")
    made("backslash", OK, name=b"..\\..\\x")


def svarint(value):
    """The zigzag form of a 64-bit number."""
    return varint(value << 1 if value >= 0 else -2 * value - 1)


@dataclasses.dataclass
class Tensor:
    """A row of the tensor table. size: bytes, said of opaque ones alone. place: instead of the step to its offset."""

    name: bytes = b"t"
    dtype: int = 2
    flags: int = 0
    shape: tuple = (16,)
    offset: int = 0
    size: int = 16
    file: int = 0
    dimensions: int = None
    strides: tuple = ()
    place: int = None


def columns(*tensors):
    """The tensor table behind its count, from tensors by file."""
    places, end = [], 0
    for number, one in enumerate(tensors):
        end = 0 if number and one.file else end
        places.append(one.offset - end if one.place is None else one.place)
        end = one.offset + one.size
    return b"".join(
        (
            *(varint(one.file) for one in tensors),
            *(string(one.name) for one in tensors),
            bytes(one.dtype for one in tensors),
            bytes(one.flags for one in tensors),
            bytes(len(one.shape) if one.dimensions is None else one.dimensions for one in tensors),
            *(varint(size) for one in tensors for size in one.shape),
            *(varint(stride) for one in tensors for stride in one.strides),
            *(varint(one.size) for one in tensors if one.dtype == 0),
            *map(svarint, places),
        )
    )


def hostile_tensors(made):
    """Tensors that do not fit; overlapping ones do."""

    def several(case, status, *tensors, **changes):
        made(case, status, tensor_count=len(tensors), tensors=columns(*tensors), **changes)

    def one(case, status, **changes):
        several(f"tensor-{case}", status, Tensor(**changes))

    one("sound", OK)
    one("of-no-file", LOST, file=1)
    one("of-the-last-file", LOST, file=2**64 - 1)
    one("type", UNSUPPORTED, dtype=54)
    one("flags", UNSUPPORTED, flags=8)
    one("strides", OK, flags=4, shape=(3, 3), strides=(5, 1))
    one("strides-of-words", OK, flags=4, shape=(2, 3), strides=(0, 3), dtype=4)
    one("strides-to-the-end", OK, flags=4, shape=(3, 4), strides=(6, 1))
    one("strides-past-the-end", LOST, flags=4, shape=(3, 5), strides=(6, 1))
    one("strides-of-opaque", OK, flags=4, shape=(2, 2), strides=(3, 12), dtype=0)
    one("strides-of-opaque-less", LOST, flags=4, shape=(2, 2), strides=(3, 12), dtype=0, size=15)
    one("strides-of-opaque-more", LOST, flags=4, shape=(2, 2), strides=(3, 11), dtype=0)
    one("strides-of-nothing", OK, flags=4, shape=(3, 0), strides=(1, 5))
    one("strides-of-a-scalar", OK, flags=4, shape=())
    one("strides-wrap", LOST, flags=4, shape=(2**32 + 1, 2), strides=(2**32, 15))
    one("strides-cut", LOST, flags=4, shape=(16,))
    one("strides-unasked", LOST, shape=(16,), strides=(1,))
    one("strides-of-nibbles", LOST, flags=4, shape=(4,), strides=(1,), dtype=24)
    one("strides-of-blocks", LOST, flags=4, shape=(32,), strides=(1,), dtype=28)
    one("strides-column-major", LOST, flags=6, shape=(2, 8), strides=(8, 1))
    one("blocks", OK, dtype=42, shape=(16, 0))
    one("blocks-cut", LOST, dtype=51, shape=(16,))
    one("past-the-file", LOST, offset=1)
    one("far-past-the-file", LOST, offset=2**63 - 1)
    one("before-the-file", LOST, place=-1, shape=(0,))
    one("far-before-the-file", LOST, place=-(2**63))
    one("too-long", LOST, shape=(17,))
    one("shape-wraps", LOST, shape=(2**32, 2**32, 16))
    one("shape-wraps-to-it", LOST, shape=(2**60 + 1, 16))
    one("dimensions", LOST, shape=(1,) * 64 + (16,))
    one("dimensions-cut", LOST, shape=(16,), dimensions=60)
    one("opaque", OK, dtype=0, shape=(3, 5))
    one("opaque-too-long", LOST, dtype=0, shape=(3, 5), size=17)
    one("no-name", OK, name=b"")
    over = (Tensor(), Tensor(b"u", shape=(8,), offset=4, size=8), Tensor(b"v", 12, shape=(4,)))
    several("tensors-overlap", OK, *over)
    several("tensors-of-one-name", OK, Tensor(), Tensor())
    several("tensor-after-the-end", LOST, Tensor(), Tensor(b"u", shape=(1,), offset=16, size=1))
    several("tensor-before-the-beginning", LOST, Tensor(), Tensor(b"u", shape=(1,), offset=-1, size=1))
    several(
        "tensor-relative-to-another-file",
        LOST,
        Tensor(),
        Tensor(b"u", shape=(0,), file=1, place=-16),
        file_count=2,
        more_files=entry(b"z"),
    )
    several("tensor-of-a-folder", LOST, Tensor(size=0, shape=(0,)), kind=1)
    view = Tensor(b"s", flags=4, shape=(2, 2), strides=(3, 1), offset=1)
    table = columns(Tensor(b"abc", 0, shape=(2,)), view)
    whole = Handmade(tensor_count=2, tensors=table).index()
    made("columns", OK, raw_index=whole)
    for cut in range(1, len(table) + 1):
        made(f"columns-cut-by-{cut}", LOST, raw_index=whole[: -1 - cut])


def hostile_payloads(made):
    """Chunks of every codec that are noise, nothing, or ask for much."""
    dtypes = {4: 11, 5: 2, 6: 12, 7: 12, 9: 2}
    for codec, name in enumerate(codec_names()):
        if name in ("store", "model"):
            continue
        dtype = dtypes.get(codec, 0)
        made(f"{name}-of-nothing", LOST, codec=codec, dtype=dtype, data=b"", size=16)
        for seed in range(2):
            made(
                f"{name}-of-noise-{seed}",
                LOST,
                codec=codec,
                dtype=dtype,
                size=4096,
                data=(b"\0\0" if seed else b"") + Numbers(100 * codec + seed).bytes(64),
            )
    for case, sound, payload in golden_payloads.cases():
        made(case, {True: OK, False: LOST, None: UNSUPPORTED}[sound], **vars(payload))
    two = golden_payloads.mixed_block()
    made(
        "mixed-of-two-chunks",
        LOST,
        **vars(two) | {"content": two.content * 2, "chunk_bytes": len(two.content), "more_references": b"\1"},
    )
    made("store-of-more", LOST, size=15)
    made("constant-of-three", LOST, codec=1, data=b"abc", size=15)
    made("constant-that-does-not-divide", LOST, codec=1, data=b"abcd", size=17)
    made("constant-bomb", LOST, codec=1, data=b"\0", size=1 << 24)
    made("zstd-bomb", LOST, codec=2, data=rle_page(1 << 18), size=16)
    made("zstd-too-short", LOST, codec=2, data=rle_page(1 << 17), size=1 << 18)
    huge = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 27}]
    made(
        "lzma-wants-memory",
        LOST,
        codec=3,
        size=16,
        data=lzma.compress(Handmade().data, lzma.FORMAT_XZ, lzma.CHECK_CRC32, filters=huge),
    )
    made("lzma-bomb", LOST, codec=3, size=16, data=lzma.compress(bytes(1 << 20), lzma.FORMAT_XZ))
    made(
        "zero-run-in-zero-run",
        LOST,
        codec=6,
        dtype=12,
        size=16,
        data=struct.pack("<IBBHI", 4, 6, 0, 0, 1) + b"\x0f" + bytes(19),
    )


# ---- all of it ----


def features(build, *path):
    """What a container makes use of (a second path: the key that opens it); without one, what the tables have."""
    run = subprocess.run([build / "tests" / "golden_features", *path], stdout=subprocess.PIPE, check=True, text=True)
    return set(run.stdout.splitlines())


def with_key(name):
    """A golden container, and the key that opens it if it needs one."""
    key = GUARDS.get(name, {}).get("key")
    return [folder() / f"{name}.mmh", *([folder() / f"{key}.key"] if key else [])]


def lines(manifest):
    """JSON with a line for each file and each case."""
    parts = [f'"draft": {manifest["draft"]}']
    for part in ("good", "hostile"):
        rows = ",\n".join(
            f"  {json.dumps(name)}: "
            + (
                json.dumps(entry)
                if part == "hostile"
                else "{\n"
                + ",\n".join(f"   {json.dumps(file)}: {json.dumps(is_)}" for file, is_ in entry.items())
                + "}"
            )
            for name, entry in manifest[part].items()
        )
        parts.append(f'"{part}": {{\n{rows}}}')
    return "{" + ",\n ".join(parts) + "}\n"


def seeds(build, target, names):
    """Seeds of the fuzz targets, out of the same containers; what fuzzing found has other suffixes."""
    corpus = ROOT / "tests" / "fuzz" / "corpus"
    made = (("container", "*.parts"), ("codec", "*.chunk"), ("cli", "[0-9]*.command"), ("originals", "*.model"))
    for part, pattern in made:
        (corpus / part).mkdir(parents=True, exist_ok=True)
        for old in (corpus / part).glob(pattern):
            old.unlink()
    for name in names:
        subprocess.run([build / "tests" / "fuzz_seeds", target / f"{name}.mmh", name, corpus], check=True)
    parts = sorted((corpus / "container").glob("*.parts"), key=lambda path: path.stat().st_size)[:3]
    for name, data in hostile_parts().items():
        (corpus / "container" / f"hostile-{name}.parts").write_bytes(data)
    command_seeds(corpus / "cli", parts)
    original_seeds(corpus / "originals")


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
info --json a\u009b\u202eb
pack --shape 4x1 --dtype f32 --alone --output - d
cat m.safetensors.mmh w[0:2,:] --text
cat m.safetensors w[...,-1] --npy -o d/w.npy
cat x.mmh w --max-size=1K -c
cat x.mmh
diff m.safetensors x.mmh --json
diff m.safetensors m.safetensors.mmh --exit-code
diff d x.mmh -q
ls m.safetensors d --json
unpack x.mmh --any-names --max-size=1M -o out/
pack m.safetensors --rm --progress=json -f
"""


def command_seeds(corpus, parts):
    """Command lines for fuzz_cli.c, over containers of the parts that fuzz_container.c has as seeds."""
    for number, line in enumerate(COMMANDS.split("\n")[1:-1]):
        words = line.split()
        data = bytes([len(words)]) + b"".join(word.encode() + b"\0" for word in words)
        if "x.mmh" in words:
            data += parts[number % len(parts)].read_bytes()
        (corpus / f"{number:02}-{words[0].strip('-')}.command").write_bytes(data)


def original_seeds(corpus):
    """Model files for fuzz_originals.c: u8 1 for npy, u8 raw type, then the file."""
    numbers = Numbers(77)
    shapes = {"F6_E2M3": [3], "F6_E3M2": [5, 7], "F4": [3, 6], "F8_E5M2": [4, 5], "BOOL": [9], "C64": [2, 3]}
    sizes = {"F6_E2M3": 3, "F6_E3M2": 27, "F4": 9, "F8_E5M2": 20, "BOOL": 9, "C64": 48}
    small = [(name.lower(), name, shape, numbers.bytes(sizes[name])) for name, shape in shapes.items()]
    wide = [
        (name, name, [3, 4, 5], numbers.bytes(60 * size))
        for name, size in (("BF16", 2), ("F16", 2), ("F32", 4), ("F64", 8), ("I64", 8), ("U16", 2), ("I8", 1))
    ]
    for name, tensors in (("small", small), ("wide", wide), ("void", [("none", "F32", [0, 3], b"")])):
        (corpus / f"{name}.model").write_bytes(bytes([0, 0]) + safetensors(tensors, {"format": "pt"}))
    for descr, fortran in zip(("<f4", ">f8", ">i2", "<c8", "|u1", ">c16"), (False, False, True, True, True, False)):
        array = npy(descr, (4, 3, 2), numbers.bytes(24 * int(descr[2:])), fortran)
        order = "fortran" if fortran else "c"
        (corpus / f"npy-{descr[1:]}-{order}.model").write_bytes(bytes([1, 0]) + array)
    for dtype in (2, 9, 11, 14, 17, 18, 21, 24):
        (corpus / f"raw-{dtype:02}.model").write_bytes(bytes([0, dtype]) + numbers.bytes(48))


def main():
    build = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build").resolve()
    target = folder()
    probe = subprocess.run(
        [build / "mmh", "pack", "-q", "--hash=blake3", "-c", __file__], capture_output=True, check=False
    )
    if probe.returncode:
        sys.exit("golden.py: this build has no BLAKE3, so these would be other files: make deps, then make")
    for old in GOLDEN.glob("draft-*"):
        shutil.rmtree(old)
    (target / "hostile").mkdir(parents=True)
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="mmh-golden-") as work:
        good = good_files(build, target, Path(work))
    hostile = hostile_files(target / "hostile")
    manifest = {"draft": draft(), "good": good, "hostile": hostile}
    (target / "golden.json").write_text(lines(manifest))
    seeds(
        build, target, [name for name in good if name not in ("types-6", "types-7", "types-8") and name not in GUARDS]
    )
    found = set().union(*(features(build, *with_key(name)) for name in good))
    missing = sorted((FEATURES | features(build)) - found)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target.relative_to(ROOT)}: {len(good)} containers, {len(hostile)} hostile, {size:,} bytes")
    if missing:
        print("no golden file makes use of: " + "; ".join(missing))
    if size > BYTES_MAX:
        print(f"that is more than {BYTES_MAX:,} bytes")
    return 1 if missing or size > BYTES_MAX else 0


if __name__ == "__main__":
    sys.exit(main())
