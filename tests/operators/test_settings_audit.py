"""What changed in the settings is on record once, without anything secret."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.config import Settings
from pipeline.operators.audit import list_audit
from pipeline.operators.selection import Span
from pipeline.operators.settings_audit import audit_start, changed_from_defaults
from pipeline.stream.records import Outgoing
from pipeline.testing import MemoryBroker, MemoryTopicReader
from tests.stream.virtual import virtual_time

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class Site:
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    now: datetime = NOON

    def __post_init__(self) -> None:
        self.broker.create_topic("audit", 3)

    async def start(self, *stages: str, **changes: object) -> bool:
        settings = Settings()
        for name, value in changes.items():
            table, _, field_ = name.partition("__")
            setattr(getattr(settings, table), field_, value)
        self.now += timedelta(minutes=1)
        return await audit_start(
            settings,
            stages or ("tickets",),
            "audit",
            read=MemoryTopicReader(self.broker),
            publish=self.publish,
            now=lambda: self.now,
        )

    async def publish(self, record: Outgoing) -> None:
        assert record.value is not None
        self.broker.publish(record.topic, record.value, key=record.key)

    async def lines(self) -> list[Any]:
        found = await list_audit(MemoryTopicReader(self.broker), "audit", Span(), limit=10)
        return [(dict(line.selected), dict(line.done)) for line in found.lines]


@virtual_time
async def test_a_start_with_other_settings_is_on_record_and_one_with_the_same_is_not() -> None:
    site = Site()
    assert await site.start(claude__concurrency=8)
    assert not await site.start(claude__concurrency=8)
    assert await site.start(claude__concurrency=16)
    assert await site.start()
    assert await site.lines() == [
        ({"stages": ["tickets"], "claude.concurrency": ["(default) -> 8"]}, {"started": 1}),
        ({"stages": ["tickets"], "claude.concurrency": ["8 -> 16"]}, {"started": 1}),
        ({"stages": ["tickets"], "claude.concurrency": ["16 -> (default)"]}, {"started": 1}),
    ]


@virtual_time
async def test_processes_of_other_stages_have_settings_of_their_own() -> None:
    site = Site()
    assert await site.start("tickets", claude__concurrency=8)
    assert await site.start("escalations", claude__concurrency=16)
    assert not await site.start("tickets", claude__concurrency=8)


@virtual_time
async def test_replicas_that_start_at_once_are_one_line() -> None:
    site = Site()
    await site.start()
    both = [Site(site.broker, now=NOON), Site(site.broker, now=NOON + timedelta(seconds=1))]
    written: list[Outgoing] = []

    async def later(record: Outgoing) -> None:
        written.append(record)

    for each in both:
        each.publish = later  # type: ignore[method-assign]
        await each.start(claude__concurrency=8)
    for record in written:
        await site.publish(record)
    assert (await site.lines())[-1] == (
        {"stages": ["tickets"], "claude.concurrency": ["(default) -> 8"]},
        {"started": 2},
    )


def test_nothing_secret_long_or_of_one_process_is_in_it() -> None:
    settings = Settings()
    settings.kafka.sasl_password = SecretStr("hunter2")
    settings.kafka.client_id = "pod-7"
    settings.http.port = 9000
    settings.kafka.bootstrap_servers = "k" * 500
    settings.enabled = ["tickets", "https://user:hunter2@example.com"]
    found = changed_from_defaults(settings)
    assert "hunter2" not in str(found)
    assert found.keys() == {"enabled", "kafka.bootstrap_servers", "kafka.sasl_password"}
    assert found["kafka.bootstrap_servers"].startswith("sha256:")
    assert found["enabled"] == '["tickets","https://example.com"]'


@pytest.mark.parametrize("stages", [{}, {"tickets": {}}])
def test_settings_at_their_defaults_are_none(stages: dict[str, Any]) -> None:
    assert changed_from_defaults(Settings.model_validate({"stages": stages})) == {}
