"""Roles, and who has which. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from pipeline.config.desk import AccessSettings, RoleName

_LONGEST_NAME = 100
"""Characters: what the audit topic takes."""


class Role(IntEnum):
    """Each may do what those before it may."""

    READER = 1  # sees events and what became of them
    REVIEWER = 2  # gives verdicts and labels
    OPERATOR = 3  # replays dead letters

    @classmethod
    def of(cls, name: RoleName) -> "Role":
        return cls[name.upper()]


@dataclass(frozen=True, slots=True)
class Person:
    """Who does something; `name` is what the audit topic calls them."""

    name: str
    role: Role


def usable_name(name: object) -> str | None:
    """A name that can be shown and kept, or None."""
    if not isinstance(name, str):
        return None
    name = name.strip()
    return name if 0 < len(name) <= _LONGEST_NAME and name.isprintable() else None


class RoleRules:
    """Who has which role, by the settings.

    Names are compared without case, as mail addresses are; groups with it.
    """

    def __init__(self, settings: AccessSettings) -> None:
        self._groups: Mapping[str, RoleName] = settings.groups
        self._people = {name.casefold(): role for name, role in settings.people.items()}
        self._everyone = settings.everyone

    def role_of(self, name: str, groups: Iterable[str]) -> Role | None:
        """The highest of their roles; None where they have none."""
        named = [self._people.get(name.casefold()), self._everyone]
        named += [self._groups.get(group) for group in groups]
        return max((Role.of(each) for each in named if each is not None), default=None)
