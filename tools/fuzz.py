#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run the fuzz targets: tools/fuzz.py [OPTION...] [TARGET...]

Builds them in build-fuzz/ with ASan and UBSan, with clang and its libFuzzer where there is one, else
with gcc and tests/fuzz/driver.c, and runs each, two at a time, on its corpus in build-fuzz/corpus/ and
its seeds in tests/fuzz/corpus/. What is found is printed with the file that reproduces it; such files
stay in build-fuzz/findings/. Exits 1 if there is any.

  --seconds=N   for each target; default $FUZZ_SECONDS, else 180 for all of them together
  --until-stop  one target until it is interrupted or finds something; what it says is shown
  --jobs=N      at a time (2)
  --seed=N      of the random numbers (1)
  --fresh       begin with the seeds alone
  --table       print the results as a table for docs/testing.md
  --json=FILE   the results as Meson's test log has them, for tools/tally.py
  --cc=CC       the compiler
  --merge       no fuzzing: add to the seeds the fewest small inputs that reach what the corpus does
  --list        the targets
"""

import argparse
import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SEEDS = ROOT / "tests/fuzz/corpus"
ALL_SECONDS = 180
INPUT_SECONDS = 30  # that one input may take
HEX_MAX = 512  # bytes of a finding that are printed
SEED_BYTES_MAX = 2048
ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1:max_allocation_size_mb=2048",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


def targets():
    """{name: further seeds}, from the list in tests/meson.build."""
    text = (ROOT / "tests/meson.build").read_text()
    table = text[text.index("fuzz_targets = {") :]
    table = table[: table.index("\n}")]
    found = {}
    for name, seeds in re.findall(r"^  '(\w+)': \[\[.*?\], (\[.*?\]|fuzz_golden), ", table, flags=re.MULTILINE):
        more = [SEEDS / other for other in re.findall(r"fuzz_corpus / '(\w+)'", seeds)]
        if "fuzz_golden" in seeds:
            more += sorted(path for path in (ROOT / "tests/golden").glob("**/") if any(path.glob("*.mmh")))
        found[name] = more
    return found


def build(compiler, names):
    """The folder with the programs, whether they use libFuzzer, and the compiler's name."""
    compiler = compiler or os.environ.get("CC") or ("clang" if shutil.which("clang") else "cc")
    said = subprocess.run([compiler, "--version"], check=False, capture_output=True, text=True).stdout
    libfuzzer = "clang" in said
    folder = ROOT / ("build-fuzz" if libfuzzer else "build-fuzz-gcc")
    environment = {**os.environ, "CC": compiler}
    if not (folder / "build.ninja").exists():
        run = subprocess.run(
            [
                "meson",
                "setup",
                folder,
                "-Dfuzz=true",
                "-Dtests=false",
                "-Db_sanitize=address,undefined",
                "-Db_lundef=false",
                "-Ddefault_library=static",
                "-Dbuildtype=debugoptimized",
            ],
            cwd=ROOT,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        if run.returncode:
            sys.exit(run.stdout + run.stderr)
    subprocess.run(["ninja", "-C", folder, "--quiet", *(f"tests/fuzz_{name}" for name in names)], check=True)
    return folder, libfuzzer, said.splitlines()[0] if said else compiler


def command(folder, name, more, options):
    corpus, findings = folder / "corpus" / name, folder / "findings"
    if options.fresh:
        shutil.rmtree(corpus, ignore_errors=True)
    for path in (corpus, findings):
        path.mkdir(parents=True, exist_ok=True)
    seeds = [path for path in (SEEDS / name, *more) if path.exists()]
    arguments = [
        f"-seed={options.seed}",
        f"-timeout={INPUT_SECONDS}",
        "-len_control=20",
        "-max_len=32768",
        f"-artifact_prefix={findings}/{name}-",
    ]
    return [folder / "tests" / f"fuzz_{name}", *arguments], [corpus, *seeds]


def run_target(folder, name, more, options):
    """What a run came to: a dictionary."""
    program, corpora = command(folder, name, more, options)
    findings = folder / "findings"
    old = set(findings.glob(f"{name}-*"))
    start = time.monotonic()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="mmh-fuzz-", dir=memory) as scratch:
        run = subprocess.run(
            [*program, f"-max_total_time={options.seconds}", *corpora],
            cwd=folder,
            check=False,
            env={**ENVIRONMENT, **os.environ, "FUZZ_FOLDER": scratch},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    log = run.stderr.decode("utf-8", "replace")
    (findings / f"{name}.log").write_text(log)
    statistics = re.findall(r"#(\d+)\s+\w+\s+cov: (\d+).*?corp: (\d+)", log)
    executions, edges, inputs = map(int, statistics[-1]) if statistics else (0, 0, 0)
    new = sorted(set(findings.glob(f"{name}-*")) - old)
    return {
        "name": name,
        "seconds": time.monotonic() - start,
        "executions": executions,
        "edges": edges,
        "inputs": inputs,
        "failed": run.returncode != 0,
        "findings": new,
        "log": log,
    }


def tell(result):
    """A finding: where, the reason, and the input."""
    lines = result["log"].splitlines()
    reasons = [line for line in lines if re.search("broken promise|ERROR|SUMMARY|runtime error|Assertion", line)]
    print(f"fuzz: {result['name']} failed: " + (reasons[0] if reasons else "\n".join(lines[-5:])))
    for path in result["findings"]:
        data = path.read_bytes()
        print(f"  reproduce with: {path.parents[1].name}/tests/fuzz_{result['name']} -runs=1 {path.relative_to(ROOT)}")
        print(f"  its {len(data)} bytes{', the first' if len(data) > HEX_MAX else ''}: {data[:HEX_MAX].hex()}")
    print(f"  all it said: {(ROOT / result['log_path']).relative_to(ROOT)}", flush=True)


def table(results, compiler):
    print("| target | executions | edges | corpus | findings |\n|---|---:|---:|---:|---:|")
    for result in results:
        print(
            f"| {result['name']} | {result['executions']:,} | {result['edges']:,} | {result['inputs']:,} "
            f"| {len(result['findings'])} |"
        )
    print(f"\n{compiler}; {results[0]['seconds']:.0f} s each")


def merge(folder, names, more, options):
    """The seeds of each target, with the small inputs of its corpus that add to them."""
    for name in names:
        program, (corpus, *_) = command(folder, name, more[name], options)
        picked = folder / "picked" / name
        shutil.rmtree(picked, ignore_errors=True)
        picked.mkdir(parents=True)
        small = folder / "small" / name
        shutil.rmtree(small, ignore_errors=True)
        small.mkdir(parents=True)
        for path in corpus.iterdir():
            if path.stat().st_size <= SEED_BYTES_MAX:
                shutil.copy(path, small)
        subprocess.run(
            [*program, "-merge=1", picked, small],
            cwd=folder,
            env={**ENVIRONMENT, **os.environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        files = sorted(picked.iterdir(), key=lambda path: path.stat().st_size)
        print(f"{name}: {len(files)} inputs, {sum(path.stat().st_size for path in files):,} bytes")


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].split(": ", 1)[1], add_help=False)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cc")
    parser.add_argument("--json")
    for flag in ("until-stop", "fresh", "table", "merge", "list", "help"):
        parser.add_argument(f"--{flag}", action="store_true")
    options = parser.parse_args()
    if options.help:
        print(__doc__)
        return 0
    known = targets()
    names = options.targets or list(known)
    for name in names:
        if name not in known:
            sys.exit(f"fuzz: there is no target {name}; there are {', '.join(known)}")
    if options.list:
        print("\n".join(names))
        return 0
    if options.seconds is None:
        options.seconds = int(os.environ.get("FUZZ_SECONDS") or max(ALL_SECONDS // len(known), 1))
    folder, libfuzzer, compiler = build(options.cc, names)
    if options.merge:
        merge(folder, names, known, options)
        return 0
    if options.until_stop:
        program, corpora = command(folder, names[0], known[names[0]], options)
        forever = [] if libfuzzer else ["-max_total_time=1e9"]
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return subprocess.run(
            [*program, *forever, *corpora],
            cwd=folder,
            check=False,
            env={**ENVIRONMENT, **os.environ},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ).returncode
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        waiting = [pool.submit(run_target, folder, name, known[name], options) for name in names]
        results = []
        for job in waiting:
            result = job.result()
            result["log_path"] = folder / "findings" / f"{result['name']}.log"
            results.append(result)
            print(
                f"fuzz: {result['name']}: {result['executions']:,} executions, {result['edges']:,} edges, "
                f"{result['inputs']:,} inputs in {result['seconds']:.0f} s",
                flush=True,
            )
            if result["failed"]:
                tell(result)
    if options.table:
        table(results, compiler)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            for result in results:
                file.write(
                    json.dumps({"name": f"fuzz {result['name']}", "result": "FAIL" if result["failed"] else "OK"})
                    + "\n"
                )
    return 1 if any(result["failed"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
