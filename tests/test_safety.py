#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The mmh command and other people's files: killed, out of room, raced, lied to, and nothing is lost.

`python3 tests/test_safety.py [NAME...]`, or pytest. What needs Linux, root or a tmpfs says so and is skipped
where that is missing. MMH_KILLS sets how often runs are killed, 200 if it is not.
"""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent / "cli"), str(Path(__file__).resolve().parents[1] / "tools")]
import golden  # noqa: E402
from harness import (  # noqa: E402
    DAMAGED,
    INTERRUPTED,
    IO,
    LIMIT,
    LOST,
    MENDED,
    OK,
    SANITIZERS,
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
    wait_for_output,
)

NOBODY = 65534


def start(*arguments, **options):
    """The command at work, its stderr a pipe."""
    return subprocess.Popen(
        [binary(), *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **SANITIZERS},
        start_new_session=True,
        **options,
    )


def weights(megabytes, seed=1):
    """A model of some MB, quickly made: the same few numbers in many orders."""
    source = random.Random(seed)
    part = floats(8192, seed)
    rows = [part[at : at + 512] for at in range(0, len(part), 512)]
    data = b"".join(source.choice(rows) for _ in range(megabytes * 2048))
    return safetensors({"w": ("BF16", (megabytes * 2048, 256), data)})


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


# ---- killed ----


def killed_often(folder, arguments, before, after, times, places=()):
    """Kill a run at random times: each output is as before or as after, and nothing else is there for long.

    before, after: {name: bytes or None}. Returns how many runs were killed, and how many left something.
    """

    def set_up():
        for name, data in before.items():
            path = folder / name
            if data is None:
                path.unlink(missing_ok=True)
            elif not path.exists() or path.read_bytes() != data:
                path.write_bytes(data)

    def whole():
        for name in after:
            found = (folder / name).read_bytes() if (folder / name).exists() else None
            assert found in (before[name], after[name]), f"{name} is neither the old file nor the new one"

    source = random.Random(11)
    durations = []
    for _ in range(3):
        set_up()
        began = time.monotonic()
        mmh(*arguments, code=OK)
        durations.append(time.monotonic() - began)
        assert all((folder / name).read_bytes() == data for name, data in after.items())
    expected = names(folder)
    killed = left = 0
    for _ in range(times):
        set_up()
        process = start(*arguments)
        time.sleep(source.uniform(0, sorted(durations)[1]))
        process.kill()
        process.communicate()
        whole()
        killed += process.returncode == -signal.SIGKILL
        left += bool(set(names(folder)) - set(expected))
    set_up()
    mmh(*arguments, code=OK)
    whole()
    assert names(folder) == expected, "the next run leaves what a killed one left"
    return killed, left


def test_killed_at_any_point(tmp_path):
    times = int(os.environ.get("MMH_KILLS", "200")) // 4
    source, other = put(tmp_path, "in/m.safetensors", weights(3)), put(tmp_path, "in/o.safetensors", weights(3, 2))
    made, old, folder = tmp_path / "m.mmh", tmp_path / "o.mmh", tmp_path / "f.mmh"
    mmh("pack", "-1", source, "-o", made, code=OK)
    mmh("pack", "-1", other, "-o", old, code=OK)
    mmh("pack", "-1", tmp_path / "in", "-o", folder, code=OK)
    cases = {
        "pack": (["pack", "-1", source], "x.mmh", None, made.read_bytes()),
        "pack -f": (["pack", "-1", "-f", source], "x.mmh", old.read_bytes(), made.read_bytes()),
        "unpack -f": (["unpack", "-f", made], "x", other.read_bytes(), source.read_bytes()),
    }
    told = []
    for name, (arguments, output, before, after) in cases.items():
        out = tmp_path / name.replace(" ", "")
        out.mkdir()
        arguments += ["-o", out / output]
        killed, left = killed_often(out, arguments, {output: before}, {output: after}, times)
        told.append(f"{name}: {killed} of {times} killed, {left} left something")
        assert killed >= times // 4, told[-1]
    out = tmp_path / "folder"
    shutil.copytree(tmp_path / "in", out)
    before = {"m.safetensors": b"old m", "o.safetensors": b"old o"}
    after = {path.name: path.read_bytes() for path in (source, other)}
    killed, left = killed_often(out, ["unpack", "-f", folder, "-o", out], before, after, times)
    told.append(f"unpack -f to a folder: {killed} of {times} killed, {left} left something")
    assert killed >= times // 4, told[-1]
    print("\n".join(told))


# ---- two at once ----


def together(*commands):
    """Run commands at the same time; [(exit code, stderr)]."""
    processes = [start(*command) for command in commands]
    return [(process.returncode, err.decode()) for process in processes for _, err in [process.communicate(timeout=60)]]


def test_two_processes_on_one_output(tmp_path):
    inputs = [put(tmp_path, f"in/{i}.safetensors", weights(1, i)) for i in range(2)]
    for i, path in enumerate(inputs):
        mmh("pack", "-1", path, "-o", tmp_path / f"{i}.mmh", code=OK)
    containers = [(tmp_path / f"{i}.mmh").read_bytes() for i in range(2)]
    same = put(tmp_path, "same", b"one name").parent
    for i in range(2):  # the same names in both, other contents
        put(same / str(i), "a", inputs[i].read_bytes())
        put(same / str(i), "b/c", bytes([i]) * 100)
        (same / str(i) / "empty").mkdir()
        mmh("pack", "-1", same / str(i), "-o", tmp_path / f"folder{i}.mmh", code=OK)
    for turn in range(6):
        out = tmp_path / f"out{turn}"
        out.mkdir()
        for force in ([], ["-f"]):
            results = together(*(["pack", "-1", *force, path, "-o", out / "x.mmh"] for path in inputs))
            codes = sorted(code for code, _ in results)
            assert codes == [OK, OK] if force else codes == [OK, USAGE], results
            assert force or any("exists" in err for _, err in results), results
            assert (out / "x.mmh").read_bytes() in containers and names(out) == ["x.mmh"]
        for force in ([], ["-f"]):
            results = together(*(["unpack", *force, tmp_path / f"{i}.mmh", "-o", out / "file"] for i in range(2)))
            codes = sorted(code for code, _ in results)
            assert codes == [OK, OK] if force else codes == [OK, USAGE], results
            assert (out / "file").read_bytes() in [path.read_bytes() for path in inputs]
            assert names(out) == ["file", "x.mmh"]
        for force in ([], ["-f"]):
            results = together(*(["unpack", *force, tmp_path / f"folder{i}.mmh", "-o", out / "d"] for i in range(2)))
            codes = sorted(code for code, _ in results)
            assert codes == [OK, OK] if force else codes == [OK, USAGE], results
            assert tree(out / "d") in [tree(same / str(i)) for i in range(2)], results  # of one, not of both
        shutil.rmtree(out)


# ---- no room, no right, no input ----


def in_small_tmpfs(folder, size, script, *arguments):
    """Run a shell script with a tmpfs of `size` on `folder`; skips where that may not be mounted."""
    mount = f'mount -t tmpfs -o size={size} none "{folder}" || exit 77; cd "{folder}" || exit 77; '
    result = (
        subprocess.run(
            check=False,
            args=["unshare", "-rm", "sh", "-c", mount + script, "sh", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **SANITIZERS},
        )
        if shutil.which("unshare")
        else None
    )
    if result is None or result.returncode == 77 or "unshare" in result.stderr:
        skip("no tmpfs can be mounted here: a full one is left out")
    return result


def test_full_disk(tmp_path):
    source = put(tmp_path, "in/m.safetensors", weights(2))
    packed = tmp_path / "m.mmh"
    mmh("pack", "-1", source, "-o", packed, code=OK)
    mmh("pack", "-1", source.parent, "-o", tmp_path / "f.mmh", code=OK)
    disk = tmp_path / "disk"
    disk.mkdir()
    for arguments in (
        ["pack", "-1", source, "-o", "x.mmh"],
        ["pack", "-1", "-f", source, "-o", "old"],
        ["unpack", packed, "-o", "x"],
        ["unpack", "-f", packed, "-o", "old"],
        ["unpack", tmp_path / "f.mmh", "-o", "new/deep"],
        ["unpack", "-f", tmp_path / "f.mmh", "-o", "."],
    ):
        result = in_small_tmpfs(
            disk,
            "512k",
            'printf old > old; "$@" 2> /proc/self/fd/2; code=$?; find . | sort; cat old; exit $code',
            binary(),
            *arguments,
        )
        assert result.returncode == IO and result.stdout == ".\n./old\nold", (arguments, result)
        assert "No space left" in result.stderr or "there is room for" in result.stderr, (arguments, result)
    result = in_small_tmpfs(disk, "512k", '"$1" pack -1 -c "$2" > out', binary(), source)
    assert result.returncode == IO and "No space left" in result.stderr, result


def test_file_size_limit_is_an_error(tmp_path):
    source = put(tmp_path, "in/m.safetensors", weights(2))
    packed = tmp_path / "m.mmh"
    mmh("pack", "-1", source, "-o", packed, code=OK)
    out = tmp_path / "out"
    out.mkdir()
    put(out, "old", b"old")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    for arguments in (
        ["pack", "-1", source, "-o", out / "x"],
        ["pack", "-1", "-f", source, "-o", out / "old"],
        ["unpack", packed, "-o", out / "x"],
        ["unpack", "-f", packed, "-o", out / "old"],
    ):
        process = start(*arguments, preexec_fn=limit)
        err = process.communicate(timeout=60)[1].decode()
        assert process.returncode == IO and "File too large" in err, (arguments, err)
        assert names(out) == ["old"] and (out / "old").read_bytes() == b"old"


def as_nobody(folder, *arguments):
    """Run mmh as a user whom modes mean something to; a copy of it, as ours may lie where that user sees nothing."""
    if os.geteuid():
        return mmh(*arguments)
    probe = subprocess.run(
        check=False,
        args=[binary(), "--version"],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if probe.returncode:
        skip("the command cannot be run by another user here")
    process = subprocess.run(
        check=False,
        args=[binary(), *map(str, arguments)],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd=folder,
        capture_output=True,
    )
    process.code, process.err = process.returncode, process.stderr.decode()
    return process


def test_unreadable_and_unwritable():
    with tempfile.TemporaryDirectory(prefix="mmh-test-") as name:  # one that others may enter
        folder = Path(name)
        folder.chmod(0o755)
        for sub in ("in", "out", "closed"):
            (folder / sub).mkdir(mode=0o755)
        put(folder, "in/a", b"a" * 100)
        put(folder, "in/secret", b"s" * 100)
        put(folder, "closed/old", b"old")
        mmh("pack", folder / "in", "-o", folder / "f.mmh", code=OK)
        mmh("pack", folder / "in/a", "-o", folder / "a.mmh", code=OK)
        (folder / "in/secret").chmod(0o000)
        for path in (folder / "in", folder / "out", folder / "in/a", folder / "in/secret", folder / "f.mmh"):
            if not os.geteuid():
                os.chown(path, NOBODY, NOBODY)
        (folder / "closed").chmod(0o555)
        for arguments, word in (
            (["pack", folder / "in", "-o", folder / "out/x.mmh"], "secret: Permission denied"),
            (["pack", folder / "in/a", "-o", folder / "closed/x.mmh"], "closed/x.mmh: Permission denied"),
            (["pack", "-f", folder / "in/a", "-o", folder / "closed/old"], "closed/old: Permission denied"),
            (["unpack", folder / "a.mmh", "-o", folder / "closed/x"], "closed/x: Permission denied"),
            (["unpack", folder / "f.mmh", "-o", folder / "closed"], "closed: Permission denied"),
            (["unpack", folder / "f.mmh", "-o", folder / "closed/new/deep"], "Permission denied"),
            (["unpack", folder / "a.mmh", "-o", folder / "nowhere/x"], "nowhere/x: No such file"),
        ):
            result = as_nobody(folder, *arguments)
            assert result.code == IO and result.err.startswith("mmh: error: cannot ") and word in result.err, (
                arguments,
                result.err,
            )
            assert names(folder / "closed") == ["old"] and names(folder / "out") == []
            assert (folder / "closed/old").read_bytes() == b"old"
        (folder / "closed").chmod(0o755)


def paused(arguments, folder):
    """A run that has planned its work and not ended it, stopped: it has opened an output in a folder."""
    process = start(*arguments)
    try:
        wait_for_output(process, folder)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    process.send_signal(signal.SIGSTOP)
    return process


def test_inputs_that_change_while_being_packed(tmp_path):
    big, late = weights(24), b"late" * 50_000

    def shorter(path):
        os.truncate(path, 1000)

    def longer(path):
        path.write_bytes(late + b"more")

    def other(path):
        path.write_bytes(late[::-1])

    def gone(path):
        path.unlink()

    def another(path):
        status = path.stat()
        put(path.parent.parent, "another", late[::-1]).replace(path)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    for change in (shorter, longer, other, gone, another):
        folder = tmp_path / change.__name__
        put(folder, "in/a.safetensors", big)
        path = put(folder, "in/z.bin", late)
        os.utime(path, (1700000000, 1700000000))
        put(folder, "out/old", b"old")
        process = paused(["pack", "-9", "-T1", folder / "in", "-o", folder / "out/x.mmh"], folder / "out")
        change(path)
        process.send_signal(signal.SIGCONT)
        err = process.communicate(timeout=60)[1].decode()
        assert process.returncode == IO and "z.bin" in err, (change, process.returncode, err)
        assert "changed while it was" in err or "No such file" in err, (change, err)
        assert names(folder / "out") == ["old"]


def test_sparse_files(tmp_path):
    source = tmp_path / "sparse"
    with open(source, "wb") as file:
        file.truncate(64 << 20)
        file.seek(20 << 20)
        file.write(b"something" * 100)
    mmh("pack", "-1", source, code=OK)
    assert Path(f"{source}.mmh").stat().st_size < 100_000
    mmh("unpack", f"{source}.mmh", "-o", tmp_path / "back", code=OK)
    assert subprocess.run(check=False, args=["cmp", source, tmp_path / "back"]).returncode == 0


# ---- bombs ----


def bomb(path, chunks, stored=b"\0", **changes):
    """A container of `chunks` references to one constant chunk, of 16 MiB each."""
    return put(
        path.parent,
        path.name,
        golden.Handmade(
            data=stored,
            codec=1,
            size=chunks << 24,
            chunk_bytes=1 << 24,
            references=b"\0" + b"\1" * (chunks - 1),
            digest=bytes(32),
            **changes,
        ).bytes(),
    )


def test_bombs_stop(tmp_path):
    packed = bomb(tmp_path / "x.mmh", 1_000_000)  # a megabyte that claims sixteen terabytes
    assert packed.stat().st_size < 3_000_000
    out = tmp_path / "out"
    for arguments, code, word in (
        (["unpack", packed, "-o", out], IO, "No space left"),
        (["unpack", packed, "-o", f"{out}/"], IO, "there is room for"),
        (["unpack", "--max-size=10G", packed, "-o", out], LIMIT, "over the limit of 10000000000"),
        (["unpack", "--max-size=10G", packed, "-o", f"{out}/"], LIMIT, "over the limit"),
        (["unpack", "-c", "--max-size=10G", packed], LIMIT, "over the limit"),
        (["verify", "--max-size=1TiB", packed], LIMIT, "over the limit of 1099511627776"),
        (["info", packed], OK, ""),
        (["ls", "-l", packed], OK, ""),
    ):
        result = mmh(*arguments, code=code, peak=True)
        assert word in result.err, result
        assert code == OK or result.out == "", result
        assert names(tmp_path) == ["x.mmh"]
        assert result.seconds < 5 and (result.peak < 64 << 20 or "asan" in binary()), (result.seconds, result.peak)
    small = bomb(tmp_path / "y.mmh", 4)  # 64 MiB: a limit is of what is unpacked
    assert "over the limit" in mmh("verify", "--max-size=64M", small, code=LIMIT).err
    mmh("verify", "--max-size=64MiB", small, code=LOST)  # its digest is made up


def test_verify_of_a_bomb_takes_no_memory(tmp_path):
    if not os.path.exists("/proc/self/status"):
        skip("memory cannot be looked at here")
    process = start("verify", "-T2", bomb(tmp_path / "x.mmh", 1_000_000))
    time.sleep(1.5)
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert process.poll() is None, "it was to take hours"
    process.kill()
    process.communicate(timeout=30)
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    assert peak < 200 << 20 or "asan" in binary(), f"{peak:,} bytes"  # two runs of 16 MiB a thread and one more


def test_max_size(tmp_path):
    source = put(tmp_path, "m.bin", bytes(range(250)) * 4)
    mmh("pack", source, code=OK)
    packed = f"{source}.mmh"
    for size, code in (
        ("1000", OK),
        ("999", LIMIT),
        ("1k", OK),
        ("1K", OK),
        ("1kB", OK),
        ("1KiB", OK),
        ("1Ki", OK),
        ("0.5k", USAGE),
        ("", USAGE),
        ("0", USAGE),
        ("-1", USAGE),
        ("1kk", USAGE),
        ("1X", USAGE),
        ("1M", OK),
        ("1g", OK),
        ("1TiB", OK),
        ("99999999999T", USAGE),
        ("1iB", USAGE),
    ):
        assert mmh("verify", f"--max-size={size}", packed).code == code, size
        assert mmh("unpack", "-f", f"--max-size={size}", packed, "-o", tmp_path / "out").code == code, size
    result = mmh("verify", "--max-size=999", packed, code=LIMIT)
    assert result.err == (
        f"mmh: error: {packed} holds 1000 bytes unpacked, over the limit of 999\n"
        "mmh: hint: that is what --max-size says\n"
    )
    assert mmh("verify", "--max-size=999", "--json", packed, code=LIMIT).json()["status"] == "limit"
    assert "over the limit" in mmh("cat", "--max-size=999", packed, code=LIMIT).err
    assert mmh("cat", "--max-size=1000", packed, code=OK).raw == source.read_bytes()
    data = source.read_bytes()
    result = mmh("pack", "--max-size=999", "-", "-o", tmp_path / "s.mmh", stdin=data, code=LIMIT)
    assert "standard input holds more than the limit of 999 bytes" in result.err, result
    assert not (tmp_path / "s.mmh").exists()
    mmh("pack", "--max-size=1000", "-", "-o", tmp_path / "s.mmh", stdin=data, code=OK)


# ---- hostile names ----


def entry(name, kind=0, link=b""):
    """A further entry of a container by hand: an empty file, a folder or a symlink."""
    if kind == 0:
        return (
            golden.string(name) + bytes([0, 0]) + golden.varint(0o644) + b"\0\0" + golden.content_digest(b"") + b"\0\0"
        )
    return (
        golden.string(name)
        + bytes([kind, 0])
        + golden.varint(0o755)
        + b"\0"
        + (golden.string(link) if kind == 2 else b"")
        + b"\0"
    )


def test_names_that_lead_elsewhere_are_refused(tmp_path):
    inside = tmp_path / "a/b/c"
    inside.mkdir(parents=True)
    many = b"/".join([b".."] * 12)
    for name in (
        b"../x",
        b"../../x",
        many + b"/tmp/x",
        b"/x",
        b"//x",
        b"/",
        b"x/",
        b"x//y",
        b"./x",
        b"x/./y",
        b"x/../y",
        b"x/..",
        b"..",
        b"",
        b"x/.",
        b"x\0y",
        b".mmh-0123456789abcdef.tmp",
        b"a/.mmh-unpack-0123456789abcdef",
        b".mmh-unpack-0123456789abcdef/0",
    ):
        packed = put(tmp_path, "x.mmh", golden.Handmade(name=name).bytes())
        for arguments in (
            ["verify", packed],
            ["unpack", packed, "-o", f"{inside}/"],
            ["unpack", "-f", packed, "-o", inside],
            ["unpack", "--any-names", packed, "-o", f"{inside}/new/"],
            ["info", packed],
        ):
            result = mmh(*arguments, code=LOST)
            assert tree(tmp_path / "a") == {"b": ("folder", 0o755, None), "b/c": ("folder", 0o755, None)}, (
                name,
                result,
            )
    for name, link in (
        (b"l", b"/etc"),
        (b"l", b".."),
        (b"l", b"../x"),
        (b"d/l", b"../../x"),
        (b"l", b"a/../../x"),
        (b"l", b"a/.."),
        (b"l", b""),
        (b"d/l", b"./../../../x"),
    ):
        packed = put(tmp_path, "x.mmh", golden.Handmade(name=name, kind=2, link=link).bytes())
        for arguments in (
            ["verify", packed],
            ["unpack", packed, "-o", f"{inside}/"],
            ["unpack", "-f", packed, "-o", inside],
        ):
            result = mmh(*arguments, code=LOST)
            assert not names(inside), (name, link, result)
    for first, more in (
        ((b"l", 2, b"d"), entry(b"l/x")),
        ((b"f", 0, b""), entry(b"f/x")),
        ((b"f", 0, b""), entry(b"f")),
        ((b"f", 0, b""), entry(b"f", 1)),
        ((b"z", 0, b""), entry(b"a")),
    ):
        packed = put(
            tmp_path,
            "x.mmh",
            golden.Handmade(name=first[0], kind=first[1], link=first[2], file_count=2, more_files=more).bytes(),
        )
        for arguments in (["verify", packed], ["unpack", "-f", packed, "-o", inside]):
            result = mmh(*arguments, code=LOST)
            assert not names(inside), (first, more, result)


def test_odd_names_need_a_word(tmp_path):
    out = tmp_path / "out"
    for name in (
        b"CON",
        b"nul",
        b"aux.txt",
        b"Com1",
        b"lpt9.tar.gz",
        b"a/PRN/b",
        b"conin$",
        b"NUL .x",
        b"x.",
        b"x ",
        b"a./b",
        b"a\\b",
        b"..\\x",
        b"C:x",
        b"c:\\x",
    ):
        packed = put(tmp_path, "x.mmh", golden.Handmade(name=name).bytes())
        mmh("verify", packed, code=OK)
        for destination in (f"{out}/", f"{out}/new/deep/"):
            result = mmh("unpack", packed, "-o", destination, code=USAGE)
            assert "some systems" in result.err and "--any-names" in result.err, (name, result)
            assert not out.exists(), name
        mmh("unpack", "--any-names", packed, "-o", f"{out}/", code=OK)
        assert (out / os.fsdecode(name)).read_bytes() == b"0123456789abcdef"
        shutil.rmtree(out)
    result = mmh("unpack", put(tmp_path, "x.mmh", golden.Handmade(name=b"NUL").bytes()), cwd=tmp_path, code=USAGE)
    assert '"NUL" is a device on some systems' in result.err
    for name in (
        b"console",
        b"nul1",
        b"com",
        b"com10",
        b"x.nul",
        b".x",
        b"a-b:c",
        b"10:00",
        b"auxiliary/con-x",
        b"COM\xc2\xb9",
    ):
        packed = put(tmp_path, "x.mmh", golden.Handmade(name=name).bytes())
        mmh("unpack", packed, "-o", f"{out}/", code=OK)
        shutil.rmtree(out)
    packed = put(tmp_path, "x.mmh", golden.Handmade(name=b"README", file_count=2, more_files=entry(b"readme")).bytes())
    result = mmh("unpack", packed, "-o", f"{out}/", code=USAGE)
    assert '"README" and "readme" are one name on some systems' in result.err and not out.exists()
    mmh("unpack", "--any-names", packed, "-o", f"{out}/", code=OK)


def test_pack_tells_what_unpack_will_refuse(tmp_path):
    folder = tmp_path / "in"
    put(folder, "Readme", b"1")
    put(folder, "README", b"2")
    put(folder, "sub/aux.h", b"3")
    result = mmh("pack", "--json", folder, code=OK)
    assert "some systems, and there are more such names" in result.err and "--any-names" in result.err, result
    assert result.json()["odd_names"] == 2
    mmh("unpack", f"{folder}.mmh", "-o", tmp_path / "out", code=USAGE)
    mmh("unpack", "--any-names", f"{folder}.mmh", "-o", tmp_path / "out", code=OK)
    assert tree(tmp_path / "out") == tree(folder)
    put(folder, ".mmh-0123456789abcdef.tmp", b"of a killed run")  # no data of the user's
    put(folder, ".mmh-unpack-0123456789abcdef/3", b"of another")
    mmh("pack", "-qf", folder, code=OK)
    mmh("unpack", "-f", "--any-names", f"{folder}.mmh", "-o", tmp_path / "out", code=OK)
    assert not [name for name in tree(tmp_path / "out") if ".mmh-" in name]
    assert (
        "a temporary name"
        in mmh("pack", folder / ".mmh-0123456789abcdef.tmp", "-o", tmp_path / "t.mmh", code=USAGE).err
    )


def test_symlinks_that_leave_the_folder_are_told(tmp_path):
    folder = tmp_path / "in"
    put(tmp_path, "outside/data", b"outside")
    put(folder, "data", b"inside")
    (folder / "stays").symlink_to("data")
    assert "out of the folder" not in mmh("pack", folder, code=OK).err
    (folder / "leaves").symlink_to("../outside/data")
    (folder / "absolute").symlink_to(folder / "data")
    result = mmh("pack", "-f", "--json", folder, code=OK)
    assert "2 symlinks out of the folder are packed as what they point to" in result.err, result
    assert result.json()["followed_links"] == 2
    mmh("unpack", f"{folder}.mmh", "-o", tmp_path / "out", code=OK)
    assert {name: kind for name, (kind, _, _) in tree(tmp_path / "out").items()} == {
        "absolute": "file",
        "data": "file",
        "leaves": "file",
        "stays": "symlink",
    }
    assert (tmp_path / "out/leaves").read_bytes() == b"outside"
    for target in ("../outside", "../outside/nothing", "leaves/.."):
        (folder / "bad").symlink_to(target)
        result = mmh("pack", "-f", folder, code=USAGE)
        assert "points outside the folder, and not to a file" in result.err, (target, result)
        (folder / "bad").unlink()


# ---- hostile destinations ----


def test_symlinks_in_the_destination_are_not_followed(tmp_path):
    source, outside, out = tmp_path / "in", tmp_path / "outside", tmp_path / "out"
    put(source, "top", b"top")
    put(source, "d/file", b"file")
    put(source, "d/e/deep", b"deep")
    (source / "d/link").symlink_to("file")
    (source / "empty").mkdir()
    mmh("pack", source, "-o", tmp_path / "x.mmh", code=OK)
    put(outside, "precious", b"precious")
    before = tree(outside)
    for place, target in (
        ("d", "../outside"),
        ("d", outside),
        ("d/e", outside),
        ("d/e", "../../outside"),
        ("d", "."),
        ("d", "nowhere"),
        ("empty", outside),
        ("d", "d"),
    ):
        shutil.rmtree(out, ignore_errors=True)
        (out / place).parent.mkdir(parents=True)
        (out / place).symlink_to(target)
        there = tree(out)
        for force in ([], ["-f"]):
            result = mmh("unpack", *force, tmp_path / "x.mmh", "-o", out, code=USAGE)
            assert "symbolic link" in result.err or "exists" in result.err, (place, target, result)
            assert tree(outside) == before and tree(out) == there, (place, target)
    for place in ("top", "d/file", "d/link", "d/e/deep"):  # in place of a file: replaced itself, if asked
        for target in ("precious", "nothing"):
            shutil.rmtree(out, ignore_errors=True)
            (out / place).parent.mkdir(parents=True)
            (out / place).symlink_to(outside / target)
            there = tree(out)
            assert "exists" in mmh("unpack", tmp_path / "x.mmh", "-o", out, code=USAGE).err
            assert tree(outside) == before and tree(out) == there, (place, target)
            mmh("unpack", "-f", tmp_path / "x.mmh", "-o", out, code=OK)
            assert tree(outside) == before and tree(out) == tree(source), (place, target)
    shutil.rmtree(out)
    for place, make in (
        ("top", os.mkfifo),
        ("d/file", os.mkdir),
        ("d/e", os.mkfifo),
        ("d", lambda path: put(path.parent, "d", b"file")),
    ):
        (out / place).parent.mkdir(parents=True)
        make(out / place)
        there = sorted(path.relative_to(out) for path in out.rglob("*"))
        for force in ([], ["-f"]):
            result = mmh("unpack", *force, tmp_path / "x.mmh", "-o", out, code=USAGE)
            assert sorted(path.relative_to(out) for path in out.rglob("*")) == there, (place, result)
        shutil.rmtree(out)
    single = put(tmp_path, "s/file", b"single")
    mmh("pack", single, "-o", tmp_path / "s.mmh", code=OK)
    out.mkdir()
    (out / "file").symlink_to(outside / "precious")
    mmh("unpack", tmp_path / "s.mmh", "-o", out / "file", code=USAGE)
    mmh("unpack", "-f", tmp_path / "s.mmh", "-o", out / "file", code=OK)
    assert (out / "file").read_bytes() == b"single" and not (out / "file").is_symlink() and tree(outside) == before
    mmh("pack", "-f", single, "-o", outside / "precious", code=OK)  # asked for by name
    (out / "link").symlink_to(outside / "other")
    mmh("pack", "-f", single, "-o", out / "link", code=OK)
    assert not (outside / "other").exists() and not (out / "link").is_symlink()


def test_a_destination_that_changes_under_it(tmp_path):
    source, outside, out = tmp_path / "in", tmp_path / "outside", tmp_path / "out"
    for i in range(12):
        put(source, f"d/e/{i}", bytes([i]) * 50)
    mmh("pack", "-1", source, "-o", tmp_path / "x.mmh", code=OK)
    outside.mkdir()
    out.mkdir()
    ending = threading.Event()

    def toggle():
        while not ending.is_set():
            for place in ("d/e", "d"):
                try:
                    (out / place).rename(tmp_path / "aside")
                    (out / place).symlink_to(outside)
                    time.sleep(0.0005)
                    (out / place).unlink()
                    (tmp_path / "aside").rename(out / place)
                except OSError:
                    shutil.rmtree(tmp_path / "aside", ignore_errors=True)

    thread = threading.Thread(target=toggle)
    thread.start()
    try:
        codes = [mmh("unpack", "-f", tmp_path / "x.mmh", "-o", out).code for _ in range(60)]
    finally:
        ending.set()
        thread.join()
    assert set(codes) <= {OK, IO, USAGE}, codes
    assert names(outside) == [], "a file was written through a symlink"
    assert not [path for path in out.rglob("*") if path.is_file() and len(path.read_bytes()) != 50]
    assert not [name for name in names(out) if name.startswith(".mmh")]


# ---- damage ----


def test_every_kind_of_cut(tmp_path):
    source = put(tmp_path, "m.safetensors", model())
    packed = tmp_path / "m.mmh"
    mmh("pack", source, "-o", packed, code=OK)
    good, restored = packed.read_bytes(), tmp_path / "out"
    cut = tmp_path / "cut.mmh"
    for size in sorted(
        {
            0,
            1,
            127,
            128,
            383,
            384,
            len(good) - 257,
            len(good) - 256,
            len(good) - 1,
            *random.Random(9).sample(range(len(good)), 30),
        }
    ):
        cut.write_bytes(good[:size])
        verified, unpacked = mmh("verify", cut).code, mmh("unpack", cut, "-o", restored).code
        assert verified in (DAMAGED, LOST, UNSUPPORTED), (size, verified)
        assert unpacked == (MENDED if verified == DAMAGED else verified), (size, verified, unpacked)
        assert (unpacked == MENDED) == restored.exists(), size
        if restored.exists():
            assert restored.read_bytes() == source.read_bytes()
            restored.unlink()
    assert names(tmp_path) == ["cut.mmh", "m.mmh", "m.safetensors"]


def test_the_checksum_is_looked_at_before_the_version(tmp_path):
    for field in ("major", "minor", "draft", "suite", "required"):
        sound = bytearray(golden.Handmade(**{field: 77}).bytes())
        path = put(tmp_path, "newer.mmh", sound)
        newer = mmh("verify", path)
        assert newer.code == (OK if field == "minor" else UNSUPPORTED), (field, newer)
        sound = bytearray(golden.Handmade().bytes())
        sound[{"major": 8, "minor": 10, "draft": 12, "suite": 14, "required": 16}[field]] ^= 0x40
        path = put(tmp_path, "damaged.mmh", sound)
        mmh("verify", path, code=DAMAGED)  # the same byte, and no right checksum: damage, not a newer version
        mmh("unpack", path, "-o", tmp_path / "out", code=MENDED)
        (tmp_path / "out").unlink()


def test_damage_names_the_container(tmp_path):
    source = put(tmp_path, "m.safetensors", model())
    for name in ("a.mmh", "b.mmh"):
        mmh("pack", source, "-o", tmp_path / name, code=OK)
    spoiled = bytearray((tmp_path / "b.mmh").read_bytes())
    spoiled[128] ^= 1
    (tmp_path / "b.mmh").write_bytes(spoiled)
    for arguments in (["verify"], ["verify", "--quick"]):
        result = mmh(*arguments, "a.mmh", "b.mmh", cwd=tmp_path, code=LOST)
        assert result.err.startswith("mmh: error: b.mmh: ") and "chunk 0 is damaged (offset 0x80, " in result.err, (
            result
        )
    assert "b.mmh: " in mmh("unpack", "b.mmh", "-o", "out", cwd=tmp_path, code=LOST).err


# ---- nothing is lost, whatever is named as what ----


def test_two_inputs_never_share_an_output(tmp_path):
    put(tmp_path, "a/x", b"AAA")
    put(tmp_path, "b/x", b"BBB")
    (tmp_path / "out").mkdir()
    result = mmh("pack", "--rm", "-f", "a/x", "b/x", "-o", "out/", cwd=tmp_path, code=USAGE)
    assert "another input of this call" in result.err
    assert (tmp_path / "b/x").read_bytes() == b"BBB" and not (tmp_path / "a/x").exists()
    assert mmh("cat", "out/x.mmh", cwd=tmp_path, code=OK).raw == b"AAA"
    mmh("pack", "b/x", cwd=tmp_path, code=OK)
    mmh("pack", "b", "-o", "b.mmh", cwd=tmp_path, code=OK)
    (tmp_path / "back").mkdir()
    result = mmh("unpack", "--rm", "-f", "out/x.mmh", "b/x.mmh", "-o", "back/", cwd=tmp_path, code=USAGE)
    assert "another container of this call" in result.err and (tmp_path / "b/x.mmh").exists()
    assert (tmp_path / "back/x").read_bytes() == b"AAA"


def test_an_output_within_the_input_is_not_lost(tmp_path):
    put(tmp_path, "model/a", b"hello")
    put(tmp_path, "model/b", b"PRECIOUS")
    assert "input and output" in mmh("pack", "-f", "model", "-o", "model/b", cwd=tmp_path, code=USAGE).err
    assert (tmp_path / "model/b").read_bytes() == b"PRECIOUS"
    for _ in range(2):  # a container of its own is packed anew, and not packed
        mmh("pack", "-f", "model", "-o", "model/own.mmh", cwd=tmp_path, code=OK)
        assert {f["name"] for f in mmh("ls", "--json", "model/own.mmh", cwd=tmp_path).json()["files"]} == {
            ".",
            "a",
            "b",
        }
    put(tmp_path, "d/x", b"linked")
    os.link(tmp_path / "d/x", tmp_path / "out.mmh")
    mmh("pack", "-f", "d", "-o", "out.mmh", cwd=tmp_path, code=OK)
    assert mmh("cat", "out.mmh", "x", cwd=tmp_path, code=OK).raw == b"linked" == (tmp_path / "d/x").read_bytes()


def test_a_container_is_not_replaced_by_what_is_in_it(tmp_path):
    put(tmp_path, "in/c.mmh", b"precious")
    put(tmp_path, "in/a", b"q")
    mmh("pack", "a", "c.mmh", "-o", "../c.mmh", cwd=tmp_path / "in", code=OK)
    before = (tmp_path / "c.mmh").read_bytes()
    for options in ["-f"], ["-f", "--rm"]:
        assert "that it is in" in mmh("unpack", *options, "c.mmh", cwd=tmp_path, code=USAGE).err
        assert (tmp_path / "c.mmh").read_bytes() == before and not (tmp_path / "a").exists()


def test_rm_leaves_what_is_behind_a_symlink(tmp_path):
    put(tmp_path, "real/x", b"x")
    (tmp_path / "link").symlink_to("real")
    assert "symlink to a folder" in mmh("pack", "--rm", "link", cwd=tmp_path, code=USAGE).err
    assert (tmp_path / "real/x").exists() and not (tmp_path / "link.mmh").exists()
    put(tmp_path, "d/f.mmh", b"f")
    result = mmh("pack", "d/f.mmh", "d", "-o", "t.mmh", "--rm", cwd=tmp_path)
    assert result.code == USAGE and "packed twice" in result.err and (tmp_path / "d/f.mmh").exists(), result


def test_a_closed_standard_output_is_told(tmp_path):
    put(tmp_path, "m.bin", b"m" * 1000)
    mmh("pack", "m.bin", cwd=tmp_path, code=OK)
    for line in (
        "pack -c m.bin",
        "unpack -c m.bin.mmh",
        "cat m.bin.mmh",
        "ls m.bin.mmh",
        "verify m.bin.mmh",
        "--version",
    ):
        done = subprocess.run(
            ["bash", "-c", f"{binary()} {line} >&-"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == IO and done.stderr.count("mmh: error: ") == 1, (line, done)
    full = subprocess.run(
        ["bash", "-c", f"{binary()} cat m.bin.mmh >/dev/full"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == IO and full.stderr.count("mmh: error: ") == 1, full


def test_a_named_pipe_is_read_and_lets_go(tmp_path):
    put(tmp_path, "m.bin", b"m" * 1000)
    mmh("pack", "m.bin", cwd=tmp_path, code=OK)
    os.mkfifo(tmp_path / "pipe")
    for verb in "verify", "info", "unpack", "ls":
        process = subprocess.Popen([binary(), verb, "pipe"], cwd=tmp_path, stderr=subprocess.PIPE)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == INTERRUPTED, verb
    done = subprocess.run(
        ["bash", "-c", f"cat m.bin.mmh > pipe & {binary()} verify pipe"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == OK and done.stdout.startswith("pipe: ok"), done
    assert "neither a file nor a folder" in mmh("verify", "/dev/zero", code=USAGE).err


if __name__ == "__main__":
    main(globals())
