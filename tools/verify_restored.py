#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real models load and compute in their frameworks after a round trip exactly as before it.

Packs and unpacks every model of the shared corpus into a copy of its tree, runs the corpus's own
eval/verify_frameworks.py over both trees, and compares what it prints, line by line; then the
speech model, in TorchScript and in ONNX Runtime, over eval's recordings.
"""

import argparse
import difflib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import corpus_units
import weights

PACKAGES = ("numpy", "torch", "tensorflow", "keras", "onnxruntime", "h5py", "gguf", "safetensors")
SPEECH_MODELS = (
    "torchscript/silero-vad__silero_vad.jit",
    "onnx/silero-vad__silero_vad_half.onnx",
)


def run(*words):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, env=environment)


def mmh(*words):
    binary = Path(os.environ.get("MMH_BIN") or Path(os.environ.get("MMH_BUILD") or weights.ROOT / "build") / "mmh")
    result = run(binary, *words)
    if result.returncode:
        raise SystemExit(f"frameworks: exit {result.returncode} of mmh {' '.join(map(str, words))}: {result.stderr}")


def restore(level, target, scratch):
    """Every unit of the corpus, packed and unpacked, at its place beneath target."""
    units = list(corpus_units.units())
    for unit in units:
        place = target / unit.relative_to(corpus_units.CORPUS)
        place.parent.mkdir(parents=True, exist_ok=True)
        mmh("pack", "-q", "-f", f"-{level}", "-o", scratch, unit)
        mmh("unpack", "-q", "-o", place, scratch)
    return len(units)


def originals(target):
    """A copy of the same files as they are: the corpus without what is not packed as a model."""
    for unit in corpus_units.units():
        place = target / unit.relative_to(corpus_units.CORPUS)
        place.parent.mkdir(parents=True, exist_ok=True)
        if unit.is_dir():
            shutil.copytree(unit, place)
        else:
            shutil.copyfile(unit, place)


def listing(folder):
    result = run(sys.executable, corpus_units.CORPUS / "eval" / "verify_frameworks.py", folder)
    if result.returncode:
        raise SystemExit(f"frameworks: verify_frameworks.py failed: {result.stderr[-2000:]}")
    return result.stdout.splitlines()


def speech(model):
    """What the speech check prints, without its times."""
    recordings = sorted((corpus_units.CORPUS / "eval").glob("*.wav"))
    result = run(sys.executable, corpus_units.CORPUS / "eval" / "silero_vad_check.py", model, *recordings)
    if result.returncode:
        return [f"ERROR {result.stderr.strip().splitlines()[-1] if result.stderr.strip() else result.returncode}"]
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    return [json.dumps({key: value for key, value in row.items() if key != "seconds"}) for row in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--level", type=int, default=5, help="to pack at (default: %(default)s)")
    options = parser.parse_args()
    if not corpus_units.CORPUS.is_dir():
        print(f"frameworks: there is no {corpus_units.CORPUS}: set MMH_SHARED; nothing was checked")
        return 77
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"frameworks: not here, so that their models are left out: {', '.join(missing)}"
            " (tools/deps.sh formats installs them)"
        )
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="mmh-frameworks-") as name:
        before, after = Path(name) / "before", Path(name) / "after"
        originals(before)
        count = restore(options.level, after, Path(name) / "x.mmh")
        was, now = listing(before), listing(after)
        loaded = [line for line in was if "\tERROR\t" not in line]
        left_out = [line for line in was if "\tERROR\t" in line]
        if was != now:
            wrong += 1
            print("\n".join(difflib.unified_diff(was, now, "before", "after", lineterm="", n=0)))
        print(
            f"frameworks: {count} models packed and unpacked at level {options.level}: {len(loaded)} files loaded and"
            f" computed before and after, {'alike' if was == now else 'NOT ALIKE'}"
        )
        for line in left_out:  # refused or not loadable already before
            print(f"frameworks: not checked: {line}")
        for model in SPEECH_MODELS:
            was, now = speech(corpus_units.CORPUS / model), speech(after / model)
            failed = any(line.startswith("ERROR") for line in was)
            wrong += was != now
            print(f"frameworks: {model}: {'not checked' if failed else 'alike' if was == now else 'NOT ALIKE'}")
            for line in now:
                print(f"  {line}")
    print(f"{2 + len(loaded) - wrong} passed, {wrong} failed, {len(left_out)} skipped")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
