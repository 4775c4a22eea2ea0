"""Holds the intake of escalations to a share of what all stages get done, replicas included."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from pipeline.errors import PipelineError
from pipeline.escalation.cap import EscalationCap
from pipeline.settings import KafkaSettings
from pipeline.stream.progress import Offsets, ProgressReader, events_between

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

    def held_because(self) -> str | None:
        """Why none may be taken now, in a sentence."""
        return self._cap.held_because()

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
                async with ProgressReader(self._kafka) as reader:
                    while True:
                        earlier = await self._look(reader, earlier)
                        await asyncio.sleep(LOOK_SECONDS)
            except PipelineError as error:
                log.warning("progress_unknown", because=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, reader: ProgressReader, earlier: Offsets) -> Offsets:
        later: Offsets = {}
        for group, topic in self._groups.items():
            later = {**later, **await reader.committed(group, [topic])}
        total = await reader.partitions(self._escalations)
        self._cap.advanced(events_between(earlier, later) * self._assigned() / max(1, total))
        return later
