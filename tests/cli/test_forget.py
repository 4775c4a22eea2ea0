import asyncio
import json

import pytest

from pipeline.local.broker import LocalBroker
from pipeline.stream.records import Outgoing
from tests.cli.conftest import Run
from tests.operators.dead_letters.examples import buried, raw, write
from tests.operators.review.items import outgoing, review

ADA = "ada@example.com"


@pytest.fixture
def topics(run: Run, prefix: str, embedded_broker: LocalBroker) -> str:
    """Records of two customers; the prefix of their topics."""
    run("topics", "create", "tickets")
    records = []
    for key in (ADA.encode(), b"bob"):
        item = outgoing(review(0), key=key, topic=f"{prefix}review")
        topic = f"{prefix}tickets.raw"
        dead = buried(raw(0, topic=topic, key=key), into=f"{prefix}dead-letters")
        result = Outgoing(f"{prefix}tickets.enriched", key, b"{}", ())
        records += [Outgoing(topic, key, b"{}", ()), item, dead, result]
    asyncio.run(write(embedded_broker.settings, records))
    return prefix


def test_a_key_is_forgotten_once_it_is_executed(run: Run, topics: str) -> None:
    rehearsed = run("forget", ADA)
    assert rehearsed.code == 0
    assert f"{topics}tickets.enriched" in rehearsed.out
    assert "1 review items and 1 dead letters would be settled" in rehearsed.err
    assert "--execute" in rehearsed.err
    assert json.loads(run("audit", "list", "--json").out)["lines"] == []

    done = json.loads(run("forget", ADA, "--execute", "--as", "Ada", "--json").out)
    assert (done["executed"], done["review_items"], done["dead_letters"]) == (True, 1, 1)
    assert {each["topic"] for each in done["remains"]} == {
        f"{topics}{name}" for name in ("tickets.raw", "tickets.enriched", "review", "dead-letters")
    }
    for each in done["remains"]:
        assert (each["records"], each["first"]) == (1, each["last"])
        assert each["removed_by"] == "retention"
        assert each["until"] > each["newest"]
    again = json.loads(run("forget", ADA, "--execute", "--json").out)
    assert (again["review_items"], again["dead_letters"], again["settled_before"]) == (0, 0, 2)


def test_what_is_forgotten_is_neither_replayed_nor_resolved(run: Run, topics: str) -> None:
    assert run("forget", ADA, "--execute", "--as", "Ada").code == 0
    replayed = json.loads(run("dead-letters", "replay", "--all", "--again", "--json").out)
    assert (replayed["replayed"], replayed["done_before"]) == (1, 1)
    lines = json.loads(run("review", "list", "--json").out)["lines"]
    [place] = [line["place"] for line in lines if line["forgotten"]]
    ran = run("review", "resolve", place, "--accept", "haiku", "--again")
    assert ran.code == 1
    assert "was forgotten" in ran.err
    for command in ("review", "dead-letters"):
        assert "forgotten" in run(command, "list", "--key", ADA).out
        assert run(command, "show", place).code == 0

    [line, _] = json.loads(run("audit", "list", "--json").out)["lines"]
    assert (line["person"], line["command"]) == ("Ada", "forget")
    assert (line["done"], line["outcome"]) == ({"forgotten": 2}, "done")
    assert ADA not in json.dumps(line)


def test_a_topic_that_holds_no_payloads_is_wrong_use(run: Run, topics: str) -> None:
    ran = run("forget", ADA, "--topic", f"{topics}audit")
    assert ran.code == 2
    assert "holds no payloads" in ran.err
    only = json.loads(run("forget", ADA, "--topic", f"{topics}review", "--json").out)
    assert [each["topic"] for each in only["remains"]] == [f"{topics}review"]
    assert (only["review_items"], only["dead_letters"]) == (1, 0)


def test_without_topics_it_fails(run: Run, prefix: str) -> None:
    ran = run("forget", ADA)
    assert ran.code == 1
    assert "None of the pipeline's topics exists" in ran.err
