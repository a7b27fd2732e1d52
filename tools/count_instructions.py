#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions per weight of every kernel set: tools/count_instructions.py BUILD EMULATOR...

Runs BUILD/bench/bench_instructions under qemu-user (EMULATOR, say `qemu-aarch64 -L SYSROOT`) with the
plugin tools/count_instructions.c, which is compiled first, and prints a table. Counts
repeat to 0.02 (what memcpy does depends on where memory lies); they say how much work there is, not how
long it takes.
"""

import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def count(build, emulator):
    """{(type, level, operation): {set: instructions per weight}}, and the sets."""
    with tempfile.TemporaryDirectory() as folder:
        plugin = os.path.join(folder, "count.so")
        subprocess.run(
            [
                os.environ.get("CC", "cc"),
                "-O2",
                "-shared",
                "-fPIC",
                os.path.join(ROOT, "tools", "count_instructions.c"),
                "-o",
                plugin,
            ],
            check=True,
        )
        program = os.path.join(build, "bench", "bench_instructions")
        run = subprocess.run([*emulator, "-plugin", plugin, program], check=False, capture_output=True, text=True)
    marks = [int(line.split()[2]) for line in run.stderr.splitlines() if line.startswith("mark ")]
    lines = [line.split("\t") for line in run.stdout.splitlines()]
    if run.returncode or not lines or len(marks) != 2 * len(lines):
        sys.exit(
            f"count_instructions: exit {run.returncode}, {len(marks)} marks for {len(lines)} operations\n"
            + run.stderr[:2000]
        )
    table, sets = {}, []
    for i, (kind, level, kernels, operation, weights) in enumerate(lines):
        if kernels not in sets:
            sets.append(kernels)
        each = (marks[2 * i + 1] - marks[2 * i]) / int(weights)
        table.setdefault((kind, level, operation), {})[kernels] = each
    return table, sets


def main(build, *emulator):
    table, sets = count(build, emulator)
    print(f"| instructions per weight | level | {' | '.join(sets)} | {sets[0]} / {sets[-1]} |")
    print("|---|---|" + "---|" * (len(sets) + 1))
    for (kind, level, operation), counts in table.items():
        each = " | ".join(f"{counts[name]:.2f}" for name in sets)
        print(f"| {kind} {operation} | {level} | {each} | {counts[sets[0]] / counts[sets[-1]]:.1f} |")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
