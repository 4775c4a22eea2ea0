"""Whose a record is, and whose turn it is: tenants share slots, and some have to wait. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from pipeline.stream.ledger import RULE_BYTES, WHO_BYTES
from pipeline.stream.records import Received

if TYPE_CHECKING:
    from pipeline.stream.workload import Held

TENANT_HEADER = "haiku-tenant"
"""Says whose event it is that was escalated, where its own key does not."""
CROWD = 16
"""Records of one tenant in a partition that count as active while they wait: with more than these
it holds up only itself, and what comes behind them is let in all the same."""
FIELD_BYTES = 256 << 10
"""Of a record in which a field is looked for, which takes a quarter of a millisecond then."""
_TENANTS_KEPT = 1000
TenantOf = Callable[[Received], str]


def tenant_reader(source: str | None) -> TenantOf | None:
    """Whose a record is, by the setting `stream.tenant_from`; empty where it does not say."""
    if source is None:
        return None
    kind, _, name = source.partition(":")
    if kind == "header":
        return lambda record: _header(record, name) or ""
    return _by_field(name) if kind == "field" else _by_key(name)


def named(found: object) -> str:
    """The name that a field's value is, text or a whole number; empty where it is neither."""
    is_name = isinstance(found, str | int) and not isinstance(found, bool)
    return str(found) if is_name else ""


def carried_tenant_reader(source: str | None) -> TenantOf | None:
    """The same of what was escalated: by the header that was added to it, as far as it has one."""
    own = tenant_reader(source)
    if own is None:
        return None

    def read(record: Received) -> str:
        carried = _header(record, TENANT_HEADER)
        return own(record) if carried is None else carried

    return read


def _header(record: Received, name: str) -> str | None:
    values = (value for key, value in record.headers if key == name)
    found = next(values, None)
    return None if found is None else found.decode(errors="replace")


def _by_key(character: str) -> TenantOf:
    def read(record: Received) -> str:
        before, found, _ = (record.key or b"").decode(errors="replace").partition(character)
        return before if found else ""

    return read


def _by_field(name: str) -> TenantOf:
    # Nothing is built of the other fields.
    only: Any = msgspec.defstruct(
        "Only", [("value", msgspec.Raw, msgspec.Raw())], rename={"value": name}
    )
    decoder = msgspec.json.Decoder(only)

    def read(record: Received) -> str:
        if record.value is None or len(record.value) > FIELD_BYTES:
            return ""
        try:
            found = msgspec.json.decode(decoder.decode(record.value).value)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            # What is wrong with it is said when it is read as an event.
            return ""
        return named(found)

    return read


class Waiting(Protocol):
    """Tenants of whom nothing is to be started."""

    def __contains__(self, tenant: object) -> bool: ...

    def is_used_up(self, tenant: str) -> bool:
        """Whether that is because it may spend nothing more, which may last a day."""
        ...


class Nobody:
    """No tenant waits."""

    def __contains__(self, tenant: object) -> bool:
        return False

    def is_used_up(self, _tenant: str) -> bool:
        return False


NOBODY = Nobody()


class Turns:
    """Which tenant's turn it is, in all partitions of a stage together.

    Start-time fair queueing, each record counting as much: the time of a tenant moves on with each
    of its records, and the one furthest behind goes next. One that was idle, or waited, starts at
    the present. Without tenants all are one.

    Attributes:
        waiting: Those of whom nothing is started.
    """

    def __init__(self) -> None:
        self.waiting: Waiting = NOBODY
        self._times: dict[str, int] = {}
        self._now = 0
        self._kept = _TENANTS_KEPT

    def of(self, tenant: str) -> float:
        """The lowest goes first; infinite for one that has to wait."""
        if tenant in self.waiting:
            return inf
        return max(self._times.get(tenant, 0), self._now)

    def took(self, tenant: str) -> None:
        """A record of it is started."""
        self._now = max(self._times.get(tenant, 0), self._now)
        self._times[tenant] = self._now + 1
        if len(self._times) > self._kept:
            # The others begin at the present, as if they were new.
            self._times = {each: at for each, at in self._times.items() if at > self._now}
            self._kept = max(_TENANTS_KEPT, 2 * len(self._times))


@dataclass(eq=False)
class Tenants:
    """The tenants of a stage: how each is found, and what they share in this process.

    `waiting` are those of whom nothing is to be started at present, another object whenever that
    changes; of those who may spend nothing more nothing is to be taken in, either.

    Where a record has to be decoded for it, `find` does that before the record is taken in, and
    `of` reads what was found; it raises `Unavailable` where the record has to wait. What is found
    may then be another one later, as of a schema that is registered meanwhile: with `parks` unset
    none is left in Kafka, since it would not be found again.

    Attributes:
        rule: Stands for `source`, the setting, in commits.
    """

    source: str
    of: TenantOf
    waiting: Callable[[], Waiting] = lambda: NOBODY
    turns: Turns = field(default_factory=Turns)
    find: Callable[[Received], Awaitable[str]] | None = None
    parks: bool = True

    @classmethod
    def by(
        cls, source: str | None, waiting: Callable[[], Waiting] = lambda: NOBODY
    ) -> Tenants | None:
        """Those that the setting `stream.tenant_from` distinguishes."""
        of = tenant_reader(source)
        return None if source is None or of is None else cls(source, of, waiting)

    @property
    def rule(self) -> bytes:
        return sha256(self.source.encode()).digest()[:RULE_BYTES]

    @staticmethod
    def who(tenant: str) -> bytes:
        """What stands for a tenant in commits."""
        return sha256(tenant.encode()).digest()[:WHO_BYTES]


class Ready:
    """What may run next in a partition: the tenants take turns, and of each the oldest goes first.

    Without tenants it is one queue.
    """

    def __init__(self, turns: Turns | None = None) -> None:
        self._has_tenants = turns is not None
        self._turns = turns or Turns()
        self._queues: dict[str, deque[tuple[bytes | None, Held]]] = {}
        self._size = 0
        self._crowded = 0

    def __len__(self) -> int:
        return self._size

    @property
    def active(self) -> int:
        """How many count as active: not those beyond a crowd, and none of a tenant that waits."""
        active = self._size - self._crowded
        if not self._has_tenants:
            return active
        return active - sum(
            min(len(queue), CROWD)
            for tenant, queue in self._queues.items()
            if tenant in self._turns.waiting
        )

    @property
    def turn(self) -> float:
        """When the next one would go, beside those of other partitions; infinite where none may."""
        return min(map(self._turns.of, self._queues), default=inf)

    def append(self, lane: bytes | None, held: Held) -> None:
        queue = self._queues.setdefault(held.tenant, deque())
        queue.append((lane, held))
        self._size += 1
        self._crowded += self._has_tenants and len(queue) > CROWD

    def popleft(self) -> tuple[bytes | None, Held]:
        """Take what is next; `IndexError` where nothing may go."""
        if self.turn == inf:
            raise IndexError("nothing may go")
        tenant = min(self._queues, key=self._turns.of)
        queue = self._queues[tenant]
        self._turns.took(tenant)
        self._size -= 1
        self._crowded -= self._has_tenants and len(queue) > CROWD
        first = queue.popleft()
        if not queue:
            del self._queues[tenant]
        return first
