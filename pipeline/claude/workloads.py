"""What a workload costs, before it is run. Pure arithmetic over the price table.

The costs that the seven uses were published with: checked, and brought to date.

It counts input tokens alone, at the prices of late 2024.

What a workload costs, as a table for people or rows for programs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from pipeline.claude.billing import PriceTable, Tokens
from pipeline.claude.request_body import traits_of
from pipeline.config import Settings, TokenPrices
from pipeline.model.errors import UsageError

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


@dataclass(frozen=True, slots=True)
class UseCase:
    """A published row.

    Args:
        stated_haiku: US dollars a month, as published.
        stated_sonnet: The same.
        stated_saving: Share, as published.
    """

    task: str
    input_tokens: int
    events: int
    stated_haiku: int
    stated_sonnet: int
    stated_saving: str


@dataclass(frozen=True, slots=True)
class UseCaseRow:
    """A published row beside what follows from its own inputs, then and now.

    Args:
        haiku: US dollars a month at the table's own prices.
        sonnet: The same.
        saving: Share.
        haiku_now: US dollars a month at the price table's prices, input alone.
        sonnet_now: The same.
        remark: Where the published row is wrong, or empty.
    """

    use_case: UseCase
    haiku: Decimal
    sonnet: Decimal
    saving: Decimal
    haiku_now: Decimal | None
    sonnet_now: Decimal | None
    remark: str


def _old_price(input_: str, output: str) -> TokenPrices:
    # Cache prices do not matter here: the table knows no cache.
    rate = Decimal(input_)
    return TokenPrices(
        input=rate,
        output=Decimal(output),
        cache_write_5m=rate,
        cache_write_1h=rate,
        cache_read=rate,
    )


OLD_MODELS = Models("claude-3-5-haiku", "claude-3-5-sonnet", "claude-opus-4")
OLD_PRICES = PriceTable(
    {
        OLD_MODELS.haiku: _old_price("0.80", "4"),
        OLD_MODELS.sonnet: _old_price("3", "15"),
        OLD_MODELS.opus: _old_price("15", "75"),
    }
)
"""The published table's own prices: Haiku 3.5, Sonnet 3.5, Opus 4."""
USE_CASES: Sequence[UseCase] = (
    UseCase("intent classification", 200, 1_000_000, 160, 3_000, "0.95"),
    UseCase("invoice extraction", 1_000, 100_000, 80, 300, "0.73"),
    UseCase("content moderation", 150, 5_000_000, 600, 2_250, "0.73"),
    UseCase("query routing", 100, 10_000_000, 800, 3_000, "0.73"),
)


def use_case_rows(prices: PriceTable, models: Models) -> list[UseCaseRow]:
    """Reproduce the published table, and say where it is wrong."""
    return [_use_case_row(use_case, prices, models) for use_case in USE_CASES]


def _use_case_row(use_case: UseCase, prices: PriceTable, models: Models) -> UseCaseRow:
    workload = Workload(use_case.events, use_case.input_tokens)
    then = {
        row.way: row.usd_per_month or ZERO for row in cost_table(workload, OLD_PRICES, OLD_MODELS)
    }
    now = {row.way: row.usd_per_month for row in cost_table(workload, prices, models)}
    haiku, sonnet = then["haiku"], then["sonnet"]
    saving = (1 - haiku / sonnet).quantize(CENT, ROUND_HALF_UP)
    return UseCaseRow(
        use_case,
        haiku,
        sonnet,
        saving,
        now["haiku"],
        now["sonnet"],
        _remark(use_case, haiku, sonnet, saving),
    )


def _remark(use_case: UseCase, haiku: Decimal, sonnet: Decimal, saving: Decimal) -> str:
    wrong = [
        f"{name} ${stated:,.0f} should be ${found:,.0f}"
        for name, stated, found in (
            ("Haiku", use_case.stated_haiku, haiku),
            ("Sonnet", use_case.stated_sonnet, sonnet),
        )
        if stated != found
    ]
    if saving != (stated_saving := Decimal(use_case.stated_saving)):
        wrong.append(f"a saving of {stated_saving:.0%} should be {saving:.0%}")
    inputs = f"{use_case.events:,} requests of {use_case.input_tokens} tokens"
    return f"does not follow from {inputs}: {', '.join(wrong)}" if wrong else ""


@dataclass(frozen=True, slots=True)
class CostReport:
    """One table.

    Args:
        rows: For programs.
        headings: Of the columns.
        cells: The same rows for people.
        remarks: What a reader must know, a sentence each.
    """

    rows: Sequence[CostRow] | Sequence[UseCaseRow]
    headings: Sequence[str]
    cells: Sequence[Sequence[str]]
    remarks: Sequence[str]


def of_workload(settings: Settings, *, escalated: float, **workload: Any) -> CostReport:  # noqa: ANN401 - the fields of Workload
    """A workload on each model alone, and as a cascade.

    Raises:
        UsageError: There can be no such workload.
    """
    try:
        asked = Workload(escalated=Decimal(str(escalated)), **workload)
    except ValueError as error:
        raise UsageError(f"There is no such workload: {error}.") from error
    rows = cost_table(asked, PriceTable(settings.claude.prices), _models(settings))
    cells = [
        (
            row.way,
            " + ".join(row.models),
            _dollars(row.usd_per_month),
            _dollars(row.usd_per_thousand),
            "?" if row.share is None else f"{row.share:.1%}",
        )
        for row in rows
    ]
    headings = ("Way", "Models", "A month", "1,000 events", "Of Sonnet alone")
    return CostReport(rows, headings, cells, _unique(row.note for row in rows))


def of_published(settings: Settings) -> CostReport:
    """Published figures, what follows from their own inputs, and the same at present prices."""
    rows = use_case_rows(PriceTable(settings.claude.prices), _models(settings))
    cells = [
        (
            row.use_case.task,
            f"${row.use_case.stated_haiku:,} / ${row.use_case.stated_sonnet:,}",
            f"{_dollars(row.haiku)} / {_dollars(row.sonnet)}",
            f"{row.saving:.0%}",
            f"{_dollars(row.haiku_now)} / {_dollars(row.sonnet_now)}",
        )
        for row in rows
    ]
    headings = ("Task, a month", "Haiku / Sonnet, stated", "As computed", "Saving", "Now")
    remarks = [f"{row.use_case.task}: {row.remark}." for row in rows if row.remark]
    return CostReport(rows, headings, cells, ["Input tokens only.", *remarks])


def _models(settings: Settings) -> Models:
    return Models(haiku=settings.models.haiku, sonnet=settings.models.sonnet)


def _dollars(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"${amount:,.2f}"


def _unique(notes: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(note for note in notes if note))
