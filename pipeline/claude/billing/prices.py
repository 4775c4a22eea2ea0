"""What tokens cost: a dated table, exact arithmetic, and no guess for what is not in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from types import MappingProxyType

from pipeline.claude.models import base_id, undated
from pipeline.config import TokenPrices

PRICES_AS_OF = date(2026, 10, 10)
"""When the public price page was read."""
BATCH_FACTOR = Decimal("0.5")
US_ONLY_FACTOR = Decimal("1.1")
"""Everything costs that much more where `inference_geo` is `us`."""
_MILLIONTH = -6


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one or many requests, as they are billed."""

    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0

    @property
    def cache_write(self) -> int:
        """Written for either time."""
        return self.cache_write_5m + self.cache_write_1h

    @property
    def prompt(self) -> int:
        """The whole prompt, however it is billed."""
        return self.input + self.cache_read + self.cache_write


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a model.

    Args:
        rates: US dollars a million tokens.
        long_above: Prompts of more tokens than this pay `long_rates`, answer included.
        long_rates: See `long_above`.
    """

    rates: TokenPrices
    long_above: int | None = None
    long_rates: TokenPrices | None = None

    def rates_for(self, prompt_tokens: int) -> TokenPrices:
        """The rates of one request with such a prompt."""
        if self.long_rates is None or self.long_above is None or prompt_tokens <= self.long_above:
            return self.rates
        return self.long_rates


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
    """The built-in prices with those of the settings over them.

    Args:
        overrides: By model id; each replaces the built-in price altogether.
    """

    def __init__(self, overrides: Mapping[str, TokenPrices] | None = None) -> None:
        own = {base_id(model): Price(rates) for model, rates in (overrides or {}).items()}
        self._prices: dict[str, Price] = {**PRICES, **own}

    def price(self, model: str) -> Price | None:
        """The price of a model, or None where it is not known."""
        for name in (model, base_id(model), undated(model)):
            if (found := self._prices.get(name)) is not None:
                return found
        return None

    def cost(
        self, model: str, tokens: Tokens, *, batch: bool = False, us_only: bool = False
    ) -> Decimal | None:
        """What one request costs in US dollars, or None where the price is not known.

        The prompt's length decides the band, so `tokens` must be those of a single request.
        """
        price = self.price(model)
        if price is None:
            return None
        return _cost(price, tokens, batch=batch, us_only=us_only)

    def at_most(
        self, model: str, tokens: Tokens, *, batch: bool = False, us_only: bool = False
    ) -> Decimal:
        """What one request costs, or could cost at most where the price is not known.

        That is what the most expensive model of the table would: a budget must not stay open
        because nobody knows what is spent.
        """
        price = self.price(model)
        prices = self._prices.values() if price is None else (price,)
        return max(_cost(each, tokens, batch=batch, us_only=us_only) for each in prices)


def _cost(price: Price, tokens: Tokens, *, batch: bool, us_only: bool) -> Decimal:
    rates = price.rates_for(tokens.prompt)
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
