# SPDX-License-Identifier: Apache-2.0
"""Promises that attackers and accidents have tried to break: journals, special files, layers of verify, repair."""

import fcntl
import json
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "cli")]

from harness import LOST, MENDED, OK, UNTRUSTED, USAGE, binary, mmh, safetensors  # noqa: E402


def packed(folder, *options):
    data = safetensors({"w": ("F32", [64, 256], os.urandom(65536))})
    (folder / "m.safetensors").write_bytes(data)
    mmh("pack", "-q", *options, "m.safetensors", "-o", "m.mmh", cwd=folder, code=OK)
    return (folder / "m.mmh").read_bytes()


def journal(root, size_after, records):
    """A journal as `mmh repair` leaves it when it is killed, with right CRCs."""
    body = b""
    for offset, data in records:
        body += struct.pack("<QIII4x", offset, len(data), 1, zlib.crc32(data)) + data + bytes(-len(data) % 8)
    head = bytearray(128)
    head[:8], head[8:40] = b"MMHJRNL\n", root
    struct.pack_into("<QQQQ", head, 40, 0, size_after, len(records), 128 + len(body))
    struct.pack_into("<I", head, 124, zlib.crc32(bytes(head[:124])))
    return bytes(head) + body


def damaged(folder, data):
    bad = bytearray(data)
    bad[len(bad) // 3 : len(bad) // 3 + 64] = bytes(64)
    (folder / "bad.mmh").write_bytes(bad)


def test_a_journal_somebody_put_there_does_not_destroy_a_sound_container(tmp_path):
    data = packed(tmp_path)
    (tmp_path / "m.mmh-journal").write_bytes(journal(data[-192:-160], 0, []))
    mmh("repair", "m.mmh", cwd=tmp_path)
    assert (tmp_path / "m.mmh").read_bytes() == data


SPECIAL = {
    "signer": ["verify", "--signer", "SPECIAL", "m.mmh"],
    "signature": ["verify", "--signer", "k.pub", "--signature", "SPECIAL", "m.mmh"],
    "bundle": ["verify", "--signer", "k.pub", "--bundle", "SPECIAL", "m.safetensors"],
    "key": ["sign", "--key", "SPECIAL", "m.mmh"],
    "show": ["keys", "show", "SPECIAL"],
    "accept": ["keys", "accept", "SPECIAL"],
    "source": ["repair", "--source", "SPECIAL", "m.mmh"],
    "container": ["repair", "SPECIAL"],
}


@pytest.mark.parametrize("special", ["fifo", "/dev/zero"])
@pytest.mark.parametrize("arguments", SPECIAL.values(), ids=SPECIAL)
def test_a_fifo_or_a_device_in_place_of_a_file_is_refused_and_does_not_hang(tmp_path, arguments, special):
    packed(tmp_path)
    mmh("keygen", "-q", "--algorithm=ed25519", "-o", "k", cwd=tmp_path, code=OK)
    os.mkfifo(tmp_path / "fifo")
    arguments = [special if argument == "SPECIAL" else argument for argument in arguments]
    result = mmh(*arguments, cwd=tmp_path, timeout=20, environment={"XDG_CONFIG_HOME": str(tmp_path)})
    assert result.code not in (OK, MENDED)
    assert "is not a regular file" in result.err


def test_a_fifo_in_place_of_a_journal_is_refused_and_does_not_hang(tmp_path):
    data = packed(tmp_path)
    os.mkfifo(tmp_path / "m.mmh-journal")
    result = mmh("repair", "m.mmh", cwd=tmp_path, timeout=20)
    assert result.code not in (OK, MENDED) and "is a device or a pipe" in result.err
    assert (tmp_path / "m.mmh").read_bytes() == data


def test_a_signal_ends_waiting_for_a_pipe(tmp_path):
    packed(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    for arguments in (["verify", "--signer", "fifo", "m.mmh"], ["verify", "fifo"], ["pack", "-", "-o", "out.mmh"]):
        writer = os.open(tmp_path / "fifo", os.O_RDWR)  # it has a writer, who writes nothing
        child = subprocess.Popen([binary(), *arguments], cwd=tmp_path, stdin=writer, stderr=subprocess.DEVNULL)
        try:
            time.sleep(0.5)
            assert child.poll() is None, arguments
            child.terminate()
            assert child.wait(timeout=10) != OK
        finally:
            os.close(writer)
            child.kill()
            child.wait()


def test_keys_and_signatures_come_from_pipes_that_somebody_writes_to(tmp_path):
    packed(tmp_path)
    mmh("keygen", "-q", "--algorithm=ed25519", "-o", "k", cwd=tmp_path, code=OK)
    script = """set -e
        "$0" sign -q --key <(sleep 1; cat k.key) m.mmh
        "$0" verify -q --signer <(sleep 1; cat k.pub) m.mmh
        "$0" sign -q --key k.key --detached=m.sig m.mmh
        "$0" verify -q --signer <(cat k.pub) --signature <(sleep 3; cat m.sig) m.mmh
        mkfifo late; (sleep 1; cat k.pub > late) & "$0" verify -q --signer late m.mmh
        "$0" encrypt -q --passphrase-file <(sleep 1; echo word) m.mmh"""
    subprocess.run(["bash", "-c", script, binary()], cwd=tmp_path, timeout=100, check=True)


def test_a_lost_chunk_comes_back_from_the_original_model(tmp_path):
    data = packed(tmp_path)
    damaged(tmp_path, data)
    mmh("repair", "--source", "m.safetensors", "bad.mmh", cwd=tmp_path, code=MENDED)
    assert (tmp_path / "bad.mmh").read_bytes() == data


def test_lost_chunks_come_back_from_originals_that_pack_was_told_of(tmp_path):
    """Raw arrays, and dumps with a layout: the container knows of their tensors, the files do not."""
    pairs = np.random.default_rng(7).normal(0, 0.02, 200_000).astype("<f4").view("<u2").reshape(-1, 2)
    halves = pairs[:, 1].tobytes()  # bf16
    (tmp_path / "raw.bin").write_bytes(halves)
    (tmp_path / "told.bin").write_bytes(b"HEADER__" + halves + pairs.tobytes())
    layout = {"tensors": [{"name": "a", "dtype": "bf16", "shape": [400, 500], "offset": 8}]}
    layout["tensors"].append({"name": "b", "dtype": "f32", "shape": [200_000], "offset": 8 + len(halves)})
    (tmp_path / "layout.json").write_text(json.dumps(layout))
    for name, how in (("raw.bin", ["--dtype=bf16", "--shape=400,500"]), ("told.bin", ["--layout=layout.json"])):
        mmh("pack", "-q", *how, name, cwd=tmp_path, code=OK)
        data = (tmp_path / f"{name}.mmh").read_bytes()
        damaged(tmp_path, data)
        mmh("repair", "bad.mmh", cwd=tmp_path, code=LOST)
        mmh("repair", "--source", name, "bad.mmh", cwd=tmp_path, code=MENDED)
        assert (tmp_path / "bad.mmh").read_bytes() == data


def test_no_layer_is_ok_that_was_not_looked_at(tmp_path):
    damaged(tmp_path, packed(tmp_path))
    result = mmh("verify", "-v", "bad.mmh", cwd=tmp_path, code=LOST)
    line = next(line for line in (result.out + result.err).splitlines() if line.split()[:1] == ["digest"])
    assert line.split()[1] != "ok"


def test_signatures_of_runs_at_once_are_all_there_or_refused(tmp_path):
    packed(tmp_path)
    names = [f"k{number}" for number in range(8)]
    for name in names:
        mmh("keygen", "-q", "--algorithm=ed25519", "-o", name, cwd=tmp_path, code=OK)
    commands = [[binary(), "sign", "-q", "--key", f"{name}.key", "m.mmh"] for name in names]
    runs = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) for command in commands]
    done = [name for name, run in zip(names, runs, strict=True) if run.wait(timeout=60) == OK]
    info = mmh("info", "--json", "m.mmh", cwd=tmp_path, code=OK).json()
    assert done and len(info["signatures"]) == len(done)
    for name in done:
        mmh("verify", "-q", "--signer", f"{name}.pub", "m.mmh", cwd=tmp_path, code=OK)


@pytest.mark.parametrize("change", [["--key", "k.key"], ["--remove"]], ids=["sign", "remove"])
def test_signing_beside_encrypting_leaves_it_encrypted(tmp_path, change):
    packed(tmp_path)
    mmh("keygen", "-q", "--algorithm=ed25519", "-o", "k", cwd=tmp_path, code=OK)
    mmh("keygen", "-q", "--algorithm=x25519", "-o", "r", cwd=tmp_path, code=OK)
    data = (tmp_path / "m.mmh").read_bytes()
    for _ in range(6):
        (tmp_path / "m.mmh").write_bytes(data)
        commands = [["encrypt", "-q", "--recipient", "r.pub", "m.mmh"], ["sign", "-q", *change, "m.mmh"]]
        runs = [subprocess.Popen([binary(), *command], cwd=tmp_path) for command in commands]
        codes = [run.wait(timeout=60) for run in runs]
        assert codes[0] == OK
        info = mmh("info", "--json", "--key", "r.key", "m.mmh", cwd=tmp_path, code=OK).json()
        assert info["encryption"]["recipients"], info
        mmh("verify", "-q", "--key", "r.key", "m.mmh", cwd=tmp_path, code=OK)


def test_a_container_that_is_being_changed_is_waited_for(tmp_path):
    packed(tmp_path)
    mmh("keygen", "-q", "--algorithm=ed25519", "-o", "k", cwd=tmp_path, code=OK)
    for arguments in (["sign", "-q", "--key", "k.key", "m.mmh"], ["repair", "-q", "m.mmh"]):
        with (tmp_path / "m.mmh").open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            child = subprocess.Popen([binary(), *arguments], cwd=tmp_path)
            time.sleep(1)
            assert child.poll() is None
            mmh("verify", "-q", "m.mmh", cwd=tmp_path, code=OK)
        assert child.wait(timeout=20) == OK


def test_a_key_is_not_written_through_a_symlink(tmp_path):
    (tmp_path / "k.key").symlink_to("elsewhere")
    mmh("keygen", "-q", "-f", "--algorithm=ed25519", "-o", "k", cwd=tmp_path, code=OK)
    assert not (tmp_path / "elsewhere").exists() and not (tmp_path / "k.key").is_symlink()
    assert (tmp_path / "k.key").stat().st_mode & 0o777 == 0o600


# ---- what a careful new user tried ----


def keys(folder, *names):
    for name in names:
        mmh("keygen", "-q", "--algorithm=ed25519,x25519", "-o", name, cwd=folder, code=OK)


def test_nothing_is_changed_in_place_of_standard_output(tmp_path):
    data = packed(tmp_path)
    keys(tmp_path, "k")
    mmh("encrypt", "-q", "-r", "k.pub", "m.mmh", "-o", "e.mmh", cwd=tmp_path, code=OK)
    sealed = (tmp_path / "e.mmh").read_bytes()
    for words in (
        ["sign", "--key=k.key", "m.mmh"],
        ["encrypt", "-r", "k.pub", "m.mmh"],
        ["repair", "m.mmh"],
        ["repair", "--parity=5%", "m.mmh"],
        ["encrypt", "--rekey", "-r", "k.pub", "--key=k.key", "e.mmh"],
        ["encrypt", "--add-recipient=k.pub", "--key=k.key", "e.mmh"],
        ["decrypt", "--key=k.key", "e.mmh"],
        ["keygen"],
    ):
        result = mmh(*words, "-o", "-", cwd=tmp_path, code=USAGE)
        assert "standard output" in result.err and not result.raw
    mmh("sign", "--key=k.key", "--detached=-", "m.mmh", cwd=tmp_path, code=USAGE)
    assert (tmp_path / "m.mmh").read_bytes() == data and (tmp_path / "e.mmh").read_bytes() == sealed
    assert not (tmp_path / "-").exists()


def test_a_file_does_not_stand_in_for_a_stored_key(tmp_path):
    packed(tmp_path)
    keys(tmp_path, "bob", "eve")
    store = {"MMH_TRUST": str(tmp_path / "trust")}
    mmh("keys", "add", "openai", "bob.pub", cwd=tmp_path, environment=store, code=OK)
    mmh("sign", "-q", "--key=eve.key", "m.mmh", cwd=tmp_path, code=OK)
    (tmp_path / "openai").write_bytes((tmp_path / "eve.pub").read_bytes())
    for words in (["verify", "--signer=openai"], ["unpack", "--signer=openai"], ["encrypt", "-r", "openai"]):
        result = mmh(*words, "m.mmh", cwd=tmp_path, environment=store, code=USAGE)
        assert "a file here, and a key of the trust store" in result.err
    mmh("verify", "-q", "--signer=./openai", "m.mmh", cwd=tmp_path, environment=store, code=OK)
    (tmp_path / "openai").unlink()
    mmh("verify", "-q", "--signer=openai", "m.mmh", cwd=tmp_path, environment=store, code=UNTRUSTED)


def test_nothing_is_encrypted_to_a_revoked_key(tmp_path):
    data = packed(tmp_path)
    keys(tmp_path, "bob")
    store = {"MMH_TRUST": str(tmp_path / "trust")}
    mmh("keys", "add", "bob", "bob.pub", cwd=tmp_path, environment=store, code=OK)
    mmh("keys", "revoke", "bob", cwd=tmp_path, environment=store, code=OK)
    for key in ("bob.pub", "bob"):
        mmh("encrypt", "-r", key, "m.mmh", cwd=tmp_path, environment=store, code=UNTRUSTED)
    assert (tmp_path / "m.mmh").read_bytes() == data


def test_what_is_private_stays_private(tmp_path):
    packed(tmp_path)
    keys(tmp_path, "k")
    os.umask(0o022)

    def mode(name):
        return (tmp_path / name).stat().st_mode & 0o777

    for given in (0o600, 0o640, 0o400, 0o644):
        os.chmod(tmp_path / "m.mmh", given)
        mmh("repair", "-q", "--parity=9%", "m.mmh", cwd=tmp_path, code=OK)
        assert mode("m.mmh") == given
        private = given in (0o600, 0o400)
        mmh("repair", "-fqo", "new.mmh", "m.mmh", cwd=tmp_path, code=OK)
        assert mode("new.mmh") == (0o600 if private else 0o644)
        mmh("encrypt", "-fq", "-r", "k.pub", "m.mmh", "-o", "e.mmh", cwd=tmp_path, code=OK)
        mmh("decrypt", "-fq", "--key=k.key", "e.mmh", "-o", "d.mmh", cwd=tmp_path, code=OK)
        assert mode("e.mmh") == mode("d.mmh") == (0o600 if private else 0o644)
        os.chmod(tmp_path / "m.safetensors", given)
        mmh("pack", "-fq", "m.safetensors", "-o", "p.mmh", cwd=tmp_path, code=OK)
        assert mode("p.mmh") == (0o600 if private else 0o644)
        data = (tmp_path / "m.safetensors").read_bytes()
        mmh("pack", "-fq", "-", "-o", "p.mmh", stdin=data, cwd=tmp_path, code=OK)
        assert mode("p.mmh") == 0o644


def test_encrypting_does_not_promise_a_profile_that_the_hash_breaks(tmp_path):
    data = packed(tmp_path)
    mmh("keygen", "-q", "--profile=cnsa2", "-o", "k", cwd=tmp_path, code=OK)
    result = mmh("encrypt", "--profile=cnsa2", "-r", "k.pub", "m.mmh", cwd=tmp_path, code=USAGE)
    assert "hash" in result.err and (tmp_path / "m.mmh").read_bytes() == data
    mmh("pack", "-fq", "--profile=cnsa2", "m.safetensors", "-o", "m.mmh", cwd=tmp_path, code=OK)
    mmh("encrypt", "-q", "--profile=cnsa2", "-r", "k.pub", "m.mmh", cwd=tmp_path, code=OK)
    mmh("sign", "-q", "--key=k.key", "m.mmh", cwd=tmp_path, code=OK)
    mmh("audit", "--profile=cnsa2", "m.mmh", cwd=tmp_path, code=OK)


def test_pipes_and_devices_are_not_changed(tmp_path):
    packed(tmp_path)
    keys(tmp_path, "k")
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "/dev/zero"):
        for words in (["encrypt", "-r", "k.pub"], ["decrypt", "--key=k.key"], ["sign", "--key=k.key"]):
            result = mmh(*words, name, "-o", "out.mmh", cwd=tmp_path, timeout=20, code=USAGE)
            assert "is a pipe or a device" in result.err


def test_no_key_is_in_what_a_crash_leaves(tmp_path):
    """RLIMIT_CORE, as /proc has it, of a run that has read a key and waits for a passphrase."""
    if not os.path.exists("/proc/self/limits"):
        pytest.skip("no /proc")
    packed(tmp_path)
    keys(tmp_path, "k")
    reader, writer = os.pipe()
    words = [binary(), "sign", "--key=k.key", f"--passphrase-fd={reader}", "--key=sealed.key", "m.mmh"]
    (tmp_path / "w").write_bytes(b"word\n")
    mmh("keygen", "-q", "-p", "--passphrase-file=w", "-o", "sealed", cwd=tmp_path, code=OK)
    child = subprocess.Popen(words, cwd=tmp_path, pass_fds=[reader], stderr=subprocess.DEVNULL)
    try:
        limit = ""
        for _ in range(200):
            limits = Path(f"/proc/{child.pid}/limits").read_text().splitlines()
            limit = next(line for line in limits if line.startswith("Max core")).split()[4]
            if limit == "1":
                break
            time.sleep(0.05)
        assert limit == "1" and child.poll() is None
    finally:
        os.write(writer, b"word\n")
        assert child.wait(timeout=60) == OK
        os.close(reader)
        os.close(writer)


def test_an_audit_says_what_is_not_there(tmp_path):
    data = packed(tmp_path)
    said = mmh("audit", cwd=tmp_path, stdin=data, code=OK).out  # as cat m.mmh | mmh audit
    assert "not encrypted" in said and "not signed" in said
    keys(tmp_path, "k")
    mmh("encrypt", "-q", "-r", "k.pub", "--sign-with=k.key", "m.mmh", cwd=tmp_path, code=OK)
    said = mmh("audit", "m.mmh", cwd=tmp_path, code=OK).out
    assert "not encrypted" not in said and "not signed" not in said


def test_keys_are_added_with_their_fingerprints_and_follow_others_alone(tmp_path):
    keys(tmp_path, "bob")
    store = {"MMH_TRUST": str(tmp_path / "trust")}
    prints = [part["fingerprint"] for part in mmh("keys", "show", "--json", "bob.pub", cwd=tmp_path).json()["keys"]]
    said = mmh("keys", "add", "bob", "bob.pub", cwd=tmp_path, environment=store, code=OK).err
    assert prints and all(one in said for one in prints)
    result = mmh("keys", "rotate", "bob.key", "bob.key", "-o", "next", cwd=tmp_path, code=USAGE)
    assert "follow itself" in result.err and not (tmp_path / "next").exists()
