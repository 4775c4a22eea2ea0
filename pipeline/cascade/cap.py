"""How much of what comes in the second tier is asked about at most. Pure.

When more than planned is doubted, what is above the cap waits its turn: a doubtful answer is never
accepted to save money. A few a minute go through in any case, so that what waits is done one day
even if nothing new comes in.

Holds the intake of escalations to a share of what all stages get done, replicas included.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from pipeline.config import EscalationSettings, KafkaSettings
from pipeline.kafka.offsets import LagReader, Offsets, events_between, lag_reader
from pipeline.model.errors import PipelineError

WINDOW_SECONDS = 300.0
"""How far back the share is taken of. With less one customer's bad minute would close the cap, with
more it would stay closed long after."""
_STEPS = 60
"""Of a window: what happened in the same step is added up."""
_REOPEN = 0.05
"""Share of what is allowed that must be free again, so that it does not open for each event."""


@dataclass(slots=True)
class _Step:
    at: float
    events: float = 0.0
    taken: int = 0


class EscalationCap:
    """Counts what came in and what was taken of the escalated, over a sliding window.

    Args:
        share: Of the events of the window that may be taken.
        per_minute: That may be taken beyond the share.
        window: In seconds.
        clock: Seconds that do not go back.
    """

    def __init__(
        self, share: float, *, per_minute: float, window: float, clock: Callable[[], float]
    ) -> None:
        self._share = share
        self._always = per_minute * window / 60
        self._window = window
        self._clock = clock
        self._steps: deque[_Step] = deque()
        self._is_held = False

    @classmethod
    def from_settings(
        cls, settings: EscalationSettings, *, clock: Callable[[], float]
    ) -> "EscalationCap | None":
        """The cap that is set; None where none is."""
        if settings.max_share is None:
            return None
        return cls(
            settings.max_share,
            per_minute=settings.per_minute,
            window=WINDOW_SECONDS,
            clock=clock,
        )

    def advanced(self, events: float) -> None:
        """The first tier is done with so many events more, escalated ones included."""
        self._step().events += events

    def took(self, records: int) -> None:
        """So many escalated events were taken."""
        self._step().taken += records

    def room(self) -> int:
        """How many escalated events may be taken now."""
        self._forget()
        allowed = self._share * sum(step.events for step in self._steps) + self._always
        room = int(allowed - sum(step.taken for step in self._steps))
        self._is_held = room < (max(1, _REOPEN * allowed) if self._is_held else 1)
        return 0 if self._is_held else room

    def throttled_reason(self) -> str | None:
        """Why none are taken at present, in a sentence that stays the same; None where some are."""
        if self.room():
            return None
        return (
            f"more than {self._share:.1%} of the events of the last {self._window:g} seconds "
            "were escalated: what is above that waits for its turn"
        )

    def _step(self) -> _Step:
        now = self._clock()
        if not self._steps or now >= self._steps[-1].at + self._window / _STEPS:
            self._steps.append(_Step(now))
        return self._steps[-1]

    def _forget(self) -> None:
        since = self._clock() - self._window
        while self._steps and self._steps[0].at <= since:
            self._steps.popleft()


LOOK_SECONDS = 5.0
"""Between two looks at how far the stages have come."""
log = structlog.get_logger(__name__)


class CappedEscalations:
    """The throttle of the escalations' consumer; it knows what is going on while `watch` runs.

    How much comes in is seen by the committed offsets of the stages' groups, wherever their
    consumers run. Of what the cap allows, a replica takes the part that goes with its partitions.

    Args:
        cap: Does the counting.
        kafka: How the brokers are reached.
        groups: The stages' consumer groups, and the raw topic of each.
        escalations: The topic that is held.
        assigned: How many of its partitions are assigned to this process at present.
    """

    def __init__(
        self,
        cap: EscalationCap,
        kafka: KafkaSettings,
        groups: Mapping[str, str],
        escalations: str,
        assigned: Callable[[], int],
    ) -> None:
        self._cap = cap
        self._kafka = kafka
        self._groups = groups
        self._escalations = escalations
        self._assigned = assigned

    def room(self) -> int:
        """How many escalated events may be taken now."""
        return self._cap.room()

    def throttled_reason(self) -> str | None:
        """Why none may be taken now, in a sentence."""
        return self._cap.throttled_reason()

    def took(self, records: int) -> None:
        """So many were taken."""
        self._cap.took(records)

    async def watch(self) -> None:
        """Look at how far the stages have come, until cancelled.

        While the brokers do not answer nothing counts as done, so only the few a minute that
        the cap always allows are taken.
        """
        earlier: Offsets = {}
        while True:
            try:
                async with lag_reader(self._kafka) as reader:
                    while True:
                        earlier = await self._look(reader, earlier)
                        await asyncio.sleep(LOOK_SECONDS)
            except PipelineError as error:
                log.warning("progress_unknown", because=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, reader: LagReader, earlier: Offsets) -> Offsets:
        later: Offsets = {}
        for group, topic in self._groups.items():
            later = {**later, **await reader.committed(group, [topic])}
        total = await reader.partitions(self._escalations)
        self._cap.advanced(events_between(earlier, later) * self._assigned() / max(1, total))
        return later
