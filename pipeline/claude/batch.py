"""A message batch: many requests submitted together, answered within a day, at half the price."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict

from pipeline.claude.answer_json import load

MAX_REQUESTS = 100_000
Status = Literal["in_progress", "canceling", "ended"]


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A request of a batch.

    Args:
        custom_id: 1 to 64 letters, digits, `_` and `-`; unique.
        body: As it would be sent by itself.
    """

    custom_id: str
    body: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes in the batch."""
        return len(self.body) + len(self.custom_id) + 32


class Counts(BaseModel):
    """Requests of a batch by what became of them; all are `processing` until the batch ends."""

    model_config = ConfigDict(frozen=True)

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0

    @property
    def total(self) -> int:
        """Of the batch."""
        return self.processing + self.succeeded + self.errored + self.canceled + self.expired


class Batch(BaseModel):
    """A batch, as the API shows it."""

    model_config = ConfigDict(frozen=True)

    id: str
    processing_status: Status
    request_counts: Counts
    created_at: AwareDatetime
    expires_at: AwareDatetime
    ended_at: AwareDatetime | None = None

    @property
    def has_ended(self) -> bool:
        """Whether its results can be read."""
        return self.processing_status == "ended"


@dataclass(frozen=True, slots=True)
class Succeeded:
    """An answer; read it with `pipeline.claude.responses.read_message`."""

    custom_id: str
    message: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotAnswered:
    """No answer, and nothing paid.

    What the API says of it is not kept: it may repeat the content.

    Args:
        why: `errored`: the request itself is at fault, or something went wrong with it.
    """

    custom_id: str
    why: Literal["errored", "canceled", "expired"]


def body_of(requests: Iterable[BatchRequest]) -> bytes:
    """The body that hands requests in."""
    items = [
        b'{"custom_id":%b,"params":%b}' % (orjson.dumps(request.custom_id), request.body)
        for request in requests
    ]
    return b'{"requests":[%b]}' % b",".join(items)


def result_of(line: str) -> Succeeded | NotAnswered | None:
    """Read a line of the results of a batch; None if it is something else, or half of one."""
    try:
        item = load(line)
    except ValueError:
        return None
    match item:
        case {
            "custom_id": str(custom_id),
            "result": {"type": "succeeded", "message": dict(message)},
        }:
            return Succeeded(custom_id, message)
        case {"custom_id": str(custom_id), "result": {"type": "canceled" | "expired" as why}}:
            return NotAnswered(custom_id, why)
        case {"custom_id": str(custom_id), "result": {"type": str(_)}}:
            return NotAnswered(custom_id, "errored")
        case _:
            return None
