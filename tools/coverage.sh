#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# coverage.sh: lines that the unit tests, the fuzz seeds and the Python tests run, room by room (gcov).
set -euo pipefail
cd "$(dirname "$0")/.."
build=build-coverage
[ -e $build/build.ninja ] ||
  CC=gcc meson setup $build -Db_coverage=true -Dbuildtype=debugoptimized -Ddefault_library=static >/dev/null
ninja -C $build --quiet
find $build -name '*.gcda' -delete
meson test -C $build --no-rebuild --quiet || echo "coverage: some tests failed"
if [ -x .venv/bin/python ]; then
  MMH_BUILD=$PWD/$build .venv/bin/python -m pytest -q tests -p no:cacheprovider | tail -1
fi
python3 - $build <<'END'
"""Add up what gcov says of each source of the library and the command."""
import collections
import json
import os
import subprocess
import sys

lines = collections.defaultdict(dict)
for folder, _, names in os.walk(sys.argv[1]):
    notes = [name for name in names if name.endswith(".gcno")]
    if not notes:
        continue
    run = subprocess.run(["gcov", "--json-format", "--stdout", *notes], cwd=folder, capture_output=True,
                         text=True, check=False)
    for text in run.stdout.splitlines():
        report = json.loads(text)
        for file in report["files"]:
            path = os.path.normpath(os.path.join(report["current_working_directory"], file["file"]))
            part = path.split("/src/")[-1].split("/")
            if "/src/" not in path or len(part) != 2:
                continue
            for line in file["lines"]:
                number, room = line["line_number"], lines["/".join(part)]
                room[number] = max(room.get(number, 0), line["count"])
rooms = collections.Counter(), collections.Counter()
for path, counts in lines.items():
    room = path.split("/")[0]
    rooms[0][room] += sum(count > 0 for count in counts.values())
    rooms[1][room] += len(counts)
print("| room | lines | run | % |\n|---|---:|---:|---:|")
for room in sorted(rooms[1]):
    print(f"| {room} | {rooms[1][room]:,} | {rooms[0][room]:,} | {100 * rooms[0][room] / rooms[1][room]:.1f} |")
run, all_lines = sum(rooms[0].values()), sum(rooms[1].values())
print(f"| all | {all_lines:,} | {run:,} | {100 * run / max(all_lines, 1):.1f} |")
END
