# SPDX-License-Identifier: Apache-2.0
"""Distributed checkpoints of four gloo ranks: size and time beside plain DCP and DCP with zstd; a flipped bit."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import bench_common as common
import weights
from bench_common import show_spread, spread, verdict

RANKS = 4
WIDTH, LAYERS = 512, 6
KINDS = {
    "plain": "DCP",
    "zstd": "DCP + zstd",
    "mmh-1": "mmh -1",
    "mmh-5": "mmh -5",
    "url": "DCP at mmh://",
    "async-plain": "DCP, async",
    "async-mmh-1": "mmh -1, async",
}
SIZE_BAR = 1.0  # of DCP with zstd
TIME_BAR = 1.0  # save and load at level 1, of DCP with zstd
PROGRAM = weights.ROOT / "tests" / "python_dcp_ranks.py"
PACKAGE = weights.ROOT / "src" / "python"


def on_ranks(count, folder, action, **options):
    """What rank 0 of the program tells."""
    store = folder / f"store-{uuid.uuid4().hex}"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{PACKAGE}:{os.environ.get('PYTHONPATH', '')}",
    }
    words = [f"{key}={value}" for key, value in {"width": WIDTH, "layers": LAYERS, **options}.items()]
    started = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(rank), str(count), str(store), action, str(folder), *words],
            env=environment,
            stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
            text=True,
        )
        for rank in range(count)
    ]
    text = started[0].communicate()[0]
    if any(process.wait() for process in started):
        raise SystemExit("bench: a rank of the checkpoint program failed")
    store.unlink(missing_ok=True)
    return json.loads(text.splitlines()[-1])


def stored_bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def flip_largest(folder):
    """Turn one bit over in the middle of the largest file."""
    path = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0] ^ 1
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte]))


def bench_dcp(args):
    """Four ranks save a transformer with AdamW, four and two load it: mmh beside DCP and DCP with zstd."""
    kinds = list(KINDS)
    rows = []
    with common.work_folder("disk", args.dir) as name:
        folder = Path(name)
        print(f"bench: {RANKS} ranks on {os.cpu_count()} cores save a transformer and its AdamW state", file=sys.stderr)
        saves = on_ranks(RANKS, folder, "save", kinds=",".join(kinds), repeats=args.runs)
        sync = [kind for kind in kinds if not kind.startswith("async-")]
        loads = {
            count: on_ranks(count, folder, "load", kinds=",".join(sync), repeats=args.runs) for count in (RANKS, 2)
        }
        plain = stored_bytes(folder / "plain")
        sizes = {kind: stored_bytes(folder / kind) for kind in kinds}
        for kind in sync:
            flip_largest(folder / kind)
        damaged = on_ranks(2, folder, "load", kinds=",".join(sync), damaged=1)
        print(
            f"\n{'':15} {'MB':>8} {'% of DCP':>9} {'save s':>20} {'load s, 4 ranks':>20} {'2 ranks':>20}  a flipped bit"
        )
        for kind in kinds:
            row = {
                "kind": KINDS[kind],
                "bytes": sizes[kind],
                "of_plain": sizes[kind] / plain,
                "save_seconds": spread(saves[kind]),
                "load_seconds": {str(count): spread(found[kind]) for count, found in loads.items() if kind in found},
                "flipped_bit": damaged.get(kind),
            }
            rows.append(row)
            loaded = [show_spread(row["load_seconds"][str(count)]) if kind in sync else "" for count in (RANKS, 2)]
            outcome = (row["flipped_bit"] or "").split(":")[0].replace("another", "loads another")
            print(
                f"{row['kind']:15} {sizes[kind] / 1e6:8.1f} {100 * row['of_plain']:9.2f}"
                f" {show_spread(row['save_seconds']):>20} {loaded[0]:>20} {loaded[1]:>20}  {outcome}",
                flush=True,
            )
        for kind in kinds:
            staged = f"{kind}, until training goes on"
            if staged in saves:
                row = {"kind": f"{KINDS[kind]}, until training goes on", "save_seconds": spread(saves[staged])}
                rows.append(row)
                print(f"{row['kind']}: {show_spread(row['save_seconds'])} s")
        by_kind = {row["kind"]: row for row in rows}
        zstd, fast, small = by_kind["DCP + zstd"], by_kind["mmh -1"], by_kind["mmh -5"]
        for row in (fast, small):
            figure = row["bytes"] / zstd["bytes"]
            verdict(f"{row['kind']} over DCP + zstd, bytes", f"{figure:.3f}", f"{SIZE_BAR}", figure < SIZE_BAR)
        for what, figures in (
            ("save", (fast["save_seconds"], zstd["save_seconds"])),
            ("load on 4 ranks", (fast["load_seconds"]["4"], zstd["load_seconds"]["4"])),
            ("load on 2 ranks", (fast["load_seconds"]["2"], zstd["load_seconds"]["2"])),
        ):
            figure = figures[0]["median"] / figures[1]["median"]
            verdict(f"mmh -1 over DCP + zstd, {what}, seconds", f"{figure:.2f}", f"{TIME_BAR}", figure < TIME_BAR)
        for kind in ("mmh-1", "mmh-5", "url"):
            outcome = damaged[kind]
            met = outcome.startswith("refused") or outcome == "exact"
            verdict(f"a flipped bit, {KINDS[kind]}", outcome.split(":")[0], "refused", met)
        shutil.rmtree(folder, ignore_errors=True)
    common.save("dcp", rows)
