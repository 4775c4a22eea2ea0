"""Replicas: processes of the pipeline that are started, ended and frozen from here."""

import asyncio
import json
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.local.child import Child, last_lines
from pipeline.local.simulated.exchange import scope_of
from tests.faults.waiting import until

_ROOT = Path(__file__).parents[2]
_WATCH = 0.5
_LINES_OF_AN_END = 4
_ANSWER_WITHIN = 2.0
_ASSIGNED = re.compile(r'^pipeline_assigned_partitions{stage="(\w+)"} [1-9]', re.MULTILINE)
STOP_WITHIN = 45.0
"""Seconds that a replica has between SIGTERM and its end: drain, last commit, goodbye."""


@dataclass(frozen=True, slots=True)
class UnaskedEnd:
    """A replica ended though nobody had asked it to."""

    replica: str
    code: int
    said: str


class Replica:
    """One process slot; each start is a caller of its own to the simulated API.

    Args:
        number: Which one.
        stages: What it runs.
        environment: Variables that point it at brokers and API, and all other settings.
        directory: Where its logs go.
        module: Whose command line it is.
    """

    def __init__(
        self,
        number: int,
        stages: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        *,
        module: str = "pipeline.cli",
    ) -> None:
        self.name = f"replica {number}"
        self.unasked: list[UnaskedEnd] = []
        self.late_ends = 0
        self._command = [sys.executable, "-m", module, "run", "--json", *stages]
        self._environment = {**environment, "PYTHONPATH": str(_ROOT), "PIPELINE_HTTP__PORT": "0"}
        self._number = number
        self._directory = directory
        self._stages = set(stages)
        self._starts = 0
        self._child: Child | None = None
        self._is_wanted = False
        self.is_frozen = False
        self.deliveries: set[str] = set()

    @property
    def caller(self) -> str:
        """What the simulated API calls the process that runs, or ran last."""
        return scope_of(self._key)

    @property
    def pid(self) -> int | None:
        """Of the process that runs; None where none does."""
        return self._child.pid if self._child is not None and self._child.running else None

    @property
    def dashboard(self) -> str | None:
        """Where its HTTP port is, once it says so."""
        said = self._announced()
        return said["dashboard"] if said is not None else None

    @property
    def said(self) -> str:
        """All that its processes have written so far."""
        logs = sorted(self._directory.glob(f"replica-{self._number}-*.log"))
        return "".join(log.read_text(errors="replace") for log in logs)

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._child is not None and self._child.running

    def start(self) -> None:
        """Start the process; it is in its group seconds later."""
        self._note_delivery()
        self._starts += 1
        log = self._directory / f"replica-{self._number}-{self._starts:03d}.log"
        environment = {**self._environment, "ANTHROPIC_API_KEY": self._key}
        self._child = Child(self._command, log=log, env=environment)
        self._is_wanted = True

    def asked(self, path: str) -> str:
        """What it answers at a path of its HTTP port, an error too; empty where nothing does."""
        at = self.dashboard
        if at is None:
            return ""
        try:
            with urllib.request.urlopen(f"{at}{path}", timeout=_ANSWER_WITHIN) as response:
                answer: bytes = response.read()
        except urllib.error.HTTPError as refused:
            with refused:
                answer = refused.read()
        except OSError:
            return ""
        return answer.decode()

    def counted(self, sample: str) -> float:
        """The value of a sample, by its name and its labels as they are written."""
        lines = (line.rpartition(" ") for line in self.asked("/metrics").splitlines())
        return sum(float(value) for name, _, value in lines if name == sample)

    async def joined(self, within: float) -> bool:
        """Wait until it has partitions of all its groups, which others may have to release first.

        Returns:
            Whether that came about in time.
        """
        return await until(self._has_joined, within)

    async def kill(self) -> float:
        """`kill -9`; returns when it was sent."""
        self._is_wanted = False
        at = self._signal(signal.SIGKILL)
        await self._ended()
        return at

    async def terminate(self) -> float:
        """SIGTERM; returns when it had ended."""
        self._is_wanted = False
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_WITHIN):
                await self._ended()
        except TimeoutError:
            self.late_ends += 1
            return await self.kill()
        return time.time()

    def freeze(self) -> float:
        """SIGSTOP; returns when it was sent."""
        self._is_wanted, self.is_frozen = False, True
        return self._signal(signal.SIGSTOP)

    def thaw(self) -> float:
        """SIGCONT; returns when it was sent."""
        at = self._signal(signal.SIGCONT)
        self._is_wanted, self.is_frozen = True, False
        return at

    async def watch(self) -> None:
        """Start it again whenever it ends by itself, as its supervisor would, until cancelled."""
        while True:
            await asyncio.sleep(_WATCH)
            if self._is_wanted and self._child is not None and not self.running:
                code = await self._child.wait()
                said = last_lines(self._child.output(), _LINES_OF_AN_END)
                self.unasked.append(UnaskedEnd(self.name, code, said))
                self.start()

    async def stop(self) -> None:
        """End it, whatever state it is in."""
        if self.running:
            self.thaw()
            await self.terminate()
        self._note_delivery()
        self._child = None

    @property
    def _key(self) -> str:
        return f"replica-{self._number}-{self._starts}"

    def _signal(self, number: signal.Signals) -> float:
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        self._child.send(number)
        return time.time()

    async def _ended(self) -> None:
        if self._child is not None:
            await self._child.wait()

    def _announced(self) -> dict[str, str] | None:
        """What the process said once all of it was up."""
        for line in self._child.output().splitlines() if self._child is not None else ():
            if line.startswith('{"dashboard"'):
                said: dict[str, str] = json.loads(line)
                return said
        return None

    def _note_delivery(self) -> None:
        """Note which delivery the process said was in force."""
        said = self._announced()
        if said is not None:
            self.deliveries.add(said["delivery"])

    def _has_joined(self) -> bool:
        return set(_ASSIGNED.findall(self.asked("/metrics"))) >= self._stages
