"""Claim-checks: the payload that is too big for Kafka, fetched from where a `uri` points.

Nothing is fetched unless a setting allows its place. `file://` is what there is; another scheme
is another `ClaimStore`.
"""

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pipeline.errors import Invalid, Unavailable, WrongUse
from pipeline.events import DeadLetterReason

_FIELD = "uri"

_FAULTS_OF_THE_NAME = frozenset({
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL,
    errno.EACCES, errno.EPERM, errno.ENXIO,
})  # fmt: skip
"""What is wrong with one file and will still be wrong with it later; all else may pass."""


class ClaimStore(Protocol):
    """Where claim-checks are redeemed."""

    def fetch(self, uri: str, *, max_bytes: int) -> bytes:
        """Read what a `uri` points to; may block.

        Raises:
            Invalid: The place is not allowed, or there is no such file, or it is too large.
            Unavailable: The store cannot be reached at present.
        """
        ...


class FileClaims:
    """Files below allowed directories of this machine.

    Args:
        allowed: Prefixes such as `file:///data/in/`; each means the directory and what is below.

    Raises:
        WrongUse: One of them is not an absolute `file://` URL.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self._roots = tuple(_allowed_root(prefix) for prefix in allowed)

    def fetch(self, uri: str, *, max_bytes: int) -> bytes:
        """Read a regular file whose real path, links resolved, lies below an allowed directory."""
        path = _path_of(uri)
        for root in self._roots:
            if path is not None and path.is_relative_to(root):
                return _read_below(root, path, max_bytes)
        raise Invalid(
            DeadLetterReason.FORBIDDEN_URI,
            f"{_FIELD}: this place is not among those that `uri_allow` allows.",
        )


def _allowed_root(prefix: str) -> Path:
    path = _path_of(prefix)
    if path is None:
        raise WrongUse(
            f"uri_allow: {prefix!r} is not a place; write an absolute one, file:///data/in/."
        )
    return path


def _path_of(uri: str) -> Path | None:
    """The absolute path of a file URL without `..`; None where it is no such thing."""
    try:
        url = urlsplit(uri)
    except ValueError:
        return None
    path = unquote(url.path)
    plain = url.scheme == "file" and url.netloc in {"", "localhost"}
    if not plain or url.query or url.fragment or "\0" in path or not path.startswith("/"):
        return None
    return None if ".." in Path(path).parts else Path(path)


def _read_below(root: Path, path: Path, max_bytes: int) -> bytes:
    try:
        real_root = root.resolve(strict=True)
    except OSError as error:
        raise Unavailable(
            f"The directory {root} that `uri_allow` names cannot be read: {error.strerror}."
        ) from None
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(real_root):
            raise Invalid(
                DeadLetterReason.FORBIDDEN_URI, f"{_FIELD}: it leads out of its directory."
            )
        return _read_regular(real, max_bytes)
    except RuntimeError:  # a loop of links, by the documentation of Path.resolve
        raise _not_a_file() from None
    except OSError as error:
        if error.errno in _FAULTS_OF_THE_NAME:
            raise _not_a_file() from None
        raise Unavailable(f"A claimed file cannot be read: {error.strerror}.") from None


def _read_regular(path: Path, max_bytes: int) -> bytes:
    # Without blocking: opening a named pipe would wait for its writer for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _not_a_file()
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise Invalid(
            DeadLetterReason.TOO_LARGE, f"{_FIELD}: the file has more than {max_bytes:,} bytes."
        )
    return data


def _not_a_file() -> Invalid:
    return Invalid(DeadLetterReason.INVALID_EVENT, f"{_FIELD}: there is no file that may be read.")
