"""Puts dead letters back on the topics they came from, each once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.config import Settings
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.topics import TopicNames
from pipeline.operators.arguments import place_of
from pipeline.operators.dead_letters.listing import letters
from pipeline.operators.dead_letters.record import DeadLetterRecord, Selection
from pipeline.operators.desk import Action, Desk
from pipeline.operators.handled import HandledIndex
from pipeline.stages.api import build_stages
from pipeline.stream.records import Received

_BATCH_RECORDS = 500
_BATCH_BYTES = 8 << 20
_SHOWN = 20
_NAME_SHOWN = 249
"""As long as the name of a topic may be."""


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What shall be replayed, and how.

    Args:
        selection: Which are meant.
        rate: A second, at most.
        limit: How many, at most; None for all.
        again: Those too that were replayed before.
    """

    selection: Selection
    rate: float
    limit: int | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A dead letter that cannot be replayed."""

    place: str
    because: str


@dataclass(slots=True)
class Replayed:
    """What came of a replay, or would come.

    Args:
        replayed: Dead letters that were put back.
        topics: How many went where.
        done_before: Left out, because they were replayed before.
        refused: Cannot be replayed.
        refusals: The first of them.
    """

    replayed: int = 0
    topics: Counter[str] = field(default_factory=Counter)
    done_before: int = 0
    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)

    def refuse(self, record: Received, because: str) -> None:
        """One cannot be replayed."""
        self.refused += 1
        if len(self.refusals) < _SHOWN:
            self.refusals.append(Refusal(str(place_of(record)), because))


def sentence(result: Replayed, *, dry_run: bool) -> str:
    """What came of it, for a person."""
    went = ", ".join(f"{count:,} to {topic}" for topic, count in sorted(result.topics.items()))
    return (
        f"{result.replayed:,} {'would be replayed' if dry_run else 'replayed'}"
        f"{f' ({went})' if went else ''}, {result.done_before:,} were before, "
        f"{result.refused:,} refused"
    )


def document_of(result: Replayed) -> dict[str, Any]:
    """The same for a program."""
    return {
        "replayed": result.replayed,
        "topics": dict(result.topics),
        "done_before": result.done_before,
        "refused": result.refused,
        "refusals": [asdict(refusal) for refusal in result.refusals],
    }


def destinations(settings: Settings) -> frozenset[str]:
    """Where dead letters may go back to: what the pipeline reads.

    The topic is in a header that anybody who may write to `dead-letters` can set.
    """
    names = TopicNames(settings.topics)
    raw = {names.raw(stage) for stage in build_stages(settings.stages)}
    return frozenset(raw | {names.escalations})


async def rehearse(
    settings: Settings,
    read: TopicReader,
    order: ReplayRequest,
    marks: HandledIndex,
    *,
    on_done: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Say what `replay` would do.

    Raises:
        PipelineError: The brokers cannot be reached.
    """
    names, allowed, result = TopicNames(settings.topics), destinations(settings), Replayed()
    async with letters(read, names.dead_letters, order.selection) as found:
        async for letter in _replayable(found, order, allowed, marks.of, result):
            result.replayed += 1
            result.topics[letter.topic] += 1
            on_done(1)
    return result


async def replay(
    settings: Settings,
    read: TopicReader,
    order: ReplayRequest,
    desk: Desk,
    *,
    on_done: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Put dead letters back, in the order of each partition.

    Args:
        settings: How topics are called.
        read: Reads the dead letters that are there when it begins.
        order: Which, how fast.
        desk: Marks what was replayed.
        on_done: Told how many were.

    Raises:
        ProducerFenced: Somebody else began to replay.
        PipelineError: The brokers do not take the records, or cannot be reached.
    """
    names, allowed, result = TopicNames(settings.topics), destinations(settings), Replayed()
    clock = asyncio.get_running_loop().time
    size = max(1, min(_BATCH_RECORDS, int(order.rate)))
    due = clock()
    async with letters(read, names.dead_letters, order.selection) as found:
        chosen = _replayable(found, order, allowed, desk.mark, result)
        async for batch in _batches(chosen, size):
            await asyncio.sleep(max(0.0, due - clock()))
            due = max(due, clock()) + len(batch) / order.rate
            done = await desk.carry_out(
                [Action(letter.record, letter.replay(), again=order.again) for letter in batch]
            )
            result.replayed += len(done.done)
            result.done_before += len(done.done_before)
            result.topics.update(action.outgoing.topic for action in done.done)
            for action, because in done.refused:
                result.refuse(action.record, because)
            on_done(len(done.done))
    return result


async def _replayable(
    found: AsyncIterator[DeadLetterRecord],
    order: ReplayRequest,
    allowed: Collection[str],
    mark_of: Callable[[Received], object | None],
    result: Replayed,
) -> AsyncIterator[DeadLetterRecord]:
    """Those that can and shall be replayed; the others are counted."""
    chosen = 0
    async for letter in found:
        if mark_of(letter.record) is not None and not order.again:
            result.done_before += 1
        elif letter.topic not in allowed:
            result.refuse(letter.record, _why_not(letter))
        elif letter.record.unread is not None:
            result.refuse(letter.record, letter.record.unread.because)
        elif letter.original is not None:
            result.refuse(
                letter.record,
                f"it does not hold the record: fetch that from {letter.original}, and publish it "
                "again in a form that is taken",
            )
        else:
            yield letter
            chosen += 1
            if chosen == order.limit:
                return


def _why_not(letter: DeadLetterRecord) -> str:
    if not letter.topic:
        return "it has no header dlq-topic, so it is none of the pipeline's"
    return f"its topic {letter.topic[:_NAME_SHOWN]!r} is none that the pipeline reads"


async def _batches(
    found: AsyncIterator[DeadLetterRecord], size: int
) -> AsyncIterator[list[DeadLetterRecord]]:
    batch: list[DeadLetterRecord] = []
    held = 0
    async for letter in found:
        batch.append(letter)
        held += letter.record.size
        if len(batch) == size or held >= _BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
