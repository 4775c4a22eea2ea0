"""Labelling drawn answers on the broker in memory: who is given what, and what it comes to."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.cli.labelling import Skipped, Stopped, labelled
from pipeline.config import Settings
from pipeline.model.errors import UsageError
from pipeline.model.records import Source, Tier
from pipeline.operators.sample_labels import EventGone, LabelDesk, Task, review_label
from pipeline.operators.trust_topic import labelled_answers
from pipeline.stages.api import stage_named
from pipeline.testing import MemoryBroker, MemoryTopicReader
from pipeline.trust.records import AnswerLabel, SampledAnswer, answer_key
from tests.operators.review.items import RESULT, review
from tests.stream.virtual import virtual_time
from tests.trust.examples import NOON, answer, label

LATER = NOON + timedelta(hours=2)
SURE: dict[str, Any] = {"decided_by": Tier.SONNET, "haiku_result": RESULT | {"intent": "sales"}}


class World:
    """A broker on which each event that is published has an answer that was drawn."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401
        self.broker = MemoryBroker()
        self.broker.create_topic("trust", 2)
        self.broker.create_topic("tickets.raw", 1)
        self.desk = LabelDesk.of(Settings(**settings), MemoryTopicReader(self.broker), "tickets")
        self.events = 0

    def draw(self, body: str = "I was charged twice", **changed: Any) -> SampledAnswer:  # noqa: ANN401
        number, self.events = self.events, self.events + 1
        event = {"id": f"T-{number}", "body": body, "customer_id": "Ada Lovelace"}
        self.broker.publish("tickets.raw", json.dumps(event).encode(), key=b"ada")
        [entry] = self.broker.log(self.broker.partitions_of("tickets.raw")[0]).read(number, 1)[0]
        source = {"topic": "tickets.raw", "partition": 0, "offset": number}
        made = answer(
            number,
            **({"result": RESULT} | changed),
            source=Source(**source, timestamp=datetime.fromtimestamp(entry.written_at, UTC)),
        )
        value = made.model_dump_json(by_alias=True).encode()
        self.broker.publish("trust", value, key=answer_key(made.stage, made.event_id))
        return made

    def publish(self, given: AnswerLabel) -> None:
        record = self.desk.outgoing(given)
        self.broker.publish(record.topic, record.value, key=record.key)

    async def tasks(self, person: str = "ada", limit: int = 100) -> dict[str, float]:
        found = await self.desk.worklist(person, since=NOON, limit=limit)
        return {each.answer.event_id: each.chance for each in found.tasks}


def answers(*texts: str) -> Any:  # noqa: ANN401
    script: Iterator[str] = iter(texts)
    return lambda _: next(script)


@virtual_time
async def test_what_sonnet_contradicted_is_given_to_everybody_until_it_is_labelled() -> None:
    world = World()
    made = world.draw(**SURE)
    assert await world.tasks() == {made.event_id: 1.0}
    world.publish(label(0, chance=1.0))
    assert await world.tasks("ada") == {}
    found = await labelled_answers(world.desk.read, "trust")
    assert [len(each.labels) for each in found] == [1]


@virtual_time
async def test_answers_of_other_stages_and_earlier_times_are_not_asked_about() -> None:
    world = World()
    world.draw(**SURE, stage="mails")
    world.draw(**SURE, published_at=NOON - timedelta(days=1))
    assert await world.tasks() == {}


@virtual_time
async def test_of_many_answers_of_one_key_few_are_given_with_a_chance_that_says_so() -> None:
    world = World(trust={"per_key": 2})
    for _ in range(60):
        world.draw(**SURE, whose="one")
    found = await world.tasks()
    assert 2 <= len(found) < 20
    assert found["T-0"] == found["T-1"] == 1.0
    assert found == {name: min(1, 2 / (int(name[2:]) + 1)) for name in found}


@virtual_time
async def test_an_answer_is_shown_after_the_person_has_said_what_is_right() -> None:
    world = World()
    made = world.draw()
    shown: list[str] = []
    script = answers("billing", "")

    def ask(question: str) -> str:
        if question == "intent:":
            assert "answer of" not in "\n".join(shown)
            assert "charged twice" in "\n".join(shown)
        text: str = script(question)
        return text

    event = await world.desk.event_of(made)
    given = labelled(world.desk, Task(made, 0.5), event, "ada", ask=ask, show=shown.append)

    assert (given.right, given.chance, given.person, given.origin) == (True, 0.5, "ada", "sample")
    assert (given.correction, given.whose) == (None, made.whose)
    assert "answer of Haiku (claude-haiku-5-5)" in shown


@virtual_time
async def test_an_answer_that_differs_from_a_person_is_wrong_unless_they_think_better() -> None:
    world = World()
    made = world.draw()
    event = await world.desk.event_of(made)

    def said(*texts: str) -> AnswerLabel:
        task = Task(made, 1.0)
        return labelled(world.desk, task, event, "ada", ask=answers(*texts), show=lambda _: None)

    wrong = said("no such label", "2", "")
    assert not wrong.right
    assert wrong.wrong_fields == ["/intent"]
    assert wrong.correction is not None
    second = world.desk.questions(made)[0].labels[1]
    assert wrong.correction == RESULT | {"intent": second}
    assert said("2", "y").right
    assert said("", "n").wrong_fields == []
    with pytest.raises(Skipped):
        said("/skip")
    with pytest.raises(Stopped):
        said("2", "/quit")


@virtual_time
async def test_nothing_of_what_was_said_is_kept_where_answers_are_not() -> None:
    world = World(trust={"keep_answers": False})
    made = world.draw(result=None)
    event = await world.desk.event_of(made)
    given = labelled(
        world.desk, Task(made, 1.0), event, "ada", ask=answers("2", ""), show=lambda _: None
    )
    assert (given.right, given.correction) == (False, None)


@virtual_time
async def test_an_event_that_is_gone_or_another_is_said_to_be() -> None:
    world = World()
    made = world.draw()
    elsewhere = made.model_copy(update={"source": made.source.model_copy(update={"offset": 9})})
    with pytest.raises(EventGone, match="not there any more"):
        await world.desk.event_of(elsewhere)
    other = made.source.model_copy(update={"timestamp": LATER + timedelta(days=99)})
    with pytest.raises(EventGone, match="Another event"):
        await world.desk.event_of(made.model_copy(update={"source": other}))


@virtual_time
async def test_what_is_masked_in_answers_is_masked_before_they_are_compared() -> None:
    world = World(privacy={"stages": {"tickets": {"fields": ["customer_id"]}}})
    made = world.draw()
    event = await world.desk.event_of(made)
    blind = world.desk.compare(made, {"intent": "Ada Lovelace"}, event)
    assert "Ada" not in json.dumps(blind.given)
    assert blind.differ == ("intent",)


def test_there_is_no_desk_of_an_unknown_stage() -> None:
    with pytest.raises(UsageError, match="nobody"):
        LabelDesk.of(Settings(), MemoryTopicReader(MemoryBroker()), "nobody")


def test_what_a_person_resolved_is_a_label_of_the_last_answer_without_a_chance() -> None:
    settings = Settings()
    stage = stage_named(settings.stages, "tickets")

    def resolved(intent: str) -> AnswerLabel:
        result = RESULT | {"intent": intent}
        return review_label(settings, stage, review(), result, key=b"ada", person="ada", at=LATER)

    assert resolved("sales").right
    assert not resolved("billing").right
    assert resolved("billing").wrong_fields == ["/intent"]
    assert (resolved("sales").chance, resolved("sales").origin) == (None, "review")
