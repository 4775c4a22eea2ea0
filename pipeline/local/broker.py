"""A broker on this machine, whichever it is.

Free ports for servers that must know theirs before they start.
"""

import random
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Protocol, Self

from pipeline.config import KafkaSettings
from pipeline.model.errors import PipelineError


class BrokerFailed(PipelineError):
    """A local broker could not be started; the text says why and what to do."""


class BrokerMissing(PipelineError):
    """What a local broker needs is not on this machine; the text says what to install."""


class LocalNode(Protocol):
    """One broker process, for those who want to see it fail."""

    @property
    def address(self) -> str:
        """host:port of its listener, the same over restarts."""
        ...

    @property
    def pid(self) -> int | None:
        """Its process id; None while it is down."""
        ...

    async def start(self) -> None:
        """Start it with the data it had, and wait until it answers.

        Raises:
            BrokerFailed: It ended, or did not answer in time.
        """
        ...

    async def stop(self) -> None:
        """End it cleanly (SIGTERM); nothing happens if it is down."""
        ...

    async def kill(self) -> None:
        """End it at once (SIGKILL); nothing happens if it is down."""
        ...

    def pause(self) -> None:
        """Freeze it (SIGSTOP)."""
        ...

    def resume(self) -> None:
        """Go on after a pause (SIGCONT)."""
        ...


class LocalBroker(Protocol):
    """One or more nodes with their data, from `async with` to its end.

    Neither start nor stop is bound to the event loop they run in.
    """

    @property
    def name(self) -> str:
        """What it is, with its version."""
        ...

    @property
    def bootstrap_servers(self) -> str:
        """host:port of every node, comma-separated."""
        ...

    @property
    def settings(self) -> KafkaSettings:
        """Settings that reach it, credentials included where it asks for them."""
        ...

    @property
    def topic_configs(self) -> Mapping[str, str]:
        """Configuration that topics need on this broker, beyond what every broker gets."""
        ...

    @property
    def nodes(self) -> Sequence[LocalNode]:
        """The nodes, each of which can be ended and started again."""
        ...

    async def start(self) -> None:
        """Start all nodes and wait until they answer.

        Raises:
            BrokerMissing: What it needs is not installed.
            BrokerFailed: They did not; nothing of them is left running.
        """
        ...

    async def stop(self) -> None:
        """End all nodes and remove their data, unless its place was given."""
        ...

    async def __aenter__(self) -> Self:
        """Start."""
        ...

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        ...


_FIRST, _LAST = 20_000, 32_000
"""Below where Linux and macOS take ports for outgoing connections, so that none of those takes a
port between its choice and its use, or while a server restarts."""


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nobody listens on at this moment."""
    chosen: list[int] = []
    with ExitStack() as held:
        for port in random.sample(range(_FIRST, _LAST), _LAST - _FIRST):
            if len(chosen) == count:
                break
            if _takes(held.enter_context(socket.socket()), "127.0.0.1", port):
                chosen.append(port)
    return chosen


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there at this moment."""
    with socket.socket() as probe:
        return _takes(probe, host, port)


def _takes(probe: socket.socket, host: str, port: int) -> bool:
    # As servers do, or a connection that was closed a minute ago would count as taken.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((host, port))
    except OSError:
        return False
    return True
