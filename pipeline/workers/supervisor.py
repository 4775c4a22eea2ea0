"""Runs N processes of the same command, restarts those that end, drains all on one signal.

When to start a process again that ended: a decision, never a sleep.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from pipeline.runtime.shutdown import dies_with_parent


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Exponential backoff that forgets a failure once a process has lived long enough.

    Args:
        first: Seconds before the first restart.
        longest: Seconds between restarts at most.
        healthy_after: Seconds of life after which an end counts as the first again.
    """

    first: float = 0.5
    longest: float = 30.0
    healthy_after: float = 60.0


@dataclass(frozen=True, slots=True)
class Restarts:
    """What is known of one process slot: how many times in a row it ended early."""

    early_ends: int = 0

    def ended(self, policy: RestartPolicy, *, lived: float) -> tuple["Restarts", float]:
        """The process ended after `lived` seconds: what is known now, and seconds to wait."""
        if lived >= policy.healthy_after:
            return Restarts(early_ends=1), policy.first
        # The exponent is capped only so that it stays a number: the delay is capped below.
        delay = policy.first * 2.0 ** min(self.early_ends, 60)
        return Restarts(self.early_ends + 1), min(delay, policy.longest)


WRONG_USE = 2
log = structlog.get_logger(__name__)


class Process(Protocol):
    """A running worker; `asyncio.subprocess.Process` is one."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    async def wait(self) -> int:
        """Wait for its end and return its exit code, negative for a signal."""
        ...

    def send_signal(self, signal: int) -> None:
        """Send it a signal."""
        ...


Spawn = Callable[[int], Awaitable[Process]]
"""Starts the worker with that index."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What is known of one worker.

    Args:
        pid: None while it waits for its restart.
        starts: How often it was started.
        last_exit: Exit code of the last end, None before the first.
    """

    index: int
    pid: int | None
    starts: int
    last_exit: int | None


class Supervisor:
    """Keeps workers running until it is told to stop.

    Args:
        spawn: Starts a worker.
        workers: How many.
        policy: When to restart.
        stop_within: Seconds a worker gets between SIGTERM and SIGKILL: more than its drain budget.
        clock: Seconds, monotonic.
        sleep: Waits for seconds.
    """

    def __init__(
        self,
        spawn: Spawn,
        workers: int,
        *,
        policy: RestartPolicy,
        stop_within: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._spawn = spawn
        self._policy = policy
        self._stop_within = stop_within
        self._clock = clock
        self._sleep = sleep
        self._states = [WorkerState(index, None, 0, None) for index in range(workers)]

    @property
    def states(self) -> Sequence[WorkerState]:
        """What is known of each worker, by index."""
        return tuple(self._states)

    async def run(self, stop: asyncio.Event) -> int:
        """Run until `stop` is set and every worker has ended.

        Returns:
            The exit code: 0 where all drained, else the worst of theirs. A worker that says that
            it is used wrongly would say so again: all stop, and its code is returned.
        """
        async with asyncio.TaskGroup() as group:
            slots = [
                group.create_task(self._keep(state.index, stop), name=f"worker-{state.index}")
                for state in self._states
            ]
        codes = {slot.result() for slot in slots}
        if WRONG_USE in codes:
            return WRONG_USE
        return 1 if codes != {0} else 0

    async def _keep(self, index: int, stop: asyncio.Event) -> int:
        restarts, code = Restarts(), 0
        while not stop.is_set():
            started = self._clock()
            code = await self._one_life(index, stop)
            if code == WRONG_USE:
                stop.set()
            if stop.is_set():
                break
            restarts, delay = restarts.ended(self._policy, lived=self._clock() - started)
            log.warning("worker_ended", worker=index, exit_code=code, restart_in_seconds=delay)
            await _either(stop.wait(), self._sleep(delay))
        return code

    async def _one_life(self, index: int, stop: asyncio.Event) -> int:
        """Start a worker and return its exit code; where it cannot be started, 1."""
        try:
            process = await self._spawn(index)
        except OSError as error:
            # No memory or no process left, say. The others go on, and it is tried again.
            log.error("worker_not_started", worker=index, because=str(error))  # noqa: TRY400
            return 1
        self._note(index, pid=process.pid, starts=self._states[index].starts + 1)
        log.info("worker_started", worker=index, pid=process.pid)
        try:
            code = await self._until_it_ends(process, stop)
        finally:
            self._note(index, pid=None, starts=self._states[index].starts)
        self._note(index, pid=None, starts=self._states[index].starts, last_exit=code)
        return code

    async def _until_it_ends(self, process: Process, stop: asyncio.Event) -> int:
        """Wait for its end; once `stop` is set, make sure that it comes."""
        ending = asyncio.ensure_future(process.wait())
        try:
            await _either(asyncio.shield(ending), stop.wait())
            if not ending.done():
                _send(process, signal.SIGTERM)
                await asyncio.wait([ending], timeout=self._stop_within)
            if not ending.done():
                log.error("worker_killed", pid=process.pid, after_seconds=self._stop_within)
                _send(process, signal.SIGKILL)
            return await ending
        except asyncio.CancelledError:
            _send(process, signal.SIGKILL)
            await ending
            raise

    def _note(
        self, index: int, *, pid: int | None, starts: int, last_exit: int | None = None
    ) -> None:
        known = self._states[index].last_exit
        code = known if last_exit is None else last_exit
        self._states[index] = WorkerState(index, pid, starts, code)


def _send(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it ended in this very moment
        process.send_signal(number)


async def _either(*awaitables: Awaitable[object]) -> None:
    """Wait for the first of them; the others are cancelled."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def subprocess_spawn(
    arguments: Sequence[str], environment: Callable[[int], Mapping[str, str]]
) -> Spawn:
    """Spawn `python -m pipeline.cli` with these arguments, and the environment of that index."""
    command = (sys.executable, "-m", "pipeline.cli", *arguments)

    async def spawn(index: int) -> Process:
        # Ctrl-C on a terminal is for the supervisor: a worker would take it for a second signal.
        return await asyncio.create_subprocess_exec(
            *dies_with_parent(command, when_parent_dies=signal.SIGTERM),
            env=dict(environment(index)),
            start_new_session=True,
        )

    return spawn


def socket_path(directory: Path, index: int) -> Path:
    """Where worker `index` serves its HTTP, for the supervisor alone."""
    return directory / f"worker-{index}.sock"
