"""How much of a rate limit is used by replicas that do not talk, and how often they trip it.

`python -m benchmarks.limits` runs four processes with a gateway each against one simulated API
with rate limits, in several scenarios at once, each with an API of its own. Nothing tells the
replicas the limit but the headers of the answers, or, in the second half, 429s alone. Prints a
table, the goals, and one JSON object as its last line.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.goals import Goal, Part, Table, at_least, at_most
from benchmarks.replicas import replicas
from benchmarks.report import conclude, parser
from benchmarks.simulated import Row, simulated_api
from pipeline.local.simulated.rate_limiting import SentHeaders

Kind = Literal["requests", "input_tokens", "output_tokens"]

REPLICAS = 4
USED, USED_LEARNED = 97.0, 90.0
"""Per cent of the limit, at least: where headers state it, and where they do not."""
REFUSED, REFUSED_LEARNED = 1.0, 20.0
"""429s in a thousand answers, at most: of all, and after the first minute."""
LEARNING_SECONDS = 60.0
WARM_UP = 75.0
"""Seconds before those that count: the bucket begins full, which would count as use above the
limit, and the replicas begin to ask at different moments."""
_LAST_ANSWERS = 3.0
_OTHERS = 400_000_000
"""A limit that does not bind."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One limit that binds.

    Args:
        name: Of its row.
        kind: Which limit binds.
        per_minute: That limit.
        then: What it is multiplied by in the middle.
        headers: What the responses say of it.
        window: Seconds of it that may be used at once.
    """

    name: str
    kind: Kind
    per_minute: int
    then: float = 1.0
    headers: SentHeaders = "announced"
    window: float = 60.0

    @property
    def is_learned(self) -> bool:
        return self.headers in {"retry_after", "none"}

    def limits(self, share: float = 1.0) -> dict[str, int]:
        """All limits of the API."""
        others: dict[str, int] = dict.fromkeys(("input_tokens", "output_tokens"), _OTHERS)
        return {"requests": _OTHERS, **others, self.kind: int(self.per_minute * share)}


SCENARIOS = (
    Scenario("1,000 requests", "requests", 1_000),
    Scenario("10,000 requests", "requests", 10_000),
    Scenario("60,000 output tokens", "output_tokens", 60_000),
    Scenario("60,000 input tokens", "input_tokens", 60_000),
    Scenario("1,000 requests, then 500", "requests", 1_000, then=0.5),
    Scenario("10,000 requests, then 5,000", "requests", 10_000, then=0.5),
    Scenario("1,000 requests, headers renamed", "requests", 1_000, headers="renamed"),
    Scenario("600 requests, no headers", "requests", 600, headers="none"),
    Scenario("600 requests, then 300, no headers", "requests", 600, 0.5, "none"),
    Scenario("600 requests, then 1,200, no headers", "requests", 600, 2.0, "none"),
    Scenario("6,000 requests, no headers", "requests", 6_000, headers="none"),
    Scenario("6,000 requests, then 3,000, no headers", "requests", 6_000, 0.5, "none"),
    Scenario("6,000 requests, then 12,000, no headers", "requests", 6_000, 2.0, "none"),
    Scenario(
        "600 requests as 10 a second, retry-after alone", "requests", 600, 1.0, "retry_after", 1.0
    ),
    Scenario("60,000 output tokens, no headers", "output_tokens", 60_000, headers="none"),
)
_AMOUNT: Mapping[Kind, Callable[[Row], int]] = {
    "requests": lambda _: 1,
    "input_tokens": lambda row: (
        row["input_tokens"] + row["cache_write_5m_tokens"] + row["cache_write_1h_tokens"]
    ),
    "output_tokens": lambda row: row["output_tokens"],
}


@dataclass(frozen=True, slots=True)
class Found:
    """What a scenario came to.

    Args:
        used: Per cent of what the limit allowed.
        refused: 429s in a thousand answers, of the whole run with its start; of a learned limit
            after the first minute.
        answers: Of the whole run.
        worst: Per cent of the limit in the minute that used least.
        spread: The share of the answers that each replica got, in per cent, least first.
        cpu: Cores that all replicas took together.
    """

    scenario: Scenario
    used: float
    refused: float
    answers: int
    worst: float
    spread: Sequence[float]
    cpu: float


async def measure(scenario: Scenario, seconds: float, warm_up: float) -> Found:
    """Run a scenario.

    Args:
        scenario: Which.
        seconds: That count.
        warm_up: Seconds before.
    """
    limit = ",".join(f"{kind}={value}" for kind, value in scenario.limits().items())
    async with (
        simulated_api(
            *("--limit", limit),
            *("--limit-headers", scenario.headers),
            *("--limit-window", str(scenario.window)),
        ) as api,
        replicas(REPLICAS, api.environment) as running,
    ):
        await asyncio.sleep(warm_up)
        begin = await api.now()
        await asyncio.sleep(seconds / 2)
        switch = await api.now()
        if scenario.then != 1:
            await api.limit(**scenario.limits(scenario.then))
        await asyncio.sleep(seconds / 2)
        end = await api.now()
        # What was asked before the end is answered a little after it.
        await asyncio.sleep(_LAST_ANSWERS)
        reports = await running.stop()
        rows = [row for row in await api.requests() if row["endpoint"] == "messages"]
    answered = [each["answered"] for each in reports]
    learned_at = rows[0]["at"] + LEARNING_SECONDS if scenario.is_learned else 0.0
    counted = [row for row in rows if row["at"] >= learned_at]
    refused = sum(row["status"] == 429 for row in counted)  # noqa: PLR2004
    return Found(
        scenario,
        used=_used(rows, scenario, begin, end, switch),
        refused=1000 * refused / len(counted),
        answers=len(rows),
        worst=min(_used(rows, scenario, at, at + 60.0, switch) for at in _starts(begin, end, 60.0)),
        spread=sorted(round(100 * each / sum(answered), 1) for each in answered),
        cpu=sum(each["cpu_share"] for each in reports),
    )


def _starts(begin: float, end: float, length: float) -> list[float]:
    """Where spans of that length begin, a second apart; one where there is no room for it."""
    return [begin + second for second in range(max(1, int(end - begin - length)))]


def _used(
    rows: Sequence[Row], scenario: Scenario, begin: float, end: float, switch: float
) -> float:
    """Per cent of what the limit allowed between two moments; it changes at `switch`."""
    amount = _AMOUNT[scenario.kind]
    used = sum(amount(row) for row in rows if row["status"] == 200 and begin <= row["at"] < end)  # noqa: PLR2004
    before = max(0.0, min(end, switch) - begin)
    allowed = (before + (end - begin - before) * scenario.then) * scenario.per_minute / 60
    return 100 * used / allowed


async def run(scenarios: Sequence[Scenario], seconds: float, warm_up: float) -> Part:
    """Run scenarios, half of them at once: they wait most of the time."""
    found: list[Found] = []
    for is_learned in (False, True):
        chosen = [each for each in scenarios if each.is_learned is is_learned]
        found += await asyncio.gather(*(measure(each, seconds, warm_up) for each in chosen))
    goals: list[Goal] = []
    for each in found:
        name, learned = each.scenario.name, each.scenario.is_learned
        goals.append(at_least(f"{name}: used", each.used, USED_LEARNED if learned else USED, " %"))
        refused = REFUSED_LEARNED if learned else REFUSED
        goals.append(at_most(f"{name}: 429s in 1,000", each.refused, refused))
    table = Table(
        ("a minute", "used", "worst minute", "answers", "429s in 1,000", "replicas' shares", "CPU"),
        [
            (
                each.scenario.name,
                f"{each.used:.1f} %",
                f"{each.worst:.1f} %",
                f"{each.answers:,}",
                f"{each.refused:.2f}",
                " / ".join(f"{share:.0f} %" for share in each.spread),
                f"{each.cpu:.2f} cores",
            )
            for each in found
        ],
    )
    data = {
        each.scenario.name: {
            "used_percent": round(each.used, 2),
            "refused_per_thousand": round(each.refused, 3),
            "answers": each.answers,
        }
        for each in found
    }
    return Part(
        "limits",
        "Rate limits shared by replicas that do not talk",
        f"{REPLICAS} processes with a gateway each, one simulated API for each scenario, answers"
        f" after 350 ms (log-normal). Counted from the API's ledger over {seconds:g} s, after"
        f" {warm_up:g} s of warm-up in which the full bucket is drawn down; 429s are counted from"
        " the first request on, without headers after the first minute. Where a limit changes,"
        " that happens in the middle of the seconds that count. Without headers nothing says the"
        " limit but that there are 429s.",
        [table],
        goals,
        data,
    )


def main() -> int:
    """Measure and print."""
    made = parser("limits", __doc__)
    made.add_argument("--seconds", type=float, default=300.0, help="that count")
    made.add_argument("--warm-up", type=float, default=WARM_UP, help="seconds before")
    made.add_argument("--only", metavar="TEXT", help="scenarios with that in their name")
    options = made.parse_args()
    chosen = [each for each in SCENARIOS if (options.only or "") in each.name]
    return conclude(run(chosen, options.seconds, options.warm_up), write=options.write)


if __name__ == "__main__":
    sys.exit(main())
