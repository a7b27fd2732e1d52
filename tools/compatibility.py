#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which framework gets from a container what it gets from the original, for every model of the shared corpus.

Packs the corpus as one container, asks mmh.frameworks, and writes the table between two marks in
docs/compatibility.md. The exit code is 1 if anything differs.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import corpus_units
import weights

sys.path.insert(0, str(weights.ROOT / "src" / "python"))
import mmh
from mmh import frameworks

KEPT = weights.CACHE / "bench" / "compatibility.json"
DOCUMENT = weights.ROOT / "docs" / "compatibility.md"
BEGIN, END = "<!-- compatibility: begin -->", "<!-- compatibility: end -->"


def ask(only):
    """The report over all models of the corpus in one container."""
    with tempfile.TemporaryDirectory(prefix="mmh-compatibility-") as name:
        folder = Path(name) / "models"
        for unit in corpus_units.units():
            place = folder / unit.relative_to(corpus_units.CORPUS)
            place.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if unit.is_dir() else shutil.copyfile)(unit, place)
        mmh.pack(folder, Path(name) / "models.mmh")
        report = frameworks.verify(Path(name) / "models.mmh", source=folder, frameworks=only).as_json()
    return {**report, "input": "the shared corpus", "original": "the shared corpus"}


def things(count, one):
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def table(report):
    """A row for each kind of model and framework."""
    rows = ["| model | framework | equal, bit for bit | not compared |", "|---|---|---|---|"]
    by_kind = defaultdict(list)
    for framework in report["frameworks"]:
        for kind in sorted({check["kind"] for check in framework["checks"]}):
            by_kind[kind].append((framework, [c for c in framework["checks"] if c["kind"] == kind]))
    for kind in sorted(by_kind):
        for framework, checks in by_kind[kind]:
            equal = [check for check in checks if check["result"] == "equal"]
            tensors, outputs = (sum(check[name] for check in equal) for name in ("tensors", "outputs"))
            said = [things(len(equal), "model")] if equal else []
            said += [things(tensors, "tensor")] if tensors else []
            said += [things(outputs, "output")] if outputs else []
            wrong = [check for check in checks if check["result"] in ("differs", "failed")]
            left = [f"**{c['result'].upper()}** {c['file']}: {c['text']}" for c in wrong]
            for check in checks:
                if check["result"] in ("refused", "unloadable"):
                    how = "refused" if check["result"] == "refused" else "its own loader does not load it"
                    why = check["text"].split(". Please use")[0]
                    left.append(f"{Path(check['file']).name}: {how}: {why}")
                elif check["result"] == "equal" and check["text"]:
                    left.append(f"{Path(check['file']).name}: {check['text']}")
            cell = "; ".join(left).replace("|", "\\|")
            rows.append(f"| {kind} | {framework['name']} {framework['version']} | {', '.join(said)} | {cell} |")
    absent = [framework["name"] for framework in report["frameworks"] if framework["version"] is None]
    if absent:
        rows += ["", f"Not installed where this was made: {', '.join(absent)}."]
    if report["untested"]:
        names = ", ".join(sorted({f"`{name.split('/')[0]}`" for name in report["untested"]}))
        rows += [
            "",
            f"No framework is asked about {names}: `make coverage-formats` holds their tensors against other readers.",
        ]
    return "\n".join(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kept", action="store_true", help="write the table of the last run anew")
    parser.add_argument("--no-write", action="store_true", help="leave the document as it is")
    parser.add_argument("--only", help="frameworks, with commas between; the document stays as it is then")
    options = parser.parse_args()
    if not corpus_units.CORPUS.is_dir():
        print(f"compatibility: there is no {corpus_units.CORPUS}: set MMH_SHARED; nothing was checked")
        return 77
    if options.kept:
        report = json.loads(KEPT.read_text())
    else:
        report = ask(options.only.split(",") if options.only else None)
        if not options.only:
            KEPT.parent.mkdir(parents=True, exist_ok=True)
            KEPT.write_text(json.dumps(report))
    made = table(report)
    print(made)
    if not options.no_write and not options.only:
        text = DOCUMENT.read_text()
        before, after = text.index(BEGIN) + len(BEGIN), text.index(END)
        DOCUMENT.write_text(f"{text[:before]}\n{made}\n{text[after:]}")
    results = [check["result"] for framework in report["frameworks"] for check in framework["checks"]]
    wrong = results.count("differs") + results.count("failed")
    left = results.count("refused") + results.count("unloadable")
    print(f"{results.count('equal')} passed, {wrong} failed, {left} skipped")
    return int(wrong > 0)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main())
