"""Records of the shared topics as anyone with the permission may write them: valid ones, changed.

What JSON can say and Python's objects cannot (numbers without an end, half a surrogate) is put in
as text.
"""

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

_MARK = "\ue000put\ue000"

TOKENS = (
    "null", "true", "0", "-1", "1e999", "-1e999", "1E+9999999", "NaN", "Infinity", "-0.0",
    "9" * 30, "9" * 4000, "[]", "{}", "[" * 150 + "]" * 150, "[" * 5000 + "]" * 5000,
    "[" + "0," * 3000 + "0]", '{"not":"a result"}', '{"a":{"b":[1,2,{"c":null}]}}',
    '""', '"x"', '"NaN"', '"sNaN"', '"Infinity"', '"-Infinity"', '"1E+9999999"', '"1E-9999999"',
    '"-1000000"', '"0.1e5"', '"' + "9" * 200 + '"', '"0.' + "1" * 200 + '"', '"\\u0000"',
    '"\\ud800"', '"\\udfff\\ud800"', '"\\u202egnp.exe"', '"\\u001b]0;owned\\u0007"', '"1,5"',
    '"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-23:59"', '"9999-12-31T23:59:60Z"',
    '"1969-12-31T23:59:59Z"', '"1970-01-01T00:00:00+14:00"', '"2026-11-22"', '"1e300"', "1e300",
    "253402300800", "-62135596800", '"2026-11-22T10:00:00"', '"tickets"', '"escalations"',
    '"' + "a" * 100_000 + '"', '"' + "/" * 300 + '"',
)  # fmt: skip
"""Values as JSON texts, some of which are none."""


def paths(value: object, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where something is in a JSON value, the value itself included, down to a depth of 100."""
    yield here
    if len(here) == 100:
        return
    inner: Any = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for step, each in inner:
        yield from paths(each, (*here, step))


def put(value: Any, path: tuple[str | int, ...], token: str) -> str:  # noqa: ANN401 - any JSON
    """A JSON text in which `token` is at `path`."""
    copy = json.loads(json.dumps({"": value}))
    place: Any = copy
    *steps, last = ("", *path)
    for step in steps:
        place = place[step]
    place[last] = _MARK
    text: str = json.dumps(copy, ensure_ascii=False).replace(f'"{_MARK}"', token)
    return text[len('{"": ') : -1]


@st.composite
def records(draw: st.DrawFn, *valid: dict[str, Any]) -> bytes:
    """A valid record with one to three things changed, or bytes that are hardly one."""
    record: Any = draw(st.sampled_from(valid))
    kind = draw(st.sampled_from(("token", "token", "token", "missing", "more", "bytes", "cut")))
    if kind == "token":
        text = json.dumps(record)
        for _ in range(draw(st.integers(1, 3))):
            path = draw(st.sampled_from(list(paths(record))))
            text = put(record, path, draw(st.sampled_from(TOKENS)))
            try:
                record = json.loads(text)
            except (ValueError, RecursionError):
                break
        return text.encode("utf-8", "surrogatepass")
    if kind == "missing":
        copy = json.loads(json.dumps(record))
        *_, path = draw(st.permutations([each for each in paths(copy) if each]))
        place: Any = copy
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]
        return json.dumps(copy).encode()
    if kind == "more":
        name = draw(st.text(st.characters(codec="utf-8"), max_size=5))
        return json.dumps({**record, name: draw(st.sampled_from((None, 1, "x", [1], {})))}).encode()
    whole = json.dumps(record).encode()
    if kind == "cut":
        return whole[: draw(st.integers(0, len(whole)))]
    return draw(st.binary(max_size=40))
