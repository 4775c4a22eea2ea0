"""The loop that brings records in."""

import asyncio
from collections.abc import Iterable

from pipeline.stream.assignment import Assignment
from pipeline.stream.brokers import Consumer, TopicPartition
from pipeline.stream.flow import Flow, FlowLimits, Load, PartitionFlow
from pipeline.stream.intake import Intake
from pipeline.stream.worker import PartitionWorker, State

_WAIT = 0.2
"""Seconds that a poll waits for the first record."""
_WAIT_WHILE_SOME_ARE_FULL = 0.02
"""The same while a partition may open at any time."""
_PACE = 0.01
"""Seconds from poll to poll at least. Records that trickle in are fetched and decoded together,
which costs much less and delays none noticeably: a model call takes fifty times as long."""
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
            partitions, are_some_full = self._open() if self._intake.update() else ([], False)
            wait = _WAIT_WHILE_SOME_ARE_FULL if are_some_full else _WAIT
            started = self._now()
            polled = await self._consumer.poll(
                partitions,
                seconds=wait if partitions else 0.0,
                records=self._limits.poll_records,
            )
            self.last_poll = self._now()
            for partition, records in polled.items():
                worker = self._assignment.running(partition)
                if worker is not None:
                    worker.accept(records)
            if partitions:
                await asyncio.sleep(max(0.0, started + _PACE - self._now()))
            else:
                await self._rest(wait if are_some_full else _WAIT_WHILE_CLOSED)

    def _open(self) -> tuple[list[TopicPartition], bool]:
        """The partitions to poll, and whether some others would be polled if they were not full."""
        serving = [worker for worker in self._assignment if worker.state is State.RUNNING]
        loads = {worker: worker.load for worker in serving}
        self._flows = {
            worker: self._flows.get(worker) or PartitionFlow(self._limits) for worker in serving
        }
        total = _sum(loads.values())
        if not self._flow.update(total):
            return [], True
        share = self._flow.share(total, len(serving))
        partitions = [
            worker.partition
            for worker, load in loads.items()
            if self._flows[worker].update(load) and load.active < share
        ]
        return partitions, len(partitions) < len(serving)

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._opened.wait()
        except TimeoutError:
            return


def _sum(loads: Iterable[Load]) -> Load:
    unfinished = active = held_bytes = 0
    for load in loads:
        unfinished += load.unfinished
        active += load.active
        held_bytes += load.held_bytes
    return Load(unfinished, active, held_bytes)
