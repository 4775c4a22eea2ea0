"""Where a record is in its topic, as a person writes it: `PARTITION:OFFSET`."""

import re
from typing import NamedTuple

from pipeline.errors import WrongUse
from pipeline.stream.records import Received

_FORM = re.compile(r"(?P<partition>[0-9]{1,9}):(?P<offset>[0-9]{1,18})")


class Place(NamedTuple):
    """A partition and an offset of a topic that is known."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


def place_of(record: Received) -> Place:
    """Where a record is."""
    return Place(record.partition, record.offset)


def parse_place(text: str) -> Place:
    """Read `PARTITION:OFFSET`.

    Raises:
        WrongUse: It is something else.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise WrongUse(f"{text!r} is no PARTITION:OFFSET, such as 3:1841; `list` prints them.")
    return Place(int(found["partition"]), int(found["offset"]))
