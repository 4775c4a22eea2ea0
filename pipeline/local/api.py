"""The simulated Messages API as a child process."""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.local.child import Child
from pipeline.model.errors import PipelineError

_POLL = 0.02
_START_WITHIN = 60.0
_STOP_WITHIN = 5.0


class ApiFailed(PipelineError):
    """The simulated API could not be started; the text says why."""


class SimulatedApiProcess:
    """`python -m pipeline.local.simulated`, from `async with` to its end.

    Args:
        port: Where it listens; 0 for a free one, which it picks itself.
        faults: What goes wrong, as its option `--fault` takes it.
        options: Further options, as it takes them.
    """

    def __init__(
        self, *, port: int = 0, faults: Sequence[str] = (), options: Sequence[str] = ()
    ) -> None:
        self._command = [
            *(sys.executable, "-m", "pipeline.local.simulated", "--port", str(port)),
            *(option for fault in faults for option in ("--fault", fault)),
            *options,
        ]
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._child: Child | None = None
        self.base_url = ""

    async def __aenter__(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            ApiFailed: It ended, or did not say in time where it listens.
        """
        self._directory = tempfile.TemporaryDirectory(prefix="haiku-pipeline-api-")
        self._child = Child(self._command, log=Path(self._directory.name) / "api.log")
        try:
            async with asyncio.timeout(_START_WITHIN):
                self.base_url = await _base_url(self._child)
        except TimeoutError:
            await self._stop()
            raise ApiFailed(f"The simulated API is not ready after {_START_WITHIN:g} s.") from None
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        await self._stop()

    async def _stop(self) -> None:
        if self._child is not None:
            await self._child.stop(_STOP_WITHIN)
            self._child = None
        if self._directory is not None:
            self._directory.cleanup()


async def _base_url(child: Child) -> str:
    while True:
        lines = child.output().splitlines()
        if "ready" in lines:
            told = dict(line.split("=", 1) for line in lines if "=" in line)
            return told["base_url"]
        if not child.running:
            said = lines[-1].strip() if lines else "it printed nothing"
            raise ApiFailed(f"The simulated API did not start: {said}")
        await asyncio.sleep(_POLL)
