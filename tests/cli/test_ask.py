"""`pipeline ask`: one event, without Kafka."""

import json

import pytest

from tests.cli.conftest import Run


@pytest.fixture(autouse=True)
def nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)


@pytest.mark.usefixtures("nowhere")
def test_a_text_is_asked_about_without_kafka_and_all_of_it_is_shown(run: Run) -> None:
    words = "The invoice of March was charged twice, please refund it."
    ran = run("ask", "tickets", words, "--simulated", "--tier", "haiku")
    assert ran.code == 0, ran.err
    for part in ("-- prompt", words, "-- request", "-- response: 200", "signals", "-- cost: $"):
        assert part in ran.out


def test_what_the_stage_does_not_take_ends_with_1_and_why(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-nobody-is-asked")
    ran = run("ask", "tickets", '{"id": "1"}', "--json")
    assert ran.code == 1
    assert json.loads(ran.out)["dead_letter"]["reason"] == "invalid_event"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["tickets", "x"], "ANTHROPIC_API_KEY"),
        (["faxes", "x"], "there are tickets"),
        (["tickets"], "no event"),
        (["tickets", "--file", "no/such.txt"], "no/such.txt"),
        (["tickets", "x", "--file", "y"], "not both"),
        (["tickets", "x", "--tier", "opus"], "opus"),
    ],
)
def test_wrong_use_ends_with_2(run: Run, arguments: list[str], why: str) -> None:
    ran = run("ask", *arguments)
    assert ran.code == 2
    assert why in ran.err
