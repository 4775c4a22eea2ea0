"""A broker and an API in memory, and processes that backfill from one through the other."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import orjson

from pipeline.backfill.journal import Journal
from pipeline.backfill.lane import Backfill, Tools
from pipeline.backfill.outcomes import BatchStage
from pipeline.backfill.partitions import BacklogPartition, TopicBacklog
from pipeline.backfill.progress import Report, Watcher
from pipeline.cascade.policy import Policy
from pipeline.claude.gateway import Gateway
from pipeline.config import BackfillSettings, PrivacySettings, Settings, TopicSettings
from pipeline.inputs.adapter import Adapter
from pipeline.kafka.topics import TopicNames
from pipeline.model.observer import Observer
from pipeline.stream.dead_letter_breaker import DeadLetterBreaker
from pipeline.stream.protocols import PartitionWriter, TopicPartition
from pipeline.testing import Fault, Link, MemoryBroker, MemoryBrokers
from pipeline.testing.memory_clients import MemoryTopicReader
from tests.backfill.api import BatchApi, now
from tests.cascade.stand_ins import NoteStage

STAGE = "notes"
GROUP = "pipeline.notes"
RAW = "notes.raw"
NAMES = TopicNames(TopicSettings())
OUT = ("notes.enriched", NAMES.escalations, NAMES.dead_letters)
SETTLE = 40.0
PATIENCE = 100_000.0


class Crash(BaseException):
    """The process is gone: nothing that it does has any effect any more."""


@dataclass
class Fuse:
    """Lets a process take so many steps that others can see, and none beyond; or freezes it.

    Args:
        steps: How many.
        freezes_at: The step before whose effect it stands still until `thaw`.
        slow: Seconds that the next steps of a name take on the way to the broker.
    """

    steps: int | None = None
    freezes_at: str | None = None
    slow: dict[str, list[float]] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    taken_at: list[float] = field(default_factory=list)
    frozen: asyncio.Event = field(default_factory=asyncio.Event)
    link: Link | None = None
    _thawed: asyncio.Event = field(default_factory=asyncio.Event)

    def step(self, name: str) -> None:
        if self.steps is not None and len(self.taken) >= self.steps:
            raise Crash
        self.taken.append(name)
        self.taken_at.append(asyncio.get_running_loop().time())
        if name == self.freezes_at and not self.frozen.is_set():
            self.frozen.set()
            if self.link is not None:
                self.link.freeze()

    async def call(self, name: str) -> None:
        """A step on the way to the API."""
        self.step(name)
        if self.frozen.is_set():
            await self._thawed.wait()

    def thaw(self) -> None:
        """It goes on, not knowing how long it stood."""
        self._thawed.set()
        if self.link is not None:
            self.link.thaw()

    def next(self, process: str, request: str) -> Fault:
        """As the faults of a link to the broker."""
        self.step(request)
        seconds = self.slow.get(request)
        return Fault(before=seconds.pop()) if seconds else Fault()


def answer_to(params: dict[str, Any]) -> dict[str, Any]:
    """The words of a note decide what is answered about it."""
    text = params["messages"][0]["content"][0]["text"]
    return {
        "mood": "glad",
        "doubtful": "doubtful" in text,
        "confidence": 0.95,
        "unclear": False,
    }


@dataclass
class World:
    """Everything that outlives a process."""

    partitions: int = 2
    settings: BackfillSettings = field(
        default_factory=lambda: BackfillSettings(
            batch_events=3, poll_interval=7, settle=SETTLE, batches_at_once=3
        )
    )
    api: BatchApi = field(default_factory=lambda: BatchApi(answer_to))
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    events: list[tuple[str, bytes]] = field(default_factory=list)
    nonces: Any = field(default_factory=count)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)

    def __post_init__(self) -> None:
        self.broker.create_topic(RAW, self.partitions)
        self.broker.create_topic(NAMES.backfills, 1)
        for topic in OUT:
            self.broker.create_topic(topic, self.partitions)

    def publish(self, notes: Sequence[tuple[str, str]]) -> None:
        """Put notes on the raw topic, each a key and a text; `bad` is no event."""
        for key, text in notes:
            name = f"n-{len(self.events)}"
            value = b"no event" if text == "bad" else orjson.dumps({"id": name, "text": text})
            if text == "bad":
                value += name.encode()
            self.broker.publish(RAW, value, key=key.encode())
            self.events.append((name, key.encode()))

    async def process(
        self,
        fuse: Fuse | None = None,
        *,
        stop: asyncio.Event | None = None,
        backlog_of: Callable[[Journal], Sequence[BacklogPartition]] | None = None,
        source: str = RAW,
        claims: bool = True,
        normal_lane: bool = False,
        window: int = 200,
        paused_reason: Callable[[], str | None] = lambda: None,
        observer: Observer | None = None,
        adapter: Adapter | None = None,
    ) -> Report:
        """One start of the program, to its end.

        Raises:
            Crash: The fuse blew.
        """
        fuse = fuse or Fuse()
        brokers = MemoryBrokers(self.broker, faults=fuse)
        fuse.link = brokers.link
        read = MemoryTopicReader(self.broker, brokers.link)
        consumer = brokers.consumer(GROUP, [RAW])
        settings = Settings(privacy=self.privacy)
        settings.claude.backoff_max = 0.01

        def session(partition: TopicPartition) -> PartitionWriter:
            return brokers.session(GROUP, partition, consumer)

        async with AsyncExitStack() as stack:
            journal = Journal(
                NAMES.backfills,
                STAGE,
                new_session=lambda: session(TopicPartition(NAMES.backfills, 0)),
                read_topics=read,
            )
            await journal.open()
            backlog = (
                [
                    TopicBacklog(
                        partition,
                        journal,
                        new_session=session,
                        offsets=brokers.reader(GROUP),
                        read_topics=read,
                    )
                    for partition in self.broker.partitions_of(RAW)
                ]
                if backlog_of is None
                else backlog_of(journal)
            )
            for each in backlog if claims else ():
                await each.fence()
            await journal.read()
            gateway = await stack.enter_async_context(
                Gateway(settings, client=self.api.client(fuse.call), now=now)
            )
            lane = gateway.batch_lane()
            tools = Tools(
                journal=journal,
                api=lane.api,
                stage=BatchStage(
                    NoteStage(),
                    lane,
                    gateway,
                    Policy({}),
                    NAMES,
                    clock=now,
                    observer=observer or Observer(),
                    adapter=adapter,
                ),
                settings=self.settings,
                paused_reason=paused_reason,
                now=now,
                clock=asyncio.get_running_loop().time,
                new_nonce=lambda: f"{next(self.nonces):012x}",
                watcher=Watcher(),
                dead_letters=DeadLetterBreaker(
                    window, 0.5, clock=asyncio.get_running_loop().time, quiet=math.inf
                ),
                stop=stop or asyncio.Event(),
            )
            work = Backfill(STAGE, source, tools, normal_lane=normal_lane)
            async with asyncio.timeout(PATIENCE):
                try:
                    return await work.run(backlog, claims=claims)
                except BaseExceptionGroup as group:
                    raise first(group) from group

    def outcomes(self) -> dict[str, list[dict[str, Any]]]:
        """What was published, by event, in the order of publication in each partition."""
        found: dict[str, list[dict[str, Any]]] = {}
        for topic in OUT:
            for entries in self.broker.committed_records(topic).values():
                for entry in entries:
                    assert entry.record is not None
                    value = entry.record.value or b""
                    if topic == NAMES.dead_letters:
                        name = value.removeprefix(b"no event").decode()
                        document: dict[str, Any] = {"topic": topic}
                    else:
                        document = orjson.loads(value) | {"topic": topic}
                        name = document["event_id"]
                    found.setdefault(name, []).append(document | {"at": entry.offset})
        return found

    def ends(self) -> Counter[str]:
        """How many outcomes each event has."""
        return Counter({name: len(found) for name, found in self.outcomes().items()})

    def check(self) -> None:
        """Every event has exactly one outcome, and nothing was paid twice."""
        assert self.ends() == Counter(dict(self.events).keys())
        assert set(self.api.paid().values()) <= {1}
        for partition in self.broker.partitions_of(RAW):
            committed = self.broker.fetch_offset(GROUP, partition)
            end = self.broker.bounds(partition).end
            assert (committed.offset if committed else 0) == end


def first(group: BaseException) -> BaseException:
    """The error that ended the others."""
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
