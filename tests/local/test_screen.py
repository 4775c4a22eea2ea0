import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from pipeline.claude.billing import Alternatives
from pipeline.local.accounting import (
    DEAD_LETTER,
    REVIEW,
    Coordinates,
    Ending,
    account,
)
from pipeline.local.day import ROUTINE, DayEvent
from pipeline.local.screen import Screen, Summary, next_steps, screenshot
from pipeline.model.records import Usage
from pipeline.operators.publish import Item
from pipeline.stream.records import Headers, Received

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def event(offset: int) -> Coordinates:
    return Coordinates("tickets.raw", 0, offset)


ENDINGS = (
    Ending(
        event(0),
        "haiku",
        model="simulated-claude-haiku-5-5",
        usage=Usage(calls=1, input_tokens=100, cache_read_tokens=900, cost_usd=Decimal("0.0001")),
        seconds=0.5,
    ),
    Ending(
        event(1),
        "sonnet",
        model="simulated-claude-sonnet-5-5",
        doubts=("unclear",),
        usage=Usage(calls=2, output_tokens=60, cost_usd=Decimal("0.002")),
        seconds=2.0,
    ),
    Ending(event(2), DEAD_LETTER, reason="invalid_json"),
)
PUBLISHED = {event(offset): "tickets" for offset in range(3)}
KINDS = {event(0): ROUTINE, event(1): "vague", event(2): "broken"}
FIRST = {event(1): Usage(calls=1, cost_usd=Decimal("0.0005"))}
GOOD = Summary(
    account=account(PUBLISHED, ENDINGS, ["tickets"], kinds=KINDS, escalated=FIRST),
    otherwise=Alternatives(sonnet_alone=Decimal("0.021"), plain_loop=Decimal("0.00105")),
    delivery="exactly_once",
    seconds=12.34,
    dashboard="http://127.0.0.1:8080",
    records=Path("/tmp/day"),
)
LOST = replace(GOOD, account=account({**PUBLISHED, event(9): "tickets"}, ENDINGS, ["tickets"]))


def printed(shown: object) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def cells(shown: object, first: str) -> list[str]:
    """The row of a table that begins so."""
    [row] = [line for line in printed(shown).splitlines() if line.strip().startswith(first)]
    return row.removeprefix(f" {first}").split()


def test_the_object_for_programs_has_what_was_agreed() -> None:
    found = json.loads(orjson.dumps(GOOD.as_json()))
    tickets = found["stages"]["tickets"]
    agreed = {
        "published": 3, "enriched": 2, "document": 0, "haiku": 1, "sonnet": 1, "review": 0,
        "dead_letters": 1,
    }  # fmt: skip
    assert agreed.items() <= tickets.items()
    assert found["cost_usd"] == "0.0021"
    assert found["sonnet_alone_usd"] == "0.021"
    assert found["seconds"] == 12.3
    assert found["delivery"] == "exactly_once"
    assert found["kinds"]["vague"]["sonnet"] == 1
    assert found["ok"] is True


def test_it_also_has_reasons_tokens_and_latencies() -> None:
    tickets = GOOD.as_json()["stages"]["tickets"]
    assert tickets["escalation_reasons"] == {"unclear": 1}
    assert tickets["dead_letter_reasons"] == {"invalid_json": 1}
    assert tickets["tokens"] == {"input": 100, "cache_read": 900, "cache_write": 0, "output": 60}
    assert tickets["p50_seconds"] == 0.5
    assert tickets["p95_seconds"] == 2.0


def test_there_is_a_row_for_each_use_one_for_all_and_their_shares() -> None:
    assert cells(GOOD, "tickets") == [
        "3",
        ".",
        "1",
        "1",
        ".",
        "1",
        "$0.0021",
        "0.5",
        "s",
        "2.0",
        "s",
    ]
    assert cells(GOOD, "all") == cells(GOOD, "tickets")
    assert "33%" in printed(GOOD)


def test_hard_events_have_rows_of_their_own_and_routine_has_none() -> None:
    assert cells(GOOD, "vague") == ["1", ".", ".", "1", ".", ".", "$0.0020"]
    assert cells(GOOD, "broken") == ["1", ".", ".", ".", ".", "1", "$0.0000"]
    assert ROUTINE not in printed(GOOD)


def test_costs_are_compared_with_those_of_other_ways() -> None:
    text = printed(GOOD)
    assert "Haiku $0.0006, Sonnet $0.0015" in text
    assert "10.0 times" in text
    assert "0.5 times" in text
    assert "the 1 doubted answers" in text


def test_reasons_are_reported_and_what_is_simulated_is_called_simulated() -> None:
    text = printed(GOOD)
    assert "unclear (1)" in text
    assert "invalid_json (1)" in text
    assert GOOD.as_json()["simulated"] is True
    assert "simulated: no model was asked" in text


def test_a_lost_event_fails_the_demo() -> None:
    assert not LOST.ok
    assert LOST.as_json()["lost"] == 1
    assert "The demo failed: of 4 events 1 have no end" in printed(LOST)


def test_any_other_problem_fails_it_too() -> None:
    failed = replace(GOOD, problem="the pipeline ended: killed")
    assert not failed.ok
    assert failed.as_json()["ok"] is False
    assert "the pipeline ended" in printed(failed)


def test_a_cost_that_is_not_known_is_not_zero() -> None:
    unknown = replace(ENDINGS[0], usage=Usage(calls=1, cost_usd=None))
    summary = replace(GOOD, account=account({event(0): "tickets"}, [unknown], ["tickets"]))
    assert summary.as_json()["cost_usd"] is None
    assert "unknown" in printed(summary)


@pytest.mark.parametrize("still_running", [True, False])
def test_what_to_type_next_names_commands_of_this_program(still_running: bool) -> None:
    text = next_steps(GOOD, still_running=still_running)
    assert len(set(re.findall(r"pipeline (\w[\w-]+)", text))) >= 3
    assert "/tmp/day" in text


def ticket(number: int) -> DayEvent:
    value = orjson.dumps({"id": f"T-{number}", "subject": "Charged \x1b[31mtwice", "body": "..."})
    return DayEvent("tickets", f"T-{number}", ROUTINE, Item(f"T-{number}", b"k", value))


def record(topic: str, value: object, headers: Headers = ()) -> Received:
    content = orjson.dumps(value)
    return Received(topic, 0, 9, b"k", content, headers, timestamp=NOON, received_at=NOON)


def shown(screen: Screen) -> None:
    """Let each outcome happen once."""
    screen.plan([ticket(number) for number in range(4)], ["tickets"])
    for _ in range(4):
        screen.published()
    result = {"intent": "billing", "priority": "high"}
    for number, ending in enumerate(ENDINGS[:2]):
        value = {"event_id": f"T-{number}", "result": result}
        if ending.event in FIRST:
            screen.escalated(ending.event, FIRST[ending.event])
        screen.ended("tickets", ending, record("tickets.enriched", value))
    about = (("dlq-detail", b"The value is not JSON."),)
    screen.ended("tickets", ENDINGS[2], record("dead-letters", None, about))
    review = Ending(event(3), REVIEW, doubts=("unclear",))
    screen.ended("tickets", review, record("review", {"event_id": "T-3"}))
    screen.tick()


def test_without_a_terminal_there_are_lines_with_an_example_of_each_outcome() -> None:
    file = io.StringIO()
    with Screen(Console(file=file, width=200)) as screen:
        screen.say("The dashboard is at http://127.0.0.1:8080")
        shown(screen)
    text = file.getvalue()
    assert "The dashboard is at" in text
    assert 'accepted by Haiku: tickets T-0 "Charged' in text
    assert "settled by Sonnet: tickets T-1" in text
    assert "→ billing, high (doubted for unclear)" in text
    assert "review by a person: tickets T-3" in text
    assert "dead letter: tickets k invalid_json, The value is not JSON." in text
    assert "4 of 4 events" in text
    assert "\x1b" not in text


def test_the_live_view_has_progress_lag_escalations_and_cost_by_tier() -> None:
    screen = Screen(Console(file=io.StringIO(), width=200))
    shown(screen)
    text = printed(screen)
    assert "4/4" in text
    assert "4 of 4 events" in text
    assert "lag 0" in text
    assert "25% escalated" in text
    assert "Haiku $0.0006 · Sonnet $0.0015" in text
    assert "\x1b[31m" not in text


def test_the_screen_can_be_drawn_and_asks_for_no_typeface_from_elsewhere(tmp_path: Path) -> None:
    screen = Screen(Console(file=io.StringIO()))
    shown(screen)
    screenshot(screen, GOOD, tmp_path / "demo.svg")
    drawn = (tmp_path / "demo.svg").read_text()
    assert "billing" in drawn
    assert "url(" not in drawn.replace("url(#", "")
