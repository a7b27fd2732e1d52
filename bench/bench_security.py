# SPDX-License-Identifier: Apache-2.0
"""What encryption, signatures and checking them cost on whole files, beside the same without; and by stage."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import bench_common as common
import generate
from bench_common import mmh, show_spread, spread, verdict

SECURE_BAR = 1.10  # sign + encrypt over plain pack, verify + decrypt over plain unpack
QUANTUM_BAR = 1.01  # the default profile over the classical one
PROFILES = ("classical", "default", "cnsa2", "bsi")
STAGES = ("read", "plan", "encode", "check", "hash", "seal", "sign", "write", "sync", "open", "unseal", "decode")


def timed(*words):
    """Seconds of a run and what it reported."""
    seconds, _, out = mmh(*words, "--json", "--progress=none")
    return seconds, json.loads(out)


def stages(report):
    """{stage: milliseconds of all threads} of a report."""
    return {stage: report["ns"][stage] / 1e6 for stage in STAGES if stage in report.get("ns", {})}


def settle(path):
    """The file is on the disk and in the page cache: no run pays for what another has written."""
    subprocess.run(["sync", str(path)], check=True)
    with open(path, "rb") as file:
        while file.read(16 << 20):
            pass


def bench_security(args):
    """Sign + encrypt over plain pack, verify + decrypt over plain unpack, file to file on disk, every core."""
    size, rows = generate.parse_size(args.size or "1G"), []
    levels = common.listed(args.levels, (1, 5), int)
    with common.work_folder("disk", args.dir) as name:
        folder = Path(name)
        source, restored = folder / "model.safetensors", folder / "restored"
        print(f"bench: generating {size / 1e9:.1f} GB of bf16", file=sys.stderr)
        bytes_in = generate.write_model(source, size)
        settle(source)
        for profile in PROFILES:
            mmh("keygen", "--profile", profile, "-o", folder / profile)
        modes = {"plain": ((), ())}
        for profile in PROFILES:
            key, public = folder / f"{profile}.key", folder / f"{profile}.pub"
            modes[profile] = (
                ("--profile", profile, "-r", public, "--sign-with", key),
                ("--key", key, "--signer", public),
            )
        for level in levels:
            times = {mode: {"pack": [], "unpack": []} for mode in modes}
            parts = {}
            for run in range(args.runs + 1):  # the first is the warm-up
                order = list(modes)
                order = order[run % len(order) :] + order[: run % len(order)]
                for mode in order:
                    pack_words, unpack_words = modes[mode]
                    packed = folder / f"{mode}.mmh"
                    packed.unlink(missing_ok=True)
                    pack_seconds, pack_report = timed("pack", f"-{level}", "-f", *pack_words, "-o", packed, source)
                    settle(packed)
                    restored.unlink(missing_ok=True)
                    unpack_seconds, unpack_report = timed("unpack", "-f", *unpack_words, "-o", restored, packed)
                    start = time.perf_counter()
                    subprocess.run(["sync", str(restored)], check=True)
                    unpack_seconds += time.perf_counter() - start
                    if not run and subprocess.run(["cmp", "-s", str(source), str(restored)], check=False).returncode:
                        raise SystemExit(f"bench: the model did not come back as it was ({mode})")
                    if run:
                        times[mode]["pack"].append(pack_seconds)
                        times[mode]["unpack"].append(unpack_seconds)
                        parts[mode] = {"pack": stages(pack_report), "unpack": stages(unpack_report)}
            print(f"\n{'level ' + str(level):10} {'op':7} {'seconds':>20} {'over plain':>22} {'bytes':>12}")
            for mode in modes:
                stored = (folder / f"{mode}.mmh").stat().st_size
                for op in ("pack", "unpack"):
                    seconds = times[mode][op]
                    over = [a / b for a, b in zip(seconds, times["plain"][op], strict=True)]
                    row = {
                        "level": level,
                        "mode": mode,
                        "op": op,
                        "bytes": bytes_in,
                        "stored": stored,
                        "seconds": spread(seconds),
                        "over_plain": spread(over),
                        "stages_ms": parts[mode][op],
                    }
                    if mode == "default":
                        row["over_classical"] = spread(
                            [a / b for a, b in zip(seconds, times["classical"][op], strict=True)]
                        )
                    rows.append(row)
                    print(
                        f"{mode:10} {op:7} {show_spread(row['seconds']):>20} {show_spread(row['over_plain'], 3):>22}"
                        f" {stored:>12}",
                        flush=True,
                    )
            print("\nmilliseconds of all threads, last run")
            for mode in modes:
                for op in ("pack", "unpack"):
                    text = "  ".join(f"{stage} {value:.0f}" for stage, value in parts[mode][op].items() if value >= 1)
                    print(f"{mode:10} {op:7} {text}")
            for op, what in (
                ("pack", "sign + encrypt over plain pack"),
                ("unpack", "verify + decrypt over plain unpack"),
            ):
                row = next(r for r in rows if (r["level"], r["mode"], r["op"]) == (level, "default", op))
                figure, quantum = row["over_plain"]["median"], row["over_classical"]["median"]
                verdict(f"{what}, -{level}", f"{figure:.3f}", f"{SECURE_BAR}", figure <= SECURE_BAR)
                verdict(
                    f"post-quantum over classical, {op}, -{level}",
                    f"{quantum:.3f}",
                    f"{QUANTUM_BAR}",
                    quantum <= QUANTUM_BAR,
                )
            for mode in modes:
                (folder / f"{mode}.mmh").unlink()
        shutil.rmtree(folder, ignore_errors=True)
    common.save("security", rows)
    print(f"bench: every core is {os.cpu_count()}", file=sys.stderr)
