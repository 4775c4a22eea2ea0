"""The partitions of this process through rebalances: what stays serves on, what goes is drained."""

import asyncio
from collections.abc import Collection
from contextlib import ExitStack

from pipeline.stream.handlers import Answers
from pipeline.stream.partition_worker import PartitionWorker, WorkerContext
from pipeline.stream.protocols import TopicPartition


class Assignment:
    """A worker for each assigned partition.

    A worker keeps its session, its ledger and its running calls for as long as its partition stays
    here. That is safe whatever the group thinks: starting a session fences the one before, so two
    processes never commit for one partition. A partition that is taken away is drained: within the
    drain budget, and until another process has started it.

    Of what is *assigned*, some is *wanted*, and the rest is to be *released*. *Serving* is what has
    a task: what is wanted, and what is still being drained.

    Attributes:
        workers: Of the partitions that are served, those included that are being drained.
        has_joined: Whether the group has assigned anything yet, be it nothing.
        rebalancing_since: Loop time; None while the group is assigned.
    """

    def __init__(self, context: WorkerContext, tasks: asyncio.TaskGroup) -> None:
        self.workers: dict[TopicPartition, PartitionWorker] = {}
        self.has_joined = False
        self._context = context
        self._tasks = tasks
        self._now = asyncio.get_running_loop().time
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._wanted = self._assigned
        self._to_release: set[TopicPartition] = set()
        self._serving: dict[TopicPartition, asyncio.Task[None]] = {}
        self._answers: dict[TopicPartition, Answers] = {}
        self._is_member = asyncio.Event()
        self._is_closed = False
        self.rebalancing_since: float | None = self._now()

    def owned(self) -> Collection[TopicPartition]:
        """What is served now."""
        return self._serving.keys()

    def releasing(self) -> Collection[TopicPartition]:
        """What of that is given up as soon as it is finished."""
        return self._serving.keys() - self._wanted

    async def on_rebalance(self) -> None:
        """Serve on: what is assigned until the group has settled stays."""
        if self.rebalancing_since is None:
            self.rebalancing_since = self._now()

    def on_lost(self) -> None:
        """Commit what is done, if nobody has started its partition, and wait to be assigned again.

        Calls that run go on: their answers are used where the partition comes back.
        """
        if not self._is_closed:
            self._is_member.clear()
        for worker in self.workers.values():
            worker.drain(self._now())

    async def on_assigned(
        self, partitions: Collection[TopicPartition], releasing: Collection[TopicPartition]
    ) -> None:
        """Start what is new, go on with what stays, drain what goes."""
        with ExitStack() as stack:
            stack.push(self._report)
            # Before anything is awaited: records of the position that the consumer takes by
            # itself must not be fetched, let alone delivered.
            self._context.consumer.pause(partitions)
            if self._is_closed:
                return
            self._assigned = frozenset(partitions)
            self._wanted = self._assigned - frozenset(releasing)
            self._context.pacer.partitions = max(1, len(self._wanted))
            for partition in self._answers.keys() - self._assigned - self._serving.keys():
                self._answers[partition].cancel()
            for partition, worker in self.workers.items():
                if partition not in self._wanted:
                    worker.drain(self._now() + self._context.settings.drain_budget)
                elif not worker.is_leaving:
                    worker.resume()
            for partition in sorted(self._wanted - self._serving.keys()):
                self._serving[partition] = self._tasks.create_task(
                    self._serve(partition), name=f"partition {partition}"
                )
            self._is_member.set()
            self._to_release = {each for each in releasing if each in self._serving}
            if releasing and not self._to_release:
                self._context.consumer.rejoin()
            self.has_joined = True
            since, self.rebalancing_since = self.rebalancing_since, None
            self._context.observer.rebalanced(
                self._context.stage,
                partitions=len(partitions),
                seconds=0.0 if since is None else self._now() - since,
            )

    async def close(self, *, drain_budget: float) -> None:
        """Let all partitions go for good and cancel what still runs."""
        self._is_closed = True
        self._wanted = frozenset()
        self._is_member.set()
        for worker in self.workers.values():
            worker.drain(self._now() + drain_budget)
        if self._serving:
            await asyncio.wait(self._serving.values())
        for answers in self._answers.values():
            await answers.close()

    async def _serve(self, partition: TopicPartition) -> None:
        context = self._context
        answers = self._answers.setdefault(
            partition,
            Answers(
                context.handler,
                context.slots,
                completed=context.completed,
                fail=context.fail,
                rescue=context.rescue,
            ),
        )
        try:
            await self._is_member.wait()
            # It may be lost, or be assigned again while it is drained.
            while partition in self._wanted:
                self.workers[partition] = PartitionWorker(partition, answers, context)
                await self.workers[partition].run()
                await self._is_member.wait()
        finally:
            self.workers.pop(partition, None)
            del self._serving[partition]
            if partition not in self._assigned:
                # Of what still runs nothing can be published here.
                answers.cancel()
            context.observer.revoked(context.stage, partition.topic, partition.partition)
        if partition in self._to_release:
            self._to_release.discard(partition)
            if not self._to_release:
                context.consumer.rejoin()

    def _report(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Fail for what escapes from a rebalance callback: consumers only log it, and go on."""
        if error is not None and not isinstance(error, asyncio.CancelledError):
            self._context.fail(error)
