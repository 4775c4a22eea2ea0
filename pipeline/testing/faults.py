"""The way from one process to the broker, and what can happen on it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from pipeline.stream.protocols import BrokersUnavailable

ResultT = TypeVar("ResultT")
Loss = Literal["request", "response"]
"""What was lost: a request, so that nothing happened, or a response, so that nobody knows."""


class Lost(BrokersUnavailable):
    """No answer came: nobody here knows whether the broker has done it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request. Times in seconds.

    Args:
        before: Until it takes effect.
        after: From there until the response arrives.
        loss: What gets lost on the way.
        is_refused: The broker aborts the transaction for a reason of its own.
    """

    before: float = 0.0
    after: float = 0.0
    loss: Loss | None = None
    is_refused: bool = False


class Faults(Protocol):
    """Decides what happens to requests."""

    def next(self, process: str, request: str) -> Fault:
        """What happens to this one.

        Args:
            process: Who sends it.
            request: `join`, `heartbeat`, `leave`, `fetch`, `commit_offset`, `init`, `begin`,
                `write`, `add_offset`, `end`, `fetch_offset`, `bounds`, `ends`, `first_record`.
        """
        ...


class NoFaults:
    """Everything works, at once."""

    def next(self, process: str, request: str) -> Fault:  # noqa: ARG002 - the protocol's
        """Nothing happens to it."""
        return Fault()


class Link:
    """One process's connection; each request is one step that can fail on its own.

    Args:
        process: Its name, for the faults.
        faults: What happens to requests.
    """

    def __init__(self, process: str, faults: Faults) -> None:
        self.process = process
        self._faults = faults
        self._is_cut = False
        self._thawed = asyncio.Event()
        self._thawed.set()

    @property
    def is_cut(self) -> bool:
        """Whether the process is dead to the broker."""
        return self._is_cut

    def cut(self) -> None:
        """The process dies here and now: nothing it does has any effect any more."""
        self._is_cut = True
        self._thawed.set()

    def freeze(self) -> None:
        """The process stands still; what it was about to do, it does after `thaw`."""
        self._thawed.clear()

    def thaw(self) -> None:
        """It goes on, not knowing how long it stood."""
        self._thawed.set()

    async def request(self, name: str, effect: Callable[[], ResultT]) -> ResultT:
        """Have the broker do something.

        Raises:
            Lost: The request or its response was, or the process is dead.
            Refused: The broker would not.
        """
        fault = self._faults.next(self.process, name)
        await self._travel(fault.before)
        if fault.loss == "request":
            raise Lost(f"{name} did not arrive")
        if fault.is_refused:
            raise Refused(f"the broker refused {name}")
        result = effect()
        await self._travel(fault.after)
        if fault.loss == "response":
            raise Lost(f"the answer to {name} did not arrive")
        return result

    async def _travel(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._thawed.wait()
        if self._is_cut:
            raise Lost("the process is dead")


class Refused(BrokersUnavailable):
    """The broker would not, for a reason of its own that will pass."""
