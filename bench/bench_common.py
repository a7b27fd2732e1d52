# SPDX-License-Identifier: Apache-2.0
"""What the parts of the bench share: kept results, runs of mmh, spreads, and the bars' verdicts."""

import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import weights

BUILD = Path(os.environ.get("MMH_BUILD") or weights.ROOT / "build")
RESULTS = weights.CACHE / "bench"
MEMORY_FOLDER = Path("/dev/shm")
VERDICTS = []  # of this run, in order
PART = [""]  # that is running


def command_line(*words):
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def bench_program(name, *words):
    """Standard output of one of the programs of bench/meson.build."""
    program = BUILD / "bench" / name
    result = subprocess.run([str(program), *map(str, words)], stdout=subprocess.PIPE, text=True, check=True)
    return result.stdout


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


def begin(part):
    """From now on bars are those of a part of the bench."""
    PART[:] = [part]


def verdict(label, figure, bar, met, quiet=False):
    """Count a bar as met or not, and print it; a quiet one only if it is not met."""
    met = bool(met)
    VERDICTS.append({"part": PART[0], "bar": label, "figure": figure, "against": bar, "met": met})
    if not (met and quiet):
        print(f"  {'met    ' if met else 'NOT MET'} {label}: {figure} against {bar}", flush=True)
    return met


def summary():
    """Print how many bars this run met, and those that it did not; keep them beside those of other parts."""
    if not VERDICTS:
        return
    missed = [v for v in VERDICTS if not v["met"]]
    print(f"\n== bars: {len(VERDICTS) - len(missed)} met, {len(missed)} not met")
    for v in missed:
        print(f"  NOT MET {v['bar']}: {v['figure']} against {v['against']}")
    about = environment(())
    new = [{**v, "commit": about["commit"], "date": about["date"]} for v in VERDICTS]
    run = {v["part"] for v in new}
    save("bars", [row for row in load("bars") if row.get("part") not in {None, *run}] + new)


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
            f"bench: exit {code} of mmh {' '.join(map(str, words))}\n" + result.stderr.decode(errors="replace")
        )
    return None if code else (seconds, peak, result.stdout.decode(errors="replace"))


def mmh_json(*words):
    """What a verb of mmh writes with --json."""
    return json.loads(mmh(*words, "--json")[2])


def listed(text, otherwise=None, kind=str):
    """A comma-separated option as a list; `otherwise` if it was not given."""
    return [kind(part) for part in text.split(",")] if text else otherwise


def spread(values):
    return {
        "median": statistics.median(values),
        "least": min(values),
        "most": max(values),
        "runs": len(values),
    }


def show_spread(figure, digits=2):
    median, least, most = (f"{figure[key]:.{digits}f}" for key in ("median", "least", "most"))
    return f"{median} ({least}-{most})"


def memcpy_gbps(size=256 << 20, runs=5):
    """Bytes copied a second, one thread, between buffers that are already there."""
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    best = []
    for _ in range(runs):
        start = time.perf_counter()
        np.copyto(target, source)
        best.append(size / (time.perf_counter() - start) / 1e9)
    return spread(best)


def work_folder(where, folder=None):
    """A temporary folder in memory or on disk, there beneath `folder` if one is given."""
    if folder:
        return tempfile.TemporaryDirectory(prefix="mmh-bench-", dir=folder)
    if where == "memory" and MEMORY_FOLDER.is_dir():
        return tempfile.TemporaryDirectory(prefix="mmh-bench-", dir=MEMORY_FOLDER)
    RESULTS.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="work-", dir=RESULTS)
