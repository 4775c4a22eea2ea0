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
from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import opinions, policy_of, settings_digest
from pipeline.cascade.processor import Handling, Processor
from pipeline.cascade.prompt_sizes import log_prefixes, prefixes
from pipeline.cascade.publishing import (
    NO_OUTPUTS,
    Outputs,
    TracedSession,
    UnpublishableHandler,
)
from pipeline.cascade.reading import (
    Escalations,
    RawEvents,
    Reader,
    Reading,
    adapter_of,
    file_threads,
    stages_by_tier,
)
from pipeline.cascade.spending import share_budget
from pipeline.claude.failures import Bounds
from pipeline.claude.gateway import Gateway
from pipeline.config import Ordering, Settings
from pipeline.desk.server import serve as serve_desk
from pipeline.inputs.outputs import open_outputs
from pipeline.kafka.brokers import KafkaBrokers, delivery_in_force
from pipeline.kafka.reader import read_topics
from pipeline.kafka.topics import ESCALATIONS, TopicNames
from pipeline.kafka.writer import Writer
from pipeline.model.errors import PipelineError, UsageError
from pipeline.model.records import Tier, now
from pipeline.observe.dashboard import Running, instruments
from pipeline.observe.metrics import Asked, Metrics
from pipeline.observe.tracing import OpenTelemetryTracer, open_tracer
from pipeline.observe.web import serve
from pipeline.operators.settings_audit import audit_start
from pipeline.runtime.process import background_task
from pipeline.stages.api import encoder_for
from pipeline.stages.checks.injection import steers
from pipeline.stages.files.decoding import decoders_of_this_process
from pipeline.stream.engine import Engine
from pipeline.stream.intake import Throttle
from pipeline.stream.protocols import Brokers
from pipeline.stream.tenants import Tenants, carried_tenant_reader, tenant_reader

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StageGate:
    """Closes the intake of a stage while its tier cannot be asked, and limits what is asked."""

    paused_reason: Callable[[], str | None]
    at_once: Callable[[], int]


class App:
    """One process: the consumers of some stages (`escalations` is one), one gateway, one HTTP port.

    It serves HTTP on a Unix `socket` instead of the port, for a supervised worker.

    Raises:
        UsageError: There is no such stage.
    """

    def __init__(
        self, settings: Settings, stages: Sequence[str], *, socket: Path | None = None
    ) -> None:
        self._settings = settings
        self._stages_by_tier = stages_by_tier(settings, encoder_for(settings))
        self._stages = self._stages_by_tier[Tier.HAIKU]
        self._served = tuple(dict.fromkeys(stages))
        self._socket = socket
        self._topics = TopicNames.under(settings)
        self._opinions = opinions(settings, self._stages)
        self._policy = policy_of(settings, self._stages)
        unknown = [name for name in self._served if name not in {*self._stages, ESCALATIONS}]
        if unknown or not self._served:
            known = ", ".join([*self._stages, ESCALATIONS])
            raise UsageError(f"There is no stage {', '.join(unknown)}; there are {known}.")
        self._adapters = {
            name: adapter_of(settings, self._stages[name])
            for name in self._served
            if name != ESCALATIONS
        }

    async def run(
        self, stop: asyncio.Event, *, announce: Callable[[Running], None] | None = None
    ) -> None:
        """Run until `stop` is set, then drain and leave; `announce` once everything is up.

        Raises:
            PipelineError: The brokers cannot be reached, a consumer is stuck, the port is taken.
        """
        outputs = await self._open_outputs()
        delivery = await delivery_in_force(self._settings)
        observed = instruments(self._settings, self._served, delivery=delivery.mode)
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
                )
                for name in self._served
            }
            for name, engine in engines.items():
                health.add_readiness(f"stream.{name}", partial(why_not_ready, engine))
            health.add_readiness("models", conditions.not_answering)
            address = await stack.enter_async_context(
                serve(self._settings.http, observed.views, socket=self._socket, failed=stop.set)
            )
            if self._settings.desk.enabled and self._socket is None:
                desk = serve_desk(self._settings, failed=stop.set)
                log.info("desk", address=await stack.enter_async_context(desk))
            for name, verdict in self._opinions.items():
                state = "on" if verdict.pays else "off"
                log.info("second_opinion", stage=name, state=state, because=verdict.because)
            # A prompt with a file asks a decoder, which is a process that has to start.
            await asyncio.to_thread(self._log_prefixes)
            log.info("delivery", in_force=delivery.mode, because=delivery.because)
            await stack.enter_async_context(
                background_task(self._audit_start(), ended=lambda: None)
            )
            if announce is not None:
                announce(Running(address, delivery.mode, delivery.because))
            await run_together(list(engines.values()), stop)

    async def _open_outputs(self) -> Outputs:
        """In which form the results of those stages are published that are answered here."""
        # What any process escalates may come, enabled here or not.
        names = self._stages if ESCALATIONS in self._served else self._served
        stages = {name: self._stages[name] for name in names}
        tables = self._settings.stages.by_name()
        return await open_outputs(stages, tables, self._topics.enriched, self._settings.registry)

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
        served = [self._stages[name] for name in self._served if name != ESCALATIONS]
        found = list(prefixes(self._settings, served, [Tier.HAIKU]))
        if ESCALATIONS in self._served:
            enabled = [
                self._stages[name] for name in self._settings.enabled if name in self._stages
            ]
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
    ) -> Engine:
        """The consumer of a stage or of the escalations, not started yet."""
        tier = Tier.SONNET if name == ESCALATIONS else Tier.HAIKU
        reading = Reading(
            Bounds.of(self._settings.claude),
            threads=files or file_threads(),
            masking=self._settings.privacy.masking(),
        )
        cascade = CascadePolicy(gateway, self._policy, tier, reading)
        clock = partial(datetime.now, UTC)
        sections = self._settings.stages.by_name()
        tenant_from = self._settings.stream.tenant_from
        tenant_of = tenant_reader(tenant_from)
        tombstones_to: tuple[str, ...] = ()
        if name != ESCALATIONS and sections[name].output.tombstones:
            tombstones_to = self._topics.results_of(name)
        if name == ESCALATIONS:
            tenant_of = carried_tenant_reader(tenant_from)
            limits = {each: section.max_text_chars for each, section in sections.items()}
            reader: Reader = Escalations(self._stages_by_tier[tier], limits)
            ordering: Ordering = "key"
        else:
            reader = RawEvents(self._stages[name], self._adapters[name], reading)
            ordering = sections[name].ordering
        handler = Processor(
            reader,
            cascade,
            self._topics,
            clock=clock,
            observer=metrics,
            tenant_of=tenant_of,
            tombstones_to=tombstones_to,
            outputs=outputs,
        )
        read = self._topics.read_by(name)
        tenants = None
        if tenant_from is not None and tenant_of is not None:
            tenants = Tenants(tenant_from, tenant_of, partial(gateway.tenants_waiting, tier))
        return Engine(
            name,
            read.topics,
            Handling(name, handler, tracer),
            brokers=brokers,
            group=self._settings.kafka.group_prefix + name,
            settings=self._settings.stream,
            ordering=ordering,
            gate=StageGate(
                partial(gateway.paused_reason, name, tier),
                # What waits for its file comes on top of what the gateway can have under way.
                lambda: gateway.at_once(name, tier) + reading.waiting,
            ),
            throttle=throttle,
            observer=metrics,
            rescue=UnpublishableHandler(
                name, self._topics.dead_letters, clock=clock, observer=metrics
            ),
            asks=settings_digest(self._settings, *(sections if name == ESCALATIONS else [name])),
            tenants=tenants,
            pattern=read.pattern,
            handles_tombstones=bool(tombstones_to),
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
