import json
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.config import Settings
from pipeline.operators.offsets import price
from tests.cli.conftest import Ran, Run


@pytest.fixture
def filled(run: Run, prefix: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A topic with 72 tickets, and groups of this test alone."""
    monkeypatch.setenv("PIPELINE_KAFKA__GROUP_PREFIX", f"{prefix}one.")
    run("topics", "create")
    run("publish", "tickets", "samples/tickets.jsonl")
    return prefix


def document(ran: Ran) -> dict[str, object]:
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    return dict(found[0] if isinstance(found, list) else found)


@pytest.mark.usefixtures("filled")
def test_a_reset_says_what_it_comes_to_and_does_it_only_when_asked(run: Run) -> None:
    rehearsed = run("offsets", "reset", "tickets", "--to", "latest")
    assert rehearsed.code == 0
    assert "Nothing was moved. With --execute none is done again, and 72 are skipped" in (
        rehearsed.out
    )
    assert document(run("offsets", "reset", "tickets", "--to", "latest", "--json", "--execute"))[
        "executed"
    ]
    back = run("offsets", "reset", "tickets", "--to", "earliest")
    assert "72 records are done again, for some $0.0" in back.out
    shown = run("offsets", "show", "tickets")
    assert shown.code == 0
    assert "0 members" in shown.out


def test_a_changed_prefix_takes_over_what_the_old_group_or_a_file_says(
    run: Run, filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("offsets", "reset", "tickets", "--to", "3", "--execute")
    file = tmp_path / "offsets.json"
    file.write_text(run("offsets", "show", "--json").out)
    monkeypatch.setenv("PIPELINE_KAFKA__GROUP_PREFIX", f"{filled}two.")
    taken = run("offsets", "import", "tickets", "--from", f"{filled}one.tickets", "--execute")
    assert taken.code == 0, taken.err
    assert "was moved: none is done again, and none is skipped" in taken.out
    run("offsets", "reset", "tickets", "--to", "earliest", "--execute")
    plan = document(run("offsets", "import", "tickets", "--from", str(file), "--json"))
    assert (plan["again"], plan["skipped"], plan["executed"]) == (0, 6, False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("reset", "faxes", "--to", "latest"),
        ("reset", "tickets", "--to", "yesterday"),
        ("reset", "tickets", "--to", "latest", "--partition", "7"),
        ("reset", "tickets"),
        ("import", "tickets"),
        ("show", "faxes"),
    ],
)
@pytest.mark.usefixtures("filled")
def test_what_cannot_be_meant_is_wrong_use(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("offsets", *arguments).code == 2


@pytest.mark.usefixtures("filled")
def test_a_group_that_committed_nothing_cannot_be_taken_over(run: Run) -> None:
    ran = run("offsets", "import", "tickets", "--from", "nobody.tickets")
    assert ran.code == 1
    assert "committed nothing" in ran.err


def test_its_price_is_that_of_pipeline_cost_where_events_come_one_after_the_other(
    run: Run,
) -> None:
    often = run("cost", "--events", "1000000000", "--json").out
    ways = {row["way"]: row for row in json.loads(often)}
    for stage, way in (("tickets", "cascade"), ("escalations", "sonnet")):
        expected = round(Decimal(ways[way]["usd_per_thousand"]), 2)
        assert price(Settings(), stage, 1000) == expected


@pytest.mark.usefixtures("nowhere")
def test_brokers_that_do_not_answer_are_reported(run: Run) -> None:
    assert run("offsets", "show").code == 1
