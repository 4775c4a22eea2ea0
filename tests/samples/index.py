"""The samples, read as a publisher reads them."""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pipeline.model.records import DeadLetterReason

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


class Generate(BaseModel):
    """A value that is made when it is published."""

    model_config = ConfigDict(extra="forbid", strict=True)

    bytes: int = Field(gt=0)


class Entry(BaseModel):
    """An entry of the manifest; every field is always there."""

    model_config = ConfigDict(extra="forbid")

    stage: str
    kind: Literal["jsonl", "file", "broken"]
    path: str | None
    note: str = Field(min_length=1)
    count: int = Field(ge=1)
    generate: Generate | None
    key_field: str | None
    key: str | None
    headers: dict[str, str]
    expected: Literal["any", "dead_letter"]
    reason: DeadLetterReason | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One record to publish."""

    stage: str
    id: str
    value: bytes
    key: str | None
    headers: dict[str, str]
    reason: DeadLetterReason | None


def manifest() -> list[Entry]:
    """All entries."""
    return TypeAdapter(list[Entry]).validate_json((SAMPLES / "manifest.json").read_bytes())


def events(stage: str) -> list[dict[str, Any]]:
    """The events of a stage that are written one a line."""
    return rows(f"{stage}.jsonl")


def labels(stage: str) -> list[dict[str, Any]]:
    """The labels of a stage."""
    return rows(f"labels/{stage}.jsonl")


def rows(path: str) -> list[dict[str, Any]]:
    """The lines of a file, read."""
    return [json.loads(line) for line in (SAMPLES / path).read_bytes().splitlines()]


@functools.cache
def samples() -> tuple[Sample, ...]:
    """Every record of every entry."""
    return tuple(sample for entry in manifest() for sample in _samples_of(entry))


def _samples_of(entry: Entry) -> Iterator[Sample]:
    if entry.generate is not None:
        yield _sample(entry, b"x" * entry.generate.bytes, entry.note, entry.key)
        return
    assert entry.path is not None
    value = (SAMPLES / entry.path).read_bytes()
    if entry.kind != "jsonl":
        identity = entry.headers.get("event-id") or entry.key or entry.path
        yield _sample(entry, value, identity, entry.key)
        return
    assert entry.key_field is not None
    for line in value.splitlines():
        event = json.loads(line)
        yield _sample(entry, line, event["id"], event.get(entry.key_field, event["id"]))


def _sample(entry: Entry, value: bytes, identity: str, key: str | None) -> Sample:
    return Sample(entry.stage, identity, value, key, entry.headers, entry.reason)
