"""A budget that is shared over real brokers."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from pipeline.cascade.spending import share_budget
from pipeline.claude.budget import Budget
from pipeline.config import TopicSettings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.topics import TopicMissing, Topics
from pipeline.local.broker import LocalBroker
from tests.brokers import FreshName

CAP, CALL = Decimal(10), Decimal(1)


@pytest.fixture
async def topic(any_broker: LocalBroker, fresh_name: FreshName) -> AsyncIterator[str]:
    name = fresh_name("budget")
    settings = TopicSettings(partitions=3, replication_factor=1)
    async with admin_client(any_broker.settings) as admin:
        await Topics(admin, settings, configs=any_broker.topic_configs).create([name])
        yield name


def budget() -> Budget:
    return Budget({"day": CAP}, {}, now=lambda: datetime(2026, 11, 22, 12, 30, tzinfo=UTC))


async def granted(one: Budget) -> None:
    """Wait until a call may go."""
    changed = asyncio.Event()
    one.changed = changed.set
    async with asyncio.timeout(10):
        while one.wait("tickets", CALL):
            changed.clear()
            await changed.wait()


def never() -> None:
    raise AssertionError("it ended")


async def test_what_is_spent_is_known_to_the_others_and_after_a_restart(
    any_broker: LocalBroker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The day of the claims is past by the clock of the reader.
    monkeypatch.setattr("pipeline.cascade.spending._KEPT", timedelta(days=3650))
    kafka, one, two, later = any_broker.settings, budget(), budget(), budget()
    async with (
        share_budget(kafka, topic, one, never),
        share_budget(kafka, topic, two, never),
    ):
        await granted(one)
        one.reserve("tickets", CALL)
        one.add("tickets", CAP)
        one.release("tickets", CALL)
        changed = asyncio.Event()
        two.changed = changed.set
        async with asyncio.timeout(10):
            while two.used_up("tickets") is None:
                changed.clear()
                await changed.wait()
    async with share_budget(kafka, topic, later, never):
        assert later.spent("tickets", "day") == CAP
        assert later.used_up("tickets") is not None


async def test_without_its_topic_nothing_is_spent(
    any_broker: LocalBroker, fresh_name: FreshName
) -> None:
    name = fresh_name("missing")
    with pytest.raises(TopicMissing, match="pipeline topics create"):
        async with share_budget(any_broker.settings, name, budget(), never):
            pass
