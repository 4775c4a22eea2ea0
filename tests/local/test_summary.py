import json
from dataclasses import replace
from decimal import Decimal

import orjson

from pipeline.local.accounting import Coordinates, Ending, Place, account
from pipeline.local.summary import HEADINGS, Summary
from pipeline.model.records import Usage


def event(offset: int) -> Coordinates:
    return Coordinates("tickets.raw", 0, offset)


ENDINGS = (
    Ending(
        event(0),
        Place.ENRICHED,
        decided_by="haiku",
        model="simulated-claude-haiku-5-5",
        usage=Usage(calls=1, input_tokens=100, cache_read_tokens=900, cost_usd=Decimal("0.0001")),
        seconds=0.5,
    ),
    Ending(
        event(1),
        Place.ENRICHED,
        decided_by="sonnet",
        model="simulated-claude-sonnet-5-5",
        doubts=("unclear",),
        usage=Usage(calls=2, output_tokens=60, cost_usd=Decimal("0.002")),
        seconds=2.0,
    ),
    Ending(event(2), Place.DEAD_LETTERS, reason="invalid_json"),
)
PUBLISHED = {event(offset): "tickets" for offset in range(3)}
GOOD = Summary(
    account(PUBLISHED, ENDINGS, ["tickets"]), "exactly_once", 12.34, "http://127.0.0.1:8080"
)
LOST = replace(GOOD, account=account({**PUBLISHED, event(9): "tickets"}, ENDINGS, ["tickets"]))


def test_the_object_for_programs_has_what_was_agreed() -> None:
    found = json.loads(orjson.dumps(GOOD.as_json()))
    tickets = found["stages"]["tickets"]
    agreed = {
        "published": 3, "enriched": 2, "haiku": 1, "sonnet": 1, "review": 0, "dead_letters": 1,
    }  # fmt: skip
    assert agreed.items() <= tickets.items()
    assert found["cost_usd"] == "0.0021"
    assert found["seconds"] == 12.3
    assert found["delivery"] == "exactly_once"
    assert found["ok"] is True


def test_it_also_has_reasons_tokens_and_latencies() -> None:
    tickets = GOOD.as_json()["stages"]["tickets"]
    assert tickets["escalation_reasons"] == {"unclear": 1}
    assert tickets["dead_letter_reasons"] == {"invalid_json": 1}
    assert tickets["tokens"] == {"input": 100, "cache_read": 900, "cache_write": 0, "output": 60}
    assert tickets["p50_seconds"] == 0.5
    assert tickets["p95_seconds"] == 2.0


def test_the_table_has_a_row_for_each_stage_and_a_cell_for_each_heading() -> None:
    (row,) = GOOD.rows()
    cells = dict(zip(HEADINGS, row, strict=True))
    assert cells["Stage"] == "tickets"
    assert cells["Published"] == "3"
    assert cells["Dead"] == "1"
    assert cells["Cost"] == "$0.00210"


def test_tokens_and_reasons_are_told_under_the_table() -> None:
    told = "\n".join(GOOD.sentences())
    assert "tickets: 1,000 tokens in, 60 out." in told
    assert "unclear (1)" in told
    assert "invalid_json (1)" in told


def test_what_is_simulated_is_called_simulated() -> None:
    assert GOOD.as_json()["simulated"] is True
    assert any("simulated" in sentence for sentence in GOOD.sentences())


def test_a_lost_event_fails_the_demo_and_is_told() -> None:
    assert not LOST.ok
    assert LOST.as_json()["lost"] == 1
    assert list(LOST.sentences())[-1].startswith("The demo failed: of 4 events 1 have no end")


def test_any_other_problem_fails_it_too() -> None:
    failed = replace(GOOD, problem="the pipeline ended: killed")
    assert not failed.ok
    assert failed.as_json()["ok"] is False
    assert "the pipeline ended" in list(failed.sentences())[-1]


def test_a_cost_that_is_not_known_is_not_zero() -> None:
    unknown = replace(ENDINGS[0], usage=Usage(cost_usd=None))
    summary = replace(GOOD, account=account({event(0): "tickets"}, [unknown], ["tickets"]))
    assert summary.as_json()["cost_usd"] is None
    assert any("unknown" in row for row in summary.rows())
