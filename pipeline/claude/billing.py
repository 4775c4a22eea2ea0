"""What calls cost: a dated table, exact arithmetic, and no guess for what is not in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from types import MappingProxyType

from pipeline.claude.request_body import base_id, undated
from pipeline.config import TokenPrices

PRICES_AS_OF = date(2026, 10, 10)
"""When the public price page was read."""
BATCH_FACTOR = Decimal("0.5")
US_ONLY_FACTOR = Decimal("1.1")
"""Everything costs that much more where `inference_geo` is `us`."""
_MILLIONTH = -6


@dataclass(frozen=True, slots=True)
class Tokens:
    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0

    @property
    def prompt(self) -> int:
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars a million tokens; prompts of more than `long_above` pay `long_rates` for all."""

    rates: TokenPrices
    long_above: int = 0
    long_rates: TokenPrices | None = None


def _rates(input_: str, output: str, write_5m: str, write_1h: str, read: str) -> TokenPrices:
    return TokenPrices(
        input=Decimal(input_),
        output=Decimal(output),
        cache_write_5m=Decimal(write_5m),
        cache_write_1h=Decimal(write_1h),
        cache_read=Decimal(read),
    )


_HAIKU_4_5 = Price(_rates("1", "5", "1.25", "2", "0.10"))
PRICES: Mapping[str, Price] = MappingProxyType(
    {
        "claude-haiku-5-5": Price(
            _rates("0.10", "0.50", "0.125", "0.20", "0.01"),
            long_above=100_000,
            long_rates=_rates("0.50", "2.50", "0.625", "1.00", "0.05"),
        ),
        "claude-sonnet-5-5": Price(_rates("2", "10", "2.50", "4", "0.10")),
        "claude-opus-5-5": Price(_rates("4", "20", "5", "8", "0.20")),
        "claude-sonnet-5": Price(_rates("2", "10", "2.50", "4", "0.20")),
        "claude-haiku-4-5": _HAIKU_4_5,
        "claude-haiku-4-5-20251001": _HAIKU_4_5,
    }
)


class PriceTable:
    """The built-in prices; each override replaces that of its model altogether."""

    def __init__(self, overrides: Mapping[str, TokenPrices] | None = None) -> None:
        own = {base_id(model): Price(rates) for model, rates in (overrides or {}).items()}
        self._prices: dict[str, Price] = {**PRICES, **own}

    def price(self, model: str) -> Price | None:
        prices = self._prices
        return prices.get(model) or prices.get(base_id(model)) or prices.get(undated(model))

    def cost(
        self, model: str, tokens: Tokens, *, batch: bool = False, us_only: bool = False
    ) -> Decimal | None:
        """What a single request costs in US dollars, or None where the price is not known."""
        price = self._prices.get(model) or self.price(model)
        if price is None:
            return None
        rates = price.rates
        if price.long_rates is not None and tokens.prompt > price.long_above:
            rates = price.long_rates
        millionths = (
            rates.input * tokens.input
            + rates.cache_read * tokens.cache_read
            + rates.cache_write_5m * tokens.cache_write_5m
            + rates.cache_write_1h * tokens.cache_write_1h
            + rates.output * tokens.output
        )
        if batch:
            millionths *= BATCH_FACTOR
        if us_only:
            millionths *= US_ONLY_FACTOR
        return millionths.scaleb(_MILLIONTH).normalize()

    def at_most(
        self, model: str, tokens: Tokens, *, batch: bool = False, us_only: bool = False
    ) -> Decimal:
        """What one request costs; where its price is not known, on the most expensive model.

        A budget must not stay open because nobody knows what is spent.
        """
        models = self._prices if self.price(model) is None else (model,)
        costs = (self.cost(each, tokens, batch=batch, us_only=us_only) for each in models)
        return max(cost for cost in costs if cost is not None)
