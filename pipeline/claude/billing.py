"""What calls cost: exact arithmetic, and no guess for a price that nobody knows."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from pipeline.claude.model_facts import MODELS, Price
from pipeline.claude.model_ids import base_id, geography_of
from pipeline.claude.providers import model_at
from pipeline.config import EndpointSettings, TokenPrices

BATCH_FACTOR = Decimal("0.5")
REGIONAL_FACTOR = Decimal("1.1")
"""Everything costs that much more where inference is bound to a region: `inference_geo` `us`, and
what is no global endpoint of Bedrock or Google Cloud."""
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


def is_regional(endpoint: EndpointSettings) -> bool:
    """Whether what is set binds inference to a region; an answer that says where knows better."""
    match endpoint.provider:
        case "bedrock" | "bedrock-mantle":
            return geography_of(model_at(endpoint)) != "global"
        case "vertex":
            return endpoint.known_region != "global"
        case _:
            return endpoint.inference_geo == "us"


class PriceTable:
    """The built-in prices; each override replaces that of its model altogether."""

    def __init__(self, overrides: Mapping[str, TokenPrices] | None = None) -> None:
        own = {base_id(model): Price(rates) for model, rates in (overrides or {}).items()}
        table = {model: known.price for model, known in MODELS.items() if known.price is not None}
        self._prices: dict[str, Price] = {**table, **own}
        present = {model: price for model, price in table.items() if MODELS[model].retires is None}
        # Models share prices: each is looked at once.
        self._present = list({id(price): price for price in {**present, **own}.values()}.values())

    def price(self, model: str) -> Price | None:
        return self._prices.get(model) or self._prices.get(base_id(model))

    def cost(
        self, model: str, tokens: Tokens, *, batch: bool = False, regional: bool = False
    ) -> Decimal | None:
        """What a single request costs in US dollars, or None where the price is not known."""
        price = self.price(model)
        return None if price is None else _cost(price, tokens, batch=batch, regional=regional)

    def at_most(
        self, model: str, tokens: Tokens, *, batch: bool = False, regional: bool = False
    ) -> Decimal:
        """What one request costs; where its price is not known, on the most expensive model.

        A budget must not stay open because nobody knows what is spent.
        """
        price = self.price(model)
        prices = self._present if price is None else (price,)
        return max(_cost(each, tokens, batch=batch, regional=regional) for each in prices)


def _cost(price: Price, tokens: Tokens, *, batch: bool, regional: bool) -> Decimal:
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
    if regional:
        millionths *= REGIONAL_FACTOR
    return millionths.scaleb(_MILLIONTH).normalize()
