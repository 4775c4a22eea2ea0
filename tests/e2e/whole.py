"""A whole process of both tiers, wired as the application does: brokers and API are in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from prometheus_client import CollectorRegistry

from pipeline.app import App
from pipeline.claude.gateway import Gateway
from pipeline.claude.responses import HttpReply, NoReply
from pipeline.config import Settings
from pipeline.kafka.topics import ESCALATIONS, TopicNames
from pipeline.observe.metrics import Conditions, Metrics
from pipeline.testing import MemoryBroker, MemoryBrokers
from pipeline.testing.fakes import FakeClient, message
from tests.claude.server import body_of, shape

STAGES = ("tickets", ESCALATIONS)
BEGIN = datetime(2026, 11, 25, 12, tzinfo=UTC)
DOUBTFUL = "is it so?"
ANSWER = {
    "quote": "charged twice",
    "intent": "billing",
    "runner_up": None,
    "several_matters": False,
    "priority": "normal",
    "language": "en",
    "summary": "A card was charged twice.",
    "confidence": 0.99,
    "unclear": False,
}


def clock() -> float:
    return asyncio.get_running_loop().time()


class Api(FakeClient):
    """Takes what comes, or refuses the key at once; Haiku is unsure where the event says so.

    Args:
        haiku: Seconds that an answer of it takes.
        sonnet: The same.
    """

    def __init__(self, *, haiku: float, sonnet: float) -> None:
        super().__init__(self._respond)
        self._haiku = haiku
        self._sonnet = sonnet
        self.refuses: HttpReply | None = None

    async def send(self, body: bytes, *, seconds: float) -> HttpReply | NoReply:
        """Decide when the request comes in; what was taken is answered, whatever comes after."""
        request: dict[str, Any] = orjson.loads(body)
        if (refused := self.refuses) is not None:
            await asyncio.sleep(0.05)
            return refused
        await asyncio.sleep(self._haiku if "haiku" in request["model"] else self._sonnet)
        return self._respond(request)

    @staticmethod
    def _respond(request: dict[str, Any]) -> HttpReply:
        model = request["model"]
        is_unsure = DOUBTFUL.encode() in orjson.dumps(request["messages"]) and "haiku" in model
        return message(ANSWER | {"unclear": is_unsure}, model=model)


def refusal(name: str) -> HttpReply:
    """A recorded response that no request would escape."""
    found = shape(name)
    return HttpReply(found["status"], found["headers"], body_of(found))


@dataclass
class Installation:
    """A broker with the topics, an API, and what was published."""

    api: Api
    settings: Settings = field(default_factory=Settings)
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    published: int = 0

    def __post_init__(self) -> None:
        self.topics = TopicNames(self.settings.topics)
        for name in self.topics.of(STAGES):
            self.broker.create_topic(name, 2)

    def publish(self, count: int, words: str = "it is") -> None:
        """Put tickets on their topic; with `DOUBTFUL` Haiku is unsure of them."""
        for _ in range(count):
            self.published += 1
            body = f"My card was charged twice, {words}, {self.published}"
            ticket = {"id": f"T-{self.published}", "body": body}
            value = orjson.dumps(ticket)
            self.broker.publish(self.topics.raw("tickets"), value, key=ticket["id"].encode())

    def enriched(self) -> int:
        """How many results a committed reader sees."""
        found = self.broker.committed_records(self.topics.enriched("tickets"))
        return sum(len(entries) for entries in found.values())


@dataclass
class Process:
    """One that runs.

    Args:
        conditions: What `/readyz` goes by.
        registry: What `/metrics` shows.
    """

    settings: Settings
    conditions: Conditions
    registry: CollectorRegistry

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of a series."""
        return self.registry.get_sample_value(name, labels)

    def complaints(self) -> list[str]:
        """What it says is wrong."""
        said = [*self.conditions.intake_closed.values(), self.conditions.not_answering()]
        return [each for each in said if each is not None]


@asynccontextmanager
async def process(installation: Installation, name: str = "one") -> AsyncIterator[Process]:
    """A process that serves both tiers; it has left the groups in the end."""
    settings = installation.settings
    registry, conditions = CollectorRegistry(), Conditions()
    metrics = Metrics(registry, conditions)
    app, began = App(settings, STAGES), clock()
    metrics.begin_well(
        STAGES, (settings.models.haiku.model, settings.models.sonnet.model), app.asked()
    )
    brokers = MemoryBrokers(installation.broker, process=name)
    gateway = Gateway(
        settings,
        observer=metrics,
        client=installation.api,
        clock=clock,
        now=lambda: BEGIN + timedelta(seconds=clock() - began),
        jitter=lambda: 0.5,
    )
    async with gateway:
        engines = [
            app.engine(stage, gateway, brokers, metrics, None, throttle=None) for stage in STAGES
        ]
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for engine in engines:
                tasks.create_task(engine.run(stop))
            try:
                yield Process(settings, conditions, registry)
            finally:
                stop.set()
