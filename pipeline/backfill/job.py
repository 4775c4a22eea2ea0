"""The life of one batch, as the compacted topic tells it. Pure."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from pipeline.model.records import Count, Money, Offset, PartitionNumber, Timestamp, added, counted

SCHEMA = "backfills/1"
_KEY_PARTS = 5
"""Of a batch: stage, source, partition, first offset, nonce."""


class State(StrEnum):
    """How far a batch is. It only goes on, but for a hand-in that did not come about."""

    CLAIMED = "claimed"
    """Its events are nobody else's; nothing was sent."""
    SENDING = "sending"
    """It may have been submitted, or not."""
    SUBMITTED = "submitted"
    """The API has it, and its handle is known."""
    ENDED = "ended"
    """Its results are being published, or there are none to wait for."""
    PUBLISHED = "published"
    """Every event of it came to its end."""


class WrongTurn(ValueError):
    """A batch cannot go from its state to that one."""


class Kept(BaseModel):
    """What the values of the topic share; a later version may write more fields."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Tally(Kept):
    """What became of events.

    Args:
        returned: Events that the batch gave no answer to, and that were asked in the normal lane.
        gone: Events whose record had left the log before they could be published.
        batch_usd: What the answers of batches cost; None where a price is not known.
        normal_usd: What the normal lane cost.
    """

    enriched: Count = 0
    escalated: Count = 0
    dead_letters: Count = 0
    returned: Count = 0
    gone: Count = 0
    batch_usd: Money | None = Decimal(0)
    normal_usd: Money | None = Decimal(0)

    @property
    def published(self) -> int:
        """Events that came to an end."""
        return self.enriched + self.escalated + self.dead_letters

    def __add__(self, other: "Tally") -> "Tally":
        """Sum both."""
        return Tally(
            enriched=counted(self.enriched, other.enriched),
            escalated=counted(self.escalated, other.escalated),
            dead_letters=counted(self.dead_letters, other.dead_letters),
            returned=counted(self.returned, other.returned),
            gone=counted(self.gone, other.gone),
            batch_usd=added(self.batch_usd, other.batch_usd),
            normal_usd=added(self.normal_usd, other.normal_usd),
        )


class Job(Kept):
    """One batch: which events it holds, and how far it is.

    Args:
        stage: Whose events.
        source: The topic, or `file:` and the digest of a file.
        partition: Of the topic; 0 for a file.
        first: Offset of its first event; in a file, its position.
        next: Everything of the partition below it was claimed.
        spans: Which offsets from `first` to `next` are its own: first and one after the last of
            each stretch. What lies between was done before it was claimed.
        events: How many events it holds.
        nonce: Begins the custom ids of its requests, and of no other batch.
        run: The backfill that claimed it.
        requests: How many were submitted, or may have been.
        sending_since: When it may have been submitted first.
        batch_id: The handle.
        published_to: Its events below it are published.
        given_up: Whether its batch is not waited for: its events go through the normal lane.
    """

    schema_: str = Field(SCHEMA, alias="schema")
    stage: str
    source: str
    partition: PartitionNumber
    first: Offset
    next: Offset
    spans: tuple[tuple[Offset, Offset], ...]
    events: Count
    nonce: str
    run: str
    state: State = State.CLAIMED
    claimed_at: Timestamp
    requests: Count = 0
    sending_since: Timestamp | None = None
    batch_id: str | None = None
    submitted_at: Timestamp | None = None
    published_to: Offset = 0
    published_at: Timestamp | None = None
    given_up: bool = False
    tally: Tally = Tally()

    @property
    def key(self) -> bytes:
        """Of its records in the topic."""
        return f"{self.stage}/{self.source}/{self.partition}/{self.first}/{self.nonce}".encode()

    @property
    def prefix(self) -> str:
        """What the custom ids of its requests begin with."""
        return prefix_of(self.nonce, self.partition)

    def holds(self, offset: int) -> bool:
        """Whether the event at an offset is one of its own."""
        return any(begin <= offset < end for begin, end in self.spans)

    def sending(self, now: datetime, requests: int) -> Self:
        """It is about to be sent; from here on it may have been."""
        self._check(State.CLAIMED, State.SENDING)
        return self._with(
            state=State.SENDING, requests=requests, sending_since=self.sending_since or now
        )

    def not_sent(self) -> Self:
        """It was not taken, beyond doubt."""
        self._check(State.SENDING)
        return self._with(state=State.CLAIMED, sending_since=None)

    def submitted(self, batch_id: str, now: datetime) -> Self:
        """The API has taken it."""
        self._check(State.SENDING)
        return self._with(state=State.SUBMITTED, batch_id=batch_id, submitted_at=now)

    def ended(self) -> Self:
        """Its results can be published."""
        self._check(State.SUBMITTED)
        return self._with(state=State.ENDED, published_to=self.first)

    def without_batch(self) -> Self:
        """There is nothing to submit: no event of it makes a request."""
        self._check(State.CLAIMED)
        return self._with(state=State.ENDED, published_to=self.first, requests=0)

    def abandoned(self) -> Self:
        """Its batch is not to be waited for; its events go through the normal lane."""
        self._check(State.CLAIMED, State.SUBMITTED, State.ENDED)
        return self._with(
            state=State.ENDED, published_to=max(self.first, self.published_to), given_up=True
        )

    def progressed(self, to: int, more: Tally) -> Self:
        """The outcomes of its events below `to` go out with the record that says so."""
        self._check(State.ENDED)
        if not self.published_to <= to <= self.next:
            raise WrongTurn(f"published to {to} after {self.published_to}, of {self.next}")
        return self._with(published_to=to, tally=self.tally + more)

    def published(self, now: datetime) -> Self:
        """All of its events are published; those that never came are gone."""
        self._check(State.ENDED)
        gone = max(0, self.events - self.tally.published)
        return self._with(
            state=State.PUBLISHED,
            published_to=self.next,
            published_at=now,
            spans=(),
            tally=self.tally + Tally(gone=gone),
        )

    def _check(self, *states: State) -> None:
        if self.state not in states:
            raise WrongTurn(f"a batch that is {self.state} is not {' or '.join(states)}")

    def _with(self, **changes: object) -> Self:
        return self.model_copy(update=changes)


class Run(Kept):
    """One backfill of one source, over however many starts of the program.

    Args:
        run: Its id, in each of its batches.
        events: What there was to do when it began; None where nobody could tell.
        ended_at: When it had done all of it.
    """

    schema_: str = Field(SCHEMA, alias="schema")
    stage: str
    source: str
    run: str
    events: Count | None
    started_at: Timestamp
    ended_at: Timestamp | None = None

    @property
    def key(self) -> bytes:
        """Of its records in the topic."""
        return run_key(self.stage, self.source)


def is_key_of_job(key: bytes, stage: str) -> bool:
    """Whether a key of the topic is that of a batch of a stage."""
    parts = key.decode(errors="replace").split("/")
    # A source may hold slashes of its own: `file:...`, or a topic with a prefix.
    return (
        len(parts) >= _KEY_PARTS
        and parts[0] == stage
        and parts[-3].isdecimal()
        and parts[-2].isdecimal()
    )


def run_key(stage: str, source: str) -> bytes:
    """The key under which the latest backfill of a source is kept."""
    return f"{stage}/{source}".encode()


def prefix_of(nonce: str, partition: int) -> str:
    """What the custom ids of a batch begin with, and those of no other."""
    return f"{nonce}-{partition}-"


def custom_id(prefix: str, offset: int, digest: str) -> str:
    """The id of a request: which batch, which event, which question; 64 characters at most."""
    return f"{prefix}{offset}-{digest[:16]}"
