"""What an answer of the API means. Pure: bytes in, a verdict out, and the usage never lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal

from pydantic import ValidationError

from pipeline.claude import answer_json
from pipeline.claude.answer_json import EnumMismatch, EnumRepair
from pipeline.claude.billing.prices import Tokens
from pipeline.model.questions import AnswerT, Signal

UnusableReason = Literal["refused", "cut_off", "malformed"]
_DETAIL_CHARS = 300
_MOST_TOKENS = 10_000_000
"""Of one kind in one request: ten times the largest context."""
_TOKEN_FIELDS = (
    "input_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
)
_ALWAYS_COUNTED = ("input_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Bill:
    """What a response says about its cost.

    Args:
        tokens: As they are billed; what the response does not say, or cannot be, counts as 0.
        is_known: Whether the response says all of it. Where it does not, the cost is not known.
        batch: Whether it was answered at the price of a batch.
        us_only: Whether inference was bound to the United States, which costs more.
    """

    tokens: Tokens
    is_known: bool = True
    batch: bool = False
    us_only: bool = False


@dataclass(frozen=True, slots=True)
class Answered(Generic[AnswerT]):
    """A usable answer.

    Args:
        answer: Validated.
        json: The same, as JSON, to be kept for identical questions.
        model: The model that answered, as the API names it.
        signals: What makes it doubtful although it could be read.
    """

    answer: AnswerT
    json: bytes
    model: str
    bill: Bill
    signals: tuple[Signal, ...] = ()


@dataclass(frozen=True, slots=True)
class Unusable:
    """The model answered, and may be paid, but the answer is no use.

    Args:
        is_final: Whether the same request would end so again, however much room it has.
    """

    why: UnusableReason
    detail: str
    model: str
    bill: Bill
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class MalformedResponse:
    """Not an answer of the Messages API at all: something on the way is broken."""

    detail: str


def read_response(
    body: bytes, answer_model: type[AnswerT], repair: EnumRepair
) -> Answered[AnswerT] | Unusable | MalformedResponse:
    """Read the body of a response with status 200.

    Args:
        body: As received.
        answer_model: What the answer must be.
        repair: For the schema that was sent.
    """
    try:
        message = answer_json.load(body)
    except ValueError:
        return MalformedResponse(
            f"the API answered with something else than JSON: {_kind_of(body)}"
        )
    if not isinstance(message, dict) or message.get("type") != "message":
        return MalformedResponse(
            f"the API answered with something else than a message: {_kind_of(body)}"
        )
    return read_message(message, answer_model, repair)


def message_id_of(body: bytes) -> str | None:
    """The id of the message that is the body of a response; None without a message or an id."""
    try:
        message = answer_json.load(body)
    except ValueError:
        return None
    found = message.get("id") if isinstance(message, dict) else None
    return found if isinstance(found, str) and found else None


def read_message(
    message: Mapping[str, Any], answer_model: type[AnswerT], repair: EnumRepair
) -> Answered[AnswerT] | Unusable:
    """Read a message, as a response or the result of a batch carries it.

    What ended it matters where it ended too early. Whatever else is said of its end, an answer
    that is whole is one.
    """
    name = message.get("model")
    model = name if isinstance(name, str) else ""
    bill = bill_of(message.get("usage"))
    match message.get("stop_reason"):
        case "refusal":
            return Unusable("refused", _refusal(message), model, bill, is_final=True)
        case "max_tokens":
            return Unusable("cut_off", "The answer ended at the token limit.", model, bill)
        case "model_context_window_exceeded":
            detail = "The answer ended because the model's context was full."
            return Unusable("cut_off", detail, model, bill, is_final=True)
        case reason:
            read = _read_text(_text(message), answer_model, repair)
    if isinstance(read, str):
        stopped = "" if reason in _ENDS else f" The model stopped with {str(reason)[:40]!r}."
        return Unusable("malformed", read + stopped, model, bill)
    return Answered(*read[:2], model, bill, read[2])


def _read_text(
    text: str, answer_model: type[AnswerT], repair: EnumRepair
) -> tuple[AnswerT, bytes, tuple[Signal, ...]] | str:
    """The answer in a text, or why there is none."""
    usable: list[tuple[AnswerT, bytes, tuple[str, ...]]] = []
    detail = "The answer is not JSON." if text.strip() else "The answer is empty."
    for found in answer_json.find(text):
        try:
            usable.append((*checked(found, answer_model, repair), found.faults))
        except EnumMismatch as error:
            detail = f"The answer has {error}."
        except ValidationError as error:
            detail = f"The answer is not as asked: {_faults(error)}."
    if not usable:
        return detail
    answer, as_json, faults = usable[-1]
    if any(other != answer for other, _, _ in usable):
        faults = (*faults, "There are several answers, and they differ.")
    return answer, as_json, tuple(Signal("broken_form", 1.0, fault) for fault in faults)


_ENDS = (None, "end_turn", "stop_sequence")
"""How an answer ends that is whole; null where a gateway does not say."""


def checked(
    found: answer_json.Found, answer_model: type[AnswerT], repair: EnumRepair
) -> tuple[AnswerT, bytes]:
    """What was found as an answer, and as the JSON that makes it.

    A number is taken for a text of its very digits where a text is wanted, and the other way
    round.

    Raises:
        EnumMismatch: A label in it is none.
        ValidationError: It is not as asked.
    """
    repaired = repair(found.value)
    as_json = found.json if repaired is found.value else answer_json.dumps(repaired)
    try:
        return answer_model.model_validate_json(as_json), as_json
    except ValidationError as error:
        if all(fault["type"] != "string_type" for fault in error.errors(include_url=False)):
            raise
        literal = answer_json.with_literal_numbers(as_json)
        try:
            return answer_model.model_validate_json(literal), literal
        except ValidationError:
            raise error from None


def bill_of(usage: object) -> Bill:
    """Read a `usage` object.

    Where a count is missing that every response has, or is none that could be, the bill is not
    known. The prompt cache's may be missing or null: then it was not used.
    """
    if not isinstance(usage, dict):
        return Bill(Tokens(), is_known=False)
    split = usage.get("cache_creation")
    counts = {name: usage.get(name) for name in _TOKEN_FIELDS}
    counts["1h"] = split.get("ephemeral_1h_input_tokens") if isinstance(split, dict) else None
    known, is_known = dict.fromkeys(counts, 0), True
    for name, count in counts.items():
        # `True` is an integer, too.
        if type(count) is int and 0 <= count <= _MOST_TOKENS:
            known[name] = count
        elif count is not None or name in _ALWAYS_COUNTED:
            is_known = False
    written, written_1h = known["cache_creation_input_tokens"], known["1h"]
    is_known = is_known and written_1h <= written
    tokens = Tokens(
        input=known["input_tokens"],
        cache_read=known["cache_read_input_tokens"],
        cache_write_5m=max(0, written - written_1h),
        cache_write_1h=written_1h,
        output=known["output_tokens"],
    )
    return Bill(
        tokens,
        # There is no prompt of no tokens.
        is_known=is_known and tokens.prompt > 0,
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


def _text(message: Mapping[str, Any]) -> str:
    """The text of the answer. Thinking blocks, empty ones too, may stand before and between."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    texts = [
        block.get("text")
        for block in (content if isinstance(content, list) else [])
        if isinstance(block, dict) and block.get("type") == "text"
    ]
    return "".join(text for text in texts if isinstance(text, str))


def _refusal(message: Mapping[str, Any]) -> str:
    details = message.get("stop_details")
    category = details.get("category") if isinstance(details, dict) else None
    return f"The model declined ({category})." if category else "The model declined."


def _faults(error: ValidationError) -> str:
    """Where and why, without the values, which may be the event's."""
    listed = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(str(step) for step in fault['loc']) or 'answer'}: {fault['msg']}"
        for fault in listed[:5]
    )
