"""What is known of models: the API's own word first, else the table's."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.model_facts import (
    MODELS,
    STANDARD_RESOLUTION,
    UNKNOWN,
    Traits,
    facts_of,
    known,
)
from pipeline.local.simulated.served_models import MODELS as SERVED
from pipeline.local.simulated.served_models import describe_model
from pipeline.model.questions import HIGH_RESOLUTION

YES, NO = {"supported": True}, {"supported": False}
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def described(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """A model of tomorrow, as the API would describe it."""
    thinking = {"adaptive": YES, "disabled": YES, "between_tools": NO, "enabled": NO}
    capabilities = {
        "effort": {"supported": True, "low": YES},
        "thinking": {"supported": True, "types": {**thinking, **changes.pop("types", {})}},
        "structured_outputs": YES,
        "image_input": YES,
        "pdf_input": YES,
        "batch": YES,
        **changes.pop("capabilities", {}),
    }
    return {"type": "model", "lifecycle": "active", "capabilities": capabilities, **changes}


@pytest.mark.parametrize("model", sorted(SERVED))
def test_what_the_api_says_of_a_model_is_what_the_table_has(model: str) -> None:
    assert facts_of(model, describe_model(model)).traits == known(model).traits


def test_a_model_that_the_table_lacks_is_asked_as_the_api_describes_it() -> None:
    model = "claude-haiku-9"
    assert known(model).traits == UNKNOWN
    assert facts_of(model, described()).traits == Traits(thinking="disabled", takes_effort=True)
    between = described(types={"disabled": NO, "between_tools": YES})
    assert facts_of(model, between).traits.thinking == "between_tools"
    always = facts_of(model, described(types={"disabled": NO})).traits
    assert always == Traits(takes_effort=True, thinking_room=UNKNOWN.thinking_room)
    # What knows no adaptive thinking thinks only when it is asked to.
    earlier = described(types={"adaptive": NO}, capabilities={"effort": NO})
    assert facts_of(model, earlier).traits == Traits()


def test_a_retirement_is_the_apis_word_and_not_the_tables() -> None:
    model = "claude-sonnet-4-5"
    assert facts_of(model).retires == date(2026, 11, 30)
    assert facts_of(model, described()).retires is None
    moved = described(lifecycle="deprecated", retires_at="2027-03-01T00:00:00Z")
    facts = facts_of(model, moved)
    assert (facts.lifecycle, facts.retires) == ("deprecated", date(2027, 3, 1))


def test_what_a_model_lacks_is_told() -> None:
    without = described(capabilities={"structured_outputs": NO, "image_input": NO})
    assert facts_of("claude-haiku-9", without).lacks == {"structured_outputs", "image_input"}
    assert facts_of("claude-haiku-9", described()).lacks == set()


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"id": "claude-haiku-5-5", "object": "model", "owned_by": "anthropic"},
        {"lifecycle": "asleep"},
        {"lifecycle": None, "retires_at": None, "capabilities": {}},
        {"capabilities": {"thinking": {"types": []}}},
        {"capabilities": None},
    ],
)
def test_what_a_gateway_serves_instead_changes_nothing(description: dict[str, Any]) -> None:
    for model in ("claude-haiku-5-5", "claude-sonnet-4-5", "our-deployment"):
        assert facts_of(model, description) == facts_of(model)


@given(st.dictionaries(st.sampled_from(["lifecycle", "retires_at", "capabilities", "x"]), json))
def test_nothing_that_is_served_is_an_error(description: dict[str, Any]) -> None:
    facts_of("claude-haiku-5-5", description)


@pytest.mark.parametrize(
    "model", ["claude-3-5-haiku-20241022", "claude-3-opus-20240229", "claude-opus-4-0"]
)
def test_models_that_have_retired_are_in_the_table(model: str) -> None:
    end = facts_of(model).retires
    assert end is not None
    assert end < date(2026, 7, 1)


def test_images_are_seen_in_high_resolution_from_claude_4_7_on() -> None:
    low = {model for model, each in MODELS.items() if each.images == STANDARD_RESOLUTION}
    assert {"claude-haiku-4-5", "claude-sonnet-4-6", "claude-opus-4-6"} <= low
    assert known("anthropic.claude-haiku-5-5").images == HIGH_RESOLUTION
    assert known("claude-opus-4-7").images == HIGH_RESOLUTION
    assert known("our-deployment").images == HIGH_RESOLUTION
