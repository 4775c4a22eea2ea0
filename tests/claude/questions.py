"""A question to ask in tests."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from pipeline.model.questions import Part, Question, Text


class Labelled(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    label: Literal["billing", "sales"]
    confidence: float
    unclear: bool


SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "enum": ["billing", "sales"]},
        "confidence": {"type": "number"},
        "unclear": {"type": "boolean"},
    },
    "required": ["label", "confidence", "unclear"],
    "additionalProperties": False,
}
INSTRUCTIONS = "Say what the message is about.\n"


def about(*parts: Part | str, stage: str = "tickets") -> Question[Labelled]:
    return Question(
        stage=stage,
        instructions=INSTRUCTIONS,
        parts=tuple(Text("body", part) if isinstance(part, str) else part for part in parts),
        answer_model=Labelled,
        answer_schema=SCHEMA,
        max_output_tokens=256,
    )
