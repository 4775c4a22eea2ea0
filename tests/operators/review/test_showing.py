"""How a case looks to a person: readable, and harmless."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import Settings
from pipeline.evaluate.labelled_events import Columns, read_labelled
from pipeline.model.errors import UsageError
from pipeline.model.printable import printable, readable
from pipeline.model.records import Doubt
from pipeline.operators.handled import HandledIndex
from pipeline.operators.review import (
    LabelledFile,
    Selection,
    Unreadable,
    document_of,
    label_line,
    lines_of,
    review_item_of,
    save_file,
)
from pipeline.operators.selection import Span
from pipeline.stages.api import build_stages
from pipeline.stream.records import Received
from tests.operators.review.items import NOON, RESULT, case

MARKS = HandledIndex("review", "review.resolved")
TICKETS = build_stages(Settings().stages)["tickets"]


def text_of(**changes: object) -> str:
    return "\n".join(lines_of(case(**changes), MARKS))


def test_it_shows_the_event_the_doubts_and_both_answers() -> None:
    text = text_of(event={"id": "T-0", "body": "Dear all,\nI was charged twice.", "tags": ["a"]})
    assert "  body:\n    | Dear all,\n    | I was charged twice." in text
    assert "  tags:\n    - a" in text
    assert "  unclear: The model says that it is not settled." in text
    assert "* intent\n    haiku: billing\n    sonnet: sales" in text.replace("haiku:  ", "haiku: ")
    assert "  priority: normal" in text
    assert "2 calls, $0.0042" in text


def test_an_answer_that_is_missing_is_said() -> None:
    text = text_of(sonnet_result=None)
    assert "sonnet gave no usable answer" in text
    assert "  intent: billing" in text


HOSTILE = "\x1b]0;mine\x07\x1b[2J\u202egnp.exe\r\x9b31m\u2028"
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just(HOSTILE),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=10) | st.just(HOSTILE), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=10), TREES, max_size=4), st.text(max_size=20))
def test_whatever_is_in_it_commands_the_terminal_nothing(
    event: dict[str, object], text: str
) -> None:
    made = case(
        event=event,
        event_id=text + HOSTILE,
        doubts=[Doubt(code=HOSTILE, detail=text + HOSTILE)],
        haiku_result=event,
    )
    for line in lines_of(made, MARKS):
        assert line.isprintable()
    assert json.dumps(document_of(made, MARKS), default=str)


def test_a_huge_text_is_cut_and_says_by_how_much() -> None:
    text = text_of(event={"id": "T-0", "file": {"data": "A" * 5_000_000}})
    assert len(text) < 5000
    assert "... (4,998,000 characters more)" in text
    whole = "\n".join(lines_of(case(event={"body": "A" * 10_000}), MARKS, limit=None))
    assert "A" * 10_000 in whole


@given(st.text(max_size=200))
def test_what_is_printable_stays_as_it_is(text: str) -> None:
    assert printable(printable(text)) == printable(text)
    if text.isprintable():
        assert printable(text) == text


def test_empty_values_are_seen() -> None:
    shown = list(readable({"a": "", "b": [], "c": {}, "d": None, "e": "ä"}))
    assert shown == ['a: ""', "b: []", "c: {}", "d: null", "e: ä"]


def test_the_file_of_an_event_can_be_looked_at(tmp_path: Path) -> None:
    data = base64.b64encode(b"%PDF-1.7 ...").decode()
    made = case(event={"id": "I-1", "file": {"media_type": "application/pdf", "data": data}})
    assert save_file(made.review.event, tmp_path / "out.pdf") == 12
    assert (tmp_path / "out.pdf").read_bytes() == b"%PDF-1.7 ..."
    with pytest.raises(UsageError, match="brings no file"):
        save_file(case().review.event, tmp_path / "none")
    with pytest.raises(UsageError, match="base64"):
        save_file({"file": {"data": "?"}}, tmp_path / "none")
    with pytest.raises(UsageError, match="cannot be written"):
        save_file(made.review.event, tmp_path / "no" / "such" / "folder")


@pytest.mark.parametrize(
    ("fits", "does_not"),
    [
        ({"stages": ["tickets"]}, {"stages": ["images"]}),
        ({"doubts": ["arithmetic", "unclear"]}, {"doubts": ["arithmetic"]}),
        ({"key": "customer"}, {"key": "other"}),
        ({"span": Span(since=NOON)}, {"span": Span(until=NOON)}),
    ],
)
def test_each_filter_takes_what_fits(fits: dict[str, Any], does_not: dict[str, Any]) -> None:
    assert case() in Selection(**fits)
    assert case() not in Selection(**does_not)


@pytest.mark.parametrize("value", [None, b"", b"{}", b"\xff"])
def test_what_is_no_review_item_is_reported_with_its_place(value: bytes | None) -> None:
    with pytest.raises(Unreadable, match="3:4 of review"):
        review_item_of(Received("review", 3, 4, None, value, (), NOON, NOON))


def line(number: int, **changes: object) -> bytes:
    result = TICKETS.result_model.model_validate(RESULT | changes)
    return label_line(case(number), TICKETS, result)


def test_a_label_is_the_event_as_it_was_published_and_what_is_true_about_it(
    tmp_path: Path,
) -> None:
    file = LabelledFile(tmp_path / "labels.jsonl")
    file.put(line(1))
    [written] = (tmp_path / "labels.jsonl").read_text().splitlines()
    assert json.loads(written) == {"id": "T-1", "body": "Charged twice", "gold": RESULT}
    TICKETS.parse(written.encode(), key=None, headers={})


def test_evaluate_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    LabelledFile(path).put(line(1))
    [event] = read_labelled(path, TICKETS, Columns()).events
    assert (event.id, event.truth["intent"]) == ("T-1", "billing")
    assert json.loads(event.value) == {"id": "T-1", "body": "Charged twice"}


def test_a_second_verdict_about_an_event_takes_the_place_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    LabelledFile(path).put(line(1))
    LabelledFile(path).put(line(2))
    LabelledFile(path).put(line(1, intent="sales"))
    labels = [json.loads(each) for each in path.read_text().splitlines()]
    assert [(each["id"], each["gold"]["intent"]) for each in labels] == [
        ("T-2", "billing"),
        ("T-1", "sales"),
    ]


def test_a_verdict_about_one_part_of_an_event_does_not_take_the_place_of_another_s(
    tmp_path: Path,
) -> None:
    path = tmp_path / "labels.jsonl"
    event = {"id": "T", "body": "Charged twice"}
    for part in ("T#1", "T#2"):
        item = case(1, event_id=part, event=event)
        LabelledFile(path).put(
            label_line(item, TICKETS, TICKETS.result_model.model_validate(RESULT))
        )
    assert [json.loads(each)["id"] for each in path.read_text().splitlines()] == ["T#1", "T#2"]


def test_a_file_of_something_else_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n")
    with pytest.raises(UsageError, match=r"notes\.txt:1 is not a labelled event"):
        LabelledFile(path)
    assert path.read_text() == "buy milk\n"
    with pytest.raises(UsageError, match="cannot be used"):
        LabelledFile(tmp_path / "no" / "such" / "folder")
