"""Whether a changed schema breaks those who rely on it.

The question has one direction: what does one schema let through that the other does not? Readers
break over what the new schema of a written topic lets through for the first time; publishers
break over what only the old schema of a raw topic let through.

It knows the keywords that pydantic writes. A keyword it does not know counts as changed as soon
as its value differs: a false alarm costs a version, a missed one costs a reader.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Literal

Schema = Mapping[str, Any]
WrittenBy = Literal["pipeline", "publishers"]

_ANNOTATIONS = frozenset({
    "$schema", "$id", "$defs", "$comment", "title", "description", "default", "examples",
    "deprecated", "readOnly", "writeOnly",
})  # fmt: skip
_STRUCTURE = frozenset({
    "type", "enum", "const", "properties", "required", "additionalProperties", "items", "anyOf",
    "oneOf", "$ref",
})  # fmt: skip
_LOWER_BOUNDS = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_UPPER_BOUNDS = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
_TYPES_OF = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


class Loosening(Enum):
    """A way in which one schema lets through what another does not: for readers, for publishers."""

    ABSENT = ("{} may be missing now", "{} must be present now")
    UNDESCRIBED = ("{} was removed", "{} is described now")
    EXTRA = ("{} is new where nothing else was allowed", "{} is not taken any more")
    VALUE = ("{} may now be {}", "{} may not be {} any more")
    TYPE = ("{} may now be of another type ({})", "{} may not be of the type it was any more ({})")
    LIMIT = ("{} is not held to {} any more", "{} is held to {} now")


@dataclass(frozen=True, slots=True)
class Difference:
    """Where and how one schema is looser than another."""

    path: str  # the field, e.g. `result.line_items[].amount`; empty for the record itself
    kind: Loosening
    detail: str = ""  # the values, types or keyword it is about


def breaks(old: Schema, new: Schema, *, written_by: WrittenBy) -> list[str]:
    """Say what of a change breaks those on the other side; empty where nothing does.

    Of a topic the pipeline writes, readers must be able to rely on the old schema; of a raw topic,
    what the old one allowed must still be taken.
    """
    if written_by == "pipeline":
        side, found = 0, looser(old, new)
        removed = {each.path for each in found if each.kind is Loosening.UNDESCRIBED}
        found = [e for e in found if not (e.kind is Loosening.ABSENT and e.path in removed)]
    else:
        # A new optional field may have been sent before, as an unknown one; that is no promise.
        side, found = 1, looser(new, old)
        found = [each for each in found if each.kind is not Loosening.UNDESCRIBED]
    return [each.kind.value[side].format(each.path or "the record", each.detail) for each in found]


def looser(strict: Schema, loose: Schema) -> list[Difference]:
    """All that `loose` lets through and `strict` does not."""
    return _Comparison(strict, loose).differences(strict, loose, "")


class _Comparison:
    def __init__(self, strict: Schema, loose: Schema) -> None:
        self._strict_definitions = strict
        self._loose_definitions = loose
        self._open: set[tuple[int, int]] = set()

    def differences(self, strict: Schema, loose: Schema, path: str) -> list[Difference]:
        strict = _resolve(strict, self._strict_definitions)
        loose = _resolve(loose, self._loose_definitions)
        pair = (id(strict), id(loose))
        if pair in self._open:  # a recursive schema: this pair is being compared already
            return []
        self._open.add(pair)
        try:
            return self._of_alternatives(strict, loose, path)
        finally:
            self._open.discard(pair)

    def _of_alternatives(self, strict: Schema, loose: Schema, path: str) -> list[Difference]:
        allowed = _alternatives(strict, self._strict_definitions)
        found: list[Difference] = []
        for alternative in _alternatives(loose, self._loose_definitions):
            # It has to fit one of the allowed ones; the nearest says best what is wrong with it.
            candidates = [self._of_one(each, alternative, path) for each in allowed]
            found += min(candidates, key=partial(_distance, path))
        return found

    def _of_one(self, strict: Schema, loose: Schema, path: str) -> list[Difference]:
        if (values := _values(strict)) is not None:
            return _new_values(values, _values(loose), path)
        expected, given = _type(strict), _type(loose)
        if (
            expected is not None
            and given != expected
            and (expected, given) != ("number", "integer")
        ):
            return [Difference(path, Loosening.TYPE, given or "any type")]
        found = [*_lifted_limits(strict, loose, path), *self._of_properties(strict, loose, path)]
        if items := strict.get("items"):
            found += self.differences(items, loose.get("items", {}), f"{path}[]")
        return found

    def _of_properties(self, strict: Schema, loose: Schema, path: str) -> Iterable[Difference]:
        expected, given = strict.get("properties", {}), loose.get("properties", {})
        for name in strict.get("required", ()):
            if name not in loose.get("required", ()):
                yield Difference(_step(path, name), Loosening.ABSENT)
        for name, declared in expected.items():
            if name in given:
                yield from self.differences(declared, given[name], _step(path, name))
            elif loose.get("additionalProperties") is not False:
                yield Difference(_step(path, name), Loosening.UNDESCRIBED)
        yield from self._of_other_properties(strict, loose, path)

    def _of_other_properties(
        self, strict: Schema, loose: Schema, path: str
    ) -> Iterable[Difference]:
        others = strict.get("additionalProperties", True)
        loose_others = loose.get("additionalProperties", True)
        if others is False:
            for name in loose.get("properties", {}):
                if name not in strict.get("properties", {}):
                    yield Difference(_step(path, name), Loosening.EXTRA)
            if loose_others is not False:
                yield Difference(_step(path, "*"), Loosening.EXTRA)
        elif others is not True and loose_others is not False:
            anything = {} if loose_others is True else loose_others
            yield from self.differences(others, anything, _step(path, "*"))


def _distance(path: str, found: list[Difference]) -> tuple[bool, int]:
    is_other_type = any(each.path == path and each.kind is Loosening.TYPE for each in found)
    return is_other_type, len(found)


def _resolve(schema: Schema, definitions: Schema) -> Schema:
    while reference := schema.get("$ref"):
        schema = definitions["$defs"][reference.removeprefix("#/$defs/")]
    return schema


def _alternatives(schema: Schema, definitions: Schema) -> list[Schema]:
    schema = _resolve(schema, definitions)
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return [each for option in options for each in _alternatives(option, definitions)]
    if isinstance(types := schema.get("type"), list):
        return [{**schema, "type": each} for each in types]
    return [schema]


def _values(schema: Schema) -> list[Any] | None:
    """The values a schema enumerates; None where it does not."""
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _type(schema: Schema) -> str | None:
    if isinstance(declared := schema.get("type"), str):
        return declared
    if values := _values(schema):
        types = {_TYPES_OF.get(type(value)) for value in values}
        return types.pop() if len(types) == 1 else None
    return "object" if "properties" in schema else None


def _new_values(expected: list[Any], given: list[Any] | None, path: str) -> list[Difference]:
    if given is None:
        return [Difference(path, Loosening.VALUE, "any value")]
    new = [value for value in given if value not in expected]
    return [Difference(path, Loosening.VALUE, ", ".join(map(repr, new)))] if new else []


def _lifted_limits(strict: Schema, loose: Schema, path: str) -> Iterable[Difference]:
    for keyword, limit in strict.items():
        if keyword in _ANNOTATIONS | _STRUCTURE or loose.get(keyword) == limit:
            continue
        if not _tighter(keyword, limit, loose.get(keyword)):
            yield Difference(path, Loosening.LIMIT, f"{keyword} {limit}")


def _tighter(keyword: str, strict: object, loose: object) -> bool:
    if not isinstance(strict, int | float) or not isinstance(loose, int | float):
        return False
    if keyword in _LOWER_BOUNDS:
        return loose >= strict
    return keyword in _UPPER_BOUNDS and loose <= strict


def _step(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
