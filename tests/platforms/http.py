"""A request as it came, a reply as it goes, and the simulated API behind a platform."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
import orjson
from aiohttp import web
from multidict import CIMultiDictProxy

_JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Received:
    """A request; path and query as they were sent, since signatures are over them."""

    method: str
    path: str
    query: str
    headers: CIMultiDictProxy[str]
    body: bytes

    @classmethod
    async def of(cls, http: web.Request) -> Self:
        path, _, query = http.raw_path.partition("?")
        return cls(http.method, path, query, http.headers, await http.read())

    @property
    def bearer(self) -> str | None:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else None


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, status: int, body: object, headers: Mapping[str, str] | None = None) -> Self:
        """JSON."""
        return cls(status, orjson.dumps(body), {**_JSON, **(headers or {})})

    def read(self) -> Any:  # noqa: ANN401 - any JSON value
        return orjson.loads(self.body)


class Refused(Exception):
    """A platform does not answer; `code` is what it is counted as."""

    def __init__(self, code: str, reply: Reply) -> None:
        super().__init__(code)
        self.code = code
        self.reply = reply


def anthropic_error(status: int, kind: str, message: str) -> Refused:
    """An error as the Messages API itself writes it."""
    error = {"type": kind, "message": message}
    body = {"type": "error", "error": error, "request_id": "req_platform"}
    return Refused(kind, Reply.of(status, body))


Handler = Callable[[Received, re.Match[str]], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Route:
    """One line of a platform's table; `path` is a regular expression."""

    method: str
    path: str
    handler: Handler

    def match(self, received: Received) -> re.Match[str] | None:
        return re.fullmatch(self.path, received.path) if received.method == self.method else None


class Cut(Exception):
    """The simulated API cut the connection: so does the platform."""


class Upstream:
    """The simulated API, from behind a platform.

    Args:
        base_url: Where it is.
        http: Connections to it.
        account: Whose requests they are: prompt caches and the ledger know no other caller.
    """

    def __init__(self, base_url: str, http: aiohttp.ClientSession, account: str) -> None:
        self._base_url = base_url
        self._http = http
        self._account = account

    async def call(
        self, method: str, path: str, body: bytes = b"", *, version: str = "2026-10-21"
    ) -> Reply:
        """The simulated API's own reply.

        Raises:
            Cut: There is none.
        """
        headers = {"x-api-key": self._account, "anthropic-version": version, **_JSON}
        try:
            async with self._http.request(
                method, self._base_url + path, data=body or None, headers=headers
            ) as response:
                kept = {name.lower(): value for name, value in response.headers.items()}
                for name in ("content-length", "date", "server", "transfer-encoding"):
                    kept.pop(name, None)
                return Reply(response.status, await response.read(), kept)
        except aiohttp.ClientError as error:
            raise Cut from error


def without(headers: Mapping[str, str], *prefixes: str) -> dict[str, str]:
    """The headers that begin with none of the prefixes."""
    return {name: value for name, value in headers.items() if not name.startswith(prefixes)}


def parsed(received: Received) -> dict[str, Any]:
    """The JSON object of a body.

    Raises:
        ValueError: It is not JSON.
        TypeError: It is JSON, and no object.
    """
    body = orjson.loads(received.body)
    if not isinstance(body, dict):
        raise TypeError("the body must be a JSON object")
    return body
