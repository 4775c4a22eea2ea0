"""A broker on this machine, whichever it is, and the embedded one: noida-db, a Python package.

`pipeline.local.apache` has the other one. Neither start nor stop is bound to the event loop it
runs in, so a test session may start a broker in one loop and stop it in another.
"""

import asyncio
import importlib.metadata
import importlib.util
import random
import re
import shutil
import signal
import socket
import stat
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import ClassVar, Self

from pipeline.config import KafkaSettings
from pipeline.kafka.connection import ConnectionFailed, check_connection
from pipeline.local.child import Child, last_lines
from pipeline.model.errors import PipelineError

_FIRST, _LAST = 20_000, 32_000
"""Ports below those that Linux and macOS take for outgoing connections, so that none of those takes
one between its choice and its use, or while a server restarts."""
_LISTENS = re.compile(r"^\s*kafka\s+127\.0\.0\.1:(\d+)\s*$", re.MULTILINE)
_LOADER_WARNING = re.compile(r"^.*weak version `GLIBC_.*$", re.MULTILINE)
"""The warning of an optional symbol, on systems where noida-db runs well without."""


class BrokerFailed(PipelineError):
    """A local broker could not be started; the text says why and what to do."""


class BrokerMissing(PipelineError):
    """What a local broker needs is not on this machine; the text says what to install."""


class BrokerNode(ABC):
    """One broker process and its data: it can be ended in every way, and started again.

    Args:
        name: What errors call it.
        log: Where its output goes.
        start_within: Seconds it has to answer.
        stop_within: Seconds it has to end cleanly.
    """

    settings: KafkaSettings
    """Settings that reach this node."""
    poll: ClassVar[float] = 0.01
    """Seconds between two looks at whether it answers yet."""

    def __init__(self, name: str, *, log: Path, start_within: float, stop_within: float) -> None:
        self._name = name
        self._log = log
        self._start_within = start_within
        self._stop_within = stop_within
        self._child: Child | None = None

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """The program and its arguments."""

    def _listens(self, output: str) -> bool:  # noqa: ARG002 - for subclasses
        """Whether the output so far says that the node listens; True where it says nothing."""
        return True

    def _errors(self, output: str) -> str:
        return output

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
        within = self._start_within
        try:
            async with asyncio.timeout(within):
                while not await self._answers():  # noqa: ASYNC110 - another process's state
                    await asyncio.sleep(self.poll)
        except TimeoutError:
            failure = f"{self._name} does not answer after {within:g} s: {self._printed()}"
            await self.kill()
            raise BrokerFailed(failure) from None
        except asyncio.CancelledError:
            await self.kill()
            raise

    async def start(self) -> None:
        """Start it with the data it had, and wait until it answers; raises as `ready` does."""
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
            raise BrokerFailed(f"{self._name} did not start: {self._printed()}")
        if not self._listens(self._child.output()):
            return False
        try:
            await check_connection(self.settings)
        except ConnectionFailed:
            return False
        return True

    def _printed(self) -> str:
        output = "" if self._child is None else self._child.output()
        return last_lines(self._errors(output)) or "it printed nothing."


class LocalBroker(ABC):
    """One or more nodes with their data, from `async with` to its end.

    Attributes:
        nodes: Each can be ended and started again; empty while the broker is not started.
        topic_configs: What topics need on this broker, beyond what every broker gets.
    """

    nodes: Sequence[BrokerNode] = ()
    topic_configs: ClassVar[Mapping[str, str]] = {}

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is, with its version."""

    @property
    @abstractmethod
    def settings(self) -> KafkaSettings:
        """Settings that reach it, credentials included where it asks for them.

        Raises:
            BrokerFailed: It is not started.
        """

    @abstractmethod
    async def start(self) -> None:
        """Start all nodes and wait until they answer.

        Raises:
            BrokerMissing: What it needs is not installed.
            BrokerFailed: They did not; nothing of them is left running.
        """

    @abstractmethod
    async def stop(self) -> None:
        """End all nodes and remove their data."""

    @property
    def bootstrap_servers(self) -> str:
        return self.settings.bootstrap_servers

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


class NoidaBroker(LocalBroker):
    """One noida-db process on loopback.

    It has transactions, but a consumer that dies without leaving its group stays a member for
    ever, an idle fetch is answered at once, and a kill loses the last second of data: tests of
    such faults belong on Apache Kafka. Of each partition it keeps the newest 32 MiB.

    Args:
        port: Where it listens; 0 for a free one, which it picks itself, so there is no race.
    """

    # Bounds, because it keeps several times a topic's size in memory while it saves.
    topic_configs: ClassVar[Mapping[str, str]] = {
        "retention.bytes": str(32 << 20),
        "segment.bytes": str(8 << 20),
    }

    def __init__(self, *, port: int = 0) -> None:
        self._port = port
        self._directory: Path | None = None

    @property
    def name(self) -> str:
        return f"noida-db {importlib.metadata.version('noida-db')}"

    @property
    def settings(self) -> KafkaSettings:
        if not self.nodes:
            raise BrokerFailed("The embedded broker is not started.")
        return self.nodes[0].settings

    async def start(self) -> None:
        package = importlib.util.find_spec("noida_db")
        if package is None or package.origin is None:
            raise BrokerMissing(
                "The embedded broker is not installed: install haiku-pipeline with the extra "
                "'local', or set kafka.bootstrap_servers to a broker that runs."
            )
        program = Path(package.origin).with_name("noida-db")
        mode = program.stat().st_mode
        if not mode & stat.S_IXUSR:
            # Wheels lose the executable bit; the package's own launcher sets it in the same way.
            program.chmod(mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        self._directory = Path(tempfile.mkdtemp(prefix="haiku-pipeline-"))
        self.nodes = (_NoidaNode(program, self._directory, self._port),)
        try:
            await self.nodes[0].start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        for node in self.nodes:
            await node.stop()
        self.nodes = ()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None


class _NoidaNode(BrokerNode):
    def __init__(self, program: Path, directory: Path, port: int) -> None:
        log = directory / "noida-db.log"
        super().__init__("The embedded broker", log=log, start_within=10, stop_within=10)
        self._program = program
        self._directory = directory
        self._listens_on(port)

    def _listens_on(self, port: int) -> None:
        self._port = port
        # The pause keeps it and its clients from spinning while idle.
        servers = f"127.0.0.1:{port}"
        # No member expires there, so heartbeats need not come often; one in the middle of a join
        # has left a member of the group without an assignment.
        self.settings = KafkaSettings(
            bootstrap_servers=servers, idle_fetch_pause=0.03, session_timeout=20
        )

    def _command(self) -> Sequence[str]:
        return [
            *(str(self._program), "start", "--only", "kafka", "--host", "127.0.0.1"),
            *("--kafka-port", str(self._port), "--data-dir", str(self._directory)),
        ]

    def _listens(self, output: str) -> bool:
        if (listens := _LISTENS.search(output)) is None:
            return False
        self._listens_on(int(listens[1]))
        return True

    def _errors(self, output: str) -> str:
        return _LOADER_WARNING.sub("", output)


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nobody listens on at this moment."""
    with ExitStack() as held:
        free = (
            port
            for port in random.sample(range(_FIRST, _LAST), _LAST - _FIRST)
            if _takes(held.enter_context(socket.socket()), "127.0.0.1", port)
        )
        return list(islice(free, count))


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
