#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The golden files: what this draft of the format wrote comes back, what harms is told by its exit code.

`make golden` writes them (tools/golden.py); golden.json beside them says what each must give.
"""

import hashlib
import json
import os
import re
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent / "cli"), str(Path(__file__).resolve().parents[1] / "tools")]
import golden  # noqa: E402
from harness import LOST, OK, ROOT, UNSUPPORTED, binary, main, mmh, skip  # noqa: E402

KERNELS = ("c", "c,avx2", "")  # what a machine lacks is left out of the list that it is given
HOSTILE_SECONDS, HOSTILE_MEMORY = 10, 64 << 20


def manifest():
    path = golden.folder() / "golden.json"
    assert path.exists(), (
        f"the format is at draft {golden.draft()} and there is no {path.relative_to(ROOT)}: "
        "make golden, and commit what it writes"
    )
    return json.loads(path.read_text())


def readable(path):
    """Whether this build has the hash suite of a container (BLAKE3 is optional)."""
    result = mmh("info", path)
    return not (result.code == UNSUPPORTED and "not in this build" in result.err)


def test_golden_files_are_of_this_draft():
    number = golden.draft()
    assert manifest()["draft"] == number
    others = [path.name for path in golden.GOLDEN.glob("draft-*") if path != golden.folder()]
    assert not others, f"the format is at draft {number}: {others} is of another; make golden removes it"
    said = re.search(r"\*\*draft (\d+)\*\*", (ROOT / "docs/format.md").read_text())
    assert (int(said[1]) if said else 0) == number, "docs/format.md names another draft than container.h"


def test_golden_files_come_back(tmp_path):
    left_out = []
    for name, files in manifest()["good"].items():
        path = golden.folder() / f"{name}.mmh"
        if not readable(path):
            left_out.append(name)
            continue
        for number, kernels in enumerate(KERNELS):
            environment = {"MMH_CPU": kernels} if kernels else {}
            guards = golden.GUARDS.get(name, {})
            options = [f"--key={golden.folder() / guards['key']}.key"] if "key" in guards else []
            if "signer" in guards:
                options.append(f"--signer={golden.folder() / guards['signer']}.pub")
            mmh("verify", "-q", *options, path, code=OK, environment=environment)
            out = tmp_path / f"{name}-{number}"
            out.mkdir()
            mmh("unpack", "-q", *options, path, "-o", f"{out}/", code=OK, environment=environment)
            assert golden.tree(out) == files, f"{path.relative_to(ROOT)} with MMH_CPU={kernels}"
    if left_out:
        skip(f"no BLAKE3 in this build: {', '.join(left_out)} left out")


def test_hostile_files_give_their_exit_codes(tmp_path):
    for name, case in manifest()["hostile"].items():
        path = golden.folder() / "hostile" / f"{name}.mmh"
        out = tmp_path / name
        results = {"verify": mmh("verify", path, peak=True), "unpack": mmh("unpack", path, "-o", out, peak=True)}
        for verb, result in results.items():
            assert result.code == case[verb], f"{name}: {verb} must exit {case[verb]}: {result}"
            assert result.seconds < HOSTILE_SECONDS, f"{name}: {verb} took {result.seconds:.1f} s"
            assert result.peak < HOSTILE_MEMORY or "asan" in binary(), f"{name}: {verb} took {result.peak} bytes"
        if "sha256" in case:
            assert hashlib.sha256(out.read_bytes()).hexdigest() == case["sha256"], name
            out.unlink()
        elif case["unpack"] == OK:  # of no files
            out.rmdir()
        assert not list(tmp_path.iterdir()), f"{name}: unpack left something behind"


def test_damage_counts_more_than_what_is_unknown(tmp_path):
    for name, at, codecs in (("before", 128, (0, 77)), ("behind", 144, (77, 0))):
        packed = bytearray(
            golden.Handmade(
                codec=codecs[0],
                second=b"fedcba9876543210",
                second_codec=codecs[1],
                content=bytes(32),
                chunk_bytes=16,
                references=b"\0\0",
            ).bytes()
        )
        path = tmp_path / f"{name}.mmh"
        path.write_bytes(packed)
        mmh("verify", path, code=UNSUPPORTED)
        packed[at] ^= 1
        path.write_bytes(packed)
        for options in [], ["--quick"]:
            (damage,) = mmh("verify", "--json", *options, path, code=LOST).json()["damage"]
            assert (damage["offset"], damage["bytes"]) == (at - 128, 16)


def test_listing_takes_no_time(tmp_path):
    count, tensors = 400_000, 30_000  # each tensor is all of one chunk, many times
    packed = golden.Handmade(
        data=b"x",
        size=count,
        chunk_bytes=1,
        references=b"\0" + b"\1" * (count - 1),
        tensor_count=tensors,
        tensors=golden.columns(*[golden.Tensor(dtype=0, shape=(count,), size=count)] * tensors),
    ).bytes()
    (tmp_path / "x.mmh").write_bytes(packed)
    result = mmh("ls", tmp_path / "x.mmh", code=OK)
    assert len(result.out.splitlines()) == tensors + 1 and result.seconds < HOSTILE_SECONDS, result.seconds


def test_golden_files_use_the_whole_format():
    program = Path(os.environ.get("MMH_BUILD") or ROOT / "build") / "tests" / "golden_features"
    if not program.exists():
        skip(f"there is no {program}")
    found = set()
    for name in manifest()["good"]:
        path = golden.folder() / f"{name}.mmh"
        if not readable(path):
            skip("no BLAKE3 in this build")
        found |= golden.features(program.parents[1], *golden.with_key(name))
    wanted = golden.features(program.parents[1])
    assert len(wanted) > 40, wanted
    missing = sorted((golden.FEATURES | wanted) - found)
    assert not missing, f"no golden file makes use of: {missing}"


def test_hostile_files_are_those_of_the_generator(tmp_path):
    expected = golden.hostile_files(tmp_path)
    assert manifest()["hostile"] == json.loads(json.dumps(expected)), "make golden, and commit what it writes"
    for name in expected:
        path = golden.folder() / "hostile" / f"{name}.mmh"
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), f"{name} is another than it is made now"


if __name__ == "__main__":
    main(globals())
