"""Which partitions are ours, and what happens when that changes."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from types import TracebackType
from typing import Self

from pipeline.stream.handlers import Answers
from pipeline.stream.pacing import WorkerContext
from pipeline.stream.partition_worker import PartitionWorker, State
from pipeline.stream.protocols import TopicPartition

_COMMIT_MARGIN = 5.0
"""Seconds that the last commit may take after the drain budget, before the session is left to be
settled by the partition's next owner."""


class _Fatal:
    """Reports what escapes from a rebalance callback: consumers only log it, and go on."""

    def __init__(self, tools: WorkerContext) -> None:
        self._tools = tools

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, asyncio.CancelledError):
            self._tools.fail(error)


class Assignment:
    """The partitions of this process: a worker for each.

    A consumer revokes all its partitions before each rebalance and names those that are ours
    afterwards, which are mostly the same. So each worker ends with the revocation, while calls
    that outlast the drain budget go on; for a partition that comes back their answers are used.

    Args:
        tools: What all workers share.
        new_answers: Makes the answers of a partition.
        tasks: Owns the workers' tasks.
        drain_budget: Seconds that running calls get on revocation.
    """

    def __init__(
        self,
        tools: WorkerContext,
        new_answers: Callable[[], Answers],
        tasks: asyncio.TaskGroup,
        *,
        drain_budget: float,
    ) -> None:
        self._tools = tools
        self._new_answers = new_answers
        self._tasks = tasks
        self._drain_budget = drain_budget
        self._now = asyncio.get_running_loop().time
        self._workers: dict[TopicPartition, tuple[PartitionWorker, asyncio.Task[None]]] = {}
        self._answers: dict[TopicPartition, Answers] = {}
        self._releasing = asyncio.Lock()
        self._is_closed = False
        self._has_joined = False
        self._standing_since: float | None = self._now()

    @property
    def has_joined(self) -> bool:
        """Whether the group has ever told us what is ours; that may be nothing."""
        return self._has_joined

    @property
    def standing_since(self) -> float | None:
        """Since when a rebalance goes on; None while none does."""
        return self._standing_since

    def __len__(self) -> int:
        return len(self._workers)

    def __iter__(self) -> Iterator[PartitionWorker]:
        return (worker for worker, _ in self._workers.values())

    def running(self, partition: TopicPartition) -> PartitionWorker | None:
        """The worker of a partition, if it takes records."""
        worker, _ = self._workers.get(partition, (None, None))
        return worker if worker is not None and worker.state is State.RUNNING else None

    async def on_revoked(self, partitions: Collection[TopicPartition]) -> None:  # noqa: ARG002 - it is always all of them
        """Let all partitions go: commit what is done within the drain budget."""
        with _Fatal(self._tools):
            if self._standing_since is None:
                self._standing_since = self._now()
            await self._release(self._drain_budget)

    async def on_assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Start a worker for each, in tasks: meanwhile no heartbeat is sent."""
        with _Fatal(self._tools):
            # Before anything is awaited: records of the position that the consumer takes by
            # itself must not be fetched, let alone delivered.
            self._tools.consumer.pause(partitions)
            for partition in self._answers.keys() - set(partitions):
                self._answers[partition].cancel()
            if self._is_closed:
                return
            for partition in sorted(partitions):
                self._begin(partition)
            self._has_joined = True
            since = self._standing_since
            self._standing_since = None
            self._tools.observer.rebalanced(
                self._tools.stage,
                partitions=len(partitions),
                seconds=0.0 if since is None else self._now() - since,
            )

    async def close(self, *, drain_budget: float) -> None:
        """Let all partitions go for good and cancel what still runs."""
        self._is_closed = True
        await self._release(drain_budget)
        for answers in self._answers.values():
            await answers.close()

    def _begin(self, partition: TopicPartition) -> None:
        if partition not in self._answers:
            self._answers[partition] = self._new_answers()
        answers = self._answers[partition]
        worker = PartitionWorker(partition, answers, self._tools)
        task = self._tasks.create_task(worker.run(), name=f"partition {partition}")
        self._workers[partition] = (worker, task)

    async def _release(self, budget: float) -> None:
        # A rebalance may begin while the partitions are let go for good; the group must not give
        # them to others before that is done.
        async with self._releasing:
            leaving = self._workers
            deadline = self._now() + budget
            for worker, task in leaving.values():
                was_serving = worker.state in {State.RUNNING, State.DRAINING}
                worker.drain(deadline)
                if not was_serving:
                    task.cancel()
            if leaving:
                await _end([task for _, task in leaving.values()], budget + _COMMIT_MARGIN)
            self._workers = {}
            for partition in leaving:
                self._tools.observer.revoked(
                    self._tools.stage, partition.topic, partition.partition
                )


async def _end(tasks: Collection[asyncio.Task[None]], seconds: float) -> None:
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)
