"""One process with a gateway that always has more to ask: a replica of the pipeline without Kafka.

It prints `ready`, asks about tickets of its own until standard input ends, and then prints one
JSON object.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator

import uvloop

from benchmarks.tickets import Questions, tickets
from pipeline.claude.gateway import Gateway
from pipeline.config import Settings
from pipeline.model.errors import AnswerError
from pipeline.model.observer import CallEnd, Observer
from pipeline.model.records import Tier, Usage
from pipeline.stages.tickets import TicketEvent

APART = 10_000_000
"""Tickets of two replicas are that far apart: none is asked twice."""


class Ends(Observer):
    """Counts how calls ended."""

    def __init__(self) -> None:
        self.counted: Counter[CallEnd] = Counter()

    def call(
        self, stage: str, model: str, end: CallEnd, *, seconds: float, usage: Usage | None
    ) -> None:
        """Count one."""
        del stage, model, seconds, usage
        self.counted[end] += 1


class Asking:
    """Keeps as many questions under way as the gateway says are of use.

    Args:
        gateway: Is asked.
        events: What about.
    """

    def __init__(self, gateway: Gateway, events: Iterator[TicketEvent]) -> None:
        self._gateway = gateway
        self._events = events
        self._questions = Questions()
        self._ended = asyncio.Event()
        self.answered = 0
        self.failed: Counter[str] = Counter()

    async def run(self, stop: asyncio.Event) -> None:
        """Ask until stopped; what is under way then is given up."""
        running: set[asyncio.Task[None]] = set()
        while not stop.is_set():
            while len(running) < self._gateway.at_once("tickets", Tier.HAIKU):
                task = asyncio.create_task(self._ask(next(self._events)))
                running.add(task)
                task.add_done_callback(running.discard)
            self._ended.clear()
            try:
                async with asyncio.timeout(0.5):
                    await self._ended.wait()
            except TimeoutError:
                continue
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _ask(self, event: TicketEvent) -> None:
        try:
            await self._gateway.ask(self._questions.of(event), Tier.HAIKU)
            self.answered += 1
        except AnswerError as error:
            self.failed[type(error).__name__] += 1
        finally:
            self._ended.set()


async def _run(number: int) -> None:
    stop = asyncio.Event()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    ends = Ends()
    async with Gateway(Settings(), observer=ends) as gateway, asyncio.TaskGroup() as group:
        asking = Asking(gateway, tickets(number * APART))
        group.create_task(asking.run(stop))
        _say("ready")
        cpu, began = time.process_time(), time.monotonic()
        await reader.read()
        used = time.process_time() - cpu
        seconds = time.monotonic() - began
        stop.set()
    report = {
        "answered": asking.answered,
        "failed": asking.failed,
        "ends": ends.counted,
        "cpu_share": round(used / seconds, 4),
    }
    _say(json.dumps(report))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Ask until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=1, help="which replica this is, from 1")
    uvloop.run(_run(parser.parse_args().number))


if __name__ == "__main__":
    main()
