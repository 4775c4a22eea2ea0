"""Reads a content for a schema, as one of the simulated models would."""

from typing import Any

import orjson

from pipeline.local.simulated.stand_in.answerer import Reader
from pipeline.local.simulated.stand_in.content import read_content
from pipeline.local.simulated.stand_in.label_scores import SONNET, Skill


def read(
    text: str, properties: dict[str, Any], *, prompt: str = "", skill: Skill = SONNET
) -> dict[str, Any]:
    """The answer to an object of these properties."""
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": list(properties),
    }
    content = read_content([f'<data-1 name="body">\n{text}\n</data-1>'])
    return dict(Reader(skill).answer(orjson.dumps(schema), prompt, content))
