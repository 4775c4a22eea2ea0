"""`pipeline init`: a first pipeline.toml, for the topics that there are."""

import asyncio
import io
import json
import re
import runpy
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

from pipeline.config import Settings, TopicSettings, load_settings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.topics import Topics
from pipeline.kafka.writer import Writer
from pipeline.model.errors import UsageError
from pipeline.operators.first_settings import Answers, TopicSample, stage_name, written
from pipeline.operators.samples import format_of
from pipeline.stream.records import Outgoing, Received
from tests.cli.conftest import Run
from tests.cli.test_tail import NOON
from tests.inputs.registry_server import RegistryServer
from tests.operators.test_mapping_proposal import WORDS, crm, debezium, row

ROOT = Path(__file__).parents[2]
BROKERS = {"bootstrap_servers": "broker.example:9092", "security_protocol": "SASL_SSL"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(answers: Answers, found: TopicSample) -> dict[str, Any]:
    return tomllib.loads(written(answers, found, Settings(), date(2026, 11, 30)))


def test_what_was_answered_is_in_the_file_and_no_password() -> None:
    answers = Answers(BROKERS, ("crm.cases",), "tickets", "complaints", "crm.done", "http://r:8081")
    text = written(answers, TopicSample("json", (crm(1), crm(2))), Settings(), date(2026, 11, 30))
    found = tomllib.loads(text)
    assert found["enabled"] == ["complaints", "escalations"]
    assert found["kafka"] == BROKERS
    assert found["registry"] == {"url": "http://r:8081"}
    assert "PIPELINE_REGISTRY__PASSWORD" in text
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


def test_tombstones_of_a_compacted_topic_are_passed_on() -> None:
    answers = Answers({}, ("crm.cases",), "tickets", "tickets")
    found = TopicSample("json", (row(1),), are_compacted=True)
    assert table(answers, found)["stages"]["tickets"]["output"] == {"tombstones": True}
    assert "output" not in table(answers, TopicSample("json", (row(1),)))["stages"]["tickets"]


def test_a_filter_that_is_proposed_can_be_taken_by_removing_one_character() -> None:
    answers = Answers({}, ("crm.cases",), "tickets", "tickets")
    found = TopicSample("json", tuple(row(n) | {"state": "open"} for n in range(9)))
    text = written(answers, found, Settings(), date(2026, 11, 30))
    assert "where" not in tomllib.loads(text)["stages"]["tickets"]
    taken = tomllib.loads(text.replace("# where", "where"))
    assert taken["stages"]["tickets"]["where"] == "state == 'open'"


def test_of_mails_automatic_ones_are_what_is_best_passed_over() -> None:
    answers = Answers({}, ("mails",), "tickets", "tickets")
    mail = {"id": "m@x", "subject": "Hi", "from": "a@b.example", "text": WORDS}
    text = written(answers, TopicSample("email", (mail,)), Settings(), date(2026, 11, 30))
    found = tomllib.loads(text.replace("# where", "where"))["stages"]["tickets"]
    assert found["where"] == '$.about.headers."auto-submitted" == `null`'
    assert found["map"]["customer_id"] == "from"
    Settings.model_validate({"stages": {"tickets": found}})


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
        (b"%PDF-1.7\n" + bytes(9), "file"),
        (b"<?xml version='1.0'?><Invoice/>", "file"),
        (b"\x0e\x00\x12avro without a frame", None),
    ],
)
def test_the_format_is_known_by_the_first_bytes(value: bytes, expected: str | None) -> None:
    assert format_of(records(value, value, b"other")) == expected


def test_a_schema_id_in_a_header_is_a_registrys_format() -> None:
    header = (("__value_schema_id", b"\0\0\0\0\7"),)
    framed = Received("t", 0, 0, None, b"{avro", header, NOON, NOON)
    assert format_of([framed]) == "registry"


def test_a_name_that_no_stage_can_have_is_refused() -> None:
    answers = Answers({}, ("t",), "tickets", "My Stage")
    with pytest.raises(UsageError, match="My Stage"):
        written(answers, TopicSample(None), Settings(), date(2026, 11, 30))


def test_a_stage_is_called_after_its_topic() -> None:
    assert stage_name(["acme.Desk-Cases"], "tickets", Settings()) == "desk_cases"
    assert stage_name([], "tickets", Settings()) == "tickets"
    assert stage_name(["a.invoices"], "tickets", Settings()) == "invoices_tickets"
    assert stage_name(["4711"], "tickets", Settings()) == "tickets"
    assert stage_name(["support.cases.v2"], "tickets", Settings()) == "cases"
    assert stage_name(["support.tickets.3"], "tickets", Settings()) == "tickets"


@pytest.mark.parametrize("kind", ["classify", "extract"])
def test_a_general_kind_begins_with_an_example_of_what_it_cannot_be_without(
    folder: Path, kind: str
) -> None:
    answers = Answers({}, ("crm.letters",), kind, "letters")
    text = written(answers, TopicSample("json", (crm(1),)), Settings(), date(2026, 11, 30))
    (folder / "pipeline.toml").write_text(text, "utf-8")
    [stage] = [table for name, table in load_settings().stages if name == "letters"]
    assert stage.input.topics == ["crm.letters"]
    assert "text" in stage.map
    assert "task" in text


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


def test_a_stage_of_a_kind_gets_a_name_of_its_own(run: Run, folder: Path, prefix: str) -> None:
    assert run("topics", "create", "tickets").code == 0
    topic = f"{prefix}tickets.raw"
    ran = run("init", "--yes", "--topic", topic, "--kind", "tickets", "--stage", "complaints")
    assert ran.code == 0, ran.err
    found = tomllib.loads((folder / "pipeline.toml").read_text("utf-8"))
    assert found["stages"]["complaints"]["kind"] == "tickets"


def test_what_is_written_again_is_called_as_before(
    run: Run, folder: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_TOPICS__PREFIX", "own.")
    topic = f"{prefix}crm.cases"
    asyncio.run(publish_on(topic, [json.dumps(row(n)).encode() for n in range(3)]))
    for _ in range(2):
        ran = run("init", "--yes", "--force", "--no-create-topics", "--topic", topic, "--json")
        assert json.loads(ran.out)["stage"] == "cases"


def test_what_nothing_looks_like_is_said(run: Run, folder: Path, prefix: str) -> None:
    topic = f"{prefix}numbers"
    asyncio.run(publish_on(topic, [b'{"n": 1}', b'{"n": 2}']))
    ran = run("init", "--yes", "--no-create-topics", "--topic", topic)
    assert "Nothing in the records looks like id, body" in ran.out


def test_files_attached_to_mails_are_what_a_stage_that_takes_files_gets(
    run: Run, folder: Path, prefix: str
) -> None:
    topic = f"{prefix}mails"
    asyncio.run(publish_on(topic, [two_attachments()]))
    given = ("--topic", topic, "--stage", "bills", "--no-create-topics")
    assert run("init", "--yes", "--kind", "invoices", *given).code == 0
    stage = tomllib.loads((folder / "pipeline.toml").read_text("utf-8"))["stages"]["bills"]
    assert stage["input"]["attachments"] == "each"
    # Each of them is shown, of a topic as of the files of a folder.
    (folder / "mails").mkdir()
    (folder / "mails" / "a.eml").write_bytes(two_attachments())
    for sample in (topic, "mails"):
        shown = json.loads(run("map", "bills", "--sample", sample, "--json").out)["records"]
        places = [each["place"].partition("#")[2] for each in shown]
        assert places == ["1, a.pdf", "2, b.pdf"]


def two_attachments() -> bytes:
    mail = EmailMessage()
    mail["From"], mail["Subject"], mail["Message-ID"] = "a@b.example", "Bills", "<m-1@b.example>"
    mail.set_content("Both of them.")
    for name in ("a.pdf", "b.pdf"):
        mail.add_attachment(
            b"%PDF-1.7\n" + bytes(200), maintype="application", subtype="pdf", filename=name
        )
    return mail.as_bytes()


async def publish_on(topic: str, values: Sequence[bytes]) -> None:
    """Records on a topic that is made for them."""
    kafka = load_settings().kafka
    async with admin_client(kafka) as admin:
        await Topics(admin, TopicSettings(partitions=1)).create([topic])
    async with Writer(kafka, max_record_bytes=1 << 20) as writer:
        for value in values:
            await writer.write(Outgoing(topic, b"k", value, ()))


def framed_topic(server: RegistryServer, topic: str) -> None:
    """Records that a serializer of the registry's wrote."""
    texts = {"type": "record", "name": "Case", "fields": [
        {"name": "caseNumber", "type": "long"}, {"name": "problem", "type": "string"},
    ]}  # fmt: skip
    number = server.add(f"{topic}-value", json.dumps(texts))
    values = []
    for n in range(4):
        value = BytesIO()
        case = {"caseNumber": 7_000_000_000 + n, "problem": WORDS.format(n)}
        fastavro.schemaless_writer(value, texts, case)
        values.append(b"\0" + number.to_bytes(4, "big") + value.getvalue())
    asyncio.run(publish_on(topic, values))


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with RegistryServer().in_a_thread() as server:
        yield server


def test_a_topic_in_avro_is_mapped_asked_about_and_shown_by_settings_alone(
    run: Run,
    folder: Path,
    prefix: str,
    registry: RegistryServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    topic = f"{prefix}crm.cases.v2"
    framed_topic(registry, topic)
    looked = json.loads(run("map", "tickets", "--sample", topic, "--json").out)
    assert "registry.url" in looked["hint"]
    monkeypatch.setenv("PIPELINE_REGISTRY__URL", registry.url)
    looked = json.loads(run("map", "tickets", "--sample", topic, "--json").out)
    assert 'format = "registry"' in looked["proposal"]["toml"]
    typed = ["", "", topic, "", "cases", "done"]
    monkeypatch.setattr("sys.stdin", Terminal("\n".join(typed) + "\n"))
    assert run("init", "--no-create-topics").code == 0
    table = tomllib.loads((folder / "pipeline.toml").read_text("utf-8"))
    assert table["registry"] == {"url": registry.url}
    assert table["stages"]["cases"]["map"]["id"] == "caseNumber"
    shown = json.loads(run("map", "cases", "--sample", topic, "--json").out)
    assert {each["end"] for each in shown["records"]} == {"read"}
    [record] = run("tail", topic, "--limit", "1").out.splitlines()
    assert json.loads(record).keys() == {"caseNumber", "problem"}
    # What is shown can be asked about, and be a sample.
    (folder / "case.json").write_text(record, "utf-8")
    assert "would be asked about" in run("map", "cases", "--sample", "case.json").out
    asked = run("ask", "cases", "--file", "case.json", "--simulated", "--tier", "haiku", "--json")
    assert json.loads(asked.out)["record"]["event_id"] == str(json.loads(record)["caseNumber"])


def test_where_records_are_framed_a_person_is_asked_for_the_registry(
    run: Run, folder: Path, prefix: str, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = f"{prefix}crm.cases.v2"
    framed_topic(registry, topic)
    typed = ["", "", topic, "", "cases", "done", registry.url]
    monkeypatch.setattr("sys.stdin", Terminal("\n".join(typed) + "\n"))
    assert run("init", "--no-create-topics").code == 0
    table = tomllib.loads((folder / "pipeline.toml").read_text("utf-8"))
    assert table["registry"] == {"url": registry.url}
    assert table["stages"]["cases"]["map"]["body"] == "problem"


def test_the_mapping_in_the_readme_is_what_is_proposed_for_the_topic_of_its_walk(
    run: Run, folder: Path, prefix: str, registry: RegistryServer
) -> None:
    topic = f"{prefix}support.cases.v2"
    asyncio.run(publish_on(topic, []))
    produce = runpy.run_path(str(ROOT / "examples" / "own_topics" / "produce.py"))["main"]
    produce(load_settings().kafka.bootstrap_servers, topic, registry.url)
    given = ("--topic", topic, "--kind", "tickets", "--no-create-topics")
    assert run("init", "--yes", *given, f"--registry-url={registry.url}").code == 0
    found = tomllib.loads((folder / "pipeline.toml").read_text("utf-8"))["stages"]["cases"]
    readme = (ROOT / "README.md").read_text("utf-8")
    [block] = re.findall(r"```toml\n(\[stages\.cases\]\n.*?)```", readme, re.DOTALL)
    shown = tomllib.loads(block)["stages"]["cases"]
    assert found["map"].items() >= shown["map"].items()
    assert found["input"]["format"] == shown["input"]["format"]
    # Its settings read the records, but for the closed cases.
    with (folder / "pipeline.toml").open("w", encoding="utf-8") as file:
        file.write(block.replace("support.cases.v2", topic).partition("output")[0])
        file.write(block[block.index("map =") :])
        file.write(f'[registry]\nurl = "{registry.url}"\n')
    records = json.loads(run("map", "cases", "--sample", topic, "-n", "12", "--json").out)
    assert Counter(each["end"] for each in records["records"]) == {"read": 11, "passed_over": 1}
