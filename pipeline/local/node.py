"""A broker process that can be ended in every way there is, and started again."""

import asyncio
import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pipeline.config import KafkaSettings
from pipeline.kafka.connection import ConnectionFailed, check_connection
from pipeline.local.broker import BrokerFailed
from pipeline.local.child import Child, last_lines


class ProcessNode(ABC):
    """One broker process and its data; what it runs is a subclass's business.

    Args:
        name: What errors call it.
        log: Where its output goes.
        start_within: Seconds it has to answer.
        stop_within: Seconds it has to end cleanly.
    """

    poll: ClassVar[float] = 0.01
    """Seconds between two looks at whether it answers yet."""

    def __init__(self, name: str, *, log: Path, start_within: float, stop_within: float) -> None:
        self._name = name
        self._log = log
        self._start_within = start_within
        self._stop_within = stop_within
        self._child: Child | None = None

    @property
    @abstractmethod
    def settings(self) -> KafkaSettings:
        """Settings that reach this node."""

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """The program and its arguments."""

    def _printed(self, output: str) -> bool:  # noqa: ARG002 - for subclasses
        """Whether the output so far says that the node listens; True where it says nothing."""
        return True

    @property
    def address(self) -> str:
        """host:port of its listener, the same over restarts."""
        return self.settings.bootstrap_servers

    @property
    def pid(self) -> int | None:
        """Its process id; None while it is down."""
        return self._child.pid if self._child is not None and self._child.running else None

    def spawn(self) -> None:
        """Start the process without waiting for it; `ready` does."""
        if self.pid is not None:
            raise BrokerFailed(f"{self._name} is already running.")
        self._child = Child(self._command(), log=self._log)

    async def ready(self) -> None:
        """Wait until it answers.

        Raises:
            BrokerFailed: It ended, or did not answer in time; it is not running then.
        """
        try:
            async with asyncio.timeout(self._start_within):
                while not await self._answers():  # noqa: ASYNC110 - another process's state
                    await asyncio.sleep(self.poll)
        except TimeoutError:
            printed = self._tail()
            await self.kill()
            raise BrokerFailed(
                f"{self._name} does not answer after {self._start_within:g} s: {printed}"
            ) from None
        except asyncio.CancelledError:
            await self.kill()
            raise

    async def start(self) -> None:
        """Start it with the data it had, and wait until it answers.

        Raises:
            BrokerFailed: It ended, or did not answer in time; it is not running then.
        """
        self.spawn()
        await self.ready()

    async def stop(self) -> None:
        """End it cleanly (SIGTERM); nothing happens if it is down."""
        if self._child is not None:
            await self._child.stop(self._stop_within)
            self._child = None

    async def kill(self) -> None:
        """End it at once (SIGKILL); nothing happens if it is down."""
        if self._child is not None:
            await self._child.kill()
            self._child = None

    def pause(self) -> None:
        """Freeze it (SIGSTOP)."""
        if self._child is not None:
            self._child.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after a pause (SIGCONT)."""
        if self._child is not None:
            self._child.send(signal.SIGCONT)

    async def _answers(self) -> bool:
        if self._child is None or not self._child.running:
            raise BrokerFailed(f"{self._name} did not start: {self._tail()}")
        if not self._printed(self._child.output()):
            return False
        try:
            await check_connection(self.settings)
        except ConnectionFailed:
            return False
        return True

    def _tail(self) -> str:
        """The last lines it printed, for the error that says it failed."""
        output = "" if self._child is None else self._child.output()
        return last_lines(self._told(output)) or "it printed nothing."

    def _told(self, output: str) -> str:
        """What of its output is worth telling; for subclasses."""
        return output
