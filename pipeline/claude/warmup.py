"""One request warms the prompt cache before many follow.

A cache entry can be read from the moment the response of the request that wrote it begins. Of
many requests at once each would pay for writing the same prefix, so the first goes alone.
"""

import asyncio
from collections import deque
from collections.abc import Callable

TTL_MARGIN = 0.9
"""Warm again a little before the entry expires."""


class Warmup:
    """The gate in front of one static prefix.

    Args:
        ttl: Seconds an entry lives after the start of the last request that read it.
        clock: Seconds that do not go back.
    """

    def __init__(self, *, ttl: float, clock: Callable[[], float]) -> None:
        self._ttl = ttl * TTL_MARGIN
        self._clock = clock
        self._warm_until = float("-inf")
        self._is_warming = False
        self._is_pointless = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def is_pointless(self) -> bool:
        """Whether the API does not cache the prefix: it is too short."""
        return self._is_pointless

    async def enter(self) -> bool:
        """Wait while another request warms the cache.

        Returns:
            Whether this request is the one that warms: `left` must be called when it has ended.
        """
        while not self._may_pass():
            if not self._is_warming:
                self._is_warming = True
                return True
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        return False

    def used(self, started: float, *, cached: bool) -> None:
        """An answer came.

        Args:
            started: When its request was sent.
            cached: Whether anything was read from the cache or written to it.
        """
        if cached:
            self._is_pointless = False
            self._warm_until = max(self._warm_until, started + self._ttl)
        elif self._clock() > self._warm_until:
            self._is_pointless = True

    def left(self) -> None:
        """The request that warmed has ended, whatever came of it."""
        self._is_warming = False
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _may_pass(self) -> bool:
        return self._is_pointless or self._clock() < self._warm_until
