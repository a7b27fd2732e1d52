# SPDX-License-Identifier: Apache-2.0
"""Packing, unpacking, verifying, keys: the long calls, and what they report."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypedDict, Union, Unpack

from mmh import _mmh, _sources
from mmh._errors import CorruptError, UsageError

PathLike = Union[str, "os.PathLike[str]"]

# In a forked child the threads of open containers are gone: the extension must know.
os.register_at_fork(after_in_child=_mmh.forked)


@dataclass(frozen=True)
class Progress:
    """Where a long call stands.

    Attributes
    ----------
    stage : str
        "pack", "unpack", "verify", "load", ...
    name : str or None
        The file that is being worked on.
    done_bytes, total_bytes : int
        Of original (unpacked) data; a total of 0 is not known.
    stored_bytes : int
        Bytes of the container that were written or read so far.
    """

    stage: str
    name: str | None
    done_bytes: int
    total_bytes: int
    stored_bytes: int


ProgressCallback = Callable[[Progress], Any]


class OpenOptions(TypedDict, total=False):
    """What `mmh.open` takes, and with it everything that loads."""

    threads: int
    keys: Key | Iterable[Key]
    passphrase: str | bytes | None
    signers: Key | Iterable[Key]
    require: Mapping[str, Any] | None
    progress: ProgressCallback | None
    storage_options: Mapping[str, Any] | None


class PackOptions(TypedDict, total=False):
    """What `mmh.pack` takes, and with it everything that saves."""

    level: int
    overwrite: bool
    threads: int
    progress: ProgressCallback | None
    recipients: Key | Iterable[Key]
    passphrase: str | bytes | None
    sign_with: Key | Iterable[Key]
    parity: float
    counter: int
    time: int
    aead: str | None
    hash: str | None
    alone: bool
    check: bool
    keep_times: bool
    dtype: str | None
    shape: Sequence[int] | None
    layout: PathLike | None


def check_options(given: Mapping[str, Any], kind: Any, what: str) -> None:
    """Raise a TypeError that names an option which `kind` (one of the classes above) lacks, and what may be meant."""
    for name in given:
        if name not in kind.__annotations__:
            near = difflib.get_close_matches(name, kind.__annotations__, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; options are {', '.join(kind.__annotations__)}"
            raise TypeError(f"{what} takes no option {name!r}{hint}")


class Key(_mmh.Key):
    """An identity: a key to sign with, one to decrypt with, or both; public or private.

    >>> key = Key.generate()
    >>> [part.algorithm for part in key]
    ['ml-dsa-65-ed25519', 'x-wing']
    """

    __slots__ = ()

    @classmethod
    def generate(cls, algorithms: str | Sequence[str] | None = None, *, rsa_bits: int = 0) -> Key:
        """Make a private key.

        `algorithms` are names of `mmh.algorithms()`, at most one that signs and one that encrypts; by
        default the hybrids ML-DSA-65 with Ed25519 and X-Wing. Raises UsageError for others.
        """
        if algorithms is not None and not isinstance(algorithms, str):
            algorithms = ",".join(algorithms)
        made: Key = cls._generate(algorithms, rsa_bits)
        return made

    @classmethod
    def read(cls, path: PathLike, passphrase: str | bytes | None = None) -> Key:
        """Read a file of keys: PEM of mmh's own, of OpenSSL's, or age's strings.

        Raises KeyMissingError if it is no key or the passphrase is wrong or missing, IOFailure.
        """
        made: Key = cls._read(path, _secret(passphrase))
        return made

    @classmethod
    def parse(cls, text: str | bytes, passphrase: str | bytes | None = None, *, name: str = "the key") -> Key:
        """The same from memory: a file's content, or "age1...". `name` is for messages."""
        made: Key = cls._parse(text.encode() if isinstance(text, str) else text, _secret(passphrase), name)
        return made

    def write(
        self,
        path: PathLike,
        *,
        secret: bool = False,
        passphrase: str | bytes | None = None,
        overwrite: bool = False,
    ) -> None:
        """Write the public part to a file, or with `secret` all of it, mode 0600.

        `passphrase` locks a secret key. Raises UsageError if the file exists, if a secret key is wanted of a public
        one, or if there is a passphrase, or a name in ".key", without `secret`: the file would not be the key that it
        was meant to keep.
        """
        if not secret and os.fspath(path).endswith(".key"):
            raise UsageError(f"{os.fspath(path)}: this writes the public part: call it .pub, or say secret=True")
        if passphrase is not None and not secret:
            raise UsageError("a passphrase locks a secret key, and this writes the public part: say secret=True")
        self._write(path, secret, _secret(passphrase), overwrite)

    def __iter__(self) -> Iterator[KeyPart]:
        return iter([KeyPart(*part) for part in self._parts()])

    def __repr__(self) -> str:
        parts = ", ".join(f"{part.algorithm} {part.fingerprint[:16]}" for part in self)
        return f"<mmh.Key {parts}>"


@dataclass(frozen=True)
class KeyPart:
    """One algorithm of a key. `nist_category` 0: it falls to a quantum computer; `bits`: of RSA, else 0."""

    algorithm: str
    signs: bool
    secret: bool
    classical: bool
    post_quantum: bool
    nist_category: int
    bits: int
    fingerprint: str


@dataclass(frozen=True)
class PackReport:
    """What a pack did. Byte counts; `root` is the container's identity, in hexadecimal."""

    original_bytes: int
    stored_bytes: int
    floor_bytes: int
    file_count: int
    tensor_count: int
    chunk_count: int
    shared_chunks: int
    shared_bytes: int
    parity_bytes: int
    remark_count: int
    wall_ns: int
    root: str

    @property
    def ratio(self) -> float:
        """Stored over original bytes."""
        return self.stored_bytes / self.original_bytes if self.original_bytes else 1.0


@dataclass(frozen=True)
class Damage:
    """Bytes of an original file that cannot be had.

    `file` None: no file needs them. `tensor` None: a range of the file; else the part of it in that tensor.
    """

    file: str | None
    tensor: str | None
    offset: int
    bytes: int
    unsearched: bool


@dataclass(frozen=True)
class Layer:
    """One thing that verify checks. `result`: "right", "wrong", "absent" or "skipped"."""

    name: str
    result: str
    count: int
    text: str


@dataclass(frozen=True)
class VerifyReport:
    """What verify or unpack found. `ok`: everything is as it was packed; else `problem` says what is wrong."""

    original_bytes: int
    stored_bytes: int
    file_count: int
    chunk_count: int
    damaged_chunks: int
    damaged_bytes: int
    mended_chunks: int
    mended: int
    encrypted: bool
    wall_ns: int
    damage: tuple[Damage, ...] = ()
    layers: tuple[Layer, ...] = ()
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem is None

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True)
class RepairReport:
    """What repair did. `ok`: nothing is damaged now; else `problem` says what stays lost, and `damage` where."""

    damaged_blocks: int
    restored_blocks: int
    damaged_chunks: int
    restored_chunks: int
    bytes_written: int
    from_parity: int
    from_sources: int
    mended: int
    replayed: bool
    wall_ns: int
    damage: tuple[Damage, ...] = ()
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged any more."""
        return self.problem is None

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True)
class Recipient:
    """Somebody who may decrypt."""

    algorithm: str
    classical: bool
    post_quantum: bool
    nist_category: int


@dataclass(frozen=True)
class Signature:
    """A signature. `result`: "right" or "wrong" by a key that was given, else "unchecked"."""

    algorithm: str
    classical: bool
    post_quantum: bool
    nist_category: int
    fingerprint: str
    counter: int
    time_seconds: int
    of_this_root: bool
    result: str


@dataclass(frozen=True)
class Security:
    """What guards a container. `parity` in percent."""

    encrypted: bool
    aead: str | None
    hash_suite: str
    parity: float
    parity_bytes: int
    root: str
    recipients: tuple[Recipient, ...] = field(default=())
    signatures: tuple[Signature, ...] = field(default=())


@dataclass(frozen=True)
class Algorithm:
    """An algorithm that keys can be of."""

    name: str
    signs: bool
    classical: bool
    post_quantum: bool
    nist_category: int


def algorithms() -> list[Algorithm]:
    """The algorithms that keys of this build can be of."""
    return [Algorithm(*entry) for entry in _mmh.algorithms()]


def _secret(passphrase: str | bytes | None) -> bytes | None:
    return passphrase.encode() if isinstance(passphrase, str) else passphrase


def _keys(keys: Key | Iterable[Key]) -> tuple[Key, ...]:
    return (keys,) if isinstance(keys, Key) else tuple(keys)


def _context(
    *,
    threads: int = 0,
    progress: ProgressCallback | None = None,
    keys: Key | Iterable[Key] = (),
    passphrase: str | bytes | None = None,
    signers: Key | Iterable[Key] = (),
    require: Mapping[str, Any] | None = None,
) -> _mmh.Context:
    """A context of the library, with the signatures that it is to require."""
    if not 0 <= threads <= 1 << 16:
        raise UsageError(f"threads must be 0 (all processors) to 65536, not {threads}")
    call = None
    if progress is not None:
        if not callable(progress):
            raise TypeError(f"progress must be callable, and is {type(progress).__name__}")
        told = progress

        def call(stage: str, name: str | None, done: int, total: int, stored: int) -> object:
            return told(Progress(stage, name, done, total, stored))

    context = _mmh.Context(threads, call, _keys(keys), _secret(passphrase))
    trusted = _keys(signers)
    if trusted:
        context.require(trusted, **(require or {}))
    elif require:
        raise UsageError("require says what signatures must be like, and no signers are given")
    return context


def _pack(
    inputs: Sequence[PathLike],
    sources: Sequence[Any] | None,
    output: Any,
    *,
    level: int = 5,
    overwrite: bool = False,
    threads: int = 0,
    progress: ProgressCallback | None = None,
    recipients: Key | Iterable[Key] = (),
    passphrase: str | bytes | None = None,
    sign_with: Key | Iterable[Key] = (),
    parity: float = 0.0,
    counter: int = 0,
    time: int = 0,
    aead: str | None = None,
    hash: str | None = None,
    alone: bool = False,
    check: bool = True,
    keep_times: bool = False,
    dtype: str | None = None,
    shape: Sequence[int] | None = None,
    layout: PathLike | None = None,
) -> PackReport:
    if not 1 <= level <= 9:
        raise UsageError(f"level must be 1 to 9, not {level}")
    if not 0 <= parity <= 100:
        raise UsageError(f"parity is in percent, 0 to 100, not {parity}")
    if hash not in (None, "sha256", "sha384", "blake3"):
        raise UsageError(f'hash must be "blake3", "sha256" or "sha384", not {hash!r}')
    is_path = isinstance(output, (str, os.PathLike))
    if _sources.is_url(output):
        raise UsageError(f"{output}: an output is a path or a file object, as of fsspec.open({output!r}, 'wb')")
    if not is_path and not hasattr(output, "write"):
        raise TypeError(f"output must be a path or a binary file object, not {type(output).__name__}")
    report = _mmh.pack(
        _context(threads=threads, progress=progress),
        inputs,
        sources,
        output if is_path else None,
        None if is_path else _sources.writer(output),
        level,
        overwrite,
        alone,
        check,
        hash,
        _keys(recipients),
        _secret(passphrase),
        _keys(sign_with),
        round(parity * 100),
        counter,
        time,
        aead,
        keep_times,
        dtype,
        shape,
        layout,
    )
    return PackReport(**report)


def pack(
    inputs: PathLike | Sequence[PathLike],
    output: PathLike | None = None,
    **options: Unpack[PackOptions],
) -> PackReport:
    """Pack files and folders into one container.

    Parameters
    ----------
    inputs : path or sequence of paths
        A shard index brings its shards, an ONNX model its external data, a folder all that is in it.
    output : path, optional
        By default, of one input, its name with ".mmh" behind it.
    level : int
        1 (fast) to 9 (small); 5.
    overwrite : bool
        Replace an existing output, else it is a UsageError.
    threads : int
        0: all processors.
    progress : callable
        Called with a `Progress` some times a second; returning False cancels.
    recipients, passphrase
        Encrypt to these keys, or with a passphrase.
    sign_with : Key or keys
        Private keys that sign.
    parity : float
        Percent of what is stored, from which damage is repaired.
    hash : str
        "blake3", "sha256" or "sha384".
    alone, check, keep_times, dtype, shape, layout, aead, counter, time
        As the command's options of these names (`check=False` is --no-check).

    Returns
    -------
    PackReport

    Raises UsageError, IOFailure, MemoryFailure, CancelledError; nothing is left behind then.
    """
    check_options(options, PackOptions, "pack")
    paths: list[PathLike] = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    if output is None:
        if len(paths) != 1:
            raise UsageError("of several inputs the output must be named")
        output = os.fsdecode(paths[0]).rstrip("/") + ".mmh"
    return _pack(paths, None, output, **options)


def pack_files(
    files: Mapping[str, Any],
    output: PathLike | BinaryIO,
    **options: Unpack[PackOptions],
) -> PackReport:
    """Pack files that are not on disk.

    Parameters
    ----------
    files : mapping of names to contents
        A name is relative, with "/" between its parts. A content is bytes-like, a sequence of bytes-likes
        that follow each other, or a seekable binary file object.
    output : path or binary file object
        A file object is written to as a stream.
    options
        As for `pack`.
    """
    check_options(options, PackOptions, "packing")
    return _pack((), [_sources.of_file(name, content) for name, content in files.items()], output, **options)


def pack_tensors(
    tensors: Mapping[str, tuple[str, Sequence[int], Any]],
    output: PathLike | BinaryIO,
    *,
    metadata: Mapping[str, str] | None = None,
    name: str = "model.safetensors",
    files: Mapping[str, Any] | None = None,
    **options: Unpack[PackOptions],
) -> PackReport:
    """Pack tensors in memory as the safetensors file that they make; it is never written itself.

    Parameters
    ----------
    tensors : mapping of names to (dtype, shape, memory)
        `dtype` as safetensors spells it ("BF16"); `memory` is contiguous, row-major and little-endian: a
        buffer, or a tuple (address, bytes).
    output : path or binary file object
    metadata : mapping of str to str
    name : str
        Of the safetensors file in the container: `mmh unpack` gives it back.
    files : mapping
        More files, as for `pack_files`.
    options
        As for `pack`.

    Raises UsageError if a memory has another size than dtype and shape make, or a dtype is none of
    safetensors'.
    """
    check_options(options, PackOptions, "packing")
    parts = _sources.safetensors_parts(tensors, metadata)
    sources: list[Any] = [(name, parts)]
    sources += [_sources.of_file(other, content) for other, content in (files or {}).items()]
    return _pack((), sources, output, **options)


def _report(report: dict[str, Any]) -> dict[str, Any]:
    report["damage"] = tuple(Damage(*entry) for entry in report["damage"])
    report["layers"] = tuple(Layer(*entry) for entry in report["layers"])
    return report


def unpack(
    container: PathLike,
    destination: PathLike,
    *,
    as_file: bool = False,
    overwrite: bool = False,
    sync: bool = False,
    skip_damaged: bool = False,
    any_names: bool = False,
    threads: int = 0,
    progress: ProgressCallback | None = None,
    keys: Key | Iterable[Key] = (),
    passphrase: str | bytes | None = None,
    signers: Key | Iterable[Key] = (),
    require: Mapping[str, Any] | None = None,
) -> VerifyReport:
    """Restore every file of a container into a folder, which is made if it is missing.

    With `as_file` the destination is the file itself, of a container with one file. With `skip_damaged`
    bytes that are lost become zeros and the report tells of them; else damage is a CorruptError and leaves
    nothing behind. Raises UsageError if a file exists (without `overwrite`), UntrustedError,
    KeyMissingError, IOFailure.
    """
    context = _context(
        threads=threads,
        progress=progress,
        keys=keys,
        passphrase=passphrase,
        signers=signers,
        require=require,
    )
    report = _mmh.unpack(context, container, destination, as_file, overwrite, sync, skip_damaged, any_names)
    return VerifyReport(**_report(report))


def verify(
    container: PathLike,
    *,
    quick: bool = False,
    check: bool = False,
    threads: int = 0,
    progress: ProgressCallback | None = None,
    keys: Key | Iterable[Key] = (),
    passphrase: str | bytes | None = None,
    signers: Key | Iterable[Key] = (),
    require: Mapping[str, Any] | None = None,
) -> VerifyReport:
    """Check every byte of a container: structure, hashes, that every chunk decodes, file digests.

    `quick` looks at stored bytes alone. Returns a VerifyReport, which is false if anything is damaged;
    with `check` that is a CorruptError instead. Raises UntrustedError if `signers` are given and none of
    them signed, KeyMissingError, IOFailure.
    """
    context = _context(
        threads=threads,
        progress=progress,
        keys=keys,
        passphrase=passphrase,
        signers=signers,
        require=require,
    )
    report = VerifyReport(**_report(_mmh.verify(context, container, quick)))
    if check and report.problem:
        raise CorruptError(report.problem)
    return report


def repair(
    container: PathLike,
    output: PathLike | None = None,
    *,
    overwrite: bool = False,
    sources: PathLike | Sequence[PathLike] = (),
    parity: float = 0.0,
    threads: int = 0,
    progress: ProgressCallback | None = None,
    keys: Key | Iterable[Key] = (),
    passphrase: str | bytes | None = None,
) -> RepairReport:
    """Restore a damaged container to what it was, in place or as a new file.

    From parity, spare copies, and `sources`: other copies of it, or original model files. `parity` (percent)
    gives it parity anew. Returns a RepairReport, which is false if something stays lost.
    """
    context = _context(threads=threads, progress=progress, keys=keys, passphrase=passphrase)
    paths = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    report = _report(_mmh.repair(context, container, output, overwrite, paths, round(parity * 100)))
    del report["layers"]
    return RepairReport(**report)


def security(
    container: PathLike,
    *,
    signers: Key | Iterable[Key] = (),
    signature_file: PathLike | None = None,
) -> Security:
    """What guards a container: encryption, recipients, signatures, parity. Needs no key."""
    found = _mmh.security(_context(), container, _keys(signers), signature_file)
    found["parity"] /= 100
    found["recipients"] = tuple(Recipient(*entry) for entry in found["recipients"])
    found["signatures"] = tuple(Signature(*entry) for entry in found["signatures"])
    return Security(**found)


def _change(
    what: int,
    container: PathLike,
    given: Key | Iterable[Key],
    passphrase_of: str | bytes | None,
    output: PathLike | None,
    overwrite: bool,
    keys: Key | Iterable[Key],
    passphrase: str | bytes | None,
    *,
    aead: str | None = None,
    counter: int = 0,
    time: int = 0,
    detached: PathLike | None = None,
    parity: float = 0.0,
    remove: bool = False,
    threads: int = 0,
    progress: ProgressCallback | None = None,
) -> None:
    context = _context(threads=threads, progress=progress, keys=keys, passphrase=passphrase)
    _mmh.change(
        context,
        what,
        container,
        _keys(given),
        _secret(passphrase_of),
        output,
        overwrite,
        aead,
        counter,
        time,
        detached,
        round(parity * 100),
        remove,
    )


def sign(
    container: PathLike,
    sign_with: Key | Iterable[Key],
    *,
    output: PathLike | None = None,
    overwrite: bool = False,
    detached: PathLike | None = None,
    counter: int = 0,
    time: int = 0,
    keys: Key | Iterable[Key] = (),
    passphrase: str | bytes | None = None,
) -> None:
    """Sign a container, without reading its weights: in place, to a new file, or `detached` beside it."""
    _change(
        0,
        container,
        sign_with,
        None,
        output,
        overwrite,
        keys,
        passphrase,
        detached=detached,
        counter=counter,
        time=time,
    )


def encrypt(
    container: PathLike,
    recipients: Key | Iterable[Key] = (),
    *,
    new_passphrase: str | bytes | None = None,
    add: bool = False,
    output: PathLike | None = None,
    overwrite: bool = False,
    aead: str | None = None,
    keys: Key | Iterable[Key] = (),
    passphrase: str | bytes | None = None,
    threads: int = 0,
    progress: ProgressCallback | None = None,
) -> None:
    """Encrypt a container without coding its weights again; with `add` let more recipients in.

    Signatures are of another root after it and go (with `add` they stay). `keys` and `passphrase` open what
    is encrypted already.
    """
    _change(
        2 if add else 1,
        container,
        recipients,
        new_passphrase,
        output,
        overwrite,
        keys,
        passphrase,
        aead=aead,
        threads=threads,
        progress=progress,
    )


def decrypt(
    container: PathLike,
    *,
    keys: Key | Iterable[Key] = (),
    passphrase: str | bytes | None = None,
    output: PathLike | None = None,
    overwrite: bool = False,
    threads: int = 0,
    progress: ProgressCallback | None = None,
) -> None:
    """The container without its encryption, in place or as a new file. Signatures go."""
    _change(3, container, (), None, output, overwrite, keys, passphrase, threads=threads, progress=progress)
