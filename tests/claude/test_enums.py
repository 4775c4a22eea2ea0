from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from pipeline.claude.responses import EnumMismatch, repair_enums

LABELS: list[JsonValue] = ["billing", "technical_support", "Straße"]
SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "enum": LABELS},
        "other": {"anyOf": [{"type": "string", "enum": LABELS}, {"type": "null"}]},
        "many": {"type": "array", "items": {"type": "string", "enum": LABELS}},
        "kind": {"const": "ticket"},
        "free": {"type": "string"},
    },
}
RIGHT: dict[str, JsonValue] = {
    "label": "billing",
    "other": None,
    "many": ["billing"],
    "kind": "ticket",
    "free": "BILLING",
}


def test_an_answer_that_is_right_is_returned_itself() -> None:
    assert repair_enums(RIGHT, SCHEMA) is RIGHT


@given(
    st.sampled_from([str(label) for label in LABELS]),
    st.sampled_from([str.upper, str.lower, str.title, str.swapcase]),
)
def test_labels_get_the_case_of_the_schema_wherever_they_stand(
    label: str, change: Callable[[str], str]
) -> None:
    changed = change(label)
    repaired = repair_enums(
        {"label": changed, "other": changed, "many": [changed], "kind": "TICKET", "free": changed},
        SCHEMA,
    )
    assert repaired == {
        "label": label,
        "other": label,
        "many": [label],
        "kind": "ticket",
        "free": changed,
    }


@pytest.mark.parametrize("value", ["weather", "", 3, True, None, ["billing"]])
def test_a_value_that_is_no_label_in_any_case_is_a_mismatch(value: JsonValue) -> None:
    with pytest.raises(EnumMismatch, match="label"):
        repair_enums({**RIGHT, "label": value}, SCHEMA)


def test_labels_that_differ_in_case_alone_must_match_exactly() -> None:
    schema = {"enum": ["us", "US"]}
    assert repair_enums("US", schema) == "US"
    assert repair_enums("us", schema) == "us"
    with pytest.raises(EnumMismatch):
        repair_enums("Us", schema)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_an_answer_of_another_form_is_left_to_validation(answer: JsonValue) -> None:
    assert repair_enums(answer, SCHEMA) is answer
    assert repair_enums(answer, {"type": "array", "items": SCHEMA}) == answer
