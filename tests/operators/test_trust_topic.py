"""Reading drawn answers and verdicts from their topic, on the broker in memory."""

from contextlib import aclosing
from datetime import timedelta

from pipeline.operators.trust_topic import TrustRecord, labelled_answers, read_labels
from pipeline.testing import MemoryBroker, MemoryFollower, MemoryTopicReader
from pipeline.trust.records import AnswerLabel, answer_key, label_key
from tests.trust.examples import NOON, answer, label


class World:
    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.broker.create_topic("trust", 3)
        self.read = MemoryTopicReader(self.broker)

    def publish(self, *records: TrustRecord) -> None:
        for each in records:
            key = (
                label_key(each)
                if isinstance(each, AnswerLabel)
                else answer_key(each.stage, each.event_id, each.part)
            )
            self.broker.publish("trust", each.model_dump_json(by_alias=True).encode(), key=key)

    async def labelled(self, *stages: str) -> dict[str, list[bool]]:
        found = await labelled_answers(self.read, "trust", stages=stages)
        return {each.answer.event_id: [label.right for label in each.labels] for each in found}


async def test_answers_come_with_their_verdicts_in_the_order_of_publication() -> None:
    world = World()
    world.publish(answer(3), label(1), answer(1), answer(2), label(3, right=False))
    assert await world.labelled() == {"T-1": [True], "T-3": [False]}
    found = await labelled_answers(world.read, "trust")
    assert [each.answer.event_id for each in found] == ["T-1", "T-3"]


async def test_a_persons_later_verdict_replaces_the_earlier_one() -> None:
    world = World()
    later = label(1, right=False, at=NOON + timedelta(hours=2))
    world.publish(answer(1), label(1), label(1, person="bob"), later)
    assert await world.labelled() == {"T-1": [True, False]}


async def test_what_was_forgotten_is_gone() -> None:
    world = World()
    world.publish(answer(1), label(1), answer(2), label(2), label(2, person="bob"))
    world.broker.publish("trust", None, key=answer_key("tickets", "T-1"))
    world.broker.publish("trust", None, key=label_key(label(2)))
    assert await world.labelled() == {"T-2": [True]}
    assert len(await read_labels(world.read, "trust")) == 2


async def test_a_verdict_on_an_earlier_answer_to_an_event_does_not_count_for_the_next() -> None:
    world = World()
    again = answer(1, published_at=NOON + timedelta(days=1), result={"intent": "outage"})
    world.publish(answer(1), label(1), again)
    assert await world.labelled() == {}


async def test_stages_are_apart() -> None:
    world = World()
    world.publish(answer(1), answer(1, stage="mails"), label(1, stage="mails", right=False))
    assert await world.labelled() == {"T-1": [False]}
    assert await world.labelled("tickets") == {}


async def test_what_is_no_answer_and_no_verdict_is_left_out() -> None:
    world = World()
    for key in (b"answer/tickets/0/x", b"label/tickets/0/ada/x", b"alarm/tickets", None):
        for value in (b"", b"{}", b"null", b"\xff", b'{"schema":"trust.alarm/1"}'):
            world.broker.publish("trust", value, key=key)
    world.publish(answer(1), label(1))
    assert await world.labelled() == {"T-1": [True]}


async def test_a_follower_sees_what_was_there_and_what_comes() -> None:
    follow = MemoryFollower()
    follow.add(answer(1))
    async with aclosing(follow()) as records:
        assert await anext(records) == answer(1)
        follow.add(label(1), answer(2))
        assert [await anext(records), await anext(records)] == [label(1), answer(2)]
