"""A schema registry that speaks Confluent's API, as Karapace and Apicurio do too.

What goes wrong is either the registry's fault or the record's. Where it cannot be reached, fails or
refuses the account, no record is at fault: `Unavailable`, and the record waits. Where it answers
that it knows no such schema, the record is: `InvalidEvent`.

https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

import asyncio
import ssl
import time
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, get_args
from urllib.parse import quote
from uuid import UUID

import aiohttp
import orjson

from pipeline.config.inputs import RegistrySettings
from pipeline.model.errors import InvalidEvent, PipelineError, Unavailable, UsageError
from pipeline.model.records import DeadLetterReason

SchemaKind = Literal["AVRO", "JSON", "PROTOBUF"]
SchemaId = int | UUID
"""As records have it: a number, or since Confluent Platform 8 a GUID in a header."""
KeyT = TypeVar("KeyT", bound=SchemaId)
ValueT = TypeVar("ValueT")

UNKNOWN_SECONDS = 10.0
"""For which a schema that the registry does not know is not asked for again: it may be registered
any time."""
AWAY_SECONDS = 1.0
"""For which nobody else asks after a registry could not be asked."""
MAX_ANSWER = 4 << 20
"""Bytes of one answer; registries take schemas of about a megabyte."""
MAX_REFERENCES = 256
"""Schemas that one refers to, all in all."""
_FAILURES_KEPT = 1_000
_TYPE = "application/vnd.schemaregistry.v1+json"
_UNKNOWN_SUBJECT, _UNKNOWN_VERSION, _UNKNOWN_SCHEMA = 40401, 40402, 40403
_OK, _NOT_FOUND = 200, 404
_REFUSED = {401: "does not know the account", 403: "forbids it to the account"}
_BUSY = {408, 425, 429}


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema as the registry has it, and those it refers to, in the order they build on.

    `references` are by the name that the schema calls them, each after those that it needs itself.
    """

    kind: SchemaKind
    text: str = field(repr=False)
    references: Mapping[str, "Schema"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Registered:
    """A schema of a subject."""

    id: int
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Mapping[str, str] | None = None


class RegistryRefusal(PipelineError):
    """The registry takes no such request, and says why; `code` is Confluent's."""

    def __init__(self, detail: str, code: int) -> None:
        super().__init__(detail)
        self.code = code


class SchemaRegistry:
    """Asks a registry, one connection a question: what it answers is kept by those who ask.

    Raises:
        UsageError: No URL is set, or its certificates cannot be read.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        if settings.url is None:
            raise UsageError("Set registry.url: a format that is set here needs a schema registry.")
        self._settings = settings
        self._urls = [url.strip().rstrip("/") for url in settings.url.split(",") if url.strip()]
        self._tls = _tls(settings)

    async def schema(self, schema_id: SchemaId) -> Schema:
        """The schema with an id, and all that it refers to; of Protobuf its descriptor if it can.

        Raises:
            InvalidEvent: The registry knows no such schema.
            Unavailable: It cannot be asked now.
        """
        is_guid = isinstance(schema_id, UUID)
        path = f"/schemas/{'guids' if is_guid else 'ids'}/{schema_id}"
        try:
            found = await self._ask("GET", path)
        except RegistryRefusal as refusal:
            if refusal.code not in {_UNKNOWN_SCHEMA, _UNKNOWN_SUBJECT} and not is_guid:
                raise Unavailable(
                    f"{refusal} Is registry.url that of a schema registry's API?", scope="place"
                ) from refusal
            raise InvalidEvent(
                DeadLetterReason.INVALID_EVENT,
                f"The schema registry knows no schema with the id {schema_id}: have its writer "
                "register it, or set registry.url to the registry that it used, and replay.",
            ) from refusal
        try:
            return await self._with_references(path, found, {})
        except (KeyError, TypeError) as error:
            raise Unavailable(
                "The schema registry answers in a form that is not Confluent's.", scope="place"
            ) from error

    async def _with_references(
        self, path: str, found: Mapping[str, Any], known: dict[tuple[str, int], Schema]
    ) -> Schema:
        kind = found.get("schemaType", "AVRO")
        if kind not in get_args(SchemaKind):
            raise _unusable("is of a type that is not read: AVRO, JSON and PROTOBUF are")
        if kind == "PROTOBUF":
            # Confluent's and Karapace's give the descriptor, others the same text again.
            with suppress(RegistryRefusal):
                found = {**found, **await self._ask("GET", path, {"format": "serialized"})}
        references: dict[str, Schema] = {}
        for reference in found.get("references") or ():
            name, subject, version = (reference[key] for key in ("name", "subject", "version"))
            if (place := (subject, version)) not in known:
                if len(known) >= MAX_REFERENCES:
                    raise _unusable(f"refers to more than {MAX_REFERENCES} others")
                inner = f"/subjects/{quote(subject, safe='')}/versions/{version}"
                try:
                    referred = await self._ask("GET", inner, {"deleted": "true"})
                except RegistryRefusal as refusal:
                    raise _unusable("refers to one that the registry does not have") from refusal
                # It is taken before it is read, so that a circle comes to its end.
                known[place] = Schema(kind, "")
                known[place] = await self._with_references(inner, referred, known)
            references |= known[place].references
            references[name] = known[place]
        return Schema(kind, _text(found), references)

    async def lookup(self, subject: str, kind: SchemaKind, schema: str) -> Registered | None:
        """This very schema in a subject; None where it is not registered there."""
        try:
            found = await self._ask("POST", _subject(subject), body=_body(kind, schema))
        except RegistryRefusal as refusal:
            if refusal.code in {_UNKNOWN_SUBJECT, _UNKNOWN_SCHEMA}:
                return None
            raise
        return _registered(found)

    async def latest(self, subject: str) -> Registered | None:
        """The last schema of a subject; None where there is no such subject."""
        try:
            found = await self._ask("GET", f"{_subject(subject)}/versions/latest")
        except RegistryRefusal as refusal:
            if refusal.code in {_UNKNOWN_SUBJECT, _UNKNOWN_VERSION}:
                return None
            raise
        return _registered(found)

    async def incompatibilities(self, subject: str, kind: SchemaKind, schema: str) -> list[str]:
        """What the subject's own rule has against a schema; nothing where it may be registered."""
        found = await self._ask(
            "POST",
            f"/compatibility{_subject(subject)}/versions/latest",
            {"verbose": "true"},
            _body(kind, schema),
        )
        if found.get("is_compatible"):
            return []
        return [str(each) for each in found.get("messages") or ()] or ["it does not say why"]

    async def register(self, subject: str, kind: SchemaKind, schema: str) -> int:
        """The id of the schema, which is a version of the subject from now on."""
        found = await self._ask("POST", f"{_subject(subject)}/versions", body=_body(kind, schema))
        if not isinstance(number := found.get("id"), int):
            raise PipelineError(
                "The schema registry does not say under which id it has a schema: check "
                "registry.url."
            )
        return number

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, str] | None = None,
    ) -> Mapping[str, Any]:
        """What the first URL that can be asked answers.

        Raises:
            RegistryRefusal: The registry takes no such request.
            Unavailable: None of them can be asked.
        """
        failures, request = [], _Request(method, path, query, body)
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._settings.timeout),
            headers={"Accept": f"{_TYPE}, application/json", **self._settings.headers},
        ) as session:
            for url in list(self._urls):
                try:
                    answer = await self._ask_at(session, url, request)
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    failures.append(f"{url}: {type(error).__name__}")
                except Unavailable as error:
                    failures.append(f"{url} {error}")
                else:
                    # The one that answers is the first to be asked from now on.
                    self._urls.sort(key=url.__ne__)
                    return answer
        raise Unavailable(
            f"The schema registry cannot be asked ({'; '.join(failures)}).", scope="place"
        )

    async def _ask_at(
        self, session: aiohttp.ClientSession, url: str, request: _Request
    ) -> Mapping[str, Any]:
        headers = {"Content-Type": _TYPE} if request.body else {}
        if (authorization := self._authorization()) is not None:
            headers["Authorization"] = authorization
        async with session.request(
            request.method,
            f"{url}{request.path}",
            params=request.query,
            data=None if request.body is None else orjson.dumps(request.body),
            headers=headers,
            ssl=self._tls,
            allow_redirects=False,
        ) as response:
            content, status = bytearray(), response.status
            async for chunk in response.content.iter_chunked(1 << 16):
                content += chunk
                if len(content) > MAX_ANSWER:
                    raise Unavailable(f"answers with more than {MAX_ANSWER >> 20} MiB")
        if why := _REFUSED.get(status):
            raise Unavailable(f"{why} ({status}): set registry.username, or registry.token")
        try:
            answer = orjson.loads(bytes(content))
        except orjson.JSONDecodeError:
            answer = None
        if status == _OK and isinstance(answer, dict):
            return answer
        code = answer.get("error_code") if isinstance(answer, dict) else None
        if status == _NOT_FOUND or (isinstance(code, int) and status < 500 and status not in _BUSY):  # noqa: PLR2004 - HTTP's
            said = answer.get("message", "") if isinstance(answer, dict) else ""
            raise RegistryRefusal(
                f"The schema registry refuses it ({status}): {said}", code or status
            )
        raise Unavailable(f"answers {status}, which no schema registry does to this")

    def _authorization(self) -> str | None:
        own = self._settings
        if own.username is not None and own.password is not None:
            account = f"{own.username}:{own.password.get_secret_value()}"
            return f"Basic {b64encode(account.encode()).decode()}"
        if own.token is not None:
            return f"Bearer {own.token.get_secret_value()}"
        if own.token_file is None:
            return None
        try:
            return f"Bearer {own.token_file.read_text('utf-8').strip()}"
        except OSError as error:
            raise Unavailable(
                f"is not asked: {own.token_file} cannot be read ({error.strerror})"
            ) from error


def _subject(name: str) -> str:
    return f"/subjects/{quote(name, safe='')}"


def _body(kind: SchemaKind, schema: str) -> Mapping[str, str]:
    # Registries that know Avro alone refuse a type that it goes without.
    return {"schema": schema} if kind == "AVRO" else {"schema": schema, "schemaType": kind}


def _text(answer: Mapping[str, Any]) -> str:
    text = answer.get("schema")
    if not isinstance(text, str):
        raise Unavailable("The schema registry answers without a schema.", scope="place")
    return text


def _registered(answer: Mapping[str, Any]) -> Registered:
    number, version = answer.get("id"), answer.get("version")
    if not isinstance(number, int) or not isinstance(version, int):
        raise Unavailable(
            "The schema registry answers in a form that is not Confluent's.", scope="place"
        )
    return Registered(number, version, _text(answer))


def _unusable(why: str) -> InvalidEvent:
    detail = f"The schema of this record {why}: register one that the pipeline can read, and replay"
    return InvalidEvent(DeadLetterReason.INVALID_EVENT, f"{detail}.")


def _tls(settings: RegistrySettings) -> ssl.SSLContext | bool:
    if settings.ca_file is None and settings.cert_file is None:
        return True
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file is not None:
            secret = settings.key_password
            context.load_cert_chain(
                settings.cert_file,
                settings.key_file,
                # Without one, a key that wants it would be asked for on the terminal.
                password="" if secret is None else secret.get_secret_value(),
            )
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(
            f"The certificates of [registry] cannot be read ({error.strerror or error}): see "
            "ca_file, cert_file and key_file."
        ) from error
    return context


class OnceEach(Generic[KeyT, ValueT]):
    """Makes something of each key once, whoever asks meanwhile; failures are kept for seconds.

    What is made is kept for ever: a registry never gives an id to another schema.
    """

    def __init__(
        self,
        make: Callable[[KeyT], Awaitable[ValueT]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._clock = clock
        self._made: dict[KeyT, ValueT] = {}
        self._making: dict[KeyT, asyncio.Event] = {}
        # Records may bring any number of ids, so of those that are unknown only some are kept.
        self._failed: OrderedDict[KeyT, tuple[float, InvalidEvent | Unavailable]] = OrderedDict()

    async def get(self, key: KeyT) -> ValueT:
        """What was made of a key.

        Raises:
            InvalidEvent: It cannot be made, as of a schema that the registry does not know.
            Unavailable: It cannot be made now.
        """
        while key not in self._made:
            if (failed := self._failed.get(key)) is not None:
                until, error = failed
                if self._clock() < until:
                    raise _again(error)
                del self._failed[key]
            if (making := self._making.get(key)) is None:
                await self._make_now(key)
            else:
                await making.wait()
        return self._made[key]

    async def _make_now(self, key: KeyT) -> None:
        self._making[key] = made = asyncio.Event()
        try:
            self._made[key] = await self._make(key)
        except (InvalidEvent, Unavailable) as error:
            seconds = UNKNOWN_SECONDS if isinstance(error, InvalidEvent) else AWAY_SECONDS
            self._failed[key] = (self._clock() + seconds, _again(error))
            if len(self._failed) > _FAILURES_KEPT:
                self._failed.popitem(last=False)
            raise
        finally:
            # Where this one is cancelled, the next of those who wait makes it.
            del self._making[key]
            made.set()


def _again(error: InvalidEvent | Unavailable) -> InvalidEvent | Unavailable:
    """The same without its traceback, which would keep the record that it was raised for."""
    if isinstance(error, InvalidEvent):
        return InvalidEvent(error.reason, error.detail)
    return Unavailable(str(error), scope=error.scope)
