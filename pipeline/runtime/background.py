"""Work that goes on in the background and is missed at once when it ends.

Iterating over what may block, such as standard input, beside an event loop.

How often this process looks for garbage that reference counting does not find.
"""

import asyncio
import contextlib
import gc
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar


@asynccontextmanager
async def background_task(
    work: Coroutine[Any, Any, None], *, ended: Callable[[], object]
) -> AsyncIterator[None]:
    """Have endless work done as long as this is entered; what it raised is raised on leaving.

    Args:
        work: Is cancelled on leaving.
        ended: Called when the work ends before that, so that what relies on it ends, too.
    """
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(partial(_tell, ended))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
        if not task.cancelled():
            task.result()


def _tell(ended: Callable[[], object], task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        ended()


T = TypeVar("T")
_AHEAD = 64


class _End:
    """The last thing that is handed over: why there is no more."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


async def threaded_iter(items: Iterable[T]) -> AsyncGenerator[T, None]:
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


_THRESHOLDS = 20_000, 20, 100


def collect_seldom() -> None:
    """Look seldom, and never again at what is alive now: modules, settings, schemas.

    A call of a model leaves hundreds of objects behind, nearly all of which are freed without
    the collector. By default it ran many times a second, for a tenth of the processor.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
