"""Further values: asked for, read, checked, published below `result.fields`."""

from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from pipeline.claude.request_body import api_schema
from pipeline.config import (
    DocumentSettings,
    ExtraField,
    ImageSettings,
    InvoiceSettings,
    Label,
    TextSettings,
    TicketSettings,
)
from pipeline.model.questions import MultiStepQuery, Question
from pipeline.stages.api import Answer, answer_schema
from pipeline.stages.documents import DocumentEvent, Documents
from pipeline.stages.fields.extraction import FieldExtractor
from pipeline.stages.images import Images
from pipeline.stages.invoices import InvoiceEvent, Invoices
from pipeline.stages.texts import TextEvent, Texts
from pipeline.stages.tickets import TicketEvent, Tickets
from tests.stages.asking import single
from tests.stages.making import picture
from tests.stages.raw_events import RAW

FIELDS = [
    ExtraField(name="order_number", description="Of the order\nit is about.", required=True),
    ExtraField(name="price", type="number", description="What it cost."),
    ExtraField(name="pieces", type="integer", description="How many."),
    ExtraField(name="is_gift", type="boolean", description="Whether it is a gift."),
    ExtraField(name="bought_on", type="date", description="The day it was bought."),
    ExtraField(name="size", type="choice", choices=["S", "M"], description="Which size."),
    ExtraField(name="products", type="list", description="What was bought."),
    ExtraField(name="mood", description="Of the writer.", quoted=False),
]
SAID: dict[str, Any] = {
    "order_number": "A-77", "price": "19.90", "pieces": "3", "is_gift": "no",
    "bought_on": "2026-11-02", "size": "M", "products": ["red socks", "hat", "hat"],
    "mood": "cheerful",
}  # fmt: skip
TEXT = "Order A-77: 3 pieces, red socks and a hat, at 19,90 EUR, bought on 2 November. Size M!"
NOTHING: dict[str, Any] = {**dict.fromkeys(SAID, ""), "products": []}
EXTRACTION = FieldExtractor(FIELDS)
MODEL = EXTRACTION.extended(Answer)


def answer(**said: Any) -> Answer:  # noqa: ANN401
    return MODEL.model_validate({"confidence": 1, "unclear": False, "fields": {**SAID, **said}})


def doubts(text: str | None = TEXT, /, **said: Any) -> list[tuple[str, str]]:  # noqa: ANN401
    found = EXTRACTION.signals(answer(**said), text)
    return [(signal.code, signal.detail.partition(":")[0]) for signal in found]


def test_values_are_published_in_their_types_and_null_where_nothing_was_said() -> None:
    assert EXTRACTION.read(answer()) == {
        "order_number": "A-77",
        "price": "19.90",
        "pieces": 3,
        "is_gift": False,
        "bought_on": "2026-11-02",
        "size": "M",
        "products": ["red socks", "hat"],
        "mood": "cheerful",
    }
    assert EXTRACTION.read(answer(**NOTHING)) == {**dict.fromkeys(SAID), "products": []}
    assert EXTRACTION.read(answer(mood="n/a"))["mood"] is None


def test_what_is_right_is_no_doubt() -> None:
    assert doubts() == []
    assert doubts(None) == []


@pytest.mark.parametrize(
    ("said", "code", "field"),
    [
        ({"order_number": ""}, "missing_field", "fields.order_number"),
        ({"order_number": "A-78"}, "evidence_not_found", "fields.order_number"),
        ({"products": ["red socks", "coat"]}, "evidence_not_found", "fields.products"),
        ({"price": "20.90"}, "evidence_not_found", "fields.price"),
        ({"pieces": "4"}, "evidence_not_found", "fields.pieces"),
        ({"price": "cheap"}, "implausible", "fields.price"),
        ({"pieces": "2.5"}, "implausible", "fields.pieces"),
        ({"bought_on": "2026-02-30"}, "implausible", "fields.bought_on"),
    ],
)
def test_what_cannot_be_right_is_a_doubt_that_names_the_field(
    said: dict[str, Any], code: str, field: str
) -> None:
    assert (code, field) in doubts(**said)


@pytest.mark.parametrize(
    "said",
    [
        {"bought_on": "2026-11-03"},
        {"bought_on": "2025-12-02"},
        {"products": ["red socks", "Coats"]},
    ],
)
def test_what_is_not_in_the_text_in_any_form_was_invented(said: dict[str, Any]) -> None:
    (field,) = said
    assert ("evidence_not_found", f"fields.{field}") in doubts(**said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Order A 77: 3 pcs, bought 02.11.2026", {}),
        ("Order\nA-77: 3 pieces, on 2 Nov", {}),
        ("Order A-77: ３ pieces, November 2nd 2026, 1,19 Mio", {"price": "1190000"}),
        ("Order A-77: 3, 2026年11月2日, 1,00,000", {"price": "100000"}),
    ],
)
def test_a_value_is_found_in_another_form(text: str, said: dict[str, Any]) -> None:
    assert doubts(text, **{"price": "", "products": [], "size": "", **said}) == []


@pytest.mark.parametrize(
    ("text", "price", "is_doubted"),
    [
        ("at 1,234 each", "1,234", True),
        ("at 1,234 each, 0,5 off", "1,234", True),
        ("at 1,234 each, 1,234,567 in all", "1,234", True),
        ("at 1,234.00 each", "1,234", False),
        (None, "1,234", True),
        (None, "1234.50", False),
    ],
)
def test_a_number_that_can_mean_two_is_doubted_unless_the_text_decides(
    text: str | None, price: str, *, is_doubted: bool
) -> None:
    found = doubts(text and f"{TEXT} {text}", price=price)
    assert (("ambiguous_amount", "fields.price") in found) is is_doubted


@pytest.mark.parametrize("nothing", ["not specified", "N/A", "k.A.", "不明", "-"])
def test_a_placeholder_is_null(nothing: str) -> None:
    assert EXTRACTION.read(answer(price=nothing, mood=nothing))["price"] is None
    assert doubts(price=nothing, mood=nothing, products=[nothing]) == []


def test_a_whole_number_is_read_as_one() -> None:
    assert EXTRACTION.read(answer(pieces="1.234"))["pieces"] == 1234
    assert EXTRACTION.read(answer(pieces="2.5"))["pieces"] is None


def test_of_a_file_there_is_no_text_to_find_values_in() -> None:
    assert doubts(None, order_number="A-78", price="1") == []


def test_an_answer_can_only_have_the_values_of_a_choice() -> None:
    with pytest.raises(ValidationError):
        answer(size="L")
    with pytest.raises(ValidationError):
        answer(is_gift="maybe")


def test_the_instructions_say_what_each_field_is_and_how_it_is_written() -> None:
    (section,) = EXTRACTION.sections
    lines = section.body.splitlines()

    assert "- `order_number`: Of the order it is about. Copied exactly, letter for letter." in lines
    assert "- `size`: Which size. One of: S, M." in lines
    assert "- `bought_on`: The day it was bought. YYYY-MM-DD." in lines
    assert "- `mood`: Of the writer. In the content's own words." in lines


def test_the_schema_is_within_what_the_api_takes_and_the_statement_stays_last() -> None:
    schema: Any = api_schema(answer_schema(MODEL))
    jsonschema.Draft202012Validator.check_schema(schema)

    assert list(schema["properties"]) == ["fields", "confidence", "unclear"]
    assert list(schema["properties"]["fields"]["properties"]) == [field.name for field in FIELDS]
    assert "anyOf" not in str(schema)


def test_without_fields_nothing_is_asked_and_nothing_changes() -> None:
    none = FieldExtractor([])

    assert none.extended(Answer) is Answer
    assert none.sections == ()
    assert none.read(Answer(confidence=1, unclear=False)) == {}
    assert none.signals(Answer(confidence=1, unclear=False), TEXT) == []


def asked_by(stage: str) -> Question[Any]:
    fields = FIELDS[:2]
    inquiry: Any
    match stage:
        case "tickets":
            tickets = Tickets(TicketSettings(fields=fields))
            inquiry = tickets.question(TicketEvent(id="1", body="b"))
        case "invoices":
            inquiry = Invoices(InvoiceSettings(fields=fields)).question(
                InvoiceEvent(id="1", text="t")
            )
        case "images":
            images = Images(ImageSettings(fields=fields))
            headers = {"content-type": b"image/png", "event-id": b"1"}
            inquiry = images.question(images.parse(picture(), key=None, headers=headers))
        case "documents":
            documents = Documents(DocumentSettings(fields=fields))
            inquiry = documents.question(DocumentEvent(id="1", text="t"))
        case _:
            texts = Texts(TextSettings(fields=fields))
            inquiry = texts.question(TextEvent(id="1", text="t"))
    return single(inquiry)


@pytest.mark.parametrize("stage", ["tickets", "invoices", "images", "documents", "texts"])
def test_these_stages_ask_for_further_fields(stage: str) -> None:
    question = asked_by(stage)
    schema: Any = question.answer_schema

    assert "- `price`: What it cost." in question.instructions
    assert list(schema["properties"])[-3:] == ["fields", "confidence", "unclear"]
    assert RAW[stage]


def test_a_ticket_has_them_in_its_result_and_its_signals() -> None:
    stage = Tickets(TicketSettings(fields=FIELDS[:2]))
    event = TicketEvent(id="1", body=TEXT)
    ticket = single(stage.question(event)).answer_model.model_validate(
        {
            "quote": "Order A-77", "intent": "billing", "runner_up": None,
            "several_matters": False, "priority": "normal", "language": "en", "summary": "s",
            "fields": {"order_number": "A-79", "price": "19.90"},
            "confidence": 0.9, "unclear": False,
        }
    )  # fmt: skip

    result = stage.result(event, ticket)
    signals = stage.signals(event, ticket)

    assert result.fields == {"order_number": "A-79", "price": "19.90"}
    assert "fields.order_number: not in the text." in {signal.detail for signal in signals}


def test_in_two_levels_they_are_asked_in_the_second() -> None:
    labels = [Label(name=f"l{i}") for i in range(30)]
    stage = Tickets(TicketSettings(fields=FIELDS[:2], intents=labels))
    steps = stage.question(TicketEvent(id="1", body="b"))
    assert isinstance(steps, MultiStepQuery)
    (first,) = steps.questions
    group = first.answer_schema["properties"]["group"]["enum"][0]  # type: ignore[index,call-overload]
    chosen = first.answer_model.model_validate(
        {"quote": "b", "group": group, "runner_up": None, "confidence": 1, "unclear": False}
    )
    follows = steps.then((chosen,))
    assert isinstance(follows, MultiStepQuery)

    assert "fields" not in first.answer_model.model_fields
    assert "fields" in follows.questions[0].answer_model.model_fields


def test_of_a_long_document_the_join_settles_what_the_parts_said() -> None:
    fields = [ExtraField(name="parties", type="list", description="Who signs.")]
    stage = Documents(DocumentSettings(fields=fields, part_tokens=1000))
    text = "The contract of Ann and Bob. " * 200
    event = DocumentEvent(id="1", text=text)
    steps = stage.question(event)
    assert isinstance(steps, MultiStepQuery)
    part = {
        "quotes": ["The contract"], "key_points": [], "actions": [], "summary": "S.",
        "language": "en", "confidence": 1, "unclear": False,
    }  # fmt: skip
    follows = steps.then(
        tuple(
            question.answer_model.model_validate({**part, "fields": {"parties": [name]}})
            for question, name in zip(steps.questions, ["Ann", "Bob", ""], strict=True)
        )
    )
    assert isinstance(follows, MultiStepQuery)
    (join,) = follows.questions
    joined = join.answer_model.model_validate(
        {
            "key_points": [], "actions": [], "summary": "S.", "confidence": 1, "unclear": False,
            "fields": {"parties": ["Ann", "Bob"]},
        }
    )  # fmt: skip
    whole = follows.then((joined,))
    assert not isinstance(whole, Question | MultiStepQuery)

    said = {part.name: part.text for part in join.parts}  # type: ignore[union-attr]
    assert (said["part-1-fields"], said["part-2-fields"]) == ("parties: Ann", "parties: Bob")
    assert "part-3-fields" not in said
    assert stage.result(event, whole).fields == {"parties": ["Ann", "Bob"]}


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"name": "Order"}, "name"),
        ({"name": "reasoning"}, "choose another name"),
        ({"name": "confidence"}, "choose another name"),
        ({"name": "x", "type": "choice"}, "`choices` go with the type choice"),
        ({"name": "x", "choices": ["a", "b"]}, "`choices` go with the type choice"),
        ({"name": "x", "type": "choice", "choices": ["a", "A"]}, "two or more that differ"),
        ({"name": "x", "type": "choice", "choices": ["a"]}, "two or more that differ"),
        ({"name": "x", "type": "money"}, "type"),
        ({"name": "x", "description": ""}, "description"),
    ],
)
def test_fields_that_make_no_sense_are_refused(field: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TicketSettings.model_validate({"fields": [{"description": "d", **field}]})


def test_two_fields_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="fields of the same name: x"):
        TicketSettings.model_validate({"fields": [{"name": "x", "description": "d"}] * 2})


def test_a_doubt_is_about_the_field_as_the_result_calls_it() -> None:
    alone = FieldExtractor(FIELDS, within="")
    for extraction, name in ((EXTRACTION, "fields.order_number"), (alone, "order_number")):
        [found] = extraction.signals(answer(order_number="B-99"), TEXT)
        assert found.fields == (name,)
