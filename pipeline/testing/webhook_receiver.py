"""A receiver of webhooks on this machine, for tests: what it was sent, and what it answers."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Self

import orjson
from aiohttp import web


@dataclass
class WebhookReceiver:
    """Takes messages at `url` while it is entered.

    Args:
        answers: Statuses of its next answers; 200 afterwards.
        headers: Of each answer.
    """

    answers: deque[int] = field(default_factory=deque)
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    sent: list[dict[str, str]] = field(default_factory=list)
    """The headers of each message, below `documents`."""
    attempts: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def documents(self) -> list[Any]:
        """The messages that were taken, as JSON."""
        return [orjson.loads(body) for body in self.bodies]

    async def taken(self, count: int) -> None:
        """Wait until so many messages were taken."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.bodies) >= count)

    async def about(self, title: str) -> None:
        """Wait until a message with this title was taken."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: any(each.get("title") == title for each in self.documents)
            )

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/hooks/secret-part", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hooks/secret-part"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.attempts += 1
        body = await request.read()
        status = self.answers.popleft() if self.answers else 200
        if status < 300:  # noqa: PLR2004 - success
            self.bodies.append(body)
            self.sent.append(dict(request.headers))
            async with self._changed:
                self._changed.notify_all()
        return web.Response(status=status, headers=self.headers)
