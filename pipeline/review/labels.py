"""Verdicts as lines of a labelled file, as `pipeline evaluate` reads it."""

from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic_core import to_json

from pipeline.errors import WrongUse
from pipeline.review.case import Case
from pipeline.stages.stage import Stage


def label_line(case: Case, stage: Stage[Any, Any], result: BaseModel) -> bytes:
    """The event as it is published, and what is true about it under `gold`."""
    event = case.review.event
    known = {name: event[name] for name in stage.raw_model.model_fields if name in event}
    # Numbers of the event may be longer than any that orjson takes.
    return to_json(known | {"gold": result.model_dump(mode="json", by_alias=True)})


class LabelledFile:
    """A file with a line for each event, by id.

    Args:
        path: Where it is; made where it is missing.

    Raises:
        WrongUse: It is no such file, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.touch()
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise WrongUse(f"{path} cannot be used ({error.strerror}): name another.") from None
        self._lines = [line for line in lines if line.strip()]
        for number, line in enumerate(self._lines, start=1):
            if _id_of(line) is None:
                raise WrongUse(f"{path}:{number} is no labelled event: name another file.")

    def put(self, line: bytes) -> None:
        """Add a line at the end; one about the same event gives way to it.

        The file is never seen half written.

        Raises:
            WrongUse: It cannot be written.
        """
        event_id = _id_of(line)
        self._lines = [each for each in self._lines if _id_of(each) != event_id] + [line]
        beside = self._path.with_name(f".{self._path.name}.new")
        try:
            beside.write_bytes(b"".join(each + b"\n" for each in self._lines))
            beside.replace(self._path)
        except OSError as error:
            raise WrongUse(f"{self._path} cannot be written ({error.strerror}).") from None


def _id_of(line: bytes) -> str | None:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return str(event["id"]) if isinstance(event, dict) and "id" in event else None
