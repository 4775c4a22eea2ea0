"""How far a backfill is, for whoever watches it, and what came of it in the end."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from pipeline.backfill.job import Job, Run, State, Tally
from pipeline.events import added


@dataclass(frozen=True, slots=True)
class Report:
    """A backfill, over all starts of the program.

    Args:
        source: The topic, or `file:` and the digest of a file.
        events: What there was to do when it began, about; what is in batches, where that is more.
        claimed: Events that are in batches.
        published: Events that came to an end.
        batches: Batches in all.
        under_way: Those that are not published.
        resumed: Those that this start of the program found unfinished.
        found_again: Of these, hand-ins whose answer was lost and whose batch was found.
        batch_usd: Cost of what batches answered, at half the price; None if not known.
        normal_usd: Cost of what the normal lane had to answer.
        done: Whether all of it is done.
    """

    stage: str
    source: str
    events: int
    claimed: int
    published: int
    enriched: int
    escalated: int
    dead_letters: int
    returned: int
    gone: int
    batches: int
    under_way: int
    resumed: int
    found_again: int
    batch_usd: Decimal | None
    normal_usd: Decimal | None
    done: bool

    @property
    def cost_usd(self) -> Decimal | None:
        """Of all."""
        return added(self.batch_usd, self.normal_usd)


class Watcher(Protocol):
    """Told of what happens, from the event loop; must be quick and must not raise."""

    def changed(self, report: Report) -> None:
        """Something came further."""
        ...

    def happened(self, sentence: str) -> None:
        """Something that a person may want to know."""
        ...


class NoWatcher:
    """Nobody watches."""

    def changed(self, report: Report) -> None:
        """Ignore."""

    def happened(self, sentence: str) -> None:
        """Ignore."""


def report_of(run: Run, jobs: Iterable[Job], *, resumed: int = 0, found_again: int = 0) -> Report:
    """Sum up the batches of one backfill."""
    mine = [job for job in jobs if job.run == run.run]
    tally = sum((job.tally for job in mine), Tally())
    claimed = sum(job.events for job in mine)
    return Report(
        stage=run.stage,
        source=run.source,
        events=claimed if run.ended_at is not None else max(run.events or 0, claimed),
        claimed=claimed,
        published=tally.published,
        enriched=tally.enriched,
        escalated=tally.escalated,
        dead_letters=tally.dead_letters,
        returned=tally.returned,
        gone=tally.gone,
        batches=len(mine),
        under_way=sum(job.state is not State.PUBLISHED for job in mine),
        resumed=resumed,
        found_again=found_again,
        batch_usd=tally.batch_usd,
        normal_usd=tally.normal_usd,
        done=run.ended_at is not None,
    )
