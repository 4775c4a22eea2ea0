"""Disjoint parts of a labelled file: what chooses thresholds must not also praise them."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")

FIT_SHARE = 0.2
THRESHOLD_SHARE = 0.5
"""The largest, because certifying is what takes many items; what is left is the report's."""


class Part(StrEnum):
    """What a part is for. The examples of a prompt are a fourth, which is in no labelled file."""

    FIT = "fit"
    """Says which thresholds are worth a try."""
    THRESHOLD = "threshold"
    """Certifies one of them."""
    REPORT = "report"
    """Says what it is worth."""


def part_of(event_id: str) -> Part:
    """The part of an event: by its id alone, so that it stays where it is when a file grows."""
    digest = hashlib.blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    place = int.from_bytes(digest) / 2**64
    if place < FIT_SHARE:
        return Part.FIT
    return Part.THRESHOLD if place < FIT_SHARE + THRESHOLD_SHARE else Part.REPORT


def split(items: Iterable[T], identity: Callable[[T], str]) -> Mapping[Part, list[T]]:
    """Put each item into exactly one part."""
    parts: dict[Part, list[T]] = {part: [] for part in Part}
    for item in items:
        parts[part_of(identity(item))].append(item)
    return parts
