"""What drawing answers costs: CPU of an event with its answer drawn or not, against none drawn.

`python -m benchmarks.sampling` runs the pipeline on one core as `benchmarks.metrics` does, on
brokers in memory: that gives the CPU time of an event. Then what sampling adds is done alone,
thousands of times over: the draw, which each event has, and the record of a drawn answer. What
brokers and their client take for one more record in a transaction is not in it, and with them an
event costs more as well. Prints a table, the goals, and one JSON object as its last line.
"""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import uvloop

from benchmarks.goals import Part, Table, at_most
from benchmarks.metrics import EVENTS, cost, run
from benchmarks.report import show
from benchmarks.responder import responder
from benchmarks.tickets import ticket
from pipeline.cascade.deciding import Decision
from pipeline.cascade.publishing import enriched, publication
from pipeline.cascade.reading import Case
from pipeline.cascade.sampler import Sampler
from pipeline.config import Settings, TicketSettings, TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.observer import Observer
from pipeline.model.questions import Signal, first_questions
from pipeline.model.records import Provenance, Source, Tier, Timing, Usage
from pipeline.stages.tickets import TicketAnswer, Tickets
from pipeline.stream.records import Received
from pipeline.trust.sampling import Lottery

TIMES = 5_000
SIGNALS = 6
MOST = 2.0
"""Percent of an event's CPU, with the share that is set by default."""


def sampling(share: float) -> Callable[[], object]:
    """What is done for the answer to one ticket when such a share is drawn."""
    at, stage, event = datetime.now(UTC), Tickets(TicketSettings()), ticket(1)
    [question] = first_questions(stage.question(event))
    answer = question.answer_model.model_validate(
        {
            "quote": "charged",
            "intent": "billing",
            "runner_up": None,
            "several_matters": False,
            "priority": "high",
            "language": "en",
            "summary": "A customer was charged twice and wants one payment back.",
            "confidence": 0.95,
            "unclear": False,
        }
    )
    received = Received("tickets.raw", 0, 1, b"customer-7", b"", (), at, at)
    source = Source(topic="tickets.raw", partition=0, offset=1, timestamp=at)
    case = Case(received, stage, event, source, at)
    provenance = Provenance(provider="anthropic", prompt="0" * 16, settings="0" * 16)
    signals = tuple(Signal(f"signal_{number}", 0.05, "Why.") for number in range(SIGNALS))
    decision: Decision[TicketAnswer] = Decision(
        answer, signals, Usage(), "claude-haiku-5-5", 0.5, doubts=(), provenance=provenance
    )
    record = enriched(
        stage,
        event,
        stage.result(event, answer),
        event_id=event.id,
        decided_by="haiku",
        confidence=0.95,
        escalated=None,
        model="claude-haiku-5-5",
        usage=Usage(),
        source=source,
        timing=Timing(received_at=at, enriched_at=at, model_seconds=0.5),
        provenance=provenance,
    )
    outcome = publication(received, record, TopicNames(TopicSettings()))
    sampler = Sampler("trust", Lottery(share))
    return lambda: sampler.drawn(case, decision, Tier.HAIKU, record, outcome)


async def event_us() -> float:
    """CPU time of an event without samples, in microseconds."""
    with responder(median=0.05) as port:
        return (await run(Observer(), port, EVENTS)).cpu_us


def main() -> int:
    """Measure, print, and return the exit code: 0 where the goal is held."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    share = Settings().trust.sample_share
    base, draw, drawn = uvloop.run(event_us()), cost(sampling(0), TIMES), cost(sampling(1), TIMES)
    usual = draw + share * (drawn - draw)
    part = Part(
        name="sampling",
        title="What drawing answers costs",
        about=f"An event costs {base:.0f} us of a core on brokers in memory; tickets, one core.",
        tables=[
            Table(
                ("", "CPU, us", "of an event"),
                [
                    ("the draw", f"{draw:.1f}", f"{draw / base:.2%}"),
                    ("a drawn answer", f"{drawn:.1f}", f"{drawn / base:.2%}"),
                    (f"{share:.0%} drawn, an event", f"{usual:.1f}", f"{usual / base:.2%}"),
                ],
            )
        ],
        goals=[at_most("CPU of an event, with the usual share", 100 * usual / base, MOST, " %")],
        data={"event_us": base, "draw_us": draw, "drawn_us": drawn, "share": share},
    )
    show(part)
    return 0 if part.ok else 1


if __name__ == "__main__":
    sys.exit(main())
