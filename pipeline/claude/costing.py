"""What a workload costs, before it is run. Pure arithmetic over the price table."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from pipeline.claude.models import traits_of
from pipeline.claude.prices import PriceTable, Tokens

ZERO = Decimal(0)
CENT = Decimal("0.01")
TYPICAL = Tokens(input=1000, output=100)
"""A call about one small event, nothing of it in the prompt cache."""

BATCH_HITS = (
    "the static part is taken to be read from the prompt cache each time; in batches the API "
    "promises no hit, and speaks of 30 to 98 %: without any it is the figure with --uncached"
)


@dataclass(frozen=True, slots=True)
class Workload:
    """What is to be done in a month.

    Args:
        events: A month.
        input_tokens: Of one event's prompt, static part included.
        output_tokens: Of one event's answer.
        static_tokens: Of the prompt's part that is the same for every event.
        cached: Whether the static part is read from the prompt cache.
        batch: Whether requests go through the Message Batches API.
        events_per_request: Events that share a request, and so its static part.
        escalated: Share of the events that the second model answers, too.
    """

    events: int
    input_tokens: int
    output_tokens: int = 0
    static_tokens: int = 0
    cached: bool = False
    batch: bool = False
    events_per_request: int = 1
    escalated: Decimal = ZERO

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ValueError: Naming what is wrong.
        """
        if min(self.events, self.input_tokens, self.output_tokens, self.static_tokens) < 0:
            raise ValueError("events and tokens cannot be negative")
        if self.static_tokens > self.input_tokens:
            raise ValueError("the static part is a part of the prompt, so it cannot be longer")
        if self.events_per_request < 1:
            raise ValueError("a request carries at least one event")
        if not 0 <= self.escalated <= 1:
            raise ValueError("the escalated share is between 0 and 1")

    def request(self, model: str) -> Tokens:
        """The tokens of one request to a model."""
        own = (self.input_tokens - self.static_tokens) * self.events_per_request
        output = self.output_tokens * self.events_per_request
        if self.caches(model):
            return Tokens(input=own, cache_read=self.static_tokens, output=output)
        return Tokens(input=own + self.static_tokens, output=output)

    def caches(self, model: str) -> bool:
        """Whether the prompt cache works for a model: it has a minimum length."""
        return self.cached and self.static_tokens >= traits_of(model).cacheable_tokens


@dataclass(frozen=True, slots=True)
class CostRow:
    """What the workload costs in one way.

    Args:
        way: Short name.
        models: That are asked, first to last.
        usd_per_month: None where a price is not known.
        usd_per_thousand: For a thousand events.
        share: Of what the second model alone would cost.
        note: What a reader must know about this row, or empty.
    """

    way: str
    models: tuple[str, ...]
    usd_per_month: Decimal | None
    usd_per_thousand: Decimal | None
    share: Decimal | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Models:
    """The models to compare."""

    haiku: str = "claude-haiku-5-5"
    sonnet: str = "claude-sonnet-5-5"
    opus: str = "claude-opus-5-5"


def cost_table(workload: Workload, prices: PriceTable, models: Models) -> list[CostRow]:
    """What a workload costs on each model alone and as a cascade of the first two.

    In the cascade every event is asked of Haiku, and the escalated share of Sonnet as well. The
    prompt cache is taken to be warm: writing it now and then is not in the figures.
    """
    sonnet = _per_event(workload, prices, models.sonnet)
    rows = [
        _row(workload, name, (model,), _per_event(workload, prices, model), sonnet)
        for name, model in (
            ("haiku", models.haiku),
            ("sonnet", models.sonnet),
            ("opus", models.opus),
        )
    ]
    haiku = _per_event(workload, prices, models.haiku)
    both = None if haiku is None or sonnet is None else haiku + workload.escalated * sonnet
    rows.append(_row(workload, "cascade", (models.haiku, models.sonnet), both, sonnet))
    return rows


def price_ratio(prices: PriceTable, cheap: str, strong: str) -> Decimal | None:
    """What a typical call to one model costs, as a multiple of the same call to another.

    Returns:
        None where a price is not known.
    """
    one, other = prices.cost(cheap, TYPICAL), prices.cost(strong, TYPICAL)
    return None if one is None or not other else one / other


def _per_event(workload: Workload, prices: PriceTable, model: str) -> Decimal | None:
    cost = prices.cost(model, workload.request(model), batch=workload.batch)
    return None if cost is None else cost / workload.events_per_request


def _row(
    workload: Workload,
    way: str,
    models: tuple[str, ...],
    per_event: Decimal | None,
    yardstick: Decimal | None,
) -> CostRow:
    unknown = [model for model in models if not workload.caches(model)] if workload.cached else []
    minimum = max((traits_of(model).cacheable_tokens for model in unknown), default=0)
    note = f"no prompt cache: the static part has less than {minimum} tokens" if unknown else ""
    if not unknown and workload.cached and workload.batch:
        note = BATCH_HITS
    if per_event is None:
        return CostRow(way, models, None, None, None, "a model's price is not known")
    share = per_event / yardstick if yardstick else None
    return CostRow(
        way,
        models,
        (per_event * workload.events).quantize(CENT, ROUND_HALF_UP),
        (per_event * 1000).quantize(Decimal("0.000001"), ROUND_HALF_UP).normalize(),
        None if share is None else share.quantize(Decimal("0.0001"), ROUND_HALF_UP),
        note,
    )
