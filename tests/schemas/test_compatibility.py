from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.schemas.compatibility import breaks

STRING: dict[str, Any] = {"type": "string"}
NULL: dict[str, Any] = {"type": "null"}


def record(required: tuple[str, ...] = (), **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def for_readers(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return breaks(old, new, written_by="pipeline")


def for_publishers(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return breaks(old, new, written_by="publishers")


fields = st.recursive(
    st.sampled_from(
        [
            STRING,
            NULL,
            {"type": "integer", "minimum": 0},
            {"type": "number"},
            {"enum": ["a", "b"], "type": "string"},
            {"const": "x"},
            {"type": ["string", "null"]},
            {"type": "object", "additionalProperties": STRING},
        ]
    ),
    lambda inner: st.one_of(
        st.builds(lambda each: {"type": "array", "items": each}, inner),
        st.builds(lambda one, other: {"anyOf": [one, other]}, inner, inner),
        st.builds(
            lambda named: record(tuple(sorted(named))[:1], **named),
            st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
        ),
    ),
    max_leaves=6,
)


@given(fields)
def test_an_unchanged_schema_breaks_nothing(schema: dict[str, Any]) -> None:
    assert for_readers(schema, schema) == []
    assert for_publishers(schema, schema) == []


@given(fields, fields)
def test_an_added_alternative_breaks_readers_and_a_removed_one_publishers_alike(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    both = {"anyOf": [one, other]}
    assert for_readers(both, one) == []
    assert for_publishers(one, both) == []


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        pytest.param(record(("queue",), queue=STRING), record(), "queue was removed", id="removed"),
        pytest.param(
            record(("queue",), queue=STRING),
            record(queue=STRING),
            "queue may be missing now",
            id="optional",
        ),
        pytest.param(
            record(queue=STRING),
            record(queue={"type": "integer"}),
            "queue may now be of another type (integer)",
            id="type",
        ),
        pytest.param(
            record(queue=STRING),
            record(queue={"anyOf": [STRING, NULL]}),
            "queue may now be of another type (null)",
            id="null",
        ),
        pytest.param(
            record(tier={"enum": ["haiku"]}),
            record(tier={"enum": ["haiku", "sonnet"]}),
            "tier may now be 'sonnet'",
            id="new value",
        ),
        pytest.param(
            record(tier={"enum": ["haiku"], "type": "string"}),
            record(tier=STRING),
            "tier may now be any value",
            id="any value",
        ),
        pytest.param(
            record(schema={"const": "a/1"}),
            record(schema={"const": "b/1"}),
            "schema may now be 'b/1'",
            id="const",
        ),
        pytest.param(
            record(share={"type": "number", "maximum": 1}),
            record(share={"type": "number"}),
            "share is not held to maximum 1 any more",
            id="limit",
        ),
        pytest.param(
            record(items={"type": "array", "items": record(("net",), net=STRING)}),
            record(items={"type": "array", "items": record((), net=STRING)}),
            "items[].net may be missing now",
            id="inside a list",
        ),
        pytest.param(
            record(extra={"type": "object", "additionalProperties": STRING}),
            record(extra={"type": "object", "additionalProperties": {"type": "integer"}}),
            "extra.* may now be of another type (integer)",
            id="values of a mapping",
        ),
    ],
)
def test_readers_break_over_what_they_could_not_meet_before(
    old: dict[str, Any], new: dict[str, Any], sentence: str
) -> None:
    assert for_readers(old, new) == [sentence]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(record(), record(("queue",), queue=STRING), id="a new field"),
        pytest.param(record(queue=STRING), record(("queue",), queue=STRING), id="always there"),
        pytest.param(record(n={"type": "number"}), record(n={"type": "integer"}), id="narrower"),
        pytest.param(
            record(n={"anyOf": [STRING, NULL]}), record(n=STRING), id="never null any more"
        ),
        pytest.param(record(t={"enum": ["a", "b"]}), record(t={"const": "a"}), id="fewer values"),
        pytest.param(
            record(n={"type": "number", "minimum": 0}),
            record(n={"type": "number", "minimum": 1}),
            id="tighter limit",
        ),
        pytest.param(
            record(q={**STRING, "description": "old"}),
            record(q={**STRING, "title": "Q"}),
            id="words",
        ),
    ],
)
def test_readers_do_not_break_over_more_or_narrower(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    assert for_readers(old, new) == []


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        pytest.param(
            record(("id",), id=STRING),
            record(("id", "body"), id=STRING, body=STRING),
            "body must be present now",
            id="newly required",
        ),
        pytest.param(
            record(id={"anyOf": [STRING, NULL]}),
            record(id=STRING),
            "id may not be of the type it was any more (null)",
            id="narrower type",
        ),
        pytest.param(
            record(channel={"enum": ["mail", "fax"]}),
            record(channel={"enum": ["mail"]}),
            "channel may not be 'fax' any more",
            id="fewer values",
        ),
        pytest.param(
            record(id={**STRING, "maxLength": 256}),
            record(id={**STRING, "maxLength": 64}),
            "id is held to maxLength 64 now",
            id="tighter limit",
        ),
        pytest.param(
            {**record(media_type=STRING, name=STRING), "additionalProperties": False},
            {**record(media_type=STRING), "additionalProperties": False},
            "name is not taken any more",
            id="removed where nothing else is taken",
        ),
    ],
)
def test_publishers_break_over_what_is_not_taken_any_more(
    old: dict[str, Any], new: dict[str, Any], sentence: str
) -> None:
    assert for_publishers(old, new) == [sentence]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(record(), record(channel=STRING), id="a new optional field"),
        pytest.param(record(channel=STRING), record(), id="a field that is now merely passed on"),
        pytest.param(record(("a",), a=STRING), record(a=STRING), id="not required any more"),
        pytest.param(record(t={"const": "a"}), record(t={"enum": ["a", "b"]}), id="more values"),
    ],
)
def test_publishers_do_not_break_over_what_is_taken_beside(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    assert for_publishers(old, new) == []


def test_definitions_are_followed_and_may_refer_to_themselves() -> None:
    def tree(label: dict[str, Any]) -> dict[str, Any]:
        node = record(
            ("label",), label=label, children={"type": "array", "items": {"$ref": "#/$defs/Node"}}
        )
        return {"$ref": "#/$defs/Node", "$defs": {"Node": node}}

    assert for_readers(tree(STRING), tree(STRING)) == []
    assert for_readers(tree({"enum": ["a"]}), tree({"enum": ["a", "b"]})) == [
        "label may now be 'b'"
    ]


def test_a_keyword_that_is_not_known_counts_as_changed() -> None:
    old, new = record(id={**STRING, "format": "uuid"}), record(id=STRING)
    assert for_readers(old, new) == ["id is not held to format uuid any more"]
    assert for_readers(new, old) == []
