"""A lane: one model, the queue in front of it, and what its watchers were told."""

from collections.abc import Callable

from pipeline.claude.breaker import Breaker
from pipeline.claude.headers import Told, read_limits
from pipeline.claude.limiter import Limiter
from pipeline.claude.observer import BreakerState, ClaudeObserver, LimitKind
from pipeline.claude.replies import HttpReply, NoReply
from pipeline.claude.status import LimitStatus, ModelStatus
from pipeline.claude.window import Window
from pipeline.events import Tier
from pipeline.settings import ClaudeSettings

BLOCK_SECONDS = 15.0
"""Between probes while no call can succeed; each costs nothing."""
BREAKER_PROBES = 3
NEWS_SECONDS = 0.02
"""Between readings of the rate-limit headers: more often would tell nothing new."""


def account_breaker() -> Breaker:
    """What trips when nothing can be asked with this key; shared by all lanes."""
    return Breaker(failures=1, open_seconds=BLOCK_SECONDS)


class Lane:
    """One model.

    Args:
        model: Its id.
        settings: Window and breaker.
        account: See `account_breaker`.
        budget_wait: Seconds until a stage may spend again.
        observer: Told of changes.
        clock: Seconds that do not go back.
    """

    def __init__(
        self,
        model: str,
        settings: ClaudeSettings,
        *,
        account: Breaker,
        budget_wait: Callable[[str], float],
        observer: ClaudeObserver,
        clock: Callable[[], float],
    ) -> None:
        self.model = model
        self.asked = 0
        """Questions that wait for an answer, those in a pause between two calls included."""
        self.in_trouble = 0
        """Of these, how many failed while others were answered: they wait more than they work."""
        self.limiter = Limiter(
            breaker=Breaker(
                failures=settings.breaker_failures,
                open_seconds=settings.breaker_open,
                probes=BREAKER_PROBES,
            ),
            block=Breaker(failures=1, open_seconds=BLOCK_SECONDS),
            account=account,
            stage_block=lambda: Breaker(failures=1, open_seconds=BLOCK_SECONDS),
            window=Window(settings.concurrency),
            budget_wait=budget_wait,
            clock=clock,
        )
        self._observer = observer
        self._clock = clock
        self._read_at = float("-inf")
        self._told_state: BreakerState = "closed"
        self._told_block: str | None = None

    def status(self, tier: Tier) -> ModelStatus:
        """What is known."""
        limiter = self.limiter
        return ModelStatus(
            tier=tier.value,
            model=self.model,
            closed_because=limiter.closed_because(),
            breaker=limiter.breaker.state(self._clock()),
            in_flight=limiter.in_flight,
            window=limiter.window.size,
            waiting=limiter.waiting,
            limits={
                kind: LimitStatus(level.limit, level.remaining)
                for kind, level in limiter.limits.levels.items()
            },
        )

    def news(self, result: HttpReply | NoReply) -> dict[LimitKind, Told]:
        """What a response says of the rate limits, read now and then."""
        now = self._clock()
        if isinstance(result, NoReply) or (
            result.status == 200 and now - self._read_at < NEWS_SECONDS  # noqa: PLR2004
        ):
            return {}
        self._read_at = now
        told = read_limits(result.headers)
        for kind, limit in told.items():
            self._observer.limit(self.model, kind, limit=limit.limit, remaining=limit.remaining)
        return told

    def tell(self) -> None:
        """Tell the watchers what has changed, by a call, by one of another lane, or by time."""
        state, because = self.limiter.breaker.state(self._clock()), self.limiter.blocked_because()
        if state == "half_open" and not self.asked:
            # Nobody is there who could try, so it would be told for as long as nobody comes.
            state = "closed"
        if state != self._told_state:
            self._told_state = state
            self._observer.breaker(self.model, state)
        if because != self._told_block:
            self._told_block = because
            self._observer.blocked(self.model, because=because)
