"""Waiting for what has to be asked for."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from confluent_kafka import KafkaException

_LOOK = 0.5


async def until(holds: Callable[[], bool], within: float) -> bool:
    """Wait until something holds that has to be asked for, and may fail to answer.

    Returns:
        Whether that came about in time.
    """

    def asked() -> bool:
        try:
            return holds()
        except (KafkaException, TimeoutError):
            return False

    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            while not await asyncio.to_thread(asked):  # noqa: ASYNC110 - others' state
                await asyncio.sleep(_LOOK)
            return True
    return False
