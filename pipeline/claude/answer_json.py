"""JSON as models and gateways write it: fenced, with text around it, with half a surrogate. Pure.

The answer that a schema was sent for is mostly one JSON object and nothing else. Where it is not,
what is meant can mostly be read all the same; what would have to be guessed is reported beside it.

Labels in another case: the API does not promise the capitalisation of enum values.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson
from pydantic import JsonValue

LONGEST = 1_000_000
"""Characters of an answer: more than any limit on its tokens lets through."""
_LONGEST_SEARCHED = 200_000
_MOST_STARTS = 16
"""Places where an object may begin: each that does not end makes the decoder read on to the end."""
_BOM = "\ufeff"
_AROUND = _BOM + " \t\r\n"
_REPLACEMENT = "\ufffd"
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f]")
_REPEATED = "An object in the answer has a key twice."
_NUL = "A text in the answer has the character U+0000."


@dataclass(frozen=True, slots=True)
class Found:
    """A JSON object in a text.

    Args:
        value: The object. Where a key stands twice in it, with the last value.
        json: The same, without what stands around it.
        faults: What makes it doubtful although it can be read, a sentence each.
    """

    value: dict[str, Any]
    json: bytes
    faults: tuple[str, ...] = ()


def load(body: bytes | str) -> Any:  # noqa: ANN401 - any JSON value
    """Parse what a server wrote: half a surrogate in it becomes U+FFFD.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body if isinstance(body, str) else body.decode("utf-8", "replace")
        try:
            return _each_text(_LENIENT.decode(text.strip(_AROUND)), _whole)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None


def find(text: str) -> Sequence[Found]:
    """The answer in what a model wrote; several where it wrote several that differ.

    What stands around it does not matter: a fence, a sentence, a byte order mark.
    """
    text = text.strip(_AROUND)
    if len(text) > LONGEST:
        return ()
    with suppress(ValueError, RecursionError):
        value = _STRICT.decode(text)
        # What escapes stand for has to be looked at.
        if isinstance(value, dict) and "\\u" not in text:
            return (Found(value, text.encode("utf-8", "replace")),)
    return tuple({found.json: found for found in _objects_in(text)}.values())


def dumps(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Write JSON; numbers of any size."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def with_literal_numbers(found: bytes) -> bytes:
    """The same JSON with each number as a text of its very digits."""
    return dumps(json.loads(found, parse_float=str, parse_int=str))


def _objects_in(text: str) -> Iterator[Found]:
    at = 0
    for _ in range(_MOST_STARTS):
        at = text.find("{", at, _LONGEST_SEARCHED)
        if at < 0:
            return
        repeated: list[str] = []
        try:
            value, end = _lenient(repeated).raw_decode(text, at)
            yield _cleaned(value, text[at:end], repeated)
        except (ValueError, RecursionError):
            at += 1
        else:
            at = end


def _cleaned(value: dict[str, Any], written: str, faults: list[str]) -> Found:
    def without_nul(text: str) -> str:
        if "\0" in text:
            faults.append(_NUL)
        return _whole(text).replace("\0", _REPLACEMENT)

    cleaned = _each_text(value, without_nul)
    # Characters below U+0020 are allowed between tokens only, where they do not matter.
    is_plain = cleaned == value and not faults and not _CONTROL.search(written)
    as_json = written.encode("utf-8", "replace") if is_plain else dumps(cleaned)
    return Found(cleaned, as_json, tuple(dict.fromkeys(faults)))


def _each_text(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 - any JSON value
    match value:
        case str():
            return change(value)
        case list():
            return [_each_text(part, change) for part in value]
        case dict():
            return {change(name): _each_text(part, change) for name, part in value.items()}
        case _:
            return value


def _whole(text: str) -> str:
    return text if text.isascii() else _SURROGATE.sub(_REPLACEMENT, text)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError(_REPEATED)
    return value


_STRICT = json.JSONDecoder(object_pairs_hook=_without_repetition, parse_constant=_refuse)
_LENIENT = json.JSONDecoder(parse_constant=_refuse, strict=False)


def _lenient(faults: list[str]) -> json.JSONDecoder:
    """A decoder that takes line breaks in texts, and notes the objects with a key twice."""

    def pairs_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            faults.append(_REPEATED)
        return value

    return json.JSONDecoder(object_pairs_hook=pairs_of, parse_constant=_refuse, strict=False)


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
        # Labels that differ in nothing but their case can only be distinguished exactly.
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
