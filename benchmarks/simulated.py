"""The simulated Messages API as a benchmark uses it: started, changed while it runs, and read."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from pipeline.local.environment import SimulatedApiProcess

KEY = "key-of-a-benchmark"
LEDGER = 400_000
"""Requests whose details are kept: all of the longest run."""

Row = Mapping[str, Any]
"""One request of the ledger, as `pipeline.local.simulated.control.Served` has it."""


class Admin:
    """Reaches into a simulated API that runs.

    Args:
        base_url: Where it is.
        http: Connections to it.
    """

    def __init__(self, base_url: str, http: aiohttp.ClientSession) -> None:
        self.base_url = base_url
        self._http = http

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point the SDK at it."""
        return {"ANTHROPIC_BASE_URL": self.base_url, "ANTHROPIC_API_KEY": KEY}

    async def limit(self, **limits: int) -> None:
        """Change the rate limits of all models: requests, input_tokens, output_tokens a minute."""
        await self._ask("PUT", "/admin/limits", {"*": limits})

    async def fail(self, fault: str) -> None:
        """Have something go wrong, in the simulated API's own notation."""
        await self._ask("POST", "/admin/faults", {"fault": fault})

    async def heal(self) -> None:
        """Nothing goes wrong any more."""
        await self._ask("DELETE", "/admin/faults")

    async def forget(self) -> None:
        """An empty ledger and an empty prompt cache."""
        await self._ask("POST", "/admin/reset", {})

    async def now(self) -> float:
        """The time that the ledger's `at` is held against."""
        return float((await self._ask("GET", "/admin/requests?limit=0"))["now"])

    async def counters(self) -> dict[str, Any]:
        """The sums of the ledger, by model."""
        counters: dict[str, Any] = (await self._ask("GET", "/admin/counters"))["models"]
        return counters

    async def requests(self) -> Sequence[Row]:
        """Every request so far, oldest first."""
        rows: Sequence[Row] = (await self._ask("GET", "/admin/requests"))["requests"]
        return rows

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - any JSON value
        async with self._http.request(method, self.base_url + path, json=body) as response:
            response.raise_for_status()
            return await response.json()


@asynccontextmanager
async def simulated_api(*options: str) -> AsyncIterator[Admin]:
    """Start it as a process of its own.

    Args:
        options: As `python -m pipeline.local.simulated` takes them.
    """
    kept = ("--ledger", str(LEDGER))
    timeout = aiohttp.ClientTimeout(total=120)
    async with (
        SimulatedApiProcess(options=(*kept, *options)) as api,
        aiohttp.ClientSession(timeout=timeout) as http,
    ):
        yield Admin(api.base_url, http)
