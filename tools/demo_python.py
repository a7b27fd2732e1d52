# SPDX-License-Identifier: Apache-2.0
"""The second table of `make demo`: MiniLM loaded from the packed folder by its own libraries, beside safetensors."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import minilm
import weights

RUNS = 5
TENSORS = 104
NEEDED = ("torch", "transformers", "sentence_transformers", "safetensors")
PACKAGE = weights.ROOT / "src" / "python"
SENTENCES = [
    "A cat sits on the mat.",
    "Model weights are mostly noise in their low bits.",
    "Tous les modèles ne parlent pas anglais.",
    "",
    "one two three " * 100,
]
WEIGHTS = "model.safetensors"
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(PACKAGE),
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}


def missing():
    """What of the second table's needs is not here, in words; None if all is."""
    program = "import sys\nfor name in sys.argv[1:]: print(name, flush=True); __import__(name)"
    command = [sys.executable, "-c", program, "mmh", *NEEDED]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if run.returncode == 0:
        return None
    name = run.stdout.split()[-1]
    if name == "mmh":
        return "the extension module of the Python package is not there (it needs Python 3.11 and its headers)"
    return f"{name.replace('_', '-')} cannot be imported here (tools/requirements-demo-frameworks.txt)"


def packed_folder(mmh, model, folder, level):
    """A folder like `model`, but for its weights, which are packed."""
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    command = [str(mmh), "pack", "-q", f"-{level}", "-o", folder / (WEIGHTS + ".mmh"), model / WEIGHTS]
    subprocess.run(command, check=True)
    return folder


def drop_page_cache(path):
    """Let the system forget a file's pages; what was written has to be on disk before."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached_share(path):
    """Part of a file that is in the page cache, 0 to 1, or None where that cannot be told."""
    try:
        found = subprocess.run(
            ["fincore", "-b", "-n", "-r", "-o", "RES", path], capture_output=True, text=True, check=True
        )
        return int(found.stdout) / os.path.getsize(path)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


# ---- what runs in processes of their own ----


def first_tensor(what, path):
    """Seconds until a file is open, and until one tensor of it is in memory."""
    library = sys.modules["mmh" if what == "mmh" else "safetensors"]
    begin = time.perf_counter()
    with library.safe_open(path, "pt") as file:
        opened = time.perf_counter() - begin
        file.get_tensor("encoder.layer.3.output.dense.weight").clone()
        return {"open": opened, "first": time.perf_counter() - begin}


def every_tensor(what, path):
    """Seconds until all tensors of a file are there."""
    library = sys.modules["mmh" if what == "mmh" else "safetensors"]
    begin = time.perf_counter()
    tensors = library.torch.load_file(path)
    if what == "copy":  # they are a map of the file until something touches them
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    seconds = time.perf_counter() - begin
    if len(tensors) != TENSORS:
        raise RuntimeError(f"{path} gave {len(tensors)} tensors")
    return {"all": seconds}


def in_a_child(function, *arguments):
    """What a function returns, called in a fork: it begins with imports done, and no memory, thread or file used."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps(function(*arguments)).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    if os.waitpid(child, 0)[1]:
        raise RuntimeError(f"{function.__name__}{arguments} failed")
    return json.loads(answer)


def measure(ways, runs):
    """Medians of ways to load, [(what, path)]: [{"cold": {...}, "warm": {...}}]. They take turns on this machine.

    And the largest part of a file that was still cached before a cold run.
    """
    for name in ("mmh.torch", "safetensors.torch"):
        importlib.import_module(name)
    # On a busy machine the threads of PyTorch's copies wait for each other: it would be slower by far with more.
    sys.modules["torch"].set_num_threads(1)
    rows = [{"cold": [], "warm": []} for _ in ways]
    cached = []
    for _ in range(runs):
        for (what, path), row in zip(ways, rows, strict=True):
            for kind in row:
                seconds = {}
                for function in (first_tensor, every_tensor):
                    if kind == "cold":
                        drop_page_cache(path)
                        cached.append(cached_share(path))
                    else:
                        Path(path).read_bytes()
                    seconds |= in_a_child(function, what, path)
                row[kind].append(seconds)
    medians = [
        {
            kind: {name: statistics.median(run[name] for run in row[kind]) for name in ("open", "first", "all")}
            for kind in row
        }
        for row in rows
    ]
    return medians, max((share for share in cached if share is not None), default=None)


def embed(what, folder):
    """(seconds, digest of the embeddings) of a SentenceTransformer from `folder`."""
    import hashlib

    import sentence_transformers

    if what == "mmh":
        import mmh.transformers  # noqa: F401 (this is all that it takes)
    begin = time.perf_counter()
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    seconds = time.perf_counter() - begin
    found = model.encode(SENTENCES)
    return {"load": seconds, "shape": found.shape, "digest": hashlib.sha256(found.tobytes()).hexdigest()}


def apart(task, *arguments):
    """The result of `measure` or `embed`, from a process of its own."""
    command = [sys.executable, __file__, task, json.dumps(arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if run.returncode:
        raise SystemExit(f"demo: {task} {arguments}: {run.stderr.strip()}")
    return json.loads(run.stdout.splitlines()[-1])


def table(command, say, runs=RUNS):
    """Pack by the command, and measure. Returns (lines of the table, whether the embeddings are the same)."""
    reason = missing()
    if reason:
        return [f"MiniLM in Python: left out, as {reason}."], True
    model = minilm.folder()
    place = weights.CACHE / "demo"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as name:
        folders = {level: packed_folder(command, model, Path(name) / f"minilm-{level}", level) for level in (1, 5)}
        say("MiniLM by sentence-transformers, from the original folder and from the packed one")
        original = apart("embed", "safetensors", str(model))
        packed = apart("embed", "mmh", str(folders[5]))
        same = original["digest"] == packed["digest"]
        plain = str(model / WEIGHTS)
        ways = [
            ("safetensors, mapped", "safetensors", plain),
            ("safetensors, then copied", "copy", plain),
            *((f"mmh -{level}", "mmh", str(folder / (WEIGHTS + ".mmh"))) for level, folder in folders.items()),
        ]
        say(f"MiniLM by safetensors and mmh: {runs} cold and {runs} warm loads each")
        medians, cached = apart("measure", [way[1:] for way in ways], runs)
        sizes = [os.path.getsize(path) for _, _, path in ways]
    versions = {package: importlib.metadata.version(package.replace("_", "-")) for package in NEEDED}
    count, width = original["shape"]
    lines = [
        f"MiniLM fp32 in Python, {os.path.getsize(plain) / 1e6:.1f} MB of weights: milliseconds, medians of {runs}\n",
        f"{'':24} {'':>9}   {'--------- cold ---------':>24}   {'--------- warm ---------':>24}",
        f"{'':24} {'size MB':>9}   {'open':>7} {'first':>8} {'all':>7}   {'open':>7} {'first':>8} {'all':>7}",
    ]
    for (title, _, _), size, row in zip(ways, sizes, medians, strict=True):
        cells = (
            f"{1e3 * row[kind]['open']:7.2f} {1e3 * row[kind]['first']:8.2f} {1e3 * row[kind]['all']:7.1f}"
            for kind in ("cold", "warm")
        )
        lines.append(f"{title:24} {size / 1e6:9.2f}   " + "   ".join(cells))
    still = f"; at most {100 * cached:.0f} % of a file was cached still" if cached is not None else ""
    seconds = f"{packed['load']:.2f} s and {original['load']:.2f} s"
    return [
        *lines,
        "",
        f"{count} sentences embedded by sentence-transformers {versions['sentence_transformers']} (transformers"
        f" {versions['transformers']}), {width} numbers each,",
        f"from the packed folder and from the original one: {'identical, bit for bit' if same else 'DIFFERENT'}."
        f" The whole model loaded in {seconds}.",
        "",
        "open: the file, its index read. first: that, and one tensor of 2.4 MB in memory. all: every tensor,",
        "the file opened anew; safetensors maps the file, and reads what is touched later. Copied (by one",
        "thread) they are all in memory, as mmh's are, which has checked the hash of every chunk as well.",
        f"cold: the file's pages dropped by posix_fadvise(DONTNEED) before each load{still};",
        "what the disk itself caches is not known. warm: the file read just before. A fork for each load.",
    ], same


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=("measure", "embed"))
    parser.add_argument("arguments", help="a JSON list")
    given = parser.parse_args()
    print(json.dumps({"measure": measure, "embed": embed}[given.task](*json.loads(given.arguments))))
