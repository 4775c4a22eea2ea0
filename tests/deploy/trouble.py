"""A pipeline in which everything happens at once, good and bad, for the metrics' sake."""

from decimal import Decimal

from prometheus_client import CollectorRegistry

from pipeline.model.records import Tier, Usage
from pipeline.observe.metrics import Conditions, Metrics
from pipeline.stream.records import Disposition

HAIKU, SONNET, UNKNOWN = "claude-haiku", "claude-sonnet", "claude-unknown"
FIRST = "bedrock/claude-haiku"
"""What `HAIKU` is the fallback of."""


class Trouble:
    """Drives the pipeline's own `Metrics` so that every alert has its reason and every panel data.

    `tickets` works, badly: it falls behind, escalates half, sends one in ten to the dead letters.
    `invoices` is stuck and takes nothing in. `images` has no partition and finishes nothing.
    `escalations` are held by their cap. A backfill of `tickets` is under way. `texts` are not what
    was certified, and of `invoices` more are wrong than that.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._metrics = Metrics(registry, Conditions())
        self._waiting = 200
        self._backfilled = 100
        self._start()

    def _start(self) -> None:
        metrics = self._metrics
        budgets = {("tickets", "hour"): Decimal(10), ("all", "day"): Decimal(20)}
        metrics.started(version="1.2.3", delivery="exactly_once", budgets=budgets)
        metrics.spent("tickets", window="hour", usd=Decimal("8.5"))
        metrics.spent("tickets", window="day", usd=Decimal(21))
        metrics.rebalanced("images", partitions=0, seconds=0.4)
        metrics.lag("images", "images.raw", 0, records=7, oldest_seconds=1000.0)
        metrics.intake("tickets", paused_reason=None)
        metrics.intake("invoices", paused_reason="Too many dead letters.")
        metrics.held("escalations", because="more than 10% of the events were escalated")
        metrics.lag("escalations", "escalations", 0, records=40, oldest_seconds=60.0)
        metrics.tenants_waiting("tickets", count=2)
        metrics.stuck("tickets", is_stuck=False)
        metrics.stuck("invoices", is_stuck=True)
        metrics.members_differ("tickets", differ=True)
        metrics.settings_refused("tickets", is_refused=True)
        metrics.failing("tickets", partitions=1)
        metrics.reachable("images", are_brokers=False)
        metrics.breaker(SONNET, "open")
        metrics.breaker(HAIKU, "closed")
        metrics.blocked(SONNET, because="The API key is not accepted.")
        metrics.in_use(Tier.HAIKU, FIRST, "first", in_use=False)
        metrics.in_use(Tier.HAIKU, HAIKU, "fallback", in_use=True)
        metrics.limit(HAIKU, "requests", limit=1, remaining=0.6)
        metrics.limit(HAIKU, "input_tokens", limit=1e9, remaining=9e8)
        metrics.limit(HAIKU, "output_tokens", limit=1e9, remaining=9e8)
        metrics.limit(SONNET, "requests", limit=1e6, remaining=1e3)

        metrics.certificate("texts", "stale", id="c", because="another prompt")
        metrics.certified_share("texts", lower=0.02, upper=0.1)
        metrics.distant("texts", {"labels": 2.0})
        metrics.alarmed("invoices", because="Too many are wrong.")
        metrics.labelled("invoices", "haiku", "all", labels=80, upper=0.4, level=1.2)

    def happen(self) -> None:
        """What happens in a moment; to be called often."""
        self._events()
        self._decisions()
        self._calls()
        self._backfill()

    def _events(self) -> None:
        metrics = self._metrics
        self._waiting += 5
        metrics.lag("tickets", "tickets.raw", 0, records=self._waiting, oldest_seconds=1000.0)
        metrics.in_flight("tickets", "tickets.raw", 0, count=12)
        metrics.offset_fault("tickets", "ledger_moved")
        metrics.offset_fault("tickets", "records_expired")
        for _ in range(10):
            metrics.received("tickets", "tickets.raw", 0, size=400)
        for end, count in (
            (Disposition.ENRICHED, 4),
            (Disposition.ESCALATED, 5),
            (Disposition.DEAD_LETTER, 1),
        ):
            for _ in range(count):
                metrics.completed("tickets", end, seconds=0.6)
        metrics.completed("escalations", Disposition.REVIEW, seconds=2.5)
        metrics.committed("tickets", records=10, seconds=0.004)
        metrics.commit_failed("tickets", outcome="aborted")
        metrics.rebalanced("tickets", partitions=6, seconds=0.4)

    def _decisions(self) -> None:
        metrics = self._metrics
        for _ in range(5):
            metrics.decided("tickets", Tier.HAIKU, "enriched", model=HAIKU)
            metrics.decided("tickets", Tier.HAIKU, "escalated", model=HAIKU)
            metrics.doubted("tickets", "low_confidence")
            metrics.decided("tickets", Tier.SONNET, "review", model=SONNET)
        metrics.decided("tickets", Tier.SONNET, "enriched", model=SONNET)
        metrics.audited("tickets", "differed")
        for _ in range(10):
            metrics.decided("texts", Tier.SONNET, "enriched", model=SONNET)
            metrics.decided("texts", Tier.HAIKU, "enriched", model=HAIKU)
            metrics.certified("texts", Tier.HAIKU, "stale")
        metrics.dead_lettered("tickets", "invalid_json")

    def _calls(self) -> None:
        metrics = self._metrics
        paid = Usage(
            calls=1,
            input_tokens=400,
            cache_read_tokens=300,
            cache_write_tokens=20,
            output_tokens=60,
            cost_usd=Decimal("0.0001"),
        )
        for model in (HAIKU, SONNET):
            metrics.call("tickets", model, "answered", seconds=25.0, usage=paid)
            metrics.call("tickets", model, "overloaded", seconds=0.1, usage=None)
            metrics.waited("tickets", model, seconds=0.2)
        unknown = paid.model_copy(update={"cost_usd": None})
        metrics.call("tickets", UNKNOWN, "answered", seconds=1.0, usage=unknown)
        metrics.reused("tickets", HAIKU, "memory")
        metrics.maybe_billed("tickets", HAIKU, usd=Decimal("0.0001"))

    def _backfill(self) -> None:
        metrics = self._metrics
        self._backfilled += 10
        counts = {"waiting": 5000, "under_way": 200, "published": self._backfilled}
        metrics.backfilled("tickets", events=counts, batches=2)
        for lane, price in (("batch", "0.00005"), ("normal", "0.00001")):
            metrics.backfill_cost("tickets", lane=lane, usd=Decimal(price) * self._backfilled)
