"""One request warms the prompt cache before many follow.

A cache entry can be read from the moment the response of the request that wrote it begins. Of
many requests at once each would pay for writing the same prefix, so the first goes alone. Where
its answer is slow to come the next goes, too: one call that hangs must not hold up a stage.
"""

import asyncio
from collections import deque
from collections.abc import Callable

TTL_MARGIN = 0.9
"""Warm again a little before the entry expires."""
PATIENCE_SECONDS = 3.0
"""From the sending of a request that warms until another may go beside it. By then its response
has begun, as a rule; where it has not, one prefix more is written, which is cheap."""


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
        self._warming = 0
        self._may_join = True
        self._is_pointless = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timers: deque[asyncio.TimerHandle] = deque()

    @property
    def is_pointless(self) -> bool:
        """Whether the API does not cache the prefix: it is too short."""
        return self._is_pointless

    @property
    def is_warm(self) -> bool:
        """Whether requests need not wait for one that warms."""
        return self._is_pointless or self._clock() < self._warm_until

    async def enter(self) -> bool:
        """Wait while another request warms the cache.

        Returns:
            Whether this request is one that warms: `left` must be called when it has ended, and
            `sent` when it goes out.
        """
        while not self.is_warm:
            if self._may_join:
                self._may_join = False
                self._warming += 1
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

    def sent(self) -> None:
        """The request that warms is on its way: from now on patience with it ends."""
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(PATIENCE_SECONDS, self._lose_patience))

    def left(self) -> None:
        """A request that warmed has ended, whatever came of it."""
        self._warming -= 1
        if not self._warming:
            while self._timers:
                self._timers.popleft().cancel()
        if self.is_warm or not self._warming:
            self._may_join = True
            self._wake(len(self._waiting))

    def _lose_patience(self) -> None:
        self._may_join = True
        self._wake(1)

    def _wake(self, count: int) -> None:
        while self._waiting and count:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1
