"""How far a text is from the examples of the labels."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.settings import Label, Thresholds
from pipeline.stages.likeness import WordPieces
from pipeline.stages.scope import LEAST_EXAMPLES, Scope

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "tickets"

BILLING = Label(
    name="billing",
    examples=[
        "I was charged twice this month",
        "my invoice shows a charge that is wrong",
        "why was I charged for two months",
        "the charge on my invoice is too high",
    ],
)
FAULTS = Label(
    name="faults",
    examples=[
        "the page shows an error when I log in",
        "I cannot log in since this morning",
        "an error appears when I open the page",
        "the app shows an error and closes",
    ],
)
SCOPE = Scope([BILLING, FAULTS])

texts = st.text(alphabet="abc é1.!\n", max_size=40)


def strengths(scope: Scope, label: str, *said: str | None) -> list[float]:
    found = scope.signals(label, *said)
    assert {signal.code for signal in found} <= {"out_of_scope"}
    return [signal.strength for signal in found]


def test_a_text_like_the_examples_of_its_label_is_no_reason_to_doubt() -> None:
    assert max(strengths(SCOPE, "billing", "I was charged twice on my invoice")) < 0.5


def test_a_text_like_no_example_is_as_far_as_can_be_told() -> None:
    assert strengths(SCOPE, "billing", "zebras sleep well") == [pytest.approx(8 / 9, abs=1e-6)] * 2


def test_a_text_like_the_examples_of_another_label_is_far_from_its_own_only() -> None:
    to_own, to_any = strengths(SCOPE, "billing", "the page shows an error when I log in")
    assert to_any < 0.5 < to_own


def test_one_sentence_of_a_long_text_may_say_what_it_is_about() -> None:
    chat = "Hello to the whole team! The weather is fine over here. " * 3
    assert max(strengths(SCOPE, "billing", chat)) > 0.8
    assert max(strengths(SCOPE, "billing", chat + "I was charged twice this month.")) < 0.5
    assert max(strengths(SCOPE, "billing", "I was charged twice this month", chat)) < 0.5


def test_nothing_is_said_without_text() -> None:
    assert not SCOPE.signals("billing", None, " ")


@pytest.mark.parametrize("count", range(LEAST_EXAMPLES))
def test_nothing_is_said_of_a_label_without_enough_examples(count: int) -> None:
    few = Label(name="few", examples=["some words", "more words"][:count])
    scope = Scope([BILLING, FAULTS, few])
    assert not scope.signals("few", "zebras sleep well")
    # Whether it is like the label that has none cannot be told, so neither whether it is like any.
    assert len(scope.signals("billing", "zebras sleep well")) == 1


def test_labels_without_examples_cost_nothing_and_say_nothing() -> None:
    assert not Scope([Label(name="a"), Label(name="b")]).signals("a", "anything")


def test_anything_that_compares_texts_will_do() -> None:
    class SameLength:
        def __init__(self, known: Sequence[str]) -> None:
            self._known = known

        def to_known(self, text: str) -> Sequence[float]:
            return [float(len(text) == len(each)) for each in self._known]

    labels = [Label(name="one", examples=["a", "b", "c"]), Label(name="two", examples=["aa"] * 3)]
    assert strengths(Scope(labels, SameLength), "one", "x") == [0.857143, 0.857143]


@given(texts, st.sampled_from(["billing", "faults"]))
def test_it_is_total_and_within_0_and_1(text: str, label: str) -> None:
    assert all(0 <= strength <= 8 / 9 + 1e-6 for strength in strengths(SCOPE, label, text))


@given(st.lists(texts, min_size=1, max_size=5), texts)
def test_likeness_is_within_0_and_1_and_whole_for_the_same_words(
    known: list[str], text: str
) -> None:
    likeness = WordPieces([*known, text]).to_known(text)
    assert all(0 <= each <= 1 for each in likeness)
    assert likeness[-1] == pytest.approx(1) or not any(char.isalnum() for char in text)


@pytest.mark.skipif(not DATA.exists(), reason="the public data sets are not here")
@pytest.mark.parametrize(
    ("field", "auroc", "found", "alarms"), [("label", 0.97, 0.8, 0.08), ("queue", 0.96, 0.8, 0.1)]
)
def test_on_public_data_it_tells_what_no_label_is_for(
    field: str, auroc: float, found: float, alarms: float
) -> None:
    """Measured 0.972 and 0.961; 0.888 is what label names alone come to on such data."""
    of_label: dict[str, list[str]] = defaultdict(list)
    for each in _lines("clinc.fewshot.jsonl"):
        of_label[each[field]].append(each["text"])
    scope = Scope([Label(name=name, examples=of_label[name]) for name in of_label])
    inside: list[float] = []
    outside: list[float] = []
    for each in _lines("clinc.jsonl"):
        # What is outside of every label has none, so it is far from whichever it is given.
        label = next(iter(of_label)) if each["oos"] else each[field]
        strength = scope.signals(label, each["text"])[1].strength
        (outside if each["oos"] else inside).append(strength)
    at = Thresholds().out_of_scope
    assert _auroc(outside, inside) >= auroc
    assert sum(each >= at for each in outside) / len(outside) >= found
    assert sum(each >= at for each in inside) / len(inside) <= alarms


def _lines(name: str) -> Iterable[dict[str, Any]]:
    with (DATA / name).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _auroc(outside: Sequence[float], inside: Sequence[float]) -> float:
    pairs = product(outside, inside)
    return sum((out > in_) + (out == in_) / 2 for out, in_ in pairs) / len(outside) / len(inside)
