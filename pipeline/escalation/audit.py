"""The random sample that the second tier answers whatever the first one said.

It is what tells, from day to day, how often an answer that was trusted is wrong: everything else
that the second tier sees was doubted already. Chosen by a hash, so that an event that is handled
again after a restart is chosen again, and that it can be told from the records who was.
"""

import hashlib

from pipeline.events import Doubt

CODE = "audit"

_BITS = 64


def is_audited(stage: str, key: bytes, share: float) -> bool:
    """Whether what has this key is in the sample.

    Args:
        stage: Each has a sample of its own: a customer audited here is not one audited there.
        key: The record's key; the event's id where it has none.
        share: Of all keys, 0 to 1.
    """
    digest = hashlib.blake2b(key, digest_size=_BITS // 8, person=b"audit", salt=_salt(stage))
    return int.from_bytes(digest.digest(), "big") < int(share * 2**_BITS)


def audit_doubts(stage: str, key: bytes, share: float) -> tuple[Doubt, ...]:
    """The doubt that sends what is in the sample on; empty where it is not."""
    if not is_audited(stage, key, share):
        return ()
    return (Doubt(code=CODE, detail="Chosen at random, whatever the answer was."),)


def _salt(stage: str) -> bytes:
    return hashlib.blake2b(stage.encode(), digest_size=hashlib.blake2b.SALT_SIZE).digest()
