"""What calls cost: exact arithmetic, and no guess for a price that nobody knows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from pipeline.claude.model_facts import MODELS, Price
from pipeline.claude.model_ids import base_id, geography_of
from pipeline.claude.providers import model_at
from pipeline.config import EndpointSettings, Settings, TokenPrices

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

    def cost_of_many(self, model: str, tokens: Tokens) -> Decimal | None:
        """What many requests cost together, none of which has a long prompt; None as `cost`."""
        price = self.price(model)
        return None if price is None else _at(price.rates, tokens)

    def at_most(
        self, model: str, tokens: Tokens, *, batch: bool = False, regional: bool = False
    ) -> Decimal:
        """What one request costs; where its price is not known, on the most expensive model.

        A budget must not stay open because nobody knows what is spent.
        """
        price = self.price(model)
        prices = self._present if price is None else (price,)
        return max(_cost(each, tokens, batch=batch, regional=regional) for each in prices)


class Alternatives(NamedTuple):
    """What the same events would have cost otherwise, in US dollars; None where not known."""

    sonnet_alone: Decimal | None  # every first answer by Sonnet, with the prompt cache as it was
    # every first answer by Haiku without prompt cache, nothing checked or escalated
    plain_loop: Decimal | None


def priced_otherwise(
    asked: Iterable[Tokens], prices: PriceTable, *, haiku: str, sonnet: str
) -> Alternatives:
    """Price the tokens of first answers in other ways; none of them has a long prompt.

    Each is what one request took, or many together. `haiku` and `sonnet` are the models of the
    tiers. What a shared request saved would not have been saved otherwise: then it is more.
    """
    tokens = list(asked)
    uncached = [Tokens(input=each.prompt, output=each.output) for each in tokens]

    def total(model: str, each: Sequence[Tokens]) -> Decimal | None:
        costs = [cost for one in each if (cost := prices.cost_of_many(model, one)) is not None]
        return sum(costs, Decimal(0)) if len(costs) == len(each) else None

    return Alternatives(total(sonnet, tokens), total(haiku, uncached))


def otherwise_of(settings: Settings) -> Callable[[Mapping[str, Mapping[str, float]]], Alternatives]:
    """What prices tokens by endpoint and kind, as metrics count them: those of Haiku's tier."""
    models, prices = settings.models, PriceTable(settings.claude.prices)
    haiku, sonnet = models.haiku.model, models.sonnet.model
    endpoints = (models.haiku, models.haiku.fallback)
    names = {endpoint.name for endpoint in endpoints if endpoint is not None}

    def priced(tokens: Mapping[str, Mapping[str, float]]) -> Alternatives:
        asked = [
            Tokens(
                input=int(kinds.get("input", 0)),
                cache_read=int(kinds.get("cache_read", 0)),
                cache_write_5m=int(kinds.get("cache_write", 0)),
                output=int(kinds.get("output", 0)),
            )
            for name, kinds in tokens.items()
            if name in names
        ]
        return priced_otherwise(asked, prices, haiku=haiku, sonnet=sonnet)

    return priced


def _cost(price: Price, tokens: Tokens, *, batch: bool, regional: bool) -> Decimal:
    rates = price.rates
    if price.long_rates is not None and tokens.prompt > price.long_above:
        rates = price.long_rates
    cost = _at(rates, tokens)
    if batch:
        cost *= BATCH_FACTOR
    if regional:
        cost *= REGIONAL_FACTOR
    return cost.normalize()


def _at(rates: TokenPrices, tokens: Tokens) -> Decimal:
    millionths = (
        rates.input * tokens.input
        + rates.cache_read * tokens.cache_read
        + rates.cache_write_5m * tokens.cache_write_5m
        + rates.cache_write_1h * tokens.cache_write_1h
        + rates.output * tokens.output
    )
    return millionths.scaleb(_MILLIONTH)
