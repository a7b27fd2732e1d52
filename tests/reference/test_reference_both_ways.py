"""What the second writer makes, mmh opens, checks and mends; what mmh makes, the second reader does."""
# SPDX-License-Identifier: Apache-2.0

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mlkem, rsa, x25519

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import mmh_reference as reference  # noqa: E402
import mmh_reference_crypto as crypto  # noqa: E402
import mmh_reference_parity as parity  # noqa: E402
import mmh_reference_writer as writer  # noqa: E402

MMH = Path(os.environ["MMH_BUILD"]) / "mmh" if os.environ.get("MMH_BUILD") else None
pytestmark = pytest.mark.skipif(MMH is None or not MMH.exists(), reason="MMH_BUILD names no mmh")

FILES = {"a.bin": random.Random(1).randbytes(90000), "b/c.txt": b"hello" * 1000, "empty": b"", "x": b"x"}
SUITES = {"blake3": 1, "sha256": 2, "sha384": 3}
AEADS = {"aes-256-gcm": 1, "chacha20-poly1305": 2}
RECIPIENTS = ("x25519", "ml-kem-768", "ml-kem-1024", "x-wing", "rsa-oaep")
SLH_DSA = tuple(f"slh-dsa-{hash}-{size}" for hash in ("sha2", "shake") for size in ("128f", "192f", "256f"))
SIGNERS = ("ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-pss", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87")
SIGNERS += ("ml-dsa-44-ed25519", "ml-dsa-65-ed25519", "ml-dsa-65-ecdsa-p256", "ml-dsa-87-ecdsa-p384", *SLH_DSA)


def mmh(folder, *arguments, code=0):
    """Run it; stdin is nothing."""
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    result = subprocess.run(
        [str(MMH.resolve()), *map(str, arguments)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        check=False,
    )
    assert result.returncode == code, result
    return result


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def contents(container):
    return {name: entry[2] for name, entry in container.restore().items() if entry[0] == "file"}


def flipped(data, *places):
    changed = bytearray(data)
    for at in places:
        changed[at] ^= 1
    return bytes(changed)


# --------------------------------------------------------------------------------------------------
# From mmh
# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with files to pack, and keys of mmh."""
    folder = tmp_path_factory.mktemp("made")
    for name, data in FILES.items():
        (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "in" / name).write_bytes(data)
    mmh(folder, "keygen", "-q", "-o", "alice")
    return folder


def keys_of(folder, name):
    return crypto.private_keys((folder / name).read_bytes())


@pytest.mark.parametrize("aead", AEADS)
@pytest.mark.parametrize("suite", SUITES)
def test_suites_of_mmh(made, suite, aead):
    mmh(
        made,
        "pack",
        "-qf",
        "--hash",
        suite,
        "--aead",
        aead,
        "-r",
        "alice.pub",
        "--sign-with",
        "alice.key",
        "in",
        "-o",
        "s.mmh",
    )
    data = (made / "s.mmh").read_bytes()
    container = reference.open_container(data, keys_of(made, "alice.key"))
    assert (container.suite, container.cipher) == (SUITES[suite], AEADS[aead])
    assert contents(container) == FILES
    assert not container.verify() and not container.mended
    container.require_signatures(crypto.public_keys((made / "alice.pub").read_bytes()))
    with pytest.raises(reference.NoKey):
        reference.open_container(data).restore()


@pytest.mark.parametrize("kind", RECIPIENTS)
def test_recipients_of_mmh(made, kind):
    mmh(made, "keygen", "-qf", "--algorithm", kind, "-o", kind)
    mmh(made, "pack", "-qf", "-r", kind + ".pub", "-r", "alice.pub", "in", "-o", "r.mmh")
    data = (made / "r.mmh").read_bytes()
    for name in (kind + ".key", "alice.key"):
        assert contents(reference.open_container(data, keys_of(made, name)))["x"] == b"x"
    stanzas, _ = crypto.read_recipients(reference.open_container(data).section(reference.SECTION_RECIPIENTS))
    assert [crypto.KINDS[kind] for kind, _ in stanzas] == [kind, "x-wing"]


def test_passphrases_of_mmh(made):
    (made / "pass").write_bytes("für Elise\n".encode())
    mmh(made, "pack", "-qf", "--passphrase-file", "pass", "in", "-o", "p.mmh")
    container = reference.open_container(made / "p.mmh", [crypto.Passphrase("für Elise".encode())])
    assert contents(container)["x"] == b"x"
    with pytest.raises(reference.NoKey):
        reference.open_container(made / "p.mmh", [crypto.Passphrase(b"fur Elise")])


def test_mceliece_of_mmh_is_a_recipient_beside_others(made):
    """Its ciphertext is not for this reader; its size is, and that others open."""
    made_key = subprocess.run(
        [str(MMH.resolve()), "keygen", "-qf", "--algorithm", "mceliece6688128-x25519", "-o", "mc"],
        cwd=made,
        check=False,
    )
    if made_key.returncode == reference.UNSUPPORTED:
        pytest.skip("this build has no Classic McEliece")
    mmh(made, "pack", "-qf", "-r", "mc.pub", "-r", "alice.pub", "in", "-o", "mc.mmh")
    container = reference.open_container(made / "mc.mmh", keys_of(made, "alice.key"))
    assert contents(container)["x"] == b"x"
    stanzas, _ = crypto.read_recipients(container.section(reference.SECTION_RECIPIENTS))
    assert [(kind, len(body)) for kind, body in stanzas] == [(9, 240 + 48), (4, 1120 + 48)]


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_signatures_of_mmh(made, algorithm):
    mmh(made, "keygen", "-qf", "--algorithm", algorithm, "-o", algorithm)
    mmh(made, "pack", "-qf", "in/x", "-o", "g.mmh")
    mmh(made, "sign", "-q", "--key", algorithm + ".key", "--counter=7", "g.mmh")
    keys = crypto.public_keys((made / (algorithm + ".pub")).read_bytes())
    container = reference.open_container(made / "g.mmh")
    assert len(keys) == 1 and container.signed_by(keys) == keys
    assert container.signatures()[0].statement.counter == 7
    mmh(made, "sign", "-qf", "--key", algorithm + ".key", "--detached=g.sig", "g.mmh")
    detached = crypto.read_detached((made / "g.sig").read_bytes())
    assert container.signed_by(keys, detached) == keys
    mmh(made, "verify", "-q", "--signer", algorithm + ".pub", "g.mmh")


def test_what_mmh_changes(made):
    """Recipients and signatures that are added stand behind; another file key seals everything anew."""
    mmh(made, "pack", "-qf", "--parity=10%", "-r", "alice.pub", "--sign-with", "alice.key", "in", "-o", "c.mmh")
    mmh(made, "keygen", "-qf", "--algorithm=ed25519,x25519", "-o", "carol")
    before = (made / "c.mmh").read_bytes()
    root = reference.open_container(before).root
    mmh(made, "encrypt", "-qf", "--key", "alice.key", "--add-recipient", "carol.pub", "c.mmh")
    mmh(made, "sign", "-q", "--key", "carol.key", "c.mmh")
    after = (made / "c.mmh").read_bytes()
    signers = [key for name in ("alice.pub", "carol.pub") for key in crypto.public_keys((made / name).read_bytes())]
    for name in ("alice.key", "carol.key"):
        container = reference.open_container(after, keys_of(made, name))
        assert container.root == root and not container.verify()
        container.require_signatures(signers)
        assert contents(container)["x"] == b"x"
    assert parity.repair(after) == after
    assert parity.repair(flipped(after, 5000, len(after) - 10)) == after
    mmh(made, "encrypt", "-qf", "--key", "alice.key", "--rekey", "-r", "alice.pub", "c.mmh")
    again = reference.open_container(made / "c.mmh", keys_of(made, "alice.key"))
    assert again.header[32:64] != container.header[32:64] and again.root != root
    assert contents(again) == contents(container) and not again.signatures()
    with pytest.raises(reference.NoKey):
        reference.open_container(made / "c.mmh", keys_of(made, "carol.key"))
    mmh(made, "decrypt", "-qf", "--key", "alice.key", "c.mmh")
    assert contents(reference.open_container(made / "c.mmh")) == contents(container)


@pytest.mark.parametrize("percent", [1, 5, 30, 100])
@pytest.mark.parametrize("size", [0, 1, 3000, 90000, 900000])
def test_parity_of_mmh(made, size, percent):
    """The recovery area is the same to the byte, and mends."""
    data = random.Random(size).randbytes(size)
    (made / "p.bin").write_bytes(data)
    mmh(made, "pack", "-qf", "--parity=%d%%" % percent, "p.bin", "-o", "p.mmh")
    whole = (made / "p.mmh").read_bytes()
    container = reference.open_container(whole)
    section = container.section(reference.SECTION_PARITY)
    geometry = parity.Geometry.parse(section[:64], len(whole))
    chosen = parity.Geometry.choose(geometry.end, percent, geometry.tail_bytes, container.root)
    assert geometry.encode() == chosen.encode()
    sections = [(reference.SECTION_PARITY, section)]
    tail = container.footer.raw + writer.pack_sections(sections)
    area = b"".join(parity.make_area(container.new_hash, geometry, whole[: geometry.end], tail))
    start = geometry.end + -geometry.end % 8
    assert whole[start : container.footer.trailer] == area
    rng = random.Random(percent)
    burst = (geometry.m * geometry.stripes - 2) * geometry.block_bytes
    for _ in range(6):
        at = rng.randrange(len(whole))
        length = max(1, min(burst, len(whole) - at))
        damaged = whole[:at] + rng.randbytes(length) + whole[at + length :]
        assert parity.repair(damaged) == whole
        assert parity.repair(whole[: len(whole) - max(burst, 1)]) == whole


# --------------------------------------------------------------------------------------------------
# To mmh
# --------------------------------------------------------------------------------------------------


def signer(private):
    return crypto.Signer(private.public_key(), private)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A folder with keys of every kind, and the keys."""
    folder = tmp_path_factory.mktemp("ours")
    first, second = x25519.X25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)
    kems = [mlkem.MLKEM768PrivateKey.generate(), mlkem.MLKEM1024PrivateKey.generate()]
    recipients = [
        crypto.X25519Key(first.public_key(), first),
        *(crypto.MlKemKey(private.public_key(), private) for private in kems),
        crypto.XWingKey.from_seed(os.urandom(32)),
        crypto.RsaKey(second.public_key(), second),
        crypto.Passphrase(b"correct horse", (64, 1, 2)),
    ]
    curves = [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()]
    signers = [signer(ed25519.Ed25519PrivateKey.generate()), signer(second)]
    signers += [signer(ec.generate_private_key(curve)) for curve in curves]
    signers += [signer(crypto.ML_DSA[number][1].generate()) for number in crypto.ML_DSA]
    by = {key.algorithm: key for key in signers}
    signers += [crypto.Composite(n, by[a], by[b]) for n, (a, b, *_) in crypto.COMPOSITES.items()]
    for key in recipients[:-1]:
        (folder / f"{key.kind}.key").write_bytes(crypto.key_file(key, True))
    for key in signers:
        (folder / f"signer-{key.algorithm}.pub").write_bytes(crypto.key_file(key))
    (folder / "pass").write_bytes(b"correct horse\n")
    return folder, recipients, signers


@pytest.mark.parametrize("cipher", [0, 1, 2])
@pytest.mark.parametrize("suite", [1, 2, 3])
def test_mmh_opens_what_the_second_writer_makes(ours, suite, cipher):
    folder, recipients, signers = ours
    data = writer.build(writer.source_from(FILES, suite), cipher, recipients if cipher else (), signers, 10)
    (folder / "x.mmh").write_bytes(data)
    options = [["--key", f"{key.kind}.key"] for key in recipients[:-1]] + [["--passphrase-file", "pass"]]
    for option in options if cipher else [[]]:
        out = folder / "out"
        mmh(folder, "unpack", "-q", "-f", *option, "x.mmh", "-o", "out/")
        assert tree(out) == FILES
        mmh(folder, "verify", "-q", *option, "x.mmh")
    for key in signers:
        mmh(folder, "unpack", "-qf", *options[0], "--signer", f"signer-{key.algorithm}.pub", "x.mmh", "-o", "out/")
    everybody = [word for key in signers for word in ("--signer", f"signer-{key.algorithm}.pub")]
    mmh(folder, "verify", "-q", *options[0], *everybody, "--require", "all", "x.mmh")
    stripped = writer.Forgery(data)
    stripped.replace(reference.SECTION_SIGNATURES, None)
    (folder / "x.mmh").write_bytes(stripped.container())
    mmh(folder, "verify", "-q", *options[0], *everybody, "x.mmh", code=7)


def test_mmh_reads_detached_signatures_of_the_second_writer(ours):
    folder, _, signers = ours
    data = writer.build(writer.source_from(FILES))
    (folder / "d.mmh").write_bytes(data)
    root = reference.open_container(data).root
    for key in signers:
        (folder / "d.sig").write_bytes(crypto.write_detached([crypto.sign(key, 2, root, 3, 4, [(b"k", b"v")])]))
        option = ["--signer", f"signer-{key.algorithm}.pub", "--signature", "d.sig"]
        mmh(folder, "verify", "-q", *option, "--require", "counter=3", "d.mmh")
        mmh(folder, "verify", "-q", *option, "--require", "counter=4", "d.mmh", code=7)


@pytest.mark.parametrize("suite", [1, 2, 3])
@pytest.mark.parametrize("cipher", [0, 1])
def test_mmh_mends_what_the_second_writer_makes(ours, suite, cipher):
    folder, recipients, signers = ours
    whole = writer.build(writer.source_from(FILES, suite), cipher, recipients[:1] if cipher else (), signers[:1], 20)
    later = writer.append_trailer(whole, writer.Forgery(whole).sections)
    rng = random.Random(suite)
    path = folder / "m.mmh"
    trailer = reference.open_container(whole).footer.trailer
    for data, dead in ((whole, (0, 0)), (later, (trailer, len(whole)))):
        assert parity.repair(data) == data
        for number in range(8):
            at, length = rng.randrange(len(data)), rng.randrange(1, 500)
            while dead[0] < at + length and at < dead[1]:
                at = rng.randrange(len(data))
            damaged = data[:at] + rng.randbytes(min(length, len(data) - at)) + data[at + length :]
            if number >= 6:
                damaged = data[: len(data) - length]
            path.write_bytes(damaged)
            mmh(folder, "repair", "-q", path.name, code=4)
            assert path.read_bytes() == data, (at, length)


# --------------------------------------------------------------------------------------------------
# Neither
# --------------------------------------------------------------------------------------------------


def mutated(rng, data):
    """A byte changed, bytes added or taken away: what no hash finds, as all of them are made right again."""
    changed = bytearray(data)
    at = rng.randrange(len(changed)) if changed else 0
    way = rng.randrange(4)
    if way == 0 and changed:
        changed[at] = rng.choice((changed[at] ^ 1, changed[at] + 1 & 255, 0, 127, 128, 255))
    elif way == 1:
        del changed[at : at + rng.randrange(1, 4)]
    elif way == 2:
        changed[at:at] = rng.choice((b"\0", b"\1", b"\x80\0", b"\xff" * 9 + b"\1"))
    elif changed:
        changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def hostile(rng, keys, signers):
    """A container by somebody who has the file key, or the signer's: something in it is not as it should be."""
    cipher, suite = rng.choice((0, 1, 2)), rng.choice((1, 2, 3))
    files = {"a/b": b"12345678" * 300, "c": b"hi" * 700, "d": b""}
    source = writer.source_from(files, suite, chunk_bytes=1000)
    secrets = crypto.FileKeys(b"\7" * 32, cipher, suite) if cipher else None
    what = rng.choice(("head", "codecs", "rest", "rest", "list", 1, 2))
    if what in ("head", "codecs", "rest"):
        setattr(source, what, mutated(rng, getattr(source, what)))
    body = writer.make_body(source, secrets)
    if what == "list" and cipher:
        forgery = writer.Forgery(writer.assemble(body))
        changed = mutated(rng, forgery.list)
        body = writer.Body(body.header, body.chunks, lambda _: changed, forgery.sealed)
    sections = writer.make_sections(body, secrets, keys if cipher else (), signers)
    sections = [(kind, mutated(rng, section) if kind == what else section) for kind, section in sections]
    return writer.assemble(body, sections)


@pytest.mark.parametrize("seed", range(4))
def test_what_one_refuses_the_other_does(ours, seed, tmp_path):
    """And what both take is the same."""
    folder, recipients, signers = ours
    rng = random.Random(seed)
    keys, signed = [recipients[0]], [signers[0]]
    refused = 0
    for number in range(60):
        data = hostile(rng, keys, signed)
        (tmp_path / "h.mmh").write_bytes(data)
        try:
            container = reference.open_container(data, keys)
            container.require_signatures(signed)
            right = contents(container)
        except (reference.Corrupt, reference.Unsupported, reference.NoKey, reference.Untrusted):
            right = None
        out = tmp_path / str(number)
        options = ["--key", folder / "1.key", "--signer", folder / "signer-1.pub", "--any-names"]
        command = [str(MMH.resolve()), "unpack", "-q", *options, "h.mmh", "-o", f"{number}/"]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        assert (result.returncode in (5, 7, 8, 9, 10)) == (right is None), (number, result)
        assert (tree(out) if out.exists() else {}) == (right or {}), number
        refused += right is None
    assert 10 < refused < 60
