"""Labelling drawn answers by the desk's routes: nothing is shown before it is said, once each."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from pipeline.desk.access import Role
from pipeline.kafka.writer import WriteFailed
from pipeline.model.records import Source
from pipeline.operators.trust_topic import labelled_answers
from pipeline.trust.records import answer_key
from tests.desk.world import ByHost, Client, Desk, OneOf, client
from tests.operators.review.items import RESULT
from tests.trust.examples import answer

SECRET = "The customer wants the double charge back."


def draw(desk: Desk, number: int = 0, **changed: Any) -> None:  # noqa: ANN401
    """Have the answer to one more ticket be drawn."""
    event = {"id": f"T-{number}", "body": "I was charged twice", "customer_id": "Ada"}
    value = json.dumps(event).encode()
    partition, offset = desk.broker.publish("tickets.raw", value, key=b"ada-%d" % number)
    [entry] = desk.broker.log(partition).read(offset, 1)[0]
    source = Source(
        topic="tickets.raw", partition=partition.partition, offset=offset,
        timestamp=datetime.fromtimestamp(entry.written_at, UTC),
    )  # fmt: skip
    fields = {"decided_by": "sonnet", "haiku_result": {**RESULT, "intent": "sales"},
              "published_at": datetime.now(UTC), "result": {**RESULT, "summary": SECRET},
              "source": source}  # fmt: skip
    made = answer(number, **fields | changed)
    value = made.model_dump_json(by_alias=True).encode()
    desk.broker.publish("trust", value, key=answer_key(made.stage, made.event_id))


def labels(desk: Desk) -> list[dict[str, Any]]:
    return [each for each in desk.published("trust") if each["schema"] == "trust.label/1"]


async def following(browser: Client, **headers: str) -> Any:  # noqa: ANN401 - JSON
    status, found = await browser.post("/api/sample/next", {"stage": "tickets"}, **headers)
    assert status == 200, found
    return found


async def test_nothing_of_an_answer_is_sent_before_the_question_is_answered() -> None:
    desk = Desk()
    draw(desk)
    async with client(desk) as browser:
        found = await following(browser)
        turn = found["turn"]
        assert turn["event"]["texts"][0]["pieces"] == [
            {"text": "I was charged twice", "fields": []}
        ]
        [question] = turn["questions"]
        assert question["name"] == "intent"
        assert "billing" in [each["value"] for each in question["labels"]]
        said = json.dumps(found)
        for hidden in (SECRET, "haiku", "sonnet", "T-0"):
            assert hidden not in said
        _, revealed = await browser.post(
            f"/api/sample/{turn['name']}/given", {"given": {"intent": "billing"}}
        )
        assert SECRET in json.dumps(revealed)
        assert (revealed["differ"], revealed["said"]) == ([], True)


async def test_only_the_first_word_counts_and_the_label_is_published_once() -> None:
    desk = Desk()
    draw(desk)
    async with client(desk) as browser:
        name = (await following(browser))["turn"]["name"]
        status, said = await browser.post(f"/api/sample/{name}/verdict", {"right": True})
        assert (status, said["error"][:18]) == (409, "Say first what is ")
        for intent in ("sales", "billing"):
            _, revealed = await browser.post(
                f"/api/sample/{name}/given", {"given": {"intent": intent}}
            )
            assert revealed["differ"] == ["intent"]
        results = await asyncio.gather(*(
            browser.post(f"/api/sample/{name}/verdict", {"right": False}) for _ in range(3)
        ))  # fmt: skip
        assert sorted(status for status, _ in results) == [200, 409, 409]
        found = await following(browser)
        assert (found["turn"], found["waiting"], found["labelled"]) == (None, 0, 1)
    [label] = labels(desk)
    assert (label["right"], label["wrong_fields"], label["person"]) == (False, ["/intent"], "ada")
    assert (label["origin"], label["chance"]) == ("sample", 1.0)
    [audit] = desk.published("audit")
    assert (audit["person"], audit["did"], audit["command"]) == ("ada", "labelled", "desk sample")


async def test_an_answer_that_was_seen_and_left_comes_back_with_the_first_word() -> None:
    desk = Desk()
    draw(desk)
    name = ""
    async with client(desk) as browser:
        for intent in ("sales", "billing"):
            name = (await following(browser))["turn"]["name"]
            given = {"given": {"intent": intent}}
            _, revealed = await browser.post(f"/api/sample/{name}/given", given)
            assert revealed["differ"] == ["intent"]
        await browser.post(f"/api/sample/{name}/verdict", {"right": False})
    [label] = labels(desk)
    assert label["wrong_fields"] == ["/intent"]


async def test_labels_of_one_person_from_two_desks_are_one() -> None:
    first = Desk()
    second = Desk(broker=first.broker, process="other")
    draw(first)
    async with client(first) as one, client(second) as other:
        names = [(each, (await following(each))["turn"]["name"]) for each in (one, other)]
        for browser, name in names:
            await browser.post(f"/api/sample/{name}/given", {"given": {}})
            status, _ = await browser.post(f"/api/sample/{name}/verdict", {"right": True})
            assert status == 200
        assert (await following(one))["labelled"] == 1
    found = await labelled_answers(first.read, "trust", stages=["tickets"])
    assert [len(each.labels) for each in found] == [1]


@pytest.mark.parametrize("error", [WriteFailed, KafkaError])
async def test_a_label_that_brokers_refuse_can_be_given_again(error: type[Exception]) -> None:
    desk = Desk()
    draw(desk)
    async with client(desk) as browser:
        name = (await following(browser))["turn"]["name"]
        await browser.post(f"/api/sample/{name}/given", {"given": {}})
        desk.writing_fails = error("The brokers do not take it.")
        status, said = await browser.post(f"/api/sample/{name}/verdict", {"right": True})
        assert (status, "do not take it" in said["error"]) == (502, True)
        desk.writing_fails = None
        status, _ = await browser.post(f"/api/sample/{name}/verdict", {"right": True})
        assert status == 200
    assert len(labels(desk)) == 1


async def test_an_answer_whose_event_is_gone_is_passed_over_and_counted() -> None:
    desk = Desk()
    draw(desk, 0, source=Source(topic="tickets.raw", partition=0, offset=7,
                                timestamp=datetime.now(UTC)))  # fmt: skip
    async with client(desk) as browser:
        found = await following(browser)
        assert (found["turn"], found["gone"]) == (None, 1)


async def test_what_one_person_has_in_hand_is_not_anothers() -> None:
    desk = Desk(access=ByHost(ada=Role.REVIEWER, grace=Role.REVIEWER))
    draw(desk)
    ada, grace = {"Host": "ada.localhost"}, {"Host": "grace.localhost"}
    async with client(desk) as browser:
        browser.token = (await browser.get("/api/session", **ada))[1]["csrf"]
        name = (await following(browser, **ada))["turn"]["name"]
        browser.token = (await browser.get("/api/session", **grace))[1]["csrf"]
        status, _ = await browser.post(f"/api/sample/{name}/given", {"given": {}}, **grace)
        assert status == 409
        assert (await browser.get(f"/api/sample/{name}/file", **grace))[0] == 409
    assert labels(desk) == []


async def test_what_is_wrongly_given_is_refused() -> None:
    desk = Desk()
    draw(desk)
    async with client(desk) as browser:
        assert (await browser.post("/api/sample/next", {"stage": "no"}))[0] == 422
        name = (await following(browser))["turn"]["name"]
        wrong: list[object] = [None, [], {"intent": 3}, {"intent": "x" * 10_001}]
        for given in wrong:
            assert (await browser.post(f"/api/sample/{name}/given", {"given": given}))[0] == 422
        await browser.post(f"/api/sample/{name}/given", {"given": {"other": "x"}})
        for right in (None, "yes", 1):
            assert (await browser.post(f"/api/sample/{name}/verdict", {"right": right}))[0] == 422
    assert labels(desk) == []


async def test_a_reader_labels_nothing() -> None:
    desk = Desk(access=OneOf("rita", Role.READER))
    draw(desk)
    async with client(desk) as browser:
        _, session = await browser.get("/api/session")
        assert [each["name"] for each in session["views"]] == ["review", "dead-letters", "lookup"]
        assert (await browser.post("/api/sample/next", {"stage": "tickets"}))[0] == 403
