"""A model as a judge of pairs, in both orders."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from pipeline.evaluate.judging import AnswerPair, PairAnswer, judge, read_pairs
from pipeline.model.errors import Refused, UsageError
from pipeline.model.questions import Question, Text
from pipeline.model.records import Tier, Usage
from pipeline.testing.fakes import FakeAsker

RIGHT, WRONG = "It rained.", "It snowed."


def pair(name: str, a: str, b: str, verdict: Literal["a", "b", "tie"] | None) -> AnswerPair:
    return AnswerPair(id=name, source="Rain all day.", a=a, b=b, verdict=verdict)


def texts(question: Question[Any]) -> dict[str, str]:
    return {part.name: part.text for part in question.parts if isinstance(part, Text)}


def said(better: Literal["first", "second", "neither"]) -> PairAnswer:
    return PairAnswer(quote="Rain", better=better, confidence=0.9, unclear=False)


def knowing(question: Question[Any], _: Tier) -> PairAnswer:
    shown = texts(question)
    if shown["first"] == shown["second"]:
        return said("neither")
    return said("first" if shown["first"] == RIGHT else "second")


PAIRS = [pair("1", RIGHT, WRONG, "a"), pair("2", WRONG, RIGHT, "b"), pair("3", RIGHT, RIGHT, "b")]


async def test_each_pair_is_asked_in_both_orders_of_the_tier_that_judges() -> None:
    asker = FakeAsker(knowing)
    await judge(asker, Tier.SONNET, PAIRS[:1])
    shown = [texts(each.question) for each in asker.asked]
    assert [(each["first"], each["second"]) for each in shown] == [(RIGHT, WRONG), (WRONG, RIGHT)]
    assert {each.tier for each in asker.asked} == {Tier.SONNET}


async def test_agreement_is_counted_where_people_judged_and_choices_where_nobody_did() -> None:
    found = await judge(FakeAsker(knowing), Tier.SONNET, [*PAIRS, pair("4", WRONG, RIGHT, None)])
    assert (found.agreement.pairs, found.agreement.agreed) == (3, 2)
    assert found.choices == {"b": 1}
    assert (found.inconsistent, found.unanswered) == (0, 0)
    assert found.usage.calls == 8


async def test_a_judge_that_always_takes_the_first_has_judged_nothing_but_ties() -> None:
    asker = FakeAsker(lambda *_: said("first"))
    found = await judge(asker, Tier.SONNET, [*PAIRS, pair("4", WRONG, RIGHT, None)])
    assert found.inconsistent == 4
    assert found.choices == {"tie": 1}
    assert found.agreement.agreed == 0


def refusing(question: Question[Any], tier: Tier) -> PairAnswer:
    if texts(question)["first"] == WRONG:
        raise Refused("no", usage=Usage(calls=1), model="m", seconds=0.1)
    return knowing(question, tier)


async def test_a_pair_without_an_answer_in_either_order_counts_nowhere() -> None:
    found = await judge(FakeAsker(refusing), Tier.SONNET, PAIRS)
    assert (found.agreement.pairs, found.unanswered) == (1, 2)
    with pytest.raises(UsageError, match="no usable answer"):
        await judge(FakeAsker(refusing), Tier.SONNET, PAIRS[:2])


def test_without_a_persons_verdict_nothing_is_asked_or_reported(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps({"id": "1", "source": "s", "a": "x", "b": "y"}))
    with pytest.raises(UsageError, match=r"No pair of .* has a person's verdict"):
        read_pairs(file)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"id": "1"}', "source"),
        ('{"id": "1", "source": "", "a": "", "b": "", "verdict": "c"}', "verdict"),
        ("nonsense", "the line"),
    ],
)
def test_a_line_that_is_no_pair_is_named(tmp_path: Path, line: str, fault: str) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(line)
    with pytest.raises(UsageError, match=rf"pairs.jsonl:1: {fault}"):
        read_pairs(file)
