import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.config import Settings, TopicSettings
from pipeline.inputs.records import Document, InputRecord
from pipeline.model.errors import InvalidEvent, Unavailable
from pipeline.model.records import DeadLetterReason
from pipeline.operators import inspection
from pipeline.operators.inspection import text_of, topic_of
from pipeline.stream.records import Headers, Received, Unread
from tests.cli.conftest import Run

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def record(value: bytes | None, headers: Headers = (), key: bytes | None = b"k") -> Received:
    return Received("t", 0, 7, key, value, headers, timestamp=NOON, received_at=NOON)


def test_a_stage_means_its_results_and_a_name_the_topic_of_that_name() -> None:
    settings = Settings(topics=TopicSettings(prefix="acme.", review="people"))
    assert topic_of(settings, "tickets") == "acme.tickets.enriched"
    assert topic_of(settings, "review") == "acme.people"
    assert topic_of(settings, "dead-letters") == "acme.dead-letters"
    assert topic_of(settings, "acme.tickets.raw") == "acme.tickets.raw"


def test_a_result_is_printed_as_its_value() -> None:
    assert text_of(record(b'{"event_id": "T-1"}')) == '{"event_id": "T-1"}'
    assert text_of(record(b'{"a": 1}'), pretty=True) == '{\n  "a": 1\n}'


def test_a_dead_letter_is_printed_with_key_and_headers() -> None:
    read = json.loads(text_of(record(b'{"id": 1}', (("dlq-reason", b"invalid_event"),))))
    assert read["headers"] == {"dlq-reason": "invalid_event"}
    assert read["key"] == "k"
    assert read["offset"] == 7
    assert read["value"] == {"id": 1}


def test_bytes_that_are_no_text_are_printed_in_base64() -> None:
    read = json.loads(text_of(record(b"\x89PNG", key=None)))
    assert read["value"] == {"base64": "iVBORw=="}
    assert read["key"] is None


def test_what_cannot_be_decoded_is_printed_with_why() -> None:
    read = json.loads(text_of(record(b"\0\0\0\0\7\xff"), why="There is no schema 7."))
    assert read["unreadable"] == "There is no schema 7."
    assert read["value"] == {"base64": "AAAAAAf/"}


class Broken:
    """A reader of frames that fails in a way of its own for each record."""

    async def read(self, each: InputRecord) -> Document | None:
        match (each.value or b"")[-1:]:
            case b"a":
                raise Unavailable("The registry is away.")
            case b"i":
                raise InvalidEvent(DeadLetterReason.INVALID_EVENT, "There is no such schema.")
            case b"b":
                raise ZeroDivisionError
        return Document({"id": 7})


async def test_nothing_that_cannot_be_decoded_ends_the_listing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = (("dlq-reason", b"invalid_event"), ("dlq-detail", b"body: missing."))
    unread = replace(record(None), unread=Unread("Inflated it has more than 64 MiB."))
    there = [record(b"\0a"), record(b"\0i", dead), record(b"\0b"), unread, record(b"\0.", dead)]

    @asynccontextmanager
    async def read_topics(*_: object, **__: object) -> AsyncIterator[AsyncIterator[Received]]:
        async def each() -> AsyncIterator[Received]:
            for one in there:
                yield one

        yield each()

    monkeypatch.setattr(inspection, "read_topics", read_topics)
    monkeypatch.setattr(inspection, "_framed", lambda _: Broken())
    shown: list[str] = []
    await inspection.tail(Settings(), "t", shown.append)
    read = [json.loads(line) for line in shown]
    said = [each.get("unreadable", "") for each in read]
    assert said[:2] == ["The registry is away.", "There is no such schema."]
    assert "ZeroDivisionError" in said[2]
    assert said[3:] == ["Inflated it has more than 64 MiB.", ""]
    assert read[1]["headers"]["dlq-detail"] == "body: missing."
    assert read[4]["value"] == {"id": 7}
    # Without a registry it is said what to set.
    monkeypatch.setattr(inspection, "_framed", lambda _: None)
    await inspection.tail(Settings(), "t", shown.append, limit=1)
    assert "registry.url" in json.loads(shown[-1])["unreadable"]


def test_a_record_without_a_value_is_printed() -> None:
    assert json.loads(text_of(record(None)))["value"] is None


def test_nothing_in_an_event_can_command_the_terminal() -> None:
    text = text_of(record(json.dumps({"body": "\x1b[2J\x9b31m\u202e"}).encode()))
    assert text.isprintable()
    assert json.loads(text) == {"body": "\x1b[2J\x9b31m\u202e"}


@pytest.fixture
def published(run: Run, tmp_path: Path, prefix: str) -> str:
    lines = [json.dumps({"id": str(n), "body": "Hello"}) for n in range(5)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    run("topics", "create")
    run("publish", "tickets", str(tmp_path / "t.jsonl"))
    return f"{prefix}tickets.raw"


def test_what_grows_out_of_bounds_when_it_is_indented_is_printed_on_one_line() -> None:
    nested = b'{"id": [' + b",".join([b"[" * 60 + b"]" * 60] * 10_000) + b"]}"
    assert len(text_of(record(nested), pretty=True)) < 2 * len(nested)
    assert "\n" in text_of(record(b'{"id": 1}'), pretty=True)


def test_all_that_is_there_is_printed(run: Run, published: str) -> None:
    lines = run("tail", published).out.splitlines()
    assert {json.loads(line)["id"] for line in lines} == set("01234")


def test_a_limit_ends_it_even_while_it_follows(run: Run, published: str) -> None:
    ran = run("tail", published, "--follow", "--limit", "3")
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 3


def test_a_reader_that_has_enough_is_no_fault(published: str) -> None:
    command = f"{sys.executable} -m pipeline.cli tail {published} | head -n 1"
    ran = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert len(ran.stdout.splitlines()) == 1
    assert ran.stderr == ""


def test_a_topic_without_records_prints_nothing(run: Run, published: str) -> None:
    assert published
    ran = run("tail", "tickets")
    assert (ran.code, ran.out) == (0, "")


@pytest.mark.usefixtures("prefix")
def test_a_topic_that_does_not_exist_is_reported(run: Run) -> None:
    ran = run("tail", "no-such-topic")
    assert ran.code == 1
    assert "no-such-topic" in ran.err
