"""Which published answers are drawn by lot: by a keyed hash, the same in every process. Pure.

Each answer by itself is drawn with the chance that is set, whatever it is and whichever tier gave
it. The hash is over the stage, the event's id and the raw record's timestamp: an event that is
handled again after a crash, or by another replica, is drawn again or again not, an escalated one is
the same at both tiers, and an id that is published again and again is drawn afresh each time.

No answer is left out here because there are many of its key. Of one key with N answers a chance of
p brings N * p whatever one does, unless answers are counted; counts differ between replicas and are
gone after a restart, and a chance that follows from them is not known any more. So the sample is
capped where the counts are known, when answers are given to people: `pipeline.trust.labelling`.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from pydantic import SecretStr

PUBLIC_KEY = b"haiku-pipeline"
"""Of installations that set none: so that replicas agree without being set up. Whoever knows the
key can choose ids that are never drawn, and find out whose an answer is by trying record keys."""
_BYTES = 8
_DIGEST_BYTES = 12


@dataclass(frozen=True, slots=True)
class Lottery:
    """Draws answers.

    Args:
        share: The chance of each, from 0 to 1.
        key: Of the hash; who shares it draws the same.
    """

    share: float
    key: bytes = PUBLIC_KEY

    def is_drawn(self, stage: str, event_id: str, at: datetime) -> bool:
        """Whether an event's answer is drawn; `at` is the raw record's timestamp."""
        moment = at.isoformat(timespec="milliseconds")
        what = f"{stage}\0{moment}\0{event_id}"
        return uniform(self.key, "answer", what) < self.share

    def whose(self, key: bytes | None, event_id: str) -> str:
        """What stands for the event's record key; an event without one is nobody else's."""
        found = b"id\0" + _bytes(event_id) if key is None else b"key\0" + key
        return _digest(self.key, "whose", found, _DIGEST_BYTES).hex()

    def stand_in(self, value: str) -> str:
        """What stands for a personal value: equal for equal ones."""
        return _digest(self.key, "value", _bytes(value.casefold()), 4).hex()


def lottery_key(secret: SecretStr | None) -> bytes:
    """The key that is set, or the public one."""
    return PUBLIC_KEY if secret is None else secret.get_secret_value().encode()


def uniform(key: bytes, purpose: str, what: str) -> float:
    """A number from 0 up to 1 that follows from these alone, unrelated to those for else."""
    digest = _digest(key, purpose, _bytes(what), _BYTES)
    return int.from_bytes(digest, "big") / float(1 << (8 * _BYTES))


def _digest(key: bytes, purpose: str, what: bytes, size: int) -> bytes:
    found = hashlib.blake2b(what, digest_size=size, key=_hash_key(key), person=purpose.encode())
    return found.digest()


@lru_cache(maxsize=16)
def _hash_key(key: bytes) -> bytes:
    """A key of any length as the hash takes it."""
    return hashlib.blake2b(key, digest_size=32).digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
