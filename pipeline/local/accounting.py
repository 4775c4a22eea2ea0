"""Did every published event reach exactly one end? And what did it cost? Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.model.records import Usage, is_simulated


class Place(StrEnum):
    """Where an event ends for good."""

    ENRICHED = "enriched"
    REVIEW = "review"
    DEAD_LETTERS = "dead_letters"


@dataclass(frozen=True, slots=True, order=True)
class Coordinates:
    """Which raw record: nothing else tells two events with the same id apart."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Ending:
    """One record that says where an event ended.

    Args:
        event: The raw record.
        place: Where it ended.
        decided_by: The tier whose answer was accepted; None where none was.
        model: As the API names it; None where none was asked.
        doubts: Codes: why an answer was not accepted.
        reason: The code of a dead letter.
        usage: What the answers cost.
        seconds: From the raw record's time to the end; None where it is not known.
    """

    event: Coordinates
    place: Place
    decided_by: str | None = None
    model: str | None = None
    doubts: tuple[str, ...] = ()
    reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    seconds: float | None = None


@dataclass(slots=True)
class Tally:
    """What became of the events of one stage."""

    published: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    decided_by: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)
    seconds: list[float] = field(default_factory=list)

    def count(self, ending: Ending) -> None:
        """Take one ending in."""
        self.ends[ending.place] += 1
        if ending.decided_by is not None:
            self.decided_by[ending.decided_by] += 1
        self.doubts.update(ending.doubts)
        if ending.reason is not None:
            self.reasons[ending.reason] += 1
        self.usage += ending.usage
        if ending.seconds is not None:
            self.seconds.append(ending.seconds)

    @property
    def adds_up(self) -> bool:
        """Whether published = enriched + review + dead letters."""
        return self.published == sum(self.ends.values())


@dataclass(frozen=True, slots=True)
class Account:
    """What became of all events.

    Args:
        stages: By name.
        lost: Published events without an end.
        repeated: Events with more than one end.
        unknown: Ends of events that nobody published.
        is_simulated: Whether a simulated model had a part in any of it.
    """

    stages: Mapping[str, Tally]
    lost: tuple[Coordinates, ...]
    repeated: tuple[Coordinates, ...]
    unknown: tuple[Coordinates, ...]
    is_simulated: bool

    @property
    def ok(self) -> bool:
        """Whether every published event reached exactly one end."""
        if self.lost or self.repeated or self.unknown:
            return False
        return all(tally.adds_up for tally in self.stages.values())

    @property
    def usage(self) -> Usage:
        """Of all stages."""
        return Usage.total(tally.usage for tally in self.stages.values())


def account(
    published: Mapping[Coordinates, str], endings: Iterable[Ending], stages: Sequence[str]
) -> Account:
    """Hold what was published against where it ended.

    Args:
        published: The stage of every raw record.
        endings: Every record of the topics where events end.
        stages: In the order to show them.
    """
    tallies = {stage: Tally() for stage in stages}
    for stage in published.values():
        tallies[stage].published += 1
    seen: Counter[Coordinates] = Counter()
    simulated = False
    for ending in endings:
        seen[ending.event] += 1
        simulated = simulated or is_simulated(ending.model or "")
        if ending.event in published:
            tallies[published[ending.event]].count(ending)
    return Account(
        stages=tallies,
        lost=tuple(sorted(published.keys() - seen.keys())),
        repeated=tuple(sorted(event for event, count in seen.items() if count > 1)),
        unknown=tuple(sorted(seen.keys() - published.keys())),
        is_simulated=simulated,
    )


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of the values does not exceed; None of none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
