"""Who changed what with a command: a record in the topic `audit` for each, and listing these.

A record is published in the transaction that makes the change, so that there is none without the
other; a command that commits several times writes one for each, with the same `run`. Nothing of an
event is in it, and of a key only its hash, since the key may be what a person asked to forget.
"""

import getpass
import hashlib
import os
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.config import OperatorSettings
from pipeline.kafka.reader import TopicReader
from pipeline.model.errors import UsageError
from pipeline.model.records import Audit, AuditOutcome, Unusable, read_record
from pipeline.operators.selection import Span
from pipeline.stream.records import Headers, Outgoing

HEADINGS = ("Time", "Person", "Command", "Selected", "Done", "Outcome")
_HEADERS: Headers = (("content-type", b"application/json"),)
_NAME = 100  # characters
_VALUES = 20  # of one option
_CHARACTERS = 250  # of a value: no name of a topic is longer


def person_named(
    given: str | None, settings: OperatorSettings, *, user: Callable[[], str] = getpass.getuser
) -> str:
    """Who gives a command: as they say, else the user of this system; else `UsageError`."""
    if given is not None:
        if not 0 < len(name := given.strip()) <= _NAME:
            raise UsageError(f"--as takes a name of at most {_NAME} characters.")
        return name
    if settings.require_as:
        raise UsageError("Say who you are with --as NAME: operators.require_as is set.")
    try:
        return user()
    except (KeyError, OSError):
        raise UsageError("This system has no name for its user: say who you are, --as.") from None


def hash_of_key(key: str) -> str:
    """How a record's key is named where the key itself must not be: SHA-256, in hexadecimal."""
    return hashlib.sha256(os.fsencode(key)).hexdigest()


def selected(key: str | None = None, **options: object) -> dict[str, list[str]]:
    """What a command was given, by option; those that were not given are left out."""
    found = {} if key is None else {"key_sha256": [hash_of_key(key)]}
    for name, value in options.items():
        if value is None or value is False:
            continue
        values = list(value) if isinstance(value, list | tuple) else [value]
        texts = [_text(each)[:_CHARACTERS] for each in values[:_VALUES]]
        if len(values) > _VALUES:
            texts.append(f"and {len(values) - _VALUES:,} more")
        if texts:
            found[name] = texts
    return found


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@dataclass(frozen=True, slots=True)
class AuditedCommand:
    """One run of a command by a person; `did` is what it does to records, such as `replayed`."""

    topic: str
    person: str
    command: str
    did: str
    selected: Mapping[str, list[str]] = field(default_factory=dict)
    run: str = field(default_factory=lambda: secrets.token_hex(8))

    def entry(
        self,
        count: int,
        *,
        at: datetime,
        about: str,
        did: str | None = None,
        outcome: AuditOutcome = AuditOutcome.DONE,
        settings: Mapping[str, str] | None = None,
    ) -> Outgoing:
        """The record of what was done to `count` records of the topic `about`."""
        record = Audit(
            at=at,
            person=self.person,
            command=self.command,
            run=self.run,
            selected=dict(self.selected),
            did=did or self.did,
            topic=about,
            count=count,
            outcome=outcome,
            settings=None if settings is None else dict(settings),
        )
        value = record.model_dump_json(by_alias=True).encode()
        # Under one key, all records of a run are in one partition, in order.
        return Outgoing(self.topic, self.run.encode(), value, _HEADERS)


@dataclass(slots=True)
class Line:
    """One run of a command: what it selected, what was done how often, and how it ended."""

    at: datetime
    person: str
    command: str
    run: str
    selected: Mapping[str, Sequence[str]]
    done: Counter[str]
    outcome: str  # `begun` where nothing says how it ended

    def row(self) -> Sequence[str]:
        """The cells below `HEADINGS`."""
        chosen = (f"{name} {' '.join(values)}" for name, values in self.selected.items())
        done = (f"{count:,} {did}" for did, count in self.done.items())
        return (
            f"{self.at:%Y-%m-%d %H:%M:%S}",
            *(self.person, self.command, ", ".join(chosen), ", ".join(done), self.outcome),
        )


@dataclass(frozen=True, slots=True)
class AuditListing:
    """The newest runs, the oldest of them first, of the many that match."""

    lines: Sequence[Line]
    matching: int
    unreadable: int  # records that this version cannot read, or that are no audit records

    def summary(self) -> str:
        left_out = self.matching - len(self.lines)
        return (
            f"{self.matching:,} commands"
            f"{f', {left_out:,} older ones not shown' if left_out else ''}"
            f"{f'; {self.unreadable:,} records are not readable' if self.unreadable else ''}."
        )

    def document(self) -> dict[str, Any]:
        return {
            "lines": self.lines, "matching": self.matching, "unreadable": self.unreadable
        }  # fmt: skip


async def list_audit(read: TopicReader, topic: str, span: Span, *, limit: int) -> AuditListing:
    """What commands changed in a span of time, those of one run together."""
    runs: dict[str, Line] = {}
    unreadable = 0
    async with read([topic], start=span.since or "beginning") as records:
        async for record in records:
            try:
                entry = read_record(Audit, record.value)
            except Unusable:
                unreadable += 1
                continue
            if entry.at not in span:
                continue
            line = runs.setdefault(
                entry.run,
                Line(
                    *(entry.at, entry.person, entry.command, entry.run, entry.selected),
                    done=Counter(),
                    outcome=entry.outcome,
                ),
            )
            line.outcome = entry.outcome
            if entry.outcome == AuditOutcome.DONE:
                line.done[entry.did] += entry.count
    newest = sorted(runs.values(), key=lambda line: line.at)[-limit:]
    return AuditListing(newest, len(runs), unreadable)
