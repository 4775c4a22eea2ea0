import asyncio
import getpass
import json
from functools import partial

import pytest

from pipeline.config import load_settings
from pipeline.kafka.reader import read_topics
from pipeline.kafka.writer import Writer
from pipeline.local.broker import LocalBroker
from pipeline.model.records import now
from pipeline.operators.audit import hash_of_key
from pipeline.operators.settings_audit import audit_start
from tests.cli.conftest import Run
from tests.operators.dead_letters.examples import buried, raw, write
from tests.operators.review.items import outgoing, review


@pytest.fixture
def topics(run: Run, prefix: str, embedded_broker: LocalBroker) -> str:
    """Three dead letters and a review item of one customer; the prefix of their topics."""
    run("topics", "create", "tickets")
    topic = f"{prefix}tickets.raw"
    records = [
        buried(raw(number, topic=topic, key=b"ada@example.com"), into=f"{prefix}dead-letters")
        for number in range(3)
    ]
    item = outgoing(review(0), key=b"ada@example.com", topic=f"{prefix}review")
    asyncio.run(write(embedded_broker.settings, [*records, item]))
    return prefix


def test_who_replayed_and_resolved_what_is_listed(run: Run, topics: str) -> None:
    key = "ada@example.com"
    assert run("dead-letters", "replay", "--key", key, "--limit", "2", "--as", "Ada").code == 0
    [item] = json.loads(run("review", "list", "--json").out)["lines"]
    assert run("review", "resolve", item["place"], "--accept", "haiku").code == 0
    assert run("review", "resolve", item["place"], "--accept", "haiku").code == 1
    assert run("dead-letters", "replay", "--all", "--dry-run").code == 0

    ran = run("audit", "list", "--json", "--since", "1h")
    assert ran.code == 0
    assert key not in ran.out
    replayed, resolved = json.loads(ran.out)["lines"]
    assert (replayed["person"], replayed["command"]) == ("Ada", "dead-letters replay")
    assert replayed["selected"] == {"key_sha256": [hash_of_key(key)], "limit": ["2"]}
    assert (replayed["done"], replayed["outcome"]) == ({"replayed": 2}, "done")
    assert (resolved["person"], resolved["done"]) == (getpass.getuser(), {"resolved": 1})
    assert resolved["selected"] == {"place": [item["place"]]}

    table = run("audit", "list")
    assert "2 replayed" in table.out
    assert "2 commands" in table.err
    assert run("audit", "list", "--until", "1h").out == ""


def test_nothing_is_changed_without_a_name_where_that_is_a_must(
    run: Run, topics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_OPERATORS__REQUIRE_AS", "true")
    ran = run("dead-letters", "replay", "--all")
    assert ran.code == 2
    assert "--as" in ran.err
    assert run("tail", f"{topics}tickets.raw").out == ""
    assert run("dead-letters", "replay", "--all", "--as", "Ada").code == 0


def test_without_its_topic_nothing_is_changed(
    run: Run, topics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_TOPICS__AUDIT", "elsewhere")
    ran = run("dead-letters", "replay", "--all")
    assert ran.code == 1
    assert "pipeline topics create" in ran.err
    assert run("tail", f"{topics}tickets.raw").out == ""


def test_a_start_with_other_settings_is_listed(
    run: Run, prefix: str, embedded_broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("topics", "create", "tickets")
    kafka = embedded_broker.settings

    async def start() -> None:
        async with Writer(kafka, max_record_bytes=1 << 20) as writer:
            await audit_start(
                load_settings(),
                ["tickets"],
                f"{prefix}audit",
                read=partial(read_topics, kafka),
                publish=writer.write,
                now=now,
            )

    for concurrency in ("8", "8", "16"):
        monkeypatch.setenv("PIPELINE_CLAUDE__CONCURRENCY", concurrency)
        asyncio.run(start())
    first, second = json.loads(run("audit", "list", "--json").out)["lines"]
    assert (first["command"], first["done"]) == ("run", {"started": 1})
    assert second["selected"] == {"stages": ["tickets"], "claude.concurrency": ["8 -> 16"]}
    assert "started" in run("audit", "list").out
