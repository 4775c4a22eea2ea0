"""The records of the topic `trust`: published answers that were drawn, and what was said of them.

An answer is drawn when it is published, in the same transaction; its key in the topic is
`answer_key`. A label is one person's verdict on it, under `label_key`, so that the same person's
next verdict on the same answer replaces the earlier one. Both say with which chance they were
drawn: only so can shares be estimated of all that was published (Horvitz and Thompson 1952).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from pipeline.model.records import (
    MOST_COUNT,
    Provenance,
    Record,
    Source,
    Tier,
    Timestamp,
)

Chance = Annotated[float, Field(gt=0, le=1, description="Of all that could be drawn.")]
Strength = Annotated[float, Field(ge=0, le=1)]
LabelOrigin = Literal["sample", "review", "feedback"]
MOST_SIGNALS = 1000


class AnswerSignal(Record):
    """What spoke against the answer, however weakly: without its sentence, which may quote."""

    code: str
    strength: Strength
    fields: list[str] = Field(
        default=[], description="The fields of the result that it is about; empty: all of it."
    )


class SampledAnswer(Record):
    """A published answer that was drawn by lot."""

    schema_: Literal["trust.answer/1"] = Field("trust.answer/1", alias="schema")
    event_id: str
    part: int | None = Field(
        None, ge=1, le=MOST_COUNT, description="Which document, where a file holds several."
    )
    stage: str
    whose: str = Field(
        description="Keyed digest of the event's key: equal for events of one key, and says no "
        "more of it. Events of one key are not independent."
    )
    chance: Chance
    decided_by: Tier
    model: str
    label: str | None = Field(description="The label that was chosen, where the stage has labels.")
    confidence: float | None = Field(ge=0, le=1)
    signals: list[AnswerSignal] = Field(max_length=MOST_SIGNALS)
    haiku_signals: list[AnswerSignal] = Field(
        default=[],
        max_length=MOST_SIGNALS,
        description="Of the first answer, where the second tier decided.",
    )
    result: dict[str, JsonValue] | None = Field(
        description="What was published; null where the settings keep no answers here."
    )
    haiku_result: dict[str, JsonValue] | None = Field(
        None, description="What the first tier said, where the second decided."
    )
    source: Source
    provenance: Provenance
    published_at: Timestamp


class AnswerLabel(Record):
    """A verdict on one published answer."""

    schema_: Literal["trust.label/1"] = Field("trust.label/1", alias="schema")
    event_id: str
    part: int | None = Field(None, ge=1, le=MOST_COUNT)
    stage: str
    right: bool
    wrong_fields: list[str] = Field(
        default=[], description="JSON pointers into the result, where it was said which are wrong."
    )
    correction: dict[str, JsonValue] | None = Field(
        None, description="What the result should have been; null where that was not said."
    )
    person: str
    origin: LabelOrigin
    chance: Chance | None = Field(
        None,
        description="With which the answer, once drawn, was given to be labelled; null where "
        "nobody drew it, so that no share can be estimated from it.",
    )
    whose: str = Field(
        "",
        description="As of the answer, where it is known: what is forgotten of a key is found by "
        "it.",
    )
    at: Timestamp


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """A drawn answer with every verdict on it, the earliest first."""

    answer: SampledAnswer
    labels: Sequence[AnswerLabel]


def answer_key(stage: str, event_id: str, part: int | None = None) -> bytes:
    """The key of an answer in the topic."""
    return f"answer/{stage}/{part or 0}/{event_id}".encode("utf-8", "surrogatepass")


def label_key(label: AnswerLabel) -> bytes:
    """The key of a verdict in the topic: one a person and answer."""
    who = f"{label.stage}/{label.part or 0}/{label.person}/{label.event_id}"
    return f"label/{who}".encode("utf-8", "surrogatepass")
