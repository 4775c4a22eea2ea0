"""Objects in S3, or in a store that speaks its protocol.

An event names a bucket and a key, never a host: which host is asked is the operator's setting, and
so an event cannot send this process to an address of its choice. HTTP redirects are not followed.
"""

import contextlib
import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from pipeline.config import S3Settings
from pipeline.model.errors import Unavailable, UsageError
from pipeline.stages.files.claim_folders import blames_object, forbidden, refused, too_large

_URI = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>[^\0]*)", re.DOTALL)
_CODE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SERVER_ERROR = 500
_CONNECT_TIMEOUT = 5
_READ_TIMEOUT = 30


@dataclass(frozen=True, slots=True)
class _Place:
    bucket: str
    key: str


class S3Claims:
    """Objects below allowed prefixes.

    Args:
        allowed: Prefixes such as `s3://bucket/in/`; each means the objects whose keys begin so.
        settings: Which store is asked, and whether it may be in a private network.

    Raises:
        UsageError: A prefix is none, the extra `s3` is not installed, or the store is in a private
            network, which is not allowed.
    """

    def __init__(self, allowed: Sequence[str], settings: S3Settings) -> None:
        self._roots = tuple(_allowed_root(prefix) for prefix in allowed)
        self._settings = settings
        self._session = _session()
        # A name that cannot be resolved yet is looked at again before anything is asked of it.
        with contextlib.suppress(OSError):
            self._check_host()

    def fetch(self, uri: str, *, max_bytes: int) -> bytes:
        """Read an object, and no more of it than an event may have."""
        place = _place_of(uri)
        if place is None or not any(_is_below(place, root) for root in self._roots):
            raise forbidden()
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra

        try:
            self._check_host()
        except (OSError, UsageError) as error:
            detail = f"The object store is not asked: {error}"
            raise Unavailable(detail, scope="place") from None
        try:
            answer = self._client.get_object(Bucket=place.bucket, Key=place.key)
            with answer["Body"] as body:
                data: bytes = body.read(max_bytes + 1)
        except ClientError as error:
            code = _code_of(error.response)
            if self._blames_object(error.response, code, place):
                raise refused(code) from None
            is_answering = _status_of(error.response) >= _SERVER_ERROR and self._answers(place)
            raise Unavailable(
                f"The object store refuses to give an object: {code}.",
                scope="file" if is_answering else None,
            ) from None
        except BotoCoreError as error:
            raise Unavailable(
                f"The object store cannot be asked ({type(error).__name__}); check "
                "the stage's `s3` settings and the credentials."
            ) from None
        if len(data) > max_bytes:
            raise too_large(max_bytes)
        return data

    def _blames_object(self, answer: Mapping[str, Any], code: str, place: _Place) -> bool:
        blamed = blames_object(_status_of(answer), code)
        # Who may look into the bucket is refused this object alone.
        return self._answers(place) if blamed is None else blamed

    def _answers(self, place: _Place) -> bool:
        """Whether the store lets this process look into the bucket."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra

        try:
            self._client.head_bucket(Bucket=place.bucket)
        except (ClientError, BotoCoreError):
            return False
        return True

    def _check_host(self) -> None:
        if (host := _private_host(self._settings)) is not None:
            raise UsageError(
                f"The object store {host} is in a private network, on this link or on this host; "
                "set s3.allow_private of the stage if that is meant."
            )

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - botocore makes its clients at run time
        from botocore.config import Config  # noqa: PLC0415 - an extra

        return self._session.client(
            "s3",
            endpoint_url=self._settings.endpoint_url,
            config=Config(
                connect_timeout=_CONNECT_TIMEOUT,
                read_timeout=_READ_TIMEOUT,
                # Waiting and asking again is the pipeline's own decision.
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"} if self._settings.endpoint_url else None,
            ),
        )


def _status_of(answer: Mapping[str, Any]) -> int:
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code_of(answer: Mapping[str, Any]) -> str:
    """The error's code; whatever else stands there is not repeated."""
    code = str(answer.get("Error", {}).get("Code", ""))
    return code if _CODE.fullmatch(code) else ""


def _session() -> Any:  # noqa: ANN401 - boto3 has no types
    try:
        import boto3  # noqa: PLC0415 - an extra
    except ImportError:
        raise UsageError(
            "uri_allow names an s3:// place, which needs the extra s3: "
            "pip install 'haiku-pipeline[s3]'."
        ) from None
    return boto3.session.Session()


def _allowed_root(prefix: str) -> _Place:
    place = _place_of(prefix)
    if place is None or not (place.key == "" or place.key.endswith("/")):
        raise UsageError(
            f"uri_allow: {prefix!r} is not a place; write one that ends with /, s3://bucket/in/."
        )
    return place


def _place_of(uri: str) -> _Place | None:
    match = _URI.fullmatch(uri)
    if match is None or {".", ".."} & set(match["key"].split("/")):
        return None
    return _Place(match["bucket"], match["key"])


def _is_below(place: _Place, root: _Place) -> bool:
    return place.bucket == root.bucket and place.key.startswith(root.key) and place.key != root.key


def _private_host(settings: S3Settings) -> str | None:
    """The endpoint's host, where it is in a private network and that is not allowed.

    Raises:
        OSError: Its name cannot be resolved at present.
    """
    if settings.endpoint_url is None or settings.allow_private:
        return None
    url = urlsplit(settings.endpoint_url)
    found = socket.getaddrinfo(url.hostname, url.port or 443, type=socket.SOCK_STREAM)
    is_public = all(ipaddress.ip_address(address[4][0]).is_global for address in found)
    return None if is_public else url.hostname
