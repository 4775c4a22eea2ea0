"""Several replicas at once, each a process of its own."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any


class Replicas:
    """Replicas that run.

    Args:
        processes: Theirs.
    """

    def __init__(self, processes: list[asyncio.subprocess.Process]) -> None:
        self._processes = processes
        self.reports: list[dict[str, Any]] = []

    async def stop(self) -> list[dict[str, Any]]:
        """End them; returns what each reports."""
        ends = await asyncio.gather(*(process.communicate(b"") for process in self._processes))
        self.reports = [json.loads(output.splitlines()[-1]) for output, _ in ends]
        return self.reports

    def kill(self) -> None:
        """End those that still run, at once."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()


async def _ready(process: asyncio.subprocess.Process) -> None:
    line = b"" if process.stdout is None else await process.stdout.readline()
    if line.strip() != b"ready":
        raise RuntimeError("a replica did not start; see what it said on standard error")


@asynccontextmanager
async def replicas(count: int, environment: Mapping[str, str]) -> AsyncIterator[Replicas]:
    """Start so many `benchmarks.replica`, and wait until all of them ask.

    Args:
        count: How many.
        environment: Variables on top of this process's own.
    """
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.replica", "--number", str(number)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **environment},
        )
        for number in range(1, count + 1)
    ]
    running = Replicas(processes)
    try:
        await asyncio.gather(*(_ready(process) for process in processes))
        yield running
    finally:
        running.kill()
        await asyncio.gather(*(process.wait() for process in processes))
