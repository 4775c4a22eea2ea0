"""A real Prometheus on loopback that scrapes a page every quarter of a second."""

import asyncio
import contextlib
import math
import socket
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import yaml  # type: ignore[import-untyped]  # its stubs are no dependency of this project

from tests.deploy.documents import RULES, document
from tests.deploy.tools import tool

INTERVAL = 0.25
_VARIABLES = {
    "$__rate_interval": "1m",
    "$__range": "1m",
    "$namespace": ".*",
    "$stage": ".*",
}
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

    async def has_data(self, expression: str, *, time: float | None = None) -> bool:
        """Whether an expression of a rule or a dashboard gives any number."""
        series = await self.query(filled_in(expression), time=time)
        return any(math.isfinite(float(each["value"][1])) for each in series)

    async def without_data(
        self, expressions: Mapping[str, str], *, time: float | None = None
    ) -> set[str]:
        """The names of those expressions that give none."""
        return {
            name
            for name, expression in expressions.items()
            if not await self.has_data(expression, time=time)
        }

    async def comes_true(self, expression: str, *, within: float = 100.0) -> None:
        """Wait until an expression gives anything at all."""
        async with asyncio.timeout(within):
            while not await self.query(expression):  # noqa: ASYNC110 - another process
                await asyncio.sleep(INTERVAL)

    async def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            async with self._session.get("/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientConnectionError:
            return False


@contextlib.asynccontextmanager
async def prometheus(
    folder: Path, targets: list[str], *, patient: Collection[str] = ()
) -> AsyncIterator[Prometheus]:
    """Run one with the project's rules; only the patient alerts wait as they say there."""
    program, port = tool("prometheus"), free_port()
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={_configuration(folder, targets, patient)}",
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


def filled_in(expression: str) -> str:
    """The expression with the variables of a dashboard replaced, as Grafana does."""
    for variable, value in _VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _configuration(folder: Path, targets: list[str], patient: Collection[str]) -> Path:
    for path in RULES.glob("*.yml"):
        read = document(path)
        for rule in (rule for group in read["groups"] for rule in group["rules"]):
            if rule.get("alert") not in patient:
                rule.pop("for", None)
        (folder / path.name).write_text(yaml.safe_dump(read))
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
