"""What is done in a partition, although it was not done in order, and how a commit carries that.

Pure: no I/O, and all numbers are offsets. The ledger travels as the metadata of the committed
offset: ``hp2.`` and base64 of a CRC-32 (4 bytes), then varints: `high - base`, and for each
unfinished offset after the first its distance to the one before. The first is the base itself.
The checksum is taken over base, cluster and varints, so that the ledger fits beside that offset of
that cluster alone. Where brokers do not say which cluster they are it is ``hp1.``, without it.

Where tenants are parked it is ``hp3.``: the CRC-32, 4 bytes for what says whose a record is, their
number (with its highest bit set where the cluster counts), 8 bytes for each, then varints: `high -
base`, for each tenant `offset - base` and `count`, and the distances, of which the first is from
the base.

Brokers take at most 4,096 characters. It always fits: a distance below 2^21 needs 3 bytes, and
within a span of 2^26 (`MAX_SPAN`) at most 32 distances can be larger and need a fourth. So 1,000
unfinished offsets need at most 4 + 4 + 999 * 3 + 32 = 3,037 bytes, which are 4,052 characters
in base64 and 4,056 with the prefix. 32 parked tenants (`MOST_PARKED`) need 16 bytes each; with
800 unfinished offsets (`LIMIT_WITH_PARKED`) that is 4 + 5 + 512 + 4 + 800 * 3 + 32 = 2,957.
"""

import base64
import binascii
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise

from pipeline.model.errors import PipelineError

MAX_SPAN = 1 << 26
"""Offsets between the first unfinished record and the last taken one, at most. Beyond it a
partition waits for its straggler, because the commit metadata could no longer hold the ledger."""
MAX_CHARACTERS = 4096
"""Kafka's default of `offset.metadata.max.bytes`."""
MOST_PARKED = 32
"""Tenants that may be parked in a partition."""
LIMIT_WITH_PARKED = 800
"""Unfinished offsets that always fit beside these."""
WHO_BYTES = 8
RULE_BYTES = 4
_FAMILY = "hp"
_MAGIC, _MAGIC_WITH_CLUSTER, _MAGIC_WITH_PARKED = "hp1.", "hp2.", "hp3."
_CRC_BYTES = 4
_HAS_CLUSTER = 0x80
_MORE = 0x80
"""The bit of a varint's byte that says that another one follows."""
_MAX_VARINT_BYTES = 9


@dataclass(frozen=True, slots=True)
class Parked:
    """A tenant whose records from `offset` on are not taken: they are left in Kafka for later.

    Below `high` of the commit point there are `count` of them. `who` stands for its name.
    """

    who: bytes
    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class CommitPoint:
    """What one commit says about a partition.

    Args:
        base: The offset to commit: everything below it is done, and it is not done itself.
        high: Everything below it was looked at: whatever is not in `unfinished` is done, or is
            no record at all (a transaction marker, or removed by compaction).
        unfinished: The offsets from `base` to `high` that are not done, ascending, but for those
            of parked tenants. Without any of these the first is `base`, and where there is none,
            `high` is `base`.
        parked: Tenants whose records are left for later, by `who`.
        rule: Stands for what says whose a record is; `parked` means something with the same alone.
    """

    base: int
    high: int
    unfinished: tuple[int, ...] = ()
    parked: tuple[Parked, ...] = ()
    rule: bytes = b""

    @property
    def done_above(self) -> int:
        """How many offsets above `base` are done."""
        return self.high - self.base - len(self.unfinished) - self.parked_from(self.base)

    def parked_from(self, begin: int) -> int:
        """How many records are left for later, at most, of a log that begins at `begin`."""
        return sum(
            min(each.count, max(0, self.high - max(begin, each.offset))) for each in self.parked
        )

    def lag(self, end: int, *, begin: int = 0) -> int:
        """How many offsets are not done of a log that reaches from `begin` to before `end`.

        Records that retention removed are not waited for, and what a log that was created again
        does not hold yet is no lag. Markers of transactions count as long as they are not passed.
        """
        held_back = sum(begin <= offset < end for offset in self.unfinished)
        return held_back + self.parked_from(begin) + max(0, end - max(begin, self.high))


class OffsetRegression(ValueError):
    """A record came whose offset was passed already: the log behind the partition is another one.

    That happens when a topic was deleted and created again, or lost its end.
    """


class LedgerFull(ValueError):
    """A record cannot be taken before earlier ones of its partition are done."""


class OffsetLedger:
    """Which records of a partition are taken and which are done.

    A record is *taken* when it comes in and *finished* when its result is ready to be committed;
    in between it is unfinished, as `limit` of them may be. A ledger that was restored also knows
    records that its previous owner had not finished; they count as unfinished until they come in
    again.

    A tenant may be *parked*: its records are passed over from then on, and stay in Kafka. Later
    they are read once more, from where it was parked, and *taken back*.

    Attributes:
        position: The offset that is expected next: everything below it has come in.
        taken: How many records have come in and are not done.
        parked: What is left for later, by tenant.
    """

    def __init__(self, start: CommitPoint, *, limit: int) -> None:
        self.position = start.base
        if start.parked:
            # What is parked is read once more when it is its turn.
            self.position = next(iter(start.unfinished), start.high)
        self.taken = 0
        self.parked = {each.who: each for each in start.parked}
        self._rule = start.rule
        self._limit = limit
        self._high = self._counted = max(start.base, start.high)
        # What was taken back, and comes before what the main reading has taken.
        self._late: dict[int, None] = {}
        # In ascending order at all times: what is inherited comes first, and what is taken
        # later lies above it. So the first key is the base.
        self._unfinished: dict[int, bool] = dict.fromkeys(start.unfinished, False)
        self._inherited = deque(start.unfinished)

    @property
    def base(self) -> int:
        """The first offset that is not done; everything below it is."""
        base = next(iter(self._unfinished), max(self._high, self.position))
        if self.parked or self._late:
            base = min(base, *self._late, *(each.offset for each in self.parked.values()))
        return base

    def is_done(self, offset: int) -> bool:
        """Whether a record is done, as far as is known; what lies ahead is not.

        Where tenants are parked it is not known whether one of them has it.
        """
        return (
            offset < self._high
            and offset not in self._unfinished
            and offset not in self._late
            and not any(each.offset <= offset for each in self.parked.values())
        )

    def is_known(self, offset: int) -> bool:
        """Whether it was looked at before, by this process or an earlier one."""
        return offset < self._high

    def is_unfinished(self, offset: int) -> bool:
        return offset in self._unfinished or offset in self._late

    @property
    def is_behind(self) -> bool:
        """Whether not all has come in again yet that an earlier owner had looked at."""
        return self.position < self._high

    def take(self, offset: int) -> bool:
        """Let a record in. What is inherited always fits.

        Returns:
            Whether it has to be worked on; if not, it was done before.

        Raises:
            OffsetRegression: A later record came in before.
            LedgerFull: It does not fit; it may be offered again later.
        """
        if offset < self.position:
            raise OffsetRegression(f"offset {offset} came after {self.position - 1}")
        unfinished = len(self._unfinished) + len(self._late)
        if offset >= self._high and (unfinished >= self._limit or offset - self.base > MAX_SPAN):
            # Taking it would show that inherited ones below it are gone: `advance` drops them.
            kept = [known for known, is_taken in self._unfinished.items() if is_taken]
            kept += self._late
            first = min((*kept, *(each.offset for each in self.parked.values())), default=offset)
            if len(kept) >= self._limit or offset - first > MAX_SPAN:
                raise LedgerFull(f"offset {offset} does not fit: {len(kept)} unfinished")
        if self._inherited:
            self.advance(offset)
        self.position = offset + 1
        if self._inherited and self._inherited[0] == offset:
            self._inherited.popleft()
        elif offset < self._high:
            return False
        self._unfinished[offset] = True
        self.taken += 1
        self._high = max(self._high, offset + 1)
        return True

    def pass_over(self, who: bytes, offset: int) -> None:
        """Leave a record for later, and with it all of its tenant that come after it.

        Raises:
            OffsetRegression: A later record came in before.
            LedgerFull: It is too far from what is not done.
        """
        if offset < self.position:
            raise OffsetRegression(f"offset {offset} came after {self.position - 1}")
        if offset - self.base > MAX_SPAN:
            raise LedgerFull(f"offset {offset} is too far from {self.base}")
        self.advance(offset)
        parked = self.parked.get(who) or Parked(who, offset, 0)
        is_new = offset >= self._counted
        self.parked[who] = Parked(who, parked.offset, parked.count + is_new)
        self.position = offset + 1
        self._high = max(self._high, self.position)

    def take_back(self, who: bytes, offset: int) -> bool:
        """Let a record in that was passed over, the first that is left of its tenant, if it fits.

        Returns:
            Whether it did; it may be offered again later.
        """
        if len(self._unfinished) + len(self._late) >= self._limit:
            return False
        parked = self.parked[who]
        self.parked[who] = Parked(who, offset + 1, max(0, parked.count - 1))
        self._late[offset] = None
        self.taken += 1
        return True

    def looked_through(self, who: bytes, position: int) -> None:
        """Nothing is left of a tenant below `position`."""
        parked = self.parked[who]
        if position >= self.position:
            del self.parked[who]
        else:
            self.parked[who] = Parked(who, max(position, parked.offset), parked.count)

    def expired(self, begin: int) -> None:
        """The log begins there now: what was left for later below it is gone."""
        for who, each in self.parked.items():
            self.parked[who] = Parked(who, max(begin, each.offset), each.count)

    def finish(self, offset: int) -> None:
        """A record that was taken is done.

        Raises:
            KeyError: It was not taken, or is done already.
        """
        if offset in self._late:
            del self._late[offset]
            self.taken -= 1
            return
        if not self._unfinished[offset]:
            raise KeyError(offset)
        del self._unfinished[offset]
        self.taken -= 1

    def advance(self, position: int) -> None:
        """Nothing will come in any more below `position`.

        What an earlier owner had left unfinished there has left the log since (retention,
        compaction), and the offsets that never were records need not be waited for.
        """
        while self._inherited and self._inherited[0] < position:
            del self._unfinished[self._inherited.popleft()]
        self.position = max(self.position, position)

    def commit_point(self) -> CommitPoint:
        """What a commit would say now."""
        base, high = self.base, max(self._high, self.position)
        unfinished = tuple(self._unfinished)
        if self._late:
            unfinished = tuple(sorted((*unfinished, *self._late)))
        if self.parked:
            parked = tuple(self.parked[who] for who in sorted(self.parked))
            return CommitPoint(base, high, unfinished, parked, self._rule)
        # What is unfinished at the very end need not be said: to the next owner it is new.
        end = len(unfinished)
        while end and unfinished[end - 1] == high - 1:
            end -= 1
            high -= 1
        if end == 0:
            return CommitPoint(base, base)
        return CommitPoint(base, high, unfinished[:end])


class LedgerUnreadable(PipelineError):
    """The metadata of a committed offset is not a ledger that this version can read."""


class LedgerMoved(LedgerUnreadable):
    """The metadata is a whole ledger, written beside another offset, or in another cluster.

    So something carried both to another log, and translated the offset alone, as MirrorMaker 2
    does. What the ledger says of the old log is true and of no use in the new one, where the same
    records have other offsets. The committed offset alone holds: whoever translates offsets has to
    see to it that all below it is done. So starting there without the ledger loses nothing; what
    was done above it is done again.
    """


def encode(point: CommitPoint, cluster: str = "") -> str:
    """The metadata of a commit in a cluster; empty where nothing above the base is done.

    Raises:
        ValueError: The point breaks the limits under which it always fits.
    """
    if not point.unfinished and not point.parked:
        return ""
    if point.parked:
        magic, body = _MAGIC_WITH_PARKED, _with_parked(point, has_cluster=bool(cluster))
    else:
        distances = (later - earlier for earlier, later in pairwise(point.unfinished))
        body = _to_varints([point.high - point.base, *distances])
        magic = _MAGIC_WITH_CLUSTER if cluster else _MAGIC
    text = magic + _in_base64(_checksum(point.base, cluster, body) + body)
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(point.unfinished)} unfinished offsets need {len(text)} characters")
    return text


def decode(base: int, metadata: str | None, cluster: str = "") -> CommitPoint:
    """Read what `encode` wrote beside the committed offset `base` of a cluster.

    Raises:
        LedgerMoved: It was written beside another offset, or in another cluster. Damage that
            leaves a whole ledger looks the same, and costs the same.
        LedgerUnreadable: Another program or version wrote it, or it was damaged. It is never
            guessed at: a wrong guess would lose or repeat events.
    """
    if not metadata:
        return CommitPoint(base, base)
    start = metadata[:12]
    if not metadata.startswith((_MAGIC, _MAGIC_WITH_CLUSTER, _MAGIC_WITH_PARKED)):
        if start.startswith(_FAMILY) and "." in start:
            raise LedgerUnreadable(
                "The committed offset carries a ledger of another version "
                f"({start.split('.')[0]!r}): run the version that wrote it until its group is "
                "drained, then this one; or stop it and set the ledger aside, which repeats what "
                "it says is done (`pipeline offsets reset STAGE --to current`)."
            )
        raise LedgerUnreadable(
            f"The committed offset carries metadata of another program ({start!r}...): use a group "
            "of the pipeline's own, or stop it and commit the offset again without metadata "
            "(`pipeline offsets reset STAGE --to current`)."
        )
    text = metadata[len(_MAGIC) :]
    try:
        payload = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise LedgerUnreadable("The ledger of a committed offset is damaged.") from None
    crc, body = payload[:_CRC_BYTES], payload[_CRC_BYTES:]
    if not body:
        raise LedgerUnreadable("The ledger of a committed offset is cut off.")
    if metadata.startswith(_MAGIC_WITH_PARKED):
        point, has_cluster = _read_parked(base, body)
        written = _with_parked(point, has_cluster=has_cluster)
    else:
        span, *distances = _from_varints(body)
        point = CommitPoint(base, base + span, tuple(accumulate(distances, initial=base)))
        if 0 in distances or point.unfinished[-1] >= point.high:
            raise LedgerUnreadable(f"The ledger committed at offset {base} contradicts itself.")
        has_cluster = metadata.startswith(_MAGIC_WITH_CLUSTER)
        written = _to_varints([span, *distances])
    if crc == _checksum(base, cluster if has_cluster else "", body):
        return point
    if text != _in_base64(crc + written):
        raise LedgerUnreadable(f"The ledger committed at offset {base} is damaged.")
    raise LedgerMoved(
        f"The ledger committed at offset {base} belongs to another offset or another cluster: both "
        "were carried here, and the offset alone was translated, as MirrorMaker 2 does it."
    )


def _with_parked(point: CommitPoint, *, has_cluster: bool) -> bytes:
    distances = (later - earlier for earlier, later in pairwise((point.base, *point.unfinished)))
    places = chain.from_iterable((each.offset - point.base, each.count) for each in point.parked)
    number = len(point.parked) | (_HAS_CLUSTER if has_cluster else 0)
    names = b"".join(each.who for each in point.parked)
    numbers = _to_varints([point.high - point.base, *places, *distances])
    return b"%b%c%b%b" % (point.rule, number, names, numbers)


def _read_parked(base: int, body: bytes) -> tuple[CommitPoint, bool]:
    """The commit point, and whether its cluster counts."""
    rule, number, rest = (
        body[:RULE_BYTES],
        body[RULE_BYTES : RULE_BYTES + 1],
        body[RULE_BYTES + 1 :],
    )
    count = int.from_bytes(number) & ~_HAS_CLUSTER
    end = count * WHO_BYTES
    numbers = _from_varints(rest[end:])
    if len(numbers) <= 2 * count or not count:
        raise LedgerUnreadable("The ledger of a committed offset is cut off.")
    span, places, distances = numbers[0], numbers[1 : 1 + 2 * count], numbers[1 + 2 * count :]
    parked = tuple(
        Parked(
            rest[at * WHO_BYTES : (at + 1) * WHO_BYTES], base + places[2 * at], places[2 * at + 1]
        )
        for at in range(count)
    )
    unfinished = tuple(accumulate(distances, initial=base))[1:]
    point = CommitPoint(base, base + span, unfinished, parked, rule)
    open_ones = [*unfinished, *(each.offset for each in parked)]
    if 0 in distances[1:] or max(unfinished, default=base) >= point.high or min(open_ones) != base:
        raise LedgerUnreadable(f"The ledger committed at offset {base} contradicts itself.")
    return point, bool(int.from_bytes(number) & _HAS_CLUSTER)


def _in_base64(payload: bytes) -> str:
    return base64.urlsafe_b64encode(payload).rstrip(b"=").decode("ascii")


def _checksum(base: int, cluster: str, body: bytes) -> bytes:
    seed = zlib.crc32(cluster.encode(), base & 0xFFFFFFFF)
    return zlib.crc32(body, seed).to_bytes(_CRC_BYTES, "big")


def _to_varints(numbers: Iterable[int]) -> bytes:
    out = bytearray()
    for number in numbers:
        rest = number
        while rest >= _MORE:
            out.append(rest & 0x7F | _MORE)
            rest >>= 7
        out.append(rest)
    return bytes(out)


def _from_varints(body: bytes) -> list[int]:
    numbers = []
    number = shift = 0
    for byte in body:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < _MORE:
            numbers.append(number)
            number = shift = 0
        elif shift > 7 * _MAX_VARINT_BYTES:
            raise LedgerUnreadable("The ledger of a committed offset holds an impossible number.")
    if shift:
        raise LedgerUnreadable("The ledger of a committed offset is cut off.")
    return numbers
