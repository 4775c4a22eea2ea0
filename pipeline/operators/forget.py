"""Forgetting a record's key: removing what can be removed, and saying what stays until when.

Kafka's logs cannot be edited: a record goes with its topic's retention, or by compaction after a
tombstone. So what is done is that nothing more is made of what is there: review items and dead
letters of the key are settled for good, compacted topics get tombstones, answers that are kept on
disk are removed.
"""

import math
import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal

from pipeline.claude.response_cache import clear_answers, count_answers
from pipeline.config import Settings
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.topics import TopicMissing, TopicNames, TopicState
from pipeline.model.errors import PipelineError, UsageError
from pipeline.model.records import FORGOTTEN, AuditOutcome
from pipeline.operators.audit import hash_of_key
from pipeline.operators.handled import Action, IdempotentPublisher, read_handled
from pipeline.operators.inspection import every_topic
from pipeline.operators.trust_topic import parse
from pipeline.stream.records import Outgoing, Received
from pipeline.trust.sampling import Lottery, lottery_key

HEADINGS = ("Topic", "Partition", "Records", "Offsets", "Newest", "Gone by")
_BATCH = 500  # marks in a transaction
RemovedBy = Literal["retention", "compaction", "nothing", "unknown"]
OpenPublisher = Callable[[str, str], AbstractAsyncContextManager[IdempotentPublisher]]
"""Opens the publisher of a topic and the topic of its marks."""


@dataclass(slots=True)
class Remainder:
    """Records of the key in a partition, and what removes them; `until` is when, at the latest.

    `compaction` removes them after a tombstone, at a time that only the brokers know; `nothing`
    where the topic has no retention, or is compacted and the tombstone is its publisher's business.
    """

    topic: str
    partition: int
    records: int
    first: int  # offset
    last: int
    newest: datetime
    removed_by: RemovedBy = "unknown"
    until: datetime | None = None

    def row(self) -> Sequence[str]:
        """The cells below `HEADINGS`."""
        gone = {"compaction": "compaction", "nothing": "never", "unknown": "not known"}
        return (
            self.topic,
            str(self.partition),
            f"{self.records:,}",
            f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}",
            f"{self.newest:%Y-%m-%d %H:%M}",
            gone.get(self.removed_by, "") if self.until is None else f"{self.until:%Y-%m-%d %H:%M}",
        )


@dataclass(slots=True)
class Forgotten:
    """What was done about a key, or would be, and what remains; `topics` are those that were read.

    `answers` are kept on this machine's disk, of whatever events; None where no file is there.
    """

    executed: bool
    key_sha256: str
    topics: Sequence[str]
    remains: list[Remainder] = field(default_factory=list)
    review_items: int = 0
    dead_letters: int = 0
    settled_before: int = 0
    refused: int = 0
    tombstones: list[str] = field(default_factory=list)  # the topics that get one
    drawn: int = 0  # drawn answers, and labels of answers, that get one each
    answers: int | None = None
    answers_until: datetime | None = None  # when processes that run have let go of theirs
    unreadable: int = 0  # records without a key that can be read, which may be its own

    def sentences(self) -> Sequence[str]:
        would = "" if self.executed else "would be "
        found = [
            (
                f"{self.review_items:,} review items and {self.dead_letters:,} dead letters "
                f"{would}settled, {self.settled_before:,} were before"
            )
        ]
        if self.tombstones:
            found.append(f"Tombstones {would}published to {', '.join(self.tombstones)}")
        if self.drawn:
            found.append(f"{self.drawn:,} drawn answers and labels {would}removed by tombstones")
        if self.answers is not None:
            found.append(
                f"{self.answers:,} kept answers, of all keys, {would}removed from the disk here: "
                "they are kept by a hash of the whole request, and cannot be found by key"
            )
        if self.answers_until is not None:
            found.append(
                "Processes that run, and other machines, may keep answers until "
                f"{self.answers_until:%Y-%m-%d %H:%M}"
            )
        if self.refused:
            found.append(f"{self.refused:,} were refused by the brokers: they are still open")
        if self.unreadable:
            found.append(f"{self.unreadable:,} records could not be read, and may be of this key")
        if not self.executed:
            found.append("Nothing was changed: --execute does it")
        return [f"{each}." for each in found]


def holding_payloads(settings: Settings, states: Collection[str]) -> list[str]:
    """The topics that hold what events say, of those that exist."""
    names = TopicNames.under(settings)
    others = {*names.compacted, names.audit}
    return [name for name in every_topic(settings, states) if name in states and name not in others]


async def forget(
    settings: Settings,
    read: TopicReader,
    states: Mapping[str, TopicState],
    key: str,
    open_publisher: OpenPublisher | None,
    *,
    now: datetime,
    topics: Sequence[str] = (),
    on_read: Callable[[int], None] = lambda _: None,
) -> Forgotten:
    """Forget a key in these topics, in all that hold payloads if none is named.

    Without a publisher only what would be done is found out. What is done once is not done again:
    run it again for what has come since. Kept answers are removed where no topic is named.

    Raises:
        UsageError: A topic is not one of the pipeline's that hold payloads.
        ProducerFenced: Another process settles the same topic now.
        PipelineError: The brokers do not take it, or the kept answers cannot be removed.
    """
    known = holding_payloads(settings, states)
    if not known:
        raise TopicMissing("None of the pipeline's topics exists: see topics.prefix.")
    if unknown := [name for name in topics if name not in known]:
        raise UsageError(f"{', '.join(unknown)} holds no payloads; these do: {', '.join(known)}.")
    names = TopicNames.under(settings)
    lottery = Lottery(settings.trust.sample_share, lottery_key(settings.trust.key))
    search = _Search(names, states, os.fsencode(key), lottery)
    chosen = list(dict.fromkeys(topics)) or known
    async with read(chosen) as records:
        async for record in records:
            search.take(record)
            on_read(1)
    result = Forgotten(
        executed=open_publisher is not None,
        key_sha256=hash_of_key(key),
        topics=chosen,
        remains=search.remains(),
        tombstones=search.tombstones(),
        drawn=len(search.drawn),
        unreadable=search.unreadable,
    )
    search.reviews = await _unsettled(read, search.reviews, names.review, names.resolved, result)
    search.letters = await _unsettled(
        read, search.letters, names.dead_letters, names.replayed, result
    )
    result.review_items, result.dead_letters = len(search.reviews), len(search.letters)
    claude = settings.claude
    if not topics:
        result.answers = _on_disk(count_answers, claude.answers_path)
        if claude.answer_cache != "off":
            result.answers_until = now + timedelta(seconds=claude.answer_cache_ttl)
    if open_publisher is not None:
        await _carry_out(search, result, open_publisher, claude.answers_path)
    return result


async def _carry_out(
    search: "_Search", result: Forgotten, open_publisher: OpenPublisher, answers: Path
) -> None:
    names, reviews, letters = search.names, search.reviews, search.letters
    if letters:
        async with open_publisher(names.dead_letters, names.replayed) as publisher:
            result.dead_letters = await _settle(publisher, letters, result)
    async with open_publisher(names.review, names.resolved) as publisher:
        result.review_items = await _settle(publisher, reviews, result)
        for topic in result.tombstones:
            tombstone = Outgoing(topic, search.key, None, ())
            await publisher.publish_unmarked([tombstone], 1, did="tombstones", about=topic)
        drawn = list(search.drawn)
        for start in range(0, len(drawn), _BATCH):
            gone = [Outgoing(names.trust, key, None, ()) for key in drawn[start : start + _BATCH]]
            await publisher.publish_unmarked(gone, len(gone), did="tombstones", about=names.trust)
        if result.answers:
            await _remove_answers(publisher, answers, result)
        elif not (letters or reviews or result.tombstones or drawn):
            # That it was asked for is worth a record, too.
            await publisher.publish_unmarked([], 0, did=FORGOTTEN, about="")


class _Search:
    """What topics hold of a key."""

    def __init__(
        self, names: TopicNames, states: Mapping[str, TopicState], key: bytes, lottery: Lottery
    ) -> None:
        self.key = key
        self.drawn: dict[bytes, None] = {}  # keys of drawn answers and labels, in their order
        self._whose = lottery.whose(key, "")
        self.reviews: list[Received] = []
        self.letters: list[Received] = []
        self.unreadable = 0
        self.names = names
        self._states = states
        self._found: dict[tuple[str, int], Remainder] = {}
        self._ends_with_tombstone: dict[tuple[str, int], bool] = {}

    def take(self, record: Received) -> None:
        if record.topic == self.names.trust:
            self._take_drawn(record)
            return
        if record.key != self.key:
            self.unreadable += record.key is None and record.unread is not None
            return
        place = record.topic, record.partition
        self._ends_with_tombstone[place] = record.is_tombstone
        if record.is_tombstone:
            return
        found = self._found.setdefault(
            place, Remainder(*place, 0, record.offset, record.offset, record.timestamp)
        )
        found.records += 1
        found.last = record.offset
        found.newest = max(found.newest, record.timestamp)
        # Marks need their places alone, and there may be many large ones.
        if record.topic == self.names.review:
            self.reviews.append(replace(record, value=None, headers=()))
        elif record.topic == self.names.dead_letters:
            self.letters.append(replace(record, value=None, headers=()))

    def _take_drawn(self, record: Received) -> None:
        """Drawn answers and labels have keys of their own; whose they are is in them."""
        if record.key is None:
            return
        found = parse(record)
        if found is None or found.whose != self._whose:
            self.drawn.pop(record.key, None)
        else:
            self.drawn[record.key] = None

    def tombstones(self) -> list[str]:
        """The compacted topics that hold something after the last tombstone."""
        topics = {topic for (topic, _), ends in self._ends_with_tombstone.items() if not ends}
        return sorted(topic for topic in topics if self._is_ours_and_compacted(topic))

    def remains(self) -> list[Remainder]:
        for found in self._found.values():
            found.removed_by, found.until = self._end_of(found)
        return sorted(self._found.values(), key=lambda each: (each.topic, each.partition))

    def _end_of(self, found: Remainder) -> tuple[RemovedBy, datetime | None]:
        state = self._states[found.topic]
        if state.cleanup is None or state.retention is None:
            return "unknown", None
        if self._is_ours_and_compacted(found.topic):
            return "compaction", None
        if "delete" not in state.cleanup or math.isinf(state.retention):
            return "nothing", None
        # What is in a segment goes with the last record of it.
        kept = state.retention + (state.segment or 0.0)
        try:
            return "retention", found.newest + timedelta(seconds=kept)
        except OverflowError:
            return "nothing", None

    def _is_ours_and_compacted(self, topic: str) -> bool:
        """Whether the pipeline may put a tombstone there: a raw topic is its publishers'."""
        is_compacted = "compact" in (self._states[topic].cleanup or "")
        return is_compacted and self.names.is_written(topic)


async def _unsettled(
    read: TopicReader, found: Sequence[Received], topic: str, handled_topic: str, result: Forgotten
) -> list[Received]:
    if not found:
        return []
    handled = await read_handled(read, topic, handled_topic)
    entries = [(record, handled.of(record)) for record in found]
    left = [record for record, entry in entries if entry is None or not entry.is_forgotten]
    result.settled_before += len(found) - len(left)
    return left


async def _settle(
    publisher: IdempotentPublisher, records: Sequence[Received], result: Forgotten
) -> int:
    """Mark records as forgotten, those too that were handled before; returns how many."""
    settled = 0
    for start in range(0, len(records), _BATCH):
        done = await publisher.publish(
            [
                Action(record, None, again=True, reason=FORGOTTEN)
                for record in records[start : start + _BATCH]
            ]
        )
        settled += len(done.done)
        result.settled_before += len(done.done_before)
        result.refused += len(done.refused)
    return settled


async def _remove_answers(publisher: IdempotentPublisher, path: Path, result: Forgotten) -> None:
    """No transaction holds this, so it is on record before it is done."""
    audit = partial(publisher.publish_unmarked, [], did="answers", about="")
    await audit(result.answers or 0, outcome=AuditOutcome.BEGUN)
    try:
        result.answers = _on_disk(clear_answers, path)
    except PipelineError:
        await audit(0, outcome=AuditOutcome.FAILED)
        raise
    await audit(result.answers or 0)


def _on_disk(work: Callable[[Path], int | None], path: Path) -> int | None:
    """Some milliseconds, in which this command has nothing else to do."""
    try:
        return work(path)
    except sqlite3.Error as error:
        raise PipelineError(
            f"The kept answers in {path} cannot be removed ({error}): see who uses the file, or "
            "delete it while no process runs."
        ) from error
