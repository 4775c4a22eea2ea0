"""What was served: every request, and the sums over all of them."""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Served:
    """One request.

    Args:
        at: Seconds since the server started.
        endpoint: `messages`, `batch`, `count_tokens`, ...
        model: As it was asked for; none where the request did not get that far.
        status: The HTTP status; 0 where the connection was cut.
        outcome: `answered`, the kind of the fault, or the error's type.
        billed: Whether it would have been paid.
        digest: Of the request's content without its model: equal content, equal digest.
        caller: Stands for the API key.
        mark: What the mark's pattern found in the content; None without one.
        custom_id: In a batch.
        seconds: How long it took.
        input_tokens: Outside the prompt cache.
        cache_read_tokens: From the prompt cache.
        cache_write_5m_tokens: Into the prompt cache, for five minutes.
        cache_write_1h_tokens: Into the prompt cache, for an hour.
        output_tokens: Of the answer, thinking included.
    """

    at: float
    endpoint: str
    model: str | None
    status: int
    outcome: str
    billed: bool = False
    digest: str | None = None
    caller: str | None = None
    mark: str | None = None
    custom_id: str | None = None
    seconds: float = 0.0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0


_TOKENS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
)


@dataclass(slots=True)
class _Sums:
    requests: int = 0
    billed: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)

    def add(self, served: Served) -> None:
        self.requests += 1
        self.billed += served.billed
        self.outcomes[served.outcome] += 1
        self.statuses[served.status] += 1
        if served.billed:
            for name in _TOKENS:
                self.tokens[name] += getattr(served, name)

    def as_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "billed": self.billed,
            "outcomes": dict(self.outcomes),
            "statuses": {str(status): n for status, n in self.statuses.items()},
            **{name: self.tokens[name] for name in _TOKENS},
        }


class Ledger:
    """Every request that was served; sums are kept of all, details of the latest.

    Args:
        keep: Requests whose details are kept. The count of distinct billed contents is over
            these too.
    """

    def __init__(self, keep: int = 100_000) -> None:
        self._recent: deque[Served] = deque(maxlen=keep)
        self._sums: dict[str, _Sums] = {}

    def add(self, served: Served) -> None:
        """Note one."""
        self._recent.append(served)
        self._sums.setdefault(served.model or "", _Sums()).add(served)

    def reset(self) -> None:
        """Forget all."""
        self._recent.clear()
        self._sums.clear()

    def __iter__(self) -> Iterator[Served]:
        return iter(self._recent)

    def __len__(self) -> int:
        return len(self._recent)

    def billed(self) -> list[Served]:
        """Those kept that would have been paid."""
        return [served for served in self._recent if served.billed]

    def counters(self) -> dict[str, Any]:
        """The sums, by model; the empty name is what had none."""
        return {
            "kept": len(self._recent),
            "distinct_billed": len({served.digest for served in self._recent if served.billed}),
            "models": {model: sums.as_json() for model, sums in self._sums.items()},
        }

    def as_json(self, limit: int | None = None) -> list[dict[str, Any]]:
        """The kept requests, oldest first; the latest `limit` of them."""
        rows = list(self._recent)
        return [asdict(row) for row in (rows if limit is None else rows[-limit:] if limit else [])]
