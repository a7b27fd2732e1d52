# SPDX-License-Identifier: Apache-2.0
"""Entropy floors of float weights, with what a decoder has to be told counted.

order-0   the order-0 entropy of each tensor's exponents; sign and mantissa bits raw; no tables.
trailing  the same, without the mantissa bits that are zero in a whole row of a tensor, the signs
          of a tensor that has only one, and all bits of zeros but a symbol.
classes   two-sided classes: every row and every column of a tensor's matrix view has an integer
          class, its mean exponent deviation in quarter exponents, damped by C/(C+1) and R/(R+1);
          bin = row class + column class, at most 64 bins; the bins' histograms are merged into at
          most T contiguous tables by an optimal split, a table costing 16 + 9 x (symbols that
          occur) bits; symbol = exponent with the top two mantissa bits. Counted: the symbols'
          entropy, the tables, the classes at their own entropy with a table for those, and the raw
          bits of "trailing". The best of the matrix views and of one table; tensors under 64 Ki
          weights take one table or, if that is smaller, stay raw.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import weights

RESULTS = weights.CACHE / "bench" / "floor.json"
LARGE = 64 * 1024
BINS = 64
# dtype: (integer type, mantissa bits, exponent bits)
SHAPES = {
    "BF16": (np.uint16, 7, 8),
    "F16": (np.uint16, 10, 5),
    "F32": (np.uint32, 23, 8),
    "F64": (np.uint64, 52, 11),
    "F8_E4M3": (np.uint8, 3, 4),
    "F8_E5M2": (np.uint8, 2, 5),
}


def entropy_bits(counts):
    """Bits that an ideal order-0 coder spends on symbols with these counts (last axis)."""
    counts = np.asarray(counts, np.float64)
    total = counts.sum(-1)
    logs = np.log2(counts, out=np.zeros_like(counts), where=counts > 0)
    return total * np.log2(np.maximum(total, 1)) - (counts * logs).sum(-1)


def table_bits(counts):
    return 16 + 9 * np.count_nonzero(counts, axis=-1)


def split_tables(histograms, tables):
    """(bits, table id of each bin) of the best split of the bins into contiguous tables."""
    count = len(histograms)
    sums = np.concatenate([np.zeros((1, histograms.shape[1])), np.cumsum(histograms, 0)])
    cost = np.full((count + 1, count + 1), np.inf)
    for start in range(count):
        merged = sums[start + 1 :] - sums[start]
        cost[start, start + 1 :] = entropy_bits(merged) + table_bits(merged)
    best, back = cost[0].copy(), [np.zeros(count + 1, int)]
    best[0] = np.inf
    score = [best]
    for _ in range(min(tables, count) - 1):
        options = score[-1][:, None] + cost
        back.append(options.argmin(0))
        score.append(options.min(0))
    used = int(np.argmin([s[count] for s in score]))
    ids, end = np.zeros(count, int), count
    for step in range(used, -1, -1):
        start = back[step][end] if step else 0
        ids[start:end] = step
        end = start
    return score[used][count], ids


def matrix_views(shape):
    """(rows, columns) of the 2-D readings of a shape worth trying."""
    size, views = math.prod(shape), set()
    if len(shape) > 1:
        views |= {(shape[0], size // shape[0]), (size // shape[-1], shape[-1])}
    if len(shape) > 2:
        kernel = math.prod(shape[2:])
        views.add((size // kernel, kernel))
    return [v for v in views if v[0] > 1 and v[1] > 1]


def class_bits(classes):
    _, counts = np.unique(classes, return_counts=True)
    return entropy_bits(counts) + table_bits(counts)


def quarter_classes(exponent, axis, damping):
    deviation = exponent.mean(axis, dtype=np.float64) - exponent.mean(dtype=np.float64)
    return np.rint(4 * damping * deviation).clip(-127, 127).astype(np.int16)


def class_entropy_bits(symbols, exponent, view, tables, refinements):
    """Bits of the symbols of one tensor under two-sided classes in one view."""
    rows, columns = view
    symbols = symbols.reshape(view)
    alphabet = int(symbols.max()) + 1
    clamped = np.maximum(
        exponent.reshape(view),
        np.int32(np.median(exponent[:: max(1, exponent.size // 65536)])) - 16,
    )
    row = quarter_classes(clamped, 1, columns / (columns + 1))
    column = quarter_classes(clamped, 0, rows / (rows + 1))
    best = math.inf
    for attempt in range(refinements + 1):
        low = int(row.min()) + int(column.min())
        shift = max(0, (int(row.max()) + int(column.max()) - low + 1 - BINS) // 2)
        bins = (row[:, None] + column[None, :] - np.int16(low + shift)).clip(0, BINS - 1)
        histograms = np.bincount(
            (bins.astype(np.int32) * alphabet + symbols).ravel(), minlength=BINS * alphabet
        ).reshape(BINS, alphabet)
        histograms = histograms[:, histograms.any(0)] if attempt == refinements else histograms
        used = np.flatnonzero(histograms.any(1))
        bits, ids = split_tables(histograms[used], tables)
        best = min(best, bits + class_bits(row) + class_bits(column))
        if attempt < refinements:  # move each row, then each column, to its cheapest class nearby
            nearest = np.abs(np.arange(BINS)[:, None] - used[None, :]).argmin(1)
            merged = np.zeros((ids.max() + 1, alphabet))
            np.add.at(merged, ids, histograms[used])
            cost = -np.log2((merged + 0.02) / (merged + 0.02).sum(1, keepdims=True))
            cost = cost[ids[nearest]].astype(np.float32).ravel()
            for axis in (1, 0):
                steps, totals = (-3, -2, -1, 0, 1, 2, 3), []
                bins = row[:, None] + column[None, :] - np.int16(low + shift)
                for step in steps:
                    moved = (bins + np.int16(step)).clip(0, BINS - 1)
                    totals.append(cost[moved.astype(np.int32) * alphabet + symbols].sum(axis) + 0.5 * abs(step))
                move = np.array(steps, np.int16)[np.argmin(totals, 0)]
                if axis == 1:
                    row = row + move
                else:
                    column = column + move
    return best


def tensor_floor(tensor, tables=8, refinements=0, large=LARGE):
    """{"weights", "bits", "order0", "trailing", "classes"} of a float tensor, the rest in bits."""
    storage, mantissa_bits, exponent_bits = SHAPES[tensor.dtype]
    bits = np.ascontiguousarray(tensor.data).view(storage)
    size, width = bits.size, 8 * np.dtype(storage).itemsize

    def field(low, count):
        return ((bits >> storage(low)) & storage((1 << count) - 1)).astype(np.int32)

    exponent = field(mantissa_bits, exponent_bits)
    order0 = size * (width - exponent_bits) + entropy_bits(np.bincount(exponent.ravel()))

    # Bits of each weight that stay raw: none of a zero, not the rows' trailing zeros, not a sign
    # that all weights have.
    nonzero = bits != 0
    rows = bits.reshape(bits.shape[0] if bits.ndim > 1 else 1, -1)
    filled = nonzero.reshape(rows.shape).sum(1).astype(np.float64)
    union = np.bitwise_or.reduce(rows & storage((1 << mantissa_bits) - 1), axis=1)
    lowest = (union & (~union + storage(1))).astype(np.float64)
    mantissa = mantissa_bits - np.where(union > 0, np.log2(np.maximum(lowest, 1)), mantissa_bits)
    sign = field(width - 1, 1)[nonzero]
    signs = sign.size * int(sign.size > 0 and sign.min() != sign.max())
    top = min(2, mantissa_bits)
    raw = signs + float((mantissa * filled).sum())
    raw_under_top = signs + float((np.maximum(mantissa - top, 0) * filled).sum())

    exponents = np.bincount(np.where(nonzero, exponent + 1, 0).ravel())
    symbols = np.where(nonzero, field(mantissa_bits - top, exponent_bits + top) + 1, 0)
    counts = np.bincount(symbols.ravel())
    classes = min(
        raw_under_top + entropy_bits(counts) + table_bits(counts),
        raw + entropy_bits(exponents) + table_bits(exponents),
        size * width,
    )
    if size >= large:
        for view in matrix_views(tensor.data.shape):
            coded = class_entropy_bits(symbols, exponent, view, tables, refinements)
            classes = min(classes, raw_under_top + coded)
    return {
        "weights": size,
        "bits": size * width,
        "order0": float(order0),
        "trailing": float(raw + entropy_bits(exponents)),
        "classes": float(classes),
    }


def model_floor(path, tables=8, refinements=0, smallest=LARGE):
    """The floors in % of a model's float bytes, of all of them and of its large tensors'."""
    tensors = [t for t in weights.read_safetensors(path).values() if t.dtype in SHAPES and t.data.size]
    found = [tensor_floor(t, tables, refinements, smallest) for t in tensors]
    large = [f for f in found if f["weights"] >= LARGE]

    def percent(key, of):
        return 100 * sum(f[key] for f in of) / max(1, sum(f["bits"] for f in of))

    return {
        "weights": sum(f["weights"] for f in found),
        "order0": percent("order0", found),
        "trailing": percent("trailing", found),
        "classes": percent("classes", found),
        "large_share": sum(f["bits"] for f in large) / max(1, sum(f["bits"] for f in found)),
        "large_order0": percent("order0", large),
        "large_classes": percent("classes", large),
    }


def main():
    import peers

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", help="names, comma-separated (default: minilm and the corpus)")
    parser.add_argument("--casts", default=",".join(peers.CASTS), help="default: %(default)s")
    parser.add_argument("--tables", type=int, default=8, help="most tables of a tensor (default: 8)")
    parser.add_argument("--refine", type=int, default=0, help="passes that rescore the classes (default: 0)")
    parser.add_argument("--smallest", type=int, default=LARGE, help="fewest weights for classes (default: 65536)")
    args = parser.parse_args()
    models = args.models.split(",") if args.models else None
    rows = []
    print(
        f"{'model':20} {'cast':8} {'weights':>9} {'order-0 %':>9} {'trailing %':>10}"
        f" {'classes %':>9}"
        f"   >= 64 Ki: {'share':>6} {'order-0 %':>9} {'classes %':>9}"
    )
    for model, cast, path in peers.model_files(models, args.casts.split(",")):
        row = {"model": model, "cast": cast} | model_floor(path, args.tables, args.refine, args.smallest)
        rows.append(row)
        print(
            f"{model:20} {cast:8} {row['weights']:9} {row['order0']:9.2f} {row['trailing']:10.2f}"
            f" {row['classes']:9.2f}            {100 * row['large_share']:5.0f}%"
            f" {row['large_order0']:9.2f}"
            f" {row['large_classes']:9.2f}",
            flush=True,
        )
    name = (
        RESULTS
        if (args.tables, args.refine, args.smallest) == (8, 0, LARGE)
        else RESULTS.with_name(f"floor-t{args.tables}-r{args.refine}-s{args.smallest}.json")
    )
    name.parent.mkdir(parents=True, exist_ok=True)
    if models is None:
        name.write_text(json.dumps({"counted": __doc__, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
