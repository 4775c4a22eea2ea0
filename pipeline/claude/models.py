"""What differs between models, as data.

Read from the public model pages of October 2026. A model that is not listed gets what every
model accepts, which may cost more: it is left to think as it likes, with room to do so.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.model.records import SIMULATED

_AROUND = re.compile(
    rf"^(?:{re.escape(SIMULATED)}|(?:us|us-gov|eu|apac|jp|au|ca|global)\.|arn:[\w:-]+/"
    r"|[a-z_]+/)*(?:anthropic[./])?"
    r"(?P<id>.+?)(?:@(?:default|latest|\d{8})|-latest|-v\d+(?::\d+)?)?$"
)
"""What platforms and gateways put before and behind the same id."""
_DATE = re.compile(r"-20\d{6}$")


@dataclass(frozen=True, slots=True)
class Traits:
    """How a model is asked for a short, cheap answer.

    Args:
        thinking: The `thinking.type` that means least thinking; None: the field is not sent.
        takes_effort: Whether `output_config.effort` is accepted.
        thinking_room: Tokens added to `max_tokens`, because thinking that cannot be switched off
            counts in it and would leave no room for the answer.
        cacheable_tokens: The shortest prompt prefix that the API caches, in tokens.
    """

    thinking: str | None = None
    takes_effort: bool = False
    thinking_room: int = 0
    cacheable_tokens: int = 4096


UNKNOWN = Traits(thinking_room=8192)
TRAITS: Mapping[str, Traits] = MappingProxyType(
    {
        "claude-haiku-5-5": Traits(thinking="disabled", takes_effort=True, cacheable_tokens=512),
        # Thinking cannot be disabled; without tools there is nothing to think between.
        "claude-sonnet-5-5": Traits(
            thinking="between_tools", takes_effort=True, cacheable_tokens=512
        ),
        "claude-opus-5-5": Traits(takes_effort=True, thinking_room=8192, cacheable_tokens=512),
        # Both think only when asked to, and know no effort.
        "claude-haiku-4-5": Traits(cacheable_tokens=4096),
        "claude-haiku-4-5-20251001": Traits(cacheable_tokens=4096),
    }
)


def base_id(model: str) -> str:
    """The model's id without what a platform puts before or behind it."""
    found = _AROUND.match(model)
    return model if found is None else found["id"]


def undated(model: str) -> str:
    """The model's id without the day of its release, as an alias has it."""
    return _DATE.sub("", base_id(model))


def traits_of(model: str) -> Traits:
    """The traits of a model by its id."""
    return TRAITS.get(base_id(model), UNKNOWN)
