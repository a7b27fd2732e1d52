# SPDX-License-Identifier: Apache-2.0
"""libmmh itself, called from tests: keys, bundles, the trust store and audits of include/mmh_trust.h."""

import ctypes
import functools
import itertools
import os
from ctypes import POINTER, byref, c_bool, c_char, c_char_p, c_int, c_size_t, c_uint, c_uint8, c_uint64, c_void_p
from pathlib import Path

from harness import ROOT, skip

OK, USAGE, IO, MEMORY, UNSUPPORTED, CORRUPT, UNTRUSTED, KEY, LIMIT = range(9)
FINDINGS = ("differs", "missing", "extra")


class Error(ctypes.Structure):
    _fields_ = [("status", c_int), ("message", c_char * 512)]


class Trust(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("signers", POINTER(c_void_p)),
        ("signer_count", c_size_t),
        ("all", c_bool),
        ("hybrid", c_bool),
        ("post_quantum", c_bool),
        ("min_category", c_uint),
        ("min_counter", c_uint64),
        ("signature_file", c_char_p),
        ("expires", POINTER(c_uint64)),
    ]


BUNDLE_FUNCTION = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p)


class BundleOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("ignored", POINTER(c_char_p)),
        ("ignored_count", c_size_t),
        ("as_file", c_bool),
        ("overwrite", c_bool),
        ("symlinks", c_bool),
        ("shard_bytes", c_uint64),
        ("name", c_char_p),
        ("allow_extra", c_bool),
        ("finding", BUNDLE_FUNCTION),
        ("finding_user", c_void_p),
    ]


class BundleReport(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("file_count", c_uint64),
        ("bytes", c_uint64),
        ("differing", c_uint64),
        ("missing", c_uint64),
        ("extra", c_uint64),
        ("signature_count", c_size_t),
        ("right_count", c_size_t),
        ("is_signed", c_bool),
    ]


class StoreKey(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("name", c_char_p),
        ("key", c_void_p),
        ("added_seconds", c_uint64),
        ("expires_seconds", c_uint64),
        ("revoked_seconds", c_uint64),
        ("reason", c_char_p),
        ("successor_of", c_char_p),
        ("believed", c_bool),
        ("path", c_char_p),
    ]


class KeyInfo(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("algorithm", c_char_p),
        ("signs", c_bool),
        ("secret", c_bool),
        ("classical", c_bool),
        ("post_quantum", c_bool),
        ("nist_category", c_uint),
        ("bits", c_uint),
        ("fingerprint", c_uint8 * 32),
    ]


class AuditOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("signers", POINTER(c_void_p)),
        ("signer_count", c_size_t),
        ("signature_file", c_char_p),
        ("hash_files", c_bool),
        ("time_seconds", c_uint64),
    ]


class AuditFinding(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("profile", c_char_p),
        ("subject", c_char_p),
        ("algorithm", c_char_p),
        ("meets", c_bool),
        ("why", c_char_p),
        ("nist_category", c_uint),
        ("quantum_vulnerable", c_bool),
    ]


class PackOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("level", c_int),
        ("overwrite", c_bool),
        ("alone", c_bool),
        ("skip_check", c_bool),
        ("keep_times", c_bool),
        ("sha256", c_bool),
        ("raw_dtype", c_int),
        ("raw_shape", c_void_p),
        ("raw_dimensions", c_size_t),
        ("blake3", c_bool),
        ("layout", c_char_p),
        ("remarks", c_void_p),
        ("remarks_user", c_void_p),
        ("sha384", c_bool),
        ("recipients", POINTER(c_void_p)),
        ("recipient_count", c_size_t),
        ("passphrase", c_char_p),
        ("passphrase_bytes", c_size_t),
        ("aead", c_char_p),
        ("signers", POINTER(c_void_p)),
        ("signer_count", c_size_t),
        ("counter", c_uint64),
        ("time_seconds", c_uint64),
        ("parity", c_uint),
    ]


class ProfileInfo(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("name", c_char_p),
        ("algorithms", c_char_p),
        ("aead", c_char_p),
        ("hash_suite", c_char_p),
        ("about", c_char_p),
    ]


class MmhError(Exception):
    """A call that failed: .status and its message."""

    def __init__(self, error):
        super().__init__(error.message.decode("utf-8", "replace"))
        self.status = error.status


def call(name, *arguments):
    """Call a function that returns mmh_status, with the error behind its arguments."""
    error = Error()
    if getattr(library(), name)(*arguments, byref(error)):
        raise MmhError(error)


@functools.cache
def library():
    """libmmh of the build under test, or skip."""
    path = Path(os.environ.get("MMH_BUILD") or ROOT / "build") / "libmmh.so.3"
    if not path.exists():
        skip(f"there is no {path}: run make, or set MMH_BUILD")
    loaded = ctypes.CDLL(str(path))
    for name, result in (("profile_allows", c_bool), ("audit_meets", c_bool), ("store_counter", c_uint64)):
        getattr(loaded, "mmh_" + name).restype = result
    return loaded


def path_of(path):
    return os.fsencode(path)


class Context:
    """A context, for as long as a `with` lasts; keys are found and kept by it."""

    def __enter__(self):
        self.handle, self.keys = c_void_p(), []
        call("mmh_context_create", byref(self.handle), None)
        return self

    def __exit__(self, *_):
        library().mmh_context_destroy(self.handle)
        for key in self.keys:
            library().mmh_key_destroy(key)

    def generate(self, algorithms):
        key = c_void_p()
        call("mmh_key_generate", byref(key), algorithms.encode() if algorithms else None, 0)
        self.keys.append(key)
        return key

    def read(self, path):
        key = c_void_p()
        call("mmh_key_read", byref(key), path_of(path), None, None)
        self.keys.append(key)
        return key

    def write(self, key, path, secret):
        call("mmh_key_write", key, path_of(path), c_bool(secret), None, c_size_t(0), c_bool(True))
        return path

    def allow(self, key):
        """Let containers be opened with a key."""
        call("mmh_context_add_key", self.handle, key)

    def pack(self, model, output, recipients=(), signers=(), passphrase=None, **options):
        """Options are those of mmh_pack_options."""
        given = PackOptions(struct_size=ctypes.sizeof(PackOptions), overwrite=True, **options)
        given.recipients, given.recipient_count = key_array(recipients), len(recipients)
        given.signers, given.signer_count = key_array(signers), len(signers)
        if passphrase is not None:
            given.passphrase, given.passphrase_bytes = passphrase, len(passphrase)
        inputs = (c_char_p * 1)(path_of(model))
        call("mmh_pack", self.handle, inputs, c_size_t(1), path_of(output), byref(given), None)
        return output

    def audit(self, container, signers=(), **options):
        return Audit(self, container, signers, options)

    def sign_bundle(self, model, output, keys, **options):
        report = BundleReport(struct_size=ctypes.sizeof(BundleReport))
        given = _options(options)
        call(
            "mmh_bundle_write",
            self.handle,
            path_of(model),
            path_of(output),
            key_array(keys),
            c_size_t(len(keys)),
            byref(given),
            byref(report),
        )
        return report

    def verify_bundle(self, bundle, model, keys, trust=None, **options):
        """The report, and [(finding, name)]; MmhError has both as .report and .findings."""
        findings = []
        report = BundleReport(struct_size=ctypes.sizeof(BundleReport))
        given = _options(options)
        given.finding = BUNDLE_FUNCTION(lambda _, kind, name: findings.append((FINDINGS[kind], os.fsdecode(name))))
        required = Trust(
            struct_size=ctypes.sizeof(Trust), signers=key_array(keys), signer_count=len(keys), **(trust or {})
        )
        try:
            call(
                "mmh_bundle_verify",
                self.handle,
                path_of(bundle),
                path_of(model),
                byref(required),
                byref(given),
                byref(report),
            )
        except MmhError as error:
            error.report, error.findings = report, findings
            raise
        return report, findings


class Audit:
    """An audit: findings, what is met, and its three forms. Ends with the context."""

    def __init__(self, context, container, signers, options):
        given = AuditOptions(struct_size=ctypes.sizeof(AuditOptions), **options)
        given.signers, given.signer_count = key_array(signers), len(signers)
        self.handle = c_void_p()
        call("mmh_audit_create", byref(self.handle), context.handle, path_of(container), byref(given))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        library().mmh_audit_destroy(self.handle)

    def findings(self):
        """{profile: [(subject, algorithm, meets, why, NIST category, falls to a quantum computer)]}"""
        all_of_them = {}
        for number in itertools.count():
            found = AuditFinding(struct_size=ctypes.sizeof(AuditFinding))
            try:
                call("mmh_audit_finding_at", self.handle, c_size_t(number), byref(found))
            except MmhError as error:
                assert error.status == USAGE
                return all_of_them
            all_of_them.setdefault(found.profile.decode(), []).append(
                (
                    found.subject.decode(),
                    found.algorithm.decode(),
                    found.meets,
                    found.why.decode(),
                    found.nist_category,
                    found.quantum_vulnerable,
                )
            )

    def meets(self):
        """The profiles that are met."""
        return {name for name in profiles() if library().mmh_audit_meets(self.handle, name.encode())}

    def write(self, form):
        """Text of a form: "text", "json", "bill"."""
        text, size = c_char_p(), c_size_t()
        call("mmh_audit_write", self.handle, ("text", "json", "bill").index(form), byref(text), byref(size))
        data = ctypes.string_at(text, size.value)
        assert b"\0" not in data
        return data.decode()


def profiles():
    """{name: what mmh_profile says of it}"""
    found = {}
    for number in itertools.count():
        info = ProfileInfo(struct_size=ctypes.sizeof(ProfileInfo))
        try:
            call("mmh_profile", c_size_t(number), byref(info))
        except MmhError as error:
            assert error.status == USAGE
            return found
        found[info.name.decode()] = info


def algorithms():
    """{name: what mmh_algorithm says of it}"""
    found = {}
    for number in itertools.count():
        info = KeyInfo(struct_size=ctypes.sizeof(KeyInfo))
        try:
            call("mmh_algorithm", c_size_t(number), byref(info))
        except MmhError as error:
            assert error.status == USAGE
            return found
        found[info.algorithm.decode()] = info


def allows(profile, algorithm):
    """(whether a profile allows an algorithm, why)"""
    why = c_char_p()
    allowed = library().mmh_profile_allows(profile.encode(), algorithm.encode(), byref(why))
    return allowed, why.value.decode()


def key_array(keys):
    return (c_void_p * max(len(keys), 1))(*keys)


def _options(options):
    ignored = [path_of(path) for path in options.pop("ignored", [])]
    if "name" in options:
        options["name"] = options["name"].encode()
    given = BundleOptions(struct_size=ctypes.sizeof(BundleOptions), **options)
    given.ignored = (c_char_p * max(len(ignored), 1))(*ignored)
    given.ignored_count = len(ignored)
    return given
