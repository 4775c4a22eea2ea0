"""The prompt cache: which part of a prompt is read, which is written, and for how long.

Pure: the time comes in as seconds of any clock that does not go back.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Ttl = Literal["5m", "1h"]
_SECONDS: dict[Ttl, float] = {"5m": 300.0, "1h": 3600.0}
_LOOKBACK = 20


@dataclass(frozen=True, slots=True)
class Block:
    """A cacheable piece of a prompt.

    Args:
        content: Everything that makes it what it is.
        tokens: What it counts.
        breakpoint: Its `cache_control`, if it has one.
    """

    content: bytes
    tokens: int
    breakpoint: Ttl | None = None


@dataclass(slots=True)
class _Entry:
    readable_at: float | None
    expires_at: float
    ttl: Ttl


@dataclass(frozen=True, slots=True)
class CacheUse:
    """How the tokens of a prompt split; their sum is the whole prompt."""

    uncached: int
    read: int = 0
    written_5m: int = 0
    written_1h: int = 0

    @property
    def written(self) -> int:
        """Tokens written for either time."""
        return self.written_5m + self.written_1h


class PromptCache:
    """What is cached, for all models and keys.

    Args:
        max_entries: The least recently used are dropped beyond.
    """

    def __init__(self, max_entries: int = 10_000) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def use(
        self, scope: str, blocks: Sequence[Block], *, minimum: int, now: float
    ) -> tuple[CacheUse, "Pending"]:
        """Look a prompt up at the start of its request, and note what it will write.

        Args:
            scope: What never shares entries: the key and the model.
            blocks: The prompt in order: tools, system, messages.
            minimum: Tokens a prefix needs to be cached.
            now: The start of the request.

        Returns:
            The split, and the handle to tell when the response begins.
        """
        total = sum(block.tokens for block in blocks)
        marks = [i for i, block in enumerate(blocks) if block.breakpoint is not None]
        if not marks:
            return CacheUse(uncached=total), Pending(self, [])
        digests, sums = _prefixes(scope, blocks[: marks[-1] + 1])
        hit = self._longest_hit(marks, digests, sums, minimum, now)
        written: dict[Ttl, int] = {"5m": 0, "1h": 0}
        done = sums[hit] if hit is not None else 0
        read, keys = done, []
        for mark in marks:
            ttl = blocks[mark].breakpoint
            if ttl is None or sums[mark] < minimum:
                continue
            keys.append(digests[mark])
            self._note(digests[mark], ttl, now)
            if sums[mark] > done:
                written[ttl] += sums[mark] - done
                done = sums[mark]
        use = CacheUse(total - done, read, written["5m"], written["1h"])
        return use, Pending(self, keys)

    def readable(self, keys: Sequence[bytes], now: float) -> None:
        """The response of the request that wrote them has begun."""
        for key in keys:
            entry = self._entries.get(key)
            if entry is not None and (entry.readable_at is None or entry.readable_at > now):
                entry.readable_at = now

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def _longest_hit(
        self, marks: list[int], digests: list[bytes], sums: list[int], minimum: int, now: float
    ) -> int | None:
        hits = [
            index
            for mark in marks
            for index in range(max(0, mark - _LOOKBACK + 1), mark + 1)
            if sums[index] >= minimum and self._hit(digests[index], now)
        ]
        return max(hits, default=None)

    def _hit(self, key: bytes, now: float) -> bool:
        entry = self._entries.get(key)
        if entry is None or entry.readable_at is None or entry.readable_at > now:
            return False
        if entry.expires_at <= now:
            del self._entries[key]
            return False
        entry.expires_at = now + _SECONDS[entry.ttl]
        self._entries.move_to_end(key)
        return True

    def _note(self, key: bytes, ttl: Ttl, now: float) -> None:
        entry = self._entries.get(key)
        if entry is None or entry.expires_at <= now:
            self._entries[key] = _Entry(None, now + _SECONDS[ttl], ttl)
            while len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)
        elif _SECONDS[ttl] > _SECONDS[entry.ttl]:
            entry.ttl, entry.expires_at = ttl, now + _SECONDS[ttl]


class Pending:
    """What a request wrote; readable once its response begins."""

    __slots__ = ("_cache", "_keys")

    def __init__(self, cache: PromptCache, keys: Sequence[bytes]) -> None:
        self._cache = cache
        self._keys = keys

    def begins(self, now: float) -> None:
        """The response begins."""
        self._cache.readable(self._keys, now)


def _prefixes(scope: str, blocks: Sequence[Block]) -> tuple[list[bytes], list[int]]:
    digest = hashlib.blake2b(scope.encode(), digest_size=16)
    digests, sums, total = [], [], 0
    for block in blocks:
        digest.update(len(block.content).to_bytes(8, "big"))
        digest.update(block.content)
        total += block.tokens
        digests.append(digest.digest())
        sums.append(total)
    return digests, sums
