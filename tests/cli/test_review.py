import asyncio
import base64
import json
from pathlib import Path

import pytest

from pipeline.local.broker import LocalBroker
from tests.cli.conftest import Run
from tests.operators.dead_letters.examples import write
from tests.operators.review.items import RESULT, outgoing, review


@pytest.fixture
def cases(run: Run, prefix: str, embedded_broker: LocalBroker) -> str:
    """Three cases of tickets, the last of them hostile; returns the prefix of their topics."""
    run("topics", "create", "tickets")
    data = base64.b64encode(b"\x89PNG").decode()
    events = [
        {"id": "T-0", "body": "Charged twice"},
        {"id": "T-1", "body": "Where is it?", "file": {"media_type": "image/png", "data": data}},
        {"id": "T-2", "body": "\x1b]0;mine\x07\x1b[2J" + "A" * 100_000},
    ]
    records = [
        outgoing(review(number, event=event), key=b"%d" % number, topic=f"{prefix}review")
        for number, event in enumerate(events)
    ]
    asyncio.run(write(embedded_broker.settings, records))
    return prefix


def place_of(run: Run, event_id: str) -> str:
    lines = json.loads(run("review", "list", "--json").out)["lines"]
    [place] = [line["place"] for line in lines if line["event_id"] == event_id]
    return str(place)


def test_what_is_open_is_listed(run: Run, cases: str) -> None:
    ran = run("review", "list", "--open", "--stage", "tickets", "--doubt", "unclear")
    assert ran.code == 0
    assert all(f"T-{number}" in ran.out for number in range(3))
    assert "3 review items, 3 of them open (3 unclear)" in ran.err
    assert "No review items match" in run("review", "list", "--resolved").err


def test_a_case_is_shown_with_its_file_and_commands_the_terminal_nothing(
    run: Run, cases: str, tmp_path: Path
) -> None:
    hostile = run("review", "show", place_of(run, "T-2"))
    assert hostile.code == 0
    assert "\x1b" not in hostile.out
    assert "\\u001b]0;mine" in hostile.out
    assert len(hostile.out) < 5000
    assert "A" * 90_000 in run("review", "show", place_of(run, "T-2"), "--full").out
    picture = tmp_path / "picture.png"
    assert run("review", "show", place_of(run, "T-1"), "--file", str(picture)).code == 0
    assert picture.read_bytes() == b"\x89PNG"
    document = json.loads(run("review", "show", place_of(run, "T-1"), "--json").out)
    assert document["review"]["haiku_result"] == RESULT


def test_a_verdict_becomes_the_enriched_record_once(run: Run, cases: str, tmp_path: Path) -> None:
    place, labels = place_of(run, "T-0"), tmp_path / "labels.jsonl"
    ran = run("review", "resolve", place, "--accept", "haiku", "--labels", str(labels))
    assert (ran.code, ran.out) == (0, f"{place}: published to {cases}tickets.enriched\n")
    again = run("review", "resolve", place, "--accept", "sonnet")
    assert again.code == 1
    assert "was resolved before" in again.err
    [record] = [
        json.loads(text) for text in run("tail", f"{cases}tickets.enriched").out.splitlines()
    ]
    assert (record["decided_by"], record["confidence"]) == ("human", None)
    assert record["result"] == RESULT
    assert json.loads(labels.read_text())["gold"] == RESULT
    left = json.loads(run("review", "list", "--open", "--json").out)["lines"]
    assert {line["event_id"] for line in left} == {"T-1", "T-2"}

    corrected = run(
        "review", "resolve", place, "--accept", "haiku", "--again", "--set", "priority=low"
    )
    assert corrected.code == 0
    assert len(run("tail", f"{cases}tickets.enriched").out.splitlines()) == 2


def test_a_verdict_may_come_from_a_file(run: Run, cases: str, tmp_path: Path) -> None:
    file = tmp_path / "verdict.json"
    file.write_text(json.dumps(RESULT | {"summary": "Zweimal belastet – Ä."}), "utf-8")
    ran = run("review", "resolve", place_of(run, "T-1"), "--result", f"@{file}", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["result"]["summary"] == "Zweimal belastet – Ä."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "either --result, or --accept"),
        (("--accept", "haiku", "--result", "{}"), "either --result, or --accept"),
        (("--result", "{}"), "intent: Field required"),
        (("--result", "@nowhere.json"), "nowhere.json cannot be read"),
        (("--accept", "haiku", "--set", "intent=biling"), "'biling' is not a label of tickets"),
        (("--accept", "haiku", "--set", "intent"), "not FIELD=VALUE"),
        (("--accept", "haiku", "--labels", "/no/such/folder"), "cannot be used"),
    ],
)
def test_what_is_no_verdict_is_wrong_use_and_publishes_nothing(
    run: Run, cases: str, arguments: tuple[str, ...], said: str
) -> None:
    ran = run("review", "resolve", place_of(run, "T-0"), *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert run("tail", f"{cases}tickets.enriched").out == ""


def test_what_is_not_there_is_reported(run: Run, cases: str) -> None:
    ran = run("review", "show", "0:4711")
    assert ran.code == 1
    assert "There is no review item at 0:4711" in ran.err
