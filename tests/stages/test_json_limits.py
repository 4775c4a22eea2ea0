"""JSON taken apart without being read: what is found, and what is refused before it costs."""

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.json_bytes import (
    MAX_DEPTH,
    MAX_NODES,
    NoObject,
    NotJson,
    OverLimit,
    check_passed_on,
    fields_of,
    measured,
)

MIB = 1 << 20

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.text('"\\[]{},:eE0123456789', max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('a"\\[{,:'), inner, max_size=4)
    ),
    max_leaves=12,
)
objects = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values, max_size=5)


@given(objects, st.booleans(), st.sampled_from([None, 1]))
def test_each_field_is_found_and_means_what_it_meant(
    document: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    written = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()
    fields = fields_of(written)
    assert {name: json.loads(field) for name, field in fields.items()} == document
    for field in fields.values():
        assert field in written
        check_passed_on(field)
        measured(field, max_depth=MAX_DEPTH)


@given(objects)
def test_what_stands_outside_of_strings_is_all_that_is_measured(document: dict[str, Any]) -> None:
    outside = measured(json.dumps(document).encode(), max_depth=MAX_DEPTH)

    def emptied(value: Any) -> Any:  # noqa: ANN401 - JSON
        match value:
            case dict():
                return [(("", emptied(each))) for each in value.values()]
            case list():
                return [emptied(each) for each in value]
            case str():
                return ""
            case _:
                return value

    def pairs(found: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        return found

    def listed(value: Any) -> Any:  # noqa: ANN401 - JSON
        return json.loads(json.dumps(value))

    read = json.loads(outside, object_pairs_hook=pairs)
    assert listed(read) == listed(emptied(document))


@given(st.binary(max_size=200) | st.text('{}[]",:\\u d8031e+-.tfn').map(str.encode))
def test_any_bytes_are_fields_or_refused(value: bytes) -> None:
    with contextlib.suppress(NotJson, NoObject, OverLimit):
        for field in fields_of(value).values():
            check_passed_on(field)
            json.loads(field)


def test_of_a_name_that_occurs_twice_the_last_one_counts() -> None:
    assert fields_of(b'{"id":1,"id":2}') == {"id": b"2"}


@pytest.mark.parametrize(
    ("written", "name", "text"),
    [
        (b'{"a":"x \\ud83d"}', "a", "x ?"),
        (b'{"a":"\\udc00\\ud83d"}', "a", "??"),
        (b'{"a":["\\ud83dx"]}', "a", ["?x"]),
        (b'{"a\\udfff":"b"}', "a?", "b"),
        (b'{"a":"\\ud83d\\ude00 \\\\ud83d \\ud83d"}', "a", "\U0001f600 \\ud83d ?"),
    ],
)
def test_half_a_surrogate_pair_becomes_a_question_mark(
    written: bytes, name: str, text: object
) -> None:
    assert {key: json.loads(field) for key, field in fields_of(written).items()} == {name: text}


def test_a_whole_pair_is_left_as_it_was_written() -> None:
    assert fields_of(b'{"a":"\\ud83d\\ude00"}') == {"a": b'"\\ud83d\\ude00"'}


@pytest.mark.parametrize(
    "value",
    [
        b'{"a":1} x', b'{"a":01}', b'{"a":NaN}', b'{"a":Infinity}', b'{"a":1,}', b'{"a":"\x01"}',
        b'{"a":"\\x"}', b'{"a":"\\ud83d","b":NaN}', b'{"a":"\\ud83d","b":' + b"1" * 5000 + b"}",
        b'{"a\xff":1}', b"{", b"nonsense", b"[" * 5000, b'{"a":' * 5000, b'{"a":"\\ud83d',
    ],
)  # fmt: skip
def test_what_is_not_json_is_refused_as_such(value: bytes) -> None:
    with pytest.raises((NotJson, OverLimit)):
        fields_of(value)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (b"[" * 65 + b"]" * 65, "64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "64 levels"),
        (b"18446744073709551616", "64 bits"),
        (b"[-9223372036854775809]", "64 bits"),
        (b'{"a":' + b"9" * 100_000 + b"}", "64 bits"),
        (b"1e999999", "a double"),
        (b'[1,"e",{"a":-1E+309}]', "a double"),
        (b'["\\\\",1e999,"\\"1"]', "a double"),
        (b"[" + b"1," * MAX_NODES + b"1]", "50,000"),
        (b"[" + b'"",' * MAX_NODES + b'""]', "50,000"),
    ],
)
def test_what_not_every_reader_takes_is_refused(field: bytes, said: str) -> None:
    with pytest.raises(OverLimit, match=said):
        check_passed_on(field)


@pytest.mark.parametrize(
    "field",
    [
        b"[" * 64 + b"]" * 64,
        b"18446744073709551615",
        b"-9223372036854775808",
        b"1e308",
        b"0." + b"3" * 100_000,
        b'["' + b"[{" * 60_000 + b'"]',
        b'["1e999999 \\" 99999999999999999999"]',
        b"[" + b"1," * (MAX_NODES - 2) + b"1]",
        b'"' + b"," * MAX_NODES * 3 + b'"',
    ],
)
def test_what_every_reader_takes_is_passed_on(field: bytes) -> None:
    check_passed_on(field)


def test_what_is_neither_utf_8_nor_whole_is_refused_as_the_former() -> None:
    with pytest.raises(NotJson, match="UTF-8"):
        fields_of(b'{"a":"caf\xe9 \\ud83d"}')


def test_a_field_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(NotJson, match="UTF-8"):
        check_passed_on(b'"\xff"')


def _deep() -> bytes:
    unit = b"[" * 60 + b"]" * 60 + b","
    return b'{"x":[' + (unit * (8 * MIB // len(unit)))[:-1] + b"]}"


@pytest.mark.parametrize(
    "value",
    [
        _deep(),
        b'{"x":' + b"[" * 8 * MIB,
        b"{" + b",".join(b'"%d":1' % number for number in range(700_000)) + b"}",
        b'{"x":[' + b'"",' * (2 * MIB) + b'""]}',
        b'{"x":[' + b"{}," * (2 * MIB) + b"{}]}",
    ],
    ids=["lists in lists", "opening brackets", "names", "empty strings", "empty objects"],
)
def test_megabytes_of_structure_are_refused_before_anything_is_made_of_them(value: bytes) -> None:
    begin = time.thread_time()
    with pytest.raises(OverLimit):
        fields_of(value)
    assert time.thread_time() - begin < 1  # 9.5 s, and a gigabyte, where objects are made
