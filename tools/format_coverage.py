#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hold what mmh finds in real model files against what each framework's own loader says they hold.

For every model of the shared corpus: the loader's tensors (name, element type, shape, bytes), what
`mmh ls --json` lists of the original and of its container, and what `mmh cat` gives of each tensor.
The table goes between two marks in docs/formats.md.
"""

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np

import corpus_units
import format_oracles as oracles
import weights

KEPT = weights.CACHE / "bench" / "format-coverage.json"
DOCUMENT = weights.ROOT / "docs" / "formats.md"
BEGIN, END = "<!-- coverage: begin -->", "<!-- coverage: end -->"
BATCH = 200  # names of one mmh cat

# What numpy has: the values of other types are compared as the bytes that cat gives without --npy.
NUMPY = "BOOL U8 I8 U16 I16 U32 I32 U64 I64 F16 F32 F64 C64 C128".split()

# Why not everything is found, where that is known and meant to be so.
EXPLAINED = {
    "npz/resnet20_bf16_V2_be_fortran_compressed.npz": "every member is deflated: opaque",
    "keras_h5/face_classification_chunked_gzip_shuffle.h5": "chunks are gzipped: opaque",
    "gguf/llama.cpp__ggml-vocab-gpt-2.gguf": "a vocabulary without tensors",
}


class Failed(Exception):
    pass


def run(*words):
    binary = Path(os.environ.get("MMH_BIN") or Path(os.environ.get("MMH_BUILD") or weights.ROOT / "build") / "mmh")
    result = subprocess.run([str(binary), *map(str, words)], capture_output=True, check=False)
    if result.returncode:
        raise Failed(
            f"exit {result.returncode} of mmh {words[0]}: {result.stderr.decode(errors='replace').strip()[:300]}"
        )
    return result


class Found:
    """A tensor as mmh lists it; `digest` is of its bytes in C order, None until they were read."""

    def __init__(self, listed, file):
        self.name, self.dtype, self.shape = listed["name"], listed["dtype"], listed["shape"]
        self.file, self.column_major, self.bytes = file, listed["column_major"], listed["bytes"]
        self.digest = None

    def key(self):
        return self.file, self.name, self.dtype, tuple(self.shape)


def listing(path, options=()):
    answer = json.loads(run("ls", "--json", *options, path).stdout)
    return [Found(tensor, answer["files"][tensor["file"]]["name"]) for tensor in answer["tensors"]]


def take(stream, tensor):
    """The next tensor's bytes in C order from what cat wrote."""
    if tensor.dtype in NUMPY:
        array = np.lib.format.read_array(stream)
        if list(array.shape) != tensor.shape:
            raise Failed(f"cat gives {tensor.name} the shape {array.shape}")
        return np.ascontiguousarray(array).tobytes()
    data = stream.read(tensor.raw_bytes)
    if len(data) != tensor.raw_bytes:
        raise Failed(f"cat ends inside {tensor.name}")
    if tensor.column_major and len(tensor.shape) > 1:
        width = len(data) // max(1, int(np.prod(tensor.shape)))
        data = np.frombuffer(data, f"V{width}").reshape(tensor.shape, order="F").tobytes()
    return data


WIDTHS = {"BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1}


def read_values(container, tensors, most_bytes):
    """Fill in the digests of all tensors up to a size, many with each call; returns what went wrong."""
    names = Counter(tensor.name for tensor in tensors)
    problems = []

    def argument(tensor):
        return tensor.name if names[tensor.name] == 1 else f"{tensor.file}:{tensor.name}"

    def read(batch, npy):
        data = run("cat", "-q", *(["--npy"] if npy else ["-c"]), "--", container, *map(argument, batch)).stdout
        stream = io.BytesIO(data)
        for tensor in batch:
            tensor.digest = hashlib.sha256(take(stream, tensor)).hexdigest()
        if stream.read(1):
            raise Failed("cat gives more than was asked for")

    for tensor in tensors:
        count = int(np.prod(tensor.shape, dtype=np.int64))
        tensor.raw_bytes = count * WIDTHS[tensor.dtype] if tensor.dtype in WIDTHS else tensor.bytes
    wanted = [tensor for tensor in tensors if tensor.raw_bytes <= most_bytes]
    for npy in (True, False):
        group = [tensor for tensor in wanted if (tensor.dtype in NUMPY) == npy]
        for first in range(0, len(group), BATCH):
            batch = group[first : first + BATCH]
            try:
                read(batch, npy)
            except (Failed, ValueError):
                for tensor in batch:
                    try:
                        read([tensor], npy)
                    except (Failed, ValueError) as problem:
                        problems.append(f"{tensor.name}: {problem}")
    return problems


def match(entries, tensors):
    """Pair the loader's tensors with mmh's; [(entry, tensor or None, names agree, values agree)]."""
    by_name, by_value = defaultdict(list), defaultdict(list)
    for tensor in tensors:
        by_name[tensor.name].append(tensor)
        by_value[tensor.digest, tuple(tensor.shape)].append(tensor)

    def fits(entry, tensor):
        return tensor.dtype in entry.dtypes and tensor.shape == entry.shape

    pairs = []
    for entry in entries:
        named = [tensor for name in entry.names for tensor in by_name.get(name, ()) if fits(entry, tensor)]
        named.sort(key=lambda tensor: tensor.digest != entry.digest)
        alike = [t for t in by_value.get((entry.digest, tuple(entry.shape)), ()) if fits(entry, t)]
        tensor = (named or alike or [None])[0]
        pairs.append((entry, tensor, bool(named), bool(tensor) and tensor.digest == entry.digest))
    return pairs


def explain(pairs, name, remarks, entries):
    """Words about what was not found."""
    words = []
    if not entries:
        return EXPLAINED.get(name, "no tensors")
    whole = sum(entry.bytes for entry in entries)
    missed = [entry for entry, tensor, _, _ in pairs if tensor is None and entry.bytes]
    varints = sum(entry.varints for entry in missed)
    missed = [entry for entry in missed if not entry.varints]
    if varints:
        words.append(f"{varints} lists of varints are no arrays")
    if missed:
        why = EXPLAINED.get(name) or next(iter(remarks), "")
        words.append(why)
        if not why:
            sample = max(missed, key=lambda entry: entry.bytes)
            words.append(f"{len(missed)} not found, as {sample.name}: {sample.dtypes[0]} {sample.shape}")
    other = [(entry, tensor) for entry, tensor, named, _ in pairs if tensor and not named]
    if other:
        entry, tensor = max(other, key=lambda pair: pair[0].bytes)
        words.append(f"{len(other)} by another name, as {tensor.name} for {entry.name}")
    unequal = [entry for entry, tensor, _, equal in pairs if tensor and not equal]
    if unequal and whole:
        words.append(f"{len(unequal)} with other values, as {unequal[0].name}")
    return "; ".join(word for word in words if word)


def check(unit, options, folder):
    """A row of the table for one unit, and its complaints."""
    name = unit.relative_to(corpus_units.CORPUS).as_posix()
    row = {"file": name, "loader": "", "remark": "", "checked": False}
    complaints = []
    load, row["loader"] = oracles.loader_of(unit, corpus_units.CORPUS)
    try:
        entries = list(load(unit))
    except oracles.MissingPackage as missing:
        row["remark"] = f"not checked here: no {missing}"
        return row, complaints
    told = corpus_units.options(unit, folder)
    before = listing(unit, told)
    packed = folder / "x.mmh"
    pack = run("pack", "-v", "-1", "-f", *told, "-o", packed, unit)
    remarks = [line for line in pack.stderr.decode(errors="replace").splitlines() if "opaque" in line]
    tensors = listing(packed)
    if sorted(t.key() for t in before) != sorted(t.key() for t in tensors):
        complaints.append(f"{name}: ls of the container is another than of the original")
    problems = read_values(packed, tensors, float("inf") if options.all else options.most << 20)
    complaints += [f"{name}: {problem}" for problem in problems]
    pairs = match(entries, tensors)
    whole = sum(entry.bytes for entry in entries)

    def share(chosen):
        return 100 * sum(entry.bytes for entry in chosen) / whole if whole else None

    row |= {
        "checked": True,
        "tensors": len(entries),
        "listed": len(tensors),
        "found": sum(tensor is not None for _, tensor, _, _ in pairs),
        "bytes": whole,
        "recognised": share([entry for entry, tensor, _, _ in pairs if tensor]),
        "names": share([entry for entry, _, named, _ in pairs if named]),
        "values": share([entry for entry, _, _, equal in pairs if equal]),
        "remark": explain(pairs, name, remarks, entries),
    }
    if options.verbose:
        for entry, tensor, named, equal in pairs:
            if not (tensor and named and equal):
                print(
                    f"    {entry.name} {entry.dtypes[0]} {entry.shape}: "
                    f"{'no such tensor' if not tensor else f'is {tensor.name}' if not named else 'other values'}"
                )
        for line in pack.stderr.decode(errors="replace").splitlines():
            print(f"    {line}")
    return row, complaints


def percent(value):
    """Rounded down: 100 only if nothing is missing."""
    return "" if value is None else "100" if value == 100 else f"{int(value * 100) / 100:.2f}"


def table(rows):
    lines = [
        "| file | loader | tensors | found | weight bytes | type and shape % | name % | values % | remark |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        cells = [f"{row[key]:,}" if key in row else "" for key in ("tensors", "found", "bytes")]
        cells += [percent(row.get(key)) for key in ("recognised", "names", "values")]
        lines.append("| " + " | ".join([row["file"], row["loader"], *cells, row["remark"].replace("|", "\\|")]) + " |")
    return lines


def summary(rows):
    checked = [row for row in rows if row["checked"]]
    whole = sum(row["bytes"] for row in checked)
    shares = [
        sum(row["bytes"] * (row[key] or 0) / 100 for row in checked) / whole if whole else 0
        for key in ("recognised", "names", "values")
    ]
    versions = {row["loader"]: oracles.version(row["loader"]) for row in checked}
    return [
        f"Of {whole:,} bytes of weights in {len(checked)} models: type and shape {100 * shares[0]:.2f} %,"
        f" name {100 * shares[1]:.2f} %, values {100 * shares[2]:.2f} %."
        + (f" {len(rows) - len(checked)} models were not checked." if len(checked) < len(rows) else ""),
        "",
        "Loaders: " + ", ".join(f"{name} {found}" for name, found in sorted(versions.items()) if found) + ".",
    ]


def write_document(lines, document):
    text = document.read_text() if document.exists() else f"# Model formats\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN, 1)
    document.write_text("\n".join([before + BEGIN, *lines, END]) + rest.split(END, 1)[1])


def save(rows):
    """Keep the figures for bench.py formats."""
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps({row["file"]: row for row in rows if row["checked"]}, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help="parts of paths: these models alone (the document stays as it is)")
    parser.add_argument("--all", action="store_true", help="compare the values of tensors of any size")
    parser.add_argument("--most", type=int, default=64, metavar="MB", help="else up to this size (%(default)s)")
    parser.add_argument("--no-document", action="store_true", help="print only")
    parser.add_argument(
        "--bar",
        type=float,
        metavar="PERCENT",
        help="fail below this share of bytes recognised in any model that is not explained",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="every tensor that is not found or not equal")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if not corpus_units.CORPUS.is_dir():
        raise SystemExit(f"coverage: there is no {corpus_units.CORPUS}: set MMH_SHARED")
    rows, complaints, failed = [], [], 0
    with tempfile.TemporaryDirectory(prefix="mmh-coverage-") as folder:
        for unit in corpus_units.units():
            name = unit.relative_to(corpus_units.CORPUS).as_posix()
            if options.only and not any(part in name for part in options.only):
                continue
            try:
                row, said = check(unit, options, Path(folder))
            except Exception as problem:  # one model is no reason to leave the others unmeasured
                row = {"file": name, "loader": "", "remark": "", "checked": False}
                row["remark"] = f"FAILED: {type(problem).__name__}: {str(problem)[:200]}"
                said, failed = [], failed + 1
            rows.append(row)
            complaints += said
            found = f"{row['found']}/{row['tensors']}" if row["checked"] else "-"
            shares = [percent(row.get(key)) for key in ("recognised", "names", "values")]
            print(
                f"{name[-60:]:60} {row['loader']:12} {found:>11} "
                + " ".join(f"{s:>6}" for s in shares)
                + f"  {row['remark'][:150]}",
                flush=True,
            )
    for complaint in complaints[:50]:
        print(f"coverage: {complaint}", file=sys.stderr)
    lines = summary(rows)
    print("\n" + "\n".join(lines))
    missing = sorted({row["remark"] for row in rows if row["remark"].startswith("not checked")})
    for line in missing:
        print(f"coverage: {line} (tools/deps.sh formats installs the loaders)")
    if not options.only:
        save(rows)
    if not options.only and not options.no_document:
        write_document([*table(rows), "", *lines], DOCUMENT)
        print(f"coverage: {DOCUMENT.relative_to(weights.ROOT)}")
    low = [
        row
        for row in rows
        if options.bar
        and row["checked"]
        and row["recognised"] is not None
        and row["recognised"] < options.bar
        and row["file"] not in EXPLAINED
    ]
    for row in low:
        print(f"coverage: {row['file']}: {percent(row['recognised'])} % found, and nothing says why", file=sys.stderr)
    wrong = [row for row in rows if row["checked"] and "with other values" in row["remark"]]
    return int(bool(failed or low or wrong or complaints))


if __name__ == "__main__":
    sys.exit(main())
