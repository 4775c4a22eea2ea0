"""What is asked of an invoice, and what the answer's strings mean.

The answer has no nullable fields, because the API takes 16 unions a request and an invoice has
more fields than that: an empty string stands for what the document does not say. Amounts are
strings, so that no digit is lost to a float.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import get_args

from pydantic import BaseModel, ConfigDict, Field

from pipeline.config import InvoiceField
from pipeline.stages.checks.arithmetic import Totals
from pipeline.stages.checks.text_index import TextIndex
from pipeline.stages.checks.text_quality import Legibility, known_currency, stated
from pipeline.stages.fields.dates import parse_date
from pipeline.stages.fields.invoice_amounts import AMOUNTS, GivenLine, read_amounts
from pipeline.stages.stage import Answer

FIELDS: tuple[InvoiceField, ...] = get_args(InvoiceField)


class AnsweredLine(BaseModel):
    """A position as the model read it; empty where the document does not say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(description="What was delivered or done, as printed.")
    quantity: str = Field(description="Plain digits, or empty.")
    unit_price: str = Field(description="Price of one unit: plain digits with a point, or empty.")
    amount: str = Field(description="Amount of the line: plain digits with a point, or empty.")


class InvoiceAnswer(Answer):
    """What is asked of an invoice; an empty string where the document does not say."""

    quote: str = Field(description="Words and figures, copied exactly, that state the total.")
    invoice_number: str = Field(description="Number of this document, or empty.")
    issue_date: str = Field(description="YYYY-MM-DD, or empty.")
    due_date: str = Field(description="Date by which it is to be paid, YYYY-MM-DD, or empty.")
    vendor: str = Field(description="Name of the seller, or empty.")
    buyer: str = Field(description="Name of the customer, or empty.")
    currency: str = Field(description="ISO 4217 code, or empty.")
    line_items: list[AnsweredLine] = Field(description="All positions, in order.")
    allowances: str = Field(description="Discounts on the whole document; 0 if none; or empty.")
    charges: str = Field(description="Freight and fees on the whole document; 0 if none; or empty.")
    net: str = Field(description="Total before tax, or empty.")
    tax: str = Field(description="All taxes, or empty.")
    gross: str = Field(description="Total with tax, or empty.")
    prepaid: str = Field(description="Paid in advance; 0 if nothing was; or empty.")
    withheld: str = Field("", description="Tax that the buyer keeps back; 0 if none; or empty.")
    due: str = Field(description="Amount left to pay, or empty.")
    legibility: Legibility = Field(description="Whether what matters can be read.")
    missing: list[InvoiceField] = Field(description="Fields that should be there and are not.")


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer says, in types; None where it says nothing, or nothing that can be."""

    invoice_number: str | None
    issue_date: date | None
    due_date: date | None
    vendor: str | None
    buyer: str | None
    currency: str | None
    totals: Totals
    ambiguous: tuple[str, ...]
    stated_missing: frozenset[InvoiceField]

    def lacks(self, field: InvoiceField) -> bool:
        """Whether nothing usable was read for a field."""
        if field == "line_items":
            return not self.totals.lines
        return getattr(self.totals if field in AMOUNTS else self, field) is None

    @property
    def missing(self) -> tuple[InvoiceField, ...]:
        """Fields that the model says should be there, and that it gave nothing for."""
        return tuple(name for name in FIELDS if name in self.stated_missing and self.lacks(name))


def read_answer(
    answer: InvoiceAnswer, *, tolerance: Decimal, index: TextIndex | None = None
) -> Reading:
    """Read the strings of an answer.

    Args:
        answer: As the model gave it.
        tolerance: Of sums, which decide where an amount can be read in two ways.
        index: Of the document's text, which decides first; None where it is a file.
    """
    currency = known_currency(answer.currency)
    amounts = read_amounts(
        {name: getattr(answer, name) for name in AMOUNTS},
        [GivenLine(line.quantity, line.unit_price, line.amount) for line in answer.line_items],
        currency=currency,
        tolerance=tolerance,
        index=index,
    )
    return Reading(
        invoice_number=stated(answer.invoice_number),
        issue_date=parse_date(answer.issue_date),
        due_date=parse_date(answer.due_date),
        vendor=stated(answer.vendor),
        buyer=stated(answer.buyer),
        currency=currency,
        totals=amounts.totals,
        ambiguous=amounts.ambiguous,
        stated_missing=frozenset(answer.missing),
    )
