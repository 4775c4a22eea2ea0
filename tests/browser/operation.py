"""A pipeline in operation, as far as its HTTP port shows: every figure has a history."""

import contextlib
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from prometheus_client import CollectorRegistry
from pydantic import JsonValue

from pipeline.config import HttpSettings
from pipeline.model.records import (
    Doubt,
    Enriched,
    EscalationSummary,
    Review,
    Source,
    Tier,
    Timing,
    Usage,
)
from pipeline.observe.dashboard import STEP_SECONDS, About, Health, Status, Views
from pipeline.observe.metrics import Conditions, Metrics, Recent
from pipeline.observe.web import serve
from pipeline.stream.records import Disposition

HAIKU, SONNET = "simulated-claude-haiku-5-5", "simulated-claude-sonnet-5-5"
STAGES = ("tickets", "invoices", "images", "escalations")


class Operation:
    """Drives the pipeline's own `Metrics` and `Status`, on a clock that it turns itself."""

    def __init__(self, *, recent: int = 20, port: int = 0, desk: str | None = None) -> None:
        self.now = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
        self.port = port
        self.health = Health()
        self.conditions = Conditions()
        self._registry = CollectorRegistry()
        self._recent = Recent(recent)
        self.metrics = Metrics(self._registry, self.conditions, recent=self._recent)
        self.metrics.started(version="0.1.0", delivery="exactly_once", budgets={})
        self.status = Status(
            About("0.1.0", "exactly_once", STAGES, desk),
            self._registry,
            self.conditions,
            self.health,
            recent=self._recent.newest_first,
            recent_limit=recent,
            clock=lambda: self.now,
            monotonic=self._seconds,
        )
        self._spent = Decimal(0)

    def _seconds(self) -> float:
        return self.now.timestamp()

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Serve it; yields the address."""
        views = Views(self._registry, self.health, self.status)
        async with serve(HttpSettings(port=self.port), views) as address:
            yield address

    def begin(self) -> None:
        """Join the groups."""
        for stage in STAGES:
            self.metrics.rebalanced(stage, partitions=6, seconds=0.3)
            self.metrics.intake(stage, paused_reason=None)
            self.lag(stage, 0)
        for model in (HAIKU, SONNET):
            self.metrics.blocked(model, because=None)
            self.metrics.breaker(model, "closed")

    def lag(self, stage: str, records: int, seconds: float = 0.0) -> None:
        """State the lag of a stage."""
        self.metrics.lag(stage, f"{stage}.raw", 0, records=records, oldest_seconds=seconds)

    def pass_by(self, steps: int) -> None:
        """Let time pass, with all that happens in it."""
        for step in range(steps):
            self.now += timedelta(seconds=STEP_SECONDS)
            self._happen(step)
            self.status.tick()

    def _happen(self, step: int) -> None:
        wave = 1 + 0.35 * math.sin(step / 17) + 0.1 * math.sin(step / 3)
        for stage, each, slow in (("tickets", 44, 0.5), ("invoices", 14, 1.1), ("images", 9, 1.6)):
            events = round(each * wave)
            escalated = events // 11
            for number in range(events):
                is_doubted = number < escalated
                end = Disposition.ESCALATED if is_doubted else Disposition.ENRICHED
                self._one(stage, Tier.HAIKU, HAIKU, end, slow * (0.7 + 0.06 * (number % 12)))
                if is_doubted:
                    code = ("low_confidence", "runner_up_close", "evidence_not_found")[number % 3]
                    self.metrics.doubted(stage, code)
                    is_lost = (step + number) % 9 == 0
                    sonnet_end = Disposition.REVIEW if is_lost else Disposition.ENRICHED
                    self._one(stage, Tier.SONNET, SONNET, sonnet_end, 2.2)
            if step % 13 == 0:
                self.metrics.received(stage, f"{stage}.raw", 0, size=300)
                self.metrics.completed(stage, Disposition.DEAD_LETTER, seconds=0.01)
                self.metrics.dead_lettered(stage, "bad_pdf" if stage == "invoices" else "too_large")
            backlog = max(0, round(90 * math.sin(step / 21) * wave)) if stage == "tickets" else 0
            self.lag(stage, backlog + events // 3, 0.4 + backlog / 60)
            self.metrics.in_flight(stage, f"{stage}.raw", 0, count=events // 2)
        for model, left in ((HAIKU, 0.82 - 0.2 * wave), (SONNET, 0.94)):
            for kind, limit in (
                ("requests", 4000),
                ("input_tokens", 2_000_000),
                ("output_tokens", 400_000),
            ):
                self.metrics.limit(model, kind, limit=limit, remaining=round(limit * left))
        if step % 29 == 0:
            self.metrics.call("tickets", HAIKU, "overloaded", seconds=0.2, usage=None)

    def _one(self, stage: str, tier: Tier, model: str, end: Disposition, seconds: float) -> None:
        metrics = self.metrics
        consumer = stage if tier is Tier.HAIKU else "escalations"
        metrics.received(consumer, f"{consumer}.raw", 0, size=400)
        metrics.decided(stage, tier, end, model=model)
        metrics.completed(consumer, end, seconds=seconds)
        cost = Decimal("0.00032") if tier is Tier.HAIKU else Decimal("0.0041")
        usage = Usage(
            calls=1, input_tokens=410, cache_read_tokens=1830, output_tokens=60, cost_usd=cost
        )
        metrics.call(stage, model, "answered", seconds=seconds * 0.9, usage=usage)
        metrics.waited(stage, model, seconds=0.004)
        self._spent += cost
        metrics.spent(stage, window="day", usd=self._spent / 3)

    def record(
        self,
        event_id: str,
        result: dict[str, JsonValue],
        *,
        stage: str = "tickets",
        doubts: tuple[Doubt, ...] = (),
        for_review: bool = False,
    ) -> None:
        """An event came to its last record."""
        timing = Timing(
            received_at=self.now - timedelta(seconds=0.8 if not doubts else 3.4),
            enriched_at=self.now,
            model_seconds=0.7,
        )
        source = Source(topic=f"{stage}.raw", partition=0, offset=1, timestamp=self.now)
        usage = Usage(calls=1, cost_usd=Decimal("0.0049" if doubts else "0.00032"))
        if for_review:
            self._recent.add(
                Review(
                    event_id=event_id,
                    stage=stage,
                    event={"id": event_id, "body": "the raw body, which no page may show"},
                    doubts=list(doubts),
                    haiku_result=result,
                    sonnet_result=result,
                    model=SONNET,
                    usage=usage,
                    source=source,
                    timing=timing,
                )
            )
            return
        escalation: EscalationSummary[Any] | None = None
        if doubts:
            escalation = EscalationSummary(doubts=list(doubts), haiku_result=result)
        self._recent.add(
            Enriched[Any](
                schema_=f"{stage}.enriched/1",
                event_id=event_id,
                stage=stage,
                result=result,
                decided_by="sonnet" if doubts else "haiku",
                confidence=0.88 if doubts else 0.95,
                escalation=escalation,
                model=SONNET if doubts else HAIKU,
                usage=usage,
                source=source,
                timing=timing,
            )
        )
