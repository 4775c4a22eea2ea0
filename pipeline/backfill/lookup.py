"""Whether a batch that may have been handed in was: what the API's list says about it. Pure.

The list shows when a batch was made and how many requests it holds, and no custom ids. Those are
in its results, so a batch that may be ours is known for certain once it has ended.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from pipeline.backfill.job import Job
from pipeline.claude.batch import Batch

SKEW = timedelta(minutes=10)
"""How far the clocks of this machine and of the API may be apart."""


@dataclass(frozen=True, slots=True)
class Found:
    """It was handed in, and this is its handle."""

    batch_id: str


@dataclass(frozen=True, slots=True)
class Undecided:
    """Nobody can tell yet: some may be ours and have not ended, or may yet show up."""

    waits_for: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """It was not handed in."""


Verdict = Found | Undecided | Absent


def candidates(listed: Iterable[Batch], job: Job, known: Collection[str]) -> list[Batch]:
    """Which of the listed batches may be the one.

    Args:
        listed: Batches of the workspace.
        job: The batch that is looked for.
        known: Handles of which it is known whose they are.
    """
    since = job.sending_since or job.claimed_at
    return [
        batch
        for batch in listed
        if batch.request_counts.total == job.requests
        and batch.created_at >= since - SKEW
        and batch.id not in known
    ]


def verdict(found: Iterable[Batch], ours: Mapping[str, bool], *, settled: bool) -> Verdict:
    """What the candidates come to.

    Args:
        found: The candidates.
        ours: Of those that ended, whether their results carry our custom ids.
        settled: Whether the list was read so late that a batch which was handed in is in it.
    """
    open_: list[str] = []
    for batch in found:
        if ours.get(batch.id):
            return Found(batch.id)
        if batch.id not in ours:
            open_.append(batch.id)
    return Undecided(tuple(open_)) if open_ or not settled else Absent()
