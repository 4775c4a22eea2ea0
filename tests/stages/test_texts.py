"""The stage `texts`."""

from typing import Any

import pytest

from pipeline.config import Label, TextSettings
from pipeline.stages.texts import TextAnswer, TextEvent, Texts
from tests.stages.asking import single

STAGE = Texts(TextSettings())
TEXT = TextEvent(
    id="X-1",
    text="<p>hi&nbsp;theer,, pls  call 020 7946 0417 or ann@example.com on <b>12/11/2026</b></p>",
)
RIGHT: dict[str, Any] = {
    "quote": "pls call",
    "dates": ["12/11/2026"],
    "emails": ["ann@example.com"],
    "phones": ["020 7946 0417"],
    "intent": "request",
    "cleaned_text": "Hi there, please call 020 7946 0417 or ann@example.com on 12/11/2026.",
    "confidence": 0.9,
    "unclear": False,
}


def answer(stage: Texts = STAGE, /, **changes: object) -> TextAnswer:
    return single(stage.question(TEXT)).answer_model.model_validate({**RIGHT, **changes})


def strengths(event: TextEvent = TEXT, /, **changes: object) -> dict[str, float]:
    return {signal.code: signal.strength for signal in STAGE.signals(event, answer(**changes))}


def test_a_right_answer_is_published_without_a_signal() -> None:
    assert strengths() == {}
    published = STAGE.result(TEXT, answer(dates=["12/11/2026", " 12/11/2026", ""])).model_dump()
    said = ("cleaned_text", "dates", "emails", "phones", "intent")
    assert published == {**{name: RIGHT[name] for name in said}, "fields": {}}


@pytest.mark.parametrize(
    ("changes", "code", "strength"),
    [
        ({"dates": ["13/11/2026"]}, "evidence_not_found", 1.0),
        ({"emails": ["ann@example.org"]}, "evidence_not_found", 1.0),
        ({"phones": ["020 7946 0418"]}, "evidence_not_found", 1.0),
        ({"quote": "please call"}, "evidence_not_found", 1.0),
        ({"emails": []}, "missing_field", 0.8),
        ({"cleaned_text": ""}, "missing_field", 1.0),
        ({"cleaned_text": "Hi, call."}, "broken_form", 0.7),
        ({"cleaned_text": RIGHT["cleaned_text"] * 2}, "broken_form", 0.7),
    ],
)
def test_what_speaks_against_an_answer_is_a_signal(
    changes: dict[str, Any], code: str, strength: float
) -> None:
    assert strengths(**changes)[code] == strength


def test_a_number_that_was_corrected_is_a_signal() -> None:
    changed = RIGHT["cleaned_text"].replace("12/11/2026", "12/11/2027")
    assert strengths(cleaned_text=changed)["evidence_not_found"] == 0.9


def test_an_address_with_blanks_in_it_is_still_there() -> None:
    event = TextEvent(id="1", text="scrivetemi: paolo.b @ example.com presto, grazie mille")
    found = strengths(
        event,
        quote="scrivetemi",
        dates=[],
        phones=[],
        emails=["paolo.b @ example.com"],
        cleaned_text="Scrivetemi: paolo.b @ example.com presto, grazie mille.",
    )
    assert found == {}


def test_the_answer_may_be_as_long_as_the_text() -> None:
    short, long = (TextEvent(id="1", text="x" * count) for count in (10, 20_000))
    assert single(STAGE.question(short)).max_output_tokens == 510
    assert single(STAGE.question(long)).max_output_tokens == 16_000


def test_the_labels_of_the_settings_are_explained_and_enforced() -> None:
    stage = Texts(
        TextSettings(intents=[Label(name="hot", description="Urgent."), Label(name="cold")])
    )
    assert "- hot: Urgent.\n- cold" in single(stage.question(TEXT)).instructions
    assert answer(stage, intent="hot").intent == "hot"
    with pytest.raises(ValueError, match="intent"):
        answer(stage, intent="request")


def test_an_empty_text_is_unclear() -> None:
    assert strengths(TextEvent(id="1", text="\n")) == {"unclear": 1.0}
