"""Did every published event reach exactly one end, and what did it cost? Pure.

Reads where events ended from the records that say so.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from pipeline.claude.billing import Alternatives, PriceTable, Tokens, priced_otherwise
from pipeline.kafka.topics import TopicNames
from pipeline.model.records import Usage, added, is_simulated
from pipeline.stream.records import Received

REVIEW, DEAD_LETTER = "review", "dead_letters"


class Coordinates(NamedTuple):
    """Which raw record: nothing else distinguishes two events with the same id."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Ending:
    """One record that says where an event ended."""

    event: Coordinates  # the raw record
    outcome: str  # who decided, such as `haiku`; or REVIEW, or DEAD_LETTER
    model: str | None = None  # as the API names it; None where none was asked
    doubts: tuple[str, ...] = ()  # codes: why an answer was not accepted
    reason: str | None = None  # the code of a dead letter
    usage: Usage = field(default_factory=Usage)  # what the answers cost, of both tiers
    seconds: float | None = None  # from the raw record's time to the end; None where not known


@dataclass(slots=True)
class Tally:
    published: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)
    seconds: list[float] = field(default_factory=list)

    def count(self, ending: Ending) -> None:
        self.outcomes[ending.outcome] += 1
        self.doubts.update(ending.doubts)
        if ending.reason is not None:
            self.reasons[ending.reason] += 1
        self.usage += ending.usage
        if ending.seconds is not None:
            self.seconds.append(ending.seconds)


@dataclass(frozen=True, slots=True)
class Account:
    total: Tally
    stages: Mapping[str, Tally]
    kinds: Mapping[str, Tally]  # by what is special about the events, `routine` included
    lost: tuple[Coordinates, ...]  # published events without an end
    repeated: tuple[Coordinates, ...]  # events with more than one end
    unknown: tuple[Coordinates, ...]  # ends of events that nobody published
    is_simulated: bool  # whether a simulated model had a part in any of it
    escalated: int  # events whose first answer was doubted
    first: tuple[Usage, ...]  # what each first answer used, of the events that have one
    haiku_usd: Decimal | None  # of the first answers; None where not known
    sonnet_usd: Decimal | None  # of all that came after them

    @property
    def ok(self) -> bool:
        return not (self.lost or self.repeated or self.unknown)


def account(
    published: Mapping[Coordinates, str],
    endings: Iterable[Ending],
    stages: Iterable[str],
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
    by_stage = {stage: Tally() for stage in stages}
    by_kind = {kind: Tally() for kind in kinds.values()}
    tallies = {
        event: (total, by_stage[stage], *([by_kind[kinds[event]]] if event in kinds else []))
        for event, stage in published.items()
    }
    for each in tallies.values():
        for tally in each:
            tally.published += 1
    seen: Counter[Coordinates] = Counter()
    simulated, first = False, []
    for ending in endings:
        seen[ending.event] += 1
        simulated = simulated or is_simulated(ending.model or "")
        if ending.event in tallies:
            for tally in tallies[ending.event]:
                tally.count(ending)
            first.append(escalated.get(ending.event, ending.usage))
    cost, of_first = total.usage.cost_usd, sum(first, Usage()).cost_usd
    unseen = (usage for event, usage in escalated.items() if event not in seen)
    pending = sum(unseen, Usage())
    return Account(
        total=total,
        stages=by_stage,
        kinds=by_kind,
        lost=tuple(sorted(published.keys() - seen.keys())),
        repeated=tuple(sorted(event for event, count in seen.items() if count > 1)),
        unknown=tuple(sorted(seen.keys() - published.keys())),
        is_simulated=simulated,
        escalated=len(escalated),
        first=tuple(usage for usage in first if usage.calls or usage.reused),
        haiku_usd=added(of_first, pending.cost_usd),
        sonnet_usd=None if cost is None or of_first is None else cost - of_first,
    )


def ending_of(record: Received, topics: TopicNames) -> Ending:
    """The end that a record of an enriched topic, of `review` or of `dead-letters` stands for."""
    if record.topic == topics.dead_letters:
        about = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
        reason = about["dlq-reason"]
        if about["dlq-topic"] != topics.escalations:
            place = int(about["dlq-partition"]), int(about["dlq-offset"])
            return Ending(Coordinates(about["dlq-topic"], *place), DEAD_LETTER, reason=reason)
        # It was escalated before: the raw record is the one that the escalation came from.
        value = orjson.loads(record.value or b"")
        outcome, model, doubts, seconds = DEAD_LETTER, value["haiku_model"], value["doubts"], None
    else:
        value, reason = orjson.loads(record.value or b""), None
        model = value["model"]
        if record.topic == topics.review:
            outcome, doubts = REVIEW, value["doubts"]
        else:
            outcome, doubts = value["decided_by"], (value["escalation"] or {}).get("doubts", ())
        start, end = value["source"]["timestamp"], value["timing"]["enriched_at"]
        seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    return Ending(
        source_of(value),
        outcome,
        model,
        tuple(doubt["code"] for doubt in doubts),
        reason,
        Usage.model_validate(value["usage"]),
        seconds,
    )


def source_of(value: Mapping[str, Any]) -> Coordinates:
    """The raw record that an enriched, escalated or review record comes from."""
    source = value["source"]
    return Coordinates(source["topic"], source["partition"], source["offset"])


def alternatives(
    first: Sequence[Usage], prices: PriceTable, *, haiku: str, sonnet: str
) -> Alternatives:
    """Price the tokens that the first answers were recorded with in other ways.

    An answer that was reused has no tokens of its own: it is taken to cost as much as the others do
    on average. `haiku` and `sonnet` are the models of the two tiers.
    """
    asked = [
        Tokens(
            input=usage.input_tokens,
            cache_read=usage.cache_read_tokens,
            cache_write_5m=usage.cache_write_tokens,
            output=usage.output_tokens,
        )
        for usage in first
        if usage.calls
    ]
    repeats = Decimal(len(first)) / (len(asked) or 1)
    found = priced_otherwise(asked, prices, haiku=haiku, sonnet=sonnet)
    return Alternatives(*(None if each is None else each * repeats for each in found))


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of the values does not exceed; None of none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
