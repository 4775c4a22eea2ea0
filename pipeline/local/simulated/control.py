"""The state that requests share, how it is set at start, and the ledger of what was served."""

import math
import random
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from pipeline.local.simulated.api_errors import ApiError, refused_call
from pipeline.local.simulated.injected_faults import Fault, Faults
from pipeline.local.simulated.message import MessageRequest
from pipeline.local.simulated.prompt import PromptCache
from pipeline.local.simulated.rate_limiting import Limits, ModelLimiter, SentHeaders, as_sent
from pipeline.stages.checks.scope import Encoder


@dataclass(frozen=True, slots=True)
class Served:
    """One request."""

    at: float  # seconds since the server started
    endpoint: str  # `messages`, `batch`, `count_tokens`,
    model: str | None  # as asked for; None where the request did not get that far
    status: int  # HTTP; 0 where the connection was cut
    outcome: str  # `answered`, a fault's kind, or the error's type
    billed: bool = False  # whether it would have been paid
    digest: str | None = None  # of the content without its model: equal content, equal digest
    caller: str | None = None  # stands for the API key
    mark: str | None = None  # what the mark's pattern found in the content
    custom_id: str | None = None  # in a batch
    seconds: float = 0.0  # how long it took
    input_tokens: int = 0  # outside the prompt cache
    cache_read_tokens: int = 0  # from the prompt cache
    cache_write_5m_tokens: int = 0  # into the prompt cache, for five minutes
    cache_write_1h_tokens: int = 0  # into the prompt cache, for an hour
    output_tokens: int = 0  # of the answer, thinking included


_TOKENS = tuple(each.name for each in fields(Served) if each.name.endswith("_tokens"))


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
    """Every request that was served; sums are kept of all, details of the latest."""

    def __init__(self, keep: int = 100_000) -> None:
        self._recent: deque[Served] = deque(maxlen=keep)
        self._sums: dict[str, _Sums] = {}

    def add(self, served: Served) -> None:
        self._recent.append(served)
        self._sums.setdefault(served.model or "", _Sums()).add(served)

    def reset(self) -> None:
        self._recent.clear()
        self._sums.clear()

    def __iter__(self) -> Iterator[Served]:
        return iter(self._recent)

    def __len__(self) -> int:
        return len(self._recent)

    def billed(self) -> list[Served]:
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
        first = 0 if limit is None else max(0, len(self._recent) - limit)
        return [asdict(row) for row in islice(self._recent, first, None)]


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution of seconds."""

    median: float = 0.0
    sigma: float = 0.3
    tail: float = 0.0
    tail_factor: float = 8.0
    per_token: float = 0.0

    def __post_init__(self) -> None:
        if min(self.median, self.sigma, self.tail, self.per_token) < 0 or self.tail > 1:
            raise ValueError("a latency's median, sigma, tail and per_token are not negative")

    def draw(self, random: random.Random, output_tokens: int) -> float:
        seconds = self.median * math.exp(self.sigma * random.gauss(0.0, 1.0))
        if self.tail and random.random() < self.tail:
            seconds *= self.tail_factor
        return seconds + self.per_token * output_tokens


LIVELY: Mapping[str, Latency] = {
    "claude-haiku-5-5": Latency(median=0.35, sigma=0.25),
    "claude-sonnet-5-5": Latency(median=0.9, sigma=0.3),
    "*": Latency(median=0.9, sigma=0.3),
}
"""What `pipeline local` uses: modest times, Sonnet slower than Haiku."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """The defaults answer at once, without limits and without faults."""

    latency: Mapping[str, Latency] = field(default_factory=dict)  # by model id; `*` for all others
    # a minute, by model id; `*` for all others
    limits: Mapping[str, Limits] = field(default_factory=dict)
    limit_window: float = 60.0  # seconds of a limit that may be used at once
    limit_headers: SentHeaders = "announced"  # what responses say of the limits
    faults: tuple[Fault, ...] = ()  # in force from the start
    # API keys that are refused; any other key is taken
    bad_keys: frozenset[str] = frozenset({"sk-ant-invalid"})
    seed: int = 0  # of everything that is drawn
    ledger: int = 100_000  # requests whose details are kept
    readers: int = 2  # images and PDF files read at once, each in a thread
    batch_seconds: float = 2.0  # from the creation of a batch to its end
    # what labels are chosen with, beside words; none for words alone
    encoder: Encoder | None = None


Clock = Callable[[], float]
_NO_LIMITS = Limits()
_NO_LATENCY = Latency()


class Control:
    """What a test can reach into, in process or through the admin endpoint."""

    def __init__(self, simulation: Simulation, clock: Clock = time.monotonic) -> None:
        self.simulation = simulation
        self.clock = clock
        self.started = clock()
        self.random = random.Random(simulation.seed)  # noqa: S311 - delays and faults, no secrets
        self.ledger = Ledger(simulation.ledger)
        self.prompt_cache = PromptCache()
        self.faults = Faults(self.random)
        for fault in simulation.faults:
            self.faults.add(fault, self.started)
        self.latency = dict(simulation.latency)
        self.batch_seconds = simulation.batch_seconds
        self.sent_headers = simulation.limit_headers
        self.account_problem: str | None = None
        self.mark: re.Pattern[str] | None = None
        self._limits = dict(simulation.limits)
        self._limiters: dict[str, ModelLimiter] = {}

    def limiter(self, model: str) -> ModelLimiter:
        if model not in self._limiters:
            limits = self._limits.get(model, self._limits.get("*", _NO_LIMITS))
            window = self.simulation.limit_window
            self._limiters[model] = ModelLimiter(limits, self.clock(), window)
        return self._limiters[model]

    def limit(self, model: str, limits: Limits) -> None:
        """Change the limits of a model, or of all with `*`, from now on."""
        now = self.clock()
        if model == "*":
            self._limits.clear()
        self._limits[model] = limits
        for name, limiter in self._limiters.items():
            if model in {"*", name}:
                limiter.change(limits, now)

    def limits(self) -> dict[str, Limits]:
        return dict(self._limits)

    def latency_of(self, model: str) -> Latency:
        return self.latency.get(model) or self.latency.get("*") or _NO_LATENCY

    def mark_of(self, request: MessageRequest) -> str | None:
        """What the ledger keeps of a request's content: the first match of `mark`."""
        if self.mark is None:
            return None
        texts = (part for part in request.content if isinstance(part, str))
        found = (self.mark.search(text) for text in texts)
        return next((match[0] for match in found if match), None)

    def check_account(self) -> None:
        """Refuse all calls while the account is said to have a problem."""
        if self.account_problem is not None:
            raise refused_call(self.account_problem)

    def admit(self, model: str, input_tokens: int, cache_reads: int) -> None:
        """Take a request out of the model's buckets."""
        limiter = self.limiter(model)
        refused = limiter.admit(input_tokens, self.clock(), cache_reads=cache_reads)
        if refused is None:
            return
        kind, seconds = refused
        raise ApiError(
            429,
            f"This request would exceed your organization's rate limit for {model}: "
            f"{kind.removeprefix('all-').replace('-', ' ')} per minute.",
            retry_after=max(1, -int(-seconds // 1)),
        )

    def limit_headers(self, model: str) -> dict[str, str]:
        stated = self.limiter(model).headers(self.clock(), datetime.now(UTC))
        return as_sent(stated, self.sent_headers)
