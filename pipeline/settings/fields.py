"""What a team wants extracted beside what a stage asks anyway."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.settings.units import Section

MOST_FIELDS = 30

FieldType = Literal["text", "number", "integer", "boolean", "date", "choice", "list"]

_TAKEN = frozenset({"confidence", "unclear"})
_TRAP = re.compile(r"reasoning|thinking|thought|(?:^|_)trace(?:$|_)")
"""Sonnet may refuse to fill in a property that is called like a train of thought."""


class ExtraField(Section):
    """One value to be extracted; it is published below `result.fields`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
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
