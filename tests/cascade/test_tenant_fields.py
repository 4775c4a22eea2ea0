"""Whose a record is that has to be decoded to say so."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.cascade.reading import adapter_of
from pipeline.cascade.tenant_fields import tenants_of
from pipeline.config import Settings
from pipeline.model.errors import Unavailable
from pipeline.stages.api import build_stages
from pipeline.stream.records import Received
from pipeline.stream.tenants import FIELD_BYTES, NOBODY, Tenants
from tests.inputs.registry_server import RegistryServer

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
MAIL = b"From: Anna <anna@acme.example>\r\nTo: shop@x.example, b@x.example\r\nSubject: Hi\r\n\r\n"


def received(value: bytes | None) -> Received:
    return Received("in", 0, 7, b"k", value, (), NOON, NOON)


def tenants(name: str, registry: dict[str, Any] | None = None, **own: Any) -> Tenants:  # noqa: ANN401
    stages: dict[str, Any] = {"tickets": {"input": own}}
    settings = Settings.model_validate({"stages": stages, "registry": registry or {}})
    adapter = adapter_of(settings, build_stages(settings.stages)["tickets"])
    found = tenants_of(name, "tickets", settings.stages.tickets.input, adapter, lambda: NOBODY)
    assert found is not None
    return found


async def found(of: Tenants, value: bytes | None) -> str:
    assert of.find is not None
    return await of.find(received(value))


@pytest.mark.parametrize("is_wrapped", [True, False])
async def test_a_change_event_names_the_tenant_of_its_row(is_wrapped: bool) -> None:
    change = {"before": None, "after": {"id": 7, "tenant": "acme"}, "source": {}, "op": "c"}
    value = {"schema": None, "payload": change} if is_wrapped else change
    of = tenants("field:tenant", envelope="debezium")
    assert await found(of, json.dumps(value).encode()) == "acme"
    assert await found(of, json.dumps({"op": "d", "before": {}, "after": None}).encode()) == ""
    assert await found(of, json.dumps({"op": "t", "source": {}}).encode()) == ""
    assert await found(of, b"no JSON") == ""
    assert await found(of, None) == ""
    assert of.parks


async def test_a_cloudevent_names_it_in_its_data_or_its_attributes() -> None:
    event = {"specversion": "1.0", "id": "1", "source": "/a", "type": "t", "data": {"id": "7"}}
    of = tenants("field:tenant", envelope="cloudevents")
    assert await found(of, json.dumps(event | {"tenant": "blue"}).encode()) == "blue"
    event["data"] = {"tenant": "red"}
    assert await found(of, json.dumps(event | {"tenant": "blue"}).encode()) == "red"


async def test_a_mail_names_who_sent_it_or_the_first_it_is_to_whatever_is_attached() -> None:
    large = MAIL + b"x\r\n" * FIELD_BYTES
    assert await found(tenants("field:from", format="email"), large) == "anna@acme.example"
    assert await found(tenants("field:to", format="email"), large) == "shop@x.example"
    assert await found(tenants("field:text", format="email"), MAIL + b"Hello") == ""


async def test_where_nothing_has_to_be_decoded_nothing_is() -> None:
    assert tenants("header:tenant", format="email").find is None
    plain = tenants("field:tenant", topics=["crm"])
    assert plain.find is None
    assert plain.of(received(b'{"tenant": "acme"}')) == "acme"


def test_the_same_field_of_another_format_is_another_rule() -> None:
    one, other = tenants("field:from", format="email"), tenants("field:from", envelope="debezium")
    assert one.rule != other.rule


@pytest.fixture
async def server() -> AsyncIterator[RegistryServer]:
    async with RegistryServer().serving() as serving:
        yield serving


async def test_avro_names_it_once_the_registry_can_be_asked(server: RegistryServer) -> None:
    fields = [{"name": "tenant", "type": "string"}]
    schema = json.dumps({"type": "record", "name": "Ticket", "fields": fields})
    number = server.add("crm-value", schema)
    frame = b"\x00" + number.to_bytes(4, "big") + b"\x08acme"
    of = tenants("field:tenant", registry={"url": server.url}, format="registry")
    assert await found(of, frame) == "acme"
    assert await found(of, b"\x00\x00\x00\x00\x63\x08acme") == ""
    assert not of.parks
    away = tenants("field:tenant", registry={"url": "http://127.0.0.1:1"}, format="registry")
    with pytest.raises(Unavailable):
        await found(away, frame)
