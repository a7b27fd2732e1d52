# SPDX-License-Identifier: Apache-2.0
"""Exact container sizes: beside ZipNN, beside entropy floors, level by level, at the worst."""

import os
from pathlib import Path

import bench_common as common
import floor
import numpy as np
import peers
import weights
from bench_common import mmh, mmh_json, verdict

LEVELS = tuple(range(1, 10))
CASTS = (*peers.CASTS, "int8", "fp8e4m3", "fp8e5m2", "fp64", "native")

# (model or *, cast or *, level, points): % of the file <= ZipNN's, one buffer a model, + points.
SIZE_BARS = [
    ("*", "*", 5, 0.0),
    ("minilm", "bf16", 1, 0.5),
    ("minilm", "bf16", 5, -0.6),
    ("minilm", "fp16", 1, 0.7),
    ("minilm", "fp16", 5, -0.4),
    ("minilm", "fp32", 1, 0.7),
    ("minilm", "fp32", 5, -0.4),
]
MINILM_BF16_MAX_BAR = 65.7  # level 9, % of the file
CORPUS_BF16_GAIN_BAR = 1.0  # points that level 5 is below ZipNN over the whole corpus
CLASSES_BAR = 0.2  # points of the tensors' bytes that level 9 may be above their class entropy
BYTES_BAR = 0.5  # % of the order-0 entropy of the bytes that level 5 may be above it
BYTES_DTYPES = ("I8", "U8", "F8_E4M3", "F8_E5M2", "F64")
GROWTH_BAR = (0.001, 4096)  # a share of the file, and bytes, that a container may be larger
SHOWN = 6  # tensors that explain why a bar was missed
GROWTH_SIZES = (0, 1, 100, 4096, 10**6, 20 * 10**6)


def pack(path, level, folder):
    """(path of the container, its bytes) of a file packed at a level."""
    packed = Path(folder) / "model.mmh"
    mmh("pack", f"-{level}", f"-T{os.cpu_count()}", "-f", "-o", packed, path)
    return packed, packed.stat().st_size


def in_file(row, key, size):
    """A peer's percentage of a whole file: its header and what is no float stay raw."""
    return 100 * (row["raw_bytes"] * row[key] / 100 + size - row["raw_bytes"]) / size if row else None


def bench_sizes(args):
    """Exact container sizes of every model, cast and level, beside ZipNN's and the floor."""
    casts = common.listed(args.casts, CASTS)
    models = common.listed(args.models)
    levels = common.listed(args.levels, LEVELS, int)
    files = list(peers.model_files(models, casts))
    zipnn = {(r["model"], r["cast"]): r for r in peers.run(models, casts, ["zipnn"])}
    rows = []
    print(
        f"{'model':20} {'cast':8} {'file MB':>8} {'zipnn':>7} {'best':>7} {'floor':>7} "
        + " ".join(f"{'-' + str(level):>6}" for level in levels)
        + "   % of the file"
    )
    with common.work_folder("memory") as folder:
        for model, cast, path in files:
            size = path.stat().st_size
            peer = zipnn.get((model, cast))
            row = {
                "model": model,
                "cast": cast,
                "file_bytes": size,
                "levels": {str(level): pack(path, level, folder)[1] for level in levels},
                "zipnn_percent": in_file(peer, "whole_percent", size),
                "zipnn_best_percent": in_file(peer, "best_percent", size),
                "floor_percent": floor.model_floor(path)["classes"] if cast not in ("int8", "native") else None,
            }
            rows.append(row)
            beside = (row[f"{name}_percent"] for name in ("zipnn", "zipnn_best", "floor"))
            print(
                f"{model:20} {cast:8} {size / 1e6:8.2f} "
                + " ".join(f"{value:7.2f}" if value else " " * 7 for value in beside)
                + " "
                + " ".join(f"{100 * row['levels'][str(level)] / size:6.2f}" for level in levels),
                flush=True,
            )
    common.save("sizes", rows, [path for _, _, path in files])
    judge_beside_zipnn(rows)
    judge_levels(rows, levels)


def judge_beside_zipnn(rows):
    for row in rows:
        for model, cast, level, points in SIZE_BARS:
            packed = row["levels"].get(str(level))
            if model in ("*", row["model"]) and cast in ("*", row["cast"]) and packed and row["zipnn_percent"]:
                figure, bar = 100 * packed / row["file_bytes"], row["zipnn_percent"] + points
                verdict(
                    f"{row['model']} {row['cast']} -{level}, file",
                    f"{figure:.2f} %",
                    f"{bar:.2f} % (ZipNN {points:+.1f})",
                    figure <= bar,
                    quiet=model == "*",
                )
        if (row["model"], row["cast"]) == ("minilm", "bf16") and "9" in row["levels"]:
            figure = 100 * row["levels"]["9"] / row["file_bytes"]
            verdict(
                "minilm bf16 -9, file",
                f"{figure:.2f} %",
                f"{MINILM_BF16_MAX_BAR} %",
                figure <= MINILM_BF16_MAX_BAR,
            )
    for cast in peers.CASTS:
        whole = [r for r in rows if r["cast"] == cast and r["model"] != "minilm" and r["zipnn_percent"]]
        total = sum(r["file_bytes"] for r in whole)
        if not total or "5" not in whole[0]["levels"]:
            continue
        ours = 100 * sum(r["levels"]["5"] for r in whole) / total
        theirs = sum(r["zipnn_percent"] * r["file_bytes"] for r in whole) / total
        best = sum(r["zipnn_best_percent"] * r["file_bytes"] for r in whole) / total
        print(f"  corpus {cast}: -5 {ours:.2f} %, ZipNN {theirs:.2f} %, at its best {best:.2f} %")
        if cast == "bf16":
            bar = theirs - CORPUS_BF16_GAIN_BAR
            verdict("corpus bf16 -5, files without minilm", f"{ours:.2f} %", f"{bar:.2f} %", ours <= bar)


def judge_levels(rows, levels):
    """Each level against the one before, over all models of a cast."""
    print(
        f"{'all models of':14} {'files MB':>8} " + " ".join(f"{'-' + str(level):>10}" for level in levels) + "   bytes"
    )
    casts = dict.fromkeys(row["cast"] for row in rows)
    for cast in (*casts, "all casts"):
        of = [row for row in rows if cast in (row["cast"], "all casts")]
        totals = [sum(row["levels"][str(level)] for row in of) for level in levels]
        print(
            f"{cast:14} {sum(row['file_bytes'] for row in of) / 1e6:8.2f} "
            + " ".join(f"{total:>10}" for total in totals)
        )
        for at in range(1, len(levels)):
            if levels[at] == levels[at - 1] + 1:
                verdict(
                    f"{cast}, all models: -{levels[at]} smaller than -{levels[at - 1]}",
                    f"{totals[at]} bytes",
                    f"{totals[at - 1]} bytes",
                    totals[at] < totals[at - 1],
                    quiet=True,
                )


def cost_of(tensors, chosen, level, folder):
    """Bytes that the `chosen` ones of a model's tensors take, exactly, read in two ways.

    alone     the chunks and models (tables, classes) of a container of nothing else
    in_model  what they add to the container of all tensors, index included: its size less that
              of a container of the others. Tensors can share chunks and models there, and no
              apportioning of those would be exact.
    """
    source = Path(folder) / "part.safetensors"

    def container(part):
        weights.write_safetensors(source, part)
        return pack(source, level, folder)

    others = {name: t for name, t in tensors.items() if name not in chosen}
    in_model = container(tensors)[1] - container(others)[1]
    packed, _ = container({name: tensors[name] for name in chosen})
    alone = sum(row["stored_bytes"] for row in mmh_json("ls", packed)["tensors"])
    return {"alone": alone, "in_model": in_model}


def points_above(row, way):
    return 100 * (row[way] - row["floor"]) / row["bytes"]


def bench_classes(args):
    """Level 9 over tensors of >= 64 Ki weights, beside the class entropy of the same tensors."""
    files = peers.model_files(common.listed(args.models), common.listed(args.casts, peers.CASTS))
    rows, used = [], []
    print(
        f"{'model':20} {'cast':5} {'tensors':>9} {'MB':>7} {'floor %':>8} {'alone %':>8}"
        f" {'points':>7} {'in model %':>10} {'points':>7}"
    )
    with common.work_folder("memory") as folder:
        for model, cast, path in files:
            tensors = weights.read_safetensors(path)
            large = {
                name: floor.tensor_floor(tensor)["classes"] / 8
                for name, tensor in tensors.items()
                if tensor.dtype in floor.SHAPES and tensor.data.size >= floor.LARGE
            }
            if not large:
                continue
            row = {
                "model": model,
                "cast": cast,
                "tensors": len(large),
                "bytes": sum(tensors[name].bytes().size for name in large),
                "floor": sum(large.values()),
            } | cost_of(tensors, large, 9, folder)
            rows.append(row)
            used.append(path)
            percent = {key: 100 * row[key] / row["bytes"] for key in ("floor", "alone", "in_model")}
            print(
                f"{model:20} {cast:5} {len(large):4}/{len(tensors):4} {row['bytes'] / 1e6:7.2f}"
                f" {percent['floor']:8.2f} {percent['alone']:8.2f}"
                f" {points_above(row, 'alone'):+7.2f} {percent['in_model']:10.2f}"
                f" {points_above(row, 'in_model'):+7.2f}",
                flush=True,
            )
            worst = max(points_above(row, way) for way in ("alone", "in_model"))
            if not verdict(
                f"{model} {cast} -9, tensors of >= 64 Ki weights",
                f"{worst:+.2f} points",
                f"{CLASSES_BAR:+.2f} of the class entropy",
                worst <= CLASSES_BAR,
                quiet=True,
            ):
                explain(tensors, large, 9, folder)
    common.save("classes", rows, used)
    for way in ("alone", "in_model"):
        worst = max(rows, key=lambda row: points_above(row, way), default=None)
        if worst:
            print(
                f"  the worst {way.replace('_', ' ')}: {worst['model']} {worst['cast']},"
                f" {points_above(worst, way):+.2f} points"
            )


def explain(tensors, bounds, level, folder):
    """Say where a bar was missed: all and the worst of the tensors, each packed by itself."""
    found = [
        (cost_of({name: tensors[name]}, [name], level, folder)["alone"] - bound, name, bound)
        for name, bound in bounds.items()
    ]
    size = sum(tensors[name].bytes().size for name in bounds)
    all_bounds, all_more = sum(bounds.values()), sum(more for more, _, _ in found)
    print(
        f"          {len(found)} tensors, each in a container of its own:"
        f" {100 * (all_bounds + all_more) / size:.2f} %, {100 * all_more / size:+.2f} points"
        f" or {100 * all_more / all_bounds:+.2f} % above"
    )
    for more, name, bound in sorted(found, reverse=True)[:SHOWN]:
        size = tensors[name].bytes().size
        print(
            f"          {name[-60:]} {list(tensors[name].data.shape)}: {100 * bound / size:.2f} %,"
            f" in a container of its own {100 * (bound + more) / size:.2f} %"
        )


def bytes_entropy(tensor):
    """(bytes that an ideal order-0 coder of a tensor's bytes takes, one for each place of them)."""
    data, width = tensor.bytes(), tensor.data.dtype.itemsize
    planes = [np.bincount(data[i::width], minlength=256) for i in range(width)]
    return floor.entropy_bits(sum(planes)) / 8, sum(floor.entropy_bits(p) for p in planes) / 8


def bench_bytes(args):
    """Level 5 of int8, uint8, fp8 and fp64 tensors beside the order-0 entropy of their bytes."""
    files = peers.model_files(
        common.listed(args.models),
        common.listed(args.casts, ("int8", "fp8e4m3", "fp8e5m2", "fp64", "native")),
    )
    rows, used = [], []
    print(
        f"{'model':20} {'cast':8} {'type':8} {'tensors':>9} {'MB':>6} {'entropy %':>9}"
        f" {'by place':>8} {'alone %':>8} {'in model %':>10} {'above %':>8}"
    )
    with common.work_folder("memory") as folder:
        for model, cast, path in files:
            tensors = weights.read_safetensors(path)
            for dtype in BYTES_DTYPES:
                chosen = [n for n, t in tensors.items() if t.dtype == dtype and t.data.size]
                size = sum(tensors[name].bytes().size for name in chosen)
                if size < floor.LARGE // 4:  # a handful of scales is no tensor of weights
                    continue
                entropies = {name: bytes_entropy(tensors[name]) for name in chosen}
                pooled = sum(entropy for entropy, _ in entropies.values())
                placed = sum(entropy for _, entropy in entropies.values())
                row = {
                    "model": model,
                    "cast": cast,
                    "dtype": dtype,
                    "tensors": len(chosen),
                    "bytes": size,
                    "entropy": pooled,
                    "entropy_by_place": placed,
                } | cost_of(tensors, chosen, 5, folder)
                rows.append(row)
                used.append(path)
                worst = max(row["alone"], row["in_model"])
                above = 100 * (worst / pooled - 1)
                print(
                    f"{model:20} {cast:8} {dtype:8} {len(chosen):4}/{len(tensors):4}"
                    f" {size / 1e6:6.2f} {100 * pooled / size:9.2f} {100 * placed / size:8.2f}"
                    f" {100 * row['alone'] / size:8.2f} {100 * row['in_model'] / size:10.2f}"
                    f" {above:+8.2f}",
                    flush=True,
                )
                if not verdict(
                    f"{model} {cast} -5, {dtype} tensors",
                    f"{worst} bytes ({above:+.2f} %)",
                    f"{pooled:.0f} of entropy + {BYTES_BAR} %",
                    above <= BYTES_BAR,
                    quiet=True,
                ):
                    explain(tensors, {n: e for n, (e, _) in entropies.items()}, 5, folder)
    common.save("bytes", rows, used)


def random_files(folder):
    """(label, path) of files that cannot be made smaller."""
    random = np.random.Generator(np.random.Philox(1))
    for size in GROWTH_SIZES:
        path = Path(folder) / "random.bin"
        path.write_bytes(random.bytes(size))
        yield f"{size} random bytes", path
    for size in GROWTH_SIZES:
        if size == 1:
            continue
        path = Path(folder) / "random.safetensors"
        bits = np.frombuffer(random.bytes(size // 2 * 2), np.uint16)
        weights.write_safetensors(path, {"random": weights.Tensor("BF16", bits)})
        yield f"bf16 tensor of {size // 2} random weights", path
    for count, each in ((10_000, 2), (10_000, 512)):
        path = Path(folder) / "random.safetensors"
        weights.write_safetensors(
            path,
            {
                f"layers.{i // 8}.{i % 8}": weights.Tensor("BF16", np.frombuffer(random.bytes(2 * each), np.uint16))
                for i in range(count)
            },
        )
        yield f"{count} bf16 tensors of {each} random weights", path


def bench_growth(args):
    """How much larger than the original the container of random bytes is."""
    levels, rows = common.listed(args.levels, (1, 5, 9), int), []
    print(f"{'file':40} {'level':>5} {'bytes':>9} {'container':>9} {'more':>7} {'allowed':>8}")
    with common.work_folder("memory") as folder:
        for label, path in random_files(folder):
            size = path.stat().st_size
            for level in levels:
                packed = pack(path, level, folder)[1]
                share, fixed = GROWTH_BAR
                rows.append({"file": label, "level": level, "bytes": size, "container": packed})
                print(
                    f"{label:40} {level:5} {size:9} {packed:9} {packed - size:+7} {share * size + fixed:8.0f}",
                    flush=True,
                )
                verdict(
                    f"{label} -{level}",
                    f"{packed - size:+} bytes",
                    f"{share * size + fixed:+.0f}",
                    packed - size <= share * size + fixed,
                    quiet=True,
                )
    common.save("growth", rows)
