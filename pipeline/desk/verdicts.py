"""Verdicts between the moment in which a person gives one and its publication.

A verdict waits for some seconds, in which it can be undone; it is in the memory of this process
alone. A process that is killed before it published one has published nothing: the case is open. One
that is stopped publishes what waits, at once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum

import structlog
from aiokafka.errors import KafkaError

from pipeline.desk.access import Person
from pipeline.desk.routes import Conflict
from pipeline.model.errors import PipelineError
from pipeline.operators.review import AlreadyResolved, Verdict
from pipeline.operators.selection import Place

UNDO_SECONDS = 5.0
_REMEMBERED = 200
"""Verdicts whose end is known, of all people together."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rejection:
    """The event belongs to the dead letters, for this reason."""

    reason: str


class State(StrEnum):
    WAITING = "waiting"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    UNDONE = "undone"
    ELSEWHERE = "elsewhere"
    """Somebody else's verdict was published before."""
    FAILED = "failed"


OPEN = frozenset({State.WAITING, State.PUBLISHING})
"""States in which nobody else may decide the case."""


@dataclass(frozen=True, slots=True)
class Given:
    """A verdict, who gave it, and what has become of it; `due` is on the clock of `Verdicts`."""

    number: int
    place: Place
    event_id: str
    by: Person
    verdict: Verdict | Rejection
    due: float
    state: State = State.WAITING
    message: str = ""


class TooLate(Conflict):
    """What was to be undone is being published, or was."""


class AlreadyGiven(Conflict):
    """There is a verdict about the case that is not published yet."""


Publish = Callable[[Place, Person, Verdict | Rejection], Awaitable[str]]
"""Publishes a verdict once, and returns the topic; raises `PipelineError`."""


@dataclass(eq=False)
class Verdicts:
    """Holds verdicts back, then publishes them, one after the other."""

    publish: Publish
    clock: Callable[[], float]
    settled: Callable[[Place], object] = lambda _: None
    """Called with a case that is published, by whomever."""
    undo_seconds: float = UNDO_SECONDS
    _given: dict[int, Given] = field(default_factory=dict, init=False)
    _count: int = field(default=0, init=False)
    _changed: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _is_closing: bool = field(default=False, init=False)

    def give(self, place: Place, event_id: str, by: Person, verdict: Verdict | Rejection) -> Given:
        """Take a verdict; `AlreadyGiven` if there is one about the case."""
        if place in self.places():
            raise AlreadyGiven("There is a verdict about this case already: undo it first.")
        self._count += 1
        due = self.clock() + self.undo_seconds
        given = Given(self._count, place, event_id, by, verdict, due)
        self._given[given.number] = given
        self._changed.set()
        return given

    def undo(self, number: int, by: Person) -> Given:
        """Take one's own verdict back; `TooLate` if it cannot be any more."""
        given = self._given.get(number)
        if given is None or given.by.name != by.name or given.state is not State.WAITING:
            raise TooLate("It is too late to undo this: it is published, or was undone.")
        return self._set(given, State.UNDONE)

    def places(self) -> set[Place]:
        """The cases about which there is a verdict that is not published yet."""
        return {each.place for each in self._given.values() if each.state in OPEN}

    def of(self, by: Person) -> Sequence[Given]:
        """The latest verdicts of a person, the newest first."""
        own = [each for each in self._given.values() if each.by.name == by.name]
        return own[::-1]

    @asynccontextmanager
    async def running(self, *, ended: Callable[[], object]) -> AsyncIterator[None]:
        """Publish what is due as long as this is entered; at the end, what waits.

        `ended` is called where that ends before, which is a bug; its error is raised on leaving.
        """
        task = asyncio.create_task(self._run())
        task.add_done_callback(lambda _: None if self._is_closing else ended())
        try:
            yield
        finally:
            self._is_closing = True
            self._changed.set()
            await task

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            waiting = self._waiting()
            left = waiting[0].due - self.clock() if waiting else None
            if waiting and left is not None and (left <= 0 or self._is_closing):
                await self._publish(waiting[0])
                continue
            if self._is_closing:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()

    def _waiting(self) -> list[Given]:
        """In the order in which they are due, which is that in which they were given."""
        return [each for each in self._given.values() if each.state is State.WAITING]

    async def _publish(self, given: Given) -> None:
        given = self._set(given, State.PUBLISHING)
        try:
            topic = await self.publish(given.place, given.by, given.verdict)
        except AlreadyResolved as error:
            self._set(given, State.ELSEWHERE, str(error))
        except (PipelineError, KafkaError) as error:
            log.warning("verdict_not_published", place=str(given.place), because=str(error))
            self._set(given, State.FAILED, str(error))
            return
        else:
            self._set(given, State.PUBLISHED, topic)
        self.settled(given.place)

    def _set(self, given: Given, state: State, message: str = "") -> Given:
        found = self._given[given.number] = replace(given, state=state, message=message)
        ended = [number for number, each in self._given.items() if each.state not in OPEN]
        for number in ended[:-_REMEMBERED]:
            del self._given[number]
        self._changed.set()
        return found
