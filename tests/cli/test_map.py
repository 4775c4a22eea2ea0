"""`pipeline map`: what comes of real records, before anything is asked."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.operators.test_mapping_proposal import crm, zendesk

SETTINGS = """
[stages.tickets]
where = "detail.status == 'NEW'"
[stages.tickets.map]
id = "detail.id"
body = "detail.description"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(path: Path, *records: object) -> str:
    path.write_text("\n".join(json.dumps(record) for record in records), "utf-8")
    return str(path)


def report(run: Run, *arguments: str) -> dict[str, Any]:
    ran = run("map", *arguments, "--json")
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_each_record_is_shown_with_what_the_stage_reads_and_where_it_ends(
    run: Run, folder: Path
) -> None:
    (folder / "pipeline.toml").write_text(SETTINGS, "utf-8")
    closed, empty = zendesk(2), zendesk(3)
    closed["detail"]["status"] = "CLOSED"
    empty["detail"]["description"] = None
    sample = lines(folder / "s.jsonl", zendesk(1), closed, empty)
    found = report(run, "tickets", "--sample", sample)
    assert [each["end"] for each in found["records"]] == ["read", "passed_over", "dead_letter"]
    read, over, dead = found["records"]
    assert read["fields"]["id"] == "5001"
    # A field of the stage's own name is read without being mapped.
    assert read["fields"]["subject"] == "zen:ticket:1"
    assert set(read["missing"]) == {"customer_id", "channel", "created_at"}
    assert "detail.priority" in read["extra"]
    assert "where" in over["because"]
    assert "`detail.description`" in dead["because"]
    assert found["proposal"] is None
    shown = run("map", "tickets", "--sample", sample)
    assert "id = 5001  (detail.id)" in shown.out
    assert "1 would be asked about, 1 passed over, 1 dead letters" in shown.out


def test_without_a_mapping_one_is_proposed_that_can_be_pasted(run: Run, folder: Path) -> None:
    sample = lines(folder / "crm.jsonl", *map(crm, range(4)))
    proposed = report(run, "tickets", "--sample", sample)["proposal"]
    assert {each["field"]: each["sureness"] for each in proposed["fields"]}["body"] == "sure"
    (folder / "pipeline.toml").write_text(proposed["toml"], "utf-8")
    again = report(run, "tickets", "--sample", sample)
    assert {each["end"] for each in again["records"]} == {"read"}


@pytest.mark.parametrize("content", ['[{"id": "1", "body": "b"}]', '{"id": "1",\n "body": "b"}'])
def test_a_sample_may_be_an_array_or_one_record(run: Run, folder: Path, content: str) -> None:
    (folder / "s.json").write_text(content, "utf-8")
    [record] = report(run, "tickets", "--sample", "s.json")["records"]
    assert record["fields"] == {"id": "1", "body": "b"}


def test_a_file_of_a_stage_that_takes_files_is_looked_into(run: Run, folder: Path) -> None:
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    [record] = report(run, "images", "--sample", "a.png")["records"]
    assert (record["end"], record["because"].split(":")[0]) == ("dead_letter", "bad_image")


DEBEZIUM = """
[stages.tickets.input]
pattern = "shop.*"
envelope = "debezium"
"""


def test_of_changes_what_is_no_row_is_passed_over(run: Run, folder: Path) -> None:
    (folder / "pipeline.toml").write_text(DEBEZIUM, "utf-8")
    row = {"id": "1", "body": "It broke."}
    changes = [
        {"op": "c", "before": None, "after": row, "source": {}},
        {"op": "t", "source": {}},
        {"op": "d", "before": row, "after": None, "source": {}},
    ]
    found = report(run, "tickets", "--sample", lines(folder / "s.jsonl", *changes))
    assert [each["end"] for each in found["records"]] == ["read", "passed_over", "passed_over"]
    assert "truncate" in found["records"][1]["because"]


def test_nothing_in_a_record_can_command_the_terminal(run: Run, folder: Path) -> None:
    sample = lines(folder / "s.jsonl", {"id": "1", "body": "\x1b[2J", "x\x1b": 1})
    assert "\x1b" not in run("map", "tickets", "--sample", sample).out


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "arguments", [["faxes", "--sample", "x"], ["tickets", "--sample", "none.jsonl"], ["tickets"]]
)
def test_wrong_use_ends_with_2(run: Run, arguments: list[str]) -> None:
    ran = run("map", *arguments)
    assert ran.code == 2
    assert "Traceback" not in ran.err


def test_a_field_that_the_stage_does_not_read_ends_with_2_and_those_that_it_does(
    run: Run, folder: Path
) -> None:
    (folder / "pipeline.toml").write_text('[stages.tickets.map]\ntitle = "x"\n', "utf-8")
    ran = run("map", "tickets", "--sample", lines(folder / "s.jsonl", {"x": 1}))
    assert ran.code == 2
    assert "stages.tickets.map.title" in ran.err
    assert "customer_id" in ran.err


@pytest.mark.usefixtures("folder")
def test_the_latest_records_of_a_topic_are_read_and_nothing_of_a_group_changes(
    run: Run, prefix: str, tmp_path: Path
) -> None:
    records = [{"id": str(n), "body": "Hello"} for n in range(9)]
    assert run("topics", "create", "tickets").code == 0
    assert run("publish", "tickets", lines(tmp_path / "t.jsonl", *records)).code == 0
    found = report(run, "tickets", "--sample", f"{prefix}tickets.raw", "--limit", "4")
    assert {each["fields"]["id"] for each in found["records"]} <= {str(n) for n in range(9)}
    assert len(found["records"]) == 4
    assert run("map", "tickets", "--sample", "no.such.topic").code == 1


def test_of_what_cannot_be_read_there_is_no_empty_table(run: Run, folder: Path) -> None:
    (folder / "s.jsonl").write_bytes(b"{broken\n")
    ran = run("map", "tickets", "--sample", "s.jsonl")
    assert "invalid_json" in ran.out
    assert "In the record" not in ran.out
