# SPDX-License-Identifier: Apache-2.0
"""Speeds in memory: the codecs and the library beside memcpy, and beside ZipNN and the peers."""

import json
import os
import sys
from pathlib import Path

import bench_common as common
import minilm
import numpy as np
import peers
import weights
from bench_common import show_spread, spread, verdict

# (level, kernels, operation, least share of memcpy) of bf16, fp16 and fp32 on one thread.
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
BYTE_SPEED_BARS = [(5, "avx512", "decode", 0.25)]  # the same of int8 and fp8
FLOAT_TYPES = ("BF16", "F16", "F32")
BYTE_TYPES = {"int8": "I8", "fp8e4m3": "F8_E4M3", "fp8e5m2": "F8_E5M2"}
LOAD_BARS = {1: 0.33, 5: 0.2}  # level: least share of memcpy of a verified load
# (level, operation): least multiple of ZipNN's speed, into memory that is allocated each time.
FRESH_BARS = {(1, "decode"): 1.5, (5, "decode"): 1.2, (1, "encode"): 4.0, (5, "encode"): 1.5}
LARGE_BYTES = 256 << 20  # of tensors, so that memory and not a cache feeds what is measured

KEY = ("corpus", "dtype", "level", "cpu", "threads", "op", "memory", "check")


def run_codec(corpus, *words):
    """Rows of one run of bench_codec; `corpus` names them."""
    text = common.bench_program("bench_codec", *words)
    rows = (json.loads(line) for line in text.splitlines() if line.startswith("{"))
    return [{"corpus": corpus} | row for row in rows]


def run_load(*words):
    """The row of one run of bench_load."""
    return json.loads(common.bench_program("bench_load", *words))


def gather(runs):
    """One row for all that were measured under the same key, speeds as spreads."""
    found = {}
    for row in runs:
        found.setdefault(tuple(row.get(k) for k in KEY), []).append(row)
    rows = []
    for same in found.values():
        row = dict(same[0])
        for key in ("gbps", "memcpy_gbps", "share"):
            if key in row:
                row[key] = spread([r[key] for r in same])
        rows.append(row)
    return rows


def print_speeds(rows):
    print(
        f"{'corpus':24} {'dtype':7} {'level':>5} {'cpu':7} {'threads':>7} {'op':20} {'memory':17}"
        f" {'GB/s':>18} {'memcpy GB/s':>19} {'share':>19}"
    )
    for row in rows:
        checked = " + check" if row.get("check") else ""
        copy = f" {show_spread(row['memcpy_gbps']):>19}" if "memcpy_gbps" in row else ""
        share = f" {show_spread(row['share'], 3):>19}" if "share" in row else ""
        print(
            f"{row['corpus'][-24:]:24} {row.get('dtype', ''):7} {row.get('level', ''):>5}"
            f" {row.get('cpu', ''):7} {row['threads']:>7} {row['op'] + checked:20}"
            f" {row['memory']:17} {show_spread(row['gbps']):>18}{copy}{share}",
            flush=True,
        )


def codec_work(args):
    """[(file, options of bench_codec)] of one round."""
    threads = os.cpu_count()
    inner = ["--runs", "3"]
    if args.codec_args:
        return [(None, args.codec_args.split())]
    work = []
    for cast in peers.CASTS:
        file = minilm.cast(cast)
        work.append((file, [*inner, "--levels", "1,4,5", "--cpu", "avx512,avx2"]))
        # Level 9 encodes slowly and steadily.
        work.append((file, ["--runs", "1", "--levels", "9", "--cpu", "avx512", "--op", "encode"]))
        work.append((file, [*inner, "--levels", "9", "--cpu", "avx512,avx2", "--op", "decode"]))
        slow = ["--cpu", "c", "--op", "decode"]
        work.append((file, [*inner, "--levels", "1,4,5", *slow]))
        every = ["--cpu", "avx512", "--threads", threads]
        work.append((file, [*inner, "--levels", "1,5", *every]))
        work.append((file, [*inner, "--levels", "9", *every, "--op", "decode"]))
    for cast, dtype in BYTE_TYPES.items():
        file = minilm.cast(cast)
        only = ["--only", dtype]
        work.append((file, [*inner, "--levels", "1,5", "--cpu", "avx512,avx2", *only]))
        every = ["--threads", threads, "--op", "decode"]
        work.append((file, [*inner, "--levels", "1,5", "--cpu", "avx512", *every, *only]))
    return work if threads > 1 else [w for w in work if "--threads" not in w[1]]


def bench_codec(args):
    """The codecs in memory, by build/bench/bench_codec: GB/s and shares of memcpy, N runs."""
    work = codec_work(args)
    runs = []
    for number in range(args.runs):
        for file, words in work:
            name = file.name if file else "as asked"
            print(f"bench: bench_codec {name}, run {number + 1} of {args.runs}", file=sys.stderr)
            runs += run_codec(name, *words, *([file] if file else []))
    rows = gather(runs)
    print_speeds(rows)
    common.save("codec", rows, {file for file, _ in work if file})
    bars = [(dtype, bar) for dtype in FLOAT_TYPES for bar in SPEED_BARS]
    bars += [(dtype, bar) for dtype in BYTE_TYPES.values() for bar in BYTE_SPEED_BARS]
    for dtype, (level, cpu, operation, share) in bars:
        wanted = (dtype, level, cpu, operation, 1)
        best = max(
            (r["share"]["median"] for r in rows if (r["dtype"], r["level"], r["cpu"], r["op"], r["threads"]) == wanted),
            default=None,
        )
        if best is not None:
            verdict(
                f"-{level} {operation}, {cpu}, {dtype}, one thread",
                f"{best:.3f} of memcpy",
                f"{share:.3f}",
                best >= share,
            )


def large_minilm(folder):
    """MiniLM in bf16 again and again, as one file of >= LARGE_BYTES.

    Each copy's elements are rotated within their rows: the same statistics, yet no chunk equals
    another, which would be stored, read and cached once.
    """
    tensors, out, copy = weights.read_safetensors(minilm.cast("bf16")), {}, 0
    while sum(t.data.nbytes for t in out.values()) < LARGE_BYTES:
        for name, tensor in tensors.items():
            rolled = np.roll(tensor.data, copy, -1) if tensor.data.ndim else tensor.data
            out[f"{copy}.{name}"] = weights.Tensor(tensor.dtype, rolled)
        copy += 1
    path = Path(folder) / "minilm-large.bf16.safetensors"
    weights.write_safetensors(path, out)
    return path


def bench_load(args):
    """Verified loads through the library, and packs with their checks, beside memcpy."""
    runs, threads = [], sorted({1, os.cpu_count()})
    with common.work_folder("memory") as folder:
        source = large_minilm(folder)
        packed = {}
        for level in LOAD_BARS:
            packed[level] = Path(folder) / f"large-{level}.mmh"
            common.mmh("pack", f"-{level}", "-f", "-o", packed[level], source)
        for _ in range(args.runs):
            for level, container in packed.items():
                for count in threads:
                    words = ("--threads", count, "--runs", 3)
                    # The same without the file: what hash and decoder make of memory.
                    inside = ("--levels", level, "--hash", "--op", "decode", minilm.cast("bf16"))
                    for row in run_codec("minilm bf16", *words, *inside):
                        runs.append(row | {"op": "hash and decode"})
                    runs.append(run_load(*words, "--file", container))
                    runs.append(run_load(*words, "--one-by-one", container))
                    for memory in ((), ("--fresh",), ("--huge",)):
                        runs.append(run_load(*words, *memory, container))
                    runs.append(run_load(*words, "--pack", level, source))
                    # A pack reads, writes and hashes besides: the copy it is held against is
                    # that of the loads just before.
                    runs[-1]["memcpy_gbps"] = runs[-2]["memcpy_gbps"]
                    runs[-1]["share"] = runs[-1]["gbps"] / runs[-1]["memcpy_gbps"]
    rows = gather({"corpus": "minilm bf16, rotated"} | row for row in runs)
    print_speeds(rows)
    common.save("load", rows)
    for row in rows:
        if row["op"] in ("verified load", "hash and decode") and row["memory"] == "there":
            share, bar = row["share"]["median"], LOAD_BARS[row["level"]]
            verdict(
                f"-{row['level']} {row['op']}, bf16, threads: {row['threads']}",
                f"{share:.3f} of memcpy",
                f"{bar:.3f}",
                share >= bar,
            )


def zipnn_rows(data):
    """ZipNN's encode and decode of one buffer, once each."""
    found = peers.speeds(peers.ZipNN, "BF16", data, 1)
    return [
        {"corpus": "minilm bf16", "op": op, "cpu": "zipnn", "threads": 1, "memory": "fresh"}
        | {"dtype": "BF16", "gbps": found[key]}
        for op, key in (("encode", "compress_gbps"), ("decode", "decompress_gbps"))
    ]


def bench_fresh(args):
    """Into memory allocated each time, beside ZipNN, which always does that, in the same run."""
    file, runs = minilm.cast("bf16"), []
    floats = b"".join(data for _, data in peers.model_buffers(file))
    data = floats * -(-LARGE_BYTES // len(floats))
    with common.work_folder("memory") as folder:
        source = large_minilm(folder)
        packed = {level: Path(folder) / f"large-{level}.mmh" for level in LOAD_BARS}
        for level, container in packed.items():
            common.mmh("pack", f"-{level}", "-f", "-o", container, source)
        zipnn_rows(data)  # a warm-up: the first memory that a process gets is dear
        for number in range(args.runs):
            print(f"bench: beside ZipNN, run {number + 1} of {args.runs}", file=sys.stderr)
            for level, container in packed.items():
                words = ["minilm bf16", "--levels", level, "--runs", 3]
                for memory in (["--fresh"], ["--huge"], []):
                    runs += run_codec(*words, *memory, file)
                    load = run_load("--runs", 3, *memory, container)
                    runs.append({"corpus": "minilm bf16, rotated"} | load)
                runs += run_codec(*words, "--fresh", "--check", "--op", "encode", file)
                pack = run_load("--runs", 3, "--pack", level, source)
                runs.append({"corpus": "minilm bf16, rotated"} | pack)
            runs += zipnn_rows(data)
    rows = gather(runs)
    print_speeds(rows)
    common.save("fresh", rows, [file])
    zipnn = {r["op"]: r["gbps"]["median"] for r in rows if r.get("cpu") == "zipnn"}
    print(f"{'level':>5} {'op':22} {'memory':17} times ZipNN's speed")
    for row in rows:
        if row.get("cpu") == "zipnn":
            continue
        operation = "decode" if row["op"] in ("decode", "verified load") else "encode"
        times = row["gbps"]["median"] / zipnn[operation]
        checked = " + check" if row.get("check") else ""
        label = row["op"] + checked
        print(f"{row['level']:5} {label:22} {row['memory']:17} {times:.2f}")
        # The library asks for huge pages for what it loads; the codecs alone cannot.
        asked = "fresh, huge pages" if row["op"] in ("encode", "decode") else "fresh"
        if row["memory"] == asked and not checked:
            bar = FRESH_BARS[row["level"], operation]
            verdict(
                f"-{row['level']} {label}, {row['memory']}",
                f"{times:.2f} x ZipNN's {operation}",
                f"{bar:.1f} x",
                times >= bar,
            )


def bench_peers(args):
    """The peers' sizes and one-thread speeds on MiniLM, in the casts that the picture shows."""
    casts = common.listed(args.casts, peers.CASTS)
    peers.print_rows(peers.run(["minilm"], casts, None, args.runs, args.again))
