"""What is read of a record, whatever its format, and what a format makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class InputRecord:
    """A record of a topic as it came; headers without those that are null, the last of a name."""

    topic: str
    key: bytes | None
    value: bytes | None = field(repr=False)
    headers: Mapping[str, bytes] = field(repr=False)
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class Document:
    """What a format made of a record: a JSON object, of objects, and what its envelope said.

    Bytes in `fields` are files: what makes JSON of it writes them in base64. `about` holds what is
    not the event itself (attributes of a CloudEvent, Debezium's `source` and `op`, headers of a
    mail), which expressions reach as `$.about`.
    """

    fields: Mapping[str, Any]
    about: Mapping[str, Any] = field(default_factory=dict)


class Format(Protocol):
    """Reads one format."""

    async def read(self, record: InputRecord) -> Document | None:
        """The document in a record; None for a tombstone.

        Raises:
            InvalidEvent: It is not of this format; the detail says why, and quotes nothing of it.
            Unavailable: The schema registry cannot be asked now: the record waits.
        """
