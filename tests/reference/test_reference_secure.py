"""The second reader and writer of encrypted, signed and mended containers, against published vectors and mmh."""
# SPDX-License-Identifier: Apache-2.0

import base64
import json
import os
import random
import struct
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mlkem, rsa, x25519

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import mmh_reference as reference  # noqa: E402
import mmh_reference_crypto as crypto  # noqa: E402
import mmh_reference_parity as parity  # noqa: E402
import mmh_reference_slh_dsa as slh_dsa  # noqa: E402
import mmh_reference_writer as writer  # noqa: E402

SHARED = Path(os.environ["MMH_SHARED"]) / "vectors" if os.environ.get("MMH_SHARED") else None
needs_vectors = pytest.mark.skipif(SHARED is None or not SHARED.exists(), reason="MMH_SHARED names no vectors")
REFUSALS = (reference.Corrupt, reference.Unsupported, reference.Limit, reference.NoKey)
CHEAP = (64, 1, 2)


# --------------------------------------------------------------------------------------------------
# Published vectors
# --------------------------------------------------------------------------------------------------


def vectors(name):
    return json.loads((SHARED / name).read_text())


@needs_vectors
def test_x_wing_vectors():
    for vector in vectors("xwing/test-vectors.json"):
        key = crypto.XWingKey.from_seed(bytes.fromhex(vector["sk"]))
        assert key.public.hex() == vector["pk"]
        assert key.decapsulate(bytes.fromhex(vector["ct"])).hex() == vector["ss"]


@needs_vectors
def test_hpke_vectors():
    ours = [
        v for v in vectors("hpke-pq/test-vectors.json") if (v["kem_id"], v["kdf_id"], v["aead_id"]) == (25722, 1, 3)
    ]
    assert len(ours) == 1
    vector = {name: bytes.fromhex(value) for name, value in ours[0].items() if isinstance(value, str)}
    key = crypto.XWingKey.from_seed(vector["skRm"])
    assert key.public == vector["pkRm"]
    shared = key.decapsulate(vector["enc"])
    assert shared == vector["shared_secret"]
    assert crypto.hpke_key(25722, 1, 3, shared, vector["info"]) == (vector["key"], vector["base_nonce"])
    first = {name: bytes.fromhex(value) for name, value in ours[0]["encryptions"][0].items()}
    assert (
        crypto.ChaCha20Poly1305(vector["key"]).encrypt(vector["base_nonce"], first["pt"], first["aad"]) == first["ct"]
    )


@needs_vectors
def test_composite_vectors():
    all_vectors = vectors("composite-sigs/testvectors.json")
    message, context = base64.b64decode(all_vectors["m"]), base64.b64decode(all_vectors["ctx"])
    listed = {vector["tcId"]: vector for vector in all_vectors["tests"]}
    for algorithm, (_, _, label, _, _) in crypto.COMPOSITES.items():
        vector = {
            name: base64.b64decode(value)
            for name, value in listed["id-" + label.decode()[8:]].items()
            if name != "tcId"
        }
        key = crypto.Composite.from_public(algorithm, vector["pk"])
        assert key.spki in vector["x5c"]
        assert crypto.other_public_key(key.spki).fingerprint == key.fingerprint
        assert key.verify(message, vector["s"], b"") and key.verify(message, vector["sWithContext"], context)
        assert not key.verify(message, vector["s"], context)
        for at in (0, len(vector["s"]) - 1):
            changed = bytearray(vector["s"])
            changed[at] ^= 1
            assert not key.verify(message, bytes(changed), b"")


@needs_vectors
def test_ml_dsa_vectors():
    all_vectors = vectors("composite-sigs/testvectors.json")
    message = base64.b64decode(all_vectors["m"])
    for vector in all_vectors["tests"]:
        if vector["tcId"].startswith("id-ML-DSA"):
            number = {"44": 8, "65": 9, "87": 10}[vector["tcId"][-2:]]
            key = crypto.Signer(crypto.ML_DSA[number][0].from_public_bytes(base64.b64decode(vector["pk"])))
            assert key.spki in base64.b64decode(vector["x5c"])
            assert key.verify(message, base64.b64decode(vector["s"]), b"")


@needs_vectors
def test_slh_dsa_vectors():
    sets = ["128s", "128f", "192s", "192f", "256s", "256f"]
    names = ["SLH-DSA-SHA2-" + name for name in sets] + ["SLH-DSA-SHAKE-" + name for name in sets]
    keys, done = {}, set()
    for stanza in (SHARED / "openssl-3.5.7/slh_dsa_sigver_sample.txt").read_text().split("\n\n"):
        lines = [line.split(" = ", 1) for line in stanza.splitlines() if " = " in line]
        entry = dict(lines)
        if "PublicKeyRaw" in entry:
            name, algorithm, public = entry["PublicKeyRaw"].split(":")
            keys[name] = names.index(algorithm), bytes.fromhex(public)
        if "Verify-Message-Public" not in entry:
            continue
        number, public = keys[entry["Verify-Message-Public"].split(":")[1]]
        context = [value.split(":")[1] for _, value in lines if value.startswith("hexcontext-string:")]
        message, signature = bytes.fromhex(entry["Input"]), bytes.fromhex(entry["Output"])
        right = slh_dsa.verify(number, public, message, signature, bytes.fromhex("".join(context)))
        assert right == ("Result" not in entry)
        done.add((number, right))
    assert len(done) == 12


# --------------------------------------------------------------------------------------------------
# Keys
# --------------------------------------------------------------------------------------------------


def signer(private):
    return crypto.Signer(private.public_key(), private)


@pytest.fixture(scope="module")
def keys():
    """A key of each kind that opens."""
    first, second = x25519.X25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)
    kems = [mlkem.MLKEM768PrivateKey.generate(), mlkem.MLKEM1024PrivateKey.generate()]
    return [
        crypto.X25519Key(first.public_key(), first),
        *(crypto.MlKemKey(private.public_key(), private) for private in kems),
        crypto.XWingKey.from_seed(os.urandom(32)),
        crypto.RsaKey(second.public_key(), second),
        crypto.Passphrase(b"correct horse", CHEAP),
    ]


@pytest.fixture(scope="module")
def signers():
    """A key of each algorithm that signs."""
    curves = [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()]
    singles = [signer(ed25519.Ed25519PrivateKey.generate()), signer(rsa.generate_private_key(65537, 2048))]
    singles += [signer(ec.generate_private_key(curve)) for curve in curves]
    singles += [signer(crypto.ML_DSA[number][1].generate()) for number in crypto.ML_DSA]
    by = {key.algorithm: key for key in singles}
    return singles + [crypto.Composite(n, by[a], by[b]) for n, (a, b, *_) in crypto.COMPOSITES.items()]


def contents(container):
    return {name: entry[2] for name, entry in container.restore().items()}


FILES = {"a.bin": random.Random(1).randbytes(150000), "b/c.txt": b"hello" * 1000, "empty": b"", "x": b"x"}


@pytest.fixture(scope="module", params=[(suite, cipher) for suite in (1, 2, 3) for cipher in (0, 1, 2)])
def both(request, keys, signers):
    """(container, its keys, its signers) for every pair of suites."""
    suite, cipher = request.param
    mine = keys if cipher else []
    return writer.build(writer.source_from(FILES, suite), cipher, mine, signers, 10), mine, signers


def opened(both):
    return reference.open_container(both[0], both[1][:1])


def test_every_key_opens(both):
    for key in both[1] or [None]:
        container = reference.open_container(both[0], [key] if key else [])
        assert contents(container) == FILES
        assert not container.mended and not container.verify()


def test_every_signature_is_right(both):
    container = opened(both)
    assert container.signed_by(both[2]) == both[2]
    container.require_signatures(both[2])
    with pytest.raises(reference.Untrusted):
        container.require_signatures([signer(ed25519.Ed25519PrivateKey.generate())])


def test_without_a_key_only_hashes_are_checked(both):
    container = reference.open_container(both[0])
    assert container.locked == bool(both[1])
    assert not container.verify()
    if container.locked:
        with pytest.raises(reference.NoKey):
            container.restore()
        assert not hasattr(container, "files")
        for name in FILES:
            assert len(name) < 3 or name.encode() not in both[0]


def test_other_keys_do_not_open(both):
    other = x25519.X25519PrivateKey.generate()
    wrong = [crypto.X25519Key(other.public_key(), other), crypto.XWingKey.from_seed(b"\1" * 32)]
    wrong += [crypto.Passphrase(b"wrong", CHEAP)]
    if both[1]:
        with pytest.raises(reference.NoKey):
            reference.open_container(both[0], wrong)


def test_a_container_can_be_written_again(both, keys):
    source = writer.source_of(both[0], both[1][:1])
    assert contents(reference.open_container(writer.build(source))) == FILES
    rekeyed = writer.build(source, 2, keys[3:4])
    assert contents(reference.open_container(rekeyed, keys[3:4])) == FILES


def test_trailers_are_added_behind(both):
    sections = writer.Forgery(both[0]).sections[:1]
    data = writer.append_trailer(both[0], sections)
    container = reference.open_container(data, both[1][:1])
    assert contents(container) == FILES and not container.verify()
    assert container.signed_by(both[2]) == ([] if both[1] else both[2])
    shorter = reference.open_container(data[: len(both[0]) + 100], both[1][:1])
    assert contents(shorter) == FILES and shorter.mended


# --------------------------------------------------------------------------------------------------
# Damage
# --------------------------------------------------------------------------------------------------


def test_repair_leaves_what_is_whole(both):
    assert parity.repair(both[0]) == both[0]


def damage(rng, data):
    """One of: a burst, single bits, a cut, a hole of zeros, the first bytes, the last."""
    changed = bytearray(data)
    way = rng.randrange(6)
    at = rng.randrange(len(data))
    if way == 0:
        length = rng.randrange(1, len(data) // 30)
        changed[at : at + length] = rng.randbytes(length)
    elif way == 1:
        for _ in range(rng.randrange(1, 3)):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif way == 2:
        del changed[len(data) - rng.randrange(1, 700) :]
    elif way == 3:
        length = rng.randrange(1, len(data) // 30)
        changed[at : at + length] = bytes(length)
    elif way == 4:
        length = rng.randrange(1, 600)
        changed[:length] = rng.randbytes(length)
    else:
        length = rng.randrange(1, 600)
        changed[len(data) - length :] = rng.randbytes(length)
    return bytes(changed)


def test_damage_is_mended_to_the_byte(both):
    """10 % of parity mends two blocks: no damage here hits more."""
    rng = random.Random(len(both[0]))
    for _ in range(25):
        damaged = damage(rng, both[0])
        assert parity.repair(damaged) == both[0]


def test_damage_of_an_added_trailer_is_mended(both):
    data = writer.append_trailer(both[0], writer.Forgery(both[0]).sections[:1])
    rng = random.Random(7)
    for size in (0, 1, 300, 900):
        damaged = bytearray(data[: len(data) - size])
        damaged[rng.randrange(100000)] ^= 1
        assert parity.repair(bytes(damaged)) == data


def test_too_much_damage_is_told(both):
    damaged = bytearray(both[0])
    damaged[:100000] = bytes(100000)
    with pytest.raises(reference.Corrupt):
        parity.repair(bytes(damaged))


@pytest.mark.parametrize("percent", [1, 2, 5, 10, 50, 100, 300, 3000])
@pytest.mark.parametrize("size", [1, 100, 1000, 5000, 300000, 3000000])
def test_any_parity_of_any_size(percent, size):
    files = {"x": random.Random(size).randbytes(size)}
    data = writer.build(writer.source_from(files), percent=percent)
    container = reference.open_container(data)
    geometry = parity.Geometry.parse(container.section(reference.SECTION_PARITY)[:64], len(data))
    assert geometry.k + geometry.m <= 255 and geometry.m >= 2
    damaged = bytearray(data)
    span = geometry.block_bytes * geometry.stripes * geometry.m
    start = min(geometry.block_bytes, max(geometry.end - span, 0)) // geometry.block_bytes * geometry.block_bytes
    damaged[start : min(start + span, geometry.end)] = bytes(min(start + span, geometry.end) - start)
    assert parity.repair(bytes(damaged)) == data


def test_every_cauchy_matrix_that_was_tried_is_regular():
    """Any k of k + m blocks give the rest."""
    rng = random.Random(4)
    for k, m in ((1, 1), (3, 2), (8, 8), (20, 6), (5, 250)):
        blocks = [rng.randbytes(16) for _ in range(k)]
        rest = parity.make_parity(blocks, k, m, 16)
        for _ in range(20):
            kept = rng.sample(range(k + m), k)
            data = {j: blocks[j] for j in kept if j < k}
            checks = {j - k: rest[j - k] for j in kept if j >= k}
            assert parity.recover(data, checks, k, 16) == blocks


def test_packets_of_files_within_do_not_mislead():
    """A container with parity that holds another one as a file, stored as it is."""
    inner = writer.build(writer.source_from({"in": random.Random(2).randbytes(20000)}), percent=20)
    outer = writer.build(writer.source_from({"in.mmh": inner}), percent=20)
    damaged = bytearray(outer[:-700])
    damaged[3000:3100] = bytes(100)
    assert parity.repair(bytes(damaged)) == outer


# --------------------------------------------------------------------------------------------------
# Hostile bytes
# --------------------------------------------------------------------------------------------------


def test_single_byte_changes_give_nothing_wrong(keys):
    """Each byte with each change: the right files, or a refusal."""
    files = {"a": b"some text", "b": random.Random(3).randbytes(200)}
    data = writer.build(writer.source_from(files), 1, [keys[0], keys[3]])
    whole = 0
    for at in range(len(data)):
        for change in (0x01, 0x80, 0xFF):
            changed = bytearray(data)
            changed[at] ^= change
            try:
                restored = contents(reference.open_container(bytes(changed), keys[:1]))
            except REFUSALS:
                continue
            assert restored == files
            whole += 1
    assert whole > len(data)


def test_a_changed_trailer_is_read_to_its_end(keys):
    rng = random.Random(8)
    data = writer.build(writer.source_from({"a": b"text"}), 1, [keys[0], keys[3]])
    forgery = writer.Forgery(data)
    section = forgery.section(1)
    for _ in range(500):
        changed = bytearray(section)
        at = rng.choice([rng.randrange(len(section)), rng.randrange(12)])
        changed[at] ^= 1 << rng.randrange(8)
        forgery.replace(1, bytes(changed[: rng.choice([len(changed)] * 4 + [rng.randrange(len(changed))])]))
        with pytest.raises(REFUSALS):
            reference.open_container(forgery.container(), keys[:1])


def test_statements_that_are_nobodys(signers):
    key = signers[0]
    right = crypto.sign(key, 2, bytes(32), counter=3, time=4, notes=[(b"k", b"v")])
    assert right.is_right(key, 2, bytes(32))
    assert not right.is_right(key, 1, bytes(32)) and not right.is_right(key, 2, bytes(31) + b"\1")
    raw = b"\2" + right.raw[1:]
    assert not crypto.Signature(1, raw, key.sign(crypto.signed_bytes(1, raw))).is_right(key, 2, bytes(32))
    assert not crypto.Signature(77, raw[:9], right.signature).is_right(key, 2, bytes(32))
    for raw in (right.raw[:-1], right.raw + b"\0", b""):
        with pytest.raises(reference.Corrupt):
            crypto.Signature(1, raw, right.signature)


def test_sections_round_trip(signers):
    signatures = [crypto.sign(key, 3, bytes(48), counter=9) for key in signers]
    again = crypto.read_detached(crypto.write_detached(signatures))
    assert [one.encode() for one in again] == [one.encode() for one in signatures]
    assert again[0].statement.counter == 9
    data = crypto.write_detached(signatures)
    for at in (0, 8, 12, len(data) - 1):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(REFUSALS):
            crypto.read_detached(bytes(changed))
    with pytest.raises(REFUSALS):
        crypto.read_detached(data + b"\0")


@pytest.mark.parametrize("cost", [(2**20 + 1, 1, 1), (64, 17, 1), (4096, 1, 17), (64, 0, 1), (64, 1, 0), (63, 1, 8)])
def test_hostile_passphrase_costs_are_a_limit(cost):
    body = struct.pack("<III", *cost) + bytes(16 + 48)
    with pytest.raises(reference.Limit):
        crypto.Passphrase(b"x").open(body)
