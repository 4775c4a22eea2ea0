"""The JSON schema that goes with a question.

Fitting it into the subset that the API takes is the asker's business; what is meant by an answer
is the stage's: which properties there are, and in which order they are written.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from pipeline.stages.stage import Answer


def answer_schema(model: type[Answer]) -> Mapping[str, JsonValue]:
    """Derive the schema of an answer, all properties required.

    Properties keep their order, and what the answer states about itself comes last: a verdict
    on an answer is worth more once the answer stands.
    """
    schema: dict[str, Any] = model.model_json_schema(mode="validation")
    properties = dict(schema["properties"])
    stated = {name: properties.pop(name) for name in Answer.model_fields}
    ordered = {**properties, **stated}
    return {**schema, "properties": ordered, "required": list(ordered)}
