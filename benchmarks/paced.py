"""One process with a gateway that asks at a steady pace, whatever comes back.

It prints `ready`, waits for a line, asks about tickets for a while, each tenth of the second tier,
waits for what is under way, and prints one JSON object. `benchmarks.platforms` runs one for each
platform.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

import uvloop

from benchmarks.tickets import Questions, ticket
from pipeline.claude.gateway import Gateway
from pipeline.config import Settings
from pipeline.model.errors import AnswerError
from pipeline.model.observer import BreakerState, CallEnd, Observer
from pipeline.model.records import Tier, Usage
from pipeline.runtime.process import collect_seldom

SECOND_TIER = 10
"""Each such question is asked of it."""


@dataclass(slots=True)
class Report:
    """What became of the questions.

    Args:
        asked: Of them.
        answered: Of them.
        failed: By the name of the error: each would be an escalation, a review or a dead letter.
        blocked: Why calls were stopped until a person fixes something.
        breakers: How often a breaker opened.
        ends: How calls ended.
        tokens: That answers say were used.
        usd: What they cost; None if that is not known of all.
        maybe_billed: Calls without an answer that may have been paid.
        seconds: That it asked, with the wait for the last answers.
        cpu: Seconds of this process meanwhile.
    """

    asked: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    blocked: list[str] = field(default_factory=list)
    breakers: int = 0
    ends: Counter[CallEnd] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    usd: float | None = 0.0
    maybe_billed: int = 0
    seconds: float = 0.0
    cpu: float = 0.0

    def as_json(self) -> dict[str, Any]:
        # `asdict` makes something else of counters.
        return {each.name: getattr(self, each.name) for each in fields(self)}


class _Watch(Observer):
    def __init__(self, report: Report) -> None:
        self._report = report

    def call(
        self, stage: str, model: str, end: CallEnd, *, seconds: float, usage: Usage | None
    ) -> None:
        del stage, model, seconds
        report = self._report
        report.ends[end] += 1
        if usage is None:
            return
        report.tokens.update(
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_tokens=usage.output_tokens,
        )
        if report.usd is not None:
            cost = usage.cost_usd
            report.usd = None if cost is None else report.usd + float(cost)

    def maybe_billed(self, stage: str, model: str, *, usd: object) -> None:
        del stage, model, usd
        self._report.maybe_billed += 1

    def blocked(self, model: str, *, because: str | None) -> None:
        if because is not None:
            self._report.blocked.append(f"{model}: {because}")

    def breaker(self, model: str, state: BreakerState) -> None:
        del model
        self._report.breakers += state == "open"


async def ask(seconds: float, per_second: float) -> Report:
    """Ask for so long, at that pace."""
    report, questions = Report(), Questions()
    async with Gateway(Settings(), observer=_Watch(report)) as gateway:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        if not await asyncio.to_thread(sys.stdin.readline):
            return report  # whoever started this has ended

        async def one(number: int) -> None:
            tier = Tier.SONNET if number % SECOND_TIER == 0 else Tier.HAIKU
            try:
                await gateway.ask(questions.of(ticket(number)), tier)
                report.answered += 1
            except AnswerError as error:
                report.failed[type(error).__name__] += 1

        cpu, began = time.process_time(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            while (passed := time.monotonic() - began) < seconds:
                while report.asked < passed * per_second:
                    report.asked += 1
                    group.create_task(one(report.asked))
                await asyncio.sleep(1.0 / per_second)
        report.cpu, report.seconds = time.process_time() - cpu, time.monotonic() - began
    return report


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--per-second", type=float, required=True, help="questions")
    options = parser.parse_args()
    collect_seldom()
    report = uvloop.run(ask(options.seconds, options.per_second))
    sys.stdout.write(json.dumps(report.as_json()) + "\n")


if __name__ == "__main__":
    main()
