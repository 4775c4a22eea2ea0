"""A team's own categories."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field

from pipeline.settings.units import Section

MOST_AT_ONCE = 20
"""Labels that one question offers; more are asked in two levels: first a group, then a label."""
MOST_LABELS = 200
"""Without groups of the team's own: more would make groups of more than 20."""


class Label(Section):
    """One category of a team's own taxonomy."""

    name: str = Field(pattern=r"^[\w.-]{1,64}$")
    description: str = Field("", max_length=500)
    examples: list[str] = Field(default_factory=list)
    queue: str | None = Field(None, description="where such tickets go; the label's name if unset")
    group: str | None = Field(
        None,
        pattern=r"^[\w.-]{1,64}$",
        description="of more than 20 labels: what is asked first; groups are formed if unset",
    )


LabelT = TypeVar("LabelT", bound=Label)


def checked_labels(labels: list[LabelT]) -> list[LabelT]:
    """Refuse labels that cannot be told apart, or groups that do not make the choice smaller."""
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


class Scoped(Section):
    """What the settings of a stage have that compares texts with the examples of its labels."""

    scope: Literal["words", "encoder"] = Field(
        "words",
        description="what tells how like the labels' examples a text is: the words they share, or "
        "a sentence encoder (the extra `encoder`)",
    )
