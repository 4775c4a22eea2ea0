"""The programs that an operator starts, started as an operator would."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import IO

PIPELINE = (sys.executable, "-m", "pipeline.cli")
PATIENCE = 60.0
"""Seconds; a bound on hanging, not an expectation."""


@dataclass
class Program:
    """A running `pipeline` command and what it has printed on standard output."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)

    async def says(self, wanted: str) -> str:
        """Wait for a line that contains the text."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while raw := await self.process.stdout.readline():
                line = raw.decode().rstrip("\n")
                self.lines.append(line)
                if wanted in line:
                    return line
        raise AssertionError(f"it ended without saying {wanted!r}, after {self.lines}")

    async def stop(self) -> int:
        """SIGTERM, and its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def program(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    stderr: IO[bytes] | None = None,
) -> AsyncIterator[Program]:
    """Start `pipeline ARGUMENTS`; it is stopped at the end, whatever happens."""
    process = await asyncio.create_subprocess_exec(
        *PIPELINE,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, "PIPELINE_HTTP__PORT": "0", **(environment or {})},
    )
    running = Program(process)
    try:
        yield running
    finally:
        await running.stop()


def exported(lines: Sequence[str]) -> dict[str, str]:
    """The variables of `export NAME=value` lines, as a shell would take them."""
    found = {}
    for line in lines:
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            found[name] = value.strip("'\"")
    return found
