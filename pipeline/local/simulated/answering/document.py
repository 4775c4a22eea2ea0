"""A business document, read once for all the properties that are asked of it."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cached_property

from pipeline.local.simulated.answering.dates import (
    PrintedDate,
    after_days,
    find_dates,
    puts_month_first,
)
from pipeline.local.simulated.answering.labelled import Labels, identifier_after, identifier_in
from pipeline.local.simulated.answering.layout import Layout
from pipeline.local.simulated.answering.money import (
    Amount,
    choose_totals,
    currency_of,
    labelled_amounts,
)
from pipeline.local.simulated.answering.parties import party
from pipeline.local.simulated.answering.skill import Skill
from pipeline.local.simulated.answering.tables import Position, find_positions, positions_total

_MOST_LINES = 2000
_NOUNS: Mapping[str, Sequence[str]] = {
    "invoice_number": (
        "invoice", "rechnung", "facture", "factura", "receipt", "bill", "credit note", "gutschrift",
        "beleg", "avoir", "abono", "document", "doc",
    ),
    "order_number": ("order", "bestell", "auftrag", "commande", "pedido"),
    "customer_number": ("customer", "kunden", "client", "cliente"),
    "tax_id": ("vat", "gst", "tax", "ust", "steuer", "tva", "iva"),
}  # fmt: skip


class Document:
    """What a text says as an invoice, a receipt, a letter would.

    Args:
        text: The text.
        skill: How well it is read.
    """

    def __init__(self, text: str, skill: Skill) -> None:
        self.text = "\n".join(text.splitlines()[:_MOST_LINES])
        self._skill = skill

    @cached_property
    def layout(self) -> Layout:
        """Its lines and cells."""
        return Layout(self.text)

    @cached_property
    def labels(self) -> Labels:
        """Its labelled values."""
        return Labels(self.layout)

    @cached_property
    def amounts(self) -> Sequence[Amount]:
        """Its labelled amounts."""
        return labelled_amounts(self.layout, self.text)

    @cached_property
    def totals(self) -> Mapping[str, Amount]:
        """The amount for each role."""
        return choose_totals(self.amounts, careful=self._skill.checks_sums)

    def amount(self, role: str) -> Amount | None:
        """The amount with a role; where none is called a total, what is due or net is one."""
        roles = ("gross", "due", "net") if role == "gross" else (role,)
        return next((self.totals[name] for name in roles if name in self.totals), None)

    @cached_property
    def currency(self) -> tuple[str | None, float]:
        """Its currency, and how sure that is."""
        return currency_of(self.text)

    @cached_property
    def dates(self) -> Sequence[PrintedDate]:
        """All its dates."""
        return list(find_dates(self.text, month_first=self._month_first))

    @cached_property
    def _month_first(self) -> bool:
        american = self.currency[0] == "USD" and bool(re.search(r"[A-Z]{2} \d{5}\b", self.text))
        return puts_month_first(self.text, american=american)

    def date(self, role: str) -> tuple[PrintedDate | None, float]:
        """The date with a role: a section of `data/labels.txt`."""
        for found in self.labels.of(role):
            day = self._first_date(found.value) or self._first_date(
                self.layout.texts[found.cell.line][found.cell.start :] if found.beside else ""
            )
            if day is not None:
                return day, 0.95
        if role == "issue_date" and self.dates:
            return self.dates[0], 0.8 if len({each.day for each in self.dates}) == 1 else 0.6
        if role == "due_date":
            return self._due_by_term(), 0.7
        return None, 0.5

    def identifier(self, role: str) -> tuple[str | None, float]:
        """The number with a role: a section of `data/labels.txt`."""
        for found in self.labels.of(role):
            value = identifier_in(found.value)
            if value is not None:
                return value, 0.9
        value = identifier_after(_NOUNS.get(role, (role.partition("_")[0],)), self.text)
        return value, 0.8 if value else 0.4

    def party(self, role: str) -> tuple[str | None, float]:
        """The name of `vendor` or `buyer`."""
        return party(self.labels, self.layout, role)

    @cached_property
    def positions(self) -> Sequence[Position]:
        """The rows of its table."""
        return find_positions(self.layout, self.text)

    @property
    def positions_sure(self) -> float:
        """How sure the positions are: as sure as their sum is one of the totals."""
        total = positions_total(self.positions)
        known = [self.totals[role].number.value for role in ("net", "gross") if role in self.totals]
        if any(abs(total - value) <= Decimal("0.02") for value in known):
            return 0.97
        return 0.7

    def value(self, role: str) -> str | None:
        """What stands beside a label, as printed."""
        return next((found.value for found in self.labels.of(role)), None)

    def named(self, names: Sequence[str]) -> str | None:
        """What stands beside any of these words, as printed."""
        return next(self.labels.named(names), None)

    def adds_up(self) -> bool | None:
        """Whether net and tax are the gross; None where one of them is not there."""
        values: list[Decimal] = []
        for role in ("net", "tax", "gross"):
            if role not in self.totals:
                return None
            values.append(self.totals[role].number.value)
        return abs(values[0] + values[1] - values[2]) <= Decimal("0.02")

    def _first_date(self, text: str) -> PrintedDate | None:
        return next(iter(find_dates(text, month_first=self._month_first)), None)

    def _due_by_term(self) -> PrintedDate | None:
        issued, _ = self.date("issue_date")
        if issued is None:
            return None
        due: date | None = after_days(issued.day, self.text)
        return None if due is None else PrintedDate(due, due.isoformat(), 0, 0)
