"""Many labels are asked in two levels: what is offered when, and what the answer is worth."""

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.cascade.deciding import ask_tier
from pipeline.config import (
    MOST_AT_ONCE,
    Agent,
    ImageSettings,
    Label,
    RequestSettings,
    TextSettings,
    TicketSettings,
)
from pipeline.model.questions import MultiStepQuery, Question
from pipeline.model.records import Tier
from pipeline.stages.fields.asking import GroupAnswer, both_levels
from pipeline.stages.images import Images
from pipeline.stages.requests import Requests
from pipeline.stages.texts import Texts
from pipeline.stages.tickets import TicketAnswer, TicketEvent, Tickets
from pipeline.testing.fakes import FakeAsker
from tests.stages.asking import single

GROUPS = ("parcels", "money", "account")
MANY = [
    Label(name=f"{group}_{i}", group=group, description=f"About {group}, number {i}.")
    for group in GROUPS
    for i in range(8)
]
STAGE = Tickets(TicketSettings(intents=MANY))
TICKET = TicketEvent(id="T-1", body="my parcel is late")
RIGHT: dict[str, Any] = {
    "quote": "parcel is late",
    "intent": "parcels_3",
    "runner_up": None,
    "several_matters": False,
    "priority": "normal",
    "language": "en",
    "summary": "A parcel is late.",
    "confidence": 0.9,
    "unclear": False,
}


def first(stage: Tickets = STAGE) -> Question[Any]:
    steps = stage.question(TICKET)
    assert isinstance(steps, MultiStepQuery)
    (question,) = steps.questions
    return question


def chosen(group: str, runner_up: str | None = None, **statement: Any) -> GroupAnswer:  # noqa: ANN401
    stated = {"confidence": 0.8, "unclear": False, **statement}
    answer: GroupAnswer = first().answer_model.model_validate(
        {"quote": "parcel", "group": group, "runner_up": runner_up, **stated}
    )
    return answer


def second(answer: GroupAnswer, stage: Tickets = STAGE) -> Question[Any]:
    steps = stage.question(TICKET)
    assert isinstance(steps, MultiStepQuery)
    follows = steps.then((answer,))
    assert isinstance(follows, MultiStepQuery)
    (question,) = follows.questions
    return question


def options(question: Question[Any], field: str) -> Sequence[str]:
    schema: Any = question.answer_schema
    found: Sequence[str] = schema["properties"][field]["enum"]
    return found


def test_twenty_labels_are_asked_at_once() -> None:
    few = Tickets(TicketSettings(intents=MANY[:MOST_AT_ONCE]))

    assert len(options(single(few.question(TICKET)), "intent")) == MOST_AT_ONCE


def test_of_more_labels_the_group_is_asked_first_and_described_by_its_labels() -> None:
    question = first()

    assert options(question, "group") == list(GROUPS)
    assert "- money: money_0 (About money, number 0.); money_1" in question.instructions
    assert question.instructions.startswith("You sort the support tickets")


def test_then_the_labels_of_the_group_are_offered_with_all_else_that_the_stage_asks() -> None:
    question = second(chosen("parcels"))

    assert options(question, "intent") == [f"parcels_{i}" for i in range(8)]
    assert set(TicketAnswer.model_fields) == set(question.answer_model.model_fields)
    assert "money_0" not in question.instructions
    assert question.parts == first().parts


def test_the_labels_of_the_second_group_are_offered_as_well() -> None:
    question = second(chosen("money", "parcels"))

    assert len(options(question, "intent")) == 16
    assert question.instructions == second(chosen("parcels", "money")).instructions
    assert question.answer_schema is second(chosen("parcels", "money")).answer_schema


def test_what_is_offered_depends_on_the_groups_alone_so_that_the_prompt_cache_holds_it() -> None:
    other = Tickets(TicketSettings(intents=MANY))

    assert first(other).digest == first().digest
    for groups in [("parcels", None), ("money", "account")]:
        assert second(chosen(*groups), other).digest == second(chosen(*groups)).digest
        assert second(chosen(*groups)).answer_schema is second(chosen(*groups)).answer_schema


async def test_one_answer_comes_of_both_calls_and_both_are_counted() -> None:
    def answer(question: Question[Any], tier: Tier) -> Any:  # noqa: ANN401
        if issubclass(question.answer_model, GroupAnswer):
            return chosen("parcels")
        return question.answer_model.model_validate(RIGHT)

    asker = FakeAsker(answer)

    tier_answer = await ask_tier(asker, Tier.HAIKU, STAGE, TICKET, STAGE.question(TICKET))

    assert tier_answer.answer is not None
    assert (tier_answer.answer.intent, tier_answer.answer.confidence) == ("parcels_3", 0.8)
    assert tier_answer.usage.calls == 2
    assert STAGE.result(TICKET, tier_answer.answer).queue == "parcels_3"


@pytest.mark.parametrize(
    ("group", "confidence"),
    [
        (chosen("parcels", confidence=0.6), 0.6),
        (chosen("parcels", confidence=0.99), 0.9),
        (chosen("parcels", "parcels", confidence=0.6), 0.6),
        (chosen("parcels", "money", confidence=0.6), 0.9),
        (chosen("parcels", "money", confidence=70), 70),
    ],
)
def test_an_answer_is_no_surer_than_its_group_unless_both_groups_were_offered(
    group: GroupAnswer, confidence: float
) -> None:
    answer = second(group).answer_model.model_validate(RIGHT)

    assert both_levels(group, answer).confidence == confidence


def test_an_answer_is_unclear_if_either_level_is() -> None:
    answer = second(chosen("parcels")).answer_model.model_validate(RIGHT)

    assert both_levels(chosen("parcels", unclear=True), answer).unclear
    assert not both_levels(chosen("parcels"), answer).unclear


def test_every_stage_with_labels_asks_many_in_two_levels() -> None:
    agents = [Agent(name=f"agent_{i}") for i in range(30)]
    text = b'{"id": "1", "text": "a", "query": "b"}'
    picture = b'{"id": "1", "uri": "file:///nowhere"}'
    texts, requests = Texts(TextSettings(intents=MANY)), Requests(RequestSettings(agents=agents))
    images = Images(ImageSettings(document_types=MANY))

    assert isinstance(texts.question(texts.parse(text, key=None, headers={})), MultiStepQuery)
    assert isinstance(requests.question(requests.parse(text, key=None, headers={})), MultiStepQuery)
    assert images.parse(picture, key=None, headers={}).id == "1"


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([*MANY[:23], Label(name="lonely")], "without one: lonely"),
        ([Label(name=f"l{i}", group="all") for i in range(21)], r"split all \(21\)"),
        ([Label(name=f"l{i}", group=f"g{i}") for i in range(21)], "21 groups"),
        ([*MANY, Label(name="x", group="Money")], "groups that differ in case only: Money, money"),
        ([Label(name=f"l{i}") for i in range(201)], "201 labels: give each a `group`"),
    ],
)
def test_groups_that_do_not_make_the_choice_smaller_are_refused(
    labels: list[Label], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        TicketSettings(intents=labels)
