import asyncio
import base64
import json
from pathlib import Path

import pytest

from pipeline.local.broker import LocalBroker
from pipeline.model.records import DeadLetterReason
from pipeline.stream.records import Outgoing
from tests.cli.conftest import Run
from tests.operators.dead_letters.examples import buried, raw, write


@pytest.fixture
def prefix_of_six(run: Run, prefix: str, embedded_broker: LocalBroker) -> str:
    """Six dead letters of two reasons; returns the prefix of their topics."""
    run("topics", "create", "tickets")
    reasons = (DeadLetterReason.INVALID_EVENT, DeadLetterReason.BAD_IMAGE)
    records = [
        buried(
            raw(
                number,
                topic=f"{prefix}tickets.raw",
                key=b"customer-%d" % number,
                value=b'{"id": "x-%d", "body": "\x1b]0;mine\x07"}' % number,
            ),
            into=f"{prefix}dead-letters",
            reason=reasons[number % 2],
        )
        for number in range(6)
    ]
    asyncio.run(write(embedded_broker.settings, records))
    return prefix


def lines(run: Run, *arguments: str) -> list[dict[str, object]]:
    ran = run("dead-letters", "list", "--json", *arguments)
    assert ran.code == 0, ran.err
    found: list[dict[str, object]] = json.loads(ran.out)["lines"]
    return found


def test_they_are_listed_with_filters(run: Run, prefix_of_six: str) -> None:
    assert len(lines(run)) == 6
    assert {line["reason"] for line in lines(run, "--reason", "bad_image")} == {"bad_image"}
    assert [line["key"] for line in lines(run, "--key", "customer-4")] == ["customer-4"]
    assert lines(run, "--since", "2026-11-22T12:00:00.001") == []
    assert len(lines(run, "--until", "2026-11-23", "--stage", "tickets")) == 6
    assert len(lines(run, "-n", "2")) == 2
    ran = run("dead-letters", "list", "-n", "2")
    assert "customer-" in ran.out
    assert "6 dead letters (" in ran.err
    assert "The newest 2 are shown" in ran.err


def test_one_is_shown_and_commands_the_terminal_nothing(run: Run, prefix_of_six: str) -> None:
    [line] = lines(run, "--key", "customer-3")
    place = str(line["place"])
    ran = run("dead-letters", "show", place)
    assert ran.code == 0
    assert "reason     bad_image" in ran.out
    assert "\\u001b]0;mine\\u0007" in ran.out
    assert "\x1b" not in ran.out
    document = json.loads(run("dead-letters", "show", place, "--json").out)
    assert base64.b64decode(document["value"]).startswith(b'{"id": "x-3"')


def test_what_is_not_there_is_reported(run: Run, prefix_of_six: str) -> None:
    missing = run("dead-letters", "show", "0:4711")
    assert missing.code == 1
    assert "There is no dead letter at 0:4711" in missing.err
    assert run("dead-letters", "show", "first").code == 2
    assert run("dead-letters", "list", "--since", "lately").code == 2


def test_a_replay_must_say_which(run: Run, prefix_of_six: str) -> None:
    ran = run("dead-letters", "replay")
    assert ran.code == 2
    assert "--all" in ran.err


def test_they_are_replayed_once(run: Run, prefix_of_six: str) -> None:
    rehearsed = run("dead-letters", "replay", "--all", "--dry-run")
    assert rehearsed.out.startswith(f"6 would be replayed (6 to {prefix_of_six}tickets.raw)")
    assert run("tail", f"{prefix_of_six}tickets.raw").out == ""

    [line] = lines(run, "--key", "customer-3")
    one = json.loads(run("dead-letters", "replay", str(line["place"]), "--json").out)
    assert (one["replayed"], one["done_before"]) == (1, 0)
    rest = json.loads(run("dead-letters", "replay", "--all", "--json").out)
    assert (rest["replayed"], rest["done_before"]) == (5, 1)
    assert run("dead-letters", "replay", "--all").out.startswith("0 replayed, 6 were before")

    back = run("tail", f"{prefix_of_six}tickets.raw").out.splitlines()
    assert sorted(json.loads(text)["key"] for text in back) == [f"customer-{n}" for n in range(6)]
    assert lines(run, "--open") == []
    assert len(lines(run, "--replayed")) == 6
    assert all(line["replayed"] == 1 for line in lines(run))

    again = run("dead-letters", "replay", "--key", "customer-3", "--again")
    assert again.out.startswith("1 replayed")
    [line] = lines(run, "--key", "customer-3")
    assert line["replayed"] == 2


def test_what_cannot_be_replayed_fails_the_command_and_is_named(
    run: Run, prefix_of_six: str, embedded_broker: LocalBroker
) -> None:
    foreign = Outgoing(f"{prefix_of_six}dead-letters", b"key", b"?", ())
    elsewhere = buried(raw(topic="bank.transfers"), into=f"{prefix_of_six}dead-letters")
    asyncio.run(write(embedded_broker.settings, [foreign, elsewhere]))
    ran = run("dead-letters", "replay", "--all")
    assert ran.code == 1
    assert "does not read its topic 'bank.transfers'" in ran.err
    assert "it has no header dlq-topic" in ran.err
    assert ran.out.startswith("6 replayed")


def test_they_are_exported_as_lines_and_as_files(
    run: Run, prefix_of_six: str, tmp_path: Path
) -> None:
    ran = run("dead-letters", "export", "--reason", "bad_image")
    documents = [json.loads(text) for text in ran.out.splitlines()]
    assert {document["reason"] for document in documents} == {"bad_image"}
    assert documents[0]["headers"] == [["traceparent", base64.b64encode(b"00-abc").decode()]]
    run("dead-letters", "export", "--files", str(tmp_path / "out"), "--key", "customer-3")
    value, about = sorted((tmp_path / "out").iterdir(), key=lambda path: path.name, reverse=True)
    assert value.read_bytes().startswith(b'{"id": "x-3"')
    assert json.loads(about.read_bytes())["source"]["topic"] == f"{prefix_of_six}tickets.raw"


def test_missing_topics_are_reported(run: Run, prefix: str) -> None:
    ran = run("dead-letters", "list")
    assert ran.code == 1
    assert "pipeline topics create" in ran.err
