"""What the doctor says of a schema registry."""

from typing import Any

import pytest

from pipeline.doctor.examination import Finding, Verdict, findings
from pipeline.doctor.registry import check_registry
from tests.doctor.sites import fine, reported, site
from tests.inputs.registry_server import RegistryServer

FAILED = Verdict.FAILED
AVRO_OUT = {"tickets": {"output": {"format": "avro"}}}
FRAMED_IN = {"tickets": {"input": {"format": "registry"}}}


async def found(url: str | None, stages: dict[str, Any], **registry: object) -> list[Finding]:
    settings = {"stages": stages, "registry": {"url": url, **registry}}
    return await findings(check_registry(site(None, **settings)))


async def test_where_no_stage_needs_one_nothing_is_asked() -> None:
    assert await found("http://127.0.0.1:1", {}) == []


@pytest.mark.parametrize("stages", [AVRO_OUT, FRAMED_IN])
async def test_a_registry_that_is_not_set_or_not_there_is_reported(stages: dict[str, Any]) -> None:
    reported(await found(None, stages), FAILED, "registry.url")
    reported(await found("http://127.0.0.1:1", stages), FAILED, "cannot be asked")


async def test_an_account_that_is_refused_is_reported() -> None:
    async with RegistryServer(authorization="Basic another").serving() as server:
        reported(await found(server.url, FRAMED_IN), FAILED, "401", "registry.username")


async def test_schemas_that_are_not_registered_are_reported() -> None:
    async with RegistryServer().serving() as server:
        nothing = await found(server.url, AVRO_OUT)
        reported(nothing, FAILED, "would be registered", "`pipeline schemas register`")
        server.add("tickets.enriched-value", '"string"')
        reported(await found(server.url, AVRO_OUT), FAILED, "not registered", "docs/OUTPUTS.md")
        assert not any("POST /subjects" in each and "versions" in each for each in server.asked)


async def test_a_registry_that_answers_is_fine() -> None:
    async with RegistryServer().serving() as server:
        fine(await found(server.url, FRAMED_IN))
