"""How a process works beside its event loop, and how it ends in time, whatever its threads do.

A thread cannot be ended from outside: one that waits for a file store that never answers, or is
deep in a library in C, keeps `asyncio.run()` and the interpreter waiting, both of which join every
thread. What such a thread works on is not committed and is done again elsewhere, so nothing is
lost by leaving it behind: there is an executor whose threads are not waited for, and `leave()`
with the exit code of the command. A deadline is for everything else, an event loop that is blocked
included: the process logs it, prints where each thread is, and ends with code 1.
"""

import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
OVERDUE = 1
"""Exit code of a process that had to be ended, so that its supervisor can see that it was."""
MARGIN = 20.0
"""Seconds after the drain budget to commit, to leave the group and to close what is open."""
_LAST_WORDS = 2.0
"""Seconds after the deadline until the process ends although no Python code can run any more."""
_IDLE_THREADS_END_WITHIN = 1.0
_AHEAD = 64
"""Items that the thread of `threaded_iter` is ahead."""
_GC_THRESHOLDS = 20_000, 20, 100
_log = logging.getLogger(__name__)


@asynccontextmanager
async def background_task(
    work: Coroutine[Any, Any, None], *, ended: Callable[[], object]
) -> AsyncIterator[None]:
    """Have endless work done as long as this is entered; what it raised is raised on leaving.

    `ended` is called when the work ends before that, so that what relies on it ends, too.
    """

    def report(task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            ended()

    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(report)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
        if not task.cancelled():
            task.result()


class _End:
    """The last thing that is handed over: why there is no more."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


async def threaded_iter(items: Iterable[T]) -> AsyncGenerator[T, None]:
    """Iterate in a thread over what may block, such as standard input, a few items ahead.

    The thread is a daemon: one that waits for a person to type keeps no program from ending.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[T | _End] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    closed = threading.Event()

    def hand_over(what: T | _End) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(queue.put_nowait, what)

    def iterate() -> None:
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

    threading.Thread(target=iterate, name="threaded_iter", daemon=True).start()
    try:
        while not isinstance(what := await queue.get(), _End):
            room.release()
            yield what
        if what.error is not None:
            raise what.error
    finally:
        closed.set()
        room.release()


def collect_seldom() -> None:
    """Look for cyclic garbage seldom, and never again at what is alive now: modules, schemas.

    A call of a model leaves hundreds of objects behind, nearly all of which are freed without
    the collector. By default it ran many times a second, for a tenth of the processor.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


class UnwaitedExecutor(ThreadPoolExecutor):
    """Runs calls in threads, and does not wait for those that run when it is shut down."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - of the base
        super().shutdown(wait=False, cancel_futures=True)


class Deadline:
    """Ends the process when it has not ended by itself, so many seconds after it was asked to."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """From here on the time runs; a second start changes nothing."""
        if self._timer is not None or self._seconds is None:
            return
        self._timer = threading.Timer(self._seconds, self._end)
        self._timer.daemon = True
        self._timer.start()
        # A thread in C that needs no interpreter, for when one in C never gives it back.
        faulthandler.dump_traceback_later(self._seconds + _LAST_WORDS, exit=True)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            faulthandler.cancel_dump_traceback_later()

    def _end(self) -> None:
        _log.error(
            "it was asked to end %.0f s ago and has not: it is ended now; what was not committed "
            "is done again by the process that takes over",
            self._seconds,
        )
        faulthandler.dump_traceback()
        _end_at_once(OVERDUE)


def leave(code: int) -> NoReturn:
    """End the process, and leave behind the threads that still run."""
    waits_until = time.monotonic() + _IDLE_THREADS_END_WITHIN
    running = [
        thread
        for thread in threading.enumerate()
        if thread is not threading.current_thread() and not thread.daemon
    ]
    for thread in running:
        thread.join(max(0.0, waits_until - time.monotonic()))
    left = [thread.name for thread in running if thread.is_alive()]
    if not left:
        sys.exit(code)
    _log.warning("%d threads had not ended and were left behind: %s", len(left), ", ".join(left))
    _end_at_once(code)


def _end_at_once(code: int) -> NoReturn:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # its reader is gone, or it is closed
            continue
    os._exit(code)


_TETHER = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None, use_errno=True).prctl(1, int(sys.argv[2]))  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Becomes the command after asking the kernel for a signal when its parent dies.

A program of its own rather than a `preexec_fn`, which is unsafe in a process with threads. Where
the kernel is not Linux, a child whose parent was killed stays until it is ended.
"""


def dies_with_parent(command: Sequence[str], *, when_parent_dies: signal.Signals) -> list[str]:
    """The command line that runs `command` as a child that gets a signal when this process dies."""
    tether = [sys.executable, "-I", "-S", "-c", _TETHER, str(os.getpid())]
    return [*tether, str(when_parent_dies.value), *command]
