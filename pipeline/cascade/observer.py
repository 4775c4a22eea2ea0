"""What the processors tell whoever watches them; `pipeline.observe` turns it into metrics."""

from typing import Any, Literal, Protocol

from pipeline.model.records import Enriched, Review, Tier

AuditVerdict = Literal["agreed", "differed", "unsettled", "not_compared"]
"""What the second tier said to an answer of the first that nothing but chance sent on; the last
where the stage does not say which fields decide."""


class ProcessorObserver(Protocol):
    """Receives each event's end, from the event loop; must be quick and must not raise."""

    def decided(self, stage: str, tier: Tier, end: str, *, model: str) -> None:
        """A model's answer was judged, and the event ends there: one of `stream.records.End`."""
        ...

    def doubted(self, stage: str, code: str) -> None:
        """An answer was not accepted, for this reason among others."""
        ...

    def settled(self, record: Enriched[Any] | Review) -> None:
        """An event came to its last record, which is about to be published."""
        ...

    def audited(self, stage: str, verdict: AuditVerdict) -> None:
        """An answer of the first tier was looked at by the second, for chance alone."""
        ...

    def dead_lettered(self, stage: str, reason: str) -> None:
        """An event became a dead letter."""
        ...


class NoObserver:
    """Nobody watches; also the base of observers that care about some of it."""

    def decided(self, stage: str, tier: Tier, end: str, *, model: str) -> None:
        """Ignore."""

    def doubted(self, stage: str, code: str) -> None:
        """Ignore."""

    def settled(self, record: Enriched[Any] | Review) -> None:
        """Ignore."""

    def audited(self, stage: str, verdict: AuditVerdict) -> None:
        """Ignore."""

    def dead_lettered(self, stage: str, reason: str) -> None:
        """Ignore."""
