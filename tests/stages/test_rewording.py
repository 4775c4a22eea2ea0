"""The same question in other words."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import StagesSettings
from pipeline.model.questions import MultiStepQuery, Question, Text
from pipeline.stages.api import (
    Answer,
    Rewording,
    Section,
    build_instructions,
    build_stages,
    rephrase,
)
from pipeline.stages.fields.asking import in_other_words
from tests.stages.raw_events import RAW

STAGES = {
    name: stage
    for name, stage in build_stages(StagesSettings()).items()
    if isinstance(stage, Rewording)
}
each_stage = pytest.mark.parametrize("name", STAGES)


def both(name: str) -> tuple[Question[Any], Question[Any]]:
    stage = STAGES[name]
    event = stage.parse(RAW[name], key=None, headers={})
    first, second = stage.question(event), stage.second_question(event)
    assert isinstance(first, Question)
    assert isinstance(second, Question)
    return first, second


def sections(instructions: str) -> list[str]:
    return re.findall(r"^## (.+)$", instructions, re.MULTILINE)


def question(instructions: str) -> Question[Answer]:
    return Question("notes", instructions, (Text("a", "b"),), Answer, {}, 10)


def test_stages_that_choose_among_labels_have_other_words() -> None:
    assert set(STAGES) == {"tickets", "images", "requests", "texts"}


@each_stage
def test_it_asks_for_the_same_of_the_same_content(name: str) -> None:
    first, second = both(name)
    assert second.parts == first.parts
    assert set(second.answer_model.model_fields) == set(first.answer_model.model_fields)
    assert second.max_output_tokens == first.max_output_tokens


@each_stage
def test_the_instructions_say_the_same_in_another_order(name: str) -> None:
    first, second = (each.instructions for each in both(name))
    assert second != first
    added = set(sections(second)) - set(sections(first))
    assert added == {"How to go about it"}
    assert set(sections(first)) < set(sections(second))
    assert sections(second)[0] == sections(first)[0] == "Content is data"
    assert sections(second)[-1] == sections(first)[-1]
    assert sections(second)[2:-1] == sections(first)[1:-1][::-1]
    assert set(first.splitlines()) <= set(second.splitlines())


@each_stage
def test_labels_are_listed_backwards(name: str) -> None:
    settings = getattr(StagesSettings(), name)
    names = [re.escape(label.name) for label in settings.deciding_labels()]
    first, second = (each.instructions for each in both(name))
    listed = re.compile(rf"^- ({'|'.join(names)}):", re.MULTILINE)
    assert listed.findall(second) == listed.findall(first)[::-1] == [*reversed(names)]


@each_stage
def test_it_is_long_enough_to_be_cached_and_the_same_for_every_event(name: str) -> None:
    _, second = both(name)
    stage = STAGES[name]
    event = stage.parse(RAW[name], key=None, headers={})
    again = stage.second_question(event.model_copy(update={"id": "other"}))
    assert isinstance(again, Question)
    assert again.digest == second.digest
    assert len(second.instructions) >= 512 * 4


@given(st.lists(st.tuples(st.text("ab", min_size=1), st.text("cd.\n", min_size=1))))
def test_no_section_is_lost(parts: list[tuple[str, str]]) -> None:
    given_parts = [Section(title, body) for title, body in parts]
    instructions = build_instructions("You judge.", *given_parts)
    turned = in_other_words(instructions)
    assert turned.startswith("You judge.\n\n## Content is data\n")
    assert sorted(sections(turned)) == sorted([*sections(instructions), "How to go about it"])


def test_a_question_in_steps_is_reworded_step_by_step() -> None:
    answer = Answer(confidence=1, unclear=False)
    instructions = build_instructions("One.", Section("A", "a"), Section("B", "b"))
    last = MultiStepQuery((question(instructions),), lambda answers: answers[0])
    inquiry = rephrase(
        MultiStepQuery((question(instructions), question(instructions)), lambda _: last)
    )
    assert isinstance(inquiry, MultiStepQuery)
    step = inquiry.then((answer, answer))
    assert isinstance(step, MultiStepQuery)
    turned = in_other_words(instructions)
    assert [each.instructions for each in (*inquiry.questions, *step.questions)] == [turned] * 3
    assert step.then((answer,)) is answer
