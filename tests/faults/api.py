"""The simulated API's admin endpoint: its pace, its outages, and its ledger of what was paid."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.faults.events import MARK
from tests.faults.exposure import Call, Question

HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"
_TIERS = {HAIKU: "haiku", SONNET: "sonnet"}


class Api:
    """Reaches into a simulated API that runs.

    Args:
        base_url: Where it is.
    """

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        """Connect, and have it note which event each call is about."""
        self._http = aiohttp.ClientSession(self._base_url)
        await self._ask("PUT", "/admin/mark", {"pattern": MARK})
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        await self._http.close()

    async def take(self, **latency: float) -> None:
        """Set how long both models take: see `pipeline.local.simulated.control`."""
        await self._ask("PUT", "/admin/latency", {HAIKU: latency, SONNET: latency})

    async def fail(self, fault: str) -> None:
        """Have something go wrong, in the simulated API's own notation."""
        await self._ask("POST", "/admin/faults", {"fault": fault})

    async def faults(self) -> list[dict[str, Any]]:
        """What goes wrong at present."""
        found: list[dict[str, Any]] = await self._ask("GET", "/admin/faults")
        return found

    async def paid(self) -> list[Call]:
        """Every call that was paid so far, those about no event included."""
        # The API looks at its clock first, and then writes megabytes.
        asked = time.time()
        ledger = await self._ask("GET", "/admin/requests")
        started = asked - ledger["now"]
        return [_call(line, started) for line in ledger["requests"] if line["billed"]]

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - any JSON value
        async with self._http.request(method, path, json=body) as response:
            response.raise_for_status()
            return await response.json()


def _call(line: Mapping[str, Any], started: float) -> Call:
    began = started + line["at"]
    question = Question(line["mark"] or "", _TIERS[line["model"]], line["digest"])
    return Call(question, line["caller"], began, began + line["seconds"])
