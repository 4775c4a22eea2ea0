"""No command ends in a traceback because of what is in a topic."""

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.local.broker import LocalBroker
from pipeline.stream.records import Outgoing
from tests.cli.conftest import Ran, Run
from tests.operators.dead_letters.examples import buried, raw, write
from tests.operators.review.items import outgoing, review

EVIL = "\x1b]0;owned\x07\u202e".encode()
BIG = b'{"id": ' + b"9" * 300 + b"}"
VALUES = [b"", b"{}", b"null", b"\xff\xfe", EVIL, b"[" * 900 + b"]" * 900, BIG, b"x" * 300_000]
KEYS = [None, b"", EVIL, b"k" * 5000, b"dead-letters/0/0"]
HEADERS: list[Any] = [
    (),
    (("dlq-reason", b"\xff"), ("dlq-offset", b"9" * 5000), ("dlq-topic", EVIL * 1000)),
    (("dlq-timestamp", b"9999-12-31T23:59:59-23:59"), ("dlq-stage", None), ("x", None)),
    (("dlq-topic", b"tickets.raw"), ("dlq-reason", b"invalid_event")),
]


def junk(topic: str, *, compacted: bool = False) -> list[Outgoing]:
    """Brokers take no record without a key into a compacted topic."""
    keys = KEYS[1:] if compacted else KEYS
    rows = zip(VALUES, itertools.cycle(keys), itertools.cycle(HEADERS), strict=False)
    return [Outgoing(topic, key, value, headers) for value, key, headers in rows]


def held(ran: Ran) -> Ran:
    assert "Traceback" not in ran.err
    assert "fault of the program" not in ran.err, ran.err
    for text in (ran.out, ran.err):
        assert all(char.isprintable() or char in "\n\t" for char in text)
    return ran


@pytest.fixture
def topics(run: Run, prefix: str, embedded_broker: LocalBroker) -> str:
    """Every topic holds junk, and some what belongs there; the prefix of their names."""
    assert run("topics", "create", "tickets").code == 0
    names = ("dead-letters", "review", "escalations", "tickets.raw", "tickets.enriched", "audit")
    compacted = ("dead-letters.replayed", "review.resolved", "backfills")
    records = [each for name in names for each in junk(f"{prefix}{name}")]
    for name in compacted:
        records += junk(f"{prefix}{name}", compacted=True)
    good = raw(1, topic=f"{prefix}tickets.raw", key=b"c", value=b'{"id": "x", "body": "Hello"}')
    records.append(buried(good, into=f"{prefix}dead-letters"))
    case = review(event={"id": "T-0", "body": "a", "n": 10**300})
    records.append(outgoing(case, topic=f"{prefix}review"))
    asyncio.run(write(embedded_broker.settings, records))
    return prefix


def test_dead_letters_among_junk(
    run: Run, topics: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ran = held(run("dead-letters", "list", "--json"))
    assert ran.code == 0
    assert "are no marks" in caplog.text
    found = json.loads(ran.out)["lines"]
    assert len(found) == len(VALUES) + 1
    held(run("dead-letters", "list"))
    options = itertools.cycle(((), ("--json",), ("--full",)))
    for line, option in zip(found, options, strict=False):
        assert held(run("dead-letters", "show", line["place"], *option)).code == 0
    assert held(run("dead-letters", "export")).code == 0
    assert held(run("dead-letters", "export", "--files", str(tmp_path / "out"))).code == 0
    assert held(run("dead-letters", "replay", "--all", "--dry-run")).code == 1
    ran = held(run("dead-letters", "replay", "--all", "--json"))
    assert ran.code == 1  # some were refused
    replayed = json.loads(ran.out)
    assert replayed["topics"].keys() == {f"{topics}tickets.raw"}
    assert replayed["replayed"] >= 1
    ran = held(run("dead-letters", "replay", "--all", "--json"))
    assert json.loads(ran.out)["replayed"] == 0


def test_audit_records_among_junk(run: Run, topics: str) -> None:
    for options in ((), ("--json",)):
        assert held(run("audit", "list", *options)).code == 0
    assert json.loads(run("audit", "list", "--json").out)["unreadable"] == len(VALUES)


def test_reviews_among_junk(run: Run, topics: str, tmp_path: Path) -> None:
    ran = held(run("review", "list", "--json"))
    listed = json.loads(ran.out)
    assert (ran.code, listed["unreadable_count"]) == (0, len(VALUES))
    held(run("review", "list"))
    (line,) = listed["lines"]
    for options in ((), ("--json",), ("--full",)):
        ran = held(run("review", "show", line["place"], *options))
        assert ran.code == 0
        assert "9" * 10 in ran.out or "10000" in ran.out
    for partition, offset in itertools.product(range(3), (0, 1, 99)):
        held(run("review", "show", f"{partition}:{offset}"))
    labels = str(tmp_path / "labels.jsonl")
    arguments = ("review", "resolve", line["place"], "--accept", "haiku", "--labels", labels)
    assert held(run(*arguments)).code == 0
    assert held(run(*arguments)).code == 1


def test_tail_and_lag_over_junk(run: Run, topics: str) -> None:
    for name in ("dead-letters", "review", "escalations", "tickets", f"{topics}backfills"):
        for options in ((), ("--pretty",)):
            ran = held(run("tail", name, *options))
            assert (ran.code, ran.out.count("\n") >= len(VALUES)) == (0, True)
    assert held(run("lag", "tickets")).code == 0
    assert held(run("lag", "tickets", "--json")).code == 0


def test_a_backfill_over_junk(run: Run, topics: str) -> None:
    held(run("backfill", "tickets"))


def test_publishing_junk(run: Run, topics: str, tmp_path: Path) -> None:
    file = tmp_path / "junk.jsonl"
    file.write_bytes(b"\n".join(value for value in VALUES if value) + b"\n")
    odd = Path(str(tmp_path).encode().decode()) / "\x1b]0;owned\x07\udcff.png"
    odd.write_bytes(b"\x89PNG\r\n\x1a\n")
    for stage in ("tickets", "images"):
        for option in ("--validate", "--no-validate"):
            held(run("publish", stage, str(file), str(odd), option))
