"""What is shown of a case: text alone, whatever the record holds."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import ExtraField, Settings, TicketSettings
from pipeline.desk.case import Span, document_of, event_of, leaves, pieces_of
from pipeline.desk.forms import FormField, form_of
from pipeline.model.records import Evidence
from pipeline.stages.api import build_stages
from tests.desk.world import INVOICE
from tests.operators.review.items import RESULT, case

SETTINGS = Settings()
STAGES = build_stages(SETTINGS.stages)
SECTIONS = SETTINGS.stages.by_name()


def document(stage: str = "tickets", **changes: object) -> dict[str, Any]:
    return document_of(case(1, stage=stage, **changes), STAGES[stage], SECTIONS[stage])


@given(
    st.text(max_size=60),
    st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70), st.sampled_from("abc")), max_size=8),
)
def test_pieces_are_all_of_the_text_and_each_span_is_marked_whole(
    text: str, spans: list[tuple[int, int, str]]
) -> None:
    made = [Span(start, end, field) for start, end, field in spans if start < end]
    pieces = pieces_of(text, made)
    assert "".join(piece.text for piece in pieces) == text
    for span in made:
        marked = "".join(piece.text for piece in pieces if span.field in piece.fields)
        assert text[span.start : span.end] in marked or span.start >= len(text)


def test_answers_are_side_by_side_and_differences_are_said() -> None:
    rows = {row["name"]: row for row in document()["answers"]}
    assert (rows["intent"]["haiku"], rows["intent"]["sonnet"]) == ("billing", "sales")
    assert rows["intent"]["differs"]
    assert rows["intent"]["decides"]
    assert not rows["priority"]["differs"]
    assert "fields" not in rows  # there is nothing in it


def test_each_doubt_is_said_of_the_answer_that_it_is_about() -> None:
    doubts = [{"code": code, "detail": code} for code in ("a", "b", "c")]
    said = document(doubts=doubts, haiku_doubts=2)["doubts"]
    assert [each["by"] for each in said] == ["haiku", "haiku", "sonnet"]
    # Records of before do not say it.
    assert {each["by"] for each in document(doubts=doubts)["doubts"]} == {None}


def test_values_of_the_answers_are_marked_where_the_text_has_them() -> None:
    event = {"id": "1", "body": "Invoice SGP-5190 of Müller GmbH is wrong."}
    found = event_of(event, results=[INVOICE])
    [body] = found["texts"]
    marked = {piece["text"]: tuple(piece["fields"]) for piece in body["pieces"] if piece["fields"]}
    assert marked == {"SGP-5190": ("/invoice_number",), "Müller GmbH": ("/vendor",)}


def test_evidence_of_the_record_is_marked_in_place_of_what_stands_there_by_chance() -> None:
    body = "No. 7 of 7 November: 7 chairs of Müller GmbH"
    text = {"source": "text", "input": "body"}
    evidence = [
        Evidence(field="/line_items/0/quantity", start=21, end=22, **text),
        Evidence(field="/vendor", start=33, end=44, **text),
        Evidence(field="/gross", source="file", input="file", page=2, box=[0.1, 0.2, 0.3, 0.4]),
        # Said by the model and not found: there is nothing to mark.
        Evidence(field="/buyer", quote="Rohde KG", **text),
    ]
    shown = document(
        "invoices", event={"id": "1", "body": body}, evidence=evidence,
        haiku_result=None, sonnet_result=dict(INVOICE),
    )["event"]  # fmt: skip
    [found] = shown["texts"]
    marked = [(each["text"], *each["fields"]) for each in found["pieces"] if each["fields"]]
    assert marked == [("7", "/line_items/0/quantity"), ("Müller GmbH", "/vendor")]
    assert shown["boxes"] == [{"field": "/gross", "page": 2, "box": [0.1, 0.2, 0.3, 0.4]}]


def test_a_mail_is_shown_as_one() -> None:
    head: dict[str, Any] = {"from": "a@example.com", "to": ["b@example.com"], "subject": "Order"}
    event = {"id": "1", **head, "body": "Where is it?", "shop": "north"}
    found = event_of(event)
    assert (found["mail"]["from"], found["mail"]["subject"]) == ("a@example.com", "Order")
    assert [text["name"] for text in found["texts"]] == ["body"]
    assert found["details"] == [{"name": "shop", "value": "north"}]


def test_the_bytes_of_a_file_are_not_among_what_is_shown() -> None:
    secret = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
    event = {"id": "1", "file": {"media_type": "image/png", "data": secret, "name": "scan.png"}}
    shown = json.dumps(document("images", event=event, haiku_result=None, sonnet_result=None))
    assert secret not in shown
    assert "scan.png" in shown


def test_a_long_text_is_cut_and_what_is_left_out_is_counted() -> None:
    [body] = event_of({"id": "1", "body": "x" * 100_005})["texts"]
    assert body["left_out"] == 5


def test_without_usable_answers_and_of_an_unknown_stage_a_case_can_still_be_shown() -> None:
    item = case(1, stage="gone", haiku_result=None, sonnet_result=None)
    found = document_of(item, None, None)
    assert (found["answers"], found["form"], found["result"]) == ([], [], {})
    assert found["has_answer"] == {"haiku": False, "sonnet": False}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_a_form_with_a_field_for_each_value(stage: str) -> None:
    fields = form_of(STAGES[stage], SECTIONS[stage])
    properties = set(STAGES[stage].result_model.model_json_schema()["properties"])
    assert {field.name for field in fields} | {"fields"} == properties | {"fields"}
    assert all(field.kind != "json" for field in fields)


def by_name(fields: Sequence[FormField]) -> dict[str, FormField]:
    return {field.name: field for field in fields}


def test_labels_are_offered_with_their_descriptions() -> None:
    intent = by_name(form_of(STAGES["tickets"], SECTIONS["tickets"]))["intent"]
    assert intent.kind == "choice"
    assert [option.value for option in intent.options] == [
        label.name for label in SETTINGS.stages.tickets.intents
    ]
    assert all(option.description for option in intent.options)


def test_dates_amounts_choices_and_lines_have_controls_of_their_own() -> None:
    fields = by_name(form_of(STAGES["invoices"], SECTIONS["invoices"]))
    kinds = {name: field.kind for name, field in fields.items()}
    assert (kinds["issue_date"], kinds["gross"], kinds["missing"]) == ("date", "amount", "choices")
    assert (fields["gross"].optional, fields["legibility"].optional) == (True, False)
    assert [(part.name, part.kind) for part in fields["line_items"].parts] == [
        ("description", "long_text"),
        ("quantity", "amount"),
        ("unit_price", "amount"),
        ("amount", "amount"),
    ]


def test_further_fields_of_a_team_are_asked_as_they_are_set() -> None:
    further = [ExtraField(name="plan", type="choice", choices=["free", "paid"], description="Plan")]
    section = TicketSettings(fields=further)
    [group] = [each for each in form_of(STAGES["tickets"], section) if each.name == "fields"]
    [plan] = group.parts
    assert (plan.kind, [each.value for each in plan.options]) == ("choice", ["free", "paid"])


def test_leaves_are_named_by_json_pointers() -> None:
    assert dict(leaves({"a/b": ["x", {"~": "y"}], "n": 1})) == {"/a~1b/0": "x", "/a~1b/1/~0": "y"}


def test_what_the_form_starts_from_is_sonnets_answer() -> None:
    assert document()["result"]["intent"] == "sales"
    assert document(sonnet_result=None)["result"] == RESULT
