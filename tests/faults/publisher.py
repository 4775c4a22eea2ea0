"""Publishes the events of a run, each exactly once and in order, whatever brokers do."""

import asyncio
from collections.abc import Callable, Iterable

from confluent_kafka import KafkaError, Message, Producer

from tests.faults.events import Event
from tests.faults.reading import options

_TICK = 0.05
_FLUSH_WITHIN = 120.0


class PublishingFailed(Exception):
    """An event was not published: the run proves nothing."""


class Publisher:
    """An idempotent producer, at a steady rate.

    Args:
        servers: host:port, comma-separated.
        topic: Where events go.
    """

    def __init__(self, servers: str, topic: str) -> None:
        self._topic = topic
        self._failure: KafkaError | None = None
        self._producer = Producer(
            options(
                servers,
                {
                    "enable.idempotence": True,
                    "linger.ms": 5,
                    "message.timeout.ms": 300_000,
                    "queue.buffering.max.messages": 1_000_000,
                },
            )
        )
        self.published = 0

    async def publish(
        self,
        events: Iterable[Event],
        *,
        rate: float | None = None,
        partition: int = -1,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """Publish events.

        Args:
            events: In the order in which they are published.
            rate: Events a second; all at once if None.
            partition: Where to; by the key if -1.
            enough: Asked before each of them whether there have been enough.

        Raises:
            PublishingFailed: One was refused.
        """
        now = asyncio.get_running_loop().time
        started = now()
        for sent, event in enumerate(events):
            if enough():
                break
            while rate is not None and sent >= (now() - started) * rate:
                self._producer.poll(0)
                await asyncio.sleep(_TICK)
            self._producer.produce(
                self._topic,
                key=event.key.encode(),
                value=event.value,
                partition=partition,
                on_delivery=self._delivered,
            )
        await self.flush()

    async def flush(self) -> None:
        """Wait until every event so far is confirmed.

        Raises:
            PublishingFailed: One was refused, or is not confirmed in time.
        """
        left = await asyncio.to_thread(self._producer.flush, _FLUSH_WITHIN)
        if self._failure is not None:
            raise PublishingFailed(str(self._failure))
        if left:
            raise PublishingFailed(f"{left} events are not confirmed after {_FLUSH_WITHIN:g} s")

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.published += 1
        else:
            self._failure = error
