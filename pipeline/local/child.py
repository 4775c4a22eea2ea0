"""A child process: a server that this process started and that must not outlive it."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pipeline.model.errors import PipelineError
from pipeline.runtime.process import dies_with_parent

T = TypeVar("T")
_POLL, _SLOWEST_POLL = 0.01, 0.1


class StartFailed(PipelineError):
    """A program on this machine ended, or was not up in time; the text says why."""


class Child:
    """A running command, in a session of its own, with its output in a file.

    It is not bound to an event loop, so a test session may start it in one loop and stop it in
    another. Ctrl-C on a terminal does not reach it: its parent decides when it ends.

    Args:
        command: The program and its arguments.
        log: Where standard output and standard error are appended; None leaves it the terminal,
            the session and standard input of this process.
        cwd: The working directory; the log's if unset.
        env: Environment variables on top of this process's own.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path | None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        command = dies_with_parent(
            command, when_parent_dies=signal.SIGTERM if log is None else signal.SIGKILL
        )
        environment = {**os.environ, **(env or {})}
        self._log = log
        self._log_start = 0
        if log is None:
            self._process = subprocess.Popen(command, cwd=cwd, env=environment)  # noqa: S603 - the user's own command
            return
        self._log_start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - no shell, arguments are the project's
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd or log.parent,
                env=environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def output(self) -> str:
        """What it has printed so far; empty where that is not kept."""
        if self._log is None:
            return ""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if it has ended."""
        self._process.send_signal(number)

    async def wait(self) -> int:
        """Wait until it has ended, and return the exit code; negative if a signal ended it."""
        pause = _POLL
        while (code := self._process.poll()) is None:
            await asyncio.sleep(pause)
            # What runs for hours need not be looked at a hundred times a second.
            pause = min(1.1 * pause, _SLOWEST_POLL)
        return code

    async def until(self, found: Callable[[str], T | None], name: str, *, within: float) -> T:
        """Wait until `found` makes something of what it has printed so far.

        Raises:
            StartFailed: It ended before that, or it took more than `within` seconds.
        """
        try:
            async with asyncio.timeout(within):
                while (value := found(self.output())) is None:
                    if not self.running:
                        raise StartFailed(f"{name} did not start: {self.last_words()}")
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            late = f"{name} is not up after {within:g} s: {self.last_words()}"
            raise StartFailed(late) from None
        return value

    def last_words(self) -> str:
        """The end of its output on one line, for an error."""
        return last_lines(self.output()) or "it printed nothing"

    async def stop(self, within: float) -> int:
        """Ask it to end, and kill it if it has not after `within` seconds."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(within):
                return await self.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """Kill it at once: `kill -9`."""
        self.send(signal.SIGKILL)
        return await self.wait()


class CommandFailed(PipelineError):
    """A command ended with an error; the text is the last of what it printed."""


async def run(command: Sequence[str], *, log: Path) -> str:
    """Run a command to its end and return what it printed.

    Raises:
        CommandFailed: Its exit code is not 0.
    """
    child = Child(command, log=log)
    try:
        code = await child.wait()
    except asyncio.CancelledError:
        await child.kill()
        raise
    output = child.output()
    if code != 0:
        raise CommandFailed(last_lines(output) or f"it ended with {code} and printed nothing.")
    return output


def last_lines(output: str, count: int = 5) -> str:
    """The end of an output on one line, for an error."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return " / ".join(lines[-count:])
