"""Wires settings, stages, stream, claude and observe into one running process."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog
from aiokafka.errors import KafkaError

from pipeline.cascade.cap import EscalationCap, watch_progress
from pipeline.cascade.certified import Certified
from pipeline.cascade.feedback import FEEDBACK, FeedbackHandler
from pipeline.cascade.processor import Handling, Processor
from pipeline.cascade.prompt_sizes import log_prefixes, prefixes
from pipeline.cascade.publishing import (
    NO_OUTPUTS,
    Outputs,
    TracedSession,
    UnpublishableHandler,
)
from pipeline.cascade.reading import Reading, file_threads
from pipeline.cascade.sampler import Sampler, open_sampler
from pipeline.cascade.serving import ServedStages
from pipeline.cascade.spending import share_budget
from pipeline.claude.billing import otherwise_of
from pipeline.claude.failures import Bounds
from pipeline.claude.gateway import Gateway
from pipeline.config import Settings
from pipeline.config.live import SettingsChanges, check_live
from pipeline.desk.server import serve as serve_desk
from pipeline.kafka.brokers import KafkaBrokers, delivery_in_force
from pipeline.kafka.connection import admin_client, explain
from pipeline.kafka.reader import read_topics
from pipeline.kafka.topics import ESCALATIONS, Topics
from pipeline.kafka.writer import Writer
from pipeline.model.errors import PipelineError, UsageError
from pipeline.model.records import Tier, now
from pipeline.notify.watcher import notifying
from pipeline.observe.dashboard import Running, instruments
from pipeline.observe.metrics import Asked, Metrics
from pipeline.observe.tracing import OpenTelemetryTracer, open_tracer
from pipeline.observe.web import serve
from pipeline.operators.certificates import follow_all, notify_of
from pipeline.operators.settings_audit import audit_start
from pipeline.runtime.process import background_task
from pipeline.stages.api import encoder_for
from pipeline.stages.checks.injection import steers
from pipeline.stages.files.decoding import decoders_of_this_process
from pipeline.stream.engine import Engine
from pipeline.stream.intake import Throttle
from pipeline.stream.protocols import Brokers
from pipeline.stream.records import Outgoing

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StageGate:
    """Closes the intake of a stage while its tier cannot be asked, and limits what is asked."""

    paused_reason: Callable[[], str | None]
    at_once: Callable[[], int]


@dataclass(frozen=True, slots=True)
class _Consumer:
    """What takes up other settings of a stage while its engine runs."""

    name: str
    engine: Engine
    handling: Handling
    processor: Callable[[ServedStages, Outputs], Processor]


class App:
    """One process: the consumers of some stages (`escalations` is one), one gateway, one HTTP port.

    It serves HTTP on a Unix `socket` instead of the port, for a supervised worker. What `changes`
    brings of its stages' settings is taken up while it runs.

    Raises:
        UsageError: There is no such stage.
    """

    def __init__(
        self,
        settings: Settings,
        stages: Sequence[str],
        *,
        socket: Path | None = None,
        changes: SettingsChanges | None = None,
    ) -> None:
        self._settings = settings
        self._encoder = encoder_for(settings)
        self._serving = ServedStages.of(settings, stages, self._encoder)
        self._served = self._serving.names
        self._topics = self._serving.topics
        self._socket = socket
        self._changes = changes
        self._consumers: list[_Consumer] = []
        self._certified: Certified | None = None

    async def run(
        self, stop: asyncio.Event, *, announce: Callable[[Running], None] | None = None
    ) -> None:
        """Run until `stop` is set, then drain and leave; `announce` once everything is up.

        Raises:
            PipelineError: The brokers cannot be reached, a consumer is stuck, the port is taken.
        """
        outputs = await self._serving.open_outputs()
        delivery = await delivery_in_force(self._settings)
        sampler = await open_sampler(self._settings)
        observed = instruments(
            self._settings,
            self._served,
            delivery=delivery.mode,
            otherwise=otherwise_of(self._settings),
        )
        metrics, conditions, health = observed.metrics, observed.conditions, observed.health
        models = self._settings.models
        metrics.begin_well(self._served, (models.haiku.name, models.sonnet.name), self.asked())
        async with AsyncExitStack() as stack:
            stack.enter_context(decoders_of_this_process.limited(self._settings.files))
            tracer = await stack.enter_async_context(open_tracer(self._settings.tracing))
            brokers = KafkaBrokers(
                self._settings.kafka,
                self._settings.stream,
                self._settings.topics,
                delivery.mode,
                wrap=lambda writer: TracedSession(writer, tracer) if tracer else writer,
            )
            gateway = await stack.enter_async_context(
                Gateway(
                    self._settings,
                    observer=metrics,
                    traces=tracer.provider if tracer else None,
                    share=partial(share_budget, self._settings.kafka, self._topics.budget),
                    failed=stop.set,
                    steers=steers,
                )
            )
            await stack.enter_async_context(
                background_task(gateway.follow_models(), ended=stop.set)
            )
            cap = EscalationCap.from_settings(self._settings.escalation, clock=time.monotonic)
            if cap is not None and ESCALATIONS in self._served:
                watching = self._watch(cap, lambda: conditions.assigned.get(ESCALATIONS, 0))
                await stack.enter_async_context(background_task(watching, ended=stop.set))
            certified = self._certified = Certified.from_settings(
                self._settings, self._serving.policy, self._decided_here(), observer=metrics
            )
            if certified is not None:
                certified.begin()
                await self._watch_certificates(stack, certified, stop)
            files = stack.enter_context(file_threads())
            engines = {
                name: self.engine(
                    name,
                    gateway,
                    brokers,
                    metrics,
                    tracer,
                    files=files,
                    throttle=cap if name == ESCALATIONS else None,
                    outputs=outputs,
                    sampler=sampler,
                    certified=certified,
                )
                for name in self._served
            }
            if ESCALATIONS in self._served and self._topics.feedback is not None:
                async with admin_client(self._settings.kafka) as admin:
                    await Topics(admin).require([self._topics.feedback, self._topics.trust])
                engines[FEEDBACK] = self.feedback_engine(brokers, metrics, tracer)
            for name, engine in engines.items():
                health.add_readiness(f"stream.{name}", partial(why_not_ready, engine))
            health.add_readiness("models", conditions.not_answering)
            address = await stack.enter_async_context(
                serve(self._settings.http, observed.views, socket=self._socket, failed=stop.set)
            )
            if self._settings.desk.enabled and self._socket is None:
                desk = serve_desk(self._settings, failed=stop.set)
                log.info("desk", address=await stack.enter_async_context(desk))
            for name, verdict in self._serving.second_opinions.items():
                state = "on" if verdict.pays else "off"
                log.info("second_opinion", stage=name, state=state, because=verdict.because)
            # A prompt with a file asks a decoder, which is a process that has to start.
            await asyncio.to_thread(self._log_prefixes)
            log.info("delivery", in_force=delivery.mode, because=delivery.because)
            await stack.enter_async_context(
                background_task(self._audit_start(), ended=lambda: None)
            )
            if self._changes is not None:
                following = self._follow_settings(self._changes, metrics)
                await stack.enter_async_context(background_task(following, ended=stop.set))
            await stack.enter_async_context(notifying(self._settings, ended=stop.set))
            if announce is not None:
                announce(Running(address, delivery.mode, delivery.because))
            await run_together(list(engines.values()), stop)

    async def _follow_settings(self, changes: SettingsChanges, metrics: Metrics) -> None:
        async for settings in changes:
            refused: PipelineError | None = None
            try:
                await self.take_up(settings)
            except PipelineError as error:
                refused = error
                log.warning("settings_not_taken_up", because=str(error))
            for name in self._served:
                metrics.settings_refused(name, is_refused=refused is not None)
            if refused is None:
                log.info("settings_taken_up", stages=list(self._served))
                await self._audit_start()

    async def take_up(self, settings: Settings | UsageError) -> None:
        """Have what begins from here on handled as other settings say.

        Raises:
            PipelineError: They are none, or hold something that a running process cannot take up.
        """
        if isinstance(settings, UsageError):
            raise settings
        check_live(self._settings, settings)
        serving = ServedStages.of(settings, self._served, self._encoder)
        outputs = await serving.open_outputs()
        for each in self._consumers:
            each.handling.handler = each.processor(serving, outputs)
            each.engine.asks_now(serving.asks(each.name))
        if self._certified is not None:
            self._certified.take_up(settings, serving.policy)
        self._settings, self._serving = settings, serving

    def _decided_here(self) -> tuple[str, ...]:
        """The stages whose events are decided about in this process, by either tier."""
        return tuple(dict.fromkeys(each.stage for each in self.asked()))

    async def _watch_certificates(
        self, stack: AsyncExitStack, certified: Certified, stop: asyncio.Event
    ) -> None:
        """Follow the labels of people, beside everything else."""
        kafka, topic = self._settings.kafka, self._topics.trust
        limit = self._settings.topics.max_message_bytes

        async def publish(record: Outgoing) -> None:
            try:
                async with Writer(kafka, max_record_bytes=limit) as to:
                    await to.write(record)
            except KafkaError as error:
                raise explain(error, kafka) from error

        watching = certified.watch(
            partial(follow_all, kafka, topic),
            publish,
            topic,
            partial(notify_of, url=self._settings.trust.notify_url),
        )
        await stack.enter_async_context(background_task(watching, ended=stop.set))

    async def _audit_start(self) -> None:
        """Record the settings where they changed; without it the events go on all the same."""
        kafka = self._settings.kafka
        try:
            async with Writer(
                kafka, max_record_bytes=self._settings.topics.max_message_bytes
            ) as to:
                has_changed = await audit_start(
                    self._settings,
                    self._served,
                    self._topics.audit,
                    read=partial(read_topics, kafka),
                    publish=to.write,
                    now=now,
                )
        except (PipelineError, KafkaError) as error:
            log.warning("settings_not_audited", because=str(error))
        else:
            if has_changed:
                log.info("settings_changed", audited_in=self._topics.audit)

    def asked(self) -> Sequence[Asked]:
        """Which model is asked here about the events of which stage."""
        models, own = self._settings.models, [name for name in self._served if name != ESCALATIONS]
        found = [Asked(name, Tier.HAIKU, models.haiku.name) for name in own]
        if ESCALATIONS in self._served:
            stages = dict.fromkeys([*self._settings.enabled, *own])
            found += [
                Asked(name, Tier.SONNET, models.sonnet.name)
                for name in stages
                if name != ESCALATIONS
            ]
        return found

    def _log_prefixes(self) -> None:
        """Say of each prompt whether the prompt cache will take it: the API never does."""
        if self._settings.claude.prompt_cache == "off":
            return
        served = [self._serving.stages[name] for name in self._served if name != ESCALATIONS]
        found = list(prefixes(self._settings, served, [Tier.HAIKU]))
        if ESCALATIONS in self._served:
            stages = self._serving.stages
            enabled = [stages[name] for name in self._settings.enabled if name in stages]
            found += prefixes(self._settings, enabled, [Tier.SONNET])
        log_prefixes(found)

    async def _watch(self, cap: EscalationCap, assigned: Callable[[], int]) -> None:
        kafka, topics = self._settings.kafka, self._topics
        stages = {*self._settings.enabled, *self._served} - {ESCALATIONS}
        groups = {kafka.group_prefix + name: topics.read_by(name) for name in sorted(stages)}
        await watch_progress(cap, kafka, groups, topics.escalations, assigned)

    def engine(
        self,
        name: str,
        gateway: Gateway,
        brokers: Brokers,
        metrics: Metrics,
        tracer: OpenTelemetryTracer | None,
        *,
        throttle: Throttle | None,
        files: Executor | None = None,
        outputs: Outputs = NO_OUTPUTS,
        sampler: Sampler | None = None,
        certified: Certified | None = None,
    ) -> Engine:
        """The consumer of a stage or of the escalations, not started yet."""
        tier = Tier.SONNET if name == ESCALATIONS else Tier.HAIKU
        serving, clock = self._serving, partial(datetime.now, UTC)
        reading = Reading(
            Bounds.of(self._settings.claude),
            threads=files or file_threads(),
            masking=self._settings.privacy.masking(),
        )
        tenants = serving.tenants(name, partial(gateway.tenants_waiting, tier))
        tenant_of = None if tenants is None else tenants.of

        def processor(serving: ServedStages, outputs: Outputs) -> Processor:
            return serving.processor(
                name,
                gateway,
                reading,
                clock=clock,
                observer=metrics,
                tenant_of=tenant_of,
                outputs=outputs,
                sampler=sampler,
                certified=certified,
            )

        handling = Handling(name, processor(serving, outputs), tracer)
        read = self._topics.read_by(name)
        engine = Engine(
            name,
            read.topics,
            handling,
            brokers=brokers,
            group=self._settings.kafka.group_prefix + name,
            settings=self._settings.stream,
            ordering=serving.ordering(name),
            gate=StageGate(
                partial(gateway.paused_reason, name, tier),
                # What waits for its file comes on top of what the gateway can have under way.
                lambda: gateway.at_once(name, tier) + reading.waiting,
            ),
            throttle=throttle,
            observer=metrics,
            rescue=UnpublishableHandler(
                name,
                self._topics.dead_letters,
                clock=clock,
                observer=metrics,
                trust=None if sampler is None else sampler.topic,
            ),
            asks=serving.asks(name),
            tenants=tenants,
            pattern=read.pattern,
            handles_tombstones=bool(serving.tombstones_to(name)),
        )
        self._consumers.append(_Consumer(name, engine, handling, processor))
        return engine

    def feedback_engine(
        self, brokers: Brokers, metrics: Metrics, tracer: OpenTelemetryTracer | None
    ) -> Engine:
        """The consumer of corrections, where there is a topic for them; not started yet."""
        topics, clock = self._topics, partial(datetime.now, UTC)
        handler = FeedbackHandler.from_settings(self._settings, clock=clock, observer=metrics)
        return Engine(
            FEEDBACK,
            () if topics.feedback is None else (topics.feedback,),
            Handling(FEEDBACK, handler, tracer),
            brokers=brokers,
            group=self._settings.kafka.group_prefix + FEEDBACK,
            settings=self._settings.stream,
            observer=metrics,
            rescue=UnpublishableHandler(
                FEEDBACK, topics.dead_letters, clock=clock, observer=metrics
            ),
        )


async def run_together(engines: Sequence[Engine], stop: asyncio.Event) -> None:
    """Run them until `stop` is set. When one ends early all end, but the others may drain.

    Raises:
        BaseException: What the first of them raised.
    """

    async def run(engine: Engine) -> None:
        try:
            await engine.run(stop)
        finally:
            stop.set()

    ends = await asyncio.gather(*(run(engine) for engine in engines), return_exceptions=True)
    for end in ends:
        if end is not None:
            raise end


def why_not_ready(engine: Engine) -> str | None:
    """Why a consumer is not assigned and polling; None where it is."""
    return engine.status().reason
