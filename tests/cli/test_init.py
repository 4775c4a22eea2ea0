"""`pipeline init`: a first pipeline.toml, for the topics that there are."""

import io
import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Settings
from pipeline.model.errors import UsageError
from pipeline.operators.first_settings import (
    Answers,
    TopicSample,
    format_of,
    stage_name,
    written,
)
from pipeline.stream.records import Received
from tests.cli.conftest import Run
from tests.cli.test_tail import NOON
from tests.operators.test_mapping_proposal import WORDS, crm, debezium, row

BROKERS = {"bootstrap_servers": "broker.example:9092", "security_protocol": "SASL_SSL"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kinds_are_known() -> bool:
    """Whether settings may name stages of a kind."""
    try:
        Settings.model_validate({"stages": {"complaints": {"kind": "tickets"}}})
    except ValueError:
        return False
    return True


def table(answers: Answers, found: TopicSample) -> dict[str, Any]:
    return tomllib.loads(written(answers, found, Settings(), date(2026, 11, 30)))


def test_what_was_answered_is_in_the_file_and_no_password() -> None:
    answers = Answers(BROKERS, ("crm.cases",), "tickets", "complaints", "crm.done", "http://r:8081")
    text = written(answers, TopicSample("json", (crm(1), crm(2))), Settings(), date(2026, 11, 30))
    found = tomllib.loads(text)
    assert found["enabled"] == ["complaints", "escalations"]
    assert found["kafka"] == BROKERS
    assert found["registry"] == {"url": "http://r:8081"}
    stage = found["stages"]["complaints"]
    assert stage["kind"] == "tickets"
    assert stage["input"] == {"topics": ["crm.cases"]}
    assert stage["output"] == {"topic": "crm.done"}
    assert stage["map"]["body"] == "Description"
    assert "PIPELINE_KAFKA__SASL_PASSWORD" in text


def test_the_format_and_the_envelope_that_were_found_are_set() -> None:
    answers = Answers({}, ("db.tickets",), "tickets", "tickets")
    found = table(answers, TopicSample("json", (debezium(1),)))["stages"]["tickets"]
    assert found["input"] == {"topics": ["db.tickets"], "envelope": "debezium"}
    assert found["map"]["body"] == "body"
    framed = table(answers, TopicSample("registry", (row(1),)))["stages"]["tickets"]
    assert framed["input"]["format"] == "registry"


def test_an_empty_topic_leaves_a_remark_in_place_of_a_mapping() -> None:
    answers = Answers({}, ("new",), "tickets", "tickets")
    text = written(
        answers, TopicSample(None, remark="Nothing\nis there."), Settings(), date(2026, 11, 30)
    )
    assert "# Nothing is there." in text
    assert "map" not in tomllib.loads(text)["stages"]["tickets"]


def records(*values: bytes) -> list[Received]:
    return [Received("t", 0, n, None, value, (), NOON, NOON) for n, value in enumerate(values)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b' {"id": 1}', "json"),
        (b"\x00\x00\x00\x00\x07avro", "registry"),
        (b"Received: from a\r\n by b\r\nFrom: a@b.example\r\n\r\nHello", "email"),
        (b"Subject: x\n\nHello", "email"),
        (WORDS.encode(), "text"),
    ],
)
def test_the_format_is_known_by_the_first_bytes(value: bytes, expected: str) -> None:
    assert format_of(records(value, value, b"other")) == expected


def test_a_name_that_no_stage_can_have_is_refused() -> None:
    answers = Answers({}, ("t",), "tickets", "My Stage")
    with pytest.raises(UsageError, match="My Stage"):
        written(answers, TopicSample(None), Settings(), date(2026, 11, 30))


def test_a_stage_is_called_after_its_topic() -> None:
    assert stage_name(["acme.Desk-Cases"], "tickets", Settings()) == "desk_cases"
    assert stage_name([], "tickets", Settings()) == "tickets"
    assert stage_name(["a.invoices"], "tickets", Settings()) == "invoices_tickets"
    assert stage_name(["4711"], "tickets", Settings()) == "tickets"


def test_a_file_that_is_there_is_not_written_over(run: Run, folder: Path) -> None:
    (folder / "pipeline.toml").write_text("# mine\n", "utf-8")
    ran = run("init", "--yes")
    assert ran.code == 2
    assert "--force" in ran.err
    assert (folder / "pipeline.toml").read_text("utf-8") == "# mine\n"


@pytest.mark.usefixtures("folder", "nowhere")
def test_without_a_terminal_options_are_needed_and_brokers_that_answer(run: Run) -> None:
    assert "--yes" in run("init").err
    ran = run("init", "--yes", "--security-protocol", "SSH")
    assert (ran.code, "security_protocol" in ran.err) == (2, True)
    assert run("init", "--yes").code == 1
    assert not Path("pipeline.toml").exists()


def test_a_topic_is_sampled_mapped_and_its_file_can_be_read(
    run: Run, folder: Path, prefix: str
) -> None:
    (folder / "t.jsonl").write_text("\n".join(json.dumps(row(n)) for n in range(5)), "utf-8")
    topic = f"{prefix}tickets.raw"
    assert run("topics", "create", "tickets").code == 0
    assert run("publish", "tickets", "t.jsonl", "--no-validate").code == 0
    given = ("--topic", topic, "--kind", "tickets", "--stage", "tickets", "--json")
    ran = run("init", "--yes", *given)
    assert ran.code == 0, ran.err
    found = tomllib.loads((folder / "pipeline.toml").read_text("utf-8"))
    assert found["stages"]["tickets"]["map"]["id"] == "ticket_no"
    shown = json.loads(run("map", "tickets", "--sample", topic, "--json").out)
    assert {each["end"] for each in shown["records"]} == {"read"}
    failed = [
        finding
        for finding in json.loads(run("doctor", "--json").out)
        if finding["verdict"] == "failed"
    ]
    assert {finding["about"] for finding in failed} <= {"access", "clock", "endpoints"}
    before = (folder / "pipeline.toml").read_bytes()
    refused = run("init", "--yes", "--force", *given[2:], "--topic", "no.such")
    assert (refused.code, "There is no topic no.such" in refused.err) == (2, True)
    assert (folder / "pipeline.toml").read_bytes() == before


class Terminal(io.StringIO):
    """Standard input at which a person types."""

    def isatty(self) -> bool:
        return True


def test_a_person_is_asked_which_topics_and_what_for(
    run: Run, folder: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("topics", "create", "tickets").code == 0
    topic = f"{prefix}tickets.raw"
    typed = ["", "", topic, "tickets", "tickets", "done"]
    monkeypatch.setattr("sys.stdin", Terminal("\n".join(typed) + "\n"))
    ran = run("init", "--no-create-topics")
    assert ran.code == 0, ran.err
    assert topic in ran.out
    stage = tomllib.loads((folder / "pipeline.toml").read_text("utf-8"))["stages"]["tickets"]
    assert stage == {"input": {"topics": [topic]}, "output": {"topic": "done"}}


@pytest.mark.skipif(not kinds_are_known(), reason="settings cannot name stages of a kind yet")
def test_a_stage_of_a_kind_gets_a_name_of_its_own(run: Run, folder: Path, prefix: str) -> None:
    assert run("topics", "create", "tickets").code == 0
    topic = f"{prefix}tickets.raw"
    ran = run("init", "--yes", "--topic", topic, "--kind", "tickets", "--stage", "complaints")
    assert ran.code == 0, ran.err
    found = tomllib.loads((folder / "pipeline.toml").read_text("utf-8"))
    assert found["stages"]["complaints"]["kind"] == "tickets"
