"""What is known of each model: as the API describes it, else by a dated table. Pure.

`GET /v1/models/{id}` says how a model may be asked, what it can do and when it retires. Gateways
and some platforms do not serve it; prices, and what a model sees of an image, it does not say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ValidationError

from pipeline.claude.model_ids import base_id
from pipeline.config import TokenPrices
from pipeline.model.questions import HIGH_RESOLUTION, ImageLimits

PRICES_AS_OF = date(2026, 10, 10)
"""When the public price page was read."""
RETIREMENTS_AS_OF = date(2026, 11, 29)
"""Until when announcements of retirements are in the table."""
PARTNERS_OWN_SCHEDULE = frozenset({"bedrock", "bedrock-mantle", "vertex"})
"""Providers that retire models on days of their own."""
Lifecycle = Literal["active", "deprecated", "retired"]
Capability = Literal["batch", "image_input", "pdf_input", "structured_outputs"]


@dataclass(frozen=True, slots=True)
class Traits:
    """How a model is asked for a short, cheap answer.

    Args:
        thinking: The `thinking.type` that means least thinking; None: the field is not sent.
        takes_effort: Whether `output_config.effort` is accepted.
        thinking_room: Added to `max_tokens`, because thinking that cannot be switched off counts.
        cacheable_tokens: The shortest prompt prefix that the API caches.
        takes_schema: Whether an answer schema may be sent, where its provider takes one at all.
    """

    thinking: str | None = None
    takes_effort: bool = False
    thinking_room: int = 0
    cacheable_tokens: int = 4096
    takes_schema: bool = True

    @property
    def thinks(self) -> bool:
        return self.thinking_room > 0 or self.thinking not in {None, "disabled"}


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars a million tokens; prompts of more than `long_above` pay `long_rates` for all."""

    rates: TokenPrices
    long_above: int = 0
    long_rates: TokenPrices | None = None


_THINKING_ROOM = 8192
UNKNOWN = Traits(thinking_room=_THINKING_ROOM)
"""What every model accepts, which may cost more: it thinks as it likes, with room to do so."""
STANDARD_RESOLUTION = ImageLimits(long_edge=1568, tokens=1568)
"""Before Claude 4.7. Unknown models are sent more: each scales down itself what it cannot see."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model of the program's own table; `retires` as announced for Anthropic's own platforms."""

    price: Price | None = None
    traits: Traits = UNKNOWN
    images: ImageLimits = HIGH_RESOLUTION
    retires: date | None = None


def _rates(input_usd: str, output_usd: str, cache_read_usd: str) -> TokenPrices:
    """Prices of which those of cache writes follow, as they do for every model of the page."""
    base = Decimal(input_usd)
    return TokenPrices(
        input=base,
        output=Decimal(output_usd),
        cache_write_5m=base * Decimal("1.25"),
        cache_write_1h=base * 2,
        cache_read=Decimal(cache_read_usd),
    )


_FABLE_5, _FABLE_5_1 = Price(_rates("10", "50", "1")), Price(_rates("10", "50", "0.25"))
_OPUS_4, _OPUS_4_5 = Price(_rates("15", "75", "1.50")), Price(_rates("5", "25", "0.50"))
_SONNET_4 = Price(_rates("3", "15", "0.30"))
_THINKS_ALWAYS = Traits(takes_effort=True, thinking_room=_THINKING_ROOM, cacheable_tokens=512)
_THINKS_IF_ASKED = Traits(cacheable_tokens=1024)

MODELS: Mapping[str, KnownModel] = MappingProxyType({
    "claude-haiku-5-5": KnownModel(
        Price(
            _rates("0.10", "0.50", "0.01"),
            long_above=100_000,
            long_rates=_rates("0.50", "2.50", "0.05"),
        ),
        Traits(thinking="disabled", takes_effort=True, cacheable_tokens=512),
    ),
    "claude-sonnet-5-5": KnownModel(
        Price(_rates("2", "10", "0.10")),
        # Thinking cannot be disabled; without tools there is nothing to think between.
        Traits(thinking="between_tools", takes_effort=True, cacheable_tokens=512),
    ),
    "claude-opus-5-5": KnownModel(Price(_rates("4", "20", "0.20")), _THINKS_ALWAYS),
    # Released after the page was read: as third parties read it in November 2026.
    "claude-fable-5-2": KnownModel(Price(_rates("8", "40", "0.20")), _THINKS_ALWAYS),
    "claude-fable-5-1": KnownModel(_FABLE_5_1, _THINKS_ALWAYS),
    "claude-mythos-5-1": KnownModel(_FABLE_5_1, _THINKS_ALWAYS),
    "claude-fable-5": KnownModel(_FABLE_5, _THINKS_ALWAYS),
    "claude-mythos-5": KnownModel(_FABLE_5, _THINKS_ALWAYS),
    "claude-sonnet-5": KnownModel(
        Price(_rates("2", "10", "0.20")),
        Traits(thinking="disabled", takes_effort=True, cacheable_tokens=1024),
    ),
    "claude-opus-5": KnownModel(_OPUS_4_5, _THINKS_ALWAYS),
    "claude-opus-4-8": KnownModel(_OPUS_4_5),
    "claude-opus-4-7": KnownModel(_OPUS_4_5),
    "claude-opus-4-6": KnownModel(_OPUS_4_5, images=STANDARD_RESOLUTION),
    "claude-opus-4-5": KnownModel(
        _OPUS_4_5, images=STANDARD_RESOLUTION, retires=date(2027, 1, 22)
    ),
    "claude-sonnet-4-6": KnownModel(_SONNET_4, _THINKS_IF_ASKED, STANDARD_RESOLUTION),
    "claude-sonnet-4-5": KnownModel(
        _SONNET_4, _THINKS_IF_ASKED, STANDARD_RESOLUTION, date(2026, 11, 30)
    ),
    "claude-haiku-4-5": KnownModel(Price(_rates("1", "5", "0.10")), Traits(), STANDARD_RESOLUTION),
    # Retired where Anthropic operates the platform; some clouds still have them.
    "claude-opus-4-1": KnownModel(_OPUS_4, UNKNOWN, STANDARD_RESOLUTION, date(2026, 8, 5)),
    "claude-mythos-preview": KnownModel(retires=date(2026, 6, 30)),
    "claude-opus-4": KnownModel(_OPUS_4, UNKNOWN, STANDARD_RESOLUTION, date(2026, 6, 15)),
    "claude-opus-4-0": KnownModel(_OPUS_4, UNKNOWN, STANDARD_RESOLUTION, date(2026, 6, 15)),
    "claude-sonnet-4": KnownModel(_SONNET_4, UNKNOWN, STANDARD_RESOLUTION, date(2026, 6, 15)),
    "claude-sonnet-4-0": KnownModel(_SONNET_4, UNKNOWN, STANDARD_RESOLUTION, date(2026, 6, 15)),
    "claude-3-haiku": KnownModel(retires=date(2026, 4, 20)),
    "claude-3-5-haiku": KnownModel(
        Price(_rates("0.80", "4", "0.08")), UNKNOWN, STANDARD_RESOLUTION, date(2026, 2, 19)
    ),
    "claude-3-7-sonnet": KnownModel(retires=date(2026, 2, 19)),
    "claude-3-opus": KnownModel(retires=date(2026, 1, 5)),
    "claude-3-5-sonnet": KnownModel(retires=date(2025, 10, 28)),
})  # fmt: skip
"""By Anthropic's own id: model and price pages of October 2026."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """How a model is asked, what it lacks and until when it is there.

    Args:
        lifecycle: As the API says; None where it does not.
        retires: The day that is announced, if any.
        lacks: What the API says the model cannot do.
    """

    traits: Traits
    lifecycle: Lifecycle | None = None
    retires: date | None = None
    lacks: frozenset[Capability] = frozenset()


class _Support(BaseModel):
    supported: bool


class _ThinkingTypes(BaseModel):
    adaptive: _Support
    disabled: _Support
    between_tools: _Support = _Support(supported=False)


class _Thinking(BaseModel):
    types: _ThinkingTypes


class _Effort(BaseModel):
    supported: bool


class _Capabilities(BaseModel):
    effort: _Effort | None = None
    thinking: _Thinking | None = None
    batch: _Support | None = None
    image_input: _Support | None = None
    pdf_input: _Support | None = None
    structured_outputs: _Support | None = None


class _Description(BaseModel):
    lifecycle: Lifecycle | None = None
    retires_at: AwareDatetime | None = None
    capabilities: _Capabilities = _Capabilities()


def known(model: str) -> KnownModel:
    """What the table says of a model, whatever its platform calls it."""
    return MODELS.get(base_id(model), KnownModel())


def facts_of(model: str, description: Mapping[str, Any] | None = None) -> ModelFacts:
    """What is known of a model; what its description does not say, or says in vain, is the table's.

    `description` is the body of `GET /v1/models/{id}`, of which gateways serve what they like.
    """
    own = known(model)
    by_table = ModelFacts(own.traits, retires=own.retires)
    if description is None:
        return by_table
    try:
        described = _Description.model_validate(description)
    except ValidationError:
        return by_table
    capable = described.capabilities
    capabilities: Mapping[Capability, _Support | None] = {
        "batch": capable.batch,
        "image_input": capable.image_input,
        "pdf_input": capable.pdf_input,
        "structured_outputs": capable.structured_outputs,
    }
    retires = None if described.retires_at is None else described.retires_at.date()
    return ModelFacts(
        _traits(capable, own.traits),
        described.lifecycle,
        own.retires if described.lifecycle is None else retires,
        frozenset(name for name, is_there in capabilities.items()
                  if is_there is not None and not is_there.supported),
    )  # fmt: skip


def _traits(capable: _Capabilities, own: Traits) -> Traits:
    if capable.structured_outputs is not None:
        own = replace(own, takes_schema=capable.structured_outputs.supported)
    if capable.thinking is None or capable.effort is None:
        return own
    types, thinking, room = capable.thinking.types, None, 0
    # What knows no adaptive thinking thinks only when it is asked to.
    if types.adaptive.supported:
        if types.disabled.supported:
            thinking = "disabled"
        elif types.between_tools.supported:
            thinking = "between_tools"
        else:
            room = _THINKING_ROOM
    return replace(
        own, thinking=thinking, takes_effort=capable.effort.supported, thinking_room=room
    )
