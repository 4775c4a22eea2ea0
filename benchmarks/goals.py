"""Goals, and whether they were reached: what every part of `make bench-gateway` comes to."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Goal:
    """One thing that was to be shown.

    Args:
        what: In words.
        wanted: The bound, in words.
        found: What was measured, in words.
        held: Whether it is within the bound.
    """

    what: str
    wanted: str
    found: str
    held: bool


def at_most(what: str, found: float, bound: float, unit: str = "") -> Goal:
    """A goal that is held by what is not larger than the bound."""
    return Goal(what, f"at most {bound:g}{unit}", f"{_short(found)}{unit}", found <= bound)


def at_least(what: str, found: float, bound: float, unit: str = "") -> Goal:
    """A goal that is held by what is not smaller than the bound."""
    return Goal(what, f"at least {bound:g}{unit}", f"{_short(found)}{unit}", found >= bound)


@dataclass(frozen=True, slots=True)
class Table:
    """What was measured, for people.

    Args:
        headings: Of the columns.
        rows: Cells, as they are to be shown.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Part:
    """What one benchmark came to.

    Args:
        name: Short; its section of the document is found by it.
        title: Of that section.
        about: What was done, and how it was counted.
        tables: What was measured.
        goals: What was to be shown.
        data: The same figures for programs.
        remarks: What a reader must know, a paragraph each.
    """

    name: str
    title: str
    about: str
    tables: Sequence[Table]
    goals: Sequence[Goal]
    data: Mapping[str, Any]
    remarks: Sequence[str] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether every goal is held."""
        return all(goal.held for goal in self.goals)

    def as_json(self) -> dict[str, Any]:
        """For the last line of the output."""
        goals = [asdict(goal) for goal in self.goals]
        return {"part": self.name, **self.data, "goals": goals, "ok": self.ok}


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"  # noqa: PLR2004
