#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an attacker does to signatures, and the exit code that refuses it.

`python3 tests/test_attacks_signatures.py [NAME...]`, or pytest.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "cli")]

from attack_support import World, crypto, ec, ed25519, mldsa, reference, root_of, signer, writer  # noqa: E402
from harness import LOST, OK, UNSUPPORTED, UNTRUSTED, main, mmh  # noqa: E402


def replaced(world, *signatures, data=None):
    """The sound container with other signatures."""
    forgery = writer.Forgery(world.sound() if data is None else data)
    body = crypto.write_signatures(signatures) if signatures else None
    forgery.replace(reference.SECTION_SIGNATURES, body)
    return forgery.container()


def test_a_stripped_signature(tmp_path):
    world = World(tmp_path)
    data = replaced(world)
    world.signed(data, UNTRUSTED)
    world.unpack(data, OK)
    mmh("verify", "--signer", "bob.pub", "x.mmh", cwd=tmp_path, code=UNTRUSTED)
    world.signed(writer.build(world.source()), UNTRUSTED, key=None)


def test_a_signature_of_another_container(tmp_path):
    world = World(tmp_path)
    other = writer.Forgery(world.sound())
    forgery = writer.Forgery(world.sound())
    forgery.replace(reference.SECTION_SIGNATURES, other.section(reference.SECTION_SIGNATURES))
    world.signed(forgery.container(), UNTRUSTED)


def test_every_part_of_a_signature(tmp_path):
    world = World(tmp_path)
    forgery = writer.Forgery(world.sound())
    section = forgery.section(reference.SECTION_SIGNATURES)
    for at in [*range(0, 120), *range(120, len(section), 211), len(section) - 1]:
        changed = bytearray(section)
        changed[at] ^= 4
        forgery.replace(reference.SECTION_SIGNATURES, bytes(changed))
        world.file("x.mmh", forgery.container())
        result = mmh("verify", "-q", "--signer", "bob.pub", "x.mmh", cwd=tmp_path)
        assert result.code in (UNTRUSTED, LOST, UNSUPPORTED), (at, result)


def test_half_of_a_composite(tmp_path):
    """Removed, spoiled, doubled, or used for itself."""
    world = World(tmp_path)
    data = world.sound()
    root = root_of(data)
    good = crypto.sign(world.bob, 2, root)
    first, second = good.signature[:3309], good.signature[3309:]
    for signature in (first, second, first + bytes(64), bytes(3309) + second, first + first, second + first):
        world.signed(replaced(world, crypto.Signature(33, good.raw, signature), data=data), UNTRUSTED)
    for algorithm, half, key in ((9, first, world.bob.halves[0]), (1, second, world.bob.halves[1])):
        world.file("half.pub", crypto.key_file(key))
        raw = crypto.Statement(2, root, key.fingerprint).encode()
        for statement in (good.raw, raw):
            forged = replaced(world, crypto.Signature(algorithm, statement, half), data=data)
            world.signed(forged, UNTRUSTED)
            world.unpack(forged, UNTRUSTED, "--signer", "half.pub")


def test_a_hybrid_is_not_satisfied_by_its_classical_half(tmp_path):
    """Whoever broke Ed25519 signs with that half alone."""
    world = World(tmp_path)
    data = world.sound()
    half = world.bob.halves[1]
    world.signed(replaced(world, crypto.sign(half, 2, root_of(data)), data=data), UNTRUSTED)
    world.file("half.pub", crypto.key_file(half))
    forged = replaced(world, crypto.sign(half, 2, root_of(data)), data=data)
    world.unpack(forged, OK, "--signer", "half.pub")
    for policy in ("hybrid", "pq", "category=1"):
        world.unpack(forged, UNTRUSTED, "--signer", "half.pub", "--require", policy)


def test_ml_dsa_is_not_satisfied_by_ed25519(tmp_path):
    """The number of another algorithm on a signature, and the other way round."""
    world = World(tmp_path)
    data = world.sound()
    root = root_of(data)
    keys = [world.bob, *world.bob.halves, signer(ec.generate_private_key(ec.SECP256R1()))]
    keys.append(signer(ec.generate_private_key(ec.SECP384R1())))
    for key in keys:
        world.file("key.pub", crypto.key_file(key))
        good = crypto.sign(key, 2, root)
        world.unpack(replaced(world, good, data=data), OK, "--signer", "key.pub")
        for algorithm in sorted({0, 1, 2, 3, 9, 10, 16, 33, 34, 65535} - {key.algorithm}):
            raw = good.raw
            forged = replaced(world, crypto.Signature(algorithm, raw, good.signature), data=data)
            world.unpack(forged, UNTRUSTED, "--signer", "key.pub")
            resigned = crypto.Signature(algorithm, raw, key.sign(crypto.signed_bytes(algorithm, raw)))
            world.unpack(replaced(world, resigned, data=data), UNTRUSTED, "--signer", "key.pub")


def test_a_signature_with_another_context(tmp_path):
    world = World(tmp_path)
    data = world.sound()
    for key in (world.bob, world.bob.halves[0]):
        world.file("key.pub", crypto.key_file(key))
        good = crypto.sign(key, 2, root_of(data))
        for context in (b"", b"mmh2", b"MMH"):
            message = crypto.signed_bytes(key.algorithm, good.raw)
            forged = crypto.Signature(key.algorithm, good.raw, key.sign(message, context))
            world.unpack(replaced(world, forged, data=data), UNTRUSTED, "--signer", "key.pub")


def test_another_signers_key(tmp_path):
    """Mallory signs, with her fingerprint, with Bob's, and with her key beside it: no key is looked for there."""
    world = World(tmp_path)
    data = world.sound()
    root = root_of(data)
    own = crypto.Composite(33, signer(mldsa.MLDSA65PrivateKey.generate()), signer(ed25519.Ed25519PrivateKey.generate()))
    for fingerprint in (own.fingerprint, world.bob.fingerprint):
        raw = crypto.Statement(2, root, fingerprint, notes=[(b"key", own.spki)]).encode()
        forged = crypto.Signature(33, raw, own.sign(crypto.signed_bytes(33, raw)))
        world.signed(replaced(world, forged, data=data), UNTRUSTED)


def test_a_statement_of_another_root_or_suite(tmp_path):
    world = World(tmp_path)
    data = world.sound()
    root = root_of(data)
    for suite, said in ((1, root), (3, root), (2, root[:31]), (2, root + b"\0"), (2, root[:1]), (2, bytes(32))):
        raw = crypto.Statement(suite, said, world.bob.fingerprint).encode()
        forged = crypto.Signature(33, raw, world.bob.sign(crypto.signed_bytes(33, raw)))
        world.signed(replaced(world, forged, data=data), UNTRUSTED)


def test_one_signer_is_not_two(tmp_path):
    """A policy of all signers is not met by one who signed twice."""
    world = World(tmp_path)
    data = world.sound()
    other = signer(ed25519.Ed25519PrivateKey.generate())
    world.file("other.pub", crypto.key_file(other))
    twice = [crypto.sign(world.bob, 2, root_of(data), counter=n) for n in range(2)]
    both = ["--signer", "other.pub", "--require", "all"]
    world.signed(replaced(world, *twice, data=data), UNTRUSTED, *both)
    world.signed(replaced(world, *twice, crypto.sign(other, 2, root_of(data)), data=data), OK, *both)


def test_rollback_to_an_older_version(tmp_path):
    world = World(tmp_path)
    older, newer = (world.sound(counter=counter) for counter in (4, 5))
    world.signed(older, UNTRUSTED, "--require", "counter=5")
    world.signed(newer, OK, "--require", "counter=5")
    raw = crypto.Statement(2, root_of(older), world.bob.fingerprint, counter=5).encode()
    good = crypto.sign(world.bob, 2, root_of(older), counter=4)
    world.signed(
        replaced(world, crypto.Signature(33, raw, good.signature), data=older), UNTRUSTED, "--require", "counter=5"
    )


def test_a_detached_signature_of_another_container(tmp_path):
    world = World(tmp_path)
    data = replaced(world)
    signature = crypto.sign(world.bob, 2, root_of(data))
    world.file("x.sig", crypto.write_detached([signature]))
    world.signed(data, OK, "--signature", "x.sig")
    world.signed(replaced(world), UNTRUSTED, "--signature", "x.sig")


if __name__ == "__main__":
    main(globals())
