"""The stage `documents`."""

import json
from typing import Any

import pytest
from pydantic import JsonValue

from pipeline.config import DocumentSettings
from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import Text
from pipeline.model.records import DeadLetterReason
from pipeline.stages.documents import DocumentAnswer, DocumentEvent, Documents, count_sentences
from tests.stages.asking import single

STAGE = Documents(DocumentSettings())
MEETING = DocumentEvent(
    id="M-1",
    text="Fatima: The 40 scanners cost 1,250.00 EUR and arrive on 18 November. Greg: I will "
    "block the kettle on Friday. Ines: 212 came back last week.",
)
RIGHT: dict[str, Any] = {
    "quotes": ["The 40 scanners cost 1,250.00 EUR", "212 came back"],
    "key_points": ["40 scanners arrive on 18 November.", "212 kettles came back."],
    "actions": [{"task": "block the kettle", "owner": "Greg", "due": "Friday"}],
    "summary": "The scanners cost 1250 EUR. Greg blocks the kettle.",
    "language": "en",
    "confidence": 0.9,
    "unclear": False,
}


def answer(**changes: object) -> DocumentAnswer:
    return DocumentAnswer.model_validate({**RIGHT, **changes})


def strengths(event: DocumentEvent = MEETING, /, **changes: object) -> dict[str, float]:
    return {signal.code: signal.strength for signal in STAGE.signals(event, answer(**changes))}


def parse(**fields: JsonValue) -> DocumentEvent:
    value = json.dumps({"id": "1", "text": "A text.", **fields}).encode()
    return STAGE.parse(value, key=None, headers={})


def test_the_length_of_the_summary_is_the_events_or_the_settings() -> None:
    assert single(STAGE.question(parse(max_sentences=5))).parts[0] == Text("max_sentences", "5")
    assert single(STAGE.question(parse())).parts == (
        Text("max_sentences", "3"),
        Text("document", "A text."),
    )
    assert (
        single(STAGE.question(parse(max_sentences=5))).digest
        != single(STAGE.question(parse())).digest
    )


@pytest.mark.parametrize("value", [0, 31, "3", 2.5, True])
def test_an_impossible_length_is_a_dead_letter_by_field(value: JsonValue) -> None:
    with pytest.raises(InvalidEvent, match="max_sentences:") as caught:
        parse(max_sentences=value)
    assert caught.value.reason is DeadLetterReason.INVALID_EVENT


def test_a_right_answer_is_published_without_a_strong_signal() -> None:
    assert max(strengths().values()) < 0.01
    published = STAGE.result(MEETING, answer()).model_dump()
    assert published == {
        "summary": RIGHT["summary"],
        "key_points": RIGHT["key_points"],
        "actions": RIGHT["actions"],
        "language": "en",
        "fields": {},
    }


def test_what_an_action_does_not_say_is_null() -> None:
    vague = answer(actions=[{"task": "ask", "owner": "", "due": "n/a"}])
    assert STAGE.result(MEETING, vague).actions[0].model_dump() == {
        "task": "ask",
        "owner": None,
        "due": None,
    }


@pytest.mark.parametrize(
    ("changes", "code", "strength"),
    [
        ({"quotes": ["The 41 scanners"]}, "evidence_not_found", 1.0),
        ({"quotes": []}, "evidence_not_found", 0.6),
        ({"summary": "They cost 1,520.00 EUR."}, "evidence_not_found", 0.9),
        ({"key_points": ["221 came back."]}, "evidence_not_found", 0.9),
        ({"actions": [{"task": "x", "owner": "Zoe", "due": ""}]}, "evidence_not_found", 0.7),
        ({"summary": "One. Two. Three. Four."}, "broken_form", 0.4),
        ({"summary": "One. Two. Three. Four. Five."}, "broken_form", 0.8),
        ({"summary": " "}, "missing_field", 1.0),
    ],
)
def test_what_speaks_against_an_answer_is_a_signal(
    changes: dict[str, Any], code: str, strength: float
) -> None:
    assert strengths(**changes)[code] == strength


def test_a_small_number_may_have_been_spelt() -> None:
    assert "evidence_not_found" not in strengths(summary="Three people met.", key_points=["3 met."])


def test_an_empty_document_is_unclear_and_nothing_more() -> None:
    assert strengths(DocumentEvent(id="1", text=" ")) == {"unclear": 1.0}


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", 0),
        ("No end", 1),
        ("One. Two! Three?", 3),
        ('He said "no." She left.', 2),
        ("It costs 1.250,00 EUR on 3.4. or so.", 1),
        ("一。二。", 2),
        ("Die Nr. 5 ist da. Gut.", 3),
    ],
)
def test_sentences_are_counted_roughly(text: str, sentences: int) -> None:
    assert count_sentences(text) == sentences


@pytest.mark.parametrize(
    ("expected", "code", "strength"),
    [([], "xx", 0.6), ([], "", 0.6), (["de", "fr"], "en", 1.0), (["de", "en"], "EN", None)],
)
def test_a_language_that_is_none_or_not_expected_is_a_signal(
    expected: list[str], code: str, strength: float | None
) -> None:
    stage = Documents(DocumentSettings(languages=expected))
    found = {each.code: each.strength for each in stage.signals(MEETING, answer(language=code))}
    assert found.get("unknown_language") == strength
