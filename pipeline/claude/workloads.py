"""What a workload costs, before it is run: arithmetic over the price table. Pure.

Also the costs that seven uses were published with, checked and brought to date. They count input
tokens alone, at the prices of late 2024.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from math import exp
from typing import Any

from pipeline.claude.billing import PriceTable, Tokens, is_regional
from pipeline.claude.budget import ZERO
from pipeline.claude.model_facts import known
from pipeline.claude.prompts import TTL_SECONDS
from pipeline.claude.request_body import CacheTtl
from pipeline.config import ModelSettings, Settings
from pipeline.model.errors import UsageError

CENT = Decimal("0.01")
SELDOM = Decimal("0.05")
"""Share of cold requests from which the note says so."""
MONTH_SECONDS = 30 * 86_400
TYPICAL = Tokens(input=1000, output=100)
BATCH_HITS = (
    "the static part is taken to be read from the prompt cache each time; in batches the API "
    "promises no hit, and speaks of 30 to 98 %: without any it is the figure with --uncached"
)


@dataclass(frozen=True, slots=True)
class Workload:
    """What is to be done in a month; ValueError where there can be no such workload.

    Args:
        input_tokens: Of one event's prompt, static part included.
        static_tokens: Of the part that is the same for every event.
        cached: Whether the prompt cache is used for it; an entry lives for `cache_ttl`.
        events_per_request: Events that share a request to Haiku, and so its static part. No others
            are shared.
        escalated: Share of the events that the second model answers, too.
        seconds: In which they come, evenly; 0: as fast as may be.
    """

    events: int
    input_tokens: int
    output_tokens: int = 0
    static_tokens: int = 0
    cached: bool = False
    cache_ttl: CacheTtl = "5m"
    batch: bool = False
    events_per_request: int = 1
    escalated: Decimal = ZERO
    seconds: float = MONTH_SECONDS

    def __post_init__(self) -> None:
        if min(self.events, self.input_tokens, self.output_tokens, self.static_tokens) < 0:
            raise ValueError("events and tokens cannot be negative")
        if self.static_tokens > self.input_tokens:
            raise ValueError("the static part is a part of the prompt, so it cannot be longer")
        if self.events_per_request < 1:
            raise ValueError("a request carries at least one event")
        if not 0 <= self.escalated <= 1:
            raise ValueError("the escalated share is between 0 and 1")

    def usd_per_event(
        self,
        model: str,
        prices: PriceTable,
        *,
        share: Decimal = Decimal(1),
        together: int = 1,
        regional: bool = False,
    ) -> Decimal | None:
        """What one of the events costs that a model is asked about: this `share` of them all.

        So many of them go `together` in a request.
        """
        own = (self.input_tokens - self.static_tokens) * together
        output = self.output_tokens * together
        if not self.caches(model):
            tokens = Tokens(input=own + self.static_tokens, output=output)
            cost = prices.cost(model, tokens, batch=self.batch, regional=regional)
            return None if cost is None else cost / together
        read = Tokens(input=own, cache_read=self.static_tokens, output=output)
        written = Tokens(
            input=own,
            output=output,
            cache_write_5m=self.static_tokens if self.cache_ttl == "5m" else 0,
            cache_write_1h=self.static_tokens if self.cache_ttl == "1h" else 0,
        )
        warm, cold = (
            prices.cost(model, tokens, batch=self.batch, regional=regional)
            for tokens in (read, written)
        )
        if warm is None or cold is None:
            return None
        return (warm + (cold - warm) * self.cold_share(share, together)) / together

    def cold_share(self, share: Decimal = Decimal(1), together: int = 1) -> Decimal:
        """The share of the requests that find no entry in the cache, and write it.

        Requests come as independent ones do (Poisson): it is the chance that none came for as long
        as an entry lives. Batches are together, and taken as warm.
        """
        if self.batch or not self.seconds:
            return ZERO
        a_second = float(share) * self.events / together / self.seconds
        return Decimal(str(exp(-a_second * TTL_SECONDS[self.cache_ttl])))

    def caches(self, model: str) -> bool:
        """Whether the prompt cache works for a model: it has a minimum length."""
        return self.cached and self.static_tokens >= known(model).traits.cacheable_tokens


@dataclass(frozen=True, slots=True)
class CostRow:
    """What it costs in one way; None where a price is not known.

    `share` is of what the second model alone would cost, `note` what a reader must know, if any.
    """

    way: str
    models: tuple[str, ...]
    usd_per_month: Decimal | None
    usd_per_thousand: Decimal | None
    share: Decimal | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Models:
    """The models to compare, and which of them are asked in one region alone."""

    haiku: str = "claude-haiku-5-5"
    sonnet: str = "claude-sonnet-5-5"
    opus: str = "claude-opus-5-5"
    regional: frozenset[str] = frozenset()

    @classmethod
    def of(cls, settings: ModelSettings) -> "Models":
        tiers = (settings.haiku, settings.sonnet)
        regional = frozenset(each.model for each in tiers if is_regional(each))
        return cls(settings.haiku.model, settings.sonnet.model, regional=regional)


def cost_table(workload: Workload, prices: PriceTable, models: Models) -> list[CostRow]:
    """What a workload costs on each model alone and as a cascade of the first two."""
    ways = {
        "haiku": (models.haiku,),
        "sonnet": (models.sonnet,),
        "opus": (models.opus,),
        "cascade": (models.haiku, models.sonnet),
    }

    def usd(model: str, share: Decimal = Decimal(1), together: int = 1) -> Decimal | None:
        regional = model in models.regional
        return workload.usd_per_event(
            model, prices, share=share, together=together, regional=regional
        )

    costs = {
        models.opus: usd(models.opus),
        models.sonnet: usd(models.sonnet),
        models.haiku: usd(models.haiku, together=workload.events_per_request),
    }
    sonnet = costs[models.sonnet]
    escalated = usd(models.sonnet, workload.escalated)
    rows: list[CostRow] = []
    for way, used in ways.items():
        each = costs[used[0]]
        if way == "cascade" and each is not None:
            each = None if escalated is None else each + workload.escalated * escalated
        if each is None:
            rows.append(CostRow(way, used, None, None, None, "a model's price is not known"))
            continue
        month = (each * workload.events).quantize(CENT, ROUND_HALF_UP)
        thousand = (each * 1000).quantize(Decimal("0.000001"), ROUND_HALF_UP).normalize()
        share = (each / sonnet).quantize(Decimal("0.0001"), ROUND_HALF_UP) if sonnet else None
        rows.append(CostRow(way, used, month, thousand, share, _note(workload, used)))
    return rows


def price_ratio(prices: PriceTable, cheap: str, strong: str) -> Decimal | None:
    """What a typical call to one model costs, as a multiple of the same call to another."""
    one, other = prices.cost(cheap, TYPICAL), prices.cost(strong, TYPICAL)
    return None if one is None or not other else one / other


def _note(workload: Workload, models: tuple[str, ...]) -> str:
    uncached = [known(model).traits for model in models if not workload.caches(model)]
    if workload.cached and uncached:
        minimum = max(traits.cacheable_tokens for traits in uncached)
        return f"no prompt cache: the static part has less than {minimum} tokens"
    if workload.cached and workload.batch:
        return BATCH_HITS
    cold = workload.cold_share(workload.escalated) if len(models) > 1 else ZERO
    if workload.cached and workload.escalated and cold >= SELDOM:
        return (
            f"{cold:.0%} of what is escalated finds the prompt cache cold and writes it, because "
            f"it comes so seldom; an entry lives for {workload.cache_ttl}"
        )
    return ""


@dataclass(frozen=True, slots=True)
class UseCase:
    task: str
    input_tokens: int
    events: int
    stated_haiku: int
    stated_sonnet: int
    stated_saving: str


@dataclass(frozen=True, slots=True)
class UseCaseRow:
    """A published row beside what follows from its own inputs, in US dollars a month.

    That is at the table's own prices, and `_now` at today's; `remark` says where it is wrong.
    """

    use_case: UseCase
    haiku: Decimal
    sonnet: Decimal
    saving: Decimal
    haiku_now: Decimal | None
    sonnet_now: Decimal | None
    remark: str


OLD_HAIKU, OLD_SONNET = Decimal("0.80"), Decimal(3)
"""The published table's own prices, of Haiku 3.5 and Sonnet 3.5: dollars a million input tokens."""
USE_CASES: Sequence[UseCase] = (
    UseCase("intent classification", 200, 1_000_000, 160, 3_000, "0.95"),
    UseCase("invoice extraction", 1_000, 100_000, 80, 300, "0.73"),
    UseCase("content moderation", 150, 5_000_000, 600, 2_250, "0.73"),
    UseCase("query routing", 100, 10_000_000, 800, 3_000, "0.73"),
)


def use_case_rows(prices: PriceTable, models: Models) -> list[UseCaseRow]:
    rows: list[UseCaseRow] = []
    for case in USE_CASES:
        millions = Decimal(case.input_tokens * case.events) / 1_000_000
        haiku, sonnet = ((rate * millions).quantize(CENT) for rate in (OLD_HAIKU, OLD_SONNET))
        now = cost_table(Workload(case.events, case.input_tokens), prices, models)
        saving = (1 - haiku / sonnet).quantize(CENT, ROUND_HALF_UP)
        wrong = [
            f"{name} ${stated:,.0f} should be ${found:,.0f}"
            for name, stated, found in (
                ("Haiku", case.stated_haiku, haiku),
                ("Sonnet", case.stated_sonnet, sonnet),
            )
            if stated != found
        ]
        if saving != (stated_saving := Decimal(case.stated_saving)):
            wrong.append(f"a saving of {stated_saving:.0%} should be {saving:.0%}")
        inputs = f"{case.events:,} requests of {case.input_tokens} tokens"
        remark = f"does not follow from {inputs}: {', '.join(wrong)}" if wrong else ""
        haiku_now, sonnet_now = (row.usd_per_month for row in now[:2])
        rows.append(UseCaseRow(case, haiku, sonnet, saving, haiku_now, sonnet_now, remark))
    return rows


@dataclass(frozen=True, slots=True)
class CostReport:
    """One table: rows for programs, the same as cells for people, and remarks on them."""

    rows: Sequence[object]
    headings: Sequence[str]
    cells: Sequence[Sequence[str]]
    remarks: Sequence[str]


def of_workload(settings: Settings, *, escalated: float, **workload: Any) -> CostReport:  # noqa: ANN401 - the fields of Workload
    """A workload on each model alone, and as a cascade; UsageError where there is no such."""
    try:
        caching = settings.claude.prompt_cache
        ttl: CacheTtl = "5m" if caching == "off" else caching
        asked = Workload(escalated=Decimal(str(escalated)), cache_ttl=ttl, **workload)
    except ValueError as error:
        raise UsageError(f"There is no such workload: {error}.") from error
    rows = cost_table(asked, *_priced(settings))
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
    return CostReport(rows, headings, cells, list(dict.fromkeys(r.note for r in rows if r.note)))


def of_published(settings: Settings) -> CostReport:
    rows = use_case_rows(*_priced(settings))
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


def _priced(settings: Settings) -> tuple[PriceTable, Models]:
    return PriceTable(settings.claude.prices), Models.of(settings.models)


def _dollars(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"${amount:,.2f}"
