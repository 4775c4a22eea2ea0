"""What there is to notify of, as the topics say it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from pipeline.cascade.certified import StageState
from pipeline.config import Settings
from pipeline.notify.conditions import DeadLetterKinds, ReviewAge, StaleCertificates
from pipeline.notify.watcher import current_certificates
from pipeline.operators.certificates import StageStatus
from pipeline.operators.handled import HandledIndex
from pipeline.stream.protocols import TopicPartition
from pipeline.testing import MemoryBroker, MemoryTopicReader
from tests.cascade.test_certified import alarm, certificates

DAY = timedelta(days=1)


def now() -> datetime:
    """As the broker in memory stamps records."""
    return datetime.fromtimestamp(asyncio.get_running_loop().time(), UTC)


def broker() -> MemoryBroker:
    made = MemoryBroker()
    for topic in ("dead-letters", "review", "review.resolved"):
        made.create_topic(topic)
    return made


def dead_letter(at: MemoryBroker, stage: str, reason: str) -> None:
    headers = (("dlq-stage", stage.encode()), ("dlq-reason", reason.encode()))
    at.publish("dead-letters", b"secret content", key=b"customer-42", headers=headers)


def kinds(at: MemoryBroker) -> DeadLetterKinds:
    return DeadLetterKinds(MemoryTopicReader(at), "dead-letters", ["tickets"], DAY)


async def test_each_kind_of_dead_letter_is_one_condition_until_none_came_for_long() -> None:
    mine = broker()
    source, begun = kinds(mine), now()
    assert await source.conditions(begun) == []
    for _ in range(3):
        dead_letter(mine, "tickets", "invalid_json")
    dead_letter(mine, "tickets", "too_large")
    soon = begun + timedelta(minutes=1)
    titles = [each.title for each in await source.conditions(soon)]
    assert titles == ["Dead letters of tickets: invalid_json", "Dead letters of tickets: too_large"]
    assert [each.title for each in await source.conditions(soon + DAY / 2)] == titles
    assert await source.conditions(soon + DAY * 2) == []


async def test_what_came_before_this_process_looked_counts_as_well() -> None:
    mine = broker()
    dead_letter(mine, "tickets", "invalid_json")
    (found,) = await kinds(mine).conditions(now())
    assert "pipeline dead-letters show" in found.text


async def test_nothing_of_an_event_and_nothing_made_up_by_a_writer_is_in_a_condition() -> None:
    mine = broker()
    for number in range(50):
        dead_letter(mine, f"<!channel> {number}", f"click https://evil.example/{number}")
    (found,) = await kinds(mine).conditions(now())
    assert found.title == "Dead letters of other: other"
    assert "secret" not in repr(found)
    assert "customer" not in repr(found)


def ages(at: MemoryBroker) -> ReviewAge:
    async def partitions() -> Sequence[TopicPartition]:
        return at.partitions_of("review")

    return ReviewAge(
        MemoryTopicReader(at), "review", "review.resolved", partitions, limit=timedelta(hours=8)
    )


async def settle(at: MemoryBroker) -> None:
    """Mark the oldest open case as settled."""
    index = HandledIndex("review", "review.resolved")
    reader = MemoryTopicReader(at)
    async with reader(["review.resolved"]) as marks:
        async for mark in marks:
            index.read(mark)
    async with reader(["review"]) as cases:
        async for case in cases:
            if index.of(case) is None:
                handled = index.next(case, to="tickets.enriched", at=now(), by="ada")
                mark_of = index.outgoing(handled)
                at.publish(mark_of.topic, mark_of.value, key=mark_of.key)
                return


async def test_a_queue_ages_by_its_oldest_open_case_and_is_fine_once_that_is_settled() -> None:
    mine = broker()
    source, begun = ages(mine), now()
    mine.publish("review", b"{}", key=b"a")
    mine.publish("review", b"{}", key=b"a")
    assert await source.conditions(begun + timedelta(hours=7)) == []
    (found,) = await source.conditions(begun + timedelta(hours=9))
    assert (found.title, "8 h" in found.text) == ("Cases wait too long", True)
    await settle(mine)
    assert len(await source.conditions(begun + timedelta(hours=9))) == 1
    await settle(mine)
    assert await source.conditions(begun + timedelta(hours=9)) == []
    mine.publish("review", b"{}", key=b"a")
    assert len(await source.conditions(begun + timedelta(hours=9))) == 1


async def test_a_stale_certificate_is_a_condition_from_its_alarm_until_it_holds_again() -> None:
    holds = StageStatus("tickets", StageState("certified", "c", (), ""), None, None)
    stale = replace(holds, state=StageState("stale", "c", ("settings",), "the settings changed"))
    raised = replace(holds, alarm=alarm())
    looks = iter([[holds], [stale], [raised, replace(stale, stage="invoices")], [holds]])

    async def statuses() -> Sequence[StageStatus]:
        return next(looks)

    source, began = StaleCertificates(statuses), now()
    assert await source.conditions(began) == []
    [first] = await source.conditions(began + DAY)
    assert (first.title, first.since) == ("The certificate of tickets is stale", began + DAY)
    assert "the settings changed" in first.text
    found = await source.conditions(began + 2 * DAY)
    # It has been stale since, whatever makes it so now.
    assert [(each.title, each.since) for each in found] == [
        ("The certificate of invoices is stale", began + 2 * DAY),
        (first.title, first.since),
    ]
    assert "30 of 100 labels wrong" in found[1].text
    assert await source.conditions(began + 3 * DAY) == []


async def test_what_is_stale_follows_from_the_settings_as_they_are_at_each_look(
    tmp_path: Path,
) -> None:
    mine, path = broker(), tmp_path / "certificate.json"
    mine.create_topic("trust")
    path.write_text(certificates(Settings()).model_dump_json(by_alias=True))
    named = {"trust": {"certificate": str(path)}}
    before = Settings.model_validate(named)
    after = Settings.model_validate({**named, "thresholds": {"low_confidence": 0.4}})
    looks = iter([before, after])
    statuses = partial(current_certificates, MemoryTopicReader(mine), lambda: next(looks))
    source = StaleCertificates(statuses)
    assert await source.conditions(now()) == []
    [found] = await source.conditions(now())
    assert found.title == "The certificate of tickets is stale"
