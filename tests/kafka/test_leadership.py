"""One of several processes leads, at the embedded broker."""

import asyncio

import pytest

from pipeline.config import TopicSettings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.leadership import GroupLeadership, open_leadership
from pipeline.kafka.topics import Topics
from pipeline.local.broker import LocalBroker
from pipeline.model.errors import PipelineError
from tests.brokers import FreshName


async def until_one_leads(*members: GroupLeadership) -> tuple[GroupLeadership, str]:
    """The member that leads, and what it was left."""
    async with asyncio.timeout(60):
        while True:
            notes = [await member.note() for member in members]
            leading = [(each, note) for each, note in zip(members, notes, strict=True)
                       if note is not None]  # fmt: skip
            assert len(leading) <= 1
            if leading:
                return leading[0]
            await asyncio.sleep(0.05)


async def test_one_leads_and_the_next_finds_what_it_kept(
    embedded_broker: LocalBroker, fresh_name: FreshName
) -> None:
    kafka, topic = embedded_broker.settings, fresh_name("dead-letters")
    group = fresh_name("notifications")
    async with admin_client(kafka) as admin:
        await Topics(admin, TopicSettings(partitions=2)).create([topic])
    async with open_leadership(kafka, group, topic) as first:
        leader, note = await until_one_leads(first)
        assert note == ""
        await leader.keep('{"ops":{}}')
        assert await leader.note() == '{"ops":{}}'
    async with open_leadership(kafka, group, topic) as second:
        _, note = await until_one_leads(second)
        assert note == '{"ops":{}}'


async def test_of_two_one_leads_and_the_other_cannot_keep_anything(
    embedded_broker: LocalBroker, fresh_name: FreshName
) -> None:
    kafka, topic = embedded_broker.settings, fresh_name("dead-letters")
    group = fresh_name("notifications")
    async with admin_client(kafka) as admin:
        await Topics(admin, TopicSettings(partitions=2)).create([topic])
    # One after the other: on the embedded broker two that join at once may wait for ever.
    async with open_leadership(kafka, group, topic) as first:
        await until_one_leads(first)
        async with open_leadership(kafka, group, topic) as second:
            leader, _ = await until_one_leads(first, second)
            other = second if leader is first else first
            with pytest.raises(PipelineError, match="cannot be kept"):
                await other.keep("not its own")
            leader, note = await until_one_leads(first, second)
            assert note == ""
