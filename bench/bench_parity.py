# SPDX-License-Identifier: Apache-2.0
"""Parity beside par2: adding 5 %, checking, and repairing 1 % of a container, in one burst and scattered."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import bench_common as common
import generate
from bench_common import mmh, show_spread, spread

PARITY_PERCENT = 5
BURST_SHARE = 0.01
SPOTS = 100  # of scattered damage, a byte each
RANDOM_PIECE = 1 << 24
MENDED = 4


def par2(folder, *words):
    """Seconds of a run of par2 in a folder."""
    start = time.perf_counter()
    result = subprocess.run(["par2", *words], cwd=folder, capture_output=True, check=False)
    seconds = time.perf_counter() - start
    if result.returncode:
        raise SystemExit(f"bench: par2 {' '.join(words)}: {result.stdout.decode(errors='replace')[-300:]}")
    return seconds


def write_random(path, size):
    with open(path, "wb") as file:
        file.writelines(os.urandom(min(RANDOM_PIECE, size - at)) for at in range(0, size, RANDOM_PIECE))


def damage(path, kind, size):
    """Change bytes of the first `size` bytes of a file: a burst, or spots."""
    with open(path, "r+b") as file:
        if kind == "burst":
            file.seek(size // 3)
            file.write(os.urandom(int(size * BURST_SHARE)))
        else:
            for spot in range(SPOTS):
                file.seek(1000 + spot * (size // SPOTS))
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 0xFF]))


def mended(path):
    """Seconds of a repair that has something to mend (exit 4)."""
    start = time.perf_counter()
    result = subprocess.run([str(common.BUILD / "mmh"), "repair", "-q", str(path)], capture_output=True, check=False)
    seconds = time.perf_counter() - start
    if result.returncode != MENDED:
        raise SystemExit(f"bench: exit {result.returncode} of mmh repair: {result.stderr.decode(errors='replace')}")
    return seconds


def settle(*paths):
    """On the disk and in the page cache."""
    for path in paths:
        subprocess.run(["sync", str(path)], check=True)
        with open(path, "rb") as file:
            while file.read(RANDOM_PIECE):
                pass


def measure_mmh(folder, plain, kind):
    """{step: seconds} of one round, and the bytes that parity takes."""
    packed = folder / "parity.mmh"
    packed.unlink(missing_ok=True)
    times = {"create": mmh("repair", "-q", f"--parity={PARITY_PERCENT}%", "-o", packed, plain)[0]}
    extra = packed.stat().st_size - plain.stat().st_size
    settle(packed)
    times["verify"] = mmh("verify", "-q", "--quick", packed)[0]
    damage(packed, kind, plain.stat().st_size)
    settle(packed)
    times["repair"] = mended(packed)
    digest = subprocess.run(["cmp", "-s", "-n", str(plain.stat().st_size // 2), str(plain), str(packed)], check=False)
    if digest.returncode:
        raise SystemExit("bench: mmh did not give the container back")
    mmh("verify", "-q", "--quick", packed)
    return times, extra


def measure_par2(folder, plain, kind):
    copy = folder / "copy.mmh"
    for old in folder.glob("copy.mmh*"):
        old.unlink()
    shutil.copyfile(plain, copy)
    settle(copy)
    times = {"create": par2(folder, "create", "-qq", f"-r{PARITY_PERCENT}", "copy.mmh")}
    parts = list(folder.glob("copy.mmh*.par2"))
    extra = sum(part.stat().st_size for part in parts)
    settle(*parts)
    times["verify"] = par2(folder, "verify", "-qq", "copy.mmh.par2")
    damage(copy, kind, plain.stat().st_size)
    settle(copy)
    times["repair"] = par2(folder, "repair", "-qq", "copy.mmh.par2")
    same = subprocess.run(["cmp", "-s", str(plain), str(copy)], check=False).returncode == 0
    if not same:
        raise SystemExit("bench: par2 did not give the container back")
    return times, extra


def bench_parity(args):
    """Adding 5 % of parity to a container, checking it, repairing 1 %, beside par2, every core, on disk."""
    size, rows = generate.parse_size(args.size or "1G"), []
    tools = {"mmh": measure_mmh, "par2": measure_par2}
    if not shutil.which("par2"):
        print("  par2 skipped: it is not installed")
        del tools["par2"]
    with common.work_folder("disk", args.dir) as name:
        folder = Path(name)
        source, plain = folder / "random.bin", folder / "plain.mmh"
        write_random(source, size)  # incompressible: the container is as large
        mmh("pack", "-1", "-q", "-f", "-o", plain, source)
        source.unlink()
        settle(plain)
        print(f"{'damage':10} {'tool':6} {'step':8} {'seconds':>24} {'GB/s':>7} {'extra %':>8}")
        for kind in ("burst", "spots"):
            for tool, measure in tools.items():
                seconds = {"create": [], "verify": [], "repair": []}
                for _ in range(args.runs):
                    times, extra = measure(folder, plain, kind)
                    for step, value in times.items():
                        seconds[step].append(value)
                for step, values in seconds.items():
                    row = {
                        "damage": kind,
                        "tool": tool,
                        "step": step,
                        "bytes": plain.stat().st_size,
                        "extra_bytes": extra,
                        "seconds": spread(values),
                    }
                    rows.append(row)
                    speed = row["bytes"] / row["seconds"]["median"] / 1e9
                    share = 100 * extra / row["bytes"]
                    print(
                        f"{kind:10} {tool:6} {step:8} {show_spread(row['seconds']):>24} {speed:7.2f} {share:8.2f}",
                        flush=True,
                    )
    common.save("parity", rows)
    print(f"bench: every core is {os.cpu_count()}", file=sys.stderr)
