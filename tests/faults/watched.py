"""`python -m tests.faults.watched ARGUMENTS`: the pipeline's command line, its event loop watched.

Whenever the loop lets more than `REPORTED` pass without looking at what else there is to do, it
says so on standard error, with what it did meanwhile. Heartbeats of its groups are sent by that
loop, so what counts is how long they may be kept waiting.
"""

import asyncio
import json
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from pipeline.app import App
from pipeline.cli import program

REPORTED = 0.1
"""Seconds."""
_LOOK = 0.01
_LOOKED_AT = 0.05
_FRAMES = 12
_MARK = "event loop blocked: "
_SAID = re.compile(rf"^{_MARK}(.*)$", re.MULTILINE)


class Watch(threading.Thread):
    """Asks an event loop for a sign of life again and again.

    A process that is stopped, or gets no processor, does not block its loop: what counts is how
    often this thread could look, or how much the process computed, which is more where a call of C
    keeps this thread from looking.

    Args:
        loop: Runs in the thread that makes this.
        report: Takes seconds, and what the loop did.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, report: Callable[[float, str], None]
    ) -> None:
        super().__init__(daemon=True)
        self._loop = loop
        self._report = report
        self._watched = threading.get_ident()
        self._over = threading.Event()

    def run(self) -> None:
        """Watch until stopped."""
        last, computed = time.perf_counter(), time.process_time()
        while not self._over.wait(_LOOK):
            seen, looks, doing = threading.Event(), 0, ""
            self._loop.call_soon_threadsafe(seen.set)
            while not seen.wait(_LOOK) and not self._over.is_set():
                looks += 1
                if looks * _LOOK >= _LOOKED_AT and not doing:
                    doing = self._doing()
            # From one sign of life to the next: a call of C may have begun before it was asked for.
            now, computed_now = time.perf_counter(), time.process_time()
            blocked = min(now - last, max(looks * _LOOK, computed_now - computed))
            last, computed = now, computed_now
            if blocked > REPORTED:
                self._report(blocked, doing)

    def stop(self) -> None:
        """Stop it."""
        self._over.set()
        self.join()

    def _doing(self) -> str:
        frame = sys._current_frames().get(self._watched)
        return "".join(traceback.format_stack(frame)[-_FRAMES:]) if frame is not None else ""


def blocks(output: str) -> list[tuple[float, str]]:
    """What a process said of its loop: seconds, and what it did; the longest first."""
    found = [tuple(json.loads(said)) for said in _SAID.findall(output)]
    return sorted(found, reverse=True)


def _say(seconds: float, doing: str) -> None:
    sys.stderr.write(f"{_MARK}{json.dumps([round(seconds, 3), doing])}\n")


def main() -> None:
    """Run the command with `App.run` watched."""
    run = App.run

    async def watched(self: App, *given: Any, **more: Any) -> None:  # noqa: ANN401 - as given
        watch = Watch(asyncio.get_running_loop(), _say)
        watch.start()
        try:
            await run(self, *given, **more)
        finally:
            watch.stop()

    App.run = watched  # type: ignore[method-assign]
    program()


if __name__ == "__main__":
    main()
