"""Events around a text, and the longest answers that models give about them."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from pipeline.config import StagesSettings
from pipeline.model.questions import Query, Question
from pipeline.stages.api import Answer, Stage, build_stages

AnyStage = Stage[Any, Any]

_CHARS_PER_TOKEN = 4
_VALUE_CHARS = 20
_FIELDS = [
    {"name": "order", "type": "text", "description": "The order.", "quoted": True},
    {"name": "sums", "type": "list", "description": "All sums.", "quoted": True},
    {"name": "total", "type": "number", "description": "The total.", "quoted": True},
]

_SETTINGS = StagesSettings.model_validate(
    {name: {"fields": _FIELDS} for name in ("tickets", "invoices", "documents", "texts")}
)
_RAW: Mapping[str, Callable[[str], dict[str, str]]] = {
    "tickets": lambda text: {"body": text, "subject": text[:5_000]},
    "invoices": lambda text: {"text": text},
    "requests": lambda text: {"query": text},
    "code": lambda text: {"language": "python", "source": text},
    "texts": lambda text: {"text": text},
    "documents": lambda text: {"text": text},
}

STAGES: Mapping[str, AnyStage] = {
    name: stage for name, stage in build_stages(_SETTINGS).items() if name in _RAW
}
LONGEST = {name: getattr(_SETTINGS, name).max_text_chars for name in STAGES}
"""Characters of a text that each takes."""


def raw_event(name: str, text: str) -> bytes:
    """A record of the stage about a text."""
    return orjson.dumps({"id": "1", **_RAW[name](text)})


def answer_to(question: Question[Any], text: str) -> Answer:
    """The answer about a text that makes the most work: pieces of it, as many as there may be."""
    schema: Any = question.answer_schema
    room = question.max_output_tokens * _CHARS_PER_TOKEN // len(schema["properties"])
    pieces = [text[at : at + _VALUE_CHARS] for at in range(0, room, _VALUE_CHARS)]
    answer: Answer = question.answer_model.model_validate(_value(schema, pieces, schema))
    return answer


def _value(schema: Any, pieces: list[str], root: Any) -> Any:  # noqa: ANN401, PLR0911 - JSON
    match schema:
        case {"$ref": str(pointer)}:
            return _value(root["$defs"][pointer.rpartition("/")[2]], pieces, root)
        case {"enum": [first, *_]}:
            return first
        case {"const": value}:
            return value
        case {"anyOf": [first, *_]}:
            return _value(first, pieces, root)
        case {"type": "object", "properties": properties}:
            return {name: _value(part, pieces, root) for name, part in properties.items()}
        case {"type": "array", "items": items}:
            return [_value(items, [piece], root) for piece in pieces]
        case {"type": "string"}:
            return "".join(pieces)
        case {"type": "boolean"}:
            return False
        case _:
            return 0.9


def first_question(inquiry: Query[Any]) -> Question[Any]:
    """What is asked first."""
    return inquiry if isinstance(inquiry, Question) else inquiry.questions[0]
