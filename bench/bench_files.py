# SPDX-License-Identifier: Apache-2.0
"""mmh as a command on whole files: beside cp, on very large models, on very many tensors."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import bench_common as common
import generate
import peers
from bench_common import mmh, show_spread, spread, verdict

# Longest time as a multiple of cp's (in memory) or of cp + sync's (on disk), every core.
FILE_BARS = {("unpack", 1): 1.6, ("unpack", 5): 1.8, ("pack", 1): 1.8, ("pack", 5): 2.8}
OPEN_MS_BAR = 50
LARGE_RSS_MB_BAR = 400


def bench_files(args):
    """mmh as a command on MiniLM, in memory: a row per (corpus, level, threads)."""
    levels = common.listed(args.levels, (1, 3, 5, 9), int)
    files = list(peers.model_files(["minilm"], ("bf16", "fp16", "fp32")))
    zipnn = {r["cast"]: r for r in peers.load_results().values() if (r["model"], r["peer"]) == ("minilm", "zipnn")}
    rows = []
    print(
        f"{'corpus':12} {'codec':7} {'threads':>7} {'size %':>7} {'pack GB/s':>18}"
        f" {'unpack GB/s':>18} {'peak MB':>8} {'memcpy GB/s':>18}"
        f" {'zipnn %, pack, unpack GB/s':>28}"
    )
    with common.work_folder("memory") as name:
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
                        seconds, rss, _ = mmh("pack", f"-{level}", f"-T{threads}", "-f", "-o", packed, source)
                        pack.append(size / seconds / 1e9)
                        peak = max(peak, rss)
                        seconds, rss, _ = mmh("unpack", f"-T{threads}", "-f", "-o", restored, packed)
                        unpack.append(size / seconds / 1e9)
                        peak = max(peak, rss)
                    copy = common.memcpy_gbps(runs=3)
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
    common.save("files", rows, [path for _, _, path in files])


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
        with common.work_folder(where, where == "disk" and args.dir) as name:
            folder = Path(name)
            if shutil.disk_usage(folder).free < 4 * size:
                print(f"bench: not enough room for {where}: left out", file=sys.stderr)
                continue
            source, packed, restored = (folder / n for n in ("model.safetensors", "model.mmh", "restored"))
            print(f"bench: generating {size / 1e9:.1f} GB of bf16 for {where}", file=sys.stderr)
            bytes_in = generate.write_model(source, size)
            for level in common.listed(args.levels, (1, 5), int):
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
                            times[step] = mmh("unpack", f"-T{os.cpu_count()}", "-f", "-o", restored, packed)[0]
                            if where == "disk":  # pack syncs by itself
                                start = time.perf_counter()
                                subprocess.run(["sync", str(restored)], check=True)
                                times[step] += time.perf_counter() - start
                            if (
                                not run
                                and subprocess.run(["cmp", "-s", str(source), str(restored)], check=False).returncode
                            ):
                                raise SystemExit("bench: the model did not come back as it was")
                    if run:
                        for step, found in pairs.items():
                            found.append((bytes_in / times[step] / 1e9, bytes_in / times["copy"] / 1e9))
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
    common.save("end-to-end", rows)


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
    with common.work_folder("disk", args.dir) as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < 3 * size:
            raise SystemExit(f"bench: large needs {3 * size / 1e9:.0f} GB of disk")
        source, packed, restored = (folder / n for n in ("model.safetensors", "model.mmh", "restored"))
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
        if subprocess.run(["cmp", "-s", str(source), str(restored)], check=False).returncode:
            raise SystemExit("bench: the model did not come back as it was")
    common.save("large", rows)


def bench_open(args):
    """Opening a container of 100,000 chunks, and one tensor of it, cold and warm."""
    count, rows = args.tensors, []
    with common.work_folder("disk") as name:
        source, packed = Path(name) / "model.safetensors", Path(name) / "model.mmh"
        shapes = list(generate.small_shapes(count))
        generate.write(source, shapes, ["F32", "BF16"])
        mmh("pack", "-1", "-f", "-o", packed, source)
        wanted = shapes[count // 2][0]
        found = json.loads(common.bench_program("bench_open", packed, wanted))
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
    common.save("open", rows)
