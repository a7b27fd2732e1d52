#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pack a real model, restore it, compare every byte, and print what that cost and saved; then load it in Python."""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
if (VENV / "bin" / "python").exists() and Path(sys.prefix) != VENV:  # where `make demo` put NumPy
    os.execv(VENV / "bin" / "python", [str(VENV / "bin" / "python"), *sys.argv])
sys.path.insert(0, str(ROOT / "bench"))
import demo_python  # noqa: E402
import floor  # noqa: E402
import minilm  # noqa: E402
import weights  # noqa: E402

LEVELS = (1, 5, 9)
KEPT = weights.CACHE / "demo" / "minilm.bf16.mmh"


def say(text):
    print(f"demo: {text}", file=sys.stderr, flush=True)


def run(*command):
    """Run a command; return its wall-clock seconds. A failure ends the demo."""
    start = time.perf_counter()
    result = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if result.returncode:
        raise SystemExit(f"demo: exit {result.returncode} of: {' '.join(map(str, command))}\n{result.stdout}")
    return seconds


def same_bytes(first, second):
    """Whether two files hold the same bytes."""
    if first.stat().st_size != second.stat().st_size:
        return False
    with open(first, "rb") as a, open(second, "rb") as b:
        while block := a.read(1 << 22):
            if block != b.read(1 << 22):
                return False
    return True


def measure_mmh(mmh, source, level, folder):
    """(packed bytes, pack seconds, unpack seconds, whether every byte came back)."""
    packed, restored = folder / "model.mmh", folder / "restored.safetensors"
    pack = run(mmh, "pack", f"-{level}", "-f", "-o", packed, source)
    run(mmh, "verify", packed)
    unpack = []
    for _ in range(3):
        restored.unlink(missing_ok=True)
        unpack.append(run(mmh, "unpack", "-f", "-o", restored, packed))
    return packed.stat().st_size, pack, statistics.median(unpack), same_bytes(source, restored)


def measure_zstd(source, folder):
    """The same of zstd -3, by its Python package or else its command; None without either."""
    packed, restored = folder / "model.zst", folder / "model.unzst"
    try:
        import zstandard
    except ImportError:
        if not shutil.which("zstd"):
            return None
        pack = run("zstd", "-3", "-T0", "-q", "-f", "-o", packed, source)
        unpack = run("zstd", "-d", "-q", "-f", "-o", restored, packed)
    else:
        start = time.perf_counter()
        with open(source, "rb") as reader, open(packed, "wb") as writer:
            zstandard.ZstdCompressor(level=3, threads=-1).copy_stream(
                reader, writer, size=source.stat().st_size, read_size=1 << 20, write_size=1 << 20
            )
        pack, start = time.perf_counter() - start, time.perf_counter()
        with open(packed, "rb") as reader, open(restored, "wb") as writer:
            zstandard.ZstdDecompressor().copy_stream(reader, writer, read_size=1 << 20, write_size=1 << 20)
        unpack = time.perf_counter() - start
    return packed.stat().st_size, pack, unpack, same_bytes(source, restored)


def floors(path):
    """Entropy floor in % for each level: of the model of the weights that this level codes with."""
    say(f"{path.name}: entropy floors")
    normal, refined = floor.model_floor(path), floor.model_floor(path, tables=32, refinements=2)
    return {
        1: normal["trailing"],
        5: normal["classes"],
        9: min(normal["classes"], refined["classes"]),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--mmh",
        default=os.environ.get("MMH") or weights.ROOT / "build" / "mmh",
        help="the command to show (default: build/mmh)",
    )
    mmh = Path(parser.parse_args().mmh)
    if not mmh.exists():
        raise SystemExit(f"demo: no {mmh}: run make first")

    KEPT.parent.mkdir(parents=True, exist_ok=True)
    rows, exact = [], True
    with tempfile.TemporaryDirectory(dir=KEPT.parent) as name:
        folder = Path(name)
        for cast in ("fp32", "bf16"):
            source = minilm.cast(cast)
            size, low = source.stat().st_size, floors(source)
            for level in LEVELS:
                say(f"{source.name}: level {level}: pack, verify, unpack, compare")
                found = measure_mmh(mmh, source, level, folder)
                rows.append((cast, f"mmh -{level}", size, low[level], *found))
                if (cast, level) == ("bf16", 5):
                    (folder / "model.mmh").replace(KEPT)
            say(f"{source.name}: zstd -3")
            found = measure_zstd(source, folder)
            if found:
                rows.append((cast, "zstd -3", size, None, *found))
    cores = os.cpu_count()
    print(f"MiniLM-L6, 22.7 million weights, {cores} threads, files in the page cache, whole commands timed\n")
    print(
        f"{'model':6} {'codec':8} {'size MB':>9} {'packed MB':>10} {'size %':>7} {'floor %':>8}"
        f" {'pack GB/s':>10} {'unpack GB/s':>12}  every byte back"
    )
    for cast, codec, size, low, packed, pack, unpack, same in rows:
        exact &= same
        print(
            f"{cast:6} {codec:8} {size / 1e6:9.2f} {packed / 1e6:10.2f} {100 * packed / size:7.2f}"
            f" {f'{low:.2f}' if low else '':>8}"
            f" {size / pack / 1e9:10.3f} {size / unpack / 1e9:12.3f}"
            f"  {'yes' if same else 'NO'}"
        )
    print(
        "\nfloor: the entropy of the weights under what the level knows of them: level 1 the"
        "\nexponents of each tensor, level 5 also row, column and top mantissa bits, level 9 more"
        "\ntables of them."
    )
    if not exact:
        raise SystemExit("demo: a file did not come back as it was")
    lines, same = demo_python.table(mmh, say)
    print("\n" + "\n".join(lines))
    if not same:
        raise SystemExit("demo: the packed model's embeddings are not the original's")
    show = os.path.relpath
    print(
        f"\nTry next:\n  {show(mmh)} info {show(KEPT)}\n"
        f"  {show(mmh)} unpack -o restored.safetensors {show(KEPT)}\n"
        f"  {show(mmh)} pack YOUR-MODEL.safetensors"
    )


if __name__ == "__main__":
    main()
