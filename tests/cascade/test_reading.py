"""How events with files are read: outside the event loop, and out of the way of others."""

import asyncio
import threading
from typing import NoReturn

import pytest

from pipeline.cascade.reading import Reading
from pipeline.config import ImageSettings
from pipeline.model.errors import InvalidEvent
from pipeline.model.records import DeadLetterReason
from pipeline.stages.images import ImageEvent, Images


class WaitingImages(Images):
    """Images whose decoders are all taken."""

    def __init__(self) -> None:
        super().__init__(ImageSettings())
        self.waiting = threading.Semaphore(0)
        self.go_on = threading.Event()

    def question(self, event: ImageEvent) -> NoReturn:
        self.waiting.release()
        assert self.go_on.wait(60)
        raise InvalidEvent(DeadLetterReason.TOO_LARGE, "file: no.")


async def test_events_that_wait_for_a_decoder_hold_up_nothing_else() -> None:
    stage, event = WaitingImages(), ImageEvent(id="1", uri="file:///a")
    reading = Reading()
    asked = [asyncio.create_task(reading.ask_about(stage, event)) for _ in range(100)]
    for _ in asked:
        await asyncio.to_thread(stage.waiting.acquire)
    # Checks of other stages run in these threads.
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "checked"), 10) == "checked"
    stage.go_on.set()
    for each in asked:
        with pytest.raises(InvalidEvent):
            await each
