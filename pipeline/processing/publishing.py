"""Brokers whose commits show up in the traces of the events that they publish."""

from collections.abc import Sequence

from pipeline.processing.tracing import Tracer
from pipeline.stream.brokers import (
    Brokers,
    Committed,
    Consumer,
    OffsetReader,
    Session,
    TopicPartition,
)
from pipeline.stream.records import Outgoing


class TracedBrokers:
    """The same brokers, with traced sessions.

    Args:
        brokers: Do the work.
        tracer: Told of every publication.
    """

    def __init__(self, brokers: Brokers, tracer: Tracer) -> None:
        self._brokers = brokers
        self._tracer = tracer

    @property
    def starts_at_end(self) -> bool:
        """As the brokers say."""
        return self._brokers.starts_at_end

    @property
    def eviction_notice(self) -> float:
        """As the brokers say."""
        return self._brokers.eviction_notice

    def consumer(self, group: str, topics: Sequence[str]) -> Consumer:
        """The brokers' own."""
        return self._brokers.consumer(group, topics)

    def session(self, group: str, partition: TopicPartition, consumer: Consumer) -> Session:
        """The brokers' own, traced."""
        return TracedSession(self._brokers.session(group, partition, consumer), self._tracer)

    def reader(self, group: str) -> OffsetReader:
        """The brokers' own."""
        return self._brokers.reader(group)


class TracedSession:
    """The same session; the tracer is told of each commit.

    Args:
        session: Does the work.
        tracer: Told of every publication.
    """

    def __init__(self, session: Session, tracer: Tracer) -> None:
        self._session = session
        self._tracer = tracer

    async def start(self) -> None:
        """Start the session."""
        await self._session.start()

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        """Publish the records and commit the offset; a span for each record tells how it went."""
        with self._tracer.publication((record.topic, record.headers) for record in records):
            await self._session.commit(records, committed)

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()
