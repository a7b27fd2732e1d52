# SPDX-License-Identifier: Apache-2.0
"""The extension module: libmmh as it is. What is for users is made of it in the package."""

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from typing import Any

version: str

_Path = str | bytes | PathLike[str]
_Memory = Any  # an object with the buffer protocol, or a tuple (address, bytes)
_Source = tuple[str, Sequence[_Memory]] | tuple[str, int, Callable[[int, memoryview], object]]
_Usage = tuple[str, int, int, int, int]

class Context:
    def __new__(
        cls,
        threads: int = 0,
        progress: Callable[[str, str | None, int, int, int], object] | None = None,
        keys: Sequence[Key] = (),
        passphrase: bytes | None = None,
    ) -> Context: ...
    def require(
        self,
        signers: Sequence[Key],
        all: bool = False,
        hybrid: bool = False,
        post_quantum: bool = False,
        min_category: int = 0,
        min_counter: int = 0,
        signature_file: _Path = ...,
    ) -> None: ...

class Key:
    @classmethod
    def _generate(cls, algorithms: str | None = None, rsa_bits: int = 0) -> Any: ...
    @classmethod
    def _read(cls, path: _Path, passphrase: bytes | None = None) -> Any: ...
    @classmethod
    def _parse(cls, text: bytes, passphrase: bytes | None = None, name: str = "the key") -> Any: ...
    def _write(self, path: _Path, secret: bool, passphrase: bytes | None, overwrite: bool) -> None: ...
    def _parts(self) -> list[tuple[str, bool, bool, bool, bool, int, int, str]]: ...

class Reader:
    closed: bool
    def __new__(
        cls,
        context: Context,
        path: _Path | None,
        original: bool = False,
        alone: bool = False,
        sources: Sequence[_Source] | None = None,
    ) -> Reader: ...
    def close(self) -> None: ...
    def file(self, index: int) -> tuple[str, int, int, int, str | None, str | None, str | None, int, int, int]: ...
    def tensor(
        self, index: int
    ) -> tuple[str, str, tuple[int, ...], int, int, int, tuple[int, ...] | None, bool, bool, int]: ...
    def names(self) -> list[tuple[str, int]]: ...
    def find(self, name: str) -> int | None: ...
    def metadata(self, file: int) -> dict[str, str]: ...
    def info(self) -> dict[str, Any]: ...
    def load_many(self, requests: Iterable[tuple[int, _Memory]]) -> None: ...
    def load_slice(self, index: int, begin: Sequence[int], end: Sequence[int], memory: _Memory) -> None: ...
    def read(self, file: int, offset: int, memory: _Memory) -> None: ...

def forked() -> None: ...
def dtypes() -> dict[str, tuple[int, int, int]]: ...
def memory_bytes(memory: _Memory) -> int: ...
def algorithms() -> list[tuple[str, bool, bool, bool, int]]: ...
def pack(
    context: Context,
    inputs: Sequence[_Path],
    sources: Sequence[_Source] | None,
    output: _Path | None,
    sink: Callable[[memoryview], object] | None,
    level: int,
    overwrite: bool,
    alone: bool,
    check: bool,
    hash: str | None,
    recipients: Sequence[Key],
    passphrase: bytes | None,
    sign_with: Sequence[Key],
    parity: int,
    counter: int,
    time: int,
    aead: str | None,
    keep_times: bool = False,
    dtype: str | None = None,
    shape: Sequence[int] | None = None,
    layout: _Path | None = None,
) -> dict[str, Any]: ...
def unpack(
    context: Context,
    container: _Path,
    destination: _Path,
    as_file: bool,
    overwrite: bool,
    sync: bool,
    skip_damaged: bool,
    any_names: bool,
) -> dict[str, Any]: ...
def verify(context: Context, container: _Path, quick: bool) -> dict[str, Any]: ...
def repair(
    context: Context,
    container: _Path,
    output: _Path | None,
    overwrite: bool,
    sources: Sequence[_Path],
    parity: int,
) -> dict[str, Any]: ...
def change(
    context: Context,
    what: int,
    container: _Path,
    keys: Sequence[Key],
    passphrase: bytes | None,
    output: _Path | None,
    overwrite: bool,
    aead: str | None,
    counter: int,
    time: int,
    detached: _Path | None,
    parity: int,
    remove: bool,
) -> None: ...
def security(
    context: Context, container: _Path, signers: Sequence[Key], signature_file: _Path | None
) -> dict[str, Any]: ...
