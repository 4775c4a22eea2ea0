"""Time that tests drive: an event loop in which waiting costs nothing."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


class NothingWillHappen(RuntimeError):
    """Every task waits for something and no timer is set: a deadlock."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands while tasks run and jumps to the next timer when all wait.

    What runs in it is deterministic, however long it takes and however busy the machine is.
    Nothing in it may wait for anything outside.
    """

    def __init__(self) -> None:
        self._selector_of_jumps = _JumpingSelector()
        super().__init__(self._selector_of_jumps)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._selector_of_jumps.now


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for a while it moves the clock by it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0) if timeout is None else []
        if ready:
            return ready
        if timeout is None:
            raise NothingWillHappen("all tasks wait, and no timer is set")
        self.now += max(0.0, timeout)
        return []


def run_in_virtual_time(main: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine to its end in an event loop of its own."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
