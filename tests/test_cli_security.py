#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command's keys, signatures, encryption, parity and audits, as a user types them; and that no secret is seen.

`python3 tests/test_cli_security.py [NAME...]`, or pytest.
"""

import base64
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import termios
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import (
    DAMAGED,
    INTERRUPTED,
    IO,
    KEY,
    LOST,
    MENDED,
    OK,
    SANITIZERS,
    UNTRUSTED,
    USAGE,
    binary,
    main,
    mmh,
    model,
    put,
    skip,
)
from terminal import Session

SECRET = "correct horse battery staple"


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def flip(path, at=-1, to=None):
    """A copy of a file with a bit of one byte turned round; at -1: somewhere in its chunks."""
    data = bytearray(Path(path).read_bytes())
    data[at if at >= 0 else 2000] ^= 0x10
    to = to or Path(f"{path}.damaged")
    to.write_bytes(data)
    return to


def keygen(folder, *names, algorithm="ed25519,x25519"):
    """Keys, quick ones unless said otherwise."""
    for name in names:
        mmh("keygen", "--algorithm", algorithm, "-o", name, cwd=folder, code=OK)


def small(folder, *arguments, name="m.safetensors"):
    """A model in a folder, packed with arguments: its bytes."""
    data = model(10)
    put(folder, name, data)
    mmh("pack", "-f", name, *arguments, cwd=folder, code=OK)
    return data


# ---- keygen ----


def test_keygen_makes_a_hybrid_that_nobody_else_may_read(tmp_path):
    os.umask(0o022)
    result = mmh("keygen", "-o", "alice", "--json", cwd=tmp_path, code=OK).json()
    assert (result["private_file"], result["public_file"], result["passphrase"]) == ("alice.key", "alice.pub", False)
    assert mode(tmp_path / "alice.key") == 0o600 and mode(tmp_path / "alice.pub") == 0o644
    parts = {part["use"]: part for part in result["keys"]}
    assert parts["sign"]["algorithm"] == "ml-dsa-65-ed25519" and parts["decrypt"]["algorithm"] == "x-wing"
    assert all(part["classical"] and part["post_quantum"] and part["nist_category"] == 3 for part in parts.values())
    said = mmh("keygen", "-o", "bob.key", cwd=tmp_path, code=OK)
    assert (tmp_path / "bob.key").exists() and (tmp_path / "bob.pub").exists()
    assert "bob.key: private" in said.out and "hybrid, NIST category 3" in said.out
    shown = mmh("keys", "show", "--json", "bob.pub", cwd=tmp_path, code=OK).json()
    assert all(part["fingerprint"] in said.out for part in shown["keys"])
    assert not any(part["secret"] for part in shown["keys"])
    private = mmh("keys", "show", "--json", "bob.key", cwd=tmp_path, code=OK).json()
    assert [part["fingerprint"] for part in private["keys"]] == [part["fingerprint"] for part in shown["keys"]]
    assert all(part["secret"] for part in private["keys"])
    text = (tmp_path / "bob.key").read_text()
    for line in text.splitlines():
        assert "-----" in line or len(line) < 20 or line not in said.out


def test_keygen_replaces_nothing_by_itself(tmp_path):
    keygen(tmp_path, "alice")
    before = (tmp_path / "alice.key").read_bytes()
    result = mmh("keygen", "--algorithm=ed25519", "-o", "alice", cwd=tmp_path, code=USAGE)
    assert '"alice.key" exists' in result.err and "is lost then" in result.err
    (tmp_path / "alice.key").rename(tmp_path / "kept.key")
    result = mmh("keygen", "--algorithm=ed25519", "-o", "alice", cwd=tmp_path, code=USAGE)
    assert '"alice.pub" exists' in result.err and not (tmp_path / "alice.key").exists()
    (tmp_path / "kept.key").rename(tmp_path / "alice.key")
    mmh("keygen", "-f", "--algorithm=ed25519", "-o", "alice", cwd=tmp_path, code=OK)
    assert (tmp_path / "alice.key").read_bytes() != before and mode(tmp_path / "alice.key") == 0o600


def test_keygen_takes_algorithms_and_profiles(tmp_path):
    for arguments, expected in (
        (["--algorithm=ml-dsa-44"], ["ml-dsa-44"]),
        (["--algorithm=rsa-pss,rsa-oaep", "--rsa-bits=2048"], ["rsa-pss", "rsa-oaep"]),
        (["--profile=cnsa2"], ["ml-dsa-87", "ml-kem-1024"]),
        (["--profile=classical"], ["ed25519", "x25519"]),
    ):
        made = mmh("keygen", "-fo", "k", "--json", *arguments, cwd=tmp_path, code=OK).json()
        assert [part["algorithm"] for part in made["keys"]] == expected
        assert [part.get("bits") for part in made["keys"]] == [2048 if "rsa" in name else None for name in expected]
    for arguments, words in (
        (["-o", "x", "--algorithm=ed25518"], "ed25518"),
        (["-o", "x", "--algorithm=ed25519,ml-dsa-44"], ""),
        (["-o", "x", "--profile=cnsa3"], 'no profile is called "cnsa3"'),
        (["--algorithm=ed25519"], "needs a name"),
        (["x"], "reads no files"),
        (["-o", "nowhere/x"], "nowhere"),
    ):
        result = mmh("keygen", *arguments, cwd=tmp_path)
        assert result.code in (USAGE, IO) and words in result.err, result
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k.key", "k.pub"]


# ---- passphrases ----


class Prompted(Session):
    """A run in a terminal that answers its questions."""

    def answer(self, question, text):
        assert self.until(lambda screen: question in screen.raw.replace("\r\n", "\n")), self.screen.raw
        time.sleep(0.05)  # the echo is off before the question is asked
        self.screen.raw = ""
        self.type(text)

    def echoes(self):
        return bool(termios.tcgetattr(self.terminal)[3] & termios.ECHO)


def test_a_passphrase_is_asked_for_without_echo(tmp_path):
    session = Prompted("keygen", "-p", "--algorithm=ed25519,x25519", "-o", "alice", cwd=tmp_path)
    session.answer("new passphrase of alice.key: ", f"{SECRET}\n")
    assert session.until(lambda screen: "again: " in screen.raw)  # between the two there is echo
    assert not session.echoes()
    session.answer("new passphrase of alice.key, again: ", f"{SECRET}\n")
    assert session.wait() == OK
    assert SECRET not in session.screen.text() and "keep it and its passphrase" in session.screen.text()
    assert "ENCRYPTED" in (tmp_path / "alice.key").read_text() and mode(tmp_path / "alice.key") == 0o600
    data = small(tmp_path, "-r", "alice.pub")
    for word, code in ((SECRET, OK), ("mellon", KEY)):
        session = Prompted("unpack", "-fo", "back", "--key", "alice.key", "m.safetensors.mmh", cwd=tmp_path)
        session.answer("passphrase of alice.key: ", f"{word}\n")
        assert session.wait() == code, session.screen.text()
        assert word not in session.screen.text()
    assert (tmp_path / "back").read_bytes() == data


def test_two_different_answers_make_no_key(tmp_path):
    session = Prompted("keygen", "-p", "--algorithm=ed25519", "-o", "alice", cwd=tmp_path)
    session.answer("new passphrase of alice.key: ", "one\n")
    session.answer("again: ", "two\n")
    assert session.wait() == KEY and "the two passphrases differ" in session.screen.text()
    session = Prompted("keygen", "-p", "--algorithm=ed25519", "-o", "alice", cwd=tmp_path)
    session.answer("new passphrase of alice.key: ", "\n")
    assert session.wait() == KEY and "is empty" in session.screen.text()
    assert not list(tmp_path.iterdir())


def test_ctrl_c_gives_the_echo_back(tmp_path):
    session = Prompted("keygen", "-p", "--algorithm=ed25519", "-o", "alice", cwd=tmp_path)
    assert session.until(lambda screen: "new passphrase" in screen.raw)
    time.sleep(0.1)
    assert not session.echoes()
    session.type("\x03")
    session.until(lambda screen: "interrupted" in screen.raw)
    assert session.echoes()
    assert session.wait() == INTERRUPTED and not list(tmp_path.iterdir())


def test_a_question_is_asked_once_for_a_container(tmp_path):
    put(tmp_path, "word", SECRET.encode() + b"\n")
    data = small(tmp_path, "--passphrase-file=word")
    session = Prompted("unpack", "-fo", "back", "m.safetensors.mmh", cwd=tmp_path)
    session.answer("passphrase", f"{SECRET}\n")
    assert session.wait() == OK, session.screen.text()
    assert (tmp_path / "back").read_bytes() == data


def test_scripts_give_passphrases_by_file_or_descriptor(tmp_path):
    put(tmp_path, "word", SECRET.encode() + b"\r\nnot this\n")
    put(tmp_path, "other", b"another\n")
    put(tmp_path, "empty", b"\n")
    data = small(tmp_path, "--passphrase-file=word")
    here = {"MMH_PASSPHRASE_FILE": str(tmp_path / "word")}
    for arguments, environment, code in (
        (["--passphrase-file=word"], {}, OK),
        ([], here, OK),
        (["--passphrase-file=other"], {}, KEY),
        (["--passphrase-file=other"], here, OK),  # what opens comes from the variable
        (["--passphrase-file=empty"], {}, KEY),
        (["--passphrase-file=nothing"], {}, IO),
        (["--passphrase-fd=77"], {}, IO),
        (["--passphrase-fd=777"], {}, IO),  # beyond the kernel's table: not waited for
        (["--passphrase-fd=1"], {}, USAGE),
        ([], {}, KEY),
    ):
        result = mmh("cat", "m.safetensors.mmh", "ids", "-fo", "ids", *arguments, cwd=tmp_path, environment=environment)
        assert result.code == code, result
        assert SECRET not in result.err
    assert "no terminal" in result.err and "--passphrase-file=FILE" in result.err
    command = f"{binary()} unpack -fo back --passphrase-fd=5 m.safetensors.mmh 5< <(printf '%s' '{SECRET}')"
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    assert (tmp_path / "back").read_bytes() == data


# ---- pack, encrypted ----


def test_encrypted_for_several_and_opened_by_each(tmp_path):
    keygen(tmp_path, "alice", "bob", "eve")
    mmh("keygen", "-o", "carol", "--algorithm=x-wing", cwd=tmp_path, code=OK)
    data = small(tmp_path, "-r", "alice.pub", "--recipient=bob.pub", "-r", "carol.pub")
    packed = (tmp_path / "m.safetensors.mmh").read_bytes()
    assert b"embed.weight" not in packed and b"m.safetensors" not in packed
    for name in ("alice", "bob", "carol"):
        mmh("unpack", "-fo", "back", "--key", f"{name}.key", "m.safetensors.mmh", cwd=tmp_path, code=OK)
        assert (tmp_path / "back").read_bytes() == data
        (tmp_path / "back").unlink()
    for arguments in ([], ["--key", "eve.key"]):
        for verb in (["unpack", "-o", "back"], ["ls"], ["cat"], ["verify"], ["unpack", "-c"]):
            result = mmh(*verb, *arguments, "m.safetensors.mmh", cwd=tmp_path)
            assert result.code == KEY and result.raw == b"", result
        assert not (tmp_path / "back").exists()
    assert "--key" in mmh("ls", "m.safetensors.mmh", cwd=tmp_path, code=KEY).err
    result = mmh("unpack", "-o", "back", "--key", "alice.pub", "m.safetensors.mmh", cwd=tmp_path, code=KEY)
    assert "is a public key" in result.err and ".key" in result.err


def test_a_file_of_several_recipients_works(tmp_path):
    keygen(tmp_path, "alice", "bob")
    (tmp_path / "team.pub").write_text((tmp_path / "alice.pub").read_text() + (tmp_path / "bob.pub").read_text())
    data = small(tmp_path, "-r", "team.pub")
    for name in ("alice", "bob"):
        mmh("unpack", "-fo", "back", "--key", f"{name}.key", "m.safetensors.mmh", cwd=tmp_path, code=OK)
        assert (tmp_path / "back").read_bytes() == data


def test_age_recipients_are_taken(tmp_path):
    put(tmp_path, "m", b"x" * 3000)
    for recipient in ("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",):
        mmh("pack", "-f", "-r", recipient, "m", cwd=tmp_path, code=OK)
        info = mmh("info", "--json", "m.mmh", cwd=tmp_path, code=OK).json()
        assert info["locked"] and [one["algorithm"] for one in info["encryption"]["recipients"]] == ["x25519"]
    mmh("pack", "-f", "-r", "age1nonsense", "m", cwd=tmp_path, code=KEY)
    result = mmh("pack", "-f", "-r", "nobody", "m", cwd=tmp_path, environment={"MMH_TRUST": str(tmp_path / "t")})
    assert result.code == USAGE and "mmh keys list" in result.err, result


def test_the_variable_names_keys(tmp_path):
    keygen(tmp_path, "alice", "bob")
    data = small(tmp_path, "-r", "alice.pub")
    here = {"MMH_KEY": "bob.key:alice.key"}
    mmh("unpack", "-fo", "back", "m.safetensors.mmh", cwd=tmp_path, environment=here, code=OK)
    assert (tmp_path / "back").read_bytes() == data
    put(tmp_path, "plain", b"x" * 2000)
    mmh("pack", "plain", cwd=tmp_path, code=OK)  # keys are not even read for what is not encrypted
    mmh("verify", "plain.mmh", cwd=tmp_path, environment={"MMH_KEY": "nothing.key"}, code=OK)
    mmh("ls", "m.safetensors.mmh", cwd=tmp_path, environment={"MMH_KEY": "nothing.key"}, code=IO)
    mmh("ls", "m.safetensors.mmh", "--key=bob.key", cwd=tmp_path, environment=here, code=KEY)


def test_ciphers_hashes_and_profiles(tmp_path):
    keygen(tmp_path, "alice")
    mmh("keygen", "-o", "agent", "--profile=cnsa2", cwd=tmp_path, code=OK)
    for aead in ("aes-256-gcm", "chacha20-poly1305"):
        small(tmp_path, "-r", "alice.pub", "--aead", aead)
        assert mmh("info", "--json", "m.safetensors.mmh", cwd=tmp_path, code=OK).json()["encryption"]["aead"] == aead
    mmh("pack", "--aead=rot13", "m.safetensors", cwd=tmp_path, code=USAGE)
    small(tmp_path, "-r", "agent.pub", "--sign-with", "agent.key", "--profile=cnsa2")
    info = mmh("info", "--json", "--key=agent.key", "m.safetensors.mmh", cwd=tmp_path, code=OK).json()
    assert info["hash"] == "sha384" and len(info["root"]) == 96 and info["encryption"]["aead"] == "aes-256-gcm"
    mmh("audit", "--profile=cnsa2", "m.safetensors.mmh", cwd=tmp_path, code=OK)
    result = mmh("pack", "-fr", "alice.pub", "--profile=cnsa2", "m.safetensors", cwd=tmp_path, code=USAGE)
    assert "x25519 of alice.pub is not in the profile cnsa2" in result.err
    mmh("pack", "-f", "--hash=blake3", "--profile=cnsa2", "m.safetensors", cwd=tmp_path, code=USAGE)


def test_rm_reads_back_what_is_encrypted(tmp_path):
    keygen(tmp_path, "alice")
    put(tmp_path, "word", SECRET.encode())
    for arguments in (["-r", "alice.pub", "--key", "alice.key"], ["--passphrase-file", "word"]):
        data = model(10)
        put(tmp_path, "m.safetensors", data)
        mmh("pack", "--rm", "-f", "m.safetensors", *arguments, cwd=tmp_path, code=OK)
        assert not (tmp_path / "m.safetensors").exists()
        mmh("unpack", "-f", "m.safetensors.mmh", *arguments[-2:], cwd=tmp_path, code=OK)
        assert (tmp_path / "m.safetensors").read_bytes() == data
    result = mmh("pack", "--rm", "-f", "-r", "alice.pub", "m.safetensors", cwd=tmp_path, code=USAGE)
    assert "--key=FILE" in result.err and (tmp_path / "m.safetensors").exists()


# ---- encrypt, decrypt ----


def test_encrypt_add_rekey_decrypt(tmp_path):
    keygen(tmp_path, "alice", "bob", "carol")
    data = small(tmp_path, "--sign-with", "bob.key")
    packed = tmp_path / "m.safetensors.mmh"
    plain = packed.read_bytes()
    assert "needs a recipient" in mmh("encrypt", packed, cwd=tmp_path, code=USAGE).err
    result = mmh("encrypt", "-r", "alice.pub", packed, "-o", "sealed.mmh", cwd=tmp_path, code=OK)
    assert packed.read_bytes() == plain and "sign it anew" in result.err
    mmh("encrypt", "-r", "alice.pub", packed, "-o", "sealed.mmh", cwd=tmp_path, code=USAGE)  # it exists
    mmh("encrypt", "-r", "alice.pub", packed, cwd=tmp_path, code=OK)
    assert b"embed.weight" not in packed.read_bytes()
    assert "encrypted already" in mmh("encrypt", "-r", "bob.pub", packed, cwd=tmp_path, code=USAGE).err

    def opens(name, container=packed):
        result = mmh("unpack", "-fo", "back", "--key", f"{name}.key", container, cwd=tmp_path)
        assert result.code in (OK, KEY), result
        assert result.code == KEY or (tmp_path / "back").read_bytes() == data
        return result.code == OK

    assert opens("alice") and not opens("bob")
    mmh("encrypt", "--add-recipient", "bob.pub", packed, cwd=tmp_path, code=KEY)
    mmh("sign", "--key", "carol.key", packed, cwd=tmp_path, code=OK)
    added = mmh("encrypt", "--json", "--add-recipient", "bob.pub", "--key", "alice.key", packed, cwd=tmp_path, code=OK)
    assert len(added.json()["encryption"]["recipients"]) == 2 and len(added.json()["signatures"]) == 1
    assert opens("alice") and opens("bob")
    mmh("verify", "--signer", "carol.pub", "--key", "bob.key", packed, cwd=tmp_path, code=OK)  # signatures stay
    old = shutil.copy(packed, tmp_path / "old.mmh")
    mmh("encrypt", "--rekey", "-r", "bob.pub", "--key", "alice.key", packed, cwd=tmp_path, code=OK)
    assert opens("bob") and not opens("alice") and opens("alice", old)
    mmh("encrypt", "--add-recipient=carol.pub", "-r", "bob.pub", packed, cwd=tmp_path, code=USAGE)
    mmh("decrypt", packed, cwd=tmp_path, code=KEY)
    mmh("decrypt", "--key", "bob.key", packed, "-o", "plain.mmh", cwd=tmp_path, code=OK)
    mmh("unpack", "-fo", "back", "plain.mmh", cwd=tmp_path, code=OK)
    assert (tmp_path / "back").read_bytes() == data
    assert "is not encrypted" in mmh("decrypt", "plain.mmh", cwd=tmp_path, code=USAGE).err
    assert "is not encrypted" in mmh("encrypt", "--rekey", "-r", "bob.pub", "plain.mmh", cwd=tmp_path, code=USAGE).err
    mmh("encrypt", "-r", "alice.pub", "--sign-with=bob.key", "plain.mmh", cwd=tmp_path, code=OK)
    mmh("verify", "--signer=bob.pub", "--key=alice.key", "plain.mmh", cwd=tmp_path, code=OK)
    mmh("encrypt", "-r", "alice.pub", "-", stdin=b"x", cwd=tmp_path, code=USAGE)


# ---- sign, verify ----


def test_sign_and_verify(tmp_path):
    keygen(tmp_path, "bob", "eve")
    mmh("keygen", "-o", "hybrid", cwd=tmp_path, code=OK)
    data = small(tmp_path)
    packed = tmp_path / "m.safetensors.mmh"
    assert mmh("verify", "--signer", "bob.pub", packed, cwd=tmp_path).code == UNTRUSTED
    signed = mmh("sign", "--json", "--key", "bob.key", "--counter=7", packed, cwd=tmp_path, code=OK).json()
    assert [one["algorithm"] for one in signed["signatures"]] == ["ed25519"]
    assert abs(signed["signatures"][0]["time"] - time.time()) < 600 and signed["signatures"][0]["counter"] == 7
    for arguments, code in (
        (["--signer=bob.pub"], OK),
        (["--signer=bob.key"], OK),  # its public part
        (["--signer=eve.pub"], UNTRUSTED),
        (["--signer=eve.pub", "--signer=bob.pub"], OK),
        (["--signer=eve.pub", "--signer=bob.pub", "--require=all"], UNTRUSTED),
        (["--signer=bob.pub", "--require=hybrid"], UNTRUSTED),
        (["--signer=bob.pub", "--require=pq"], UNTRUSTED),
        (["--signer=bob.pub", "--require=category=1"], UNTRUSTED),
        (["--signer=bob.pub", "--require=counter=7"], OK),
        (["--signer=bob.pub", "--require=counter=8"], UNTRUSTED),
        (["--signer=bob.pub", "--require=any,counter=7"], OK),
    ):
        for verb in (["verify"], ["ls"], ["info"], ["unpack", "-fo", "back"], ["cat", "-fo", "ids"], ["diff", packed]):
            names = ["ids"] if verb[0] == "cat" else []
            result = mmh(*verb, *arguments, packed, *names, cwd=tmp_path)
            assert result.code == code, result
            assert code == OK or "mmh: hint:" in result.err
    mmh("sign", "--key", "hybrid.key", "--counter=8", "--no-time", packed, cwd=tmp_path, code=OK)
    trusted = ["--signer=bob.pub", "--signer=hybrid.pub"]
    required = "--require=all,counter=7"
    mmh("verify", *trusted, required, packed, cwd=tmp_path, code=OK)
    mmh("verify", *trusted, "--require", "hybrid", "--require", "category=3", packed, cwd=tmp_path, code=OK)
    info = mmh("info", "--json", "--signer=hybrid.pub", packed, cwd=tmp_path, code=OK).json()
    assert {one["algorithm"]: (one["result"], one["time"] > 0) for one in info["signatures"]} == {
        "ed25519": ("unchecked", True),
        "ml-dsa-65-ed25519": ("right", False),
    }
    text = mmh("info", "--signer=hybrid.pub", packed, cwd=tmp_path, code=OK).out
    assert "signed with ml-dsa-65-ed25519 (hybrid, NIST category 3), counter 8" in text and ": right" in text
    both = ["--key=hybrid.key", "--key=hybrid.key", "--counter=9"]  # once, and instead of the older one
    signed = mmh("sign", "--json", *both, packed, cwd=tmp_path, code=OK).json()
    assert [(one["algorithm"], one["counter"]) for one in signed["signatures"]] == [
        ("ed25519", 7),
        ("ml-dsa-65-ed25519", 9),
    ]
    mmh("verify", *trusted, required, packed, cwd=tmp_path, code=OK)
    mmh("sign", "--remove", packed, cwd=tmp_path, code=OK)
    mmh("verify", "--signer=bob.pub", packed, cwd=tmp_path, code=UNTRUSTED)
    mmh("unpack", "-fo", "back", packed, cwd=tmp_path, code=OK)
    assert (tmp_path / "back").read_bytes() == data
    for arguments, words in (
        (["sign", packed], "needs a key"),
        (["sign", "--key=bob.pub", packed], "public key"),
        (["verify", "--require=hybrid", packed], "whose signatures"),
        (["verify", "--require=best", "--signer=bob.pub", packed], '"best"'),
        (["verify", "--require=category=9", "--signer=bob.pub", packed], "category=9"),
    ):
        result = mmh(*arguments, cwd=tmp_path)
        assert result.code in (USAGE, KEY) and words in result.err, result


def test_detached_signatures(tmp_path):
    keygen(tmp_path, "bob", "eve")
    small(tmp_path)
    packed = tmp_path / "m.safetensors.mmh"
    before = packed.read_bytes()
    mmh("sign", "--key=bob.key", "--detached", packed, cwd=tmp_path, code=OK)
    mmh("sign", "--key=bob.key", "--detached", packed, cwd=tmp_path, code=USAGE)
    mmh("sign", "--key=eve.key", "--detached=eve.sig", packed, cwd=tmp_path, code=OK)
    assert packed.read_bytes() == before and (tmp_path / "m.safetensors.mmh.sig").exists()
    check = ["verify", "--signer=bob.pub", packed]
    mmh(*check, cwd=tmp_path, code=UNTRUSTED)
    mmh(*check, "--signature=m.safetensors.mmh.sig", cwd=tmp_path, code=OK)
    mmh(*check, "--signature=eve.sig", cwd=tmp_path, code=UNTRUSTED)
    mmh(*check, "--signature=nothing", cwd=tmp_path, code=IO)
    put(tmp_path, "n", b"another")
    mmh("pack", "n", cwd=tmp_path, code=OK)
    mmh("verify", "--signer=bob.pub", "n.mmh", "--signature=m.safetensors.mmh.sig", cwd=tmp_path, code=UNTRUSTED)
    mmh("sign", "--key=bob.key", "--detached", "--remove", packed, cwd=tmp_path, code=USAGE)


def test_what_is_read_is_checked_against_the_signed_root(tmp_path):
    keygen(tmp_path, "bob")
    data = small(tmp_path, "--sign-with=bob.key")
    packed = tmp_path / "m.safetensors.mmh"
    out = mmh("cat", "--signer=bob.pub", packed, "ids[:2]", cwd=tmp_path, code=OK).raw
    assert out == bytes(8) + b"\1" + bytes(7)
    bad = flip(packed, to=tmp_path / "bad.mmh")
    result = mmh("cat", "--signer=bob.pub", bad, "embed.weight", cwd=tmp_path)
    assert result.code == LOST, result
    other = tmp_path / "other.mmh"  # the whole of another container under the same name
    put(tmp_path, "o.safetensors", data[:-1] + b"\x3d")
    mmh("pack", "o.safetensors", "-o", other, cwd=tmp_path, code=OK)
    result = mmh("cat", "--signer=bob.pub", other, "scalar", cwd=tmp_path, code=UNTRUSTED)
    assert result.raw == b""


def test_verify_tells_of_each_layer(tmp_path):
    keygen(tmp_path, "alice", "bob")
    small(tmp_path, "-r", "alice.pub", "--sign-with=bob.key")
    packed = tmp_path / "m.safetensors.mmh"
    names = ["structure", "chunks", "merkle", "aead", "signature", "decode", "digest", "parity"]
    result = mmh("verify", "--json", "--key=alice.key", "--signer=bob.pub", packed, cwd=tmp_path, code=OK).json()
    layers = {layer["name"]: layer["result"] for layer in result["layers"]}
    assert set(layers) == set(names)
    assert all(layers[name] == "ok" for name in names[:7]) and layers["parity"] == "absent", layers
    result = mmh("verify", "-v", "--key=alice.key", "--signer=bob.pub", packed, cwd=tmp_path, code=OK)
    assert [line.split()[:2] for line in result.err.splitlines()][: len(names)] == [
        [name, "absent" if name == "parity" else "ok"] for name in names
    ]
    locked = mmh("verify", "--json", packed, cwd=tmp_path, code=KEY).json()
    layers = {layer["name"]: layer["result"] for layer in locked["layers"]}
    assert [layers[name] for name in names[:3]] == ["ok"] * 3 and layers["decode"] == "skipped", layers


# ---- Model Signing ----


def test_model_signing_bundles(tmp_path):
    keygen(tmp_path, "p256", "eve", algorithm="ecdsa-p256")
    folder = tmp_path / "model"
    put(folder, "m.safetensors", model(2))
    put(folder, "config.json", b"{}")
    made = mmh("sign", "--json", "--key=p256.key", "--bundle=model.sig", "model", cwd=tmp_path, code=OK).json()
    assert made["files"] == 2 and made["signatures"] == 1
    assert json.loads((tmp_path / "model.sig").read_text())["mediaType"].startswith("application/vnd.dev.sigstore")
    mmh("sign", "--key=p256.key", "--bundle=model.sig", "model", cwd=tmp_path, code=USAGE)  # it exists
    mmh("pack", "model", "-o", "model.mmh", cwd=tmp_path, code=OK)
    for what in ("model", "model.mmh"):
        mmh("verify", "--signer=p256.pub", "--bundle=model.sig", what, cwd=tmp_path, code=OK)
        mmh("verify", "--signer=eve.pub", "--bundle=model.sig", what, cwd=tmp_path, code=UNTRUSTED)
    assert "whose signatures" in mmh("verify", "--bundle=model.sig", "model", cwd=tmp_path, code=USAGE).err
    put(folder, "config.json", b"[]")
    put(folder, "more", b"")
    (folder / "m.safetensors").rename(folder / "n.safetensors")
    result = mmh("verify", "--json", "--signer=p256.pub", "--bundle=model.sig", "model", cwd=tmp_path, code=UNTRUSTED)
    assert {(one["finding"], one["name"]) for one in result.json()["findings"]} == {
        ("differs", "config.json"),
        ("missing", "m.safetensors"),
        ("extra", "n.safetensors"),
        ("extra", "more"),
    }


# ---- trust store ----


def test_the_trust_store(tmp_path):
    keygen(tmp_path, "bob", "bob2", "eve")
    small(tmp_path, "--sign-with=bob.key")
    packed = tmp_path / "m.safetensors.mmh"
    here = {"MMH_TRUST": str(tmp_path / "trust")}

    def keys(*arguments, code=OK):
        return mmh("keys", *arguments, cwd=tmp_path, environment=here, code=code)

    def verify(*arguments):
        return mmh("verify", *arguments, packed, cwd=tmp_path, environment=here).code

    assert verify("--trusted") == UNTRUSTED and "empty" in keys("list").err
    keys("add", "bob", "bob.pub")
    keys("add", "bob", "eve.pub", code=USAGE)
    assert verify("--trusted") == verify("--signer=bob") == OK
    listed = keys("list", "--json").json()["store"]
    assert [(one["name"], one["state"], one["expires"]) for one in listed] == [("bob", "believed", 0)]
    assert "bob: believed" in keys("list").out
    keys("expire", "bob", "--expires=2001-09-09")
    assert verify("--trusted") == verify("--signer=bob") == UNTRUSTED
    assert "expired" in keys("list").out
    keys("expire", "bob", "--expires=2099-02-29", code=USAGE)
    keys("expire", "bob", "--expires=2096-02-29")
    assert keys("list", "--json").json()["store"][0]["expires"] == 3981398400
    assert verify("--trusted") == OK
    keys("rotate", "bob.key", "bob2.key", "-o", "next")
    assert keys("accept", "next", "--json").json()["store"][0]["successor_of"] == "bob"
    mmh("sign", "--key=bob2.key", "--remove", packed, cwd=tmp_path, code=OK)
    assert verify("--signer=bob") == UNTRUSTED and verify("--signer=bob2") == verify("--trusted") == OK
    keys("revoke", "bob2", "stolen")
    assert verify("--signer=bob2") == verify("--trusted") == UNTRUSTED
    assert "revoked" in keys("list").out and "stolen" in keys("list").out
    keys("add", "again", "bob2.pub", code=UNTRUSTED)
    keys("remove", "bob2")
    assert [one["name"] for one in keys("list", "--json").json()["store"]] == ["bob"]
    for counter, code in ((4, OK), (6, OK), (5, UNTRUSTED), (0, UNTRUSTED), (6, OK)):
        mmh("sign", "--remove", f"--counter={counter}", "--key=bob.key", packed, cwd=tmp_path, code=OK)
        for arguments in (["--trusted"], ["--signer=bob.pub"]):
            assert verify(*arguments) == OK and verify(*arguments, "--require=newest") == code, counter
        mmh("ls", "--signer=bob", "--require=newest", packed, cwd=tmp_path, environment=here, code=code)
    for arguments, words in (
        (["lst"], 'did you mean "mmh keys list"?'),
        (["add", "x"], "mmh keys add NAME FILE"),
        (["revoke", "nobody"], "mmh keys list"),
        (["revoke", "bob", "--expires=never"], "takes no --expires"),
        (["add", "x", "eve.pub", "--expires=tomorrow"], '"tomorrow" is no date'),
        (["rotate", "bob.key", "bob2.key"], "-o FILE"),
        (["show"], "needs a file"),
    ):
        assert words in keys(*arguments, code=USAGE).err, arguments
    put(tmp_path, "junk", b"nothing")
    keys("show", "junk", code=KEY)
    keys("show", "nothing", code=IO)


# ---- audit ----


def test_audit(tmp_path):
    keygen(tmp_path, "old")
    mmh("keygen", "-o", "new", cwd=tmp_path, code=OK)
    data = small(tmp_path, "-r", "new.pub", "--sign-with=new.key")
    put(tmp_path, "o.safetensors", model(2))
    mmh("pack", "-r", "old.pub", "--sign-with=old.key", "o.safetensors", cwd=tmp_path, code=OK)
    found = {}
    for name in ("m", "o"):
        result = mmh("audit", "--json", f"{name}.safetensors.mmh", cwd=tmp_path, code=OK).json()
        found[name] = {profile["name"]: profile["meets"] for profile in result["profiles"]}
        assert set(found[name]) == {"default", "cnsa2", "bsi", "classical"}
        weak = {f["algorithm"] for p in result["profiles"] for f in p["findings"] if f["quantum_vulnerable"]}
        assert weak == ({"x25519", "ed25519"} if name == "o" else set())
    assert found["m"]["default"] and not found["m"]["cnsa2"]
    assert found["o"]["classical"] and not found["o"]["default"]
    mmh("audit", "--profile=default", "m.safetensors.mmh", cwd=tmp_path, code=OK)
    result = mmh("audit", "--profile=cnsa2", "m.safetensors.mmh", cwd=tmp_path, code=UNTRUSTED)
    assert "does not meet the profile cnsa2" in result.err and "NO" in result.out
    result = mmh("audit", "--json", "--profile=cnsa2", "m.safetensors.mmh", cwd=tmp_path, code=UNTRUSTED).json()
    assert [profile["name"] for profile in result["profiles"]] == ["cnsa2"] and result["status"] == "untrusted"
    bill = ["audit", "--cbom=bill.json", "m.safetensors.mmh"]
    assert "are not in the bill" in mmh(*bill, cwd=tmp_path, code=OK).err
    locked = json.loads((tmp_path / "bill.json").read_text())
    mmh(*bill, "--key=new.key", cwd=tmp_path, code=USAGE)  # it exists
    mmh(*bill, "--key=new.key", "-f", cwd=tmp_path, code=OK)
    opened = json.loads((tmp_path / "bill.json").read_text())
    for one in (locked, opened):
        assert one["bomFormat"] == "CycloneDX" and "x-wing" in json.dumps(one).lower()
    digest = hashlib.sha256(data).hexdigest()
    assert digest not in json.dumps(locked) and digest in json.dumps(opened)


# ---- parity, damage ----


def test_parity_mends_and_repair_restores(tmp_path):
    data = small(tmp_path, "--parity=10%")
    packed = tmp_path / "m.safetensors.mmh"
    info = mmh("info", "--json", packed, cwd=tmp_path, code=OK).json()
    assert info["parity"]["percent"] >= 10 and info["parity"]["bytes"] > 0  # of a small one more
    assert f"parity {info['parity']['percent']:.0f} %" in mmh("info", packed, cwd=tmp_path, code=OK).out
    bad = flip(packed, to=tmp_path / "bad.mmh")
    assert mmh("verify", bad, cwd=tmp_path).code == 3
    result = mmh("unpack", "--json", "-fo", "back", bad, cwd=tmp_path, code=MENDED)
    assert (tmp_path / "back").read_bytes() == data and result.json()["mended_chunks"] > 0
    mmh("repair", bad, cwd=tmp_path, code=MENDED)
    assert bad.read_bytes() == packed.read_bytes()
    mmh("repair", bad, cwd=tmp_path, code=OK)
    for parity in ("0%", "101%", "5%%", "1.234%", "x", "-1%"):
        mmh("pack", f"--parity={parity}", "m.safetensors", cwd=tmp_path, code=USAGE)
    mmh("pack", "-c", "--parity=5%", "m.safetensors", cwd=tmp_path, code=USAGE)


def test_repair_from_another_copy(tmp_path):
    small(tmp_path)
    packed = tmp_path / "m.safetensors.mmh"
    bad = flip(packed, to=tmp_path / "bad.mmh")
    mmh("repair", bad, cwd=tmp_path, code=LOST)
    mmh("repair", "--source", packed, bad, "-o", "good.mmh", cwd=tmp_path, code=MENDED)
    assert (tmp_path / "good.mmh").read_bytes() == packed.read_bytes()


def test_skip_damaged_gives_back_the_rest(tmp_path):
    data = small(tmp_path)
    bad = flip(tmp_path / "m.safetensors.mmh", to=tmp_path / "bad.mmh")
    mmh("unpack", "-o", "back", bad, cwd=tmp_path, code=LOST)
    assert not (tmp_path / "back").exists()
    result = mmh("unpack", "--json", "--skip-damaged", "-o", "back", bad, cwd=tmp_path, code=LOST)
    one = result.json()
    assert one["damage"] and one["damaged_bytes"] == sum(each["bytes"] for each in one["damage"])
    rest, lost = bytearray((tmp_path / "back").read_bytes()), bytearray(data)
    for each in one["damage"]:
        at = slice(each["offset"], each["offset"] + each["bytes"])
        assert not any(rest[at])
        lost[at] = bytes(each["bytes"])
    assert rest == lost and "the rest is zeros" in result.err


def test_parity_opens_what_no_second_copy_does(tmp_path):
    keygen(tmp_path, "alice", "bob")
    data = small(tmp_path, "-r", "alice.pub", "--sign-with=bob.key", "--parity=10%")
    good = (tmp_path / "m.safetensors.mmh").read_bytes()
    offset = {
        name: int.from_bytes(good[-256 + at : -248 + at], "little")
        for name, at in (("index a", 16), ("index b", 24), ("trailer", 48))
    }
    keys = ("--key=alice.key", "--signer=bob.pub")
    for name, places in (
        ("trailer", [offset["trailer"] + 40]),
        ("index", [offset["index a"] + 60, offset["index b"] + 60]),
    ):
        bad = bytearray(good)
        for place in places:
            bad[place] ^= 4
        (tmp_path / "bad.mmh").write_bytes(bad)
        mmh("verify", *keys, "bad.mmh", cwd=tmp_path, code=DAMAGED)
        one = mmh("unpack", "--json", "-f", *keys, "-o", "back", "bad.mmh", cwd=tmp_path, code=MENDED).json()
        assert one["mended"] == [name] and (tmp_path / "back").read_bytes() == data
        mmh("repair", "bad.mmh", cwd=tmp_path, code=MENDED)
        assert (tmp_path / "bad.mmh").read_bytes() == good
    # A signature that is required is not had from nowhere.
    small(tmp_path, "-f", "-r", "alice.pub", "--parity=10%")
    mmh("unpack", "-f", *keys, "-o", "back", "m.safetensors.mmh", cwd=tmp_path, code=UNTRUSTED)


def test_recipients_that_age_makes_are_accepted(tmp_path):
    """age-keygen's identities decrypt what is encrypted to its recipients; with a newer age post-quantum ones, too."""
    maker = shutil.which("age-keygen")
    if not maker:
        skip("age-keygen is not here")
    data = small(tmp_path)
    for number, option in enumerate(([], ["-pq"])):
        identity = tmp_path / f"age{number}.txt"
        made = subprocess.run([maker, *option, "-o", identity], capture_output=True, text=True, check=False)
        if made.returncode:
            assert option, made.stderr  # an age without post-quantum keys
            continue
        recipient = made.stderr.split()[-1]
        assert recipient.startswith("age1")
        mmh("pack", "-f", "-r", recipient, "m.safetensors", cwd=tmp_path, code=OK)
        mmh("unpack", "-f", "-o", "back", "m.safetensors.mmh", cwd=tmp_path, code=KEY)
        mmh("unpack", "-f", f"--key={identity.name}", "-o", "back", "m.safetensors.mmh", cwd=tmp_path, code=OK)
        assert (tmp_path / "back").read_bytes() == data


def test_a_revoked_key_is_not_believed_as_a_file_either(tmp_path):
    keygen(tmp_path, "bob")
    small(tmp_path, "--sign-with=bob.key")
    store = {"MMH_TRUST": str(tmp_path / "store")}
    mmh("verify", "--signer=bob.pub", "m.safetensors.mmh", cwd=tmp_path, environment=store, code=OK)
    mmh("keys", "add", "bob", "bob.pub", cwd=tmp_path, environment=store, code=OK)
    mmh("verify", "--signer=bob.pub", "m.safetensors.mmh", cwd=tmp_path, environment=store, code=OK)
    mmh("keys", "revoke", "bob", cwd=tmp_path, environment=store, code=OK)
    result = mmh("verify", "--signer=bob.pub", "m.safetensors.mmh", cwd=tmp_path, environment=store, code=UNTRUSTED)
    assert "revoked" in result.err
    mmh("cat", "--signer=bob.pub", "m.safetensors.mmh", "w", cwd=tmp_path, environment=store, code=UNTRUSTED)


def test_a_plain_container_is_told_from_an_encrypted_one(tmp_path):
    keygen(tmp_path, "alice")
    small(tmp_path)
    result = mmh("unpack", "-f", "--key=alice.key", "-o", "back", "m.safetensors.mmh", cwd=tmp_path, code=OK)
    assert "is not encrypted" in result.err
    result = mmh("unpack", "-f", "-o", "back", "m.safetensors.mmh", cwd=tmp_path, code=OK)
    assert "encrypted" not in result.err


# ---- what is public ----


def test_info_without_a_key_tells_what_is_public(tmp_path):
    keygen(tmp_path, "alice", "bob")
    put(tmp_path, "word", SECRET.encode())
    small(tmp_path, "-r", "alice.pub", "--passphrase-file=word", "--sign-with=bob.key")
    result = mmh("info", "m.safetensors.mmh", cwd=tmp_path, code=OK)
    assert "for 2 recipients" in result.out and "x25519" in result.out and "passphrase" in result.out
    assert "signed with ed25519 (classical)" in result.out and "embed" not in result.out and "--key" in result.err
    info = mmh("info", "--json", "m.safetensors.mmh", cwd=tmp_path, code=OK).json()
    assert info["locked"] and "files" not in info
    info = mmh("info", "--json", "--key=alice.key", "m.safetensors.mmh", cwd=tmp_path, code=OK).json()
    assert not info["locked"] and info["files"] == 1
    assert [one["algorithm"] for one in info["encryption"]["recipients"]] == ["x25519", "passphrase"]


# ---- secrets ----


WATCHER = """
import os, sys, time
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
with open(sys.argv[1], "ab") as seen:
    while True:
        for name in ("cmdline", "environ"):
            try:
                seen.write(open(f"/proc/{child}/{name}", "rb").read())
            except OSError:
                pass
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            sys.exit(os.waitstatus_to_exitcode(status))
        time.sleep(0.0005)
"""


def everything_in(folder):
    return b"".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())


def private_lines(path):
    """What identifies a private key: lines of its base64, and the bytes that they stand for."""
    lines = [line for line in Path(path).read_text().splitlines() if len(line) == 64 and ":" not in line]
    return [line.encode() for line in lines] + [base64.b64decode(line)[:32] for line in lines]


def test_no_secret_is_in_arguments_or_temporary_files(tmp_path):
    if not os.path.exists("/proc/self/cmdline"):
        skip("arguments cannot be seen here")
    work, temporary, seen = tmp_path / "work", tmp_path / "temporary", tmp_path / "seen"
    work.mkdir()
    temporary.mkdir()
    put(work, "word", SECRET.encode() + b"\n")
    put(work, "m.safetensors", model(200))
    environment = {**os.environ, **SANITIZERS, "TMPDIR": str(temporary), "MMH_PASSPHRASE_FILE": "word"}

    def watched(*arguments, stdin=None):
        result = subprocess.run(
            [sys.executable, "-I", "-S", "-c", WATCHER, seen, binary(), *arguments],
            cwd=work,
            env=environment,
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert result.returncode == OK, result
        for stream in (result.stdout, result.stderr):
            assert SECRET.encode() not in stream
        return result.stdout

    watched("keygen", "-p", "-o", "alice")
    watched("keygen", "-o", "bob", "--algorithm=ed25519,ml-kem-768")
    watched("pack", "-r", "alice.pub", "-r", "bob.pub", "-p", "--sign-with=bob.key", "m.safetensors")
    watched("unpack", "-fo", "back", "--key=alice.key", "m.safetensors.mmh")
    piped = watched("pack", "-r", "bob.pub", "-p", stdin=b"weights" * 1000)
    assert watched("unpack", "--key=bob.key", stdin=piped) == b"weights" * 1000
    watched("bench", "-1", "-p", "m.safetensors")
    said = seen.read_bytes()
    assert b"keygen" in said and b"MMH_PASSPHRASE_FILE" in said
    secrets = [SECRET.encode(), *private_lines(work / "bob.key")]
    assert len(secrets) > 2
    packed = (work / "m.safetensors.mmh").read_bytes()
    for secret in secrets:
        assert secret not in said and secret not in packed and secret not in everything_in(temporary)
    assert not any(temporary.iterdir())
    assert (work / "back").read_bytes() == (work / "m.safetensors").read_bytes()
    assert not [path for path in work.iterdir() if path.name.startswith(".mmh")]


def test_a_key_that_others_may_read_is_told(tmp_path):
    keygen(tmp_path, "alice")
    small(tmp_path, "-r", "alice.pub")
    (tmp_path / "alice.key").chmod(0o644)
    result = mmh("ls", "--key=alice.key", "m.safetensors.mmh", cwd=tmp_path, code=OK)
    assert "others may read alice.key" in result.err
    (tmp_path / "alice.key").chmod(0o600)
    assert mmh("ls", "--key=alice.key", "m.safetensors.mmh", cwd=tmp_path, code=OK).err == ""


def test_options_that_belong_together(tmp_path):
    put(tmp_path, "m", b"x" * 2000)
    mmh("pack", "m", cwd=tmp_path, code=OK)
    for arguments, words in (
        (["pack", "--key"], "needs a value"),
        (["pack", "--counter=x", "m"], "no counter"),
        (["pack", "--detached", "m"], "takes no --detached"),
        (["pack", "--aead=aes-256-gcm", "m"], "-r KEY.pub"),
        (["pack", "--counter=2", "m"], "--sign-with"),
        (
            [
                "encrypt",
                "m.mmh",
                "m.mmh",
                "-r",
                "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
                "-o",
                "o",
            ],
            "cannot all become",
        ),
        (["sign", "--bundle=b", "--detached", "m.mmh"], "stands alone"),
        (["audit", "--cbom=c", "m.mmh", "m.mmh"], "of one container"),
        (["keygen", "--rsa-bits=many", "-o", "x"], "number of bits"),
    ):
        result = mmh(*arguments, cwd=tmp_path, code=USAGE)
        assert words in result.err, result
    assert "nothing.key" in mmh("sign", "--key=nothing.key", "m.mmh", cwd=tmp_path, code=IO).err


if __name__ == "__main__":
    main(globals())
