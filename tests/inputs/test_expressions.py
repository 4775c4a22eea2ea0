"""Where an expression looks, what it finds, and what is refused before anything is read."""

from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.expressions import Expression, ExpressionFailed, is_true

RECORD = {
    "id": 7,
    "ticket": {"subject": "Broken", "tags": ["a", "b"], "a/b": {"~": 1}},
    "comments": [{"body": "first"}, {"body": "second", "public": True}],
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ticket.subject", "Broken"),
        ("ticket.subject.nothing", None),
        ("nothing || ticket.subject", "Broken"),
        ("comments[?public].body | [0]", "second"),
        ("`[1, 2]`", [1, 2]),
        ("/ticket/tags/1", "b"),
        ("/ticket/tags/2", None),
        ("/ticket/tags/-", None),
        ("/ticket/a~1b/~0", 1),
        ("/ticket/subject/0", None),
        ("/comments/" + "9" * 400, None),
    ],
)
def test_an_expression_finds_what_is_there(text: str, found: object) -> None:
    assert Expression(text).read(RECORD) == found


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("ticket.subject", {("ticket", "subject")}),
        ("ticket.subject || id", {("ticket", "subject"), ("id",)}),
        ("comments[0].body", {("comments",)}),
        ("ticket.{x: subject, y: tags[0]}", {("ticket", "subject"), ("ticket", "tags")}),
        ("ticket.tags[*]", {("ticket", "tags")}),
        ("comments[?public].body | [0]", {("comments",)}),
        ("sort_by(comments, &body)[0]", {("comments",)}),
        ("comments[1:2].body", {("comments",)}),
        ("[id, ticket.subject]", {("id",), ("ticket", "subject")}),
        ("to_string(@)", {()}),
        ("*.subject", {()}),
        ("'a literal'", set()),
        ("/ticket/tags/0", {("ticket", "tags", "0")}),
        ("$.key", set()),
        ("$.value.id || key", {("id",)}),
        ("$.value", {()}),
        ("$/value/id", {("id",)}),
    ],
)
def test_it_is_known_where_an_expression_looks(text: str, reads: set[tuple[str, ...]]) -> None:
    assert Expression(text).reads == reads


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("a.", "no|not JMESPath"),
        ("a = 'x'", "token '='"),
        ("nope(a)", r"no function nope\(\); there are abs"),
        ("length(a, b)", "takes 1 arguments, not 2"),
        ("join('x')", "takes 2 arguments, not 1"),
        ("$.offset", "has no `offset`; it has value, key"),
        ("(" * 900, "too deep"),
        ("a" * 2000, "more than 1,000"),
    ],
)
def test_what_cannot_be_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "length(id)",
        "sum(ticket.tags)",
        "sort_by(comments, &public)",
        "contains(ticket.tags[0], id)",
    ],
)
def test_a_failure_says_why_and_quotes_nothing(text: str) -> None:
    with pytest.raises(ExpressionFailed) as failed:
        Expression(text).read(RECORD)
    assert not any(word in str(failed.value) for word in ("7", "first", "second"))


def test_what_jmespath_takes_for_false_is_false() -> None:
    assert not any(map(is_true, (None, False, "", [], {})))
    assert all(map(is_true, (0, 0.0, "0", [0], {"a": None}, True)))


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
    max_leaves=12,
)
steps = st.sampled_from([
    "a", "b.c", "a[0]", "a[*].b", "a[]", "a[?b].c", "a.{x: b, y: c}", "[a, b]", "keys(@)", "@.a",
    "*", "a.*", "to_string(a)", "not_null(a, b)", "sort_by(a, &b)", "a[?@ == `1`]", "length(b)",
    "a[1:]", "`1`", "map(&b, a)", "max(a)", "a[::-1]",
])  # fmt: skip
texts = st.lists(steps, min_size=1, max_size=3).flatmap(
    lambda parts: st.lists(
        st.sampled_from([" || ", " && ", " | ", " == "]), min_size=len(parts), max_size=len(parts)
    ).map(lambda joints: "".join(p + j for p, j in zip(parts, joints, strict=True))[:-4].strip())
)


@given(texts, st.dictionaries(st.sampled_from(["a", "b", "c"]), json))
def test_only_what_is_said_to_be_read_is_read(text: str, record: dict[str, Any]) -> None:
    try:
        expression = Expression(text)
    except ValueError:
        return
    names = {path[0] if path else None for path in expression.reads}
    part = record if None in names else {name: record[name] for name in record if name in names}
    try:
        found = expression.read(record)
    except ExpressionFailed:
        with pytest.raises(ExpressionFailed):
            expression.read(part)
        return
    assert expression.read(part) == found
    if not expression.on_record:
        assert jmespath.search(text, record) == found
