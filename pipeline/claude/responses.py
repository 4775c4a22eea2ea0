"""What an answer of the API means. Pure: bytes in, a verdict out, and the usage never lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal

import orjson
from pydantic import ValidationError

from pipeline.claude.enums import EnumMismatch, EnumRepair
from pipeline.claude.prices import Tokens
from pipeline.events import MOST_COUNT
from pipeline.questions import AnswerT

Misfit = Literal["refused", "cut_off", "malformed"]
_DETAIL_CHARS = 300


@dataclass(frozen=True, slots=True)
class Bill:
    """What a response says about its cost.

    Args:
        tokens: As they are billed.
        batch: Whether it was answered at the price of a batch.
        us_only: Whether inference was bound to the United States, which costs more.
    """

    tokens: Tokens
    batch: bool = False
    us_only: bool = False


@dataclass(frozen=True, slots=True)
class Answered(Generic[AnswerT]):
    """A usable answer.

    Args:
        answer: Validated.
        json: The same, as JSON, to be kept for identical questions.
        model: The model that answered, as the API names it.
    """

    answer: AnswerT
    json: bytes
    model: str
    bill: Bill


@dataclass(frozen=True, slots=True)
class Unusable:
    """The model answered, and may be paid, but the answer is no use."""

    why: Misfit
    detail: str
    model: str
    bill: Bill


@dataclass(frozen=True, slots=True)
class Garbled:
    """Not an answer of the Messages API at all: something on the way is broken."""

    detail: str


def read_response(
    body: bytes, answer_model: type[AnswerT], repair: EnumRepair
) -> Answered[AnswerT] | Unusable | Garbled:
    """Read the body of a response with status 200.

    Args:
        body: As received.
        answer_model: What the answer must be.
        repair: For the schema that was sent.
    """
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Garbled(f"the API answered with something else than JSON: {_kind_of(body)}")
    if not isinstance(message, dict) or message.get("type") != "message":
        return Garbled(f"the API answered with something else than a message: {_kind_of(body)}")
    return read_message(message, answer_model, repair)


def read_message(
    message: Mapping[str, Any], answer_model: type[AnswerT], repair: EnumRepair
) -> Answered[AnswerT] | Unusable:
    """Read a message, as a response or the result of a batch carries it."""
    model = str(message.get("model", ""))
    bill = bill_of(message.get("usage"))
    stopped = _stopped_early(message)
    if stopped is not None:
        return Unusable(*stopped, model, bill)
    text = _text(message)
    try:
        data = orjson.loads(text)
        repaired = repair(data)
        checked = text if repaired is data else orjson.dumps(repaired)
        answer = answer_model.model_validate_json(checked)
    except orjson.JSONDecodeError as error:
        detail = f"The answer is not JSON: {error}."
    except EnumMismatch as error:
        detail = f"The answer has {error}."
    except ValidationError as error:
        detail = f"The answer is not as asked: {_faults(error)}."
    else:
        return Answered(answer, checked, model, bill)
    return Unusable("malformed", detail, model, bill)


def _stopped_early(message: Mapping[str, Any]) -> tuple[Misfit, str] | None:
    match message.get("stop_reason"):
        case "end_turn" | "stop_sequence":
            return None
        case "refusal":
            return "refused", _refusal(message)
        case "max_tokens":
            return "cut_off", "The answer ended at the token limit."
        case "model_context_window_exceeded":
            return "cut_off", "The answer ended because the model's context was full."
        case other:
            return "malformed", f"The model stopped with {other!r}, which ends no answer."


def bill_of(usage: object) -> Bill:
    """Read a `usage` object; what is missing or null counts as 0."""
    if not isinstance(usage, dict):
        return Bill(Tokens())
    written = _count(usage, "cache_creation_input_tokens")
    split = usage.get("cache_creation")
    written_1h = _count(split, "ephemeral_1h_input_tokens") if isinstance(split, dict) else 0
    tokens = Tokens(
        input=_count(usage, "input_tokens"),
        cache_read=_count(usage, "cache_read_input_tokens"),
        cache_write_5m=max(0, written - written_1h),
        cache_write_1h=written_1h,
        output=_count(usage, "output_tokens"),
    )
    return Bill(
        tokens,
        batch=usage.get("service_tier") == "batch",
        us_only=usage.get("inference_geo") == "us",
    )


def excerpt(body: bytes) -> str:
    """The beginning of a body, on one line, for a person."""
    words = body[:_DETAIL_CHARS].decode("utf-8", "replace").split()
    # Half a word would not be recognised where it repeats what was asked.
    is_cut = len(body) > _DETAIL_CHARS and not body[_DETAIL_CHARS - 1 : _DETAIL_CHARS].isspace()
    return " ".join(words[:-1] if is_cut else words) or "(nothing)"


def _kind_of(body: bytes) -> str:
    """What a body is; a page of a proxy is quoted, but not what may be half an answer."""
    return excerpt(body) if body.lstrip().startswith(b"<") else f"{len(body):,} bytes"


def _text(message: Mapping[str, Any]) -> bytes:
    """The text of the answer. Thinking blocks, empty ones too, may come before it."""
    content = message.get("content")
    blocks = content if isinstance(content, list) else []
    return "".join(
        str(block.get("text", ""))
        for block in blocks
        if isinstance(block, dict) and block.get("type") == "text"
    ).encode()


def _refusal(message: Mapping[str, Any]) -> str:
    details = message.get("stop_details")
    category = details.get("category") if isinstance(details, dict) else None
    return f"The model declined ({category})." if category else "The model declined."


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and 0 < value <= MOST_COUNT else 0


def _faults(error: ValidationError) -> str:
    """Where and why, without the values, which may be the event's."""
    listed = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(str(step) for step in fault['loc']) or 'answer'}: {fault['msg']}"
        for fault in listed[:5]
    )
