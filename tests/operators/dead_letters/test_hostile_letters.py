"""Whatever is in a topic can be shown, listed and exported, and commands no terminal."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import StagesSettings
from pipeline.model.errors import PipelineError
from pipeline.operators import review as review_items
from pipeline.operators.dead_letters import (
    DeadLetterListing,
    Selection,
    _suffix,
    dead_letter_of,
    document_of,
    line_of,
    lines_of,
)
from pipeline.operators.handled import HandledIndex
from pipeline.operators.inspection import text_of
from pipeline.operators.review import label_line, review_item_of
from pipeline.operators.selection import Place, Span
from pipeline.stages.api import build_stages
from pipeline.stream.records import Received
from tests.hostile import TOKENS, records
from tests.operators.review.items import review

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MARKS = HandledIndex("dead-letters", "dead-letters.replayed")
VALUES = st.one_of(
    st.none(),
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([token.encode("utf-8", "surrogatepass") for token in TOKENS]),
)
NAMES = st.one_of(
    st.sampled_from(
        [
            *("dlq-reason", "dlq-detail", "dlq-stage", "dlq-topic", "dlq-partition", "dlq-offset"),
            *("dlq-timestamp", "dlq-attempts", "dlq-version", "replayed-from", "content-type"),
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
)
TIMES = [b"9999-12-31T23:59:59-23:59", b"0001-01-01T00:00:00+14:00", b"2026-11-22", b"now"]
HEADERS = st.lists(
    st.tuples(NAMES, VALUES | st.sampled_from([*TIMES, b"9" * 5000])), max_size=6
).map(tuple)


def record(headers: Any, value: bytes | None, key: bytes | None = None) -> Received:  # noqa: ANN401
    return Received("dead-letters", 0, 7, key, value, headers, NOON, NOON)


def is_harmless(text: str) -> bool:
    return all(char.isprintable() or char in "\n\t" for char in text)


@given(HEADERS, VALUES, VALUES)
def test_any_record_can_be_shown_listed_exported_and_tailed(
    headers: Any,  # noqa: ANN401 - what Kafka brings, null values included
    value: bytes | None,
    key: bytes | None,
) -> None:
    dead_letter = dead_letter_of(record(headers, value, key))
    assert all(map(is_harmless, lines_of(dead_letter, MARKS)))
    line = line_of(dead_letter, MARKS)
    listing = DeadLetterListing(1)
    listing.add(line, line.died_at, Place(0, 7), times=0, codes=[line.reason])
    assert all(map(is_harmless, listing.row(line)))
    assert is_harmless(listing.summary())
    orjson.loads(orjson.dumps(document_of(dead_letter, MARKS)))
    _suffix(value)
    dead_letter in Selection(span=Span(NOON, NOON))  # noqa: B015 - it can be compared
    for pretty in (False, True):
        text = text_of(dead_letter.record, pretty=pretty)
        assert is_harmless(text)
        json.loads(text)


def test_what_is_nested_too_deep_to_be_indented_is_shown_as_it_is() -> None:
    value = b"[" * 1000 + b"]" * 1000
    assert json.loads(text_of(record((), value), pretty=True))["value"] == value.decode()


def test_thousands_of_reasons_do_not_fill_the_screen() -> None:
    listing = DeadLetterListing(1)
    line = line_of(dead_letter_of(record((), None)), MARKS)
    for number in range(5000):
        codes = [f"r-{number}" + "x" * 1000]
        listing.add(line, NOON, Place(0, number), times=0, codes=codes)
    assert listing.codes["of other reasons"] == 4970
    assert len(listing.summary()) < 2000


@given(records(json.loads(review().model_dump_json(by_alias=True))))
def test_any_record_of_review_is_a_case_that_can_be_shown_or_says_that_it_is_none(
    value: bytes,
) -> None:
    try:
        case = review_item_of(record((), value))
    except PipelineError as error:
        said = str(error)
        if not is_harmless(said) or len(said) > 300:
            pytest.fail(said)
        return
    assert all(map(is_harmless, review_items.lines_of(case, MARKS)))
    assert all(map(is_harmless, review_items.lines_of(case, MARKS, limit=None)))
    review_items.document_of(case, MARKS)
    review_items.line_of(case, MARKS)
    tickets = build_stages(StagesSettings())["tickets"]
    result = tickets.result_model.model_validate(
        {"intent": "billing", "priority": "high", "language": None, "summary": "s", "queue": "q",
         "runner_up": None}
    )  # fmt: skip
    assert b"\n" not in label_line(case, tickets, result)


@pytest.mark.parametrize("digits", ["9" * 5000, "9" * 30, "-1", "1.5", "١"])
def test_a_number_that_is_none_is_not_given(digits: str) -> None:
    dead_letter = dead_letter_of(record((("dlq-offset", digits.encode()),), b""))
    assert dead_letter.about.source[2] is None


def test_a_terminal_gets_no_escape_from_a_dead_letter() -> None:
    evil = "\x1b]0;owned\x07\x9b31m\u202e\u2066\r\n".encode()
    headers = tuple((f"dlq-{name}", evil) for name in ("reason", "stage", "topic", "detail"))
    shown = "\n".join(lines_of(dead_letter_of(record(headers, evil, evil)), MARKS))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
