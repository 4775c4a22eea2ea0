"""The client of a schema registry: whose fault a failure is, and how often it asks."""

import asyncio
import base64
import gc
import shutil
import ssl
import subprocess
import weakref
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import ValidationError

from pipeline.config.inputs import RegistrySettings
from pipeline.inputs import registry as client
from pipeline.inputs.registry import OnceEach, RegistryRefusal, Schema, SchemaRegistry
from pipeline.model.errors import InvalidEvent, Unavailable, UsageError
from pipeline.model.records import DeadLetterReason
from tests.inputs.registry_server import RegistryServer

STREET = '{"type":"record","name":"Street","fields":[{"name":"name","type":"string"}]}'


def asking(url: str, **settings: object) -> SchemaRegistry:
    return SchemaRegistry(RegistrySettings.model_validate({"url": url, "timeout": 5, **settings}))


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (500, '{"error_code": 50001, "message": "Error in the backend datastore"}'),
        (503, "Service Unavailable"),
        (429, '{"error_code": 429, "message": "Too many requests"}'),
        (401, '{"error_code": 40101, "message": "Unauthorized"}'),
        (403, '{"error_code": 40301, "message": "User is denied operation"}'),
        (404, "<html>There is no such page.</html>"),
        (302, ""),
        (200, "<html>Welcome!</html>"),
        (200, "[]"),
        (200, "{}"),
        (200, '{"schema": "x", "references": [{}]}'),
    ],
)
async def test_what_is_the_registrys_own_fault_makes_records_wait(
    status: int, content: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=content)

    async with RegistryServer(answer_with=answer).serving() as server:
        with pytest.raises(Unavailable):
            await asking(server.url).schema(1)


async def test_a_registry_that_cannot_be_reached_makes_records_wait() -> None:
    async with RegistryServer().serving() as server:
        url = server.url
    with pytest.raises(Unavailable, match=r"cannot be asked .*ClientConnector"):
        await asking(url).schema(1)


async def test_a_registry_that_does_not_answer_in_time_makes_records_wait() -> None:
    over = asyncio.Event()

    async def never(_: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    async with RegistryServer(answer_with=never).serving() as server:
        with pytest.raises(Unavailable, match="Timeout"):
            await asking(server.url, timeout=0.01).schema(1)
        over.set()


async def test_an_answer_without_end_is_not_taken_into_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(8):
            await response.write(b"[" * 60_000)
        return response

    monkeypatch.setattr(client, "MAX_ANSWER", 100_000)
    async with RegistryServer(answer_with=endless).serving() as server:
        with pytest.raises(Unavailable, match="more than"):
            await asking(server.url).schema(1)


@pytest.mark.parametrize("schema_id", [7, UUID(int=7)])
async def test_an_id_that_the_registry_does_not_know_is_the_records_fault(
    schema_id: int | UUID,
) -> None:
    async with RegistryServer().serving() as server:
        with pytest.raises(InvalidEvent, match=f"knows no schema with the id {schema_id}"):
            await asking(server.url).schema(schema_id)


async def test_a_guid_is_the_records_fault_where_a_registry_knows_no_guids() -> None:
    async def old(_: web.Request) -> web.Response:
        return web.Response(status=404)

    async with RegistryServer(answer_with=old).serving() as server:
        with pytest.raises(InvalidEvent, match="knows no schema"):
            await asking(server.url).schema(UUID(int=7))


async def test_references_come_with_a_schema_each_after_what_it_needs_itself() -> None:
    server = RegistryServer()
    server.add("street", STREET)
    town = '{"type":"record","name":"Town","fields":[{"name":"main","type":"Street"}]}'
    server.add("town", town, "AVRO", {"name": "Street", "subject": "street", "version": 1})
    references = (
        {"name": "Town", "subject": "town", "version": 1},
        {"name": "Street", "subject": "street", "version": 1},
    )
    schema_id = server.add("land", '{"type":"array","items":"Town"}', "AVRO", *references)
    async with server.serving():
        found = await asking(server.url).schema(schema_id)
    assert list(found.references) == ["Street", "Town"]
    assert found.references["Town"].text == town
    # What two refer to is asked for once.
    assert len(server.asked) == 3


async def test_references_without_end_are_the_schemas_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def circle(request: web.Request) -> web.Response:
        number = int(request.path.rsplit("/", 1)[-1])
        reference = {"name": f"a{number}", "subject": "a", "version": number + 1}
        return web.json_response({"schema": "1", "references": [reference]})

    monkeypatch.setattr(client, "MAX_REFERENCES", 4)
    async with RegistryServer(answer_with=circle).serving() as server:
        with pytest.raises(InvalidEvent, match="more than 4 others"):
            await asking(server.url).schema(1)


@pytest.mark.parametrize("answer", [{}, {"id": "7", "version": 1}, {"id": 7, "version": 1}])
async def test_an_answer_that_says_too_little_is_the_registrys_fault(
    answer: dict[str, object],
) -> None:
    async def say(_: web.Request) -> web.Response:
        return web.json_response(answer)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", say)
    async with TestServer(app) as server:
        registry = asking(str(server.make_url("")))
        with pytest.raises(Unavailable):
            await registry.lookup("a", "AVRO", "{}")
        with pytest.raises(Unavailable):
            await registry.latest("a")


async def test_a_reference_that_is_not_there_is_the_schemas_fault() -> None:
    server = RegistryServer()
    missing = {"name": "Street", "subject": "street", "version": 9}
    schema_id = server.add("town", '"Street"', "AVRO", missing)
    async with server.serving():
        with pytest.raises(InvalidEvent, match="the registry does not have"):
            await asking(server.url).schema(schema_id)


async def test_a_type_that_is_not_read_is_the_schemas_fault() -> None:
    server = RegistryServer()
    schema_id = server.add("x", "<xs/>", "XSD")
    async with server.serving():
        with pytest.raises(InvalidEvent, match="AVRO, JSON and PROTOBUF"):
            await asking(server.url).schema(schema_id)


async def test_the_next_url_is_asked_and_stays_the_first_to_be_asked() -> None:
    async def down(_: web.Request) -> web.Response:
        return web.Response(status=502)

    server = RegistryServer()
    schema_id = server.add("street", STREET)
    async with RegistryServer(answer_with=down).serving() as broken, server.serving():
        registry = asking(f"{broken.url}, {server.url}/")
        for _ in range(3):
            assert (await registry.schema(schema_id)).text == STREET
    assert (len(broken.asked), len(server.asked)) == (1, 3)


async def test_an_account_is_sent_and_a_wrong_one_makes_records_wait() -> None:
    account = base64.b64encode(b"key:s\xc3\xa9cret").decode()
    server = RegistryServer(authorization=f"Basic {account}")
    schema_id = server.add("street", STREET)
    async with server.serving():
        right = asking(server.url, username="key", password="sécret")
        assert (await right.schema(schema_id)).text == STREET
        with pytest.raises(Unavailable, match=r"401.*registry\.username"):
            await asking(server.url, username="key", password="wrong").schema(schema_id)


async def test_a_bearer_token_is_read_again_for_each_request(tmp_path: Path) -> None:
    path = tmp_path / "token"
    server = RegistryServer(authorization="Bearer new")
    schema_id = server.add("street", STREET)
    async with server.serving():
        registry = asking(server.url, token_file=path)
        with pytest.raises(Unavailable, match="cannot be read"):
            await registry.schema(schema_id)
        path.write_text("old\n")
        with pytest.raises(Unavailable, match="401"):
            await registry.schema(schema_id)
        path.write_text("new\n")
        assert (await registry.schema(schema_id)).text == STREET
        assert (await asking(server.url, token="new").schema(schema_id)).text == STREET


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for this host that is its own authority, and its key."""
    found, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(found)),
        ],
        check=True,
        capture_output=True,
    )
    return found, key


@pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made by openssl")
async def test_a_registry_of_ones_own_authority_asks_for_a_certificate(tmp_path: Path) -> None:
    ca_file, key = certificate(tmp_path, "registry")
    cert_file, key_file = certificate(tmp_path, "client")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=cert_file)
    tls.load_cert_chain(ca_file, key)
    tls.verify_mode = ssl.CERT_REQUIRED
    server = RegistryServer()
    schema_id = server.add("street", STREET)
    async with server.serving(tls):
        own = {"ca_file": ca_file, "cert_file": cert_file, "key_file": key_file}
        assert (await asking(server.url, **own).schema(schema_id)).text == STREET
        for lacking in ({}, {"ca_file": ca_file}):
            with pytest.raises(Unavailable, match="cannot be asked"):
                await asking(server.url, **lacking).schema(schema_id)


async def test_a_refusal_says_what_the_registry_says() -> None:
    async with RegistryServer().serving() as server:
        with pytest.raises(RegistryRefusal, match=r"422.*Invalid schema"):
            await asking(server.url).register("x", "AVRO", '{"type": "nonsense"}')


def test_settings_name_one_account_and_keep_it_out_of_the_url() -> None:
    for wrong in (
        {"url": "http://me:secret@registry"},
        {"url": "http://registry", "username": "me"},
        {"username": "me", "password": "x", "token": "y"},
        {"cert_file": "client.pem"},
    ):
        with pytest.raises(ValidationError):
            RegistrySettings.model_validate(wrong)
    with pytest.raises(UsageError, match=r"Set registry\.url"):
        SchemaRegistry(RegistrySettings())
    with pytest.raises(UsageError, match="ca_file"):
        asking("https://registry", ca_file="/there/is/none.pem")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_what_many_wait_for_is_made_once_and_kept() -> None:
    made: list[int] = []

    async def make(key: int) -> Schema:
        made.append(key)
        await asyncio.sleep(0)
        return Schema("AVRO", str(key))

    once = OnceEach(make)
    found = await asyncio.gather(*(once.get(key) for key in [1, 2, 1, 1, 2]))
    assert [each.text for each in found] == ["1", "2", "1", "1", "2"]
    assert await once.get(1) is found[0]
    assert made == [1, 2]


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Unavailable("away"), client.AWAY_SECONDS),
        (InvalidEvent(DeadLetterReason.INVALID_EVENT, "unknown"), client.UNKNOWN_SECONDS),
    ],
)
async def test_a_failure_is_kept_for_seconds_and_then_asked_about_again(
    error: Exception, seconds: float
) -> None:
    clock, made = Clock(), []

    async def make(key: int) -> str:
        made.append(key)
        if len(made) == 1:
            raise error
        return "there"

    once = OnceEach(make, clock=clock)
    results = await asyncio.gather(*(once.get(1) for _ in range(3)), return_exceptions=True)
    assert [(type(each), str(each)) for each in results] == [(type(error), str(error))] * 3
    clock.now = seconds - 0.01
    with pytest.raises(type(error)):
        await once.get(1)
    assert len(made) == 1
    clock.now = seconds
    assert await once.get(1) == "there"


async def test_where_who_asks_is_cancelled_the_next_one_asks() -> None:
    asked, entered = [], asyncio.Event()

    async def make(key: int) -> str:
        asked.append(key)
        entered.set()
        if len(asked) == 1:
            await asyncio.Event().wait()
        return "there"

    once = OnceEach(make)
    first = asyncio.create_task(once.get(1))
    await entered.wait()
    second = asyncio.create_task(once.get(1))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "there"
    with pytest.raises(asyncio.CancelledError):
        await first


class Held:
    """Something large."""


async def test_of_a_failure_nothing_is_kept_but_what_it_says() -> None:
    async def make(_: int) -> str:
        raise InvalidEvent(DeadLetterReason.INVALID_EVENT, "unknown")

    once, kept = OnceEach(make), []

    async def read(key: int) -> None:
        record = Held()
        kept.append(weakref.ref(record))
        await once.get(key)

    for key in (1, 2, 1, 2):
        with suppress(InvalidEvent):
            await read(key)
    gc.collect()
    assert [each() for each in kept] == [None] * 4


async def test_of_any_number_of_unknown_ids_only_some_are_remembered() -> None:
    async def make(_: int) -> str:
        raise InvalidEvent(DeadLetterReason.INVALID_EVENT, "unknown")

    once = OnceEach(make)
    for key in range(1_100):
        with pytest.raises(InvalidEvent):
            await once.get(key)
    assert len(once._failed) == 1_000
