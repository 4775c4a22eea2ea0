"""Whose a record is, by a field that is found only once the record is decoded.

A record is decoded for this before it is taken in, and again when its turn comes: kept decoded, a
backlog would take many times its memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import structlog

from pipeline.cascade.reading import input_record, of_format
from pipeline.config.inputs import InputSettings
from pipeline.inputs.adapter import Adapter
from pipeline.inputs.records import Document, Format, InputRecord, NotAnEvent
from pipeline.model.errors import InvalidEvent, Unavailable
from pipeline.stream.records import Received
from pipeline.stream.tenants import FIELD_BYTES, Tenants, Waiting, named

_FIELD = "field:"
log = structlog.get_logger(__name__)


@runtime_checkable
class HasHead(Protocol):
    """A format of which the beginning of a record says all that may name a tenant."""

    async def read_head(self, record: InputRecord) -> Document:
        """What it says; raises as `Format.read`."""
        ...


@dataclass(eq=False)
class DecodedField:
    """Finds a field in what the format of a stage reads: in the event, else in its envelope.

    Of a list it is the first element. Records above 256 KiB name no tenant, but for those of which
    the beginning is enough.
    """

    stage: str
    name: str
    format: Format
    _is_away: bool = field(default=False, init=False)

    async def find(self, received: Received) -> str:
        """The tenant; empty where the record names none, or cannot be read: the reading says that.

        Raises:
            Unavailable: The schema registry cannot be asked now: the record has to wait.
        """
        record = input_record(received)
        read = self.format.read
        if isinstance(self.format, HasHead):
            read = self.format.read_head
        elif len(received.value or b"") > FIELD_BYTES:
            return ""
        if received.value is None:
            return ""
        try:
            document = await of_format(self.stage, read, record)
        except (InvalidEvent, NotAnEvent):
            return ""
        except Unavailable as error:
            if not self._is_away:
                log.warning("record_awaits", stage=self.stage, because=str(error))
            self._is_away = True
            raise
        self._is_away = False
        if document is None:
            return ""
        found = document.fields.get(self.name, document.about.get(self.name))
        return named(found[0] if isinstance(found, list) and found else found)


def tenants_of(
    source: str | None,
    stage: str,
    input_: InputSettings,
    adapter: Adapter | None,
    waiting: Callable[[], Waiting],
) -> Tenants | None:
    """The tenants of a stage, by the setting `stream.tenant_from`; None without it."""
    plain = Tenants.by(source, waiting)
    if plain is None or adapter is None or adapter.format is None:
        return plain
    if source is None or not source.startswith(_FIELD):
        return plain
    found = DecodedField(stage, source.removeprefix(_FIELD), adapter.format)
    return Tenants(
        # In another format the same records may be somebody else's.
        f"{source} in {input_.envelope} {input_.format}",
        lambda received: received.tenant,
        waiting,
        find=found.find,
        parks=input_.format != "registry",
    )
