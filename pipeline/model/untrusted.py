"""Reads records of topics that anybody may have written to, at a cost that is bounded first. Pure.

`escalations`, `review` and the compacted topics are written by the pipeline. What else is found
there must cost no more than itself, so the number of values is looked at before any is made: five
million zeros are ten megabytes as bytes and gigabytes as a list of validation errors.
"""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.model.errors import PipelineError
from pipeline.model.json_bytes import OverLimit, outside_strings

ModelT = TypeVar("ModelT", bound=BaseModel)
MAX_NODES = 60_000
"""Names and values of one record: more than an event and its answers ever have, and less than what
takes 50 ms to read. Raw events may have 50,000 of them."""
_FAULTS_NAMED = 10
_BEFORE_NODES = b",:[{"
"""Each name and value but the first of all follows one of these."""


class Unusable(PipelineError):
    """A record is not what its topic holds; the text says why, and never quotes it."""


def read_record(model: type[ModelT], value: bytes | None) -> ModelT:
    """Read a record's value.

    Raises:
        Unusable: It is something else, or has more names and values than what belongs there.
    """
    if not value:
        raise Unusable("the value is empty")
    _check_nodes(value)
    try:
        return model.model_validate_json(value)
    except ValidationError as error:
        raise Unusable(_faults(error, model)) from None


def _check_nodes(value: bytes) -> None:
    # Of most records a look at all of it is enough, the strings included.
    if len(value) - len(value.translate(None, _BEFORE_NODES)) <= MAX_NODES:
        return
    try:
        outside_strings(value, max_nodes=MAX_NODES)
    except OverLimit as error:
        raise Unusable(f"it has {error}") from None


def _faults(error: ValidationError, model: type[BaseModel]) -> str:
    count = error.error_count()
    if count > _FAULTS_NAMED:
        return f"{count:,} faults"
    known = {field.alias or name for name, field in model.model_fields.items()}
    places = dict.fromkeys(
        # Only names that are the model's own: any other is part of the content.
        str(fault["loc"][0]) if fault["loc"] and fault["loc"][0] in known else "the JSON itself"
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    )
    return f"{count} fault{'s' if count > 1 else ''}, in {', '.join(places)}"
