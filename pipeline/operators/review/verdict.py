"""A person's verdict, and the enriched record that it makes. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel, JsonValue, ValidationError

from pipeline.cascade.publishing import enriched as enriched_record
from pipeline.cascade.publishing import publication
from pipeline.config import Settings
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import UsageError
from pipeline.model.records import Review, Tier, Timing
from pipeline.operators.review.item import ReviewItem
from pipeline.stages.api import Stage, label_of
from pipeline.stream.records import Outgoing

AnyStage = Stage[Any, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person decided.

    Args:
        given: The whole result; None where an answer is accepted.
        accepted: Whose answer is right; None where a result is given.
        changes: Fields that are set on top of it.
    """

    given: Mapping[str, JsonValue] | None = None
    accepted: Tier | None = None
    changes: Mapping[str, JsonValue] = field(default_factory=dict)


def parse_changes(texts: Sequence[str]) -> dict[str, JsonValue]:
    """Read `FIELD=VALUE`; a value that is JSON is taken as that, any other as text.

    Raises:
        UsageError: There is no `=`.
    """
    changes: dict[str, JsonValue] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{text!r} is no FIELD=VALUE.")
        try:
            changes[name] = json.loads(value)
        except json.JSONDecodeError:
            changes[name] = value
    return changes


def parse_result(text: str) -> dict[str, JsonValue]:
    """Read a result.

    Raises:
        UsageError: It is not a JSON object.
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"The result is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise UsageError("The result must be a JSON object with the fields of the stage's result.")
    return found


def result_of(verdict: Verdict, case: ReviewItem, stage: AnyStage, settings: Settings) -> BaseModel:
    """The result that a verdict means, held to what the stage publishes.

    Raises:
        UsageError: The accepted answer is not there, a field is wrong, or the label is unknown.
    """
    fields = {**_begun(verdict, case.review), **verdict.changes}
    try:
        result: BaseModel = stage.result_model.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(step) for step in fault['loc'])}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise UsageError(f"This is no result of {stage.name}: {faults}.") from None
    _check_label(result, stage, settings)
    return result


def enriched(
    case: ReviewItem, stage: AnyStage, result: BaseModel, topics: TopicNames, now: datetime
) -> Outgoing:
    """The record that says what a person decided.

    Args:
        case: What was to be decided.
        stage: Whose event it is.
        result: What is published as `result`.
        topics: Where the results of the stage go.
        now: When.
    """
    review = case.review
    try:
        event = stage.raw_model.model_validate(review.event, strict=False)
    except ValidationError:  # another version of the stage read it; people could still decide
        event = None
    record = enriched_record(
        stage,
        event,
        result,
        event_id=review.event_id,
        decided_by="human",
        confidence=None,
        escalated=(review.doubts, _still_valid(review, stage)),
        model=review.model,
        usage=review.usage,
        source=review.source,
        timing=Timing(
            received_at=review.timing.received_at,
            enriched_at=now,
            model_seconds=review.timing.model_seconds,
        ),
    )
    return publication(case.record, record, topics).records[0]


def _begun(verdict: Verdict, review: Review) -> Mapping[str, JsonValue]:
    if verdict.given is not None:
        return verdict.given
    if verdict.accepted is None:
        raise UsageError(
            "Say what is right: --result JSON, --result @FILE, or --accept haiku|sonnet."
        )
    answer = review.haiku_result if verdict.accepted is Tier.HAIKU else review.sonnet_result
    if answer is None:
        raise UsageError(
            f"{verdict.accepted.value.title()} gave no usable answer here: give one with --result."
        )
    return answer


def _check_label(result: BaseModel, stage: AnyStage, settings: Settings) -> None:
    """The result's own model takes any label; the team's taxonomy does not."""
    label = label_of(stage, result)
    section = getattr(settings.stages, stage.name, None)
    known = [each.name for each in section.deciding_labels()] if section is not None else []
    if known and label is not None and label not in known:
        raise UsageError(f"{label!r} is no label of {stage.name}; there are {', '.join(known)}.")


def _still_valid(review: Review, stage: AnyStage) -> BaseModel | None:
    """Haiku's answer, unless the stage has changed since and would not publish it any more."""
    if review.haiku_result is None:
        return None
    try:
        found: BaseModel = stage.result_model.model_validate_json(json.dumps(review.haiku_result))
    except ValidationError:
        return None
    return found
