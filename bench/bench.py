#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure size, speed and memory of mmh beside memcpy, cp and the peers, and check the bars.

Sizes are exact and the same on every machine; speeds are medians of N runs with their spread, and
on a busy machine only their shares of memcpy or cp, taken in the same run, say anything.
Results are kept under .cache/bench/, each with machine, compiler, commit and corpus hash; the last
thing printed is how many bars were met, and those that were not.
"""

import argparse
import subprocess
import sys

import bench_common
import bench_dcp
import bench_files
import bench_formats
import bench_large
import bench_parity
import bench_picture
import bench_python
import bench_security
import bench_sizes
import bench_speed
import bench_tables

PARTS = {
    "sizes": bench_sizes.bench_sizes,
    "classes": bench_sizes.bench_classes,
    "bytes": bench_sizes.bench_bytes,
    "growth": bench_sizes.bench_growth,
    "formats": bench_formats.bench_formats,
    "peers": bench_speed.bench_peers,
    "codec": bench_speed.bench_codec,
    "load": bench_speed.bench_load,
    "fresh": bench_speed.bench_fresh,
    "files": bench_files.bench_files,
    "end-to-end": bench_files.bench_end_to_end,
    "open": bench_files.bench_open,
    "security": bench_security.bench_security,
    "parity": bench_parity.bench_parity,
    "large": bench_files.bench_large,
    "large-formats": bench_large.bench_large_formats,
    "finding": bench_large.bench_finding,
    "python": bench_python.bench_python,
    "dcp": bench_dcp.bench_dcp,
    "python-large": bench_python.bench_python_large,
    "picture": bench_picture.bench_picture,
    "tables": bench_tables.bench_tables,
}
GROUPS = {
    "bars": ("sizes", "classes", "bytes", "growth", "formats", "codec", "load", "fresh"),
    "all": tuple(part for part in PARTS if part not in ("large", "large-formats", "python-large")),
}
RUNS = {"bars": 2}  # timed runs of a group that is to be quick


def parse(parser):
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help="default: all\n"
        + "\n".join(f"{name:13} {function.__doc__}" for name, function in PARTS.items())
        + "\nall           all of these but large, large-formats and python-large, in this order"
        + "\nbars          "
        + ", ".join(GROUPS["bars"])
        + ": what has bars, without the slow parts",
    )
    parser.add_argument(
        "--large",
        action="store_true",
        help="short for end-to-end, large, large-formats, finding, open and python-large",
    )
    parser.add_argument("--runs", type=int, help="timed runs of each (default: 5; of the part bars: 2)")
    parser.add_argument("--models", help="names, comma-separated, for sizes, classes, bytes and formats")
    parser.add_argument("--casts", help="comma-separated, for the same and peers")
    parser.add_argument("--levels", help="comma-separated")
    parser.add_argument("--size", help="of the generated model, as 1500M or 8G")
    parser.add_argument("--dir", help="where large models are made and removed again (default: .cache/bench)")
    parser.add_argument("--tensors", type=int, default=100_000, help="of the container that open makes")
    parser.add_argument("--codec-args", help="what to give bench_codec instead of MiniLM's files")
    parser.add_argument("--again", action="store_true", help="measure peers again although the cache has them")
    return parser.parse_args()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.RawTextHelpFormatter)
    args = parse(parser)
    asked = args.parts or (
        ["end-to-end", "large", "large-formats", "finding", "open", "python-large"] if args.large else ["all"]
    )
    unknown = [part for part in asked if part not in PARTS and part not in GROUPS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    if not args.runs:
        args.runs = RUNS.get(asked[0], 5)
    parts = list(dict.fromkeys(p for part in asked for p in GROUPS.get(part, (part,))))
    needed = [bench_common.BUILD / "mmh"]
    needed += [bench_common.BUILD / "bench" / f"bench_{name}" for name in ("codec", "load", "open")]
    missing = [str(path) for path in needed if not path.exists()]
    if set(parts) - {"peers", "picture", "tables"} and missing:
        raise SystemExit(f"bench: no {', '.join(missing)}: run make first")
    failed = False
    for part in parts:  # one that fails does not keep the others from running
        print(f"\n== {part}: {PARTS[part].__doc__.splitlines()[0]}", flush=True)
        bench_common.begin(part)
        try:
            PARTS[part](args)
        except (SystemExit, subprocess.CalledProcessError) as stopped:
            print(stopped, file=sys.stderr)
            bench_common.verdict(f"part {part}", "stopped by a failure", "its end", False)
            failed = True
    bench_common.summary()
    if "all" in asked:
        print("  (besides: peak memory of large models, by make bench-large)")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
