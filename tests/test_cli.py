#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The mmh command as its users meet it: stdout, stderr, exit codes, and what lies in the folder after.

`python3 tests/test_cli.py [NAME...]`, or pytest. MMH_BIN names the command, else build/mmh.
MMH_FLIPS=all damages every byte of a container three times instead of a sample (minutes).
"""

import concurrent.futures
import json
import os
import random
import re
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import (
    DAMAGED,
    INTERRUPTED,
    IO,
    LOST,
    MENDED,
    OK,
    UNSUPPORTED,
    USAGE,
    binary,
    floats,
    main,
    mmh,
    model,
    npy,
    put,
    safetensors,
    tree,
    wait_for_output,
)


def inputs():
    """Small files of every kind that there is a reader for, and some that nothing knows."""
    text = "".join(f"line {i}: the quick brown fox\n" for i in range(500)).encode()
    return {
        "model.safetensors": model(),
        "array.npy": npy("<f4", (16, 64), floats(1024, 4, "F32")),
        "fortran.npy": npy(">f8", (8, 16), struct.pack(">128d", *(i / 7 for i in range(128))), True),
        "notes.txt": text,
        "noise.bin": random.Random(5).randbytes(5000),
        "zeros.bin": bytes(70000),
        "one.bin": b"x",
        "empty.bin": b"",
        "cut.safetensors": model()[:-7],
        "huge-header.safetensors": struct.pack("<Q", 1 << 62) + b"{}",
    }


# ---- round trips ----


def test_every_file_comes_back_at_every_level(tmp_path):
    for name, data in inputs().items():
        source = put(tmp_path, name, data)
        for level in range(1, 10) if name == "model.safetensors" else (1, 5, 9):
            packed, restored = tmp_path / "x.mmh", tmp_path / "restored"
            result = mmh("pack", f"-{level}", "-f", source, "-o", packed, code=OK)
            assert result.out == "" and result.err.startswith(f"{packed}: ")
            mmh("verify", packed, code=OK)
            mmh("verify", "--quick", packed, code=OK)
            mmh("unpack", "-f", packed, "-o", restored, code=OK)
            assert restored.read_bytes() == data, (name, level)
            assert source.read_bytes() == data


def test_threads_and_runs_write_the_same_bytes(tmp_path):
    source = put(tmp_path, "m.safetensors", model(20))
    containers = []
    for threads in (1, 2, 7):
        mmh("pack", f"-T{threads}", source, "-o", tmp_path / f"{threads}.mmh", code=OK)
        containers.append((tmp_path / f"{threads}.mmh").read_bytes())
    assert containers[0] == containers[1] == containers[2]


def test_sha256_suite(tmp_path):
    source = put(tmp_path, "m.safetensors", model())
    mmh("pack", "--hash=sha256", source, code=OK)
    assert mmh("info", "--json", f"{source}.mmh", code=OK).json()["hash"] == "sha256"
    mmh("verify", f"{source}.mmh", code=OK)
    mmh("unpack", f"{source}.mmh", "-o", tmp_path / "r", code=OK)
    assert (tmp_path / "r").read_bytes() == source.read_bytes()


def test_raw_arrays(tmp_path):
    data = floats(4096)
    source = put(tmp_path, "w.bin", data)
    mmh("pack", "--dtype=bf16", "--shape=64,64", source, code=OK)
    (tensor,) = mmh("ls", "--json", f"{source}.mmh", code=OK).json()["tensors"]
    assert (tensor["dtype"], tensor["shape"], tensor["bytes"]) == ("BF16", [64, 64], 8192)
    assert tensor["stored_bytes"] < 0.8 * len(data)
    mmh("unpack", f"{source}.mmh", "-o", tmp_path / "r", code=OK)
    assert (tmp_path / "r").read_bytes() == data


def test_folder_with_modes_and_symlinks(tmp_path):
    folder = tmp_path / "model"
    put(folder, "config.json", b'{"a": 1}\n')
    put(folder, "weights/model.safetensors", model()).chmod(0o640)
    put(folder, "run.sh", b"#!/bin/sh\n").chmod(0o755)
    put(folder, "sub/deep/empty", b"")
    (folder / "void").mkdir(mode=0o750)
    (folder / "link").symlink_to("weights/model.safetensors")
    (folder / "sub/up").symlink_to("../config.json")
    before = tree(folder)
    mmh("pack", f"{folder}/", code=OK)
    assert (tmp_path / "model.mmh").exists() and tree(folder) == before
    folder.rename(tmp_path / "original")
    mmh("unpack", "model.mmh", cwd=tmp_path, code=OK)
    assert tree(folder) == before
    mmh("unpack", tmp_path / "model.mmh", "-o", tmp_path / "elsewhere", code=OK)
    assert tree(tmp_path / "elsewhere") == before
    assert "4 files, 5 folders, 2 symlinks, 6 tensors" in mmh("info", tmp_path / "model.mmh").out
    result = mmh("unpack", tmp_path / "model.mmh", "-o", tmp_path / "elsewhere", code=USAGE)
    assert "exists" in result.err and tree(tmp_path / "elsewhere") == before
    mmh("unpack", "-f", tmp_path / "model.mmh", "-o", tmp_path / "elsewhere", code=OK)
    assert tree(tmp_path / "elsewhere") == before


def test_current_folder_is_named_after_itself(tmp_path):
    folder = tmp_path / "llama"
    put(folder, "a", b"1")
    mmh("pack", ".", cwd=folder, code=OK)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["llama", "llama.mmh"]


def test_several_files_in_one_container(tmp_path):
    a, b = put(tmp_path, "a.npy", inputs()["array.npy"]), put(tmp_path, "b.txt", b"text\n" * 99)
    mmh("pack", a, b, "-o", tmp_path / "both.mmh", code=OK)
    mmh("unpack", tmp_path / "both.mmh", "-o", tmp_path / "out", code=OK)
    assert (tmp_path / "out/a.npy").read_bytes() == a.read_bytes()
    assert (tmp_path / "out/b.txt").read_bytes() == b.read_bytes()
    names = {a.name: a.read_bytes(), b.name: b.read_bytes()}
    a.unlink()
    b.unlink()
    mmh("unpack", tmp_path / "both.mmh", code=OK)  # beside the container
    assert {n: (tmp_path / n).read_bytes() for n in names} == names


def test_shard_index_brings_its_shards(tmp_path):
    first = put(tmp_path, "m-1.safetensors", model())
    second = put(tmp_path, "m-2.safetensors", safetensors({"w": ("F32", (64,), floats(64, 6, "F32"))}))
    index = put(
        tmp_path,
        "m.safetensors.index.json",
        json.dumps({"weight_map": {"embed.weight": first.name, "w": second.name}}).encode(),
    )
    result = mmh("pack", index, "-o", tmp_path / "m.mmh", code=OK)
    assert "is packed with the 2 files that it refers to" in result.err
    mmh("unpack", tmp_path / "m.mmh", "-o", f"{tmp_path}/out/", code=OK)
    assert mmh("verify", tmp_path / "m.mmh", code=OK).out.startswith(f"{tmp_path}/m.mmh: ok, 3 entries, ")
    for path in (first, second, index):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    lone = put(tmp_path, "lone.safetensors.index.json", json.dumps({"weight_map": {"w": second.name}}).encode())
    assert "is packed with the 1 file that it refers to" in mmh("pack", lone, "-o", tmp_path / "1.mmh", code=OK).err
    mmh("pack", "--alone", index, "-o", tmp_path / "alone.mmh", code=OK)
    assert mmh("info", "--json", tmp_path / "alone.mmh").json()["files"] == 1


def test_through_pipes(tmp_path):
    data = model()
    packed = mmh("pack", "-1", "-", stdin=data, code=OK).raw
    assert mmh("unpack", "-", stdin=packed, code=OK).raw == data
    path = put(tmp_path, "p.mmh", packed)
    assert mmh("unpack", "-c", path, code=OK).raw == data
    assert mmh("-dc", path, code=OK).raw == data
    mmh("verify", "-", stdin=packed, code=OK)
    source = put(tmp_path, "m.safetensors", data)
    assert mmh("pack", "-c", source, code=OK).raw == mmh("pack", source, "-o", "-", code=OK).raw
    mmh("pack", "-", "-o", tmp_path / "s.mmh", stdin=data, code=OK)
    mmh("unpack", "-o", tmp_path / "s", "-", stdin=(tmp_path / "s.mmh").read_bytes(), code=OK)
    assert (tmp_path / "s").read_bytes() == data
    assert USAGE == mmh("pack", "-c", "--json", source).code == mmh("unpack", "-c", "--json", path).code


# ---- names ----


def test_one_container_for_each_input(tmp_path):
    a, b = put(tmp_path, "a.bin", b"a" * 100), put(tmp_path, "sub/b.bin", b"b" * 100)
    mmh("pack", "a.bin", "sub/b.bin", cwd=tmp_path, code=OK)
    assert (tmp_path / "a.bin.mmh").exists() and (tmp_path / "sub/b.bin.mmh").exists()
    mmh("pack", a, b, "-o", f"{tmp_path}/out/", code=OK)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.bin.mmh", "b.bin.mmh"]


def test_unpack_destination(tmp_path):
    source = put(tmp_path, "in/m.bin", b"m" * 1000)
    mmh("pack", source, code=OK)
    packed = tmp_path / "in/m.bin.mmh"
    mmh("unpack", packed, "-o", tmp_path / "new name", code=OK)  # the file's new name
    assert (tmp_path / "new name").read_bytes() == source.read_bytes()
    mmh("unpack", packed, "-o", f"{tmp_path}/made/", code=OK)  # ends in /
    assert (tmp_path / "made/m.bin").read_bytes() == source.read_bytes()
    (tmp_path / "there").mkdir()
    mmh("unpack", packed, "-o", tmp_path / "there", code=OK)  # exists as a folder
    assert (tmp_path / "there/m.bin").read_bytes() == source.read_bytes()
    data = source.read_bytes()
    source.unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    mmh("unpack", packed, cwd=elsewhere, code=OK)  # beside the container, wherever we are
    assert source.read_bytes() == data and not list(elsewhere.iterdir())
    packed.rename(tmp_path / "renamed.mmh")  # under the stored name, whatever it is called now
    mmh("unpack", "renamed.mmh", cwd=tmp_path, code=OK)
    assert (tmp_path / "m.bin").read_bytes() == data
    result = mmh("unpack", tmp_path / "renamed.mmh", tmp_path / "renamed.mmh", "-o", tmp_path / "no", code=USAGE)
    assert "several containers need a folder" in result.err


def test_nothing_is_overwritten_without_force(tmp_path):
    source = put(tmp_path, "m.bin", b"m" * 1000)
    other = put(tmp_path, "m.bin.mmh", b"precious")
    result = mmh("pack", "m.bin", cwd=tmp_path, code=USAGE)
    assert result.err == ('mmh: error: "m.bin.mmh" exists\nmmh: hint: -f replaces it, -o names another\n')
    assert other.read_bytes() == b"precious"
    mmh("pack", "-f", "m.bin", cwd=tmp_path, code=OK)
    source.write_bytes(b"changed")
    result = mmh("unpack", "m.bin.mmh", cwd=tmp_path, code=USAGE)
    assert result.err == ('mmh: error: "m.bin" exists\nmmh: hint: -f replaces it, -o names another\n')
    assert source.read_bytes() == b"changed"
    mmh("-df", "m.bin.mmh", cwd=tmp_path, code=OK)
    assert source.read_bytes() == b"m" * 1000
    result = mmh("pack", "-f", "m.bin", "-o", "m.bin", cwd=tmp_path, code=USAGE)
    assert "is input and output" in result.err and source.read_bytes() == b"m" * 1000
    mmh("unpack", "-o", "sub/", "m.bin.mmh", cwd=tmp_path, code=OK)
    assert "exists" in mmh("unpack", "-o", "sub", "m.bin.mmh", cwd=tmp_path, code=USAGE).err


def test_container_that_holds_its_own_name(tmp_path):
    put(tmp_path, "x.mmh", b"not really a container")
    mmh("pack", "x.mmh", "-o", "y.mmh", cwd=tmp_path, code=OK)
    (tmp_path / "y.mmh").rename(tmp_path / "x.mmh")
    before = (tmp_path / "x.mmh").read_bytes()
    mmh("unpack", "-f", "x.mmh", cwd=tmp_path, code=USAGE)
    assert (tmp_path / "x.mmh").read_bytes() == before


def test_names_that_look_like_options(tmp_path):
    put(tmp_path, "-9", b"nine")
    mmh("pack", "--", "-9", cwd=tmp_path, code=OK)
    assert (tmp_path / "-9.mmh").exists()
    (tmp_path / "-9").unlink()
    mmh("unpack", "--", "-9.mmh", cwd=tmp_path, code=OK)
    assert (tmp_path / "-9").read_bytes() == b"nine"


def test_names_that_are_no_utf8(tmp_path):
    name = os.fsdecode(b"bad\xff\x1b[31mname")
    put(tmp_path, name, b"data" * 50)
    result = mmh("pack", name, cwd=tmp_path, code=OK)
    assert "\x1b" not in result.err
    (tmp_path / name).unlink()
    mmh("unpack", name + ".mmh", cwd=tmp_path, code=OK)
    assert (tmp_path / name).read_bytes() == b"data" * 50
    assert "\x1b" not in mmh("ls", "-l", name + ".mmh", cwd=tmp_path, code=OK).out
    mmh("ls", "--json", name + ".mmh", cwd=tmp_path, code=OK).json()


# ---- messages ----


def test_usage_errors_say_what_helps(tmp_path):
    put(tmp_path, "m.bin", b"m")
    for arguments, message, hint in [
        (["pakc", "m.bin"], 'there is no verb "pakc"', 'did you mean "mmh pack"?'),
        (["m.bin"], 'there is no verb "m.bin"', "mmh pack m.bin, or unpack, verify, info, ls, bench"),
        (["--pack", "m.bin"], 'there is no option "--pack"', None),
        (["-pack", "m.bin"], 'there is no option "-pack"', "verbs have no dash: mmh pack"),
        (["pack", "--jsno", "m.bin"], 'there is no option "--jsno"', 'did you mean "--json"?'),
        (["pack", "-z", "m.bin"], 'there is no option "-z"', None),
        (["pack", "-0", "m.bin"], 'there is no level "0"', "levels are -1 (fastest) to -9 (smallest)"),
        (["pack", "-19", "m.bin"], 'there is no level "19"', None),
        (["pack", "--level=x", "m.bin"], 'there is no level "x"', None),
        (["pack", "-T", "m.bin"], '"m.bin" is no number of threads', None),
        (["pack", "-T99999", "m.bin"], '"99999" is no number of threads', None),
        (["pack", "--quick", "m.bin"], '"mmh pack" takes no --quick', '"mmh help pack" lists its options'),
        (["unpack", "-5", "m.bin"], '"mmh unpack" takes no level', None),
        (["pack", "--json=1", "m.bin"], "--json takes no value", None),
        (["pack", "m.bin", "-o"], "-o needs a value: PATH", None),
        (["pack", "m.bin", "-o", ""], "-o needs a path, and this one is empty", None),
        (["pack", "--dtype=bf61", "m.bin"], 'no element type is called "bf61"', 'did you mean "bf16"?'),
        (["pack", "--dtype=f32", "--shape=3,x", "m.bin"], '"3,x" is no shape', None),
        (["pack", "--shape=3", "m.bin"], "--shape needs --dtype", None),
        (["pack", "--hash=md5", "m.bin"], 'no hash is called "md5"', "--hash=blake3, --hash=sha256 or --hash=sha384"),
        (["verify"], '"mmh verify" needs a file', "mmh verify X.mmh..."),
        (["verify", "m.bin"], '"m.bin" is no mmh container', '"mmh pack m.bin" makes one of it'),
        (["info", "m.bin"], '"m.bin" is no mmh container', None),
        (["unpack", "m.bin"], '"m.bin" is no mmh container', None),
    ]:
        result = mmh(*arguments, cwd=tmp_path, code=USAGE)
        lines = result.err.splitlines()
        assert result.out == "" and lines[0] == f"mmh: error: {message}", result
        assert hint is None or lines[1] == f"mmh: hint: {hint}", result
    result = mmh(code=USAGE)
    assert result.out == "" and "usage: mmh VERB" in result.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.bin"]


def test_files_that_are_not_there(tmp_path):
    for verb in ("pack", "unpack", "verify", "info", "ls", "cat", "diff", "bench"):
        result = mmh(verb, *["nothing.mmh"] * (2 if verb == "diff" else 1), cwd=tmp_path, code=IO)
        assert result.err.startswith("mmh: error: ") and "nothing.mmh" in result.err, result
    assert not list(tmp_path.iterdir())


def test_help_and_version():
    assert mmh("--version", code=OK).out.startswith("mmh 3.")
    top = mmh("--help", code=OK)
    assert top.err == "" and top.out == mmh("help", code=OK).out == mmh("-h", code=OK).out
    for verb in ("pack", "unpack", "verify", "info", "ls", "cat", "diff", "bench"):
        assert f"  {verb} " in top.out
        result = mmh("help", verb, code=OK)
        assert result.out == mmh(verb, "--help", code=OK).out and f"usage: mmh {verb} " in result.out
        assert all(len(line) <= 100 for line in result.out.splitlines())


def test_quiet_and_verbose(tmp_path):
    source = put(tmp_path, "m.safetensors", model())
    assert mmh("pack", "-q", source, code=OK).err == ""
    assert mmh("verify", "-q", f"{source}.mmh", code=OK).out == ""
    assert mmh("unpack", "-qf", f"{source}.mmh", code=OK).err == ""
    for verb, words in (("pack", ("encode", "check", "sync")), ("unpack", ("decode", "write"))):
        result = mmh(verb, "-vf", source if verb == "pack" else f"{source}.mmh", code=OK)
        assert all(word in result.err for word in (*words, "read", "hash", "wall")), result


def test_one_bad_input_does_not_stop_the_others(tmp_path):
    put(tmp_path, "a.bin", b"a")
    put(tmp_path, "c.bin", b"c")
    assert mmh("pack", "a.bin", "b.bin", "c.bin", cwd=tmp_path, code=IO).err.count("mmh: error") == 1
    assert (tmp_path / "a.bin.mmh").exists() and (tmp_path / "c.bin.mmh").exists()
    put(tmp_path, "bad.mmh", b"\x89MMH\r\n\x1a\n" + bytes(500))
    result = mmh("verify", "bad.mmh", "a.bin.mmh", "b.mmh", cwd=tmp_path, code=LOST)
    assert result.out.startswith("a.bin.mmh: ok, 1 chunk, 1 B, ")


def test_full_disk_is_told(tmp_path):
    if not os.path.exists("/dev/full"):
        return
    source = put(tmp_path, "m.bin", b"m" * 1000)
    mmh("pack", source, code=OK)
    for arguments in (["ls", f"{source}.mmh"], ["--help"], ["unpack", "-c", f"{source}.mmh"], ["pack", "-c", source]):
        with open("/dev/full", "w") as full:
            result = subprocess.run([binary(), *map(str, arguments)], check=False, stdout=full, stderr=subprocess.PIPE)
        assert result.returncode == IO and b"No space left" in result.stderr, (arguments, result)


def test_reader_that_goes_away(tmp_path):
    source = put(tmp_path, "m.safetensors", safetensors({f"tensor.{i}": ("F32", (1,), b"1234") for i in range(5000)}))
    mmh("pack", source, code=OK)
    process = subprocess.Popen([binary(), "ls", f"{source}.mmh"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == -signal.SIGPIPE


# ---- results ----


def test_info_shows_where_the_bytes_are(tmp_path):
    source = put(tmp_path, "m.safetensors", model(10))
    mmh("pack", source, code=OK)
    out = mmh("info", f"{source}.mmh", code=OK).out
    for word in (
        "entropy floor",
        "1 file, 6 tensors",
        "format 3.0, level 5, blake3",
        "root ",
        "BF16",
        "F32",
        "opaque",
        "index, twice",
        "container",
        "codec",
    ):
        assert word in out, out
    info = mmh("info", "--json", f"{source}.mmh", code=OK).json()
    size = Path(f"{source}.mmh").stat().st_size
    assert info["stored_bytes"] == size and info["original_bytes"] == source.stat().st_size
    assert abs(info["ratio"] - size / source.stat().st_size) < 1e-6
    assert len(info["root"]) == 64 and info["status"] == "ok" and info["exit"] == 0
    assert sum(row["original_bytes"] for row in info["by_dtype"]) == info["original_bytes"]
    assert {"BF16", "F32"} <= {row["name"] for row in info["by_dtype"]}


def test_info_counts_by_the_types_of_tensors(tmp_path):
    """However small they are: blocks of many small tensors and headers have no type of their own."""
    small = {f"i{i}": ("I64", [4], bytes(range(32))) for i in range(20)}
    small |= {f"f{i}": ("F32", [9], floats(9, i, "F32")) for i in range(30)}
    source = put(tmp_path, "m.safetensors", safetensors({"w": ("BF16", [64, 64], floats(4096)), **small}))
    mmh("pack", source, code=OK)
    info = mmh("info", "--json", f"{source}.mmh", code=OK).json()
    rows = {row["name"]: row for row in info["by_dtype"]}
    assert rows["I64"]["original_bytes"] == 20 * 32 and rows["F32"]["original_bytes"] == 30 * 36
    assert rows["BF16"]["original_bytes"] == 8192
    assert rows["OPAQUE"]["original_bytes"] == source.stat().st_size - 8192 - 20 * 32 - 30 * 36
    for key in ("original_bytes", "stored_bytes"):
        assert sum(row[key] for row in info["by_dtype"]) == sum(row[key] for row in info["by_codec"]), key
    assert sum(row.get("floor_bytes", 0) for row in info["by_dtype"]) == info["floor_bytes"]


def test_what_is_odd_about_a_file_is_told(tmp_path):
    """By ls -v of the original and by pack -v, and counted where it is not told."""
    tensors = {f"t{i}": ("F32", [3], floats(2, i, "F32")) for i in range(20)}
    source = put(tmp_path, "odd.safetensors", safetensors({"good": ("F32", [2], floats(2, 1, "F32")), **tensors}))
    listed = mmh("ls", "-v", source, code=OK).out
    assert listed.count('odd.safetensors: tensor "t') == 16 and "odd.safetensors: ... and 4 more" in listed
    assert "odd.safetensors:" not in mmh("ls", source, code=OK).out
    file = mmh("ls", "--json", source, code=OK).json()["files"][0]
    assert len(file["remarks"]) == 16 and file["remark_count"] == 20
    assert all("kept as plain bytes" in text for text in file["remarks"])
    packed = mmh("pack", "-v", "--json", source, code=OK)
    assert packed.err.count('odd.safetensors: tensor "t') == 16 and "odd.safetensors: ... and 4 more" in packed.err
    assert packed.json()["remark_count"] == 20
    assert "plain bytes" not in mmh("pack", "-f", source, code=OK).err
    file = mmh("ls", "--json", "-v", f"{source}.mmh", code=OK).json()["files"][0]
    assert file["remarks"] == [] and file["remark_count"] == 0


def test_ls_lists_tensors_and_files(tmp_path):
    source = put(tmp_path, "m.safetensors", model())
    mmh("pack", source, code=OK)
    out = mmh("ls", f"{source}.mmh", code=OK).out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert rows["tensor"] == ["type", "shape", "bytes", "stored", "ratio"]
    assert rows["embed.weight"][:5] == ["BF16", "[64,", "32]", "4.10", "kB"]
    assert rows["scalar"][:2] == ["F32", "[]"] and rows["empty"][:3] == ["F32", "[0,", "4]"]
    assert "safetensors" in mmh("ls", "-l", f"{source}.mmh", code=OK).out
    assert mmh("-l", f"{source}.mmh", code=OK).out == out
    listed = mmh("ls", "--json", f"{source}.mmh", code=OK).json()
    assert {t["name"]: t["shape"] for t in listed["tensors"]} == {
        "embed.weight": [64, 32],
        "layer.0.weight": [32, 32],
        "layer.0.scale": [32],
        "ids": [16],
        "empty": [0, 4],
        "scalar": [],
    }
    (file,) = listed["files"]
    assert (file["name"], file["kind"], file["format"]) == ("m.safetensors", "file", "safetensors")
    assert sorted(file["metadata"]) == [["format", "pt"], ["note", 'a "quoted" \u00fc']]
    text = put(tmp_path, "t.txt", b"text")  # nothing but files to list
    mmh("pack", text, code=OK)
    assert mmh("ls", f"{text}.mmh", code=OK).out.splitlines()[0].startswith("kind")


def test_names_do_no_harm_in_a_terminal(tmp_path):
    source = put(
        tmp_path,
        "m.safetensors",
        safetensors({"\x1b]0;owned\x07\u202e\nname": ("F32", (1,), b"1234"), "\u00fc\u4e2d": ("F32", (1,), b"1234")}),
    )
    mmh("pack", source, code=OK)
    out = mmh("ls", f"{source}.mmh", code=OK).out
    assert "\x1b" not in out and "\x07" not in out and "\u202e" not in out
    assert r"\x1b]0;owned\x07\u{202e}\nname" in out and "\u00fc\u4e2d" in out
    names = [t["name"] for t in mmh("ls", "--json", f"{source}.mmh").json()["tensors"]]
    assert names == ["\x1b]0;owned\x07\u202e\nname", "\u00fc\u4e2d"]


def test_json_keys_are_stable(tmp_path):
    source = put(tmp_path, "m.safetensors", model())
    head = {"verb", "input", "status", "exit"}
    sizes = {"original_bytes", "stored_bytes"}
    packed = mmh("pack", "--json", source, code=OK).json()
    assert set(packed) == head | sizes | {
        "output",
        "level",
        "floor_bytes",
        "ratio",
        "files",
        "tensors",
        "chunks",
        "shared_chunks",
        "shared_bytes",
        "followed_links",
        "odd_names",
        "remark_count",
        "root",
        "recipients",
        "signatures",
        "parity_bytes",
        "ns",
    }
    times = {"read", "plan", "encode", "check", "hash", "write", "sync", "seal", "sign", "parity", "wall"}
    assert set(packed["ns"]) == times
    assert (packed["verb"], packed["status"], packed["exit"]) == ("pack", "ok", 0)
    verified = mmh("verify", "--json", packed["output"], code=OK).json()
    assert set(verified) == head | sizes | {
        "mended",
        "files",
        "chunks",
        "damaged_chunks",
        "damaged_bytes",
        "damage",
        "damage_cut",
        "layers",
        "ns",
    }
    assert (verified["mended"], verified["damaged_chunks"], verified["damage"]) == ([], 0, [])
    unpacked = mmh("unpack", "--json", "-f", packed["output"], code=OK).json()
    assert set(unpacked) == head | sizes | {"output", "mended", "mended_chunks", "files", "chunks", "ns"}
    assert unpacked["output"] == str(source)
    info = mmh("info", "--json", packed["output"], code=OK).json()
    assert set(info) == head | sizes | {
        "mended",
        "format",
        "writer",
        "level",
        "hash",
        "root",
        "index_bytes",
        "floor_bytes",
        "ratio",
        "files",
        "tensors",
        "blocks",
        "chunks",
        "by_dtype",
        "by_codec",
        "locked",
        "encryption",
        "signatures",
        "parity",
    }
    listed = mmh("ls", "--json", packed["output"], code=OK).json()
    assert set(listed) == head | {"files", "tensors"}
    assert set(listed["files"][0]) == {
        "name",
        "kind",
        "mode",
        "bytes",
        "stored_bytes",
        "format",
        "digest",
        "tensors",
        "metadata",
        "remarks",
        "remark_count",
    }
    assert set(listed["tensors"][0]) == {
        "name",
        "file",
        "dtype",
        "shape",
        "big_endian",
        "column_major",
        "offset",
        "bytes",
        "stored_bytes",
    }
    bench = mmh("bench", "--json", "-1", source, code=OK).json()
    assert set(bench) == head | {"original_bytes", "files", "tensors", "levels"}
    assert set(bench["levels"][0]) == {
        "level",
        "stored_bytes",
        "floor_bytes",
        "ratio",
        "pack_ns",
        "unpack_ns",
        "verify_ns",
    }
    failures = mmh("verify", "--json", "nothing.mmh", packed["output"], code=IO).json()
    assert [line["status"] for line in failures] == ["io", "ok"] and failures[0]["exit"] == IO
    refused = mmh("pack", "--json", source, code=USAGE).json()
    assert set(refused) == head | {"message"} and refused["status"] == "usage"


def test_bench_tries_levels_and_leaves_nothing(tmp_path):
    folder = tmp_path / "in"
    put(folder, "m.safetensors", model())
    put(folder, "sub/notes.txt", b"text " * 500)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for source in (folder, folder / "m.safetensors"):
        result = mmh("bench", "-1", "-9", source, environment={"TMPDIR": str(scratch)}, code=OK)
        assert [line.split()[0] for line in result.out.splitlines()[2:]] == ["1", "9", "floor"], result
        assert not list(scratch.iterdir())
    text = mmh("bench", "-1", folder / "sub/notes.txt", code=OK).out
    assert "floor" not in text and "0 tensors" in text  # nothing is known of bytes of no type


# ---- damage ----


def flips(size, regions):
    """(offset, mask) to try: all bytes of small regions, a sample of the rest; with MMH_FLIPS=all, everything."""
    if os.environ.get("MMH_FLIPS") == "all":
        return [(offset, mask) for offset in range(size) for mask in (0x01, 0x80, 0xFF)]
    source = random.Random(7)
    chosen = {offset for begin, end in regions for offset in range(begin, end)}
    chosen |= set(source.sample(range(size), min(size, 300)))
    return [(offset, source.choice((0x01, 0x80, 0xFF))) for offset in sorted(chosen)]


def assert_harmless(folder, packed, originals, what):
    """verify reports the damage, and unpack gives everything or nothing. Returns verify's exit code."""
    verified = mmh("verify", packed)
    out = folder / "out"
    unpacked = mmh("unpack", packed, "-o", f"{out}/")
    if unpacked.code in (OK, MENDED):
        assert {n: entry[2] for n, entry in tree(out).items()} == originals, (what, unpacked)
        for path in out.iterdir():
            path.unlink()
        out.rmdir()
    else:
        assert unpacked.code in (LOST, UNSUPPORTED), (what, unpacked)
        assert not out.exists() and unpacked.err.startswith("mmh: error: "), (what, unpacked)
    if verified.code == OK:
        assert unpacked.code == OK, (what, verified, unpacked)
    else:
        assert verified.code in (DAMAGED, LOST, UNSUPPORTED), (what, verified)
        assert verified.err.startswith("mmh: error: "), (what, verified)
        assert (verified.code == DAMAGED) == (unpacked.code in (OK, MENDED)), (what, verified, unpacked)
        if unpacked.code == MENDED:
            assert "restored exactly" in unpacked.err, (what, unpacked)
    return verified.code


def small_container(folder):
    originals = {"m.safetensors": model(), "notes.txt": b"some text, some text\n" * 40}
    paths = [put(folder, name, data) for name, data in originals.items()]
    packed = folder / "m.mmh"
    mmh("pack", *paths, "-o", packed, code=OK)
    return packed, originals


def test_flipped_bits_never_pass(tmp_path):
    packed, originals = small_container(tmp_path)
    good = packed.read_bytes()

    def code_of(flip):
        offset, mask = flip
        damaged = bytearray(good)
        damaged[offset] ^= mask
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            return offset, assert_harmless(
                Path(folder), put(folder, "d.mmh", damaged), originals, f"byte {offset} ^ {mask:#x}"
            )

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(code_of, flips(len(good), [(0, 128), (len(good) - 256, len(good))])))
    seen = {code for _, code in results}
    harmless = {offset for offset, code in results if code == OK}
    assert {DAMAGED, LOST} <= seen
    assert not harmless, harmless  # padding too, which no hash covers


def test_damage_is_told_apart(tmp_path):
    packed, originals = small_container(tmp_path)
    good = packed.read_bytes()
    spoiled = bytearray(good)
    spoiled[3] ^= 1  # the header has a copy in the footer
    path = put(tmp_path, "header.mmh", spoiled)
    result = mmh("verify", "--json", path, code=DAMAGED)
    assert result.json()["mended"] == ["header"] and result.json()["status"] == "corrupt"
    assert result.err.splitlines()[1].startswith('mmh: hint: "mmh repair" restores it; "mmh unpack"')
    result = mmh("unpack", "--json", path, "-o", f"{tmp_path}/a/", code=MENDED)
    assert result.json()["exit"] == MENDED and result.json()["mended"] == ["header"]
    assert result.err.startswith(f"mmh: warning: {path} is damaged (header); everything was restored exactly\n")
    assert result.err.count("warning") == 1
    assert mmh("info", path, code=MENDED).out and mmh("ls", path, code=MENDED).out
    spoiled = bytearray(good)
    spoiled[128] ^= 1  # the first chunk has none
    path = put(tmp_path, "chunk.mmh", spoiled)
    result = mmh("verify", "--json", path, code=LOST)
    assert result.json()["status"] == "corrupt" and result.json()["mended"] == []
    result = mmh("unpack", path, "-o", f"{tmp_path}/b/", code=LOST)
    assert result.err.splitlines()[1].startswith("mmh: hint: fetch or copy it again")
    assert not (tmp_path / "b").exists()
    mmh("unpack", "-c", path)
    mmh("ls", path, code=OK)  # no chunk is read for that
    del originals


def test_all_damage_is_listed_with_its_tensors(tmp_path):
    shape = [64, 16384]  # of 2 MB in bf16: chunks of their own
    source = put(
        tmp_path,
        "m.safetensors",
        safetensors({f"layer.{i}": ("BF16", shape, floats(shape[0] * shape[1], i)) for i in range(6)}),
    )
    mmh("pack", "-1", source, code=OK)
    spoiled = bytearray((tmp_path / "m.safetensors.mmh").read_bytes())
    for part in (0.05, 0.45, 0.95):
        spoiled[int(part * len(spoiled))] ^= 4
    path = put(tmp_path, "d.mmh", spoiled)
    result = mmh("verify", "--json", path, code=LOST).json()
    listed = [name for one in result["damage"] for name in one["tensors"]]
    assert listed == ["layer.0", "layer.2", "layer.5"]
    assert {one["file"] for one in result["damage"]} == {"m.safetensors"}
    assert sum(one["bytes"] for one in result["damage"]) == result["damaged_bytes"] < result["original_bytes"] / 2
    assert result["damaged_chunks"] == 3 == len(result["damage"])
    text = mmh("verify", path, code=LOST)
    assert text.out == "" and text.err.startswith(f'mmh: error: {path}: "layer.0": chunk ')
    assert "\n  damaged: 3 chunks, " in text.err and text.err.count('  "m.safetensors", ') == 3
    assert all(f'"{name}"' in text.err for name in listed) and '"layer.1"' not in text.err
    hints = [line for line in text.err.splitlines() if line.startswith("mmh: hint: ")]
    assert len(hints) == 2 and "mmh repair --source=PATH" in hints[0] and "unpack --skip-damaged" in hints[1], text.err
    assert text.err.count(" bytes at offset ") == 3 and ': tensor "layer.2"\n' in text.err
    quiet = mmh("verify", "-q", path, code=LOST).err
    assert quiet == "".join(text.err.splitlines(True)[:2])
    assert mmh("verify", "--quick", "--json", path, code=LOST).json()["damage"] == result["damage"]
    # One that was opened is a container, whatever it is called and however it begins.
    spoiled[0] ^= 1
    assert mmh("verify", "-", stdin=bytes(spoiled), code=LOST).err.startswith('mmh: error: standard input: "layer.0": ')


def test_the_list_of_damage_is_bounded(tmp_path):
    """20 damaged places in a tensor whose name has 1 MiB; more than 10,000 tensors that are hit."""
    content = b"".join(bytes([7 * (i % 2)]) * (1 << 18) for i in range(40))
    one = put(tmp_path, "one.safetensors", safetensors({"n" * (1 << 20): ("U8", [len(content)], content)}))
    tiny = {f"t{i:05}": ("U8", [16], floats(8, i)) for i in range(24000)}
    many = put(tmp_path, "many.safetensors", safetensors(tiny))
    for source in one, many:
        mmh("pack", "-1", source, code=OK)
        packed = Path(f"{source}.mmh")
        spoiled = bytearray(packed.read_bytes())
        one_seven = spoiled.find(bytes(7) + b"\7") + 7
        for at in [one_seven] if source == one else range(128, len(spoiled) // 2, 4096):
            spoiled[at] ^= 1
        packed.write_bytes(spoiled)
    result = mmh("verify", "--json", f"{one}.mmh", code=LOST, peak=True)
    listed = result.json()
    assert listed["damage_cut"] and listed["damaged_chunks"] == 20 and len(result.out) < 8 << 20
    assert result.peak < 64 << 20 or "asan" in binary()
    assert len(mmh("verify", f"{one}.mmh", code=LOST).err) < 5000
    listed = mmh("verify", "--json", f"{many}.mmh", code=LOST).json()
    hit = sum(len(one["tensors"]) for one in listed["damage"])
    assert listed["damage_cut"] and hit + len(listed["damage"]) == 10000
    text = mmh("verify", f"{many}.mmh", code=LOST).err
    told = re.search(r"and (\d+) more\n", text)
    assert told and int(told[1]) > 10000, text


def test_tensors_out_of_order_are_found(tmp_path):
    size = 1 << 19
    header = json.dumps(
        {
            name: {"dtype": "U8", "shape": [size], "data_offsets": [at * size, (at + 1) * size]}
            for name, at in (("c", 2), ("a", 0), ("b", 1))
        }
    ).encode()
    content = struct.pack("<Q", len(header)) + header + random.Random(4).randbytes(3 * size)
    source = put(tmp_path, "m.safetensors", content)
    mmh("pack", "-1", source, code=OK)
    spoiled = bytearray((tmp_path / "m.safetensors.mmh").read_bytes())
    for at, names in ((0.05, ["a"]), (0.5, ["b"]), (0.9, ["c"])):
        at = int(at * len(spoiled))
        spoiled[at] ^= 1
        result = mmh("verify", "--json", put(tmp_path, "d.mmh", spoiled), code=LOST).json()
        assert [one["tensors"] for one in result["damage"]] == [names]
        spoiled[at] ^= 1


# ---- interrupts ----


def test_interrupt_leaves_nothing(tmp_path):
    # 64 values of bytes in no order: -9 is at work for many seconds, and begins to write in the first ones.
    source = put(tmp_path, "big.bin", random.Random(3).randbytes(24 << 20).translate(bytes(range(64)) * 4))
    for arguments in (["pack", "-9", "-T1", source], ["bench", "-9", "-T1", source]):
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [binary(), *map(str, arguments)],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        wait_for_output(process, tmp_path)
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
        code = process.wait()
        assert code == INTERRUPTED and b"mmh: error: interrupted\n" in err, (code, err)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["big.bin", "scratch"]
        assert not list(scratch.iterdir())


if __name__ == "__main__":
    main(globals())
