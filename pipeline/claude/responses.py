"""What comes back of a request, and what an answer means: bytes in, a verdict out. Pure.

The answer that a schema was sent for is mostly one JSON object and nothing else. Where it is not,
fenced, with text around it or with half a surrogate, what is meant can mostly be read all the
same; what would have to be guessed is reported beside it. The usage is never lost.
"""

import json
import logging
import re
import traceback
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NoReturn, Protocol

import orjson
from pydantic import JsonValue, ValidationError

from pipeline.claude.billing import Tokens
from pipeline.model.errors import (
    AnswerError,
    Malformed,
    NoRoom,
    Refused,
    StageFailed,
    TruncatedResponse,
)
from pipeline.model.questions import AnswerT, Signal

log = logging.getLogger(__name__)


@dataclass(slots=True)
class HttpReply:
    """A response, whatever its status, as received; `headers` are found by lower-case names."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    _parsed: dict[str, Any] | None = field(init=False, repr=False, compare=False, default=None)

    def document(self) -> dict[str, Any]:
        """The JSON object in the body, parsed once; an empty one where there is something else."""
        if self._parsed is None:
            try:
                parsed = orjson.loads(self.body)
            except orjson.JSONDecodeError:
                parsed = None
                with suppress(ValueError):
                    parsed = load(self.body)
            self._parsed = parsed if isinstance(parsed, dict) else {}
        return self._parsed

    @property
    def message_id(self) -> str | None:
        found = self.document().get("id")
        return found if isinstance(found, str) and found else None


@dataclass(frozen=True, slots=True)
class NoReply:
    """No response; `sent`: the request may have reached the API all the same.

    `no_key`: nothing was sent, because there are no credentials.
    """

    why: Literal["timed_out", "disconnected", "no_key"]
    detail: str
    sent: bool


class Client(Protocol):
    """Sends one request, once, within `seconds`, reading included."""

    async def send(self, body: bytes, *, seconds: float) -> HttpReply | NoReply: ...

    async def post(self, path: str, body: bytes, *, seconds: float) -> HttpReply | NoReply: ...

    async def get(self, path: str, *, seconds: float) -> HttpReply | NoReply: ...

    def lines(
        self, path: str, *, seconds: float
    ) -> AsyncGenerator[str | HttpReply | NoReply, None]:
        """Each line within `seconds`; what is not a line says why there are no more."""
        ...


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
    """A JSON object in a text; `faults` make it doubtful although it can be read."""

    value: dict[str, Any]
    json: bytes
    faults: tuple[str, ...] = ()


def load(body: bytes | str) -> Any:  # noqa: ANN401 - any JSON value
    """Parse what a server wrote: half a surrogate becomes U+FFFD. ValueError if it is no JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body if isinstance(body, str) else body.decode("utf-8", "replace")
        lenient = json.JSONDecoder(parse_constant=_refuse, strict=False)
        try:
            return _each_text(lenient.decode(text.strip(_AROUND)), _whole)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None


def find(text: str) -> Sequence[Found]:
    """The answer in what a model wrote, whatever stands around it; several where they differ."""
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
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def with_literal_numbers(found: bytes) -> bytes:
    return dumps(json.loads(found, parse_float=str, parse_int=str))


def _objects_in(text: str) -> Iterator[Found]:
    at, faults = 0, list[str]()

    def pairs_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            faults.append(_REPEATED)
        return value

    # It takes line breaks in texts, and notes the objects with a key twice.
    lenient = json.JSONDecoder(object_pairs_hook=pairs_of, parse_constant=_refuse, strict=False)
    for _ in range(_MOST_STARTS):
        at = text.find("{", at, _LONGEST_SEARCHED)
        if at < 0:
            return
        faults.clear()
        try:
            value, end = lenient.raw_decode(text, at)
            yield _cleaned(value, text[at:end], faults)
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


class AnswerModelError(Exception):
    """A bug in a stage's answer model; its text says where, and quotes nothing of the answer."""


class EnumMismatch(ValueError):
    """A value is not one of those that the schema allows, in any case."""


def repair_enums(value: Any, schema: Mapping[str, Any], path: str = "") -> Any:  # noqa: ANN401 - a piece of JSON
    """Give enum values the case they have in the schema, which the API does not promise.

    Returns the value itself where it is right, else a changed copy. References in the schema are
    resolved.

    Raises:
        EnumMismatch: A value is not in its enum.
    """
    labels = [schema["const"]] if "const" in schema else schema.get("enum")
    if labels is not None:
        return value if value in labels else _label_of(value, labels, path)
    if "anyOf" in schema:
        is_null = value is None and {"type": "null"} in schema["anyOf"]
        return value if is_null else _repair_any(value, schema["anyOf"], path)
    if isinstance(value, dict):
        changed: dict[str, Any] = {}
        for name, part in schema.get("properties", {}).items():
            if name in value:
                repaired = repair_enums(value[name], part, f"{path}.{name}" if path else name)
                if repaired is not value[name]:
                    changed[name] = repaired
        return {**value, **changed} if changed else value
    if isinstance(value, list) and "items" in schema:
        items = [repair_enums(item, schema["items"], f"{path}[]") for item in value]
        if any(new is not old for new, old in zip(items, value, strict=True)):
            return items
    return value


def _label_of(value: Any, labels: Sequence[Any], path: str) -> Any:  # noqa: ANN401 - a piece of JSON
    if isinstance(value, str):
        # Labels that differ in nothing but their case can only be distinguished exactly.
        folded = value.casefold()
        same = {label for label in labels if isinstance(label, str) and label.casefold() == folded}
        if len(same) == 1:
            return same.pop()
    raise EnumMismatch(f"at {path or 'its root'} a value that is not among the allowed")


def _repair_any(value: Any, options: Sequence[Mapping[str, Any]], path: str) -> Any:  # noqa: ANN401 - a piece of JSON
    mismatches: list[EnumMismatch] = []
    for option in options:
        try:
            repaired = repair_enums(value, option, path)
        except EnumMismatch as error:
            mismatches.append(error)
        else:
            if repaired is not value:
                return repaired
    # An option without enums takes what it takes; validation decides.
    if len(mismatches) == len(options) > 0:
        raise mismatches[-1]
    return value


_DETAIL_CHARS = 300
_MOST_TOKENS = 10_000_000
"""The most of one kind in one request: ten times the largest context."""
_ENDS = (None, "end_turn", "stop_sequence", "tool_use")
"""How an answer ends that is whole; null where a gateway does not say."""
_ENDED_EARLY: Mapping[str, tuple[type[AnswerError], str]] = {
    "refusal": (Refused, "The model declined."),
    "max_tokens": (TruncatedResponse, "The answer ended at the token limit."),
    "model_context_window_exceeded": (
        NoRoom,
        "The answer ended because the model's context was full.",
    ),
}


@dataclass(frozen=True, slots=True)
class Bill:
    """What a response says about its cost.

    Args:
        tokens: What the response does not say, or cannot be, counts as 0.
        is_known: Whether it says all of it. Where it does not, the cost is not known.
        regional: Whether inference was bound to a region, which costs more; None: it does not say.
    """

    tokens: Tokens
    is_known: bool = True
    batch: bool = False
    regional: bool | None = None


@dataclass(frozen=True, slots=True)
class Answered(Generic[AnswerT]):
    """A usable answer, its JSON, and the `signals` that make it doubtful all the same."""

    answer: AnswerT
    json: bytes
    model: str
    bill: Bill
    signals: tuple[Signal, ...] = ()


@dataclass(frozen=True, slots=True)
class UnusableAnswer:
    """An answer that is no use, and may be paid; `error` is to be raised for it."""

    error: type[AnswerError]
    detail: str
    model: str
    bill: Bill


def read_message(
    message: Mapping[str, Any], answer_model: type[AnswerT], schema: Mapping[str, JsonValue]
) -> Answered[AnswerT] | UnusableAnswer:
    """Read a message, as a response or the result of a batch carries it.

    Whatever is said of its end, an answer that is whole is one.
    """
    name, reason = message.get("model"), message.get("stop_reason")
    model = name if isinstance(name, str) else ""
    bill = bill_of(message.get("usage"))
    if isinstance(reason, str) and reason in _ENDED_EARLY:
        error, detail = _ENDED_EARLY[reason]
        match message.get("stop_details"):
            case {"category": str(category)} if category and error is Refused:
                detail = f"The model declined ({category})."
        return UnusableAnswer(error, detail, model, bill)
    content = message.get("content")
    if not isinstance(content, str):
        # Thinking blocks, empty ones too, may stand before and between.
        content = "".join(_texts_of(content)) if isinstance(content, list) else ""
    usable: list[tuple[AnswerT, bytes, tuple[str, ...]]] = []
    detail = "The answer is not JSON." if content.strip() else "The answer is empty."
    for found in find(content):
        try:
            usable.append((*checked(found, answer_model, schema), found.faults))
        except AnswerModelError as error:
            return UnusableAnswer(StageFailed, str(error), model, bill)
        except EnumMismatch as error:
            detail = f"The answer has {error}."
        except ValidationError as error:
            # Where and why, without the values, which may be the event's.
            faults = error.errors(include_url=False, include_input=False, include_context=False)
            listed = (
                f"{'.'.join(map(str, fault['loc'])) or 'answer'}: {fault['msg']}"
                for fault in faults[:5]
            )
            detail = f"The answer is not as asked: {'; '.join(listed)}."
    if not usable:
        stopped = "" if reason in _ENDS else f" The model stopped with {str(reason)[:40]!r}."
        return UnusableAnswer(Malformed, detail + stopped, model, bill)
    answer, as_json, doubts = usable[-1]
    if any(other != answer for other, _, _ in usable):
        doubts = (*doubts, "There are several answers, and they differ.")
    signals = tuple(Signal("broken_form", 1.0, doubt) for doubt in doubts)
    return Answered(answer, as_json, model, bill, signals)


def _texts_of(content: Sequence[object]) -> Iterator[str]:
    for block in content:
        match block:
            case {"type": "text", "text": str(text)}:
                yield text
            case {"type": "tool_use", "input": dict(answer)}:
                yield dumps(answer).decode()


def checked(
    found: Found, answer_model: type[AnswerT], schema: Mapping[str, JsonValue]
) -> tuple[AnswerT, bytes]:
    """The answer, and its JSON; a number is taken for a text of its digits where one is wanted.

    Raises:
        EnumMismatch: A label in it is not in the schema.
        ValidationError: It is not as asked.
        AnswerModelError: The answer model has a bug.
    """
    repaired = repair_enums(found.value, schema)
    as_json = found.json if repaired is found.value else dumps(repaired)
    try:
        return validated(answer_model, as_json), as_json
    except ValidationError as error:
        if all(fault["type"] != "string_type" for fault in error.errors(include_url=False)):
            raise
        literal = with_literal_numbers(as_json)
        try:
            return validated(answer_model, literal), literal
        except ValidationError:
            raise error from None


def validated(answer_model: type[AnswerT], as_json: bytes) -> AnswerT:
    """Validate an answer by code that may be a stage's own, and fail in ways pydantic lets through.

    As nothing in it awaits, nothing in it can be cancelled: only Ctrl-C is not its own.

    Raises:
        ValidationError: It is not as asked.
        AnswerModelError: The answer model has a bug.
    """
    try:
        return answer_model.model_validate_json(as_json)
    except (ValidationError, KeyboardInterrupt):
        raise
    except BaseException as bug:
        name, kind = answer_model.__name__, type(bug).__name__
        # The message of the bug may quote the answer, so only its type and its place are logged.
        place = traceback.extract_tb(bug.__traceback__)[-1]  # one frame at least: this one
        log.error("%s failed with %s at %s:%d", name, kind, place.filename, place.lineno)  # noqa: TRY400
        detail = f"The stage's answer model {name} failed with {kind}; see the log."
        raise AnswerModelError(detail) from bug


def bill_of(usage: object) -> Bill:
    """Read a `usage` object; the prompt cache's counts may be missing: then it was not used."""
    if not isinstance(usage, dict):
        return Bill(Tokens(), is_known=False)
    split = usage.get("cache_creation")
    is_known, counts = True, list[int]()
    for count, is_required in (
        (usage.get("input_tokens"), True),
        (usage.get("output_tokens"), True),
        (usage.get("cache_read_input_tokens"), False),
        (usage.get("cache_creation_input_tokens"), False),
        (split.get("ephemeral_1h_input_tokens") if isinstance(split, dict) else None, False),
    ):
        # `True` is an integer, too.
        if type(count) is int and 0 <= count <= _MOST_TOKENS:
            counts.append(count)
        else:
            counts.append(0)
            is_known = is_known and count is None and not is_required
    read, output, cache_read, written, written_1h = counts
    is_known = is_known and written_1h <= written
    tokens = Tokens(read, cache_read, max(0, written - written_1h), written_1h, output)
    return Bill(
        tokens,
        # There is no prompt of no tokens.
        is_known=is_known and read + cache_read + written > 0,
        batch=usage.get("service_tier") == "batch",
        regional={"us": True, "global": False}.get(str(usage.get("inference_geo"))),
    )


def excerpt(body: bytes) -> str:
    words = body[:_DETAIL_CHARS].decode("utf-8", "replace").split()
    # Half a word would not be recognised where it repeats what was asked.
    is_cut = len(body) > _DETAIL_CHARS and not body[_DETAIL_CHARS - 1 : _DETAIL_CHARS].isspace()
    return " ".join(words[:-1] if is_cut else words) or "(nothing)"
