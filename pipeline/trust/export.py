"""Labelled answers as a file: a line `{"answer": {...}, "labels": [...]}` each.

`pipeline trust export` writes it; certificates, scores and verdicts are made of it.
"""

from collections.abc import Iterator
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.model.errors import UsageError
from pipeline.trust.records import AnswerLabel, LabelledAnswer, SampledAnswer


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    answer: SampledAnswer
    labels: list[AnswerLabel]


def export_line(labelled: LabelledAnswer) -> bytes:
    """A labelled answer as one line, without its end."""
    line = _Line(answer=labelled.answer, labels=list(labelled.labels))
    return line.model_dump_json(by_alias=True).encode()


def lines_of(path: Path) -> list[tuple[int, bytes]]:
    """The lines of a file that are not empty, with their numbers; `UsageError` without it."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): name another.") from error
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def is_exported(line: bytes) -> bool:
    """Whether a line is meant as one of an export."""
    try:
        first = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(first, dict) and "answer" in first and "id" not in first


def read_export(
    path: Path, *, otherwise: str = "It takes what `pipeline trust export` writes."
) -> Iterator[LabelledAnswer]:
    """What an export holds.

    Raises:
        UsageError: The file cannot be read, or a line is something else: `otherwise` says what
            there could be.
    """
    for number, line in lines_of(path):
        try:
            read = _Line.model_validate_json(line)
        except ValidationError as error:
            raise UsageError(f"{path}:{number}: {fault_of(error)}. {otherwise}") from None
        yield LabelledAnswer(read.answer, read.labels)


def fault_of(error: ValidationError) -> str:
    """Where a line is wrong, and why, without what it holds."""
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, fault["loc"])) or "the line"
    return f"{where}: {fault['msg']}"
