"""A team's own categories."""

from typing import Annotated

from pydantic import AfterValidator, Field

from pipeline.settings.units import Section


class Label(Section):
    """One category of a team's own taxonomy."""

    name: str = Field(pattern=r"^[\w.-]{1,64}$")
    description: str = Field("", max_length=500)
    examples: list[str] = Field(default_factory=list)
    queue: str | None = Field(None, description="where such tickets go; the label's name if unset")


def unique_names(labels: list[Label]) -> list[Label]:
    """Refuse labels that a model could not tell apart: answers are compared without case."""
    folded = [label.name.casefold() for label in labels]
    if twice := sorted({name for name in folded if folded.count(name) > 1}):
        raise ValueError(f"labels that differ in case only, or not at all: {', '.join(twice)}")
    return labels


Labels = Annotated[list[Label], Field(min_length=2), AfterValidator(unique_names)]
