# SPDX-License-Identifier: Apache-2.0
"""Exceptions: one class for each thing that a caller can do about a failure."""

from __future__ import annotations

import errno


class Error(Exception):
    """A failure of mmh.

    Attributes
    ----------
    status : str
        What kind it is: "usage", "io", "memory", "unsupported", "corrupt", "untrusted", "key", "limit",
        "device" or "cancelled".
    code : int
        The exit code of the command `mmh` for it.
    """

    status = "error"
    code = 1

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else self.status


class UsageError(Error, ValueError):
    """It was called wrongly: an argument does not fit, or the output exists."""

    status, code = "usage", 2


class MissingTensorError(UsageError, KeyError):
    """There is no tensor of that name."""


class IOFailure(Error, OSError):
    """The system refused; the message has the path and the reason."""

    status, code = "io", 1


class MissingFileError(IOFailure, FileNotFoundError):
    """There is no such file."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.errno = errno.ENOENT


class MemoryFailure(Error, MemoryError):
    """There was not enough memory."""

    status, code = "memory", 10


class UnsupportedError(Error):
    """It is of a newer version, of an unknown codec, or needs what this build lacks."""

    status, code = "unsupported", 9


class CorruptError(Error):
    """It is damaged beyond what parity and spare copies restore; the message says what and where."""

    status, code = "corrupt", 5


class UntrustedError(Error):
    """A signature is missing, wrong or not trusted."""

    status, code = "untrusted", 7


class KeyMissingError(Error):
    """A key or passphrase is missing or wrong."""

    status, code = "key", 8


class LimitError(Error):
    """It goes beyond a limit."""

    status, code = "limit", 10


class DeviceError(Error):
    """A GPU or its driver failed."""

    status, code = "device", 1


class CancelledError(Error):
    """The progress callback returned False."""

    status, code = "cancelled", 130


_CLASSES: dict[str, type[Error]] = {
    kind.status: kind
    for kind in (
        UsageError,
        IOFailure,
        MemoryFailure,
        UnsupportedError,
        CorruptError,
        UntrustedError,
        KeyMissingError,
        LimitError,
        DeviceError,
        CancelledError,
    )
}


def from_status(status: str, message: str) -> Error:
    """The exception for a status of the library and its message; called by the extension."""
    if status == "io" and (message.endswith("No such file or directory") or message.startswith('there is no "')):
        return MissingFileError(message)
    return _CLASSES.get(status, Error)(message or status)
