"""What is done in a partition, although it was not done in order, and how a commit carries that.

Pure: no I/O, and all numbers are offsets. The ledger travels as the metadata of the committed
offset: ``hp2.`` and base64 of a CRC-32 (4 bytes), then varints: `high - base`, and for each
unfinished offset after the first its distance to the one before. The first is the base itself.
The checksum is taken over base, cluster and varints, so that the ledger fits beside that offset of
that cluster alone. Where brokers do not say which cluster they are it is ``hp1.``, without it.

Brokers take at most 4,096 characters. It always fits: a distance below 2^21 needs 3 bytes, and
within a span of 2^26 (`MAX_SPAN`) at most 32 distances can be larger and need a fourth. So 1,000
unfinished offsets need at most 4 + 4 + 999 * 3 + 32 = 3,037 bytes, which are 4,052 characters
in base64 and 4,056 with the prefix.
"""

import base64
import binascii
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from pipeline.model.errors import PipelineError

MAX_SPAN = 1 << 26
"""Offsets between the first unfinished record and the last taken one, at most. Beyond it a
partition waits for its straggler, because the commit metadata could no longer hold the ledger."""
MAX_CHARACTERS = 4096
"""Kafka's default of `offset.metadata.max.bytes`."""
_FAMILY = "hp"
_MAGIC, _MAGIC_WITH_CLUSTER = "hp1.", "hp2."
_CRC_BYTES = 4
_MORE = 0x80
"""The bit of a varint's byte that says that another one follows."""
_MAX_VARINT_BYTES = 9


@dataclass(frozen=True, slots=True)
class CommitPoint:
    """What one commit says about a partition.

    Args:
        base: The offset to commit: everything below it is done, and it is not done itself.
        high: Everything below it was looked at: whatever is not in `unfinished` is done, or is
            no record at all (a transaction marker, or removed by compaction).
        unfinished: The offsets from `base` to `high` that are not done, ascending. The first is
            `base`; where there is none, `high` is `base`.
    """

    base: int
    high: int
    unfinished: tuple[int, ...] = ()

    @property
    def done_above(self) -> int:
        """How many offsets above `base` are done."""
        return self.high - self.base - len(self.unfinished)

    def lag(self, end: int, *, begin: int = 0) -> int:
        """How many offsets are not done of a log that reaches from `begin` to before `end`.

        Records that retention removed are not waited for, and what a log that was created again
        does not hold yet is no lag. Markers of transactions count as long as they are not passed.
        """
        held_back = sum(begin <= offset < end for offset in self.unfinished)
        return held_back + max(0, end - max(begin, self.high))


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

    Attributes:
        position: The offset that is expected next: everything below it has come in.
        taken: How many records have come in and are not done.
    """

    def __init__(self, start: CommitPoint, *, limit: int) -> None:
        self.position = start.base
        self.taken = 0
        self._limit = limit
        self._high = max(start.base, start.high)
        # In ascending order at all times: what is inherited comes first, and what is taken
        # later lies above it. So the first key is the base.
        self._unfinished: dict[int, bool] = dict.fromkeys(start.unfinished, False)
        self._inherited = deque(start.unfinished)

    @property
    def base(self) -> int:
        """The first offset that is not done; everything below it is."""
        return next(iter(self._unfinished), max(self._high, self.position))

    def is_done(self, offset: int) -> bool:
        """Whether a record is done, as far as is known; what lies ahead is not."""
        return offset < self._high and offset not in self._unfinished

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
        if offset >= self._high and (
            len(self._unfinished) >= self._limit or offset - self.base > MAX_SPAN
        ):
            # Taking it would show that inherited ones below it are gone: `advance` drops them.
            kept = [known for known, is_taken in self._unfinished.items() if is_taken]
            if kept and (len(kept) >= self._limit or offset - kept[0] > MAX_SPAN):
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

    def finish(self, offset: int) -> None:
        """A record that was taken is done.

        Raises:
            KeyError: It was not taken, or is done already.
        """
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
    if not point.unfinished:
        return ""
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
    if not metadata.startswith((_MAGIC, _MAGIC_WITH_CLUSTER)):
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
    span, *distances = _from_varints(body)
    unfinished = [base]
    for distance in distances:
        unfinished.append(unfinished[-1] + distance)
    point = CommitPoint(base, base + span, tuple(unfinished))
    if 0 in distances or unfinished[-1] >= point.high:
        raise LedgerUnreadable(f"The ledger committed at offset {base} contradicts itself.")
    named = cluster if metadata.startswith(_MAGIC_WITH_CLUSTER) else ""
    if crc == _checksum(base, named, body):
        return point
    if text != _in_base64(crc + _to_varints([span, *distances])):
        raise LedgerUnreadable(f"The ledger committed at offset {base} is damaged.")
    raise LedgerMoved(
        f"The ledger committed at offset {base} belongs to another offset or another cluster: both "
        "were carried here, and the offset alone was translated, as MirrorMaker 2 does it."
    )


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
