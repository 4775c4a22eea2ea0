"""The costs that the seven uses were published with: checked, and brought to date.

It counts input tokens alone, at the prices of late 2024.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from pipeline.claude.costing import CENT, ZERO, Models, Workload, cost_table
from pipeline.claude.prices import PriceTable
from pipeline.settings import TokenPrices


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
