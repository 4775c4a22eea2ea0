"""Claim-checks: the payload that is too big for Kafka, fetched from where a `uri` points.

Nothing is fetched unless a setting allows its place. For S3 an event names a bucket and a key,
never a host, so it cannot send this process to an address of its choice. HTTP redirects are not
followed.
"""

import contextlib
import errno
import ipaddress
import os
import re
import socket
import stat
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from pipeline.config import FileSettings, S3Settings
from pipeline.model.errors import InvalidEvent, Unavailable, UsageError
from pipeline.model.records import DeadLetterReason

_FORBIDDEN = 403
_OF_THE_STORE = frozenset({401, 407, 408, 409, 425, 429})
"""4xx that speak about who asks, or about when."""
_CODES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_OBJECT_CODES, _STORE_CODES = frozenset(_CODES["object"]), frozenset(_CODES["store"])
"""By Amazon's list of S3 error codes, which other stores follow."""
_FAULTS_OF_THE_NAME = frozenset({
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL,
    errno.EACCES, errno.EPERM, errno.ENXIO,
})  # fmt: skip
"""What is wrong with one file and will still be wrong with it later; all else may pass."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
"""Without blocking: opening a named pipe would wait for its writer for ever."""
_MOST_LINKS = 40
"""That one path may lead through, as Linux has it."""
_MOST_DIRECTORIES = 10_000
"""That are searched for the other names of a file that has several."""
_URI = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>[^\0]*)", re.DOTALL)
_CODE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SERVER_ERROR = 500
_CONNECT_TIMEOUT = 5
_READ_TIMEOUT = 30


class ClaimStore(Protocol):
    def fetch(self, uri: str, *, max_bytes: int) -> bytes:
        """Read what a `uri` points to; may block.

        Raises:
            InvalidEvent: The place is not allowed, or there is no such file, or it is too large.
            Unavailable: The store cannot be reached at present.
        """


class Claims:
    """The stores that a stage's settings allow, by scheme; a UsageError says what is no place."""

    def __init__(self, settings: FileSettings) -> None:
        by_scheme: dict[str, list[str]] = {}
        for prefix in settings.uri_allow:
            by_scheme.setdefault(prefix.partition(":")[0].lower(), []).append(prefix)
        self._stores: dict[str, ClaimStore] = {}
        for scheme, prefixes in by_scheme.items():
            if scheme == "file":
                self._stores[scheme] = FileClaims(prefixes)
            elif scheme == "s3":
                self._stores[scheme] = S3Claims(prefixes, settings.s3)
            else:
                hint = "write an absolute one, file:///data/in/ or s3://bucket/in/."
                raise _not_a_place(prefixes[0], hint)

    def fetch(self, uri: str, *, max_bytes: int) -> bytes:
        store = self._stores.get(uri.partition(":")[0].lower())
        if store is None:
            raise _forbidden()
        return store.fetch(uri, max_bytes=max_bytes)


def _not_a_place(prefix: str, hint: str) -> UsageError:
    return UsageError(f"uri_allow: {prefix!r} is not a place; {hint}")


def _forbidden() -> InvalidEvent:
    detail = "uri: this place is not among those that `uri_allow` allows."
    return InvalidEvent(DeadLetterReason.FORBIDDEN_URI, detail)


def _leads_out() -> InvalidEvent:
    return InvalidEvent(DeadLetterReason.FORBIDDEN_URI, "uri: it leads out of its place.")


def _not_a_file() -> InvalidEvent:
    return InvalidEvent(DeadLetterReason.INVALID_EVENT, "uri: there is no file that may be read.")


def _within(data: bytes, max_bytes: int) -> bytes:
    if len(data) > max_bytes:
        detail = f"uri: the file has more than {max_bytes:,} bytes."
        raise InvalidEvent(DeadLetterReason.TOO_LARGE, detail)
    return data


class FileClaims:
    """Files below allowed directories of this machine, or of what is mounted on it.

    They are given as prefixes such as `file:///data/in/`, each for the directory and what is below;
    a UsageError says that one is not an absolute `file://` URL.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self._roots: list[Path] = []
        for prefix in allowed:
            path = _path_of(prefix)
            if path is None:
                raise _not_a_place(prefix, "write an absolute one, file:///data/in/.")
            self._roots.append(path)

    def fetch(self, uri: str, *, max_bytes: int) -> bytes:
        """Read a regular file below an allowed directory.

        A link is followed as long as it stays below it. A file that has a name outside, by a hard
        link, is refused: a process that may write here need not be allowed to read there.
        """
        path = _path_of(uri)
        for root in self._roots:
            if path is not None and path.is_relative_to(root):
                return _read_below(root, path, max_bytes)
        raise _forbidden()


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
            # The directory itself may be a link: the operator who set it is trusted.
            top = _keep(opened, os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            detail = (
                f"The directory {root} that `uri_allow` names cannot be read: {error.strerror}."
            )
            raise Unavailable(detail, scope="place") from None
        try:
            descriptor = _open_beneath(opened, top, root, path.relative_to(root).parts)
            return _read_regular(descriptor, top, max_bytes)
        except OSError as error:
            if error.errno in _FAULTS_OF_THE_NAME:
                raise _not_a_file() from None
            detail = f"A claimed file cannot be read: {error.strerror}."
            raise Unavailable(detail, scope="file") from None


def _open_beneath(opened: ExitStack, top: int, root: Path, parts: Sequence[str]) -> int:
    """Open a file by a walk of descriptors that no concurrent change can divert.

    The system follows no link in it: a link is read, and its target walked from the same
    descriptor, so that a directory that is replaced by a link between two steps changes nothing.
    `..` goes back to the descriptor that led here, and never beyond the top.
    """
    ahead, directories, links = list(reversed(parts)), [top], 0
    while ahead:
        name = ahead.pop()
        if name == "..":
            directories.pop()
            if not directories:
                raise _leads_out()
            continue
        try:
            flags = _DIRECTORY if ahead else _FILE
            descriptor = _keep(opened, os.open(name, flags, dir_fd=directories[-1]))
        except OSError as error:
            may_be_a_link, at = error.errno in {errno.ELOOP, errno.ENOTDIR}, directories[-1]
            if not (may_be_a_link and stat.S_ISLNK(os.lstat(name, dir_fd=at).st_mode)):
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


def _beneath(root: Path, target: PurePosixPath) -> PurePosixPath:
    for top in (root, Path(os.path.realpath(root))):
        if target.is_relative_to(top):
            return target.relative_to(top)
    raise _leads_out()


def _read_regular(descriptor: int, top: int, max_bytes: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _not_a_file()
        if found.st_nlink > 1 and _names_beneath(top, found.st_dev, found.st_ino) < found.st_nlink:
            raise _leads_out()
        return _within(file.read(max_bytes + 1), max_bytes)


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


class S3Claims:
    """Objects below allowed prefixes such as `s3://bucket/in/`, in S3 or a store like it.

    Raises:
        UsageError: A prefix is not such a place, the extra `s3` is not installed, or the store is
            in a private network, which is not allowed.
    """

    def __init__(self, allowed: Sequence[str], settings: S3Settings) -> None:
        self._roots: list[tuple[str, str]] = []
        for prefix in allowed:
            root = _place_of(prefix)
            if root is None or not (root[1] == "" or root[1].endswith("/")):
                raise _not_a_place(prefix, "write one that ends with /, s3://bucket/in/.")
            self._roots.append(root)
        self._settings = settings
        try:
            import boto3  # noqa: PLC0415 - an extra
        except ImportError:
            raise UsageError(
                "uri_allow names an s3:// place, which needs the extra s3: "
                "pip install 'haiku-pipeline[s3]'."
            ) from None
        self._session = boto3.session.Session()
        # A name that cannot be resolved yet is looked at again before anything is asked of it.
        with contextlib.suppress(OSError):
            self._check_host()

    def fetch(self, uri: str, *, max_bytes: int) -> bytes:
        """Read an object, and no more of it than an event may have."""
        place = _place_of(uri)
        if place is None or not any(
            place[0] == bucket and place[1].startswith(prefix) and place[1] != prefix
            for bucket, prefix in self._roots
        ):
            raise _forbidden()
        bucket, key = place
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra

        try:
            self._check_host()
        except (OSError, UsageError) as error:
            detail = f"The object store is not asked: {error}"
            raise Unavailable(detail, scope="place") from None
        try:
            answer = self._client.get_object(Bucket=bucket, Key=key)
            with answer["Body"] as body:
                data: bytes = body.read(max_bytes + 1)
        except ClientError as error:
            raise self._refusal(error.response, bucket) from None
        except BotoCoreError as error:
            check = "check the stage's `s3` settings and the credentials."
            detail = f"The object store cannot be asked ({type(error).__name__}); {check}"
            raise Unavailable(detail) from None
        return _within(data, max_bytes)

    def _refusal(self, answer: Mapping[str, Any], bucket: str) -> InvalidEvent | Unavailable:
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = str(answer.get("Error", {}).get("Code", ""))
        if not _CODE.fullmatch(code):  # whatever else stands there is not repeated
            code = ""
        blamed = blames_object(status, code)
        # Who may look into the bucket is refused this object alone.
        if blamed or (blamed is None and self._answers(bucket)):
            detail = f"uri: the object store does not give this object: {code or 'no reason'}."
            return InvalidEvent(DeadLetterReason.INVALID_EVENT, detail)
        is_answering = status >= _SERVER_ERROR and self._answers(bucket)
        detail = f"The object store refuses to give an object: {code}."
        return Unavailable(detail, scope="file" if is_answering else None)

    def _answers(self, bucket: str) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra

        try:
            self._client.head_bucket(Bucket=bucket)
        except (ClientError, BotoCoreError):
            return False
        return True

    def _check_host(self) -> None:
        """Refuse an endpoint in a private network, where that is not allowed."""
        if self._settings.endpoint_url is None or self._settings.allow_private:
            return
        url = urlsplit(self._settings.endpoint_url)
        found = socket.getaddrinfo(url.hostname, url.port or 443, type=socket.SOCK_STREAM)
        if not all(ipaddress.ip_address(address[4][0]).is_global for address in found):
            raise UsageError(
                f"The object store {url.hostname} is in a private network, on this link or on this "
                "host; set s3.allow_private of the stage if that is meant."
            )

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - botocore makes its clients at run time
        from botocore.config import Config  # noqa: PLC0415 - an extra

        endpoint = self._settings.endpoint_url
        config = Config(
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=_READ_TIMEOUT,
            # Waiting and asking again is the pipeline's own decision.
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"} if endpoint else None,
        )
        return self._session.client("s3", endpoint_url=endpoint, config=config)


def blames_object(status: int, code: str) -> bool | None:
    """Whether a store's error is about the object that was asked for.

    None where it may as well be about its whole bucket: a 403 without a code that says more.
    """
    if code in _OBJECT_CODES:
        return True
    if code in _STORE_CODES or status in _OF_THE_STORE or not 400 <= status < 500:  # noqa: PLR2004
        return False
    return None if status == _FORBIDDEN else True


def _place_of(uri: str) -> tuple[str, str] | None:
    match = _URI.fullmatch(uri)
    if match is None or {".", ".."} & set(match["key"].split("/")):
        return None
    return match["bucket"], match["key"]
