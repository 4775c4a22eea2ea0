"""The embedded broker: noida-db, a Kafka protocol server that comes as a Python package."""

import importlib.metadata
import importlib.util
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from pipeline.config import KafkaSettings
from pipeline.local.broker import BrokerFailed, BrokerMissing
from pipeline.local.node import ProcessNode

_LISTENS = re.compile(r"^\s*kafka\s+127\.0\.0\.1:(\d+)\s*$", re.MULTILINE)
_LOADER_WARNING = re.compile(r"^.*weak version `GLIBC_.*$", re.MULTILINE)
"""Of an optional symbol, on systems where it runs well without."""


class NoidaBroker:
    """One noida-db process on loopback.

    It has transactions, but a consumer that dies without leaving its group stays a member for
    ever, an idle fetch is answered at once, and a kill loses the last second of data: tests of
    such faults belong on Apache Kafka. Of each partition it keeps the newest 32 MiB.

    Args:
        port: Where it listens; 0 for a free one, which it picks itself, so there is no race.
        data_dir: Where its data lives and stays; a temporary directory if unset.
    """

    def __init__(self, *, port: int = 0, data_dir: Path | None = None) -> None:
        self._temporary = data_dir is None
        self._directory = data_dir or Path(tempfile.gettempdir())
        self._port = port
        self._node: NoidaNode | None = None

    @property
    def name(self) -> str:
        """The package and its version."""
        return f"noida-db {importlib.metadata.version('noida-db')}"

    @property
    def bootstrap_servers(self) -> str:
        """host:port of its only node."""
        return self.settings.bootstrap_servers

    @property
    def settings(self) -> KafkaSettings:
        """Settings that reach it."""
        return self._running().settings

    @property
    def topic_configs(self) -> Mapping[str, str]:
        """Bounds, because it keeps several times a topic's size in memory while it saves."""
        return {"retention.bytes": str(32 << 20), "segment.bytes": str(8 << 20)}

    @property
    def nodes(self) -> Sequence["NoidaNode"]:
        """Its only node."""
        return (self._running(),)

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            BrokerMissing: It is not installed.
            BrokerFailed: It ended, or did not answer in time.
        """
        program = _program()
        if self._temporary:
            self._directory = Path(tempfile.mkdtemp(prefix="haiku-pipeline-"))
        self._directory.mkdir(parents=True, exist_ok=True)
        self._node = NoidaNode(program, self._directory, self._port)
        try:
            await self._node.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End it cleanly and remove its data, unless its place was given."""
        if self._node is None:
            return
        await self._node.stop()
        self._node = None
        if self._temporary:
            shutil.rmtree(self._directory, ignore_errors=True)

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    def _running(self) -> "NoidaNode":
        if self._node is None:
            raise BrokerFailed("The embedded broker is not started.")
        return self._node


class NoidaNode(ProcessNode):
    """The process of the embedded broker."""

    def __init__(self, program: Path, directory: Path, port: int) -> None:
        super().__init__(
            "The embedded broker",
            log=directory / "noida-db.log",
            start_within=10,
            stop_within=10,
        )
        self._program = program
        self._directory = directory
        self._port = port

    @property
    def settings(self) -> KafkaSettings:
        """Settings that reach it, and keep it and its clients from spinning while idle."""
        return KafkaSettings(bootstrap_servers=f"127.0.0.1:{self._port}", idle_fetch_pause=0.03)

    def _command(self) -> Sequence[str]:
        return [
            *(str(self._program), "start", "--only", "kafka", "--host", "127.0.0.1"),
            *("--kafka-port", str(self._port), "--data-dir", str(self._directory)),
        ]

    def _printed(self, output: str) -> bool:
        listens = _LISTENS.search(output)
        if listens is None:
            return False
        self._port = int(listens[1])
        return True

    def _told(self, output: str) -> str:
        return _LOADER_WARNING.sub("", output)


def _program() -> Path:
    package = importlib.util.find_spec("noida_db")
    if package is None or package.origin is None:
        raise BrokerMissing(
            "The embedded broker is not installed: install haiku-pipeline with the extra 'local', "
            "or set kafka.bootstrap_servers to a broker that runs."
        )
    program = Path(package.origin).with_name("noida-db")
    mode = program.stat().st_mode
    if not mode & stat.S_IXUSR:
        # Wheels lose the executable bit; the package's own launcher sets it in the same way.
        program.chmod(mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return program
