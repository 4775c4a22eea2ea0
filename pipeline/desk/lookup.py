"""The view that looks up one event: what became of it, whoever it waits for."""

import asyncio
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from aiohttp import web

from pipeline.config import Settings
from pipeline.desk.access import Role
from pipeline.desk.kafka import Kafka
from pipeline.desk.routes import Route, answer, body_of, nothing_beside
from pipeline.model.errors import UsageError
from pipeline.model.records import now
from pipeline.operators.lookup import Story, facts_of, look_up
from pipeline.operators.selection import moment

READ_SECONDS = 30.0
"""For reading topics: a request has `server.REQUEST_SECONDS`, some of them to wait for its turn."""
AT_ONCE = 2
"""That read topics for people at the same time; others wait."""
_LONGEST_TIME = 40


@dataclass(eq=False)
class LookUpView:
    """Finds the records of an event."""

    settings: Settings
    kafka: Kafka
    _: KW_ONLY
    name: str = field(default="lookup", init=False)
    title: str = field(default="Look up", init=False)
    role: Role = field(default=Role.READER, init=False)

    def __post_init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)

    running = staticmethod(nothing_beside)

    def routes(self) -> Sequence[Route]:
        # Keys may be of people, so they are not in an address, which servers between may log.
        return (Route("POST", "/api/lookup", Role.READER, self._look_up),)

    async def _look_up(self, request: web.Request) -> web.Response:
        match await body_of(request):
            case {"wanted": str() as wanted, "since": str() as since, **others} if not others:
                begin = moment(since[:_LONGEST_TIME], now())
            case _:
                raise UsageError("Say what is looked up (wanted), and from when on (since).")
        async with self._turns:
            found = await look_up(
                self.settings,
                self.kafka.read,
                await self.kafka.existing(),
                wanted,
                since=begin,
                seconds=READ_SECONDS,
            )
        return answer(document_of(found))


def document_of(story: Story) -> dict[str, Any]:
    """What a page shows of it: text alone."""
    return {
        "sentences": list(story.sentences()),
        "passages": story.passages,
        "entries": [
            {
                "at": entry.at,
                "kind": entry.kind,
                "where": f"{entry.topic} {entry.place}",
                "facts": [("key", entry.key), *facts_of(entry)],
                "texts": list(entry.texts.items()),
            }
            for entry in story.entries
        ],
    }
