# SPDX-License-Identifier: Apache-2.0
"""Quantised copies of MiniLM in the layouts of several projects, and what mmh, zstd and xz make of them.

    .venv/bin/python bench/quantised.py [--mmh build/mmh] [LAYOUT...]

The layouts are those that the projects document: AutoGPTQ, AutoAWQ, bitsandbytes (nf4, int8), the Open Compute
Project's MXFP4 as gpt-oss has it, NVFP4 and pack-quantized int4 of compressed-tensors; and block types of GGUF.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import minilm  # noqa: E402
import weights  # noqa: E402

GROUP = 128
FP4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
# The 16 quantiles of a normal distribution that bitsandbytes documents as NF4.
NF4 = np.array(
    [-1.0, -0.69619, -0.52507, -0.39492, -0.28444, -0.18477, -0.09105, 0.0]
    + [0.07958, 0.16093, 0.24611, 0.33792, 0.44071, 0.56262, 0.72296, 1.0],
    np.float32,
)


def matrices():
    """(name, fp32 matrix) of the layers; the rest of the model stays as it is."""
    for name, tensor in weights.read_safetensors(minilm.fetch()).items():
        if tensor.dtype == "F32" and tensor.data.ndim == 2 and "layer" in name:
            yield name.removesuffix(".weight"), tensor.data.view(np.float32)


def nearest(values, table):
    """The index of the nearest entry of a sorted table."""
    return np.searchsorted((table[1:] + table[:-1]) / 2, values).astype(np.uint8)


def bf16(values):
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def affine(matrix):
    """Groups of GROUP columns: nibbles [out, in], scales and zero points [out, groups]."""
    groups = matrix.reshape(len(matrix), -1, GROUP)
    low, high = np.minimum(groups.min(2), 0), np.maximum(groups.max(2), 0)
    scale = (high - low) / 15
    zero = np.round(-low / scale)
    nibbles = np.clip(np.round(groups / scale[:, :, None]) + zero[:, :, None], 0, 15)
    return nibbles.reshape(matrix.shape).astype(np.uint32), scale, zero.astype(np.uint32)


def packed(nibbles, order=range(8)):
    """Eight nibbles of the last axis in an int32."""
    eight = nibbles.reshape(*nibbles.shape[:-1], -1, 8)
    return sum(eight[..., place] << np.uint32(4 * i) for i, place in enumerate(order)).astype(np.uint32)


def gptq(name, matrix):
    nibbles, scale, zero = affine(matrix)
    yield f"{name}.g_idx", "I32", (np.arange(matrix.shape[1]) // GROUP).astype(np.int32)
    yield f"{name}.qweight", "I32", np.ascontiguousarray(packed(nibbles).T)
    yield f"{name}.qzeros", "I32", packed(np.ascontiguousarray((zero - 1 & 15).T))
    yield f"{name}.scales", "F16", np.ascontiguousarray(scale.T).astype(np.float16).view(np.uint16)


def awq(name, matrix):
    nibbles, scale, zero = affine(matrix)
    order = (0, 2, 4, 6, 1, 3, 5, 7)
    yield f"{name}.qweight", "I32", packed(np.ascontiguousarray(nibbles.T), order)
    yield f"{name}.qzeros", "I32", packed(np.ascontiguousarray(zero.T), order)
    yield f"{name}.scales", "F16", np.ascontiguousarray(scale.T).astype(np.float16).view(np.uint16)


def compressed(name, matrix):
    groups = matrix.reshape(len(matrix), -1, GROUP)
    scale = np.abs(groups).max(2) / 7.5
    nibbles = np.clip(np.round(groups / scale[:, :, None]), -8, 7).astype(np.int32) + 8
    yield f"{name}.weight_packed", "I32", packed(nibbles.reshape(matrix.shape).astype(np.uint32))
    yield f"{name}.weight_scale", "BF16", bf16(scale)
    yield f"{name}.weight_shape", "I64", np.array(matrix.shape, np.int64)


def nf4(name, matrix):
    blocks = matrix.reshape(-1, 64)
    absmax = np.abs(blocks).max(1)
    nibbles = nearest(blocks / absmax[:, None], NF4).reshape(-1, 2)
    yield f"{name}.weight", "U8", (nibbles[:, 0] << 4 | nibbles[:, 1])[:, None]
    yield f"{name}.weight.absmax", "F32", absmax.astype(np.float32).view(np.uint32)
    yield f"{name}.weight.quant_map", "F32", NF4.view(np.uint32)


def int8(name, matrix):
    absmax = np.abs(matrix).max(1)
    yield f"{name}.weight", "I8", np.round(matrix / absmax[:, None] * 127).astype(np.int8).view(np.uint8)
    yield f"{name}.SCB", "F32", absmax.astype(np.float32).view(np.uint32)


def fp4(values):
    """Codes of e2m1: the sign, then the nearest magnitude."""
    return nearest(np.abs(values), FP4) | (values < 0).astype(np.uint8) << 3


def mxfp4(name, matrix):
    groups = matrix.reshape(len(matrix), -1, 32)
    exponent = np.floor(np.log2(np.abs(groups).max(2))) - 2
    codes = fp4(groups / np.exp2(exponent)[:, :, None])
    yield f"{name}_blocks", "U8", codes[:, :, 0::2] | codes[:, :, 1::2] << 4
    yield f"{name}_scales", "U8", (exponent + 127).astype(np.uint8)


def e4m3(values):
    """Bits of positive values in e4m3, rounded to the nearest."""
    exponent = np.maximum(np.floor(np.log2(values)), -6)
    return (np.round(values / np.exp2(exponent - 3)) + 8 * (exponent + 6)).astype(np.uint8)


def nvfp4(name, matrix):
    groups = matrix.reshape(len(matrix), -1, 16)
    whole = np.abs(matrix).max() / (448 * 6)
    bits = e4m3(np.maximum(np.abs(groups).max(2) / 6 / whole, 2.0**-6))
    scale = np.where(bits >> 3, np.exp2((bits >> 3) - 7.0) * (1 + (bits & 7) / 8), (bits & 7) * 2.0**-9) * whole
    codes = fp4(np.clip(groups / scale[:, :, None], -6, 6)).reshape(matrix.shape)
    yield f"{name}.weight_packed", "U8", codes[:, 0::2] | codes[:, 1::2] << 4
    yield f"{name}.weight_scale", "F8_E4M3", bits
    yield f"{name}.weight_global_scale", "F32", np.array([1 / whole], np.float32).view(np.uint32)


LAYOUTS = {f.__name__: f for f in (gptq, awq, compressed, nf4, int8, mxfp4, nvfp4)}


def write(layout, folder):
    """The file of a layout, which is kept."""
    path = folder / f"minilm.{layout}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {}
        for name, matrix in matrices():
            for key, dtype, data in LAYOUTS[layout](name, matrix):
                tensors[key] = weights.Tensor(dtype, data.view(weights.STORAGE[dtype]))
        weights.write_safetensors(path, tensors)
    return path


def packed_bytes(*command):
    return len(subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("layouts", nargs="*", metavar="LAYOUT", help=", ".join(LAYOUTS) + " (default: all)")
    parser.add_argument("--mmh", default=ROOT / "build" / "mmh")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    worse = 0
    for layout in arguments.layouts or LAYOUTS:
        path = write(layout, weights.CACHE / "quantised")
        row = {"layout": layout, "bytes": path.stat().st_size}
        for level in (5, 9):
            row[f"mmh -{level}"] = packed_bytes(arguments.mmh, "pack", "-q", f"-{level}", "-c", path)
        row["zstd -19"] = packed_bytes("zstd", "-19", "-c", "-q", path)
        row["xz -9e"] = packed_bytes("xz", "-9e", "-c", "-q", path)
        worse += row["mmh -5"] >= row["zstd -19"] or row["mmh -9"] >= row["xz -9e"]
        print(
            json.dumps(row) if arguments.json else "  ".join(f"{key} {value}" for key, value in row.items()), flush=True
        )
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
