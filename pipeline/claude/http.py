"""What comes back of a request: a response, or none."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A response, whatever its status.

    Args:
        raw_headers: As received.
        body: As received.
    """

    status: int
    raw_headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case name; made again each time, so not for every call of a busy loop."""
        return {
            name.decode("ascii", "replace").lower(): value.decode("latin-1")
            for name, value in self.raw_headers
        }


@dataclass(frozen=True, slots=True)
class NoReply:
    """There was none.

    Args:
        why: `no_key`: nothing was sent, because there are no credentials.
        detail: For a person.
        sent: Whether the request may have reached the API.
    """

    why: Literal["timed_out", "disconnected", "no_key"]
    detail: str
    sent: bool
