#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure size, speed and memory of mmh beside memcpy, cp and the peers, and check the bars.

Sizes are exact and the same on every machine; speeds are medians of N runs with their spread, and
on a busy machine only their shares of memcpy or cp, taken in the same run, say anything.
Results are kept under .cache/bench/, each with machine, compiler, commit and corpus hash.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import floor  # noqa: E402
import generate  # noqa: E402
import peers  # noqa: E402
import weights  # noqa: E402

BUILD = Path(os.environ.get("MMH_BUILD") or weights.ROOT / "build")
RESULTS = weights.CACHE / "bench"
PICTURE = weights.ROOT / "docs" / "pictures" / "ratio-speed.svg"
LEVELS = tuple(range(1, 10))
MEMORY_FOLDER = Path("/dev/shm")

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
# (level, kernels, operation, least share of memcpy), bf16 on one thread.
SPEED_BARS = [
    (1, "avx512", "decode", 1.0),
    (1, "avx512", "encode", 0.40),
    (1, "avx2", "decode", 0.65),
    (1, "c", "decode", 0.2),
    (4, "avx512", "decode", 0.38),
    (4, "avx512", "encode", 0.15),
    (4, "avx2", "decode", 0.15),
    (4, "c", "decode", 0.02),
    (5, "avx512", "decode", 0.33),
    (5, "avx512", "encode", 0.09),
    (5, "avx2", "decode", 0.12),
    (5, "c", "decode", 0.02),
    (9, "avx512", "decode", 0.25),
    (9, "avx512", "encode", 0.005),
    (9, "avx2", "decode", 0.10),
]
# Longest time as a multiple of cp's (in memory) or of cp + sync's (on disk), every core.
FILE_BARS = {("unpack", 1): 1.6, ("unpack", 5): 1.8, ("pack", 1): 1.8, ("pack", 5): 2.8}
OPEN_MS_BAR = 50
LARGE_RSS_MB_BAR = 400


def command_line(*words):
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def environment(files=()):
    """What a row was measured with: machine, compiler, commit, corpus hash."""
    cpu = (
        next(
            (
                line.split(":", 1)[1].strip()
                for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")
            ),
            platform.processor(),
        )
        if Path("/proc/cpuinfo").exists()
        else platform.processor()
    )
    compiler = command_line(os.environ.get("CC", "cc"), "--version").split("\n")[0]
    meson = BUILD / "meson-info" / "intro-compilers.json"
    if meson.exists():
        found = json.loads(meson.read_text()).get("host", {}).get("c", {})
        compiler = f"{found.get('id')} {found.get('version')}" if found else compiler
    git = ("git", "-C", str(weights.ROOT))
    dirty = "+" if command_line(*git, "status", "--porcelain", "--untracked-files=no") else ""
    corpus = hashlib.sha256()
    for file in sorted(Path(f) for f in files):
        corpus.update(f"{file.name} {weights.file_digest(file)}\n".encode())
    return {
        "machine": f"{cpu}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "compiler": compiler,
        "commit": (command_line(*git, "rev-parse", "--short", "HEAD") or "none") + dirty,
        "corpus_hash": corpus.hexdigest()[:16] if files else "",
        "date": time.strftime("%Y-%m-%d"),
    }


def save(name, rows, files=()):
    RESULTS.mkdir(parents=True, exist_ok=True)
    target = RESULTS / f"{name}.json"
    target.write_text(json.dumps({"environment": environment(files), "rows": rows}, indent=1))
    print(f"bench: {len(rows)} rows in {os.path.relpath(target)}", file=sys.stderr)
    about = json.loads(target.read_text())["environment"]
    print("  ".join(f"{key}: {value}" for key, value in about.items() if value))


def load(name):
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def verdict(label, figure, bar, met):
    print(f"  {'met    ' if met else 'NOT MET'} {label}: {figure} against {bar}")
    return met


# Runs in a process of its own: a child of a large process would show that one's peak as its own.
RUNNER = """
import json, os, sys, time
start = time.perf_counter()
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - start
peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
json.dump([seconds, peak, os.waitstatus_to_exitcode(status)], open(sys.argv[1], "w"))
"""


def mmh(*words, fails=True):
    """(seconds, peak resident bytes, standard output) of a run; None if it may fail and did."""
    with tempfile.NamedTemporaryFile("r") as report:
        result = subprocess.run(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                RUNNER,
                report.name,
                str(BUILD / "mmh"),
                *map(str, words),
            ],
            capture_output=True,
            check=False,
        )
        report.seek(0)
        text = report.read()
    if result.returncode or not text:
        raise SystemExit(f"bench: cannot run mmh: {result.stderr.decode(errors='replace')}")
    seconds, peak, code = json.loads(text)
    if code and fails:
        raise SystemExit(
            f"bench: exit {code} of mmh {' '.join(map(str, words))}\n"
            + result.stderr.decode(errors="replace")
        )
    return None if code else (seconds, peak, result.stdout.decode(errors="replace"))


def spread(values):
    return {
        "median": statistics.median(values),
        "least": min(values),
        "most": max(values),
        "runs": len(values),
    }


def show_spread(figure):
    return f"{figure['median']:.2f} ({figure['least']:.2f}-{figure['most']:.2f})"


def memcpy_gbps(size=256 << 20, runs=5):
    """Bytes copied a second, one thread, between buffers that are already there."""
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    best = []
    for _ in range(runs):
        start = time.perf_counter()
        np.copyto(target, source)
        best.append(size / (time.perf_counter() - start) / 1e9)
    return spread(best)


def work_folder(where):
    """A temporary folder in memory or on disk."""
    if where == "memory" and MEMORY_FOLDER.is_dir():
        return tempfile.TemporaryDirectory(prefix="mmh-bench-", dir=MEMORY_FOLDER)
    RESULTS.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="work-", dir=RESULTS)


def in_file(row, key, size):
    """A peer's percentage of a whole file: its header and what is no float stay raw."""
    return (
        100 * (row["raw_bytes"] * row[key] / 100 + size - row["raw_bytes"]) / size if row else None
    )


def bench_sizes(args):
    """Exact container sizes of every model, cast and level, beside ZipNN's and the floor."""
    casts = (
        args.casts.split(",")
        if args.casts
        else [*peers.CASTS, "int8", "fp8e4m3", "fp8e5m2", "fp64", "native"]
    )
    models = args.models.split(",") if args.models else None
    levels = [int(x) for x in args.levels.split(",")] if args.levels else LEVELS
    files = list(peers.model_files(models, casts))
    zipnn = {(r["model"], r["cast"]): r for r in peers.run(models, casts, ["zipnn"])}
    rows = []
    print(
        f"{'model':20} {'cast':8} {'file MB':>8} {'zipnn':>7} {'best':>7} {'floor':>7} "
        + " ".join(f"{'-' + str(level):>6}" for level in levels)
        + "   % of the file"
    )
    with work_folder("memory") as folder:
        for model, cast, path in files:
            size = path.stat().st_size
            peer = zipnn.get((model, cast))
            row = {
                "model": model,
                "cast": cast,
                "file_bytes": size,
                "levels": {},
                "zipnn_percent": in_file(peer, "whole_percent", size),
                "zipnn_best_percent": in_file(peer, "best_percent", size),
                "floor_percent": floor.model_floor(path)["classes"]
                if cast not in ("int8", "native")
                else None,
            }
            for level in levels:
                packed = Path(folder) / "model.mmh"
                mmh("pack", f"-{level}", f"-T{os.cpu_count()}", "-f", "-o", packed, path)
                row["levels"][str(level)] = packed.stat().st_size
            rows.append(row)
            cell = lambda value: f"{value:7.2f}" if value else " " * 7  # noqa: E731
            print(
                f"{model:20} {cast:8} {size / 1e6:8.2f} {cell(row['zipnn_percent'])}"
                f" {cell(row['zipnn_best_percent'])}"
                f" {cell(row['floor_percent'])} "
                + " ".join(f"{100 * row['levels'][str(level)] / size:6.2f}" for level in levels),
                flush=True,
            )
    save("sizes", rows, [path for _, _, path in files])
    met = []
    for row in rows:
        for model, cast, level, points in SIZE_BARS:
            packed = row["levels"].get(str(level))
            if (
                model in ("*", row["model"])
                and cast in ("*", row["cast"])
                and packed
                and row["zipnn_percent"]
            ):
                figure, bar = 100 * packed / row["file_bytes"], row["zipnn_percent"] + points
                met.append(figure <= bar)
                if model != "*" or not met[-1]:
                    verdict(
                        f"{row['model']} {row['cast']} -{level}",
                        f"{figure:.2f} %",
                        f"{bar:.2f} % (ZipNN {points:+.1f})",
                        met[-1],
                    )
        if (row["model"], row["cast"]) == ("minilm", "bf16") and "9" in row["levels"]:
            figure = 100 * row["levels"]["9"] / row["file_bytes"]
            met.append(figure <= MINILM_BF16_MAX_BAR)
            verdict("minilm bf16 -9", f"{figure:.2f} %", f"{MINILM_BF16_MAX_BAR} %", met[-1])
    for cast in ("bf16", "fp16", "fp32"):
        whole = [
            r
            for r in rows
            if r["cast"] == cast and r["model"] != "minilm" and r["zipnn_percent"]
        ]
        total = sum(r["file_bytes"] for r in whole)
        if not total or "5" not in whole[0]["levels"]:
            continue
        ours = 100 * sum(r["levels"]["5"] for r in whole) / total
        theirs = sum(r["zipnn_percent"] * r["file_bytes"] for r in whole) / total
        best = sum(r["zipnn_best_percent"] * r["file_bytes"] for r in whole) / total
        print(f"  corpus {cast}: -5 {ours:.2f} %, ZipNN {theirs:.2f} %, at its best {best:.2f} %")
        if cast == "bf16":
            met.append(ours <= theirs - CORPUS_BF16_GAIN_BAR)
            verdict(
                "corpus bf16 -5",
                f"{ours:.2f} %",
                f"{theirs - CORPUS_BF16_GAIN_BAR:.2f} %",
                met[-1],
            )
    print(f"  {sum(met)} of {len(met)} size bars met")


def bench_codec(args):
    """The codecs in memory, by build/bench/bench_codec: GB/s and shares of memcpy, N runs."""
    program = BUILD / "bench" / "bench_codec"
    if not program.exists():
        print(f"bench: no {program}: codec speeds left out", file=sys.stderr)
        return
    files = [path for _, _, path in peers.model_files(["minilm"], peers.CASTS)]
    words = args.codec_args.split() if args.codec_args else ["--levels", "1,4,5,9"]
    fast = ["--cpu", "avx512,avx2", "--runs", "3"]
    slow = ["--cpu", "c", "--levels", "1,4,5", "--op", "decode", "--bytes", "64", "--runs", "3"]
    found = {}
    work = [(file, extra) for file in files for extra in (fast, slow)]
    for run, (file, extra) in [(r, w) for r in range(args.runs) for w in work]:
        print(f"bench: bench_codec {file.name}, run {run + 1} of {args.runs}", file=sys.stderr)
        result = subprocess.run(
            [str(program), *words, *extra, str(file)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        for line in result.stdout.splitlines():
            if line.lstrip().startswith("{"):
                row = json.loads(line.strip().rstrip(","))
                row["corpus"] = file.name
                key = tuple(
                    row.get(k) for k in ("corpus", "dtype", "level", "cpu", "threads", "op")
                )
                found.setdefault(key, []).append(row)
    rows = []
    print(
        f"{'corpus':24} {'dtype':6} {'level':>5} {'cpu':8} {'threads':>7} {'op':8}"
        f" {'GB/s':>20} {'memcpy GB/s':>20} {'share':>18}"
    )
    for key, runs in found.items():
        row = dict(zip(("corpus", "dtype", "level", "cpu", "threads", "op"), key, strict=True))
        row |= {
            k: spread([r[k] for r in runs])
            for k in ("gbps", "memcpy_gbps", "share")
            if k in runs[0]
        }
        row |= {k: v for k, v in runs[0].items() if k not in row}
        rows.append(row)
        print(
            f"{row['corpus'][-24:]:24} {row['dtype']:6} {row['level']:>5} {row['cpu']:8}"
            f" {row['threads']:>7}"
            f" {row['op']:8} {show_spread(row['gbps']):>20} {show_spread(row['memcpy_gbps']):>20}"
            f" {show_spread(row['share']):>18}"
        )
    save("codec", rows, files)
    for level, cpu, operation, share in SPEED_BARS:
        best = max(
            (
                r["share"]["median"]
                for r in rows
                if (r["level"], r["cpu"], r["op"], r["threads"]) == (level, cpu, operation, 1)
                and r["dtype"].lower() == "bf16"
            ),
            default=None,
        )
        if best is not None:
            verdict(
                f"-{level} {operation}, {cpu}, bf16, one thread",
                f"{best:.3f} of memcpy",
                f"{share:.3f}",
                best >= share,
            )


def bench_files(args):
    """mmh as a command on MiniLM, in memory: a row per (corpus, level, threads)."""
    levels = [int(x) for x in args.levels.split(",")] if args.levels else (1, 3, 5, 9)
    files = list(peers.model_files(["minilm"], ("bf16", "fp16", "fp32")))
    zipnn = {
        r["cast"]: r
        for r in peers.load_results().values()
        if (r["model"], r["peer"]) == ("minilm", "zipnn")
    }
    rows = []
    print(
        f"{'corpus':12} {'codec':7} {'threads':>7} {'size %':>7} {'pack GB/s':>18}"
        f" {'unpack GB/s':>18} {'peak MB':>8} {'memcpy GB/s':>18}"
        f" {'zipnn %, pack, unpack GB/s':>28}"
    )
    with work_folder("memory") as name:
        folder = Path(name)
        for model, cast, path in files:
            source, packed, restored = (folder / n for n in ("in", "x.mmh", "out"))
            shutil.copyfile(path, source)
            size, peer = source.stat().st_size, zipnn.get(cast, {})
            for level in levels:
                for threads in sorted({1, os.cpu_count()}):
                    pack, unpack, peak = [], [], 0
                    for _ in range(args.runs):
                        packed.unlink(missing_ok=True)
                        restored.unlink(missing_ok=True)
                        seconds, rss, _ = mmh(
                            "pack", f"-{level}", f"-T{threads}", "-f", "-o", packed, source
                        )
                        pack.append(size / seconds / 1e9)
                        peak = max(peak, rss)
                        seconds, rss, _ = mmh(
                            "unpack", f"-T{threads}", "-f", "-o", restored, packed
                        )
                        unpack.append(size / seconds / 1e9)
                        peak = max(peak, rss)
                    copy = memcpy_gbps(runs=3)
                    row = {
                        "corpus": f"{model} {cast}",
                        "level": level,
                        "threads": threads,
                        "percent": 100 * packed.stat().st_size / size,
                        "pack_gbps": spread(pack),
                        "unpack_gbps": spread(unpack),
                        "peak_bytes": peak,
                        "memcpy_gbps": copy,
                        "memory": "fresh pages in tmpfs",
                        "cache": "warm",
                    }
                    rows.append(row)
                    beside = f"{peer['whole_percent']:.2f}" if peer else ""
                    if "compress_gbps" in peer:
                        beside += f", {peer['compress_gbps']:.2f}, {peer['decompress_gbps']:.2f}"
                    print(
                        f"{row['corpus']:12} {'mmh -' + str(level):7} {threads:>7}"
                        f" {row['percent']:7.2f}"
                        f" {show_spread(row['pack_gbps']):>18}"
                        f" {show_spread(row['unpack_gbps']):>18}"
                        f" {peak / 1e6:8.1f} {show_spread(copy):>18} {beside:>28}",
                        flush=True,
                    )
    save("files", rows, [path for _, _, path in files])


def copy_file(source, target, sync):
    """Seconds that cp takes, and sync of the copy on disk."""
    target.unlink(missing_ok=True)
    start = time.perf_counter()
    subprocess.run(["cp", str(source), str(target)], check=True)
    if sync:
        subprocess.run(["sync", str(target)], check=True)
    return time.perf_counter() - start


def bench_end_to_end(args):
    """Pack and unpack of a large model beside cp, in memory and on disk, after a warm-up."""
    size, rows = generate.parse_size(args.size or "1500M"), []
    for where in ("memory", "disk"):
        with work_folder(where) as name:
            folder = Path(name)
            if shutil.disk_usage(folder).free < 4 * size:
                print(f"bench: not enough room for {where}: left out", file=sys.stderr)
                continue
            source, packed, restored = (
                folder / n for n in ("model.safetensors", "model.mmh", "restored")
            )
            print(f"bench: generating {size / 1e9:.1f} GB of bf16 for {where}", file=sys.stderr)
            bytes_in = generate.write_model(source, size)
            for level in [int(x) for x in args.levels.split(",")] if args.levels else (1, 5):
                pairs = {"unpack": [], "pack": []}
                for run in range(args.runs + 1):  # the first is the warm-up
                    times = {}
                    order = ("copy", "pack", "unpack") if run % 2 else ("pack", "unpack", "copy")
                    for step in order:
                        if step == "copy":
                            times[step] = copy_file(source, restored, where == "disk")
                        elif step == "pack":
                            packed.unlink(missing_ok=True)
                            times[step] = mmh(
                                "pack",
                                f"-{level}",
                                f"-T{os.cpu_count()}",
                                "-f",
                                "-o",
                                packed,
                                source,
                            )[0]
                        else:
                            restored.unlink(missing_ok=True)
                            times[step] = mmh(
                                "unpack", f"-T{os.cpu_count()}", "-f", "-o", restored, packed
                            )[0]
                            if where == "disk":  # pack syncs by itself
                                start = time.perf_counter()
                                subprocess.run(["sync", str(restored)], check=True)
                                times[step] += time.perf_counter() - start
                            if (
                                not run
                                and subprocess.run(
                                    ["cmp", "-s", str(source), str(restored)]
                                ).returncode
                            ):
                                raise SystemExit("bench: the model did not come back as it was")
                    if run:
                        for step in pairs:
                            pairs[step].append(
                                (bytes_in / times[step] / 1e9, bytes_in / times["copy"] / 1e9)
                            )
                for step, found in pairs.items():
                    row = {
                        "where": where,
                        "op": step,
                        "level": level,
                        "threads": os.cpu_count(),
                        "bytes": bytes_in,
                        "percent": 100 * packed.stat().st_size / bytes_in,
                        "gbps": spread([a for a, _ in found]),
                        "cp_gbps": spread([b for _, b in found]),
                        "share": spread([a / b for a, b in found]),
                    }
                    rows.append(row)
                    beside = "cp" if where == "memory" else "cp + sync"
                    print(
                        f"{where:7} {step:7} -{level} {row['percent']:6.2f} %"
                        f"  {show_spread(row['gbps']):>18} GB/s"
                        f"  {beside} {show_spread(row['cp_gbps']):>18} GB/s"
                        f"  share {show_spread(row['share'])}",
                        flush=True,
                    )
                    bar = FILE_BARS.get((step, level))
                    if bar:
                        times_cp = 1 / row["share"]["median"]
                        verdict(
                            f"{step} -{level}, {where}",
                            f"{times_cp:.2f} x {beside}",
                            f"{bar:.2f} x",
                            times_cp <= bar,
                        )
    save("end-to-end", rows)


def drop_from_cache(path):
    """Ask the kernel to forget a file's pages, so that the next read is cold."""
    if hasattr(os, "posix_fadvise"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def bench_large(args):
    """Pack, verify and unpack of 8 GB on disk: seconds and peak memory of each."""
    size = generate.parse_size(args.size or "8G")
    rows = []
    with work_folder("disk") as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < 3 * size:
            raise SystemExit(f"bench: large needs {3 * size / 1e9:.0f} GB of disk")
        source, packed, restored = (
            folder / n for n in ("model.safetensors", "model.mmh", "restored")
        )
        print(f"bench: generating {size / 1e9:.1f} GB of bf16", file=sys.stderr)
        bytes_in = generate.write_model(source, size)
        for step, words in (
            ("pack", ("pack", "-5", "-f", "-o", packed, source)),
            ("verify", ("verify", packed)),
            ("unpack", ("unpack", "-f", "-o", restored, packed)),
        ):
            drop_from_cache(source if step == "pack" else packed)
            seconds, peak, _ = mmh(*words)
            rows.append(
                {
                    "op": step,
                    "bytes": bytes_in,
                    "seconds": seconds,
                    "gbps": bytes_in / seconds / 1e9,
                    "peak_bytes": peak,
                    "percent": 100 * packed.stat().st_size / bytes_in,
                    "cache": "cold",
                }
            )
            print(
                f"{step:7} {bytes_in / 1e9:6.2f} GB  {rows[-1]['percent']:6.2f} %  {seconds:8.1f} s"
                f"  {rows[-1]['gbps']:6.2f} GB/s  peak {peak / 1e6:8.1f} MB",
                flush=True,
            )
            verdict(
                f"{step}, peak memory",
                f"{peak / 1e6:.0f} MB",
                f"{LARGE_RSS_MB_BAR} MB",
                peak <= LARGE_RSS_MB_BAR * 1e6,
            )
        if subprocess.run(["cmp", "-s", str(source), str(restored)]).returncode:
            raise SystemExit("bench: the model did not come back as it was")
    save("large", rows)


def bench_open(args):
    """Opening a container of 100,000 chunks, and one tensor of it, cold and warm."""
    count, rows = args.tensors, []
    with work_folder("disk") as name:
        source, packed = Path(name) / "model.safetensors", Path(name) / "model.mmh"
        shapes = list(generate.small_shapes(count))
        generate.write(source, shapes, ["F32", "BF16"])
        mmh("pack", "-1", "-f", "-o", packed, source)
        wanted = shapes[count // 2][0]
        found = json.loads(command_line(str(BUILD / "bench" / "bench_open"), str(packed), wanted))
        print(
            f"{found['chunks']} chunks, {found['tensors']} tensors:"
            f" open {found['open_ms']:.1f} ms,"
            f" and load one named tensor {found['open_and_load_ms']:.1f} ms (warm, library)"
        )
        verdict(
            "open and load one tensor",
            f"{found['open_and_load_ms']:.1f} ms",
            f"{OPEN_MS_BAR} ms",
            found["open_and_load_ms"] < OPEN_MS_BAR,
        )
        rows.append({"what": "library", **found})
        for what, words in (("mmh info", ("info", "--json", packed)),):
            for state in ("cold", "warm"):
                times, peak = [], 0
                for _ in range(args.runs):
                    if state == "cold":
                        drop_from_cache(packed)
                    found = mmh(*words, fails=False)
                    if found is None:
                        break
                    times.append(1000 * found[0])
                    peak = max(peak, found[1])
                if not times:
                    print(f"bench: mmh {words[0]} failed: left out", file=sys.stderr)
                    break
                rows.append(
                    {
                        "what": what,
                        "cache": state,
                        "tensors": count,
                        "container_bytes": packed.stat().st_size,
                        "ms": spread(times),
                        "peak_bytes": peak,
                    }
                )
                print(
                    f"{what:10} {state}  {count} tensors in {packed.stat().st_size / 1e6:.1f} MB:"
                    f" {show_spread(rows[-1]['ms'])} ms, peak {peak / 1e6:.1f} MB",
                    flush=True,
                )
    save("open", rows)


def bench_peers(args):
    """The peers' sizes and one-thread speeds on MiniLM, in the casts that the picture shows."""
    rows = peers.run(
        ["minilm"],
        args.casts.split(",") if args.casts else peers.CASTS,
        None,
        args.runs,
        args.again,
    )
    peers.print_rows(rows)


def picture_points():
    """[(label, family, decoded GB/s on one thread, size %)] of bf16 MiniLM, as measured last."""
    points, codec = [], load("codec")
    sizes = {row["cast"]: row for row in load("sizes") if row["model"] == "minilm"}
    files = {
        row["level"]: row
        for row in load("files")
        if (row["corpus"], row["threads"]) == ("minilm bf16", 1)
    }
    for level in LEVELS:
        decoded = [
            r
            for r in codec
            if (r["level"], r["op"], r["threads"]) == (level, "decode", 1)
            and r["dtype"].lower() == "bf16"
        ]
        fresh = [r for r in decoded if r.get("memory") == "fresh"]  # as the peers decode
        speeds = [r["gbps"]["median"] for r in fresh or decoded]
        if level in files and not speeds:
            speeds = [files[level]["unpack_gbps"]["median"]]
        percent = None
        if "bf16" in sizes and str(level) in sizes["bf16"]["levels"]:
            percent = 100 * sizes["bf16"]["levels"][str(level)] / sizes["bf16"]["file_bytes"]
        elif level in files:
            percent = files[level]["percent"]
        if speeds and percent:
            points.append((f"mmh -{level}", "mmh", max(speeds), percent))
    for row in peers.load_results().values():
        if (row["model"], row["cast"]) == ("minilm", "bf16") and "decompress_gbps" in row:
            points.append((row["peer"], "peer", row["decompress_gbps"], row["best_percent"]))
    return points


def svg_picture(points, source, ours_note):
    """The ratio-speed picture as SVG text; it follows the reader's light or dark scheme."""
    width, height, left, right, top, bottom = 760, 450, 64, 24, 62, 58
    speeds, sizes = [p[2] for p in points], [p[3] for p in points]
    low_x, high_x = np.log10(min(speeds) / 1.35), np.log10(max(speeds) * 1.9)
    low_y, high_y = np.floor(min(sizes)) - 1, np.ceil(max(sizes)) + 1

    def at_x(value):
        return left + (np.log10(value) - low_x) / (high_x - low_x) * (width - left - right)

    at_y = lambda v: top + (v - low_y) / (high_y - low_y) * (height - top - bottom)  # noqa: E731
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img" aria-labelledby="title about">',
        '<title id="title">Size and decoding speed of mmh and other codecs</title>',
        f'<desc id="about">{source} Up is smaller, right is faster.</desc>',
        "<style>text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:#57606a}"
        ".head{font-size:15px;font-weight:600;fill:#24292f}.name{fill:#24292f}"
        ".mmhname{fill:#0550ae;font-weight:600}"
        ".grid{stroke:#8c959f;stroke-opacity:.28}"
        ".link{stroke:#0969da;stroke-width:2;fill:none;stroke-opacity:.55}"
        ".mmh{fill:#0969da}.peer{fill:#8c959f}"
        "@media(prefers-color-scheme:dark){text{fill:#8b949e}.head,.name{fill:#e6edf3}"
        ".mmhname{fill:#79c0ff}"
        ".mmh{fill:#58a6ff}.link{stroke:#58a6ff}.peer{fill:#8b949e}}</style>",
        f'<text class="head" x="{left}" y="22">'
        "MiniLM in bf16, one thread: smaller is up, faster is right</text>",
        f'<text x="{left}" y="40">'
        f"peers into memory that their packages allocate; {ours_note}</text>",
    ]
    for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50):
        if low_x <= np.log10(step) <= high_x:
            x = at_x(step)
            out.append(
                f'<path class="grid" d="M{x:.1f} {top}V{height - bottom}"/>'
                f'<text x="{x:.1f}" y="{height - bottom + 20}" text-anchor="middle">{step:g}</text>'
            )
    stride = 2 if high_y - low_y < 16 else 5
    for percent in range(int(np.ceil(low_y / stride) * stride), int(high_y) + 1, stride):
        y = at_y(percent)
        out.append(
            f'<path class="grid" d="M{left} {y:.1f}H{width - right}"/>'
            f'<text x="{left - 10}" y="{y + 4:.1f}" text-anchor="end">{percent} %</text>'
        )
    out.append(
        f'<text x="{(left + width - right) / 2}" y="{height - 14}" text-anchor="middle">'
        "decoded GB/s (logarithmic)</text>"
    )
    ours = sorted((p for p in points if p[1] == "mmh"), key=lambda p: p[0])
    if len(ours) > 1:
        out.append(
            '<path class="link" d="M'
            + "L".join(f"{at_x(p[2]):.1f} {at_y(p[3]):.1f}" for p in ours)
            + '"/>'
        )
    taken = [(at_x(s) - 6, at_y(v) - 6, at_x(s) + 6, at_y(v) + 6) for _, _, s, v in points]
    for label, family, speed, percent in points:
        x, y, wide = at_x(speed), at_y(percent), 7.4 * len(label)
        spots = [
            (x + 10, y + 4),
            (x - 10 - wide, y + 4),
            (x - wide / 2, y - 11),
            (x - wide / 2, y + 21),
        ]
        spots += [(sx, sy + shift) for shift in (14, -14, 28, -28, 42, -42) for sx, sy in spots[:2]]
        clear = (
            s
            for s in spots
            if s[0] >= left
            and s[0] + wide <= width
            and top - 16 < s[1] < height - bottom + 4
            and all(
                s[0] + wide < b[0] or s[0] > b[2] or s[1] + 3 < b[1] or s[1] - 11 > b[3]
                for b in taken
            )
        )
        sx, sy = next(clear, spots[0])
        taken.append((sx, sy - 11, sx + wide, sy + 3))
        out.append(
            f'<circle class="{family}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
            f'<text class="{"mmhname" if family == "mmh" else "name"}" '
            f'x="{sx:.1f}" y="{sy:.1f}">{label}</text>'
        )
    return "\n".join(out) + "\n</svg>\n"


def bench_picture(_args):
    """Draw docs/pictures/ratio-speed.svg from the last results."""
    points = picture_points()
    if not any(p[1] == "peer" for p in points) or not any(p[1] == "mmh" for p in points):
        print("bench: no picture yet: run sizes, codec (or files) and peers first", file=sys.stderr)
        return
    about = environment()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    codec = [r for r in load("codec") if r["op"] == "decode"]
    note = (
        "mmh likewise"
        if any(r.get("memory") == "fresh" for r in codec)
        else "mmh into memory that is there"
        if codec
        else "mmh as a command"
    )
    PICTURE.write_text(
        svg_picture(
            points, f"Measured on {about['machine']}, {about['compiler']}, {about['date']}.", note
        )
    )
    print(f"bench: drew {os.path.relpath(PICTURE)}", file=sys.stderr)


PARTS = {
    "sizes": bench_sizes,
    "codec": bench_codec,
    "files": bench_files,
    "peers": bench_peers,
    "end-to-end": bench_end_to_end,
    "large": bench_large,
    "open": bench_open,
    "picture": bench_picture,
}
EVERYDAY = ("sizes", "peers", "codec", "files", "picture")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help="default: "
        + ", ".join(EVERYDAY)
        + "\n"
        + "\n".join(f"{name:11} {function.__doc__}" for name, function in PARTS.items()),
    )
    parser.add_argument(
        "--large", action="store_true", help="short for the parts end-to-end, large and open"
    )
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each (default: 5)")
    parser.add_argument("--models", help="names, comma-separated, for sizes")
    parser.add_argument("--casts", help="comma-separated, for sizes and peers")
    parser.add_argument("--levels", help="comma-separated")
    parser.add_argument("--size", help="of the generated model, as 1500M or 8G")
    parser.add_argument(
        "--tensors", type=int, default=100_000, help="of the container that open makes"
    )
    parser.add_argument("--codec-args", help="what to give bench_codec instead of MiniLM's files")
    parser.add_argument(
        "--again", action="store_true", help="measure peers again although the cache has them"
    )
    args = parser.parse_args()
    parts = args.parts or (("end-to-end", "large", "open") if args.large else EVERYDAY)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    if set(parts) - {"peers", "picture"} and not (BUILD / "mmh").exists():
        raise SystemExit(f"bench: no {BUILD / 'mmh'}: run make first")
    for part in parts:
        print(f"\n== {part}: {PARTS[part].__doc__.splitlines()[0]}", flush=True)
        PARTS[part](args)


if __name__ == "__main__":
    main()
