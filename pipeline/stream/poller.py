"""The loop that brings records in."""

import asyncio
from collections.abc import Sequence

from pipeline.stream.assignment import Assignment
from pipeline.stream.intake import Flow, FlowLimits, Intake, Load, PartitionFlow
from pipeline.stream.partition_worker import PartitionWorker, State
from pipeline.stream.protocols import Consumer, PositionLost, TopicPartition

_WAIT = 0.2
"""Seconds that a poll waits for the first record."""
_WAIT_WHILE_SOME_ARE_FULL = 0.02
"""The same while a partition may open at any time."""
_PACE = 0.01
"""Seconds from poll to poll at least. Records that trickle in are fetched and decoded together,
which costs much less and delays none noticeably: a model call takes fifty times as long."""
_NOT_ASKED = 5.0
"""Seconds without being polled after which a partition has time to begin again."""
_WAIT_WHILE_CLOSED = 0.25
"""Seconds between polls that take nothing: while intake is closed the group must still hear that
this member lives, and the reason may be gone."""


class Poller:
    """Polls what may bring more, always, so that the group membership stays.

    Args:
        consumer: Where records come from.
        assignment: Where they go.
        limits: How much may be held.
        intake: Whether anything shall be taken at all.
        opened: Set when there may be more to poll than before.
    """

    def __init__(
        self,
        consumer: Consumer,
        assignment: Assignment,
        limits: FlowLimits,
        intake: Intake,
        opened: asyncio.Event,
    ) -> None:
        self._consumer = consumer
        self._assignment = assignment
        self._limits = limits
        self._intake = intake
        self._flow = Flow(limits)
        self._flows: dict[PartitionWorker, PartitionFlow] = {}
        self._now = asyncio.get_running_loop().time
        self._opened = opened
        self.last_poll = self._now()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            self._opened.clear()
            total = self._look()
            partitions, are_some_full = self._open(total) if self._intake.update() else ([], False)
            wait = _WAIT_WHILE_SOME_ARE_FULL if are_some_full else _WAIT
            started = self._now()
            await self._poll(partitions, wait if partitions else 0.0, total)
            if partitions:
                await asyncio.sleep(max(0.0, started + _PACE - self._now()))
            else:
                await self._rest(wait if are_some_full else _WAIT_WHILE_CLOSED)

    async def _poll(
        self, partitions: Sequence[TopicPartition], seconds: float, total: Load
    ) -> None:
        try:
            polled = await self._consumer.poll(
                partitions, seconds=seconds, records=self._poll_records(total)
            )
        except PositionLost as lost:
            polled = {}
            loser = self._assignment.running(lost.partition)
            if loser is not None:
                loser.lose_position(str(lost))
        self.last_poll = self._now()
        for partition, records in polled.items():
            worker = self._assignment.running(partition)
            if worker is not None:
                worker.accept(records)
                self._intake.took(len(records))

    def _poll_records(self, total: Load) -> int:
        records, room = self._flow.poll_records(total), self._intake.room()
        return records if room is None else max(1, min(records, room))

    def _is_rationed(self) -> bool:
        """Whether the next poll brings so little that a partition may go without for long."""
        room = self._intake.room()
        return self._intake.is_probing or (room is not None and room < self._limits.poll_records)

    def _look(self) -> Load:
        """See what each partition that takes records holds; returns the sum."""
        serving = [worker for worker in self._assignment if worker.state is State.RUNNING]
        self._flows = {
            worker: self._flows.get(worker) or PartitionFlow(self._limits) for worker in serving
        }
        return sum((worker.load for worker in serving), Load())

    def _open(self, total: Load) -> tuple[list[TopicPartition], bool]:
        """The partitions to poll, and whether there are others that are full."""
        if not self._flow.update(total):
            return [], True
        share = self._flow.share(total, len(self._flows))
        open_workers = [
            worker
            for worker, flow in self._flows.items()
            if flow.update(worker.load) and worker.load.active < share and not worker.is_full
        ]
        if not self._is_rationed():
            now = self._now()
            for worker in open_workers:
                if now - worker.last_asked > _NOT_ASKED:
                    # What did not come in while nobody asked for it is no sign of being stuck.
                    worker.last_progress = now
                worker.last_asked = now
        are_some_full = len(open_workers) < len(self._flows)
        return [worker.partition for worker in open_workers], are_some_full

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._opened.wait()
        except TimeoutError:
            return
