import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from pipeline.claude.status import Probe
from pipeline.doctor.brokers import check_brokers
from pipeline.doctor.finding import Finding, Verdict
from pipeline.doctor.models import Probers, check_address, check_model_names, check_models
from pipeline.doctor.ports import check_port
from pipeline.doctor.sizes import check_sizes
from pipeline.local.broker import LocalBroker
from pipeline.settings import (
    HttpSettings,
    ImageSettings,
    KafkaSettings,
    ModelSettings,
    Settings,
    StagesSettings,
    TopicSettings,
)
from pipeline.stream.connection import admin_client
from pipeline.stream.topics import TopicNames, Topics
from tests.brokers import FreshName


def verdicts(findings: Sequence[Finding]) -> dict[str, Verdict]:
    return {finding.about: finding.verdict for finding in findings}


def test_sizes_that_fit_are_fine() -> None:
    assert verdicts(check_sizes(Settings())) == {"sizes": Verdict.OK}


def test_events_that_no_topic_takes_are_told() -> None:
    (finding,) = check_sizes(
        Settings(
            topics=TopicSettings(max_message_bytes=12 << 20),
            stages=StagesSettings(images=ImageSettings(max_event_bytes=20 << 20)),
        )
    )
    assert finding.verdict is Verdict.WARNING
    assert "stages.images.max_event_bytes" in finding.detail
    assert "nobody can publish" in finding.detail


def test_events_that_cannot_be_escalated_are_told() -> None:
    (finding,) = check_sizes(
        Settings(
            topics=TopicSettings(max_message_bytes=12 << 20),
            stages=StagesSettings(images=ImageSettings(max_event_bytes=10 << 20)),
        )
    )
    assert finding.verdict is Verdict.WARNING
    assert "escalated" in finding.detail


def test_a_port_is_free_or_taken() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        taken = check_port(HttpSettings(port=port))
    assert taken.verdict is Verdict.WARNING
    assert str(port) in taken.detail
    assert check_port(HttpSettings(port=port)).verdict is Verdict.OK


def test_a_forgotten_base_url_is_shown() -> None:
    finding = check_address({"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"})
    assert "http://127.0.0.1:9" in finding.detail
    assert "Anthropic" in check_address({}).detail


def test_a_retired_model_and_an_unknown_price_are_told() -> None:
    settings = Settings(models=ModelSettings(haiku="claude-3-5-haiku-20241022"))
    retired, unpriced = check_model_names(settings)
    assert "models.haiku" in retired.detail
    assert "2026" in retired.detail
    assert unpriced.about == "prices"


def test_todays_models_are_fine() -> None:
    assert check_model_names(Settings()) == []


def api_says(*probes: Probe) -> Probers:
    class Api:
        async def probe(self) -> Sequence[Probe]:
            return probes

    @asynccontextmanager
    async def connected(_: Settings) -> AsyncIterator[Api]:
        yield Api()

    return connected


async def test_what_the_api_says_of_each_model_is_told() -> None:
    api = api_says(Probe("haiku-x", ok=True, detail="Fine."), Probe("s-x", ok=False, detail="No."))
    good, bad = await check_models(Settings(), api)
    assert (good.verdict, bad.verdict) == (Verdict.OK, Verdict.FAILED)
    assert bad.detail == "s-x: No."


async def look(settings: Settings) -> list[Finding]:
    return [finding async for finding in check_brokers(settings)]


async def test_brokers_that_do_not_answer_end_the_look_at_them() -> None:
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    (finding,) = await look(settings)
    assert finding.verdict is Verdict.FAILED
    assert "127.0.0.1:1" in finding.detail


@pytest.fixture
def settings(embedded_broker: LocalBroker, fresh_name: FreshName) -> Settings:
    return Settings(
        kafka=embedded_broker.settings,
        topics=TopicSettings(prefix=fresh_name("doctor") + ".", partitions=2),
    )


async def make_topics(settings: Settings) -> None:
    async with admin_client(settings.kafka) as admin:
        names = TopicNames(settings.topics).of(settings.enabled)
        await Topics(admin, settings.topics).create(names)


async def test_missing_topics_are_named_with_what_to_do(settings: Settings) -> None:
    findings = {finding.about: finding for finding in await look(settings)}
    assert findings["brokers"].verdict is Verdict.OK
    assert findings["topics"].verdict is Verdict.FAILED
    assert "tickets.raw" in findings["topics"].detail
    assert "pipeline topics create" in findings["topics"].detail


async def test_where_all_is_there_all_is_fine(settings: Settings) -> None:
    await make_topics(settings)
    assert verdicts(await look(settings)) == {
        "brokers": Verdict.OK,
        "topics": Verdict.OK,
        "delivery": Verdict.OK,
    }


async def test_topics_that_are_not_as_set_are_told(settings: Settings) -> None:
    await make_topics(settings)
    other = settings.model_copy(
        update={"topics": settings.topics.model_copy(update={"partitions": 9})}
    )
    told = [finding for finding in await look(other) if finding.verdict is Verdict.WARNING]
    assert any("2 partitions" in finding.detail for finding in told)


async def test_an_enabled_stage_that_does_not_exist_is_told(settings: Settings) -> None:
    other = settings.model_copy(update={"enabled": ["faxes"]})
    findings = {finding.about: finding for finding in await look(other)}
    assert findings["topics"].verdict is Verdict.FAILED
    assert "faxes" in findings["topics"].detail
