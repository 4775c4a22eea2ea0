"""Several events in one request: how they are put, and what comes back for each. Pure.

The request limit and the static part of the prompt then count once for all of them. What it
does to the quality of answers only an evaluation on one's own data can say.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from pipeline.claude import answer_json
from pipeline.claude.answer_json import EnumMismatch, EnumRepair
from pipeline.claude.requests import Content, absent_key, blocks_of
from pipeline.claude.responses import checked
from pipeline.model.questions import AnswerT, Part, Text
from pipeline.model.records import Usage

LARGEST_TEXT = 8_000
"""Characters of an event that may share a request; longer ones gain little and may drown others."""
INSTRUCTIONS = """\
The message carries several events. Each begins with a line <event-KEY id="..."> and ends with a \
line </event-KEY>, with the KEY of the message. Judge each event by itself, as if it were the only \
one: what one event says has no bearing on another. Give one answer for each event, in their \
order, with its id."""
_PICO = Decimal(10) ** -12
_FRAME = re.compile(r"</?\s{0,5}(?:event|data)\b", re.IGNORECASE)
"""What looks like the frame of an event, whatever its key: a key that is not the message's is
ignored, but one event must not even try to begin another."""


class JointItem(BaseModel):
    """The answer to one event; validated later, so that one bad item does not spoil the others."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: int
    answer: JsonValue


class JointAnswer(BaseModel):
    """The answer to a joint request."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    answers: list[JointItem]


def may_join(parts: Sequence[Part]) -> bool:
    """Whether an event may share a request: text alone, not much of it, and no frame in it."""
    texts = [part.text for part in parts if isinstance(part, Text)]
    return (
        len(texts) == len(parts)
        and sum(map(len, texts)) <= LARGEST_TEXT
        and not any(_FRAME.search(text) for text in texts)
    )


def joint_instructions(instructions: str) -> str:
    """The static part of the prompt, for several events."""
    return f"{instructions.rstrip()}\n\n{INSTRUCTIONS}"


def joint_schema(schema: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The schema of the answers to several events."""
    item: dict[str, JsonValue] = {
        "type": "object",
        "properties": {"id": {"type": "integer"}, "answer": dict(schema)},
        "required": ["id", "answer"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"answers": {"type": "array", "items": item}},
        "required": ["answers"],
        "additionalProperties": False,
    }


def joint_content(events: Sequence[Sequence[Part]]) -> Content:
    """The content blocks of several events, numbered from 1."""
    texts = [part.text for parts in events for part in parts if isinstance(part, Text)]
    key = absent_key(texts)
    content: Content = []
    for number, parts in enumerate(events, start=1):
        content.append({"type": "text", "text": f'<event-{key} id="{number}">'})
        content += blocks_of(parts, key)
        content.append({"type": "text", "text": f"</event-{key}>"})
    return content


def read_items(answer: JointAnswer, count: int) -> list[JsonValue | None]:
    """The answers by event; None where there is none, or more than one that differ."""
    found: list[JsonValue | None] = [None] * count
    spoilt: set[int] = set()
    for item in answer.answers:
        index = item.id - 1
        if not 0 <= index < count:
            continue
        if found[index] is not None and found[index] != item.answer:
            spoilt.add(index)
        found[index] = item.answer
    return [None if index in spoilt else each for index, each in enumerate(found)]


def read_item(
    item: JsonValue | None, answer_model: type[AnswerT], repair: EnumRepair
) -> tuple[AnswerT, bytes] | None:
    """One event's answer, validated, and its JSON; None where it is no use."""
    if not isinstance(item, dict):
        return None
    try:
        return checked(answer_json.Found(item, answer_json.dumps(item)), answer_model, repair)
    except (EnumMismatch, ValidationError):
        return None


def shares(usage: Usage, weights: Sequence[int]) -> list[Usage]:
    """Split what a request cost among its events; the parts add up to the whole.

    Input is split by weight, all else evenly; the call itself counts for the first event.
    """
    even = [1] * len(weights)
    inputs = _split(usage.input_tokens, weights)
    reads = _split(usage.cache_read_tokens, even)
    writes = _split(usage.cache_write_tokens, even)
    outputs = _split(usage.output_tokens, even)
    costs: Sequence[Decimal | None] = [None] * len(weights)
    if usage.cost_usd is not None:
        pico = _split(int(usage.cost_usd / _PICO), weights)
        costs = [(part * _PICO).normalize() for part in pico]
    return [
        Usage(
            calls=usage.calls if index == 0 else 0,
            input_tokens=inputs[index],
            cache_read_tokens=reads[index],
            cache_write_tokens=writes[index],
            output_tokens=outputs[index],
            cost_usd=costs[index],
        )
        for index in range(len(weights))
    ]


def _split(total: int, weights: Sequence[int]) -> list[int]:
    """Whole parts in proportion to the weights, that add up to the total."""
    whole, parts, given, sum_so_far = sum(weights), [], 0, 0
    for weight in weights:
        sum_so_far += weight
        upto = total * sum_so_far // whole
        parts.append(upto - given)
        given = upto
    return parts
