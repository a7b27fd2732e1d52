# SPDX-License-Identifier: Apache-2.0
"""What the tests of attacks share: keys and files of Alice, Bob and Mallory, and forged containers.

The second writer (tests/reference) forges them: it knows the format and nothing of mmh, and makes right all that
needs no key.
"""

import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "cli"), str(HERE / "reference")]

from harness import LOST, MENDED, OK, UNTRUSTED, mmh, skip  # noqa: E402

try:
    import mmh_reference as reference
    import mmh_reference_crypto as crypto
    import mmh_reference_parity as parity
    import mmh_reference_writer as writer
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa, x25519
except ImportError as missing:  # no cryptography >= 50, zstandard or numpy
    reference = crypto = parity = writer = ec = ed25519 = mldsa = rsa = x25519 = None
    MISSING = str(missing)

FILES = {
    "model/weights.bin": random.Random(1).randbytes(5 * 8192),  # five chunks
    "model/readme": b"the secret name of the model\n" * 20,
}


def signer(private):
    return crypto.Signer(private.public_key(), private)


class World:
    """Keys of Alice (who opens), Bob (who signs) and Mallory (who may not), and their files."""

    def __init__(self, folder):
        if reference is None:
            skip(f"the second writer is not to be had: {MISSING}")
        self.folder = Path(folder)
        self.alice = crypto.XWingKey.from_seed(b"\1" * 32)
        mallory = x25519.X25519PrivateKey.generate()
        self.mallory = crypto.X25519Key(mallory.public_key(), mallory)
        halves = signer(mldsa.MLDSA65PrivateKey.generate()), signer(ed25519.Ed25519PrivateKey.generate())
        self.bob = crypto.Composite(33, *halves)
        self.file("alice.key", crypto.key_file(self.alice, True))
        self.file("alice.pub", crypto.key_file(self.alice))
        self.file("mallory.key", crypto.key_file(self.mallory, True))
        self.file("bob.pub", crypto.key_file(self.bob))

    def file(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(0o600)
        return path

    def source(self, files=None, suite=2, **options):
        return writer.source_from(FILES if files is None else files, suite, chunk_bytes=8192, **options)

    def sound(self, **options):
        """A container to Alice, signed by Bob."""
        options = {"cipher": 1, "recipients": [self.alice], "signers": [self.bob], **options}
        return writer.build(self.source(), **options)

    def restored(self):
        out = self.folder / "out"
        return sorted(path for path in out.rglob("*") if not path.is_dir()) if out.exists() else []

    def unpack(self, data, code, *options, key="alice.key", files=None):
        """Unpack: with exit code OK or MENDED the files are right, with any other there is none."""
        for path in self.restored():
            path.unlink()
        self.file("x.mmh", data)
        arguments = ["--key", key] if key else []
        result = mmh("unpack", "-q", "-f", *arguments, *options, "x.mmh", "-o", "out/", cwd=self.folder)
        assert result.code in (code if isinstance(code, tuple) else (code,)), f"exit {code} was expected: {result}"
        if result.code in (OK, MENDED):
            files = FILES if files is None else files
            got = {str(path.relative_to(self.folder / "out")): path.read_bytes() for path in self.restored()}
            assert got == files
        else:
            assert not self.restored(), "something was restored"
            assert result.err.startswith("mmh: ")
        return result

    def signed(self, data, code, *options, **more):
        """The same, and Bob must have signed it."""
        return self.unpack(data, code, "--signer", "bob.pub", *options, **more)

    def refused(self, forgery, sealed=LOST, signed=UNTRUSTED):
        """A forgery of an encrypted and signed container is refused for what it is, and as nobody's."""
        data = forgery.container() if isinstance(forgery, writer.Forgery) else forgery
        self.unpack(data, sealed)
        self.signed(data, signed)


def insider(world, change=None, sections=(), seals=None, stored=None, private=None):
    """What somebody who has the file key can make: with a right MAC, but not signed by Bob."""
    source = world.source()
    secrets = crypto.FileKeys(b"\7" * 32, 1, source.suite)
    if change:
        change(source)
    body = writer.make_body(source, secrets, seals)
    if stored:
        body = rebuilt(body, secrets, stored(list(body.chunks)))
    return writer.assemble(body, writer.make_sections(body, secrets, [world.alice], sections))


def rebuilt(body, secrets, chunks):
    """A body with other chunks, as they are stored, and its sealed pages as they were."""
    forgery = writer.Forgery(writer.assemble(body))
    return writer.Body(body.header, chunks, lambda new: new.chunk_list(), forgery.sealed)


def root_of(data):
    return reference.Container(data).root
