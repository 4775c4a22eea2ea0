"""`pipeline evaluate`, from a labelled file to a report, through the simulated API."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run

ROOT = Path(__file__).parents[2]
CLINC = ROOT.parent / "shared" / "data" / "tickets" / "clinc.jsonl"
QUEUES = {
    "banking": "Bank accounts: balance, transfers, bills, interest, PIN, routing numbers, fraud.",
    "credit_cards": "Credit cards: applications, limits, APR, declined or lost cards, rewards.",
    "travel": "Trips: flights, hotels, car rental, luggage, visas, vaccines, exchange rates.",
    "work": "Employment: pay, taxes and W-2, insurance, time off, holidays, retirement.",
}


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, and nobody to ask."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    return tmp_path


def documents_of(out: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(out)
    return document


def check_whole(document: dict[str, Any]) -> None:
    """Every event is in exactly one cell of each table."""
    items = document["events"]["measured"]
    assert items + len(document["events"]["dead_letters"]) == document["events"]["lines"]
    assert sum(document["ends"].values()) == items
    assert sum(row["items"] for row in document["labels"]) == items
    assert all(sum(row["ends"].values()) == row["items"] for row in document["labels"])
    assert len(document["cases"]) == items
    assert sum(document["parts"].values()) == items
    for row in document["ways"]:
        assert row["decided"] + row["undecided"] == row["items"] == items
    (cascade,) = [
        row for row in document["ways"] if row["way"] == "Cascade" and "settings" not in row
    ]
    assert sum(document["escalations"].values()) == cascade["escalated"]
    outside = document["out_of_scope"]
    assert outside["items"] + outside["others"] == items
    assert outside["haiku_took"] + outside["sonnet_took"] + outside["reviewed"] == outside["items"]
    for bins in (document["calibration"][tier]["bins"] for tier in ("haiku", "sonnet")):
        assert sum(each["items"] for each in bins) <= items


def test_own_samples_are_measured_and_a_second_run_asks_nothing(run: Run, somewhere: Path) -> None:
    labels = str(ROOT / "samples" / "labels" / "requests.jsonl")
    first = run(
        "evaluate", "requests", labels, "--simulated", "--json",
        "--compare", "events_per_request=4",
    )  # fmt: skip
    assert first.code == 0, first.err
    document = documents_of(first.out)
    check_whole(document)
    assert document["origin"]["word"] == "stand-in"
    assert len([row for row in document["ways"] if row.get("settings")]) == 3
    assert json.loads((somewhere / "evaluation-requests.json").read_text()) == document

    again = run("evaluate", "requests", labels, "--simulated", "--recorded", "--json",
                "--baseline", "evaluation-requests.json", "--output", "again/second")  # fmt: skip
    assert again.code == 0, again.err
    repeated = documents_of(again.out)
    assert repeated["origin"]["asked"] == 0
    same = ("ends", "escalations", "labels", "fields", "calibration", "risk_coverage", "proposal")
    assert {name: repeated[name] for name in same} == {name: document[name] for name in same}
    assert repeated["baseline"]["changed"] == []
    html = (somewhere / "again" / "second.html").read_text("utf-8")
    assert "stand-in" in html
    assert not re.search(r'(?:src|href)="(?!data:)', html)


def test_a_gate_that_is_missed_ends_with_1_and_says_why(run: Run) -> None:
    labels = str(ROOT / "samples" / "labels" / "requests.jsonl")
    missed = run("evaluate", "requests", labels, "--simulated", "--fail-under", "1")
    assert missed.code == 1
    assert "at least 100.0% were asked for" in missed.err
    passed = run("evaluate", "requests", labels, "--simulated", "--fail-under", "0", "--recorded")
    assert passed.code == 0


def test_without_anybody_to_ask_it_says_what_to_do(run: Run) -> None:
    ended = run("evaluate", "requests", str(ROOT / "samples" / "labels" / "requests.jsonl"))
    assert ended.code == 2
    assert "--simulated" in ended.err


@pytest.mark.skipif(not CLINC.is_file(), reason="the shared data folder is absent")
def test_four_queues_of_public_utterances(run: Run, somewhere: Path) -> None:
    toml = "".join(
        f'[[stages.tickets.intents]]\nname = "{name}"\ndescription = "{what}"\n'
        for name, what in QUEUES.items()
    )
    (somewhere / "pipeline.toml").write_text(toml)
    ended = run(
        "evaluate", "tickets", str(CLINC), "--label", "queue", "--text", "text", "--simulated",
        "--json", "--compare", "events_per_request=8",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    document = documents_of(ended.out)
    check_whole(document)
    assert document["events"]["measured"] == 210
    assert {row["label"] for row in document["labels"]} == {*QUEUES, "(out of scope)"}
    # Better than chance: a curve below, and a smaller area under it than by lot.
    curve = document["risk_coverage"]
    assert curve["area"] < 0.6 * curve["random"]
    outside = document["out_of_scope"]
    assert outside["items"] == 60
    share_outside = outside["escalated"] / outside["items"]
    share_inside = outside["others_escalated"] / outside["others"]
    assert share_outside > 1.5 * share_inside
    assert document["proposal"]["chosen"] is None
    assert document["proposal"]["items_needed"] > 210
