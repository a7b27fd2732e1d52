#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""zstd's habits, as far as mmh promises them: standard input and output, --rm, letters for verbs; and MMH-RS's
containers.

`python3 tests/test_cli_habits.py [NAME...]`, or pytest.
"""

import os
import shlex
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import (
    DAMAGED,
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
    put,
    safetensors,
    skip,
    tree,
)


def shell(line, folder):
    """Run a line of shell, where `mmh` is the command under test."""
    return subprocess.run(
        check=False,
        args=["bash", "-c", f'mmh() {{ {shlex.quote(binary())} "$@"; }}; set -o pipefail; {line}'],
        cwd=folder,
        capture_output=True,
        timeout=60,
    )


# ---- letters for verbs ----


def test_letters_stand_for_verbs(tmp_path):
    source = put(tmp_path, "m.safetensors", model())
    data = source.read_bytes()
    mmh("pack", source, code=OK)
    packed = f"{source}.mmh"
    for arguments in (
        ["-dc", packed],
        ["-cd", packed],
        ["-c", "-d", packed],
        ["-q", "-dc", packed],
        ["-dcT1", packed],
        ["--stdout", "-d", packed],
    ):
        assert mmh(*arguments, code=OK).raw == data, arguments
    for arguments in (["-t", packed], ["-qt", packed], ["-T1", "-t", packed]):
        assert mmh(*arguments, code=OK).err == "", arguments
    listed = mmh("ls", packed, code=OK).out
    assert mmh("-l", packed, code=OK).out == listed != mmh("-ll", packed, code=OK).out
    assert mmh("-ll", packed, code=OK).out == mmh("ls", "-l", packed, code=OK).out
    assert 'no option "-d"' in mmh("pack", "-d", packed, code=USAGE).err  # behind a verb they are no verbs
    source.unlink()
    mmh("-dkf", packed, code=OK)
    assert source.read_bytes() == data and Path(packed).exists()


def test_benchmark_is_bench(tmp_path):
    source = put(tmp_path, "m.safetensors", model())
    result = mmh("benchmark", "-1", "--json", source, code=OK).json()
    assert result["verb"] == "bench" and [level["level"] for level in result["levels"]] == [1]
    assert mmh("help", "benchmark", code=OK).out == mmh("help", "bench", code=OK).out


# ---- standard input and output ----


def test_without_a_file_standard_input_is_meant(tmp_path):
    data = model()
    put(tmp_path, "m.safetensors", data)
    for line in (
        "mmh pack < m.safetensors > x.mmh",
        "mmh pack - < m.safetensors > x.mmh",
        "cat m.safetensors | mmh pack -c - > x.mmh",
        "cat m.safetensors | mmh pack -o x.mmh -f",
        "mmh pack -fo x.mmh - < m.safetensors",
        "mmh pack -c < m.safetensors > x.mmh",
    ):
        result = shell(line, tmp_path)
        assert result.returncode == OK, (line, result)
        for back in (
            "mmh -d < x.mmh",
            "cat x.mmh | mmh -dc",
            "mmh unpack < x.mmh",
            "mmh unpack - < x.mmh",
            "cat x.mmh | mmh unpack -o - -",
            "mmh -dc x.mmh",
            "cat x.mmh | mmh -d | cat",
        ):
            result = shell(back, tmp_path)
            assert (result.returncode, result.stdout) == (OK, data), (line, back, result.stderr)
        (tmp_path / "x.mmh").rename(tmp_path / "last.mmh")
    for verb in ("verify", "info", "ls", "-t", "-l", "ls -l"):
        results = [
            shell(form.format(verb), tmp_path)
            for form in ("mmh {} last.mmh", "mmh {} - < last.mmh", "mmh {} < last.mmh", "cat last.mmh | mmh {}")
        ]
        assert {result.returncode for result in results} == {OK}, (verb, results)
        if verb in ("ls", "-l"):
            assert len({result.stdout for result in results}) == 1
    assert shell("mmh verify < last.mmh", tmp_path).stdout.startswith(b"standard input: ok, ")
    assert shell("mmh info < last.mmh", tmp_path).stdout.startswith(b"standard input\n")
    assert b'"input": "-", "status": "ok"' in shell("mmh verify --json < last.mmh", tmp_path).stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.mmh", "m.safetensors"]


def test_nothing_sent_is_a_usage_error(tmp_path):
    for verb, synopsis in (("pack", "pack IN... [-o OUT.mmh]"), ("verify", "verify X.mmh..."), ("ls", "ls X.mmh...")):
        result = mmh(verb, code=USAGE)  # /dev/null is no input
        assert result.err == f'mmh: error: "mmh {verb}" needs a file\nmmh: hint: mmh {synopsis}\n'
    assert '"mmh unpack" needs a file' in mmh("-d", code=USAGE).err
    assert '"mmh bench" needs a file' in mmh("bench", stdin=b"x", code=USAGE).err


def test_standard_input_can_be_given_a_name(tmp_path):
    data = model()
    stream = mmh("pack", "--stdin-name=a.safetensors", "-c", stdin=data, code=OK).raw
    put(tmp_path, "x.mmh", stream)
    assert mmh("ls", "--json", "x.mmh", cwd=tmp_path, code=OK).json()["files"][0]["name"] == "a.safetensors"
    mmh("unpack", "x.mmh", cwd=tmp_path, code=OK)
    assert (tmp_path / "a.safetensors").read_bytes() == data
    result = mmh("pack", "--stdin-name", "b.safetensors", stdin=data, cwd=tmp_path, code=OK)  # a name is a place
    assert result.raw == b"" and (tmp_path / "b.safetensors.mmh").read_bytes() != stream
    mmh("pack", "-o", "out/", "-", stdin=data, cwd=tmp_path, code=OK)
    assert mmh("ls", "--json", "out/stdin.mmh", cwd=tmp_path, code=OK).json()["files"][0]["name"] == "stdin"
    for name in ("", ".", "..", "a/b", "/"):
        result = mmh("pack", f"--stdin-name={name}", stdin=data, cwd=tmp_path, code=USAGE)
        assert result.err.startswith(f'mmh: error: "{name}" is no name for a file\n')
    result = mmh("pack", "x.mmh", "-", stdin=data, cwd=tmp_path, code=USAGE)
    assert "what standard input is packed as has no name" in result.err
    assert "--stdin-name=NAME" in result.err


def test_messages_never_name_the_copy_of_standard_input(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    packed = bytearray(mmh("pack", "-", stdin=model(), code=OK).raw)
    spoiled = bytes(packed[:200]) + bytes([packed[200] ^ 1]) + bytes(packed[201:])
    header = bytes([packed[0] ^ 0xFF]) + bytes(packed[1:])
    cases = [
        ("verify", spoiled, LOST),
        ("verify", packed[: len(packed) // 2], LOST),
        ("unpack", packed[:500], LOST),
        ("unpack", spoiled, LOST),
        ("info", b"text", USAGE),
        ("verify", b"text", USAGE),
        ("info", header, MENDED),
        ("unpack", header, MENDED),
        ("pack --dtype=f64 --shape=7", b"x", USAGE),
    ]
    for verb, data, code in cases:
        put(tmp_path, "data", data)
        for form in ("cat data | mmh {} -", "mmh {} < data"):
            line = form.format(verb)
            result = shell(f"TMPDIR={scratch}; export TMPDIR; {line}", tmp_path)
            err = result.stderr.decode()
            assert result.returncode == code, (line, result)
            assert "standard input" in err or '"stdin": chunk 0' in err, (line, err)  # the latter is what was packed
            assert "scratch" not in err and "/proc" not in err and "/mmh-" not in err, (line, err)
            assert not list(scratch.iterdir())
    assert "standard input is damaged (header), and can be restored" in mmh("verify", stdin=header, code=DAMAGED).err
    result = mmh("verify", "--json", "-", stdin=bytes(packed[: len(packed) // 2]), code=LOST).json()
    assert result["input"] == "-" and "standard input" in result["message"] and "/" not in result["message"]


def test_standard_input_is_read_once(tmp_path):
    result = mmh("pack", "-", "-", "-o", "x.mmh", stdin=b"x", cwd=tmp_path, code=USAGE)
    assert "standard input can be read only once" in result.err and not list(tmp_path.iterdir())
    packed = mmh("pack", "-", stdin=b"x", code=OK).raw
    result = mmh("verify", "-", "-", stdin=packed, code=USAGE)
    assert result.out.startswith("standard input: ok, ")


def test_several_containers_to_standard_output(tmp_path):
    put(tmp_path, "a", b"first\n")
    put(tmp_path, "b", b"second\n")
    mmh("pack", "a", "b", cwd=tmp_path, code=OK)
    result = mmh("-dc", "a.mmh", "nothing.mmh", "b.mmh", cwd=tmp_path, code=IO)
    assert result.raw == b"first\nsecond\n" and result.err.count("mmh: error: ") == 1


def test_pipelines_are_quiet(tmp_path):
    data = model()
    put(tmp_path, "m", data)
    result = shell("cat m | mmh pack | mmh -d | cat", tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (OK, data, b"")
    assert mmh("pack", "-c", "m", cwd=tmp_path, code=OK).err == ""
    put(tmp_path, "m.mmh", mmh("pack", "-", stdin=data, code=OK).raw)
    assert mmh("-dc", "m.mmh", cwd=tmp_path, code=OK).err == ""
    assert b"wall" in shell("cat m | mmh pack -v | cat", tmp_path).stderr
    assert "wall" in mmh("-dcv", "m.mmh", cwd=tmp_path, code=OK).err


def test_reader_that_goes_away_is_no_error(tmp_path):
    put(tmp_path, "m", os.urandom(3 << 20))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    mmh("pack", "m", cwd=tmp_path, code=OK)
    for line in ("mmh pack -c m", "cat m | mmh pack", "mmh -dc m.mmh", "cat m.mmh | mmh -d"):
        result = shell(f"export TMPDIR={scratch}; {line} | head -c 10 | wc -c; echo ${{PIPESTATUS[*]}}", tmp_path)
        assert result.stderr == b"", (line, result)
        codes = result.stdout.split()[1:]
        assert result.stdout.split()[0] == b"10" and str(128 + signal.SIGPIPE).encode() in codes, (line, result)
        assert not list(scratch.iterdir())


# ---- --rm ----


def test_rm_removes_what_was_packed(tmp_path):
    data = model()
    put(tmp_path, "m.safetensors", data)
    result = mmh("pack", "--rm", "m.safetensors", cwd=tmp_path, code=OK)
    assert "read back and compared; 1 entry removed" in result.err
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors.mmh"]
    mmh("unpack", "--rm", "m.safetensors.mmh", cwd=tmp_path, code=OK)
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    assert (tmp_path / "m.safetensors").read_bytes() == data
    for arguments in (["--rm", "-k"], []):  # the last of the two counts
        mmh("pack", *arguments, "-f", "m.safetensors", cwd=tmp_path, code=OK)
        assert len(list(tmp_path.iterdir())) == 2
    mmh("pack", "-kf", "--rm", "m.safetensors", cwd=tmp_path, code=OK)
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors.mmh"]


def test_rm_removes_a_folder_and_nothing_else(tmp_path):
    folder = tmp_path / "llama"
    put(folder, "config.json", b"{}")
    put(folder, "deep/er/model.safetensors", model())
    (folder / "void").mkdir()
    (folder / "link").symlink_to("deep/er/model.safetensors")
    outside = put(tmp_path, "blob", b"kept")
    (folder / "away").symlink_to(outside)
    before = tree(folder)
    result = mmh("pack", "--rm", "--json", "llama/", cwd=tmp_path, code=OK).json()
    assert result["removed"] == 8 and sorted(p.name for p in tmp_path.iterdir()) == ["blob", "llama.mmh"]
    assert outside.read_bytes() == b"kept"
    mmh("unpack", "llama.mmh", cwd=tmp_path, code=OK)
    before["away"] = ("file", 0o644, b"kept")
    assert {name: entry[::2] for name, entry in tree(folder).items()} == {
        name: entry[::2] for name, entry in before.items()
    }
    # A container inside the folder is not in itself, so it stays, and so does the folder.
    result = mmh("pack", "--rm", "llama", "-o", "llama/self.mmh", cwd=tmp_path, code=OK)
    assert "llama is kept: " in result.err
    assert sorted(p.name for p in folder.iterdir()) == ["self.mmh"]


def test_rm_of_several_inputs_in_one_container(tmp_path):
    put(tmp_path, "x/a.bin", b"a" * 100)
    put(tmp_path, "y/models/b.bin", b"b" * 100)
    put(tmp_path, "y/models/c/d.bin", b"d" * 100)
    put(tmp_path, "y/b.bin", b"b" * 100)  # equal to one that is packed, and not packed
    put(tmp_path, "a.bin", b"a" * 100)
    mmh("pack", "--rm", "x/a.bin", "y/models/", "-", "-o", "all.mmh", stdin=b"piped", cwd=tmp_path, code=OK)
    left = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*"))
    assert left == ["a.bin", "all.mmh", "x", "y", "y/b.bin"]
    mmh("unpack", "all.mmh", "-o", "out/", cwd=tmp_path, code=OK)
    assert {n: e[2] for n, e in tree(tmp_path / "out").items() if e[0] == "file"} == {
        "a.bin": b"a" * 100,
        "models/b.bin": b"b" * 100,
        "models/c/d.bin": b"d" * 100,
        "stdin": b"piped",
    }


def test_rm_takes_the_shards_of_an_index(tmp_path):
    put(tmp_path, "in/m-1.safetensors", safetensors({"a": ("F32", (64,), floats(64, 6, "F32"))}))
    put(tmp_path, "in/m-2.safetensors", safetensors({"b": ("F32", (64,), floats(64, 7, "F32"))}))
    put(tmp_path, "in/m.safetensors.index.json", b'{"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}')
    put(tmp_path, "in/other.safetensors", b"not of this model")
    mmh("pack", "--rm", "in/m.safetensors.index.json", "-o", "m.mmh", cwd=tmp_path, code=OK)
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["other.safetensors"]


def test_rm_is_ignored_for_streams(tmp_path):
    source = put(tmp_path, "m.bin", b"m" * 1000)
    result = mmh("pack", "--rm", "-c", source, code=OK)
    assert source.exists() and result.err.startswith("mmh: warning: --rm is ignored: ")
    packed = put(tmp_path, "m.mmh", result.raw)
    result = mmh("unpack", "--rm", "-c", packed, code=OK)
    assert result.raw == b"m" * 1000 and packed.exists() and result.err.startswith("mmh: warning: --rm is ignored: ")
    mmh("unpack", "--rm", "-o", tmp_path / "again", "-", stdin=packed.read_bytes(), code=OK)
    assert (tmp_path / "again").read_bytes() == b"m" * 1000 and packed.exists()


def test_rm_keeps_what_failed(tmp_path):
    put(tmp_path, "a.bin", b"a" * 1000)
    put(tmp_path, "b.bin", b"b" * 1000)
    put(tmp_path, "a.bin.mmh", b"in the way")
    result = mmh("pack", "--rm", "a.bin", "b.bin", "c.bin", cwd=tmp_path)
    assert result.code in (IO, USAGE) and result.err.count("mmh: error: ") == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bin", "a.bin.mmh", "b.bin.mmh"]
    packed = (tmp_path / "b.bin.mmh").read_bytes()
    put(tmp_path, "cut.mmh", packed[: len(packed) // 2])
    mmh("unpack", "--rm", "cut.mmh", cwd=tmp_path, code=LOST)
    assert (tmp_path / "cut.mmh").exists()
    put(tmp_path, "mended.mmh", bytes([packed[0] ^ 0xFF]) + packed[1:])
    result = mmh("unpack", "--rm", "mended.mmh", cwd=tmp_path, code=MENDED)
    assert "mended.mmh is kept" in result.err and (tmp_path / "mended.mmh").exists()
    assert (tmp_path / "b.bin").read_bytes() == b"b" * 1000


def changed_after_packing(folder, change):
    """Pack with --rm, and call change(source, container) as soon as the container is there."""
    source = put(folder, "m.bin", os.urandom(48 << 20))
    packed = Path(f"{source}.mmh")
    process = subprocess.Popen([binary(), "pack", "-1", "--rm", "-f", "-T1", source], stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while not packed.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.0005)
    change(source, packed)
    err = process.stderr.read().decode()
    code = process.wait()
    if not source.exists():
        skip("mmh was quicker than this test")
    assert packed.exists() and "nothing was removed" in err, err
    return code, err


def flip(path, from_end):
    with open(path, "r+b") as file:
        file.seek(-from_end, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-from_end, os.SEEK_END)
        file.write(bytes([byte ^ 1]))


def test_rm_keeps_a_source_that_is_not_what_was_packed(tmp_path):
    code, err = changed_after_packing(tmp_path, lambda source, packed: flip(source, 1))
    assert code == IO and ("is not what was packed" in err or "has changed while" in err), (code, err)


def test_rm_reads_what_is_on_the_disk(tmp_path):
    code, err = changed_after_packing(tmp_path, lambda source, packed: flip(packed, 1 << 20))
    assert code == LOST and "is damaged" in err, (code, err)


# ---- exit codes ----


def test_every_exit_code_that_can_be_had(tmp_path):
    packed = mmh("pack", "-", stdin=b"data" * 100, code=OK).raw
    put(tmp_path, "good.mmh", packed)
    put(tmp_path, "header.mmh", bytes([packed[0] ^ 0xFF]) + packed[1:])
    put(tmp_path, "cut.mmh", packed[: len(packed) // 2])
    for arguments, code in [
        (["verify", "good.mmh"], 0),
        (["verify", "nothing.mmh"], 1),
        (["verify", "--x"], 2),
        (["verify", "header.mmh"], 3),
        (["unpack", "-c", "header.mmh"], 4),
        (["verify", "cut.mmh"], 5),
        (["verify", "good.mmh", "nothing.mmh", "header.mmh"], 3),
        (["verify", "header.mmh", "cut.mmh", "nothing.mmh"], 5),
    ]:
        mmh(*arguments, cwd=tmp_path, code=code)


# ---- MMH-RS ----


def test_containers_of_mmh_rs_are_named(tmp_path):
    """Headers as github.com/Bigrob7605/MMH-RS writes them: src/cli.rs (pack, packdir), src/core/mod.rs, and V1.2.0's
    technical specification."""
    zstd = b"\x28\xb5\x2f\xfd\x04\x00\x09\x00\x00x\x99\xe9\xd8\x51"
    files = {
        "v1.2.mmh": (
            b"MMH-RS V1.2.0\nDETERMINISTIC_ID: file_00\nFILE_EXTENSION: txt\n" + zstd,
            "MMH-RS V1.2",
            "tail -n +4 'v1.2.mmh' | zstd -d > FILE",
        ),
        "bare.mmh": (zstd, "MMH-RS V1 (a bare zstd stream)", "zstd -d < 'bare.mmh' > FILE"),
        "folder.mmh": (b"MMH-RS V1.0\nFiles: 3\nTotal Size: 9\n" + bytes(500), "MMH-RS V1", "pack the result anew"),
        "v2.mmh": (
            b"MMH" + struct.pack("<QQB", 4096, 1753200000, 0) + bytes(900),
            "MMH-RS V1 or V2",
            "pack the result anew",
        ),
        "spec.mmh": (b"MMH\0\x02\0" + b"pdf" + bytes(31) + zstd, "MMH-RS V1 or V2", "pack the result anew"),
        "no-suffix": (b"MMH-RS V1.2.0\n\n\n" + zstd, "MMH-RS V1.2", "tail -n +4 'no-suffix' | zstd -d > FILE"),
    }
    for name, (data, version, hint) in files.items():
        put(tmp_path, name, data)
        for verb in ("unpack", "verify", "info", "ls"):
            result = mmh(verb, name, cwd=tmp_path, code=UNSUPPORTED)
            lines = result.err.splitlines()
            assert lines[0] == f'mmh: error: "{name}" is a container of {version}, which this mmh does not read'
            assert lines[1].startswith("mmh: hint: ") and lines[1].endswith(hint), lines
            assert result.out == ""
        assert mmh("verify", "--json", name, cwd=tmp_path, code=UNSUPPORTED).json()["status"] == "unsupported"
        result = mmh("verify", stdin=data, code=UNSUPPORTED if name != "bare.mmh" else USAGE)
        assert "standard input is " in result.err
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(files)


def test_the_hints_for_mmh_rs_work(tmp_path):
    if subprocess.run(check=False, args=["bash", "-c", "command -v zstd"], capture_output=True).returncode:
        skip("there is no zstd command")
    put(tmp_path, "in", b"hello " * 100)
    shell(
        "{ printf 'MMH-RS V1.2.0\\nDETERMINISTIC_ID: x\\nFILE_EXTENSION: txt\\n'; zstd -c in; } > a.mmh; "
        "zstd -c in > b.mmh",
        tmp_path,
    )
    for name in ("a.mmh", "b.mmh"):
        err = mmh("unpack", name, cwd=tmp_path, code=UNSUPPORTED).err
        shell(err.splitlines()[1].split("or: ")[1].replace("FILE", "back"), tmp_path)
        assert (tmp_path / "back").read_bytes() == b"hello " * 100
        (tmp_path / "back").unlink()


if __name__ == "__main__":
    main(globals())
