import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import TopicSettings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.topics import (
    TopicNames,
    TopicReport,
    Topics,
    TopicsFailed,
    TopicState,
    differences,
    why_forgetful,
)
from pipeline.local.broker import LocalBroker
from pipeline.model.errors import UsageError
from tests.brokers import FreshName

DAY = 86_400.0
WANTED = TopicSettings(partitions=3, replication_factor=1, max_message_bytes=2_000_000)


def test_a_name_that_kafka_would_refuse_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="cannot be the name of a topic"):
        TopicNames(TopicSettings(prefix="acme/"))
    with pytest.raises(UsageError, match="at most 249"):
        TopicNames(TopicSettings(prefix="a" * 248))


def test_the_topics_of_stages_are_those_of_the_contract() -> None:
    names = TopicNames(TopicSettings())
    assert set(names.of(["tickets", "escalations"])) == {
        "tickets.raw",
        "tickets.enriched",
        "escalations",
        "review",
        "review.resolved",
        "dead-letters",
        "dead-letters.replayed",
        "backfills",
        "budget",
        "audit",
        "trust",
    }


def test_the_prefix_is_put_before_every_topic() -> None:
    names = TopicNames(TopicSettings(prefix="acme.", dead_letters="dlq"))
    assert all(name.startswith("acme.") for name in names.of(["tickets"]))
    assert names.dead_letters == "acme.dlq"


def test_the_stage_of_escalations_reads_what_was_escalated() -> None:
    names = TopicNames(TopicSettings(prefix="acme.", escalations="hard"))
    assert names.read_by("escalations").topics == ("acme.hard",)
    assert names.read_by("tickets").topics == ("acme.tickets.raw",)


@given(st.lists(st.sampled_from(["tickets", "invoices", "images", "escalations"])))
def test_each_topic_is_named_once(stages: list[str]) -> None:
    named = TopicNames(TopicSettings()).of(stages)
    assert len(named) == len(set(named))
    for stage in stages:
        assert set(TopicNames(TopicSettings()).read_by(stage).topics) <= set(named)


def test_a_topic_that_differs_says_in_what_and_what_to_do() -> None:
    state = TopicState("t", partitions=1, replication_factor=2, max_message_bytes=1_000_000)
    partitions, factor, size = differences(state, WANTED)
    assert "1 partitions" in partitions
    assert "replication factor 2" in factor
    assert "1000000 bytes" in size


def test_a_topic_that_takes_more_or_hides_its_limit_does_not_differ() -> None:
    state = TopicState("t", partitions=3, replication_factor=1, max_message_bytes=3_000_000)
    assert differences(state, WANTED) == ()
    assert differences(replace(state, max_message_bytes=None), WANTED) == ()


def test_the_brokers_own_replication_factor_is_whatever_it_is() -> None:
    state = TopicState("t", partitions=6, replication_factor=3)
    assert differences(state, TopicSettings(replication_factor=-1)) == ()


async def test_a_refusal_names_the_topic_and_the_reason(
    any_broker: LocalBroker, fresh_name: FreshName
) -> None:
    name = fresh_name("many")
    settings = TopicSettings(partitions=1, replication_factor=7)
    async with admin_client(any_broker.settings) as admin:
        with pytest.raises(TopicsFailed, match=f"{name}: .*eplicat"):
            await Topics(admin, settings).create([name])


async def test_describing_a_topic_that_is_missing_does_not_make_it(
    any_broker: LocalBroker, fresh_name: FreshName
) -> None:
    name = fresh_name("missing")
    async with admin_client(any_broker.settings) as admin:
        topics = Topics(admin, WANTED)
        assert await topics.describe([name]) == {}
        assert not await topics.describe([name])


async def test_creating_is_idempotent_and_sets_what_was_asked_for(
    any_broker: LocalBroker, fresh_name: FreshName
) -> None:
    name = fresh_name("made")
    async with admin_client(any_broker.settings) as admin:
        topics = Topics(admin, WANTED, configs=any_broker.topic_configs)
        assert await topics.create([name]) == [TopicReport(name, was_created=True)]
        assert await topics.create([name]) == [TopicReport(name, was_created=False)]
        found = await topics.describe([name])
        assert found == {name: TopicState(name, 3, 1, 2_000_000, "delete", 7 * DAY, 7 * DAY)}


async def test_the_topics_of_marks_are_compacted_and_one_that_is_not_is_reported(
    any_broker: LocalBroker, fresh_name: FreshName
) -> None:
    settings = TopicSettings(prefix=fresh_name("marks") + ".", partitions=1, replication_factor=1)
    names = TopicNames(settings)
    async with admin_client(any_broker.settings) as admin:
        topics = Topics(admin, settings, configs=any_broker.topic_configs)
        await Topics(admin, TopicSettings(replication_factor=1)).create([names.resolved])
        await topics.create([names.replayed])
        described = await topics.describe([names.replayed, names.resolved])
        [report] = await topics.create([names.resolved])
    assert described[names.replayed].cleanup == "compact"
    assert why_forgetful(described[names.replayed]) is None
    assert why_forgetful(described[names.resolved]) in report.differences


async def test_topics_that_hold_payloads_are_made_with_their_retention(
    any_broker: LocalBroker, fresh_name: FreshName
) -> None:
    settings = TopicSettings(
        prefix=fresh_name("kept") + ".",
        partitions=1,
        replication_factor=1,
        payload_retention=3 * DAY,
        enriched_retention=40 * DAY,
    )
    names = TopicNames(settings)
    async with admin_client(any_broker.settings) as admin:
        topics = Topics(admin, settings, configs=any_broker.topic_configs)
        await topics.create(names.of(["tickets"]))
        found = await topics.describe(names.of(["tickets"]))
        [longer] = await Topics(
            admin, settings.model_copy(update={"payload_retention": DAY})
        ).create([names.review])
    for name in (names.raw("tickets"), names.escalations, names.review, names.dead_letters):
        assert (found[name].retention, found[name].segment) == (3 * DAY, 0.75 * DAY)
    assert found[names.enriched("tickets")].retention == 40 * DAY
    assert found[names.enriched("tickets")].segment == 7 * DAY
    assert found[names.audit].retention == 365 * DAY
    assert found[names.resolved].cleanup == "compact"
    assert found[names.trust].cleanup == "compact,delete"
    assert longer.differences[0].startswith(
        f"{names.review} keeps records for 3 days and topics.payload_retention is 24 hours: set "
        "the topic's retention.ms to 86400000"
    )


def test_a_topic_that_keeps_its_records_for_ever_differs_from_a_retention() -> None:
    state = TopicState("review", partitions=6, replication_factor=1, retention=math.inf)
    assert differences(state, TopicSettings()) == ()
    [longer] = differences(state, TopicSettings(payload_retention=DAY))
    assert longer.startswith("review keeps records for ever and topics.payload_retention is 24")
    known = replace(state, retention=DAY)
    assert differences(known, TopicSettings(payload_retention=DAY)) == ()
    assert differences(replace(state, retention=None), TopicSettings(payload_retention=DAY)) == ()


async def test_a_topic_that_exists_is_left_as_it_is(
    any_broker: LocalBroker, fresh_name: FreshName
) -> None:
    name = fresh_name("other")
    async with admin_client(any_broker.settings) as admin:
        await Topics(admin, WANTED).create([name])
        [report] = await Topics(admin, TopicSettings(partitions=5)).create([name])
        assert not report.was_created
        assert len(report.differences) == 2
        assert (await Topics(admin, WANTED).describe([name]))[name].partitions == 3


async def test_the_brokers_default_factor_can_be_asked_for(
    any_broker: LocalBroker, fresh_name: FreshName
) -> None:
    name = fresh_name("default")
    async with admin_client(any_broker.settings) as admin:
        topics = Topics(admin, TopicSettings(partitions=2, replication_factor=-1))
        await topics.create([name])
        assert (await topics.describe([name]))[name].replication_factor == 1
