"""One budget for all processes: what each claims of it, in a compacted topic that all read.

A process writes what it may have spent of an hour at most, under a key that is its own for each
start and hour, to the first partition: one partition gives the claims of all one order, by which
`pipeline.claude.budget` grants them. It begins to spend once it has read what it wrote first, and
with that all that is before it. What a process spent stays counted after its end.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Annotated

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from pipeline.claude.budget import Amounts, Budget
from pipeline.config import KafkaSettings
from pipeline.kafka.connection import RequestFailed, explain, producer_client
from pipeline.kafka.reader import read_topics
from pipeline.model.records import Record, Unusable, now, read_record
from pipeline.runtime.process import background_task
from pipeline.stream.records import Received

log = structlog.get_logger(__name__)
TICK_SECONDS = 1.0
"""How often what was spent is written where it changed; what calls wait for is claimed at once."""
_KEPT = timedelta(days=2)
"""After that claims of other processes are removed: no clock is so wrong that they still count."""
_PARTITION = 0
_READ_BACK_WITHIN = 30.0
"""Seconds, then it is written again."""
_LAST_WITHIN = 5.0
"""Seconds that the end waits for brokers: what is not written stays claimed."""
_HOUR: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)
_Dollars = Annotated[Decimal, Field(ge=0, le=10**9, allow_inf_nan=False)]
Send = Callable[[bytes, bytes | None], Awaitable[object]]
"""Writes a value under a key; returns once brokers confirmed it, raises `KafkaError`."""


class Claim(Record):
    """What a process may have spent of an hour at most; `number` counts what it wrote.

    By stage and, behind `tenant/`, by tenant: what a tenant spent is in that of its stages, too.
    """

    schema_: str = Field("claim/1", alias="schema")
    number: int
    usd: dict[str, _Dollars]


@dataclass(eq=False)
class SharedBudget:
    """Writes what a process claims and reads what all do, in the order of the log."""

    budget: Budget
    send: Send
    clock: Callable[[], datetime]
    _: KW_ONLY
    process: str = field(default_factory=lambda: secrets.token_hex(8))
    _asked: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _read_back: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _number: int = field(default=0, init=False)
    _written: dict[datetime, Amounts] = field(default_factory=dict, init=False)
    _expired: set[bytes] = field(default_factory=set, init=False)

    async def write(self, claims: Mapping[datetime, Amounts]) -> None:
        """Write claims, those that are new; what the first of them grants comes with `read`.

        Raises:
            KafkaError: Whether they are written is not known.
        """
        self._written = {hour: each for hour, each in self._written.items() if hour in claims}
        for at, (hour, claim) in enumerate(claims.items()):
            if self._written.get(hour) == claim:
                continue
            self._written.pop(hour, None)
            number = -1
            if not at:
                # Only what is read back of the latest claim grants anything: an earlier one may be
                # for more than was given back since.
                self._number = number = self._number + 1
                self._read_back.clear()
            value = Claim(schema_="claim/1", number=number, usd=dict(claim))
            await self.send(
                f"{self.process}/{hour.isoformat()}".encode(),
                value.model_dump_json(by_alias=True).encode(),
            )
            self._written[hour] = claim

    async def begin(self, *, within: float) -> None:
        """Read all that is before a first claim, for at most `within` seconds; `TimeoutError`."""
        self.budget.share(self._asked.set)
        async with asyncio.timeout(within):
            await self.write(self.budget.claims())
            await self._read_back.wait()
        for key in self._expired:
            await self.send(key, None)
        self._expired.clear()

    async def run(self) -> None:
        """Claim what is needed at once, and write what was spent every second, until cancelled."""
        time = asyncio.get_running_loop().time
        due = time() + TICK_SECONDS
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._asked.wait()
            self._asked.clear()
            if tick := time() >= due:
                due = time() + TICK_SECONDS
            try:
                await self.write(self.budget.claims(tick=tick))
            except KafkaError as error:
                log.warning("spending_not_written", because=str(error))
                await asyncio.sleep(TICK_SECONDS)
                continue
            try:
                async with asyncio.timeout(_READ_BACK_WITHIN):
                    await self._read_back.wait()
            except TimeoutError:
                log.warning("spending_not_read", seconds=_READ_BACK_WITHIN)
                self._written.clear()

    async def end(self) -> None:
        """Write what was spent at last, and give back what is left."""
        try:
            async with asyncio.timeout(_LAST_WITHIN):
                await self.write(self.budget.claims(last=True))
        except (KafkaError, TimeoutError) as error:
            log.warning("spending_not_written", because=str(error))

    def read(self, record: Received) -> None:
        """Take in a record of the log."""
        if record.value is None or record.partition != _PARTITION:
            return
        process, _, at = (record.key or b"").decode(errors="replace").rpartition("/")
        try:
            hour, claim = _HOUR.validate_python(at), read_record(Claim, record.value)
        except (ValidationError, Unusable) as error:
            log.warning("claim_unreadable", offset=record.offset, because=str(error))
            return
        if hour < self.clock() - _KEPT:
            self._expired.add(record.key or b"")
        elif process != self.process:
            self.budget.read_other(process, hour, claim.usd)
        elif claim.number == self._number:
            self.budget.read_own(hour, claim.usd)
            self._read_back.set()
        elif claim.number >= 0:
            # Brokers took late what was given up: the latest claim must be the last one.
            self._written.clear()


@asynccontextmanager
async def share_budget(
    kafka: KafkaSettings, topic: str, budget: Budget, ended: Callable[[], object]
) -> AsyncIterator[None]:
    """Share a budget with all processes that read `topic`; what is spent is written on leaving.

    `ended` is called when it is shared no more for a reason that nobody foresaw.

    Raises:
        PipelineError: There is no such topic, or the brokers do not take or bring what is claimed.
    """
    async with AsyncExitStack() as stack:
        producer = await stack.enter_async_context(producer_client(kafka, acks="all"))
        records = await stack.enter_async_context(
            read_topics(kafka, [topic], start="beginning", end="never")
        )
        shared = SharedBudget(budget, partial(_send, producer, topic), now)
        await stack.enter_async_context(background_task(_read(kafka, shared, records), ended=ended))
        try:
            await shared.begin(within=kafka.request_timeout)
        except KafkaError as error:
            raise explain(error, kafka) from error
        except TimeoutError as error:
            raise RequestFailed(
                f"What is written to {topic} could not be read back within "
                f"{kafka.request_timeout:g} s, so nothing may be spent: look at the brokers."
            ) from error
        stack.push_async_callback(shared.end)
        await stack.enter_async_context(background_task(shared.run(), ended=ended))
        yield


async def _read(
    kafka: KafkaSettings, shared: SharedBudget, records: AsyncIterator[Received]
) -> None:
    try:
        async for record in records:
            shared.read(record)
    except KafkaError as error:
        raise explain(error, kafka) from error


async def _send(producer: AIOKafkaProducer, topic: str, key: bytes, value: bytes | None) -> None:
    await producer.send_and_wait(topic, value, key, partition=_PARTITION)
