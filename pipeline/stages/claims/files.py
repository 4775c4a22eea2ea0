"""Files of this machine, or of what is mounted on it."""

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.errors import Unavailable, WrongUse
from pipeline.stages.claims.faults import forbidden, leads_out, not_a_file, too_large

_FAULTS_OF_THE_NAME = frozenset({
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL,
    errno.EACCES, errno.EPERM, errno.ENXIO,
})  # fmt: skip
"""What is wrong with one file and will still be wrong with it later; all else may pass."""


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
        raise forbidden()


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
            raise leads_out()
        return _read_regular(real, max_bytes)
    except RuntimeError:  # a loop of links, by the documentation of Path.resolve
        raise not_a_file() from None
    except OSError as error:
        if error.errno in _FAULTS_OF_THE_NAME:
            raise not_a_file() from None
        raise Unavailable(f"A claimed file cannot be read: {error.strerror}.") from None


def _read_regular(path: Path, max_bytes: int) -> bytes:
    # Without blocking: opening a named pipe would wait for its writer for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise not_a_file()
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise too_large(max_bytes)
    return data
