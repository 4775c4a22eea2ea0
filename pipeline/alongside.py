"""Work that goes on in the background and is missed at once when it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any


@asynccontextmanager
async def alongside(
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
