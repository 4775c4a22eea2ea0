"""A gateway on a clock that jumps, over a client without a network."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from pipeline.claude.client import Client
from pipeline.claude.gateway import Gateway
from pipeline.claude.responses import HttpReply
from pipeline.config import Settings
from pipeline.model.observer import Observer
from pipeline.model.questions import Response
from pipeline.model.records import Tier, Usage
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
