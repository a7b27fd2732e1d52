# SPDX-License-Identifier: Apache-2.0
"""Write a large, deterministic, synthetic transformer as safetensors, in bounded memory."""

import argparse
import math
import sys
from pathlib import Path

import numpy as np

import weights

BLOCK = 1 << 20  # weights drawn at a time
DTYPES = {"bf16": "BF16", "fp16": "F16", "fp32": "F32"}


def transformer_shapes(target_weights, width=2048, hidden=5632, vocabulary=32000):
    """(name, shape) of a decoder's tensors, layer by layer, up to about `target_weights`."""
    yield "model.embed_tokens.weight", (vocabulary, width)
    total, layer = 2 * vocabulary * width, 0
    while total < target_weights:
        prefix = f"model.layers.{layer}."
        for name, shape in (
            ("input_layernorm.weight", (width,)),
            ("self_attn.q_proj.weight", (width, width)),
            ("self_attn.k_proj.weight", (width // 4, width)),
            ("self_attn.v_proj.weight", (width // 4, width)),
            ("self_attn.o_proj.weight", (width, width)),
            ("post_attention_layernorm.weight", (width,)),
            ("mlp.gate_proj.weight", (hidden, width)),
            ("mlp.up_proj.weight", (hidden, width)),
            ("mlp.down_proj.weight", (width, hidden)),
        ):
            yield prefix + name, shape
            total += math.prod(shape)
        layer += 1
    yield "model.norm.weight", (width,)
    yield "lm_head.weight", (vocabulary, width)


def small_shapes(count, rows=32, columns=32):
    """(name, shape) of `count` small matrices, for containers of very many chunks."""
    for number in range(count):
        yield f"blocks.{number // 8}.part.{number % 8}.weight", (rows, columns)


def values(shape, seed):
    """fp32 rows of one tensor, in blocks: Gaussian, each row and column at its own scale."""
    random = np.random.Generator(np.random.Philox(seed))
    if len(shape) == 1:
        yield (1 + 0.1 * random.standard_normal(shape, np.float32)).astype(np.float32)
        return
    rows, columns = shape
    sigma = np.float32(0.7 / math.sqrt(columns) * 2 ** random.uniform(-0.5, 0.5))
    row_scale = np.exp(0.18 * random.standard_normal(rows, np.float32)) * sigma
    column_scale = np.exp(0.12 * random.standard_normal(columns, np.float32))
    column_scale[random.random(columns) < 0.002] *= 4
    step = max(1, BLOCK // columns)
    for first in range(0, rows, step):
        part = random.standard_normal((min(step, rows - first), columns), np.float32)
        part *= row_scale[first : first + step, None]
        part *= column_scale
        yield part


def as_bits(part, dtype):
    if dtype == "BF16":
        return weights.bf16_bits(part)
    return part.astype(np.float16) if dtype == "F16" else part


def write(path, shapes, dtypes, seed=0):
    """Write the tensors of `shapes`, their dtypes taking turns; return the file's bytes."""
    path = Path(path)
    shapes = list(shapes)
    entries = [(name, dtypes[i % len(dtypes)], shape) for i, (name, shape) in enumerate(shapes)]
    with open(path, "wb") as file:
        file.write(weights.safetensors_header(entries))
        for number, (_, dtype, shape) in enumerate(entries):
            file.writelines(
                np.ascontiguousarray(as_bits(part, dtype)).data for part in values(shape, (seed << 32) + number)
            )
    return path.stat().st_size


def write_model(path, size, dtype="bf16", seed=0):
    """Write a transformer of about `size` bytes."""
    width = np.dtype(weights.STORAGE[DTYPES[dtype]]).itemsize
    return write(path, transformer_shapes(size // width), [DTYPES[dtype]], seed)


def parse_size(text):
    """Bytes of "1500M", "8G" or a plain number."""
    unit = {"K": 10**3, "M": 10**6, "G": 10**9}.get(text[-1:].upper())
    return int(float(text[:-1]) * unit) if unit else int(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path")
    parser.add_argument("--size", default="1500M", help="about how many bytes (default: 1500M)")
    parser.add_argument("--dtype", default="bf16", choices=sorted(DTYPES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--small-tensors",
        type=int,
        metavar="N",
        help="instead: N matrices of 32 x 32, fp32 and bf16 by turns",
    )
    args = parser.parse_args()
    if args.small_tensors:
        written = write(args.path, small_shapes(args.small_tensors), ["F32", "BF16"], args.seed)
    else:
        written = write_model(args.path, parse_size(args.size), args.dtype, args.seed)
    print(f"{written} bytes in {args.path}", file=sys.stderr)


if __name__ == "__main__":
    main()
