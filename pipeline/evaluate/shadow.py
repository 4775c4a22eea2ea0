"""Other settings beside those in force, on the same real events, with nothing published.

Each event goes through the processors of `pipeline run`, once by either settings, so that what is
compared is what would happen. Answers are recorded as those of an evaluation are: a question that
both ask alike is paid for once, and not again by a second run.
"""

import asyncio
import hashlib
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import JsonValue

from pipeline.cascade.reading import AnyStage, Reading
from pipeline.cascade.serving import ServedStages
from pipeline.claude.failures import Bounds
from pipeline.config import Settings
from pipeline.evaluate.evaluation import GATEWAYS, Askers
from pipeline.evaluate.recording import SCHEMA, Counts, Manner, Recording
from pipeline.kafka.reader import Start, read_latest, read_topics
from pipeline.kafka.topics import ESCALATIONS, TopicNames
from pipeline.model.errors import UsageError
from pipeline.model.observer import Observer
from pipeline.model.records import Usage, now
from pipeline.operators.samples import sample_of_file
from pipeline.operators.selection import moment
from pipeline.runtime.database import Database
from pipeline.stages.api import differences, encoder_for
from pipeline.stages.files.decoding import decoders_of_this_process
from pipeline.stream.records import Disposition, Outgoing, Received
from pipeline.trust.pairs import Interval, mean_difference, share_difference

AT_ONCE = 16
"""Events that are asked about at the same time: the limits are those of the pipeline that runs."""
_DRAW_BITS = 64


@dataclass(frozen=True, slots=True)
class Ended:
    """Where an event, or a part of one, ended by some settings."""

    end: str
    """Who decided (`haiku`, `sonnet`, `document`), or `review`, or `dead_letter`."""
    result: Mapping[str, JsonValue] | None
    usage: Usage
    seconds: float

    @property
    def is_escalated(self) -> bool:
        return self.end in {"sonnet", Disposition.REVIEW}


@dataclass(frozen=True, slots=True)
class Pair:
    """An event by the settings in force and by the candidate's; None where there was no such part.

    `has_changed` where what would be published differs in what the stage says decides.
    """

    id: str
    event: Mapping[str, JsonValue]
    before: Ended | None
    after: Ended | None
    has_changed: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure before and after, and the difference with what it may be in truth."""

    before: float
    after: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """What another setting would do; costs are US dollars an event, time is seconds in calls."""

    stage: str
    before: str
    after: str
    """Digests of the settings."""
    pairs: tuple[Pair, ...]
    counts: Counts

    @property
    def changed(self) -> Sequence[Pair]:
        return [pair for pair in self.pairs if pair.has_changed]

    @property
    def ends(self) -> Mapping[tuple[str, str], int]:
        """How many events ended where before, and where after."""
        return Counter((_end(pair.before), _end(pair.after)) for pair in self.pairs)

    def share(self, counts: Callable[[Ended], bool]) -> Difference:
        """How often something is so of an event."""
        marks = [
            tuple(each is not None and counts(each) for each in (pair.before, pair.after))
            for pair in self.pairs
        ]
        n = len(marks)
        found = Counter(marks)
        interval = share_difference(found[True, False], found[False, True], n)
        both = found[True, True]
        return Difference(
            (both + found[True, False]) / n, (both + found[False, True]) / n, interval
        )

    def mean(self, of: Callable[[Ended], float | None]) -> Difference | None:
        """The mean of something, of the events of which it is known on both sides."""
        known = []
        for pair in self.pairs:
            before = 0.0 if pair.before is None else of(pair.before)
            after = 0.0 if pair.after is None else of(pair.after)
            if before is not None and after is not None:
                known.append((before, after))
        if not known:
            return None
        n = len(known)
        return Difference(
            sum(before for before, _ in known) / n,
            sum(after for _, after in known) / n,
            mean_difference([after - before for before, after in known]),
        )


def _end(ended: Ended | None) -> str:
    return "none" if ended is None else ended.end


def is_drawn(record: Received, share: float) -> bool:
    """Whether a record is in the sample; by a hash of its place, so that a second run has it too.

    Raises:
        UsageError: The share is none.
    """
    if not 0 < share <= 1:
        raise UsageError("Set --share above 0 and to 1 at most.")
    place = f"{record.topic}/{record.partition}/{record.offset}".encode()
    digest = hashlib.blake2b(place, digest_size=_DRAW_BITS // 8, person=b"shadow").digest()
    return int.from_bytes(digest, "big") < int(share * 2**_DRAW_BITS)


async def drawn_events(
    settings: Settings,
    stage: str,
    *,
    share: float,
    most: int,
    since: str | None = None,
    follow: bool = False,
    file: Path | None = None,
) -> AsyncIterator[Received]:
    """Records of a stage: the latest, those since a time, those that come, or those of a file.

    Raises:
        UsageError: The share is none, or the file cannot be read.
        PipelineError: The brokers, or a topic, cannot be read.
    """
    topics, count = TopicNames.under(settings).read_by(stage).topics, 0
    if file is not None:
        found = await asyncio.to_thread(lambda: list(sample_of_file(file, topics[0], most)))
        for each in found:
            yield each.record
        return
    if since is None and not follow:
        records = await read_latest(settings.kafka, topics, math.ceil(most / share))
        for record in [each for each in records if is_drawn(each, share)][-most:]:
            yield record
        return
    start: Start = "end" if follow else moment(since or "", now())
    end: Literal["never", "committed"] = "never" if follow else "committed"
    async with read_topics(settings.kafka, topics, start=start, end=end) as following:
        async for record in following:
            if is_drawn(record, share):
                yield record
                count += 1
            if count == most:
                return


async def compare(
    before: Settings,
    after: Settings,
    stage: str,
    records: AsyncIterator[Received],
    *,
    askers: Askers = GATEWAYS,
    place: str,
    answers: Path,
    on_pair: Callable[[int], None] = lambda _: None,
) -> ShadowReport:
    """Ask about each record by both settings.

    Args:
        before: Those in force.
        after: The candidate's.
        stage: Whose events they are.
        records: Of the stage's own topics.
        askers: Makes what asks the models.
        place: Who answers, as recorded answers are distinguished: `simulated`, or an address.
        answers: The file in which answers are kept.
        on_pair: Called after each event.

    Raises:
        UsageError: There is no such stage, or it cannot be as one of the two sets it.
    """
    counts = Counts()
    async with AsyncExitStack() as stack:
        stack.enter_context(decoders_of_this_process.limited(before.files))
        database = await stack.enter_async_context(Database(answers, SCHEMA, setting="--answers"))
        sides = []
        for settings in (before, after):
            uncached = settings.claude.model_copy(update={"answer_cache": "off"})
            asked = settings.model_copy(update={"claude": uncached})
            inner = await stack.enter_async_context(askers(asked))
            recording = Recording(database, inner, Manner.of_tiers(settings, stage, place), counts)
            stack.push_async_callback(recording.save)
            serving = ServedStages.of(settings, [stage, ESCALATIONS], encoder_for(settings))
            reading = Reading(Bounds.of(settings.claude), masking=settings.privacy.masking())
            sides.append(_Shadow(serving, stage, recording, reading))
        old, new = sides
        room, pairs = asyncio.Semaphore(AT_ONCE), dict[int, Sequence[Pair]]()

        async def one(number: int, record: Received) -> None:
            try:
                # One after the other, so that the second finds what the first one paid for.
                one = await old.ends_of(record)
                other = await new.ends_of(record)
            finally:
                room.release()
            pairs[number] = _paired(old.stage, record, one, other)
            on_pair(1)

        async with asyncio.TaskGroup() as group:
            number = 0
            async for record in records:
                await room.acquire()
                group.create_task(one(number, record))
                number += 1
        if not pairs:
            raise UsageError("There are no events to compare: draw a larger share, or wait.")
        found = tuple(pair for number in sorted(pairs) for pair in pairs[number])
        return ShadowReport(stage, old.serving.asks(stage), new.serving.asks(stage), found, counts)


@dataclass(frozen=True, slots=True)
class _Shadow:
    """One side: the processors of a stage and of its escalations."""

    serving: ServedStages
    name: str
    recording: Recording
    reading: Reading

    @property
    def stage(self) -> AnyStage:
        return self.serving.stages[self.name]

    async def ends_of(self, record: Received) -> Mapping[str, Ended]:
        """Where a record ends, by the id of what would be published; empty if passed over."""
        # What is asked twice about an event, as when an answer was cut off, is answered twice.
        asker = self.recording.session()
        processors = [
            self.serving.processor(name, asker, self.reading, clock=now, observer=Observer())
            for name in (self.name, ESCALATIONS)
        ]
        first, second = processors
        outcome, topics = await first(record), self.serving.topics
        found: dict[str, Ended] = {}
        for outgoing in outcome.records:
            if outgoing.topic == topics.escalations:
                last = await second(_received(record, outgoing))
                found |= dict(self._ended(each) for each in last.records)
            elif outgoing.value is not None:
                found |= [self._ended(outgoing)]
        return found

    def _ended(self, outgoing: Outgoing) -> tuple[str, Ended]:
        topics = self.serving.topics
        if outgoing.topic == topics.dead_letters:
            return "", Ended(Disposition.DEAD_LETTER, None, Usage(), 0.0)
        record: Any = orjson.loads(outgoing.value or b"{}")
        is_review = outgoing.topic == topics.review
        return record["event_id"], Ended(
            Disposition.REVIEW if is_review else record["decided_by"],
            None if is_review else record["result"],
            Usage.model_validate(record["usage"]),
            record["timing"]["model_seconds"],
        )


def _received(record: Received, outgoing: Outgoing) -> Received:
    return replace(
        record,
        topic=outgoing.topic,
        key=outgoing.key,
        value=outgoing.value,
        headers=outgoing.headers,
    )


def _paired(
    stage: AnyStage, record: Received, before: Mapping[str, Ended], after: Mapping[str, Ended]
) -> Sequence[Pair]:
    event = _shown(record)
    return [
        Pair(name, event, old, new, _has_changed(stage, old, new))
        for name in sorted(before.keys() | after.keys())
        for old, new in [(before.get(name), after.get(name))]
    ]


def _has_changed(stage: AnyStage, before: Ended | None, after: Ended | None) -> bool:
    if before is None or after is None:
        return True
    if before.result is None or after.result is None:
        return before.end != after.end
    differ = differences(stage, dict(before.result), dict(after.result))
    # A stage that does not say which fields decide publishes all of them.
    return before.result != after.result if differ is None else bool(differ)


def _shown(record: Received) -> Mapping[str, JsonValue]:
    value = record.value or b""
    try:
        event = orjson.loads(value)
    except orjson.JSONDecodeError:
        event = None
    place = f"{record.topic} {record.partition}:{record.offset}"
    return event if isinstance(event, dict) else {"place": place, "bytes": len(value)}


def cost(ended: Ended) -> float | None:
    """US dollars; None where the price of a call is not known."""
    usd = ended.usage.cost_usd
    return None if usd is None else float(usd)
