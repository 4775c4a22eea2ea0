"""Did every published event reach exactly one end, and what did it cost? Pure.

Reads where events ended from the records that say so.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import orjson

from pipeline.claude.billing import PriceTable, Tokens
from pipeline.kafka.topics import TopicNames
from pipeline.model.records import Usage, is_simulated
from pipeline.stream.records import Received


class Place(StrEnum):
    """Where an event ends for good."""

    ENRICHED = "enriched"
    REVIEW = "review"
    DEAD_LETTERS = "dead_letters"


@dataclass(frozen=True, slots=True, order=True)
class Coordinates:
    """Which raw record: nothing else distinguishes two events with the same id."""

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
        usage: What the answers cost, of both tiers.
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
    """What became of some events: those of one stage, or of one kind."""

    published: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    decided_by: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)
    seconds: list[float] = field(default_factory=list)

    def count(self, ending: Ending) -> None:
        self.ends[ending.place] += 1
        if ending.decided_by is not None:
            self.decided_by[ending.decided_by] += 1
        self.doubts.update(ending.doubts)
        if ending.reason is not None:
            self.reasons[ending.reason] += 1
        self.usage += ending.usage
        if ending.seconds is not None:
            self.seconds.append(ending.seconds)


@dataclass(frozen=True, slots=True)
class Account:
    """What became of all events.

    Args:
        total: Of all stages.
        stages: By name.
        kinds: By what is special about the events, `routine` included; empty where not given.
        lost: Published events without an end.
        repeated: Events with more than one end.
        unknown: Ends of events that nobody published.
        is_simulated: Whether a simulated model had a part in any of it.
        escalated: How many events were, their first answer being doubted.
        first: What each first answer used, of the events that have one.
    """

    total: Tally
    stages: Mapping[str, Tally]
    kinds: Mapping[str, Tally]
    lost: tuple[Coordinates, ...]
    repeated: tuple[Coordinates, ...]
    unknown: tuple[Coordinates, ...]
    is_simulated: bool
    escalated: int = 0
    first: tuple[Usage, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every published event reached exactly one end."""
        return not (self.lost or self.repeated or self.unknown)


def account(
    published: Mapping[Coordinates, str],
    endings: Iterable[Ending],
    stages: Sequence[str],
    *,
    kinds: Mapping[Coordinates, str] | None = None,
    escalated: Mapping[Coordinates, Usage] | None = None,
) -> Account:
    """Compare what was published with where it ended.

    Args:
        published: The stage of every raw record.
        endings: Every record of the topics where events end.
        stages: In the order to show them.
        kinds: What is special about raw records.
        escalated: What the first answer used, of the events that were escalated.
    """
    kinds, escalated = kinds or {}, escalated or {}
    total = Tally()
    tallies = {stage: Tally() for stage in stages}
    by_kind = {kind: Tally() for kind in kinds.values()}

    def tallies_of(event: Coordinates) -> Iterator[Tally]:
        yield total
        yield tallies[published[event]]
        if event in kinds:
            yield by_kind[kinds[event]]

    for event in published:
        for tally in tallies_of(event):
            tally.published += 1
    seen: Counter[Coordinates] = Counter()
    simulated, first = False, []
    for ending in endings:
        seen[ending.event] += 1
        simulated = simulated or is_simulated(ending.model or "")
        if ending.event in published:
            for tally in tallies_of(ending.event):
                tally.count(ending)
            first.append(escalated.get(ending.event, ending.usage))
    return Account(
        total=total,
        stages=tallies,
        kinds=by_kind,
        lost=tuple(sorted(published.keys() - seen.keys())),
        repeated=tuple(sorted(event for event, count in seen.items() if count > 1)),
        unknown=tuple(sorted(seen.keys() - published.keys())),
        is_simulated=simulated,
        escalated=len(escalated),
        first=tuple(usage for usage in first if usage.calls or usage.reused),
    )


def ending_of(record: Received, topics: TopicNames) -> Ending:
    """The end that a record of an enriched topic, of `review` or of `dead-letters` stands for."""
    if record.topic == topics.dead_letters:
        return _dead_letter(record, topics)
    value = orjson.loads(record.value or b"")
    place = Place.REVIEW if record.topic == topics.review else Place.ENRICHED
    doubts = value["doubts"] if place is Place.REVIEW else (value["escalation"] or {}).get("doubts")
    start, end = value["source"]["timestamp"], value["timing"]["enriched_at"]
    return Ending(
        event=source_of(value),
        place=place,
        decided_by=value.get("decided_by"),
        model=value["model"],
        doubts=tuple(doubt["code"] for doubt in doubts or ()),
        usage=Usage.model_validate(value["usage"]),
        seconds=(datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(),
    )


def source_of(value: Mapping[str, Any]) -> Coordinates:
    """The raw record that an enriched, escalated or review record comes from."""
    source = value["source"]
    return Coordinates(source["topic"], source["partition"], source["offset"])


def _dead_letter(record: Received, topics: TopicNames) -> Ending:
    headers = {
        name: value.decode()
        for name, value in record.headers
        if name.startswith("dlq-") and value is not None
    }
    reason = headers["dlq-reason"]
    if headers["dlq-topic"] == topics.escalations:
        # It was escalated before: the raw record is the one that the escalation came from.
        escalation = orjson.loads(record.value or b"")
        return Ending(
            event=source_of(escalation),
            place=Place.DEAD_LETTERS,
            model=escalation["haiku_model"],
            doubts=tuple(doubt["code"] for doubt in escalation["doubts"]),
            reason=reason,
            usage=Usage.model_validate(escalation["usage"]),
        )
    event = Coordinates(
        headers["dlq-topic"], int(headers["dlq-partition"]), int(headers["dlq-offset"])
    )
    return Ending(event, Place.DEAD_LETTERS, reason=reason)


@dataclass(frozen=True, slots=True)
class Alternatives:
    """What the same events would have cost otherwise, in US dollars; None where not known.

    Args:
        sonnet_alone: Every first answer by Sonnet, with the prompt cache as it was.
        plain_loop: Every first answer by Haiku without prompt cache, nothing checked or escalated.
    """

    sonnet_alone: Decimal | None
    plain_loop: Decimal | None


def alternatives(
    first: Sequence[Usage], prices: PriceTable, *, haiku: str, sonnet: str
) -> Alternatives:
    """Price the tokens that the first answers were recorded with in other ways.

    An answer that was reused has no tokens of its own: it is taken to cost as much as the others do
    on average.

    Args:
        first: What each first answer used.
        prices: US dollars by model.
        haiku: The model of the first tier.
        sonnet: The model of the second.
    """
    asked = [usage for usage in first if usage.calls]
    repeats = Decimal(len(first)) / (len(asked) or 1)

    def total(model: str, tokens: Iterable[Tokens]) -> Decimal | None:
        costs = [prices.cost(model, each) for each in tokens]
        known = [cost for cost in costs if cost is not None]
        return sum(known, Decimal(0)) * repeats if len(known) == len(costs) else None

    as_it_was = [
        Tokens(
            input=usage.input_tokens,
            cache_read=usage.cache_read_tokens,
            cache_write_5m=usage.cache_write_tokens,
            output=usage.output_tokens,
        )
        for usage in asked
    ]
    uncached = [Tokens(input=each.prompt, output=each.output) for each in as_it_was]
    return Alternatives(
        sonnet_alone=total(sonnet, as_it_was),
        plain_loop=total(haiku, uncached),
    )


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of the values does not exceed; None of none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
