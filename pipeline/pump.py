"""Iterating over what may block, such as standard input, beside an event loop."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Iterable
from typing import TypeVar

T = TypeVar("T")

_AHEAD = 64


class _End:
    """The last thing that is handed over: why there is no more."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


async def pumped(items: Iterable[T]) -> AsyncGenerator[T, None]:
    """Iterate in a thread, at most some items ahead.

    The thread is a daemon: one that waits for somebody to type keeps no program from ending.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[T | _End] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    closed = threading.Event()

    def hand_over(what: T | _End) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants it any more
            loop.call_soon_threadsafe(queue.put_nowait, what)

    def pump() -> None:
        end = _End()
        try:
            for item in items:
                room.acquire()
                if closed.is_set():
                    return
                hand_over(item)
        except BaseException as error:  # noqa: BLE001 - raised where the items are wanted
            end = _End(error)
        hand_over(end)

    threading.Thread(target=pump, name="pump", daemon=True).start()
    try:
        while not isinstance(what := await queue.get(), _End):
            room.release()
            yield what
        if what.error is not None:
            raise what.error
    finally:
        closed.set()
        room.release()
