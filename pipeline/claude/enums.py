"""Labels in another case: the API does not promise the capitalisation of enum values."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import JsonValue

_Fix = Callable[[Any], Any]


class EnumMismatch(ValueError):
    """A value is none of those that the schema allows, in any case."""


class EnumRepair:
    """Gives enum values the case they have in the schema; built once for each schema.

    Called with an answer, it returns the answer itself where nothing had to be changed, and a
    changed copy otherwise.

    Args:
        schema: As it was sent: references resolved.

    Raises:
        EnumMismatch: When called: a value is not in its enum.
    """

    __slots__ = ("_fix",)

    def __init__(self, schema: Mapping[str, JsonValue]) -> None:
        self._fix = _fix_for(schema, "")

    def __call__(self, answer: JsonValue) -> JsonValue:
        """Repair an answer."""
        repaired: JsonValue = answer if self._fix is None else self._fix(answer)
        return repaired


def _fix_for(schema: Any, path: str) -> _Fix | None:  # noqa: ANN401 - a piece of JSON
    """The repair of one place in the answer; None where there is nothing to repair."""
    match schema:
        case {"enum": values}:
            return _enum_fix(values, path)
        case {"const": value}:
            return _enum_fix([value], path)
        case {"anyOf": options}:
            return _any_of_fix([_fix_for(option, path) for option in options])
        case {"properties": properties}:
            return _object_fix(properties, path)
        case {"items": items}:
            return _array_fix(_fix_for(items, f"{path}[]"))
        case _:
            return None


def _enum_fix(values: list[Any], path: str) -> _Fix:
    exact = {value for value in values if isinstance(value, str)}
    others = [value for value in values if not isinstance(value, str)]
    folded: dict[str, str] = {}
    for value in exact:
        # Labels that differ in nothing but their case can only be told apart exactly.
        folded[value.casefold()] = "" if value.casefold() in folded else value

    def fix(value: Any) -> Any:  # noqa: ANN401 - a piece of JSON
        if not isinstance(value, str):
            if value in others:
                return value
            raise EnumMismatch(f"at {path or 'its root'} a value that is not among the allowed")
        if value in exact:
            return value
        if canonical := folded.get(value.casefold()):
            return canonical
        raise EnumMismatch(f"at {path or 'its root'} a value that is not among the allowed")

    return fix


def _any_of_fix(fixes: list[_Fix | None]) -> _Fix | None:
    if all(fix is None for fix in fixes):
        return None

    def fix(value: Any) -> Any:  # noqa: ANN401 - a piece of JSON
        mismatch: EnumMismatch | None = None
        for option in fixes:
            if option is None:
                continue
            try:
                return option(value)
            except EnumMismatch as error:
                mismatch = error
        # An option without enums takes what it takes; validation decides.
        if None in fixes or mismatch is None:
            return value
        raise mismatch

    return fix


def _object_fix(properties: Mapping[str, Any], path: str) -> _Fix | None:
    all_fixes = {
        name: _fix_for(part, f"{path}.{name}" if path else name)
        for name, part in properties.items()
    }
    fixes = [(name, found) for name, found in all_fixes.items() if found is not None]
    if not fixes:
        return None

    def fix(value: Any) -> Any:  # noqa: ANN401 - a piece of JSON
        if not isinstance(value, dict):
            return value
        changed: dict[str, Any] = {}
        for name, fix_part in fixes:
            if name in value:
                part = value[name]
                fixed = fix_part(part)
                if fixed is not part:
                    changed[name] = fixed
        return {**value, **changed} if changed else value

    return fix


def _array_fix(item: _Fix | None) -> _Fix | None:
    if item is None:
        return None

    def fix(value: Any) -> Any:  # noqa: ANN401 - a piece of JSON
        if not isinstance(value, list):
            return value
        fixed = [item(part) for part in value]
        same = all(new is old for new, old in zip(fixed, value, strict=True))
        return value if same else fixed

    return fix
