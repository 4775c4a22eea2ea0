"""The index of all samples: one entry says all that is needed to publish it."""

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["jsonl", "file", "broken"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of `manifest.json`; the README of the samples says what each field means."""

    stage: str
    kind: Kind
    path: str | None
    note: str
    count: int = 1
    generate: dict[str, int] | None = None
    key_field: str | None = None
    key: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    expected: Literal["any", "dead_letter"] = "any"
    reason: str | None = None
