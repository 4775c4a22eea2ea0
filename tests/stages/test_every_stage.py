"""What holds for every stage, whatever it asks."""

import contextlib
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.claude.request_body import api_schema
from pipeline.config import StagesSettings, Thresholds
from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import Question
from pipeline.stages.api import Answer, RawEvent, Rewording, Stage, build_stages
from pipeline.stages.files.raw_events import from_json_object, to_json_object
from tests.stages.asking import single
from tests.stages.raw_events import RAW

MAX_UNIONS = 16
"""Union-typed properties the API takes in a request."""
MIN_CACHEABLE_CHARS = 512 * 4
"""The tokenizer takes 2.5 characters a token; four leave room for being wrong."""

STAGES = build_stages(StagesSettings())
CODES = set(Thresholds.model_fields) - {"other"}
each_stage = pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
AnyStage = Stage[Any, Any]


def about(stage: AnyStage, event: RawEvent) -> Question[Any]:
    return single(stage.question(event))


def asked(stage: AnyStage) -> Question[Any]:
    return about(stage, stage.parse(RAW[stage.name], key=None, headers={}))


def parts_of(schema: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - a piece of JSON
    if isinstance(schema, dict):
        yield schema
        for part in schema.values():
            yield from parts_of(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from parts_of(part)


@each_stage
def test_it_is_found_under_its_name(stage: AnyStage) -> None:
    assert STAGES[stage.name] is stage
    assert re.fullmatch(r"[a-z]+", stage.name)
    assert stage.name in StagesSettings.model_fields


@each_stage
def test_its_static_prompt_is_long_enough_to_be_cached(stage: AnyStage) -> None:
    assert len(asked(stage).instructions) >= MIN_CACHEABLE_CHARS


@each_stage
def test_its_prompt_does_not_depend_on_the_event(stage: AnyStage) -> None:
    event = stage.parse(RAW[stage.name], key=None, headers={})
    other = event.model_copy(update={"id": "other"})
    assert about(stage, event).instructions == about(stage, other).instructions
    assert about(stage, event).digest == about(stage, other).digest
    assert event.id not in asked(stage).instructions


def whole_questions() -> str:
    """A digest of all that is asked of the raw events, in the first words and in others."""
    digest = hashlib.sha256()
    for name, stage in STAGES.items():
        event = stage.parse(RAW[name], key=None, headers={})
        asked = [about(stage, event)]
        if isinstance(stage, Rewording):
            asked.append(single(stage.second_question(event)))
        for each in asked:
            digest.update(each.instructions.encode() + orjson.dumps(dict(each.answer_schema)))
            digest.update(each.digest.encode())
    return digest.hexdigest()


def test_prompts_schemas_and_other_words_are_the_same_in_every_process() -> None:
    program = "from tests.stages.test_every_stage import whole_questions as of; print(of())"
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


@each_stage
def test_its_prompt_says_that_content_is_data_and_how_to_state_doubt(stage: AnyStage) -> None:
    instructions = asked(stage).instructions
    titles = re.findall(r"^## (.+)$", instructions, re.MULTILINE)
    assert titles[0] == "Content is data"
    assert titles[1] == "What to answer"
    assert titles[-1] == "What you state about your answer"
    assert instructions.endswith("\n")


@each_stage
def test_its_prompt_explains_every_property_that_is_asked(stage: AnyStage) -> None:
    question = asked(stage)
    properties = question.answer_schema["properties"]
    assert isinstance(properties, dict)
    unexplained = [name for name in properties if f"`{name}`" not in question.instructions]
    assert not unexplained


@each_stage
def test_nothing_in_its_prompt_or_schema_is_named_like_a_train_of_thought(stage: AnyStage) -> None:
    question = asked(stage)
    trap = re.compile(r"reasoning|thinking|thoughts?\b|\btrace\b|chain of", re.IGNORECASE)
    assert not trap.search(question.instructions)
    assert not trap.search(str(question.answer_schema))


@each_stage
def test_its_schema_is_valid_and_within_what_the_api_takes(stage: AnyStage) -> None:
    schema = api_schema(asked(stage).answer_schema)
    jsonschema.Draft202012Validator.check_schema(schema)
    allowed = {
        "type", "enum", "description", "properties", "required", "additionalProperties", "items",
        "anyOf",
    }  # fmt: skip
    for part in parts_of(schema):
        if "type" in part and isinstance(part["type"], str):
            assert set(part) <= allowed
        if part.get("type") == "object":
            assert part["additionalProperties"] is False
            assert part["required"] == list(part["properties"])
    assert sum("anyOf" in part for part in parts_of(schema)) <= MAX_UNIONS


@each_stage
def test_evidence_is_asked_first_and_the_statement_last(stage: AnyStage) -> None:
    properties = asked(stage).answer_schema["properties"]
    assert isinstance(properties, dict)
    names = list(properties)
    assert names[-2:] == ["confidence", "unclear"]
    assert names[0] not in {"confidence", "unclear"}


@each_stage
def test_an_event_survives_escalation(stage: AnyStage) -> None:
    event = stage.parse(RAW[stage.name], key=None, headers={})
    assert from_json_object(stage.raw_model, to_json_object(event)) == event
    lenient = stage.raw_model.model_validate(event.model_dump(mode="json"), strict=False)
    assert about(stage, lenient).digest == about(stage, event).digest


@each_stage
def test_its_published_result_is_described(stage: AnyStage) -> None:
    schema = stage.result_model.model_json_schema(mode="serialization")
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False


def answers(stage: AnyStage) -> st.SearchStrategy[Answer]:
    """Any answer that the schema allows."""
    schema = api_schema(asked(stage).answer_schema)
    return values_of(schema).map(asked(stage).answer_model.model_validate)


def values_of(schema: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - a piece of JSON
    if "anyOf" in schema:
        return st.one_of([values_of(option) for option in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "object":
        parts = {name: values_of(part) for name, part in schema["properties"].items()}
        return st.fixed_dictionaries(parts)
    if schema["type"] == "array":
        return st.lists(values_of(schema["items"]), max_size=3)
    return SCALARS[schema["type"]]


SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=20)
    | st.sampled_from(["2025-01-31", "2025-02-30", "12.50", "-1", "EUR", "en", "n/a", "refund"]),
    "number": st.floats(-1, 100) | st.floats(0, 1),
    "integer": st.integers(0, 100),
    "boolean": st.booleans(),
    "null": st.none(),
}


@each_stage
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_the_schema_allows_can_be_judged_and_published(
    stage: AnyStage, data: st.DataObject
) -> None:
    event = stage.parse(RAW[stage.name], key=None, headers={})
    answer = data.draw(answers(stage))
    for signal in stage.signals(event, answer):
        assert signal.code in CODES
        assert 0 <= signal.strength <= 1
        assert signal.detail.endswith(".")
        names = {name.partition(".")[0] for name in signal.fields}
        assert names <= stage.result_model.model_fields.keys()
    result = stage.result(event, answer)
    assert isinstance(result, stage.result_model)
    published = result.model_dump(mode="json")
    validator = jsonschema.Draft202012Validator(
        stage.result_model.model_json_schema(mode="serialization")
    )
    validator.validate(published)
    assert stage.result_model.model_validate(published) == result


@each_stage
@settings(max_examples=40)
@given(value=st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_dead_letter(stage: AnyStage, value: bytes) -> None:
    with contextlib.suppress(InvalidEvent):
        assert isinstance(stage.parse(value, key=b"k", headers={}), stage.raw_model)


@each_stage
def test_an_event_that_is_too_large_is_refused_unread(stage: AnyStage) -> None:
    with pytest.raises(InvalidEvent, match="bytes; at most"):
        stage.parse(b" " * ((8 << 20) + 1), key=b"k", headers={})
