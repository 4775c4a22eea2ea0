"""Placeholders: what is sent, and that the answer comes back with the originals."""

from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from pipeline.model.errors import NotMaskable
from pipeline.model.json_bytes import RawJson
from pipeline.model.questions import Image, MultiStepQuery, Pdf, Question, Response, Text
from pipeline.model.records import Usage
from pipeline.privacy.masking import (
    INVENTED,
    NOTE,
    Masked,
    Masking,
    Rules,
    values_of,
    with_fields,
)
from pipeline.privacy.recognition import KINDS
from tests.privacy.labelled import labelled

EVERYTHING = Masking(Rules(frozenset(KINDS)))
LABELLED = labelled()
PIECES = st.sampled_from([
    "anna@example.com", "ANNA@example.com", "+49 30 23125099", "DE89 3704 0044 0532 0130 00",
    "4111 1111 1111 1111", "203.0.113.9", "078-05-1120", "[EMAIL_1]", "email 1", "EMAIL_2",
    "[", "]", "\\", "<", ">", "PHONE", "_1", " 1", "x", " ", "\n", ",", "IP-ADDRESS 3", "0",
    "tel. ", "é", "ß",
])  # fmt: skip
ANY_TEXT = st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join))


class Summary(BaseModel):
    text: str
    kind: Literal["email_1", "other"] = "other"
    quotes: list[str] = []
    pairs: dict[str, Any] = {}
    inner: "Summary | None" = None


def question(
    *texts: str, instructions: str = "Sum it up.", personal: tuple[Text, ...] = ()
) -> Question[Summary]:
    names = ("subject", "body", "more")
    parts = tuple(Text(name, text) for name, text in zip(names, texts, strict=False))
    return Question("tickets", instructions, parts, Summary, {}, 100, personal)


def sent(masked: Masked[Any]) -> list[str]:
    return [part.text for part in masked.question.parts if isinstance(part, Text)]


def answered(masked: Masked[Summary], text: str, **more: Any) -> Response[Summary]:  # noqa: ANN401
    return masked.restored(Response(Summary(text=text, **more), "model", Usage(), 0.0))


@given(st.lists(ANY_TEXT, min_size=1, max_size=3))
@example(["[EMAIL_1] a@b.de"])
@example(["\\a@b.de\\]"])
@example(["a@b.ccccccccccccccccccccccccEMAIL_1"])
def test_what_is_masked_and_restored_is_what_it_was(texts: list[str]) -> None:
    masked = EVERYTHING.masked(question(*texts))
    assert [answered(masked, text).answer.text for text in sent(masked)] == texts


@given(st.lists(st.sampled_from(LABELLED), min_size=1, max_size=3))
def test_no_value_that_was_recognised_is_sent(found: list[Any]) -> None:
    masked = EVERYTHING.masked(question(*(each.text for each in found)))
    assert masked.originals or not any(each.places for each in found)
    together = "\n".join(sent(masked))
    for original in masked.originals.values():
        assert original not in together


def test_the_same_value_has_the_same_placeholder_throughout_an_event() -> None:
    masked = EVERYTHING.masked(
        question("From anna@example.com", "anna@example.com or bo@example.com, ANNA@example.com")
    )
    assert sent(masked) == ["From [EMAIL_1]", "[EMAIL_1] or [EMAIL_2], [EMAIL_3]"]


def test_each_string_of_an_answer_is_restored_however_deep() -> None:
    masked = EVERYTHING.masked(question("s", "anna@example.com, +49 30 23125099"))
    inner = Summary(text="[EMAIL_1]")
    quotes, pairs = ["[PHONE_1]", "x"], {"of": ["[EMAIL_1]"]}
    answer = answered(masked, "[EMAIL_1]!", quotes=quotes, pairs=pairs, inner=inner).answer
    assert answer.text == "anna@example.com!"
    assert answer.quotes == ["+49 30 23125099", "x"]
    assert answer.pairs == {"of": ["anna@example.com"]}
    assert answer.inner == Summary(text="anna@example.com")


@pytest.mark.parametrize(
    "written",
    ["[EMAIL_1]", "EMAIL_1", "[email_1]", "Email_1", "<EMAIL_1>", "[EMAIL 1]", "\\[EMAIL_1\\]",
     "[EMAIL-1]", "{EMAIL_1}", "【EMAIL_1】", "[ EMAIL_1 ]"],
)  # fmt: skip
def test_a_placeholder_that_the_model_has_changed_is_restored(written: str) -> None:
    masked = EVERYTHING.masked(question("s", "I am anna@example.com"))
    response = answered(masked, f"Write to {written}, please.")
    assert response.answer.text == "Write to anna@example.com, please."
    assert response.signals == ()


def test_words_and_numbers_of_an_answer_are_no_placeholders_without_an_underscore() -> None:
    masked = EVERYTHING.masked(question("s", "I am anna@example.com"))
    assert answered(masked, "Wrote by email 1 time.").answer.text == "Wrote by email 1 time."


@pytest.mark.parametrize("own", ["[EMAIL_1]", "email 1", "EMAIL-1", "xEMAIL_1x"])
def test_what_the_text_has_like_a_placeholder_stays_what_it_is(own: str) -> None:
    masked = EVERYTHING.masked(question("s", f"{own} is anna@example.com"))
    assert sent(masked) == ["s", f"{own} is [EMAIL_2]"]
    response = answered(masked, f"{own} and [EMAIL_2]")
    assert response.answer.text == f"{own} and anna@example.com"
    assert response.signals == ()


def test_a_placeholder_that_the_model_made_up_is_left_and_doubted() -> None:
    masked = EVERYTHING.masked(question("s", "I am anna@example.com"))
    response = answered(masked, "[EMAIL_1] or [EMAIL_7]")
    assert response.answer.text == "anna@example.com or [EMAIL_7]"
    assert response.signals == (INVENTED,)


def test_a_label_that_is_called_like_a_placeholder_is_answered_as_it_is_called() -> None:
    asked = question("s", "I am anna@example.com", instructions="Labels: email_1, other")
    masked = EVERYTHING.masked(asked)
    assert sent(masked) == ["s", "I am [EMAIL_2]"]
    assert answered(masked, "x", kind="email_1").answer.kind == "email_1"


def test_the_prompt_explains_placeholders_only_where_something_is_masked() -> None:
    asked = question("s", "nothing personal")
    assert EVERYTHING.masked(asked).question.instructions == f"Sum it up.\n\n{NOTE}"
    assert Masking().masked(asked).question is asked
    own = Masking(Rules(frozenset(KINDS)), {"tickets": Rules()})
    assert own.masked(asked).question is asked


def test_without_masking_nothing_in_an_answer_is_changed() -> None:
    masked = Masking().masked(question("s", "anna@example.com"))
    response = answered(masked, "[EMAIL_1]")
    assert response.answer.text == "[EMAIL_1]"
    assert response.signals == ()


@pytest.mark.parametrize("file", [Image("image/png", b"x"), Pdf(b"x")])
def test_files_are_refused_only_where_the_settings_say_so_and_something_is_masked(
    file: Image | Pdf,
) -> None:
    asked = replace(question("a@b.de"), parts=(Text("note", "a@b.de"), file))
    assert EVERYTHING.masked(asked).question.parts == (Text("note", "[EMAIL_1]"), file)
    assert Masking(files="refuse").masked(asked).question is asked
    with pytest.raises(NotMaskable, match="cannot be masked"):
        Masking(Rules(frozenset({"email"})), files="refuse").masked(asked)


FIELDS = Masking(
    stages={"tickets": Rules(frozenset({"email"}), frozenset({"customer", "subject"}))}
)


def test_a_field_that_is_sent_is_masked_whole() -> None:
    masked = FIELDS.masked(question("Anna's order", "Where is it?"))
    assert sent(masked) == ["[SUBJECT_1]", "Where is it?"]
    assert answered(masked, "About [SUBJECT_1].").answer.text == "About Anna's order."


def test_the_value_of_a_field_is_masked_wherever_it_stands_and_a_name_by_its_parts() -> None:
    customer = (Text("customer", "Anna Schmidt"),)
    asked = question("x", "I, anna schmidt, wrote. Anna, or Mrs Schmidts?", personal=customer)
    masked = FIELDS.masked(asked)
    body = sent(masked)[1]
    assert body == "I, [CUSTOMER_1], wrote. [CUSTOMER_2], or Mrs Schmidts?"
    assert masked.question.personal == ()
    assert answered(masked, body).answer.text == "I, anna schmidt, wrote. Anna, or Mrs Schmidts?"


@pytest.mark.parametrize(
    ("value", "text", "body"),
    [
        ("ANNA SCHMIDT", "Anna here, anna there", "[CUSTOMER_1] here, anna there"),
        ("田中", "田中です", "[CUSTOMER_1]です"),
        ("İpek Kaya", "ben İPEK KAYA, İpek", "ben [CUSTOMER_1], [CUSTOMER_2]"),
        ("Li", "Li lives", "Li lives"),
    ],
)
def test_a_name_is_found_in_other_case_and_in_other_scripts(
    value: str, text: str, body: str
) -> None:
    masked = FIELDS.masked(question("x", text, personal=(Text("customer", value),)))
    assert sent(masked)[1] == body


@given(ANY_TEXT, st.lists(st.text(min_size=1, max_size=8), max_size=3))
def test_masked_fields_are_restored_as_they_were(text: str, values: list[str]) -> None:
    personal = tuple(Text("customer", value) for value in values)
    masked = FIELDS.masked(question("", text + "".join(values), personal=personal))
    assert answered(masked, sent(masked)[1]).answer.text == text + "".join(values)


def test_values_of_fields_are_found_however_deep() -> None:
    value = {"first": " Anna ", "ids": [7, True, None], "raw": RawJson(b'["x", {"y": "z"}]')}
    assert [each.text for each in values_of("customer", value)] == ["Anna", "7", "x", "z"]


def test_every_step_of_a_query_brings_the_values_along() -> None:
    last = question("x", "Anna again")
    query = MultiStepQuery(
        (question("x", "Anna"),), lambda _: MultiStepQuery((last,), lambda _: last)
    )
    values = [Text("customer", "Anna")]
    first = with_fields(query, values)
    assert isinstance(first, MultiStepQuery)
    second = first.then(())
    assert isinstance(second, MultiStepQuery)
    third = second.then(())
    assert isinstance(third, Question)
    for each in (*first.questions, *second.questions, third):
        assert each.personal == tuple(values)
    assert with_fields(query, []) is query
