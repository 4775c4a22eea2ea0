"""A gateway on a clock that jumps, over a client without a network."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from pipeline.cascade.spending import SharedBudget
from pipeline.claude.budget import Budget
from pipeline.claude.gateway import Gateway
from pipeline.claude.responses import Client, HttpReply
from pipeline.config import Settings
from pipeline.model.observer import Observer
from pipeline.model.questions import Response
from pipeline.model.records import Tier, Usage
from pipeline.runtime.process import background_task
from pipeline.stream.records import Received
from pipeline.testing.fakes import message
from tests.claude.questions import Labelled, about
from tests.claude.server import body_of, shape

ANSWER = Labelled(label="billing", confidence=0.9, unclear=False)
CACHED = {"cache_read_input_tokens": 700}
START = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)


def now() -> float:
    return asyncio.get_running_loop().time()


class Watcher(Observer):
    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        self.reuses: Counter[str] = Counter()
        self.breakers: list[str] = []
        self.blocks: list[str | None] = []
        self.maybe_billed_usd = Decimal(0)
        self.spending: dict[tuple[str, str], Decimal] = {}

    def call(
        self, stage: str, model: str, end: str, *, seconds: float, usage: Usage | None
    ) -> None:
        self.ends[end] += 1

    def maybe_billed(self, stage: str, model: str, *, usd: Decimal | None) -> None:
        self.maybe_billed_usd += usd or 0

    def spent(self, stage: str, *, window: Literal["hour", "day"], usd: Decimal) -> None:
        self.spending[stage, window] = usd

    def reused(self, stage: str, model: str, kind: str) -> None:
        self.reuses[kind] += 1

    def breaker(self, model: str, state: str) -> None:
        self.breakers.append(state)

    def blocked(self, model: str, *, because: str | None) -> None:
        self.blocks.append(because)


class ClaimsLog:
    """What a topic of claims is to gateways: read at once by all that are open."""

    def __init__(self) -> None:
        self.records: list[Received] = []
        self._readers: list[SharedBudget] = []

    @asynccontextmanager
    async def __call__(self, budget: Budget, failed: Callable[[], object]) -> AsyncIterator[None]:
        """Share a budget, as `pipeline.cascade.spending.share_budget`."""
        shared = SharedBudget(budget, self._write, lambda: START)
        for record in self.records:
            shared.read(record)
        self._readers.append(shared)
        try:
            await shared.begin(within=1)
            async with background_task(shared.run(), ended=failed):
                yield
            await shared.end()
        finally:
            self._readers.remove(shared)

    async def _write(self, key: bytes, value: bytes | None) -> None:
        record = Received("budget", 0, len(self.records), key, value, (), START, START)
        self.records.append(record)
        for reader in self._readers:
            reader.read(record)


def recorded(name: str, **headers: str) -> HttpReply:
    found = shape(name)
    return HttpReply(found["status"], {**found["headers"], **headers}, body_of(found))


def good(request: dict[str, Any]) -> HttpReply:
    return message(ANSWER, usage=CACHED)


def opened(
    client: Client, watcher: Watcher | None = None, settings: Settings | None = None
) -> Gateway:
    begin = now()
    return Gateway(
        settings or Settings(),
        observer=watcher,
        client=client,
        clock=now,
        now=lambda: START + timedelta(seconds=now() - begin),
        jitter=lambda: 1.0,
    )


async def ask_all(gateway: Gateway, count: int, stage: str = "tickets") -> list[Response[Labelled]]:
    return await asyncio.gather(
        *(gateway.ask(about(f"{stage} {n}", stage=stage), Tier.HAIKU) for n in range(count))
    )
