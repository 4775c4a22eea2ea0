"""Files of this machine, or of what is mounted on it.

What is wrong with a `uri`, in the same words for every scheme, or with its store.
"""

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from pipeline.model.errors import InvalidEvent, Unavailable, UsageError
from pipeline.model.records import DeadLetterReason

_FIELD = "uri"
_FORBIDDEN = 403
_OF_THE_STORE = frozenset({401, 407, 408, 409, 425, 429})
"""4xx that speak about who asks, or about when."""
_OBJECT_CODES = frozenset({
    "NoSuchKey", "NoSuchVersion", "InvalidObjectState", "KeyTooLongError", "InvalidRange",
    "InvalidURI", "MethodNotAllowed", "404",
})  # fmt: skip
_STORE_CODES = frozenset({
    # Who asks.
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
    "TokenRefreshRequired", "InvalidSecurity", "NotSignedUp", "AccountProblem",
    "AllAccessDisabled", "AuthorizationHeaderMalformed", "InvalidRegion",
    "UnauthorizedAccess", "CredentialsNotSupported", "InvalidPayer",
    # Which bucket, and where: the settings name it.
    "NoSuchBucket", "InvalidBucketName", "InvalidBucketState", "PermanentRedirect",
    "IllegalLocationConstraintException", "UnsupportedSignature",
    # When.
    "RequestTimeTooSkewed", "RequestExpired", "RequestTimeout", "SlowDown", "ThrottlingException",
    "TooManyRequests", "Throttling", "BandwidthLimitExceeded", "OperationAborted",
})  # fmt: skip
"""By Amazon's list of S3 error codes, which other stores follow."""


def forbidden() -> InvalidEvent:
    """The place is not allowed."""
    return InvalidEvent(
        DeadLetterReason.FORBIDDEN_URI,
        f"{_FIELD}: this place is not among those that `uri_allow` allows.",
    )


def leads_out() -> InvalidEvent:
    """The place is allowed, and leads to one that is not."""
    return InvalidEvent(DeadLetterReason.FORBIDDEN_URI, f"{_FIELD}: it leads out of its place.")


def not_a_file() -> InvalidEvent:
    """There is nothing there, or nothing that may be read."""
    return InvalidEvent(
        DeadLetterReason.INVALID_EVENT, f"{_FIELD}: there is no file that may be read."
    )


def too_large(max_bytes: int) -> InvalidEvent:
    """There is more there than an event may have."""
    return InvalidEvent(
        DeadLetterReason.TOO_LARGE, f"{_FIELD}: the file has more than {max_bytes:,} bytes."
    )


def refused(code: str) -> InvalidEvent:
    """The store has an answer for everything but this object."""
    return InvalidEvent(
        DeadLetterReason.INVALID_EVENT,
        f"{_FIELD}: the object store does not give this object: {code or 'no reason'}.",
    )


def blames_object(status: int, code: str) -> bool | None:
    """Whether an error of an object store is about the object that was asked for.

    Args:
        status: Of the HTTP response.
        code: In its body.

    Returns:
        None where it may be about the object as well as about its whole bucket: a 403 without a
        code that says more.
    """
    if code in _OBJECT_CODES:
        return True
    if code in _STORE_CODES or status in _OF_THE_STORE or not 400 <= status < 500:  # noqa: PLR2004
        return False
    return None if status == _FORBIDDEN else True


_FAULTS_OF_THE_NAME = frozenset({
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL,
    errno.EACCES, errno.EPERM, errno.ENXIO,
})  # fmt: skip
"""What is wrong with one file and will still be wrong with it later; all else may pass."""
_MAY_BE_A_LINK = frozenset({errno.ELOOP, errno.ENOTDIR})
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
"""Without blocking: opening a named pipe would wait for its writer for ever."""
_MOST_LINKS = 40
"""That one path may lead through, as Linux has it."""
_MOST_DIRECTORIES = 10_000
"""That are searched for the other names of a file that has several."""


class FileClaims:
    """Files below allowed directories of this machine.

    Args:
        allowed: Prefixes such as `file:///data/in/`; each means the directory and what is below.

    Raises:
        UsageError: One of them is not an absolute `file://` URL.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self._roots = tuple(_allowed_root(prefix) for prefix in allowed)

    def fetch(self, uri: str, *, max_bytes: int) -> bytes:
        """Read a regular file below an allowed directory.

        A link is followed as long as it stays below it. A file that has a name outside, by a hard
        link, is refused: whoever may write here need not be allowed to read there.
        """
        path = _path_of(uri)
        for root in self._roots:
            if path is not None and path.is_relative_to(root):
                return _read_below(root, path, max_bytes)
        raise forbidden()


def _allowed_root(prefix: str) -> Path:
    path = _path_of(prefix)
    if path is None:
        raise UsageError(
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
    with ExitStack() as opened:
        try:
            # The directory itself may be a link: whoever set it is trusted.
            top = _keep(opened, os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            raise Unavailable(
                f"The directory {root} that `uri_allow` names cannot be read: {error.strerror}.",
                scope="place",
            ) from None
        try:
            descriptor = _open_beneath(opened, top, root, path.relative_to(root).parts)
            return _read_regular(descriptor, top, max_bytes)
        except OSError as error:
            if error.errno in _FAULTS_OF_THE_NAME:
                raise not_a_file() from None
            detail = f"A claimed file cannot be read: {error.strerror}."
            raise Unavailable(detail, scope="file") from None


def _open_beneath(opened: ExitStack, top: int, root: Path, parts: Sequence[str]) -> int:
    """Open a file by a walk of descriptors that nobody can lead astray meanwhile.

    The system follows no link in it: a link is read, and its target walked from the same
    descriptor, so that a directory that is replaced by a link between two steps changes nothing.
    `..` goes back to the descriptor that led here, and never beyond the top.

    Raises:
        InvalidEvent: A link leads out.
        OSError: There is no such file, or too many links.
    """
    ahead, directories, links = list(reversed(parts)), [top], 0
    while ahead:
        name = ahead.pop()
        if name == "..":
            directories.pop()
            if not directories:
                raise leads_out()
            continue
        try:
            flags = _DIRECTORY if ahead else _FILE
            descriptor = _keep(opened, os.open(name, flags, dir_fd=directories[-1]))
        except OSError as error:
            if error.errno not in _MAY_BE_A_LINK or not _is_link(name, directories[-1]):
                raise
        else:
            if not ahead:
                return descriptor
            directories.append(descriptor)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = PurePosixPath(os.readlink(name, dir_fd=directories[-1]))
        if target.is_absolute():
            target, directories = _beneath(root, target), [top]
        ahead += reversed(target.parts)
    raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))


def _keep(opened: ExitStack, descriptor: int) -> int:
    opened.callback(os.close, descriptor)
    return descriptor


def _is_link(name: str, directory: int) -> bool:
    return stat.S_ISLNK(os.lstat(name, dir_fd=directory).st_mode)


def _beneath(root: Path, target: PurePosixPath) -> PurePosixPath:
    """What leads from the root to the absolute target of a link."""
    for top in (root, Path(os.path.realpath(root))):
        if target.is_relative_to(top):
            return target.relative_to(top)
    raise leads_out()


def _read_regular(descriptor: int, top: int, max_bytes: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise not_a_file()
        if found.st_nlink > 1 and _names_beneath(top, found.st_dev, found.st_ino) < found.st_nlink:
            raise leads_out()
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise too_large(max_bytes)
    return data


def _names_beneath(top: int, device: int, inode: int) -> int:
    """How many names a file has beneath a directory; some of few files have more than one."""
    found = 0
    for looked_at, (_, _, _, directory) in enumerate(os.fwalk(".", dir_fd=top)):
        if looked_at >= _MOST_DIRECTORIES:
            break
        if os.fstat(directory).st_dev == device:
            with os.scandir(directory) as entries:
                found += sum(entry.inode() == inode for entry in entries)
    return found
