"""Sessions: what a cookie stands for. They are in memory, so that one that ended is gone.

A restart of the desk ends all of them. The cookie is a random token; kept is only its hash.
"""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.desk.access.people import Person

_MOST = 10_000
"""Sessions at once; beyond it the one that was unused for the longest time ends."""


@dataclass(slots=True)
class Session:
    """Who signed in, and what their pages send along with each change."""

    person: Person
    begun: float
    used: float
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))


class Sessions:
    """The sessions of one desk.

    Args:
        idle: Seconds without use after which one ends.
        life: Seconds after which it ends in any case.
        clock: Seconds, of a clock that is never set back.
    """

    def __init__(
        self, idle: float, life: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._idle = idle
        self._life = life
        self._clock = clock
        self._by_hash: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, person: Person) -> str:
        """Begin a session; returns the token for the cookie."""
        token, now = secrets.token_urlsafe(32), self._clock()
        self._by_hash[_hash(token)] = Session(person, now, now)
        while len(self._by_hash) > _MOST:
            self._by_hash.popitem(last=False)
        return token

    def find(self, token: str, *, is_use: bool) -> Session | None:
        """The session of a token, if it has not ended; only `is_use` keeps it from being idle."""
        key, now = _hash(token), self._clock()
        session = self._by_hash.get(key)
        if session is None:
            return None
        if now - session.used >= self._idle or now - session.begun >= self._life:
            del self._by_hash[key]
            return None
        if is_use:
            session.used = now
            self._by_hash.move_to_end(key)
        return session

    def end(self, token: str) -> None:
        self._by_hash.pop(_hash(token), None)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
