import json

import pytest

from tests.cli.conftest import Run


def test_missing_topics_are_made_once(run: Run, prefix: str) -> None:
    first = run("topics", "create", "tickets", "--json")
    assert first.code == 0
    made = {report["name"]: report["was_created"] for report in json.loads(first.out)}
    assert made[f"{prefix}tickets.raw"] is True
    assert set(made) == {
        f"{prefix}{name}"
        for name in (
            "tickets.raw",
            "tickets.enriched",
            "escalations",
            "review",
            "review.resolved",
            "dead-letters",
            "dead-letters.replayed",
            "backfills",
            "budget",
            "audit",
            "trust",
        )
    }
    again = run("topics", "create", "tickets")
    assert again.code == 0
    assert "made" not in again.out


def test_topics_that_exist_are_listed(run: Run, prefix: str) -> None:
    assert run("topics", "list").out == ""
    run("topics", "create", "tickets")
    assert f"{prefix}tickets.raw" in run("topics", "list").out.splitlines()
    assert f"{prefix}images.raw" not in json.loads(run("topics", "list", "--json").out)


def test_missing_topics_are_described_as_missing(run: Run, prefix: str) -> None:
    run("topics", "create", "tickets")
    described = json.loads(run("topics", "describe", "--json").out)
    assert described[f"{prefix}tickets.raw"]["partitions"] == 2
    assert described[f"{prefix}images.raw"] is None
    assert "missing" in run("topics", "describe").out


def test_a_difference_from_the_settings_is_reported(
    run: Run, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("topics", "create", "tickets")
    monkeypatch.setenv("PIPELINE_TOPICS__PARTITIONS", "9")
    ran = run("topics", "create", "tickets")
    assert ran.code == 0
    assert f"{prefix}tickets.raw has 2 partitions" in ran.err
