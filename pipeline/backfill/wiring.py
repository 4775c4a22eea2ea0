"""A backfill with everything it needs of real brokers and the real API."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.app import now, policy_of
from pipeline.backfill.asking import Asking
from pipeline.backfill.backfill import Backfill, Stopped, Tools
from pipeline.backfill.file import FileShelf, digest_of
from pipeline.backfill.journal import Journal, unfinished
from pipeline.backfill.progress import Report, Watcher
from pipeline.backfill.shelves import Shelf
from pipeline.backfill.topic import TopicShelf
from pipeline.claude.gateway import Gateway
from pipeline.errors import PipelineError, WrongUse
from pipeline.events import Tier
from pipeline.processing.observer import NoObserver
from pipeline.settings import Settings
from pipeline.stages.registry import build_stages
from pipeline.stream.brokers import Aborted, Broken, Session, TopicPartition, Unavailable
from pipeline.stream.connection import admin_client
from pipeline.stream.kafka.brokers import KafkaBrokers
from pipeline.stream.kafka.ranges import KafkaRanges
from pipeline.stream.lag import LagReader
from pipeline.stream.probe import delivery_in_force
from pipeline.stream.topics import TopicNames, Topics, why_forgetful

_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before attempts that follow on one another because the brokers were away."""


class CannotBackfill(PipelineError):
    """Things are not such that a backfill can begin; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall be done.

    Args:
        stage: Whose events.
        path: A file or folder; the backlog of the stage's topic if None.
        key_field: Of the file's events.
        normal_lane: What is in no batch, or in a lost one, goes through the normal lane.
    """

    stage: str
    path: Path | None = None
    key_field: str = "id"
    normal_lane: bool = False


async def backfill(settings: Settings, wish: Wish, watcher: Watcher, stop: asyncio.Event) -> Report:
    """Do it, attempting it anew while the brokers are away.

    Raises:
        Stopped: `stop` was set.
        PipelineError: It cannot go on; what was done is done.
    """
    attempt = _attempt(settings, wish, watcher, stop)
    failures = 0
    while True:
        try:
            return await attempt()
        except (Unavailable, Broken, Aborted) as error:
            if stop.is_set():
                raise Stopped("Stopped; start it again and it goes on where it was.") from error
            watcher.happened(f"{error} It is attempted anew.")
        await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
        failures += 1


def _attempt(
    settings: Settings, wish: Wish, watcher: Watcher, stop: asyncio.Event
) -> Callable[[], Awaitable[Report]]:
    if wish.stage not in build_stages(settings.stages):
        known = ", ".join(build_stages(settings.stages))
        raise WrongUse(f"There is no stage {wish.stage!r}; there are {known}.")
    settings = _with_longer_cache(settings)

    async def attempt() -> Report:
        async with _world(settings, wish, watcher, stop) as (work, shelves, claims):
            try:
                return await work.run(shelves, claims=claims)
            except BaseExceptionGroup as group:
                raise _first(group) from group

    return attempt


def _with_longer_cache(settings: Settings) -> Settings:
    ttl = settings.backfill.prompt_cache_ttl
    return settings.model_copy(
        update={"claude": settings.claude.model_copy(update={"prompt_cache_ttl": ttl})}
    )


@asynccontextmanager
async def _world(
    settings: Settings, wish: Wish, watcher: Watcher, stop: asyncio.Event
) -> AsyncIterator[tuple[Backfill, Sequence[Shelf], bool]]:
    names, stages = TopicNames(settings.topics), build_stages(settings.stages)
    group = settings.kafka.group_prefix + wish.stage
    raw = names.raw(wish.stage)
    await _require_transactions(settings)
    await _make_topics(settings, names, wish.stage)
    brokers = KafkaBrokers(settings.kafka, settings.stream, settings.topics, "exactly_once")
    ranges = KafkaRanges(settings.kafka, patience=settings.stream.transaction_timeout + 30)
    async with AsyncExitStack() as stack:
        # It never joins; only sessions of brokers without transactions would have a use for it.
        consumer = brokers.consumer(group, [raw])
        stack.push_async_callback(consumer.close)

        def session(partition: TopicPartition) -> Session:
            return brokers.session(group, partition, consumer)

        journal = Journal(
            names.backfills,
            wish.stage,
            new_session=lambda: session(TopicPartition(names.backfills, 0)),
            ranges=ranges,
        )
        stack.push_async_callback(journal.close)
        await journal.open()
        claims, shelves = True, list[Shelf]()
        if wish.path is None:
            source = raw
            claims = await _is_free(settings, group, raw)
            offsets = brokers.reader(group)
            await offsets.start()
            stack.push_async_callback(offsets.close)
            shelves += [
                TopicShelf(each, journal, new_session=session, offsets=offsets, ranges=ranges)
                for each in sorted(await ranges.ends(raw))
            ]
        else:
            source = f"file:{await asyncio.to_thread(digest_of, wish.path)}"
            shelves.append(FileShelf(wish.path, journal, key_field=wish.key_field, now=now))
        for shelf in shelves:
            stack.push_async_callback(shelf.close)
            if claims:
                await shelf.fence()
        await journal.read()
        _say_what_is_there(journal, source, watcher, wish.stage, claims=claims)
        gateway = await stack.enter_async_context(Gateway(settings))
        lane = gateway.batch_lane(told=partial(_tell_of_waiting, watcher))
        asking = Asking(
            stages[wish.stage],
            lane,
            gateway,
            policy_of(settings, stages),
            names,
            clock=now,
            observer=NoObserver(),
        )
        loop = asyncio.get_running_loop()
        tools = Tools(
            journal=journal,
            api=lane.api,
            asking=asking,
            settings=settings.backfill,
            closed_because=lambda: gateway.closed_because(wish.stage, Tier.HAIKU),
            now=now,
            clock=loop.time,
            new_nonce=lambda: secrets.token_hex(6),
            watcher=watcher,
        )
        yield Backfill(wish.stage, source, tools, stop, wish.normal_lane), shelves, claims


async def _require_transactions(settings: Settings) -> None:
    delivery = await delivery_in_force(settings)
    if delivery.mode != "exactly_once":
        raise CannotBackfill(
            f"A backfill needs transactions, and delivery is at least once because "
            f"{delivery.because} Use brokers with transactions, and delivery exactly_once."
        )


async def _make_topics(settings: Settings, names: TopicNames, stage: str) -> None:
    """The compacted topic is made where it is missing; the others have to be there."""
    needed = [names.raw(stage), names.enriched(stage), names.escalations, names.dead_letters]
    async with admin_client(settings.kafka) as admin:
        topics = Topics(admin, settings.topics)
        await topics.require(needed)
        await topics.create([names.backfills])
        state = (await topics.require([names.backfills]))[names.backfills]
    if (forgets := why_forgetful(state)) is not None:
        raise CannotBackfill(forgets)


async def _is_free(settings: Settings, group: str, raw: str) -> bool:
    """Whether nobody consumes the topic as the stage."""
    async with LagReader(settings.kafka) as reader:
        return (await reader.sample(group, [raw])).members == 0


def _say_what_is_there(
    journal: Journal, source: str, watcher: Watcher, stage: str, *, claims: bool
) -> None:
    pending = unfinished(journal.jobs(source))
    if not claims and not pending:
        raise CannotBackfill(
            f"`pipeline run {stage}` is consuming this topic, so there is nothing for a backfill: "
            "stop it until the backlog is claimed, then start it again."
        )
    if pending:
        watcher.happened(
            f"Resuming {len(pending)} batches with {sum(job.events for job in pending):,} events."
        )
    if not claims:
        watcher.happened(
            f"`pipeline run {stage}` is consuming this topic: nothing new is claimed, and the "
            "batches that are under way are seen to their end."
        )
    for other in journal.unfinished_elsewhere(source):
        watcher.happened(f"There are unfinished batches of {other}: start a backfill of that, too.")


def _tell_of_waiting(watcher: Watcher, because: str | None) -> None:
    if because is not None:
        watcher.happened(f"Waiting for the API: {because}")


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the others."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
