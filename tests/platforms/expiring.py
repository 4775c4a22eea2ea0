"""Credentials that are handed out, expire, and are known again when they come back."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.platforms.http import Refused

Clock = Callable[[], float]


@dataclass(slots=True)
class Credential:
    """What proves who asks: a key with its secret, or a token, which is its own name."""

    name: str
    secret: str
    token: str
    expires: float  # seconds since 1970

    def expired(self, now: float) -> bool:
        return now >= self.expires


class Expiring:
    """Credentials of one kind that live for a while.

    A new one is made once the last has less than `overlap` of its life before it; the old one is
    good until its end. So it is with the metadata servers of the clouds and with mounted files.

    Args:
        prefix: What each begins with.
        life: Seconds.
        overlap: A share of the life.
        clock: Seconds since 1970.
    """

    def __init__(
        self, prefix: str, *, life: float = 3600.0, overlap: float = 0.25, clock: Clock = time.time
    ) -> None:
        self._prefix = prefix
        self._life = life
        self._overlap = overlap
        self.clock = clock
        self._made: dict[str, Credential] = {}
        self._last: Credential | None = None
        self._file: Path | None = None

    @property
    def issued(self) -> int:
        """How many were made so far."""
        return len(self._made)

    @property
    def life(self) -> float:
        return self._life

    def current(self) -> Credential:
        """The one to use now."""
        left = 0.0 if self._last is None else self._last.expires - self.clock()
        if self._last is None or left <= self._life * self._overlap:
            self._last = self._make()
        return self._last

    def renew_at(self) -> float:
        """When `current` will make the next."""
        return self.current().expires - self._life * self._overlap

    def expire(self) -> None:
        """Those that were handed out so far are expired from now on."""
        now = self.clock()
        for each in self._made.values():
            each.expires = min(each.expires, now)
        self._last = None
        if self._file is not None:
            self.write(self._file)

    def find(self, name: str) -> Credential | None:
        return self._made.get(name)

    def check(self, token: str, *, unknown: Refused, expired: Refused) -> Credential:
        """The credential with that name.

        Raises:
            Refused: One of the two given.
        """
        found = self.find(token)
        if found is None:
            raise unknown
        if found.expired(self.clock()):
            raise expired
        return found

    def write(self, path: Path) -> None:
        """Put the current one into a file, whole at any moment, as a mounted secret changes."""
        self._file = path
        new = path.with_suffix(".new")
        new.write_text(self.current().name)
        new.replace(path)

    def _make(self) -> Credential:
        name = f"{self._prefix}{secrets.token_hex(8).upper()}"
        made = Credential(
            name, secrets.token_hex(20), secrets.token_hex(32), self.clock() + self._life
        )
        self._made[name] = made
        return made
