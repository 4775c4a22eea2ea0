"""A broker on this machine, whichever it is."""

from collections.abc import Mapping, Sequence
from typing import Protocol, Self

from pipeline.errors import PipelineError
from pipeline.settings import KafkaSettings


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
