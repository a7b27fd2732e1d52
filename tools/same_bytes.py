#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether builds for different machines write and read the same bytes.

tools/same_bytes.py compare MMH OTHER   both pack made inputs at levels 1, 5 and 9 into equal containers,
                                        and each unpacks what the other wrote
tools/same_bytes.py golden              $MMH_BIN reads the files of tests/golden/, hostile ones too

OTHER and $MMH_BIN may be scripts that run a program under an emulator: nothing is timed here, and no
memory measured, unlike in tests/test_golden.py. Ends with `N passed, N failed, N skipped`. The inputs
are made of integers, the same everywhere.
"""

import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import golden

LEVELS = (1, 5, 9)


class Count:
    def __init__(self):
        self.passed, self.failed = 0, 0

    def __call__(self, right, what):
        self.passed += bool(right)
        self.failed += not right
        if not right:
            print(f"failed: {what}")


# ---- inputs ----


def numbers(seed):
    """An endless row of u32 (Knuth's MMIX generator, its high half)."""
    while True:
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        yield seed >> 32


def float32_bits(count, seed):
    """Bell-shaped weights as fp32 bits; rows of 96 differ in scale. Sums of integers, made floats exactly."""
    source, bits = numbers(seed), []
    for i in range(count):
        total = sum((next(source) >> 16) - 32768 for _ in range(4)) * (1 + i // 96 % 7)
        bits.append(struct.unpack("<I", struct.pack("<f", total / 2**24))[0])
    return bits


def inputs(folder):
    """Files of several kinds in `folder`."""
    weights = float32_bits(48 * 96, 1)
    bf16 = struct.pack(f"<{len(weights)}H", *(x >> 16 for x in weights))
    fp32 = struct.pack(f"<{len(weights)}I", *weights)
    cut = struct.pack(f"<{len(weights)}I", *(x & ~0x1FFF for x in weights))
    fp16 = struct.pack(f"<{len(weights)}e", *(struct.unpack("<f", struct.pack("<I", x))[0] for x in weights))
    fp64 = struct.pack(f"<{len(weights)}d", *(struct.unpack("<f", struct.pack("<I", x))[0] for x in weights))
    source = numbers(2)
    bell = bytes((sum(next(source) >> 27 for _ in range(6)) & 255) for _ in range(40000))
    sparse = bytes(next(source) >> 24 if next(source) % 9 == 0 else 0 for _ in range(20000))
    steps = struct.pack("<2500q", *range(0, 7500, 3))
    tensors = {
        "a.bf16": ("BF16", [48, 96], bf16),
        "b.f32": ("F32", [48, 96], fp32),
        "c.cut": ("F32", [48, 96], cut),
        "d.f16": ("F16", [48, 96], fp16),
        "e.f64": ("F64", [48, 96], fp64),
        "f.i8": ("I8", [200, 200], bell),
        "g.u8": ("U8", [20000], sparse),
        "h.i64": ("I64", [2500], steps),
    }
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    model = struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values())
    (folder / "model.safetensors").write_bytes(model)
    large = struct.pack("<360000H", *(x >> 16 for x in float32_bits(360000, 3)))  # more than one chunk
    head = json.dumps({"w": {"dtype": "BF16", "shape": [600, 600], "data_offsets": [0, len(large)]}}).encode()
    (folder / "large.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + large)
    big = b"{'descr': '>f4', 'fortran_order': False, 'shape': (48, 96), }".ljust(117) + b"\n"
    (folder / "big.npy").write_bytes(
        b"\x93NUMPY\1\0" + struct.pack("<H", len(big)) + big + struct.pack(f">{len(weights)}I", *weights)
    )
    (folder / "text.txt").write_bytes(b"".join(b"line %d of many, much like the others\n" % i for i in range(3000)))
    return sorted(folder.iterdir())


# ---- comparisons ----


def run(program, *arguments):
    command = [program, *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def compare(count, one, other):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for path in inputs(folder / "in"):
            for level in LEVELS:
                packed = []
                for number, program in enumerate((one, other)):
                    packed.append(folder / f"{path.name}-{level}-{number}.mmh")
                    result = run(program, "pack", "-q", f"-{level}", path, "-o", packed[-1])
                    if result.returncode:
                        print(result.stdout)
                if not all(out.exists() for out in packed):
                    count(False, f"{path.name} at level {level} was not packed")
                    continue
                digests = [hashlib.sha256(out.read_bytes()).hexdigest() for out in packed]
                count(digests[0] == digests[1], f"{path.name} at level {level}: containers differ")
                print(f"{digests[1][:16]}  {path.name} at level {level}, {packed[1].stat().st_size} bytes")
                for program, container in ((other, packed[0]), (one, packed[1])):
                    out = folder / "out"
                    result = run(program, "unpack", "-q", container, "-o", out)
                    right = result.returncode == 0 and out.exists() and out.read_bytes() == path.read_bytes()
                    count(right, f"{path.name} at level {level}: {program} of the other's {result.stdout}")
                    out.unlink(missing_ok=True)


def read_golden(count, program):
    manifest = json.loads((golden.folder() / "golden.json").read_text())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for name, files in manifest["good"].items():
            out = folder / name
            out.mkdir()
            guards = golden.GUARDS.get(name, {})
            options = [f"--key={golden.folder() / guards['key']}.key"] if "key" in guards else []
            if "signer" in guards:
                options.append(f"--signer={golden.folder() / guards['signer']}.pub")
            result = run(program, "unpack", "-q", *options, golden.folder() / f"{name}.mmh", "-o", f"{out}/")
            count(result.returncode == 0 and golden.tree(out) == files, f"{name}: {result.stdout}")
        for name, case in manifest["hostile"].items():
            path, out = golden.folder() / "hostile" / f"{name}.mmh", folder / f"{name}.out"
            for verb, arguments in (("verify", [path]), ("unpack", [path, "-o", out])):
                result = run(program, verb, *arguments)
                count(
                    result.returncode == case[verb],
                    f"{name}: {verb} must exit {case[verb]}, not {result.returncode}: {result.stdout}",
                )


def main(arguments):
    count = Count()
    if len(arguments) == 3 and arguments[0] == "compare":
        compare(count, *(os.path.abspath(program) for program in arguments[1:]))
    elif arguments == ["golden"]:
        read_golden(count, os.environ["MMH_BIN"])
    else:
        sys.exit(__doc__)
    print(f"{count.passed} passed, {count.failed} failed, 0 skipped")
    return 1 if count.failed or not count.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
