"""Reads topics with a client that shares no code with the pipeline: librdkafka."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

_BATCH = 1000
_WAIT = 0.1
_WITHIN = 30.0
_quiet = logging.getLogger("tests.faults.librdkafka")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


@dataclass(frozen=True, slots=True)
class Record:
    """A record, with the moment its producer wrote it in seconds of the wall clock."""

    topic: str
    partition: int
    offset: int
    written: float
    key: str
    value: bytes
    headers: Mapping[str, bytes]


def options(servers: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The configuration of a client; what it has to say of brokers that are down is not shown."""
    return {"bootstrap.servers": servers, "logger": _quiet, "log_level": 0, **(more or {})}


class Reader:
    """Reads topics, outside any group. Its methods block.

    Args:
        servers: host:port, comma-separated.
        topics: What is read.
        committed: Whether records of transactions that were aborted, or are open, are left out.
        group: Whose committed offsets it begins at; at the topics' beginning if None.
    """

    def __init__(
        self,
        servers: str,
        topics: Sequence[str],
        *,
        committed: bool = True,
        group: str | None = None,
    ) -> None:
        isolation = "read_committed" if committed else "read_uncommitted"
        self._consumer = Consumer(
            options(
                servers,
                {
                    "group.id": group or "audit",
                    "enable.auto.commit": False,
                    "isolation.level": isolation,
                    "enable.partition.eof": True,
                    "fetch.wait.max.ms": 100,
                },
            )
        )
        known = self._consumer.list_topics(timeout=_WITHIN).topics
        self._partitions = [
            TopicPartition(topic, number, OFFSET_BEGINNING)
            for topic in topics
            for number in known[topic].partitions
        ]
        if group is not None:
            self._partitions = [
                TopicPartition(at.topic, at.partition, max(at.offset, OFFSET_BEGINNING))
                for at in self._consumer.committed(self._partitions, timeout=_WITHIN)
            ]
        self._consumer.assign(self._partitions)

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def poll(self, seconds: float) -> Iterator[Record]:
        """What comes in so many seconds, or a full batch earlier."""
        for record, _ in self._consume(seconds):
            if record is not None:
                yield record

    def to_the_end(self) -> Iterator[Record]:
        """Everything up to the present end of every partition.

        Raises:
            TimeoutError: Nothing comes any more, and an end is not reached.
        """
        open_ends = {(each.topic, each.partition) for each in self._partitions}
        last = time.monotonic()
        while open_ends:
            for record, ended in self._consume(_WAIT):
                last = time.monotonic()
                if record is not None:
                    yield record
                elif ended is not None:
                    open_ends.discard(ended)
            if time.monotonic() - last > _WITHIN:
                raise TimeoutError(f"the ends of {sorted(open_ends)} are not reached")

    def _consume(self, seconds: float) -> Iterator[tuple[Record | None, tuple[str, int] | None]]:
        for message in self._consumer.consume(_BATCH, seconds):
            topic, partition = message.topic() or "", message.partition() or 0
            error = message.error()
            if error is None:
                yield (
                    Record(
                        topic=topic,
                        partition=partition,
                        offset=message.offset() or 0,
                        written=message.timestamp()[1] / 1000,
                        key=_text(message.key()),
                        value=_bytes(message.value()),
                        headers=_headers(message),
                    ),
                    None,
                )
            elif error.code() == KafkaError._PARTITION_EOF:
                yield None, (topic, partition)
            elif not error.retriable() and error.fatal():
                raise KafkaException(error)


def read_each(servers: str, topics: Sequence[str], *, committed: bool = True) -> Iterator[Record]:
    """Every record of some topics, from beginning to end, one at a time: some are large."""
    with closing(Reader(servers, topics, committed=committed)) as reader:
        yield from reader.to_the_end()


def read_all(servers: str, topics: Sequence[str], *, committed: bool = True) -> list[Record]:
    """Every record of some topics, from beginning to end."""
    return list(read_each(servers, topics, committed=committed))


def is_read(servers: str, group: str, topic: str) -> bool:
    """Whether a group has committed every record of a topic; markers of transactions are none."""
    with closing(Reader(servers, [topic], group=group)) as reader:
        return next(reader.to_the_end(), None) is None


def committed_offsets(servers: str, group: str, topic: str, partitions: int) -> list[int]:
    """What a group committed, by partition; -1001 where nothing is committed."""
    consumer = Consumer(options(servers, {"group.id": group, "enable.auto.commit": False}))
    with closing(consumer):
        asked = [TopicPartition(topic, number) for number in range(partitions)]
        return [found.offset for found in consumer.committed(asked, timeout=_WITHIN)]


def ends(servers: str, topic: str) -> list[int]:
    """The end of each partition's log; where transactions wrote, their markers count."""
    found = _ends(servers, [topic], IsolationLevel.READ_UNCOMMITTED)
    return [found[at] for at in sorted(found)]


def open_transactions(servers: str, topics: Sequence[str]) -> list[str]:
    """The partitions where a transaction is open, and holds up who reads committed."""
    stable = _ends(servers, topics, IsolationLevel.READ_COMMITTED)
    high = _ends(servers, topics, IsolationLevel.READ_UNCOMMITTED)
    return [f"{at[0]}/{at[1]}" for at, end in high.items() if stable[at] < end]


def admin(servers: str) -> AdminClient:
    """A client that administers."""
    return AdminClient(options(servers))


def _ends(servers: str, topics: Sequence[str], level: IsolationLevel) -> dict[tuple[str, int], int]:
    client = admin(servers)
    known = client.list_topics(timeout=_WITHIN).topics
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call] # confluent_kafka's is untyped
    asked = {
        TopicPartition(topic, number): latest
        for topic in topics
        for number in known[topic].partitions
    }
    answers = client.list_offsets(asked, isolation_level=level, request_timeout=_WITHIN)
    return {(at.topic, at.partition): found.result().offset for at, found in answers.items()}


def _headers(message: Message) -> dict[str, bytes]:
    found = message.headers() or []
    pairs = found.items() if isinstance(found, dict) else found
    return {name: _bytes(value) for name, value in pairs}


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def _text(value: str | bytes | None) -> str:
    return _bytes(value).decode(errors="replace")
