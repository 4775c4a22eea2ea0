"""Amounts of money and quantities as documents and models write them."""

import re
from decimal import Decimal, InvalidOperation

MAX_DIGITS = 18
"""More is a bar code or a mistake, not an amount."""

MAX_LENGTH = 40
"""Characters; what is longer is no amount, and would only cost time."""

_AMOUNT = re.compile(r"([^0-9]*?)([.,]?[0-9][0-9.,'’\s]*?)([^0-9]*)")
_GROUPS = re.compile(r"\d{1,3}(?:([.,'’])\d{3})(?:\1\d{3})*", re.ASCII)
_MINUS = "-\u2212"


def parse_amount(text: str) -> Decimal | None:
    """Read an amount; None where the text is none.

    Takes a currency sign, grouped digits with either decimal separator, and brackets or a
    trailing sign for negative ones. `1.234` is one and a bit, because answers are asked to use a
    point for decimals; `1,234` is a thousand and more for the same reason.
    """
    found = _AMOUNT.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if found is None:
        return None
    before, digits, after = found.groups()
    normal = _with_decimal_point("".join(digits.split()))
    if sum(char.isdigit() for char in normal) not in range(1, MAX_DIGITS + 1):
        return None
    try:
        amount = Decimal(normal)
    except InvalidOperation:
        return None
    is_negative = any(sign in before for sign in f"({_MINUS}") or after.startswith(tuple(_MINUS))
    return -amount if is_negative else amount


def format_amount(amount: Decimal) -> str:
    """Write an amount as it is published: plain digits, never an exponent."""
    return format(amount, "f")


def _with_decimal_point(digits: str) -> str:
    last = max(digits.rfind("."), digits.rfind(","))
    if last < 0:
        return digits.replace("'", "").replace("’", "")
    separator = digits[last]
    others = set(digits[:last]) - set("0123456789")
    grouped = separator in others or (
        separator == "," and not others and _GROUPS.fullmatch(digits) is not None
    )
    if grouped:
        return re.sub(r"\D", "", digits) if _GROUPS.fullmatch(digits) else ""
    return re.sub(r"\D", "", digits[:last]) + "." + digits[last + 1 :]
