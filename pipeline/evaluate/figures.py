"""Numbers as people read them, on a terminal and in a report."""

from decimal import Decimal


def percent(share: float | None) -> str | None:
    """A share of 1 in per cent."""
    return None if share is None else f"{share:.1%}"


def share(part: int, whole: int) -> str | None:
    """A count and what share it is."""
    return f"{part} ({part / whole:.1%})" if whole else None


def dollars(amount: Decimal | None) -> str:
    """US dollars; small amounts keep what matters of them."""
    if amount is None:
        return "unknown"
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"


def number(value: float | None) -> str | None:
    """A small figure without a unit."""
    return None if value is None else f"{value:.3f}"


def seconds(value: float) -> str:
    """Seconds."""
    return f"{value:.3f} s" if value < 1 else f"{value:.2f} s"
