"""Finding an answer in what a model wrote, whatever stands around it."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.responses import LONGEST, find, load, with_literal_numbers

ANSWER = '{"label": "billing", "confidence": 0.90}'
VALUE = {"label": "billing", "confidence": 0.9}


@pytest.mark.parametrize(
    "text",
    [
        ANSWER,
        f"\ufeff{ANSWER}",
        f" \n\t{ANSWER}\r\n",
        f"```json\n{ANSWER}\n```",
        f"```JSON\r\n{ANSWER}\r\n```",
        f"```{ANSWER}```",
        f"~~~\n{ANSWER}\n~~~",
        f"Here is the answer:\n\n```json\n{ANSWER}\n```\n\nI hope that helps!",
        f"Here is the answer: {ANSWER}",
        f"{ANSWER}\n\nThe ticket is about a double charge.",
        f"The {{label}} is in: {ANSWER}",
        f"[{ANSWER}]",
        f"{ANSWER}\n{ANSWER}",
        f"\ufeff```json\n\ufeff{ANSWER}\n```",
    ],
)
def test_an_answer_is_found_whatever_stands_around_it(text: str) -> None:
    (found,) = find(text)
    assert found.value == VALUE
    assert orjson.loads(found.json) == VALUE
    assert found.faults == ()


@pytest.mark.parametrize(
    "text",
    ["", "I cannot help with that.", ANSWER[:-1], "{", "{" * 5_000, "[" * 5_000, '{"a":NaN}',
     '{"a":-Infinity}', '{"a":' + "9" * 5_000 + "}", "null", '"text"', "{'a': 1}"],
)  # fmt: skip
def test_text_without_an_object_has_no_answer(text: str) -> None:
    assert find(text) == ()


def test_what_is_longer_than_any_answer_is_not_searched() -> None:
    assert find('{"a":"' + "x" * LONGEST + '"}') == ()


def test_answers_that_differ_are_all_found() -> None:
    found = find('{"a": 1} or rather {"a": 2}')
    assert [each.value for each in found] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    "text",
    ['{"a": 1, "a": 2}', '{"b": {"a": 1, "a": 1}}', '{"b": [{"a": 1, "\\u0061": 2}]}',
     '```json\n{"a": 1, "a": 2}\n```'],
)  # fmt: skip
def test_a_key_that_stands_twice_makes_an_answer_doubtful(text: str) -> None:
    (found,) = find(text)
    assert found.faults == ("An object in the answer has a key twice.",)


@pytest.mark.parametrize("text", ['{"a": "x\\u0000y"}', '{"a": "x\0y"}', '{"b": {"x\\u0000y": 1}}'])
def test_a_nul_makes_an_answer_doubtful_and_is_not_passed_on(text: str) -> None:
    (found,) = find(text)
    assert found.faults == ("A text in the answer has the character U+0000.",)
    assert "\0" not in str(found.value)
    assert "x\ufffdy" in str(found.value)
    assert b"\\u0000" not in found.json
    assert b"\0" not in found.json


def test_a_backslash_before_what_looks_like_a_nul_is_a_backslash() -> None:
    (found,) = find('{"a": "x\\\\u0000y"}')
    assert found.value == {"a": "x\\u0000y"}
    assert found.faults == ()


@pytest.mark.parametrize("half", ["\\ud83d", "\\uDE00", "\\ude00\\ud83d"])
def test_half_a_surrogate_is_replaced(half: str) -> None:
    (found,) = find('{"a": "x ' + half + ' y"}')
    assert "\ufffd" in found.value["a"]
    assert found.json.decode().isprintable()
    assert load(b'{"a": "x %b y"}' % half.encode()) == found.value


def test_a_whole_surrogate_pair_is_a_character() -> None:
    (found,) = find('{"a": "\\ud83d\\ude00"}')
    assert found.value == {"a": "😀"}
    assert load(b'{"a": "\\ud83d\\ude00"}') == {"a": "😀"}


def test_a_line_break_within_a_text_is_part_of_it() -> None:
    (found,) = find('{"a": "one\ntwo"}')
    assert orjson.loads(found.json) == {"a": "one\ntwo"}
    assert found.faults == ()


def test_a_response_with_a_byte_order_mark_or_broken_utf_8_is_read() -> None:
    assert load(b"\xef\xbb\xbf" + ANSWER.encode()) == VALUE
    assert load(b'{"a": "\xff"}') == {"a": "\ufffd"}


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"[" * 100_000, b"NaN"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        load(body)


def test_numbers_keep_their_digits_as_texts() -> None:
    assert with_literal_numbers(b'{"a":100.00,"b":[1e2,12345678901234567890]}') == (
        b'{"a":"100.00","b":["1e2","12345678901234567890"]}'
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(
    st.dictionaries(st.text(), JSON, max_size=4), st.booleans(), st.sampled_from([None, 1, "\t"])
)
def test_every_object_is_found_however_it_is_written(
    value: dict[str, object], ascii_only: bool, indent: int | str | None
) -> None:
    written = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    clean = json.loads(json.dumps(value).replace("\\u0000", "\\ufffd"))
    for text in (written, f"```json\n{written}\n```"):
        found = find(text)
        assert found[0].value == clean or "\\\\u0000" in json.dumps(value)
        assert json.loads(found[0].json) == found[0].value


@given(st.text(alphabet='{}[]":,\\u0 \n`a1', max_size=200))
def test_no_text_is_a_surprise(text: str) -> None:
    for found in find(text):
        assert isinstance(found.value, dict)
        assert isinstance(json.loads(found.json), dict)
