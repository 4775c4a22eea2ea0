"""Reads records of topics that anybody may have written to, at a cost that is bounded first. Pure.

`escalations`, `review` and the compacted topics are written by the pipeline. What else is found
there must cost no more than itself, so the number of values is looked at before any is made: five
million zeros are ten megabytes as bytes and gigabytes as a list of validation errors.
"""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.errors import PipelineError

ModelT = TypeVar("ModelT", bound=BaseModel)

MAX_VALUES = 60_000
"""Values, names and containers of one record: more than an event and its answers ever have, and
less than what takes 50 ms to read. Raw events may have 50,000 of them."""
_LOOKED_INTO = 4 << 20
"""Bytes up to which the texts of a record are separated from its values. No text that a stage takes
is longer, and files are base64, in which there is nothing that would count."""
_FAULTS_NAMED = 10
_BEFORE_VALUES = b",[{"
"""Each value but the first of all follows one of these, as each name does."""


class Unusable(PipelineError):
    """A record is not what its topic holds; the text says why, and never quotes it."""


def read_record(model: type[ModelT], value: bytes | None) -> ModelT:
    """Read a record's value.

    Raises:
        Unusable: It is something else, or has more values than anything that belongs there.
    """
    if not value:
        raise Unusable("the value is empty")
    if has_too_many_values(value):
        raise Unusable(f"it has more than {MAX_VALUES:,} values")
    try:
        return model.model_validate_json(value)
    except ValidationError as error:
        raise Unusable(_faults(error, model)) from None


def has_too_many_values(value: bytes, limit: int = MAX_VALUES) -> bool:
    """Whether a JSON text holds more than `limit` values; a look at its bytes, without reading it.

    Args:
        value: The text; what is not JSON gets some answer, in the same time.
        limit: How many it may hold.
    """
    if _count(value) <= limit:
        return False
    if len(value) > _LOOKED_INTO:
        return True
    # Most of what was counted may be in texts. Each text is a value or a name, and has two quotes.
    bare = value.replace(b"\\\\", b"").replace(b'\\"', b"")
    if bare.count(b'"') > 4 * limit:
        return True
    return _count(b"".join(bare.split(b'"')[::2])) > limit


def _count(value: bytes) -> int:
    return len(value) - len(value.translate(None, _BEFORE_VALUES))


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
