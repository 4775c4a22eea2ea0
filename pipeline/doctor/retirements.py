"""When models retire: a dated table, from the public page of deprecations and the SDK's own list.

The SDK knows those that were announced when it was made; what is here beside is of that page.
"""

from collections.abc import Mapping
from datetime import date, datetime
from types import MappingProxyType

from anthropic.resources.messages.messages import DEPRECATED_MODELS

AS_OF = date(2026, 10, 8)
"""When the page was read."""

_OF_THE_PAGE = {
    "claude-3-haiku-20240307": date(2026, 4, 20),
    "claude-3-5-sonnet-20240620": date(2025, 10, 28),
    "claude-3-5-sonnet-20241022": date(2025, 10, 28),
    "claude-3-5-haiku-20241022": date(2026, 2, 19),
    "claude-3-5-haiku-latest": date(2026, 2, 19),
    "claude-opus-4-1-20250805": date(2026, 8, 5),
    "claude-sonnet-4-5": date(2026, 11, 30),
    "claude-sonnet-4-5-20250929": date(2026, 11, 30),
}


def _day(text: str) -> date:
    """A day as the SDK writes it: `February 19th, 2026`.

    Raises:
        ValueError: It is written otherwise.
    """
    month, day, year = text.replace(",", "").split()
    number = day.rstrip("dhnrst")
    return datetime.strptime(f"{month} {number} {year}", "%B %d %Y").date()  # noqa: DTZ007


RETIREMENTS: Mapping[str, date] = MappingProxyType(
    _OF_THE_PAGE | {model: _day(text) for model, text in DEPRECATED_MODELS.items()}
)
"""The day of retirement by model id."""
