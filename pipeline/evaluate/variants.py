"""Other settings to compare with those in force, given as `NAME=VALUE`."""

import re
from collections.abc import Sequence
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from pipeline.errors import WrongUse
from pipeline.settings import Settings

_BETWEEN = re.compile(r",(?=\s*[\w.]+=)")
"""A comma before the next name; those within a value are the value's."""
_ROOTS = frozenset({"stages", "models", "claude"})


def variant(settings: Settings, stage: str, changes: str) -> Settings:
    """The settings with some of them changed.

    Args:
        settings: In force.
        stage: Whose settings are meant where a name does not begin with a table.
        changes: Comma-separated, e.g. `events_per_request=8` or
            `models.haiku=claude-haiku-4-5,thresholds.low_confidence=0.2`.

    Raises:
        WrongUse: There is no such setting, or it cannot have that value.
    """
    changed = settings
    for change in _BETWEEN.split(changes):
        name, equals, value = change.strip().partition("=")
        if not equals:
            raise WrongUse(f"{change!r} is not NAME=VALUE, e.g. events_per_request=8.")
        path = name.split(".")
        if path[0] not in _ROOTS:
            path = ["stages", stage, *path]
        changed = _with(changed, path, _value(value), name)
    return changed


def _with(section: Any, path: Sequence[str], value: object, name: str) -> Any:  # noqa: ANN401 - any table of settings
    first, *rest = path
    if not isinstance(section, BaseModel) or first not in type(section).model_fields:
        raise WrongUse(f"There is no setting {name!r}.")
    new = _with(getattr(section, first), rest, value, name) if rest else value
    if rest:
        return section.model_copy(update={first: new})
    try:
        return type(section).model_validate({**_fields(section), first: new})
    except ValidationError as error:
        why = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise WrongUse(f"{name} cannot be {value!r}: {why}.") from error


def _fields(section: BaseModel) -> dict[str, object]:
    return {name: getattr(section, name) for name in type(section).model_fields}


def _value(text: str) -> object:
    """JSON where it is some, else the text as it stands."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
