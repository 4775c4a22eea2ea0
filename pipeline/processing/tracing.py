"""What the way of an event tells whoever traces it; `pipeline.observe` makes spans of it."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from pipeline.stream.records import Headers


class EventTrace(Protocol):
    """The trace of one event, while it is handled."""

    @property
    def trace_id(self) -> str | None:
        """32 hexadecimal digits; None where the event has no trace."""
        ...

    def ended(self, end: str) -> None:
        """The event ends there: one of `stream.records.End`."""
        ...

    def carried_on(self, headers: Headers) -> Headers:
        """These headers, with this trace's context in place of the one that came in."""
        ...


class Tracer(Protocol):
    """Told of what happens to events, from the event loop; must be quick and must not raise."""

    def event(
        self, stage: str, *, topic: str, partition: int, offset: int, headers: Headers
    ) -> AbstractContextManager[EventTrace]:
        """An event is handled in the body; what is asked there belongs to its trace."""
        ...

    def publication(self, records: Iterable[tuple[str, Headers]]) -> AbstractContextManager[None]:
        """These records, each a topic and its headers, are published and committed in the body."""
        ...


class NoTrace:
    """Nobody traces: what the publisher sent is carried on as it is."""

    trace_id = None

    def ended(self, end: str) -> None:
        """Ignore."""

    def carried_on(self, headers: Headers) -> Headers:
        """As they are."""
        return headers


class NoTracer:
    """Makes no traces."""

    def event(
        self, stage: str, *, topic: str, partition: int, offset: int, headers: Headers
    ) -> AbstractContextManager[EventTrace]:
        """Ignore."""
        del stage, topic, partition, offset, headers
        return _NOTHING

    def publication(self, records: Iterable[tuple[str, Headers]]) -> AbstractContextManager[None]:
        """Ignore."""
        del records
        return nullcontext()


_NOTHING: AbstractContextManager[EventTrace] = nullcontext(NoTrace())
