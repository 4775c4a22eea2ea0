"""What evidence costs: CPU of finding and publishing where values were read, by stage.

`python -m benchmarks.evidence` runs tickets through the pipeline on one core, on brokers in memory,
as `benchmarks.metrics` does: that gives the CPU time of an event. Then one event of each stage is
checked and made a record with and without evidence, thousands of times over. The share is of the
event's own time: that of a ticket, with the checks of its stage. With a Kafka client an event costs
more, so that the share is smaller than what is found here. `evidence` is on by default where it
takes 2 % at most. Events and answers are made up. Prints a table, the goal, and one JSON object as
its last line.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import uvloop

from benchmarks.goals import Part, Table, at_most
from benchmarks.metrics import EVENTS, cost, run
from benchmarks.report import show
from benchmarks.responder import responder
from pipeline.cascade.deciding import evidence_of
from pipeline.cascade.publishing import enriched, publication
from pipeline.config import StagesSettings, TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.observer import Observer
from pipeline.model.records import Evidence, Provenance, Source, Timing, Usage
from pipeline.stages.api import Answer, build_stages
from pipeline.stream.records import Received

GOAL = 2.0
"""Per cent of an event's CPU, at most, where evidence is on by default."""
TIMES = 1_000
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
_STATED = {"confidence": 0.95, "unclear": False}
_BODY = """\
Hello,

I have been a customer since 2019 and was always content. On 3 November I paid for the team plan \
by card, and two days later the same amount was taken once more. Your invoice shows one payment.

Please refund the second payment to my card. My order is 4417-220.

Best regards
Lena Hoffmann
"""
_REPORT = """\
The team looked at the scanners in Oslo, of which four failed again last week. Nobody could say \
why, and the supplier has not answered yet.
"""
_MINUTES = f"""\
Minutes of 12 November.
{10 * _REPORT}\
Greg will call the supplier by Tuesday. The budget of 4,200 euros stays as it is. Four scanners \
that failed before work again.
"""
_SOURCE = """\
def retry(attempts, wait=0.5):
    \"\"\"Try again.\"\"\"
    if attempts < 1:
        raise ValueError("attempts")
    for attempt in range(attempts):
        sleep(wait * 2**attempt)
"""
_INVOICE = """\
ACME Tools Ltd, 1 Mill Lane, Leeds
Invoice No. A-7           Date: 31 January 2025      Due: 14 February 2025
To: Baker & Sons
Hammer   2 x 50.00    100.00
Nails    1 x 50.00     50.00
Net                   150.00
VAT 20%                30.00
Total GBP             180.00
"""


def _line(what: str, count: str, price: str, amount: str) -> dict[str, str]:
    return {"description": what, "quantity": count, "unit_price": price, "amount": amount}


_CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tickets": (
        {"subject": "Charged twice", "body": _BODY},
        {
            "quote": "Please refund the second payment to my card", "intent": "billing",
            "runner_up": None, "several_matters": False, "priority": "high", "language": "en",
            "summary": "The customer was charged twice and wants a refund.",
        },
    ),
    "texts": (
        {"text": "hi theer,, pls call 020 7946 0417 or ann@example.com on 12/11/2026 thx"},
        {
            "quote": "pls call 020 7946 0417", "dates": ["12/11/2026"],
            "emails": ["ann@example.com"], "phones": ["020 7946 0417"], "intent": "request",
            "cleaned_text": "Hi there, please call 020 7946 0417 or ann@example.com on 12/11/2026.",
        },
    ),
    "documents": (
        {"text": _MINUTES},
        {
            "quotes": ["Four scanners that failed before", "Greg will call the supplier"],
            "key_points": ["Four scanners failed again."],
            "actions": [{"task": "call the supplier", "owner": "Greg", "due": "Tuesday"}],
            "summary": "Four scanners in Oslo failed again; Greg calls the supplier.",
            "language": "en",
        },
    ),
    "requests": (
        {"query": "Write a function that adds two numbers, and test it. " + _BODY},
        {
            "quote": "Write a function that adds two numbers", "agent": "code_agent",
            "runner_up": None, "tools": ["code_runner"], "creative": False, "ambiguous": False,
            "summary": "A function that adds.",
        },
    ),
    "code": (
        {"language": "python", "source": _SOURCE},
        {
            "quote": "def retry(attempts, wait=0.5):", "name": "retry",
            "parameters": [
                {"name": "attempts", "type": "int", "description": "How often."},
                {"name": "wait", "type": "float", "description": "Seconds."},
            ],
            "returns": {"type": "", "description": ""},
            "raises": [{"name": "ValueError", "description": "If it is below 1."}],
            "summary": "Retry.", "example": "",
        },
    ),
    "invoices": (
        {"text": _INVOICE},
        {
            "quote": "Total GBP 180.00", "invoice_number": "A-7", "issue_date": "2025-01-31",
            "due_date": "2025-02-14", "vendor": "ACME Tools Ltd", "buyer": "Baker & Sons",
            "currency": "GBP", "allowances": "0", "charges": "0", "net": "150.00", "tax": "30.00",
            "gross": "180.00", "prepaid": "0", "withheld": "0", "due": "180.00",
            "line_items": [
                _line("Hammer", "2", "50.00", "100.00"), _line("Nails", "1", "50.00", "50.00"),
            ],
            "legibility": "legible", "missing": [],
        },
    ),
}  # fmt: skip


def measured(name: str) -> tuple[float, float]:
    """Microseconds of CPU of one event: its checks and record, and what evidence adds to them."""
    stage, (fields, said) = build_stages(StagesSettings())[name], _CASES[name]
    event = stage.raw_model(id="E-1", **fields)
    question: Any = stage.question(event)
    answer: Answer = question.answer_model.model_validate({**said, **_STATED})
    names = TopicNames(TopicSettings())
    received = Received(f"{name}.raw", 0, 1, b"k", b"", (), NOW, NOW)
    # In a thread it would be measured with the loop's own work.
    find: Callable[..., Any] = stage.evidence  # type: ignore[attr-defined] # all of these have it
    if not asyncio.run(evidence_of(stage, event, answer)):
        raise RuntimeError(f"{name}: no evidence was found, so nothing can be measured")

    def publish(places: list[Evidence]) -> None:
        record = enriched(
            stage, event, stage.result(event, answer), event_id="E-1", decided_by="haiku",
            confidence=0.95, escalated=None, model="claude-haiku-5-5", usage=Usage(calls=1),
            source=Source(topic=f"{name}.raw", partition=0, offset=1, timestamp=NOW),
            timing=Timing(received_at=NOW, enriched_at=NOW, model_seconds=0.4),
            provenance=Provenance(provider="anthropic", prompt="0" * 16, settings="1" * 16),
            evidence=places,
        )  # fmt: skip
        publication(received, record, names)

    def check() -> None:
        # As in the pipeline, where each answer is another object.
        stage.signals(event, answer.model_copy())

    places = list(find(event, answer))
    without = cost(lambda: publish([]), TIMES)
    added = cost(lambda: list(find(event, answer)), TIMES)
    return cost(check, TIMES) + without, added + cost(lambda: publish(places), TIMES) - without


async def event_us() -> float:
    """CPU of a ticket on its whole way, in microseconds."""
    with responder(median=0.05) as port:
        return (await run(Observer(), port, EVENTS)).cpu_us


def main() -> int:
    if hasattr(os, "sched_getaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    base, found = uvloop.run(event_us()), {name: measured(name) for name in _CASES}
    own = found["tickets"][0]
    shares = {
        name: 100 * added / (base - own + handled) for name, (handled, added) in found.items()
    }
    settings = StagesSettings().by_name()
    rows = [
        (name, f"{base - own + handled:.0f} us", f"{added:.0f} us", f"{shares[name]:.1f} %",
         "on" if settings[name].evidence else "off")
        for name, (handled, added) in found.items()
    ]  # fmt: skip
    most = max(share for name, share in shares.items() if settings[name].evidence)
    show(
        Part(
            "evidence",
            "What evidence costs",
            "CPU of an event, with brokers in memory.",
            [Table(("stage", "an event", "evidence", "share", "by default"), rows)],
            [at_most("per cent of CPU where evidence is on by default", most, GOAL)],
            {"event_us": base, "of_stages_us": found, "shares": shares},
        )
    )
    return 0 if most <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
