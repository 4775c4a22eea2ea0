"""A real Prometheus on loopback that scrapes a page every quarter of a second."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.deploy.documents import RULES
from tests.deploy.tools import tool

INTERVAL = 0.25
_STARTED_WITHIN = 20.0


class Prometheus:
    """Its API."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - JSON
        """What a part of the API says."""
        async with self._session.get(f"/api/v1/{path}", params=parameters) as response:
            body = await response.json()
        assert body["status"] == "success", body
        return body["data"]

    async def query(self, expression: str, *, time: float | None = None) -> list[dict[str, Any]]:
        """The series of an expression, now or then."""
        parameters = {"query": expression} | ({} if time is None else {"time": str(time)})
        found: list[dict[str, Any]] = (await self.get("query", **parameters))["result"]
        return found

    async def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            async with self._session.get("/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientConnectionError:
            return False


@contextlib.asynccontextmanager
async def prometheus(folder: Path, targets: list[str]) -> AsyncIterator[Prometheus]:
    """Run one with the project's rules, whose alerts wait for nothing here."""
    program, port = tool("prometheus"), free_port()
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={_configuration(folder, targets)}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            server = Prometheus(session)
            async with asyncio.timeout(_STARTED_WITHIN):
                while not await server.is_ready():  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
            yield server
    finally:
        process.terminate()
        await process.wait()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _configuration(folder: Path, targets: list[str]) -> Path:
    for path in RULES.glob("*.yml"):
        lines = path.read_text("utf-8").splitlines()
        kept = [line for line in lines if not line.strip().startswith("for:")]
        (folder / path.name).write_text("\n".join(kept))
    interval = f"{INTERVAL * 1000:.0f}ms"
    configuration = folder / "prometheus.yaml"
    configuration.write_text(
        f"""
global: {{scrape_interval: {interval}, scrape_timeout: {interval}, evaluation_interval: {interval}}}
rule_files: ["{folder}/*.yml"]
scrape_configs:
  - job_name: haiku-pipeline
    static_configs: [{{targets: {targets}}}]
"""
    )
    return configuration
