"""A team's own categories, and what it wants extracted beside what a stage asks anyway."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.units import Section

MOST_AT_ONCE = 20
"""Labels that one question offers; more are asked in two levels: first a group, then a label."""
MOST_LABELS = 200
"""Without groups of the team's own: more would make groups of more than 20."""


class Label(Section):
    """One category of a team's own taxonomy."""

    name: str = Field(pattern=r"^[\w.-]{1,64}$", description="what the model answers")
    description: str = Field("", max_length=500, description="for the model: what distinguishes it")
    examples: list[str] = Field(
        default_factory=list, description="for the model; from three on, far texts are doubted"
    )
    queue: str | None = Field(None, description="where such tickets go; the label's name if unset")
    group: str | None = Field(
        None,
        pattern=r"^[\w.-]{1,64}$",
        description="of more than 20 labels: what is asked first; groups are formed if unset",
    )


LabelT = TypeVar("LabelT", bound=Label)


def checked_labels(labels: list[LabelT]) -> list[LabelT]:
    """Refuse labels that cannot be distinguished, or groups that do not make the choice smaller."""
    _refuse_equal_names(labels)
    if len(labels) > MOST_AT_ONCE:
        _refuse_bad_groups(labels)
    return labels


def _refuse_equal_names(labels: Sequence[Label]) -> None:
    """Answers are compared without case."""
    folded = [label.name.casefold() for label in labels]
    if twice := sorted({name for name in folded if folded.count(name) > 1}):
        raise ValueError(f"labels that differ in case only, or not at all: {', '.join(twice)}")


def _refuse_bad_groups(labels: Sequence[Label]) -> None:
    without = [label.name for label in labels if label.group is None]
    if len(without) == len(labels):
        if len(labels) > MOST_LABELS:
            raise ValueError(
                f"{len(labels)} labels: give each a `group`, or have {MOST_LABELS} at most"
            )
        return
    if without:
        raise ValueError(f"give all labels a `group`, or none; without one: {', '.join(without)}")
    sizes = Counter(label.group for label in labels)
    if large := sorted(f"{name} ({size})" for name, size in sizes.items() if size > MOST_AT_ONCE):
        raise ValueError(f"groups of more than {MOST_AT_ONCE} labels: split {', '.join(large)}")
    if len(sizes) > MOST_AT_ONCE:
        raise ValueError(f"{len(sizes)} groups: have {MOST_AT_ONCE} at most")
    if twice := sorted(_differing_in_case_only([str(name) for name in sizes])):
        raise ValueError(f"groups that differ in case only: {', '.join(twice)}")


def _differing_in_case_only(names: Sequence[str]) -> list[str]:
    folded = Counter(name.casefold() for name in names)
    return [name for name in names if folded[name.casefold()] > 1]


Labels = Annotated[list[Label], Field(min_length=2), AfterValidator(checked_labels)]
MOST_FIELDS = 30
FieldType = Literal["text", "number", "integer", "boolean", "date", "choice", "list"]
_TAKEN = frozenset({"confidence", "unclear"})
_TRAP = re.compile(r"reasoning|thinking|thought|(?:^|_)trace(?:$|_)")
"""Sonnet may refuse to fill in a property that is called like a train of thought."""


class ExtraField(Section):
    """One value to be extracted; it is published below `result.fields`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$", description="below `result.fields`")
    type: FieldType = Field(
        "text", description="number: a decimal string; date: YYYY-MM-DD; list: of texts"
    )
    description: str = Field(min_length=1, max_length=500, description="for the model")
    choices: list[str] = Field(default_factory=list, description="of the type choice")
    required: bool = Field(False, description="its absence is a doubt (`missing_field`)")
    quoted: bool = Field(
        True,
        description="texts, numbers and dates must occur in the event's text, or are a doubt",
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.name in _TAKEN or _TRAP.search(self.name):
            raise ValueError(f"a field cannot be called {self.name!r}: choose another name")
        if (self.type == "choice") != bool(self.choices):
            raise ValueError(f"{self.name}: `choices` go with the type choice, and only with that")
        folded = [choice.strip().casefold() for choice in self.choices]
        if self.choices and (len(set(folded)) < len(folded) or len(folded) < 2 or "" in folded):  # noqa: PLR2004
            raise ValueError(f"{self.name}: `choices` are two or more that differ, none empty")
        return self


def _unique_fields(fields: list[ExtraField]) -> list[ExtraField]:
    names = [field.name for field in fields]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"fields of the same name: {', '.join(twice)}")
    return fields


ExtraFields = Annotated[
    list[ExtraField], Field(max_length=MOST_FIELDS), AfterValidator(_unique_fields)
]


class Extracting(Section):
    """What the settings of a stage have that extracts what a team wants."""

    fields: ExtraFields = Field(
        default_factory=list, description="further values to extract, into `result.fields`"
    )
