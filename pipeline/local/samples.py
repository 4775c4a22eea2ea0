"""The samples that come with the project: what the demo publishes."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

import pipeline
from pipeline.model.errors import PipelineError
from pipeline.operators.publish import Item, read_items
from pipeline.stream.records import Headers


class Generated(BaseModel):
    """A value that is too large to be kept as a file."""

    model_config = ConfigDict(frozen=True)

    bytes: int


class Sample(BaseModel):
    """An entry of the manifest; `samples/README.md` says what its fields mean."""

    model_config = ConfigDict(frozen=True)

    stage: str
    kind: str
    path: str | None
    count: int
    generate: Generated | None
    key_field: str | None
    key: str | None
    headers: dict[str, str]
    expected: Literal["any", "dead_letter"]
    reason: str | None


def samples_folder() -> Path:
    """Where the samples are: inside the installed package, or beside it in a checkout.

    Raises:
        PipelineError: They are neither here nor there.
    """
    package = Path(str(resources.files(pipeline)))
    for folder in (package / "samples", package.parent / "samples"):
        if (folder / "manifest.json").is_file():
            return folder
    raise PipelineError("The samples did not come with this installation: install the wheel again.")


def read_manifest(folder: Path) -> list[Sample]:
    """All entries."""
    return TypeAdapter(list[Sample]).validate_json((folder / "manifest.json").read_bytes())


def items_of(folder: Path, sample: Sample) -> Iterator[Item]:
    """The records of an entry, as they are to be published."""
    headers: Headers = tuple((name, value.encode()) for name, value in sample.headers.items())
    if sample.kind == "jsonl" and sample.path is not None:
        for item in read_items([folder / sample.path], key_field=sample.key_field or "id"):
            yield Item(item.place, item.key, item.value, headers)
        return
    key = None if sample.key is None else sample.key.encode()
    if sample.generate is not None:
        value = b"x" * sample.generate.bytes
    else:
        value = (folder / (sample.path or "")).read_bytes()
    yield Item(sample.path or "generated", key, value, headers)
