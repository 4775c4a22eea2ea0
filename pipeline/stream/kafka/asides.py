"""The batches of a consumer that are read beside the event loop, a piece at a time.

While one is read nothing is fetched of its partition; the others go on.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import IllegalStateError

from pipeline.stream.kafka.batches import ReadRecord
from pipeline.stream.kafka.fetching import Aside
from pipeline.stream.records import HEADER_BYTES

_log = logging.getLogger(__name__)

_PIECE_BYTES = 4 << 20
"""Bytes of records that are read before they are handed on."""
_ATTEMPTS = 5
"""How often a batch that does not match its checksum is fetched before its records are given up:
on the way here, or on one of the brokers, it may have been damaged, and not on another."""
_PAUSE = 1.0
"""Seconds between two of these."""


class Asides:
    """What is read aside, by partition.

    Args:
        client: Whose partitions; they are paused while something of them is read aside.
    """

    def __init__(self, client: AIOKafkaConsumer) -> None:
        self._client = client
        self._asides: dict[KafkaPartition, Aside] = {}
        self._due: dict[KafkaPartition, float] = {}
        self._attempts: dict[tuple[KafkaPartition, int], int] = {}

    @property
    def partitions(self) -> Collection[KafkaPartition]:
        """Those of which something is read aside."""
        return self._asides.keys()

    def split(
        self, fetched: Mapping[KafkaPartition, Sequence[Any]]
    ) -> dict[KafkaPartition, Sequence[Any]]:
        """Take what has to be read aside out of a poll; returns the records that are left."""
        found: dict[KafkaPartition, Sequence[Any]] = {}
        for partition, polled in fetched.items():
            if partition in self._asides:
                # Somebody resumed it: it is read on from where the aside ends.
                self._client.pause(partition)
                continue
            if isinstance(aside := polled[-1], Aside):
                self._begin(aside)
            records = polled[:-1] if isinstance(polled[-1], Aside) else polled
            if records:
                found[partition] = records
        return found

    def drop(self, partition: KafkaPartition) -> None:
        """Its place in the log is another one from now on."""
        self._asides.pop(partition, None)
        self._due.pop(partition, None)

    async def read(
        self, partitions: Collection[KafkaPartition], limit: int
    ) -> dict[KafkaPartition, Sequence[ReadRecord]]:
        """The next records of one of these partitions, if one is due.

        Args:
            partitions: Of which.
            limit: Records at most.
        """
        now = asyncio.get_running_loop().time()
        partition = next((each for each in self._due if each in partitions), None)
        if partition is None or self._due[partition] > now:
            return {}
        # To the end of the queue: the next one gets the next turn.
        self._due[partition] = self._due.pop(partition)
        aside = self._asides[partition]
        if aside.is_damaged and self._attempts.get((partition, aside.offset), 0) < _ATTEMPTS:
            self._read_on(aside, aside.offset)
            return {}
        records, is_over = await asyncio.to_thread(_piece, aside, limit)
        if self._asides.get(partition) is not aside:
            # Meanwhile the partition was revoked, or is read elsewhere.
            return {}
        if is_over:
            self._attempts.pop((partition, aside.offset), None)
            self._read_on(aside, aside.next_offset)
        return {partition: records} if records else {}

    def _begin(self, aside: Aside) -> None:
        where, now = aside.partition, asyncio.get_running_loop().time()
        name = f"{where.topic}/{where.partition}"
        self._client.pause(where)
        self._asides[where] = aside
        self._due[where] = now
        if not aside.is_damaged:
            _log.info("%s: the batch at offset %d is read in pieces", name, aside.offset)
            return
        attempts = self._attempts.get((where, aside.offset), 0) + 1
        self._attempts[where, aside.offset] = attempts
        if attempts < _ATTEMPTS:
            self._due[where] = now + _PAUSE
            _log.warning(
                "%s: the batch at offset %d does not match its checksum; it is fetched again",
                *(name, aside.offset),
            )
        else:
            _log.error(
                "%s: the batch at offset %d does not match its checksum and is given up: look at "
                "the disks of the partition's leader",
                *(name, aside.offset),
            )

    def _read_on(self, aside: Aside, offset: int) -> None:
        self.drop(aside.partition)
        try:
            self._client.seek(aside.partition, offset)
            self._client.resume(aside.partition)
        except IllegalStateError:
            return  # it is not ours any more


def _piece(aside: Aside, limit: int) -> tuple[list[ReadRecord], bool]:
    """Some of its records, in a thread; and whether that were the last."""
    found: list[ReadRecord] = []
    size = 0
    for record in islice(aside.records, limit):
        if record is None:
            return found, False
        found.append(record)
        size += len(record.key or b"") + len(record.value or b"")
        size += HEADER_BYTES * len(record.headers)
        if size >= _PIECE_BYTES:
            return found, False
    return found, len(found) < limit
