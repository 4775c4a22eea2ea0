"""What a member knows of its place in the group."""

import asyncio
from math import inf


class Membership:
    """When the group last confirmed that this member is in it.

    A process that stood still for longer than the session's time-out has been replaced, and goes on
    as if nothing had happened until its next heartbeat is refused. So what takes something from
    other members asks here first.

    Args:
        session_timeout: Seconds after a heartbeat in which the group replaces no member.
    """

    def __init__(self, session_timeout: float) -> None:
        self._session_timeout = session_timeout
        self._now = asyncio.get_running_loop().time
        self._confirmed_at = -inf
        self._news = asyncio.Event()

    def confirm(self, asked_at: float) -> None:
        """The group has answered that this member is in it; it was asked at that loop time."""
        self._confirmed_at = max(self._confirmed_at, asked_at)
        self._news.set()
        self._news = asyncio.Event()

    async def confirmed(self, since: float | None = None) -> None:
        """See `Consumer.confirmed`."""
        while self._confirmed_at < (
            self._now() - self._session_timeout if since is None else since
        ):
            await self._news.wait()
