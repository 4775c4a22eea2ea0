"""The state that requests share: limits, caches, faults, latency, the ledger, the clock.

How the simulated API behaves: everything that can be set when it starts.

How long answers take: a log-normal time, a heavy tail, and a share for each output token.
"""

import math
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.local.simulated.caches import PromptCache
from pipeline.local.simulated.errors import ApiError, refused_call
from pipeline.local.simulated.faults import Fault, Faults
from pipeline.local.simulated.ledger import Ledger
from pipeline.local.simulated.limits import Limits, ModelLimiter
from pipeline.local.simulated.request import MessageRequest
from pipeline.stages.checks.scope import Encoder


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution of seconds.

    Args:
        median: Seconds, without tail and tokens. 0 answers at once.
        sigma: Spread of the logarithm; 0.3 puts the 95th percentile at 1.6 medians.
        tail: Share of answers that take `tail_factor` times as long.
        tail_factor: See `tail`.
        per_token: Seconds for each output token.
    """

    median: float = 0.0
    sigma: float = 0.3
    tail: float = 0.0
    tail_factor: float = 8.0
    per_token: float = 0.0

    def __post_init__(self) -> None:
        if min(self.median, self.sigma, self.tail, self.per_token) < 0 or self.tail > 1:
            raise ValueError("a latency's median, sigma, tail and per_token are not negative")

    def draw(self, random: random.Random, output_tokens: int) -> float:
        """Seconds for one answer."""
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
    """The defaults answer at once, without limits and without faults.

    Args:
        latency: By model id; `*` for all others.
        limits: A minute, by model id; `*` for all others. Each model has buckets of its own.
        limit_window: Seconds of a limit that may be used at once.
        faults: In force from the start.
        bad_keys: API keys that are refused; any other key is taken.
        seed: Of everything that is drawn.
        ledger: Requests whose details are kept.
        readers: Images and PDF files read at once, each in a thread.
        batch_seconds: From the creation of a batch to its end.
        encoder: What labels are chosen with, beside words; none for words alone.
    """

    latency: Mapping[str, Latency] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)
    limit_window: float = 60.0
    faults: tuple[Fault, ...] = ()
    bad_keys: frozenset[str] = frozenset({"sk-ant-invalid"})
    seed: int = 0
    ledger: int = 100_000
    readers: int = 2
    batch_seconds: float = 2.0
    encoder: Encoder | None = None


Clock = Callable[[], float]
_NO_LIMITS = Limits()
_NO_LATENCY = Latency()


class Control:
    """What a test can reach into, in process or through the admin endpoint.

    Args:
        simulation: How to start.
        clock: Seconds that never go back.
    """

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
        self.account_problem: str | None = None
        self.mark: re.Pattern[str] | None = None
        self._limits = dict(simulation.limits)
        self._limiters: dict[str, ModelLimiter] = {}

    def limiter(self, model: str) -> ModelLimiter:
        """The buckets of a model."""
        known = self._limiters.get(model)
        if known is None:
            limits = self._limits.get(model, self._limits.get("*", _NO_LIMITS))
            known = ModelLimiter(limits, self.clock(), self.simulation.limit_window)
            self._limiters[model] = known
        return known

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
        """The limits in force."""
        return dict(self._limits)

    def latency_of(self, model: str) -> Latency:
        """How long a model takes."""
        return self.latency.get(model) or self.latency.get("*") or _NO_LATENCY

    def mark_of(self, request: MessageRequest) -> str | None:
        """What the ledger keeps of a request's content: the first match of `mark`."""
        if self.mark is None:
            return None
        texts = (part for part in request.content if isinstance(part, str))
        found = (self.mark.search(text) for text in texts)
        return next((match[0] for match in found if match), None)

    def check_account(self) -> None:
        """Refuse all calls while the account is said to have a problem.

        Raises:
            ApiError: What `account_problem` says.
        """
        if self.account_problem is not None:
            raise refused_call(self.account_problem)

    def admit(self, model: str, input_tokens: int) -> None:
        """Take a request out of the model's buckets.

        Raises:
            ApiError: 429 with `retry-after`, where one is empty.
        """
        refused = self.limiter(model).admit(input_tokens, self.clock())
        if refused is None:
            return
        kind, seconds = refused
        raise ApiError(
            429,
            f"This request would exceed your organization's rate limit for {model}: "
            f"{kind.replace('-', ' ')} per minute.",
            retry_after=max(1, -int(-seconds // 1)),
        )

    def limit_headers(self, model: str) -> dict[str, str]:
        """What the headers of an answer say of the limits."""
        return self.limiter(model).headers(self.clock(), datetime.now(UTC))
