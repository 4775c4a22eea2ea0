"""`pipeline evaluate`, from a labelled file to a report, through the simulated API."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.local.environment import SimulatedApiProcess
from tests.cli.conftest import Run

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
SAMPLES = ROOT / "samples" / "labels"
QUEUES = {
    "banking": "Bank accounts: balance, transfers, bills, interest, PIN, routing numbers, fraud.",
    "credit_cards": "Credit cards: applications, limits, APR, declined or lost cards, rewards.",
    "travel": "Trips: flights, hotels, car rental, luggage, visas, vaccines, exchange rates.",
    "work": "Employment: pay, taxes and W-2, insurance, time off, holidays, retirement.",
}


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    """A simulated API for the tests that need one but do not start it."""
    process = SimulatedApiProcess()
    asyncio.run(process.__aenter__())
    yield process.base_url
    asyncio.run(process.__aexit__(None, None, None))


@pytest.fixture
def asked(api: str, somewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulated API to ask."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", api)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    monkeypatch.setenv("PIPELINE_CLAUDE__CALL_TIMEOUT", "600")


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, and no API to ask."""
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


@pytest.mark.usefixtures("asked")
def test_own_samples_are_measured_and_a_second_run_asks_nothing(run: Run, somewhere: Path) -> None:
    labels = str(SAMPLES / "requests.jsonl")
    first = run(
        "evaluate", "requests", labels, "--json",
        "--compare", "events_per_request=4",
    )  # fmt: skip
    assert first.code == 0, first.err
    document = documents_of(first.out)
    check_whole(document)
    assert document["origin"]["word"] == "stand-in"
    assert len([row for row in document["ways"] if row.get("settings")]) == 3
    assert json.loads((somewhere / "evaluation-requests.json").read_text()) == document

    again = run("evaluate", "requests", labels, "--recorded", "--json",
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
    labels = str(SAMPLES / "requests.jsonl")
    missed = run("evaluate", "requests", labels, "--simulated", "--fail-under", "1")
    assert missed.code == 1
    assert "at least 100.0% were asked for" in missed.err
    passed = run("evaluate", "requests", labels, "--simulated", "--fail-under", "0", "--recorded")
    assert passed.code == 0


def test_without_an_api_it_says_what_to_do(run: Run) -> None:
    ended = run("evaluate", "requests", str(SAMPLES / "requests.jsonl"))
    assert ended.code == 2
    assert "--simulated" in ended.err


@pytest.mark.usefixtures("asked")
@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is absent")
def test_four_queues_of_public_utterances(run: Run, somewhere: Path) -> None:
    toml = "".join(
        f'[[stages.tickets.intents]]\nname = "{name}"\ndescription = "{what}"\n'
        for name, what in QUEUES.items()
    )
    (somewhere / "pipeline.toml").write_text(toml)
    ended = run(
        "evaluate", "tickets", str(DATA / "tickets" / "clinc.jsonl"), "--label", "queue", "--json",
        "--text", "text", "--compare", "events_per_request=8",
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
    assert document["proposal"]["items_needed"] is None


FIELDS_OF = {
    "receipts": {"vendor": 50, "issue_date": 50, "gross": 50},
    "einvoices": {"invoice_number": 20, "issue_date": 20, "vendor": 20, "net": 20, "gross": 20},
}


@pytest.mark.usefixtures("asked")
@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is absent")
@pytest.mark.parametrize("name", sorted(FIELDS_OF))
def test_public_invoices_are_measured_by_field(run: Run, name: str) -> None:
    ended = run("evaluate", "invoices", str(DATA / "invoices" / f"{name}.jsonl"), "--json")
    assert ended.code == 0, ended.err
    document = documents_of(ended.out)
    check_whole(document)
    rows = {row["field"]: row for row in document["fields"]}
    assert {field: rows[field]["items"] for field in FIELDS_OF[name]} == FIELDS_OF[name]
    for row in rows.values():
        assert row["cascade"] <= row["decided"] <= row["items"]
        # Comparing means something: neither nothing nor everything is the same.
    assert any(row["haiku"] > 0.7 * row["items"] for row in rows.values())
    assert any(row["haiku"] < row["items"] for row in rows.values())


@pytest.mark.usefixtures("asked")
def test_own_invoices_are_measured_by_field(run: Run) -> None:
    ended = run("evaluate", "invoices", str(SAMPLES / "invoices.jsonl"), "--json",
                "--field", "gross", "--field", "invoice_number=number")  # fmt: skip
    assert ended.code == 0, ended.err
    document = documents_of(ended.out)
    check_whole(document)
    assert [row["field"] for row in document["fields"]] == ["gross", "invoice_number"]
    assert document["compared"]["deciding"] == ["gross", "invoice_number"]


def test_prose_cannot_be_measured_and_is_said_so(run: Run) -> None:
    ended = run("evaluate", "documents", str(SAMPLES / "documents.jsonl"), "--simulated")
    assert ended.code == 2
    assert "nothing to compare" in ended.err
