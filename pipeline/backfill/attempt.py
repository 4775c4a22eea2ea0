"""A backfill with everything it needs of real brokers and the real API."""

import asyncio
import math
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from pathlib import Path

from pipeline.backfill.journal import Journal, unfinished
from pipeline.backfill.lane import Backfill, Stopped, Tools
from pipeline.backfill.outcomes import BatchStage
from pipeline.backfill.partitions import BacklogPartition, FileBacklog, TopicBacklog, digest_of
from pipeline.backfill.progress import Report, Watcher, open_metrics, with_metrics
from pipeline.cascade.policy import policy_of
from pipeline.cascade.reading import Reading, adapter_of, stages_by_tier
from pipeline.cascade.sampler import open_sampler
from pipeline.cascade.spending import share_budget
from pipeline.claude.failures import Bounds
from pipeline.claude.gateway import Gateway
from pipeline.config import Settings
from pipeline.inputs.outputs import open_outputs
from pipeline.kafka.brokers import KafkaBrokers, delivery_in_force
from pipeline.kafka.connection import ConnectionFailed, RequestFailed, admin_client
from pipeline.kafka.offsets import lag_reader
from pipeline.kafka.reader import read_topics
from pipeline.kafka.topics import TopicNames, Topics, why_forgetful
from pipeline.model.errors import PipelineError, UsageError
from pipeline.model.records import Tier, now
from pipeline.observe.metrics import Metrics
from pipeline.runtime.process import background_task
from pipeline.stages.api import encoder_for, stage_named
from pipeline.stages.checks.injection import steers
from pipeline.stages.files.decoding import decoders_of_this_process
from pipeline.stream.dead_letter_breaker import WINDOW_KEYS, DeadLetterBreaker
from pipeline.stream.protocols import (
    Aborted,
    Broken,
    BrokersUnavailable,
    PartitionWriter,
    TopicPartition,
)

_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before each attempt while the brokers are away
_PASSING = (BrokersUnavailable, Broken, Aborted, ConnectionFailed, RequestFailed)
"""What brokers that are away for a while lead to."""


class CannotBackfill(PipelineError):
    """Things are not such that a backfill can begin; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall be done."""

    stage: str  # whose events
    path: Path | None = None  # a file or folder; the backlog of a topic of the stage if None
    topic: str | None = None  # which, where it reads several
    key_field: str = "id"  # of the file's events
    normal_lane: bool = False  # what is in no batch, or in a lost one, goes through the normal lane


async def backfill(
    settings: Settings, wish: Wish, watcher: Watcher, stop: asyncio.Event, *, http: bool = False
) -> Report:
    """Do it, attempting it again while the brokers are away.

    It ends after the step that is under way once `stop` is set. With `http` it serves metrics and
    status meanwhile.

    Raises:
        Stopped: `stop` was set.
        UsageError: There is no such stage.
        PipelineError: It cannot go on; what was done is done.
    """
    stage_named(settings.stages, wish.stage)
    digest = None if wish.path is None else await asyncio.to_thread(digest_of, wish.path)
    if settings.claude.prompt_cache != "off":
        # Requests of a batch are answered over minutes, and share the static prefix.
        claude = settings.claude.model_copy(update={"prompt_cache": "1h"})
        settings = settings.model_copy(update={"claude": claude})
    async with AsyncExitStack() as stack:
        metrics = await open_metrics(stack, settings, wish.stage, watcher, http=http)
        attempt = _Attempt(settings, wish, digest, metrics, with_metrics(metrics, watcher), stop)
        pauses = chain(_PAUSES, repeat(_PAUSES[-1]))
        while True:
            try:
                return await attempt()
            except _PASSING as error:
                # What does not even let it begin is to be reported, not waited for.
                if not attempt.has_begun:
                    raise
                if stop.is_set():
                    raise Stopped("Stopped; start it again and it goes on where it was.") from error
                watcher.happened(f"{error} It is attempted again.")
            await asyncio.sleep(next(pauses))


@dataclass(slots=True)
class _Attempt:
    """From connecting to the end, or to what ends it."""

    settings: Settings
    wish: Wish
    digest: str | None  # of the file, if it is one
    metrics: Metrics
    watcher: Watcher
    stop: asyncio.Event
    has_begun: bool = False  # whether it has got as far as to do something

    async def __call__(self) -> Report:
        async with AsyncExitStack() as stack:
            work, partitions, claims = await self._connect(stack)
            self.has_begun = True
            try:
                return await work.run(partitions, claims=claims)
            except BaseExceptionGroup as group:
                # The error that ended the others.
                error: BaseException = group
                while isinstance(error, BaseExceptionGroup):
                    error = error.exceptions[0]
                raise error from group

    async def _connect(
        self, stack: AsyncExitStack
    ) -> tuple[Backfill, Sequence[BacklogPartition], bool]:
        """The order matters: earlier attempts are fenced before anything is read."""
        settings, stage = self.settings, self.wish.stage
        names = TopicNames.under(settings)
        delivery = await delivery_in_force(settings)
        if delivery.mode != "exactly_once":
            raise CannotBackfill(
                "A backfill needs transactions, and delivery is at least once because "
                f"{delivery.because} Use brokers with transactions, and delivery exactly_once."
            )
        source = _source(names, self.wish)
        await _make_topics(settings, names, stage, source)
        brokers = KafkaBrokers(settings.kafka, settings.stream, settings.topics, "exactly_once")
        # More than a transaction may take: reading waits for those that are open.
        patience = settings.stream.transaction_timeout + 30
        read = partial(read_topics, settings.kafka, patience=patience)
        group = settings.kafka.group_prefix + stage
        # It never joins; only sessions of brokers without transactions would have a use for it.
        consumer = brokers.consumer(group, [source])
        stack.push_async_callback(consumer.close)

        def session(partition: TopicPartition) -> PartitionWriter:
            return brokers.session(group, partition, consumer)

        journal = Journal(
            names.backfills,
            stage,
            new_session=lambda: session(TopicPartition(names.backfills, 0)),
            read_topics=read,
        )
        stack.push_async_callback(journal.close)
        await journal.open()
        partitions, claims = list[BacklogPartition](), True
        if self.wish.path is not None:
            source = f"file:{self.digest}"
            key = self.wish.key_field
            partitions.append(FileBacklog(self.wish.path, journal, key_field=key, now=now))
        else:
            async with lag_reader(settings.kafka) as reader:
                # While the topic is consumed as the stage, nothing more is claimed.
                claims = (await reader.sample(group, [source])).members == 0
            offsets = brokers.reader(group)
            await offsets.start()
            stack.push_async_callback(offsets.close)
            async with admin_client(settings.kafka) as admin:
                found = sorted(
                    TopicPartition(*each) for each in await Topics(admin).partitions([source])
                )
            partitions += [
                TopicBacklog(each, journal, new_session=session, offsets=offsets, read_topics=read)
                for each in found
            ]
        for partition in partitions:
            stack.push_async_callback(partition.close)
            if claims:
                await partition.fence()
        await journal.read()
        self._say_what_is_there(journal, source, claims=claims)
        tools = await self._tools(stack, journal, names)
        work = Backfill(stage, source, tools, normal_lane=self.wish.normal_lane)
        return work, partitions, claims

    def _say_what_is_there(self, journal: Journal, source: str, *, claims: bool) -> None:
        stage, note = self.wish.stage, self.watcher.happened
        pending = unfinished(journal.jobs(source))
        if not claims and not pending:
            raise CannotBackfill(
                f"`pipeline run {stage}` is consuming this topic, so there is nothing for a "
                "backfill: stop it until the backlog is claimed, then start it again."
            )
        if pending:
            events = sum(job.events for job in pending)
            note(f"Resuming {len(pending)} batches with {events:,} events.")
        if not claims:
            note(
                f"`pipeline run {stage}` is consuming this topic: nothing new is claimed, and the "
                "batches that are under way are seen to their end."
            )
        for other in journal.unfinished_elsewhere(source):
            note(f"There are unfinished batches of {other}: start a backfill of that, too.")

    async def _tools(self, stack: AsyncExitStack, journal: Journal, names: TopicNames) -> Tools:
        settings, stage = self.settings, self.wish.stage
        clock = asyncio.get_running_loop().time
        stages = stages_by_tier(settings, encoder_for(settings))[Tier.HAIKU]
        outputs = await open_outputs(
            {stage: stages[stage]}, settings.stages.by_name(), names.enriched, settings.registry
        )
        stack.enter_context(decoders_of_this_process.limited(settings.files))
        gateway = await stack.enter_async_context(
            Gateway(
                settings,
                observer=self.metrics,
                share=partial(share_budget, settings.kafka, names.budget),
                failed=self.stop.set,
                steers=steers,
            )
        )

        await stack.enter_async_context(
            background_task(gateway.follow_models(), ended=self.stop.set)
        )

        def on_wait(because: str | None) -> None:
            if because is not None:
                self.watcher.happened(f"Waiting for the API: {because}")

        lane = gateway.batch_lane(on_wait=on_wait)
        return Tools(
            journal=journal,
            api=lane.api,
            stage=BatchStage(
                stages[stage],
                lane,
                gateway,
                policy_of(settings, stages),
                names,
                clock=now,
                observer=self.metrics,
                reading=Reading(Bounds.of(settings.claude), masking=settings.privacy.masking()),
                adapter=adapter_of(settings, stages[stage]),
                outputs=outputs,
                sampler=await open_sampler(settings),
            ),
            settings=settings.backfill,
            paused_reason=lambda: gateway.paused_reason(stage, Tier.HAIKU),
            now=now,
            clock=clock,
            new_nonce=lambda: secrets.token_hex(6),
            dead_letters=DeadLetterBreaker(
                WINDOW_KEYS,
                settings.stream.dead_letter_ratio,
                clock=clock,
                # The events of a file, or of a time, may well be those of one publisher.
                quiet=math.inf,
            ),
            watcher=self.watcher,
            stop=self.stop,
        )


def _source(names: TopicNames, wish: Wish) -> str:
    """The topic whose backlog it is, of those that the stage reads; a backfill is of one."""
    read = names.read_by(wish.stage)
    if wish.topic is None and wish.path is None and (read.pattern or len(read.topics) > 1):
        raise UsageError(f"{wish.stage} reads several topics ({read}): name one with --topic.")
    if wish.topic is not None and not read.takes(wish.topic):
        raise UsageError(f"{wish.stage} does not read {wish.topic}: it reads {read}.")
    # Of a file none is read, and the sessions need a name only.
    return wish.topic or next(iter(read.topics), names.backfills)


async def _make_topics(settings: Settings, names: TopicNames, stage: str, source: str) -> None:
    """The compacted topic is made where it is missing; the others have to be there."""
    needed = [source, *names.results_of(stage), names.escalations, names.dead_letters]
    async with admin_client(settings.kafka) as admin:
        topics = Topics(admin, settings.topics)
        await topics.require(needed)
        await topics.create([names.backfills])
        state = (await topics.require([names.backfills]))[names.backfills]
    if (forgets := why_forgetful(state)) is not None:
        raise CannotBackfill(forgets)
