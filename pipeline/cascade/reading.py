"""How both tiers read an event and build their question about it."""

import asyncio
import contextvars
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any

import structlog

from pipeline.cascade.stage_guard import of_stage
from pipeline.claude.failures import Attempts, Bounds, Peers
from pipeline.config import ClaudeSettings
from pipeline.model.errors import FileUnavailable, Unavailable
from pipeline.model.questions import Query
from pipeline.model.records import Source, Usage
from pipeline.runtime.shutdown import UnwaitedExecutor
from pipeline.stages.api import Answer, RawEvent, Rewording, Stage
from pipeline.stream.records import Received

AnyStage = Stage[Any, Any]
RETRY_SECONDS = 5.0
"""Before a file that could not be reached is asked for again."""
QUIET_SECONDS = 3600.0
"""That a file is asked for alone, so that nothing else says whose trouble it is."""
NOT_ASKED = "none"
"""In place of a model, where there was nothing to ask about."""
_FILES_AT_ONCE = 256
LARGE_BYTES = 100_000
"""Of a record; smaller ones are read within a few milliseconds, whatever they hold."""
LONG_CHARS = 3_000
"""Of an event's texts, what is not ASCII counted threefold: shorter ones are checked within
milliseconds, whatever they hold."""
log = structlog.get_logger(__name__)


def read(stage: AnyStage, received: Received) -> RawEvent:
    """Parse a raw record.

    Raises:
        InvalidEvent: It is not what the stage takes.
    """
    headers = {name: content for name, content in received.headers if content is not None}
    event: RawEvent = of_stage(
        stage.name, stage.parse, received.value or b"", key=received.key, headers=headers
    )
    return event


def file_threads() -> UnwaitedExecutor:
    """Threads that read files; shut down, they are left behind with what they read.

    They wait, for a decoder or for a store: were they those of `asyncio.to_thread`, everything
    that is quick would wait behind a slow file.
    """
    return UnwaitedExecutor(_FILES_AT_ONCE, thread_name_prefix="files")


class Reading:
    """Builds questions, and waits for the files that they are about.

    A store that cannot be reached is no event's fault: as long as no file of a place can be had,
    every event with a file there waits. A file that fails again and again while others of its
    place can be had is its event's trouble; so is one that fails for an hour where nothing else is
    asked for, and the place answers.

    Args:
        bounds: When it is; those of the default settings if None.
        clock: Seconds that do not go back.
        threads: Read files; its own if None.
    """

    def __init__(
        self,
        bounds: Bounds | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        threads: Executor | None = None,
    ) -> None:
        self._bounds = bounds or Bounds.of(ClaudeSettings())
        self._clock = clock
        self._peers: defaultdict[tuple[str, str], Peers] = defaultdict(Peers)
        self._failing: Counter[tuple[str, str]] = Counter()
        self.waiting = 0
        """Events that wait for their file, and do nothing else."""
        self._threads = threads or file_threads()

    async def ask_about(self, stage: AnyStage, event: RawEvent) -> Query[Any]:
        """Build what is asked; outside the event loop where files have to be decoded.

        Raises:
            InvalidEvent: The event's file is not what it says it is.
            FileUnavailable: It could not be had, again and again, while others could.
        """
        return await self._built(stage, event, stage.question)

    async def ask_again_about(self, stage: AnyStage, event: RawEvent) -> Query[Any] | None:
        """Build what is asked for a second opinion; None where the stage has no words for it.

        Raises:
            InvalidEvent: The event's file is not any more what it says it is.
            FileUnavailable: It could not be had, again and again, while others could.
        """
        if not isinstance(stage, Rewording):
            return None
        return await self._built(stage, event, stage.second_question)

    async def _built(
        self, stage: AnyStage, event: RawEvent, build: Callable[[Any], Query[Any]]
    ) -> Query[Any]:
        place = (stage.name, event.file_place)
        attempts: Attempts | None = None
        try:
            while True:
                try:
                    inquiry = await self._where_it_may_wait(stage, event, build)
                except Unavailable as error:
                    away = error
                else:
                    if attempts is None:
                        self._peers[place].answered += 1
                    return inquiry
                if attempts is None:
                    peers = self._peers[place]
                    attempts = Attempts(peers, peers.answered, peers.failed)
                    self._failing[place] += 1
                    log.warning(
                        "file_awaited", stage=stage.name, event_id=event.id, because=str(away)
                    )
                self._count(attempts, away, place)
                await self._wait()
        finally:
            if attempts is not None:
                self._failing[place] -= 1

    def _count(self, attempts: Attempts, away: Unavailable, place: tuple[str, str]) -> None:
        """Count a failure.

        Raises:
            FileUnavailable: There were so many, while others could be had, or their place answered.
        """
        if away.scope == "place":
            return
        attempts.failed(self._clock(), str(away))
        if attempts.are_over(self._bounds):
            beside = "others were answered"
        elif (
            away.scope == "file" and self._failing[place] == 1 and attempts.lasting >= QUIET_SECONDS
        ):
            beside = "the place of the file answered"
        else:
            return
        raise FileUnavailable(attempts.history(beside), usage=Usage(), model=NOT_ASKED, seconds=0.0)

    async def _where_it_may_wait(
        self, stage: AnyStage, event: RawEvent, build: Callable[[Any], Query[Any]]
    ) -> Query[Any]:
        """Build it on the event loop, if that takes no time; else in a thread."""
        if stage.reads_files:
            read_file = partial(of_stage, stage.name, build, event)
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, contextvars.copy_context().run, read_file
            )
        if is_long(event):
            return await asyncio.to_thread(of_stage, stage.name, build, event)
        return of_stage(stage.name, build, event)

    async def _wait(self) -> None:
        self.waiting += 1
        try:
            await asyncio.sleep(RETRY_SECONDS)
        finally:
            self.waiting -= 1


def published_result(
    stage: AnyStage, event: RawEvent, answer: Answer | None
) -> dict[str, Any] | None:
    """The result as it would have been published, or null where there was no usable answer."""
    if answer is None:
        return None
    result = of_stage(stage.name, stage.result, event, answer)
    return result.model_dump(mode="json", by_alias=True)


async def read_aside(stage: AnyStage, received: Received) -> RawEvent:
    """Parse a raw record; outside the event loop where that may take milliseconds.

    Raises:
        InvalidEvent: It is not what the stage takes.
    """
    if len(received.value or b"") < LARGE_BYTES:
        return read(stage, received)
    return await asyncio.to_thread(read, stage, received)


def is_long(event: RawEvent) -> bool:
    """Whether its texts are so long that what is made of them is made outside the event loop."""
    length = 0
    for value in vars(event).values():
        if isinstance(value, str):
            length += len(value) if value.isascii() else 3 * len(value)
    return length > LONG_CHARS


def source_with(source: Source, event: RawEvent) -> Source:
    """Where an event came from, with the fields the stage does not know.

    An escalation holds them once, in its `event`; earlier versions wrote them to both.
    """
    unknown = event.unknown_fields
    return source.model_copy(update={"extra": unknown}) if unknown else source


def source_of(received: Received) -> Source:
    """Where a raw event came from."""
    return Source(
        topic=received.topic,
        partition=received.partition,
        offset=received.offset,
        timestamp=received.timestamp,
    )
