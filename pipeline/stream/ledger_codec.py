"""The ledger as commit metadata: text that travels with the committed offset.

The form is ``hp1.`` and base64 of: a CRC-32 (4 bytes), then varints: `high - base`, and for each
unfinished offset after the first its distance to the one before. The first is the base itself.

Brokers take at most 4,096 characters. It always fits: a distance below 2^21 needs 3 bytes, and
within a span of 2^26 (`MAX_SPAN`) at most 32 distances can be larger and need a fourth. So 1,000
unfinished offsets need at most 4 + 4 + 999 * 3 + 32 = 3,037 bytes, which are 4,052 characters
in base64 and 4,056 with the prefix.
"""

import base64
import binascii
import zlib
from collections.abc import Iterable

from pipeline.model.errors import PipelineError
from pipeline.stream.ledger import CommitPoint

MAX_CHARACTERS = 4096
"""Kafka's default of `offset.metadata.max.bytes`."""
_FAMILY = "hp"
_MAGIC = "hp1."
_CRC_BYTES = 4
_MORE = 0x80
"""The bit of a varint's byte that says that another one follows."""
_MAX_VARINT_BYTES = 9


class LedgerUnreadable(PipelineError):
    """The metadata of a committed offset is not a ledger that this version can read."""


def encode(point: CommitPoint) -> str:
    """The metadata of a commit; empty where nothing above the base is done.

    Raises:
        ValueError: The point breaks the limits under which it always fits.
    """
    if not point.unfinished:
        return ""
    numbers = [point.high - point.base]
    numbers += (
        later - earlier
        for earlier, later in zip(point.unfinished, point.unfinished[1:], strict=False)
    )
    body = _to_varints(numbers)
    payload = _checksum(point.base, body) + body
    text = _MAGIC + base64.urlsafe_b64encode(payload).rstrip(b"=").decode("ascii")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(point.unfinished)} unfinished offsets need {len(text)} characters")
    return text


def decode(base: int, metadata: str | None) -> CommitPoint:
    """Read what `encode` wrote beside the committed offset `base`.

    Raises:
        LedgerUnreadable: Somebody else wrote it, another version did, or it was damaged.
            It is never guessed at: a wrong guess would lose or repeat events.
    """
    if not metadata:
        return CommitPoint(base, base)
    if not metadata.startswith(_MAGIC):
        raise LedgerUnreadable(_whose(metadata))
    payload = _from_base64(metadata[len(_MAGIC) :])
    crc, body = payload[:_CRC_BYTES], payload[_CRC_BYTES:]
    if crc != _checksum(base, body):
        raise LedgerUnreadable(
            f"The ledger committed at offset {base} is damaged, or belongs to another offset."
        )
    span, *distances = _from_varints(body)
    unfinished = [base]
    for distance in distances:
        unfinished.append(unfinished[-1] + distance)
    point = CommitPoint(base, base + span, tuple(unfinished))
    if 0 in distances or unfinished[-1] >= point.high:
        raise LedgerUnreadable(f"The ledger committed at offset {base} contradicts itself.")
    return point


def _whose(metadata: str) -> str:
    start = metadata[:12]
    if metadata.startswith(_FAMILY) and "." in start:
        return (
            f"The committed offset carries a ledger of another version ({start.split('.')[0]!r}): "
            "run the version that wrote it until its group is drained, then this one."
        )
    return (
        f"The committed offset carries metadata of another program ({start!r}...): use a group "
        "of the pipeline's own, or commit the offset again without metadata."
    )


def _checksum(base: int, body: bytes) -> bytes:
    return zlib.crc32(body, base & 0xFFFFFFFF).to_bytes(_CRC_BYTES, "big")


def _from_base64(text: str) -> bytes:
    try:
        payload = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise LedgerUnreadable("The ledger of a committed offset is damaged.") from None
    if len(payload) <= _CRC_BYTES:
        raise LedgerUnreadable("The ledger of a committed offset is cut off.")
    return payload


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
