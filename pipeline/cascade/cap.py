"""How much of what comes in the second tier is asked about at most.

When more than planned is doubted, what is above the cap waits its turn: a doubtful answer is never
accepted to save money. A few a minute go through in any case, so that what waits is done one day
even if nothing new comes in.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field

import structlog

from pipeline.config import EscalationSettings, KafkaSettings
from pipeline.kafka.offsets import Offsets, events_between, lag_reader
from pipeline.kafka.topics import Subscription
from pipeline.model.errors import PipelineError

WINDOW_SECONDS = 300.0
"""How far back the share is taken of. With less one customer's bad minute would close the cap, with
more it would stay closed long after."""
LOOK_SECONDS = 5.0
"""Between two looks at how far the stages have come."""
_STEPS = 60
"""Of a window: what happened in the same step is added up."""
_REOPEN = 0.05
"""Share of what is allowed that must be free again, so that it does not open for each event."""
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Step:
    at: float
    events: float = 0.0
    taken: int = 0


@dataclass(eq=False)
class EscalationCap:
    """The throttle of the escalations' consumer, over a sliding window in seconds. Pure.

    A `share` of the window's events may be taken, and so many `per_minute` beyond it.
    """

    share: float
    _: KW_ONLY
    per_minute: float
    window: float
    clock: Callable[[], float]
    _steps: deque[_Step] = field(default_factory=deque, init=False)
    _is_held: bool = field(default=False, init=False)

    @classmethod
    def from_settings(
        cls, settings: EscalationSettings, *, clock: Callable[[], float]
    ) -> "EscalationCap | None":
        share, per_minute = settings.max_share, settings.per_minute
        if share is None:
            return None
        return cls(share, per_minute=per_minute, window=WINDOW_SECONDS, clock=clock)

    def advanced(self, events: float) -> None:
        """The first tier completed so many events more, escalated ones included."""
        self._step().events += events

    def took(self, records: int) -> None:
        self._step().taken += records

    def room(self) -> int:
        """How many escalated events may be taken now."""
        since = self.clock() - self.window
        while self._steps and self._steps[0].at <= since:
            self._steps.popleft()
        allowed = (
            self.share * sum(step.events for step in self._steps)
            + self.per_minute * self.window / 60
        )
        room = int(allowed - sum(step.taken for step in self._steps))
        self._is_held = room < (max(1, _REOPEN * allowed) if self._is_held else 1)
        return 0 if self._is_held else room

    def throttled_reason(self) -> str | None:
        """Why none are taken at present, in a sentence that stays the same; None where some are."""
        if self.room():
            return None
        return (
            f"more than {self.share:.1%} of the events of the last {self.window:g} seconds "
            "were escalated: what is above that waits for its turn"
        )

    def _step(self) -> _Step:
        now = self.clock()
        if not self._steps or now >= self._steps[-1].at + self.window / _STEPS:
            self._steps.append(_Step(now))
        return self._steps[-1]


async def watch_progress(
    cap: EscalationCap,
    kafka: KafkaSettings,
    groups: Mapping[str, Subscription],
    escalations: str,
    assigned: Callable[[], int],
) -> None:
    """Report to the cap how much the stages get done, until cancelled.

    That is seen by the committed offsets of their `groups` (each with what it reads), wherever
    their consumers run. Of what the cap allows, a replica takes the part that goes with its
    `assigned` partitions. While the brokers do not answer nothing counts as done, so only the few a
    minute that are always allowed are taken.
    """
    earlier: Mapping[str, Offsets] = {}
    while True:
        try:
            async with lag_reader(kafka) as reader:
                while True:
                    # By group: several may read one topic.
                    later = {
                        group: await reader.committed(group, read) for group, read in groups.items()
                    }
                    done = sum(
                        events_between(earlier.get(group, {}), offsets)
                        for group, offsets in later.items()
                    )
                    total = await reader.partitions(escalations)
                    cap.advanced(done * assigned() / max(1, total))
                    earlier = later
                    await asyncio.sleep(LOOK_SECONDS)
        except PipelineError as error:
            log.warning("progress_unknown", because=str(error))
        await asyncio.sleep(LOOK_SECONDS)
