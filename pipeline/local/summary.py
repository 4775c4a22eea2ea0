"""What the demo came to: for people and, as the same numbers, for programs.

Reads where events ended from the records that say so.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from pipeline.kafka.topics import TopicNames
from pipeline.local.accounting import Account, Coordinates, Ending, Place, Tally, percentile
from pipeline.model.records import Usage
from pipeline.stream.records import Received

HEADINGS = (
    "Stage", "Published", "Enriched", "Haiku", "Sonnet", "Review", "Dead", "Cost", "p50", "p95",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Summary:
    """What the demo came to.

    Args:
        account: What became of every event.
        delivery: The guarantee that was in force.
        seconds: From the first event published to the last end.
        dashboard: Where it is, or was.
        problem: Why the demo counts as failed although the account may be fine; None otherwise.
    """

    account: Account
    delivery: str
    seconds: float
    dashboard: str
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """Whether every event reached exactly one end, and nothing else went wrong."""
        return self.problem is None and self.account.ok

    def as_json(self) -> dict[str, Any]:
        """The object that `pipeline demo --json` prints last."""
        stages = {name: _stage(tally) for name, tally in self.account.stages.items()}
        return {
            "stages": stages,
            "tokens": _tokens(self.account.usage),
            "cost_usd": _decimal(self.account.usage.cost_usd),
            "seconds": round(self.seconds, 1),
            "delivery": self.delivery,
            "simulated": self.account.is_simulated,
            "lost": len(self.account.lost),
            "repeated": len(self.account.repeated),
            "unknown": len(self.account.unknown),
            "problem": self.problem,
            "ok": self.ok,
        }

    def rows(self) -> Iterator[Sequence[str]]:
        """The table, under `HEADINGS`."""
        for name, tally in self.account.stages.items():
            ends = tally.ends
            yield (
                name,
                str(tally.published),
                str(ends[Place.ENRICHED]),
                str(tally.decided_by["haiku"]),
                str(tally.decided_by["sonnet"]),
                str(ends[Place.REVIEW]),
                str(ends[Place.DEAD_LETTERS]),
                dollars(tally.usage.cost_usd),
                duration(percentile(tally.seconds, 0.5)),
                duration(percentile(tally.seconds, 0.95)),
            )

    def sentences(self) -> Iterator[str]:
        """What belongs under the table."""
        tallies = self.account.stages
        for name, tally in tallies.items():
            usage = tally.usage
            yield f"{name}: {_input(usage):,} tokens in, {usage.output_tokens:,} out."
            if tally.doubts:
                yield f"  not accepted at once because of {_counts(tally.doubts)}"
            if tally.reasons:
                yield f"  dead letters because of {_counts(tally.reasons)}"
        yield "Latencies are from publication, all at once, to the result."
        if self.account.is_simulated:
            yield "Answers, tokens, costs and latencies are simulated: no model was asked."
        yield self._verdict()

    def _verdict(self) -> str:
        account = self.account
        delivery = self.delivery.replace("_", " ")
        total = sum(tally.published for tally in account.stages.values())
        if self.ok:
            return (
                f"All {total} events reached exactly one end, for {dollars(account.usage.cost_usd)}"
                f" in {self.seconds:.1f} s ({delivery})."
            )
        faults = (
            f"of {total} events {len(account.lost)} have no end, {len(account.repeated)} more than "
            f"one, and {len(account.unknown)} ends are of no event ({delivery})"
        )
        return f"The demo failed: {self.problem or faults}."


def dollars(cost: Decimal | None) -> str:
    """US dollars, with as many digits as say something."""
    if cost is None:
        return "unknown"
    return f"${cost:.2f}" if cost >= 1 else f"${cost:.5f}"


def duration(seconds: float | None) -> str:
    """Seconds, for a table."""
    return "-" if seconds is None else f"{seconds:.2f} s"


def _stage(tally: Tally) -> dict[str, Any]:
    return {
        "published": tally.published,
        "enriched": tally.ends[Place.ENRICHED],
        "haiku": tally.decided_by["haiku"],
        "sonnet": tally.decided_by["sonnet"],
        "review": tally.ends[Place.REVIEW],
        "dead_letters": tally.ends[Place.DEAD_LETTERS],
        "escalation_reasons": dict(tally.doubts.most_common()),
        "dead_letter_reasons": dict(tally.reasons.most_common()),
        "tokens": _tokens(tally.usage),
        "cost_usd": _decimal(tally.usage.cost_usd),
        "p50_seconds": percentile(tally.seconds, 0.5),
        "p95_seconds": percentile(tally.seconds, 0.95),
    }


def _tokens(usage: Usage) -> Mapping[str, int]:
    return {
        "input": usage.input_tokens,
        "cache_read": usage.cache_read_tokens,
        "cache_write": usage.cache_write_tokens,
        "output": usage.output_tokens,
    }


def _input(usage: Usage) -> int:
    return usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens


def _decimal(cost: Decimal | None) -> str | None:
    return None if cost is None else format(cost, "f")


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{code} ({count})" for code, count in counter.most_common())


def ending_of(record: Received, topics: TopicNames) -> Ending:
    """The end that a record of an enriched topic, of `review` or of `dead-letters` stands for."""
    if record.topic == topics.dead_letters:
        return _dead_letter(record, topics)
    value = orjson.loads(record.value or b"")
    place = Place.REVIEW if record.topic == topics.review else Place.ENRICHED
    doubts = value["doubts"] if place is Place.REVIEW else (value["escalation"] or {}).get("doubts")
    return Ending(
        event=_source(value["source"]),
        place=place,
        decided_by=value.get("decided_by"),
        model=value["model"],
        doubts=tuple(doubt["code"] for doubt in doubts or ()),
        usage=Usage.model_validate(value["usage"]),
        seconds=_seconds(value["source"]["timestamp"], value["timing"]["enriched_at"]),
    )


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
            event=_source(escalation["source"]),
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


def _source(source: Mapping[str, Any]) -> Coordinates:
    return Coordinates(source["topic"], source["partition"], source["offset"])


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
