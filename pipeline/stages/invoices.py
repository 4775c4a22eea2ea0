"""Invoices and receipts: their parties, dates and amounts, from text, a PDF file or an image."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from pipeline.config import InvoiceField, InvoiceSettings
from pipeline.model.questions import Part, Question, Signal, Text
from pipeline.stages.checks.injection import injection_signals
from pipeline.stages.checks.invoices import (
    ambiguity_signals,
    date_signals,
    form_signals,
    invented_signals,
    missing_signals,
    sum_signals,
)
from pipeline.stages.checks.signals import blank_signals, length_signals, quote_signals
from pipeline.stages.checks.text_index import TextIndex
from pipeline.stages.checks.text_quality import (
    Legibility,
    damage_signals,
    legibility_signals,
    visible,
)
from pipeline.stages.fields.amounts import format_amount
from pipeline.stages.fields.extraction import Extracted, FieldExtractor
from pipeline.stages.fields.invoice_answer import InvoiceAnswer, Reading, read_answer
from pipeline.stages.files import FileEvent, Files
from pipeline.stages.files.claims import ClaimStore
from pipeline.stages.files.raw_events import check_text
from pipeline.stages.stage import PARTS_OF_A_PICTURE, Section, answer_schema, build_instructions

_ROLE = """\
You read invoices, credit notes and receipts for a company's accounting. What you answer is \
booked without anybody comparing it with the document, so an empty field is better than a wrong \
one."""
_FIELDS = """\
- `quote`: the words and figures of the document, at most twenty words, that state the amount to \
pay or the total. Copied exactly; an empty string if nothing can be read.
- `invoice_number`: the number of this document, as printed; of a receipt the receipt or \
document number. Not an order, customer, delivery or tax number.
- `issue_date`: the date of the document, as YYYY-MM-DD.
- `due_date`: the date by which it is to be paid, as YYYY-MM-DD; only if it is printed, or if a \
term in days is, that you can add to the issue date.
- `vendor`: the name of whoever issues the document and is to be paid, without address.
- `buyer`: the name of whoever it is made out to, without address; often missing on receipts.
- `currency`: the ISO 4217 code, such as EUR, USD, GBP, MYR. From a sign or name if the country \
leaves no doubt about it.
- `line_items`: each position in the order of the document, with its `description`, `quantity`, \
`unit_price` and `amount` as printed. Sub-totals, taxes, rounding and payments are no positions.
- `allowances`: discounts and deductions on the whole document, summed. Not those that the \
lines' amounts already contain.
- `charges`: freight, packing, service charges and fees on the whole document, summed.
- `net`: the total before tax.
- `tax`: all taxes, summed.
- `gross`: the total with tax.
- `prepaid`: what was paid in advance. Not the cash handed over at a till.
- `withheld`: tax that the buyer keeps back and pays to the state, such as withholding tax, \
retention or IRPF. Not what is part of `tax`.
- `due`: what is left to pay. Not the change.
- `legibility`: legible if everything above can be read without guessing; partly if something \
that matters cannot be; illegible if hardly anything can be.
- `missing`: the names of those fields above that a complete document of this kind would have, \
but that are not there or cannot be read."""
_AMOUNTS = """\
Write amounts as plain digits with a point before the decimals, at most one minus sign in front, \
without grouping, currency or spaces: 1234.50, not 1.234,50 EUR. Keep the decimals that are \
printed. Credit notes keep the signs that are printed.
Give what the document prints, never what you worked out: sums are checked against each other \
later, and a figure that you computed would hide a mistake.
An empty string means that the document does not say, or that it cannot be read. For \
`allowances`, `charges`, `prepaid` and `withheld` write 0 where the document is complete and \
shows none. Never write 0 for any other amount unless a zero is printed."""
_CARE = """\
With a date like 03/04/2025 the country, the language and the other dates decide which part is \
the month. Read a number digit by digit; 3 and 8, 1 and 7, 0 and 6 are easily confused on scans. \
Tables that run over pages are one table. If the document holds several invoices, take the \
first, and set `unclear` to true. If it is no invoice, credit note or receipt at all, leave the \
fields empty and set `unclear` to true. Totals that do not add up are given as printed; that \
alone does not make the document unclear."""
DecimalString = Annotated[
    Decimal,
    PlainSerializer(format_amount, return_type=str),
    WithJsonSchema({"type": "string"}),
    Field(description="Exact, as a decimal string, in the document's currency."),
]


class InvoiceEvent(FileEvent):
    """A record of `invoices.raw`: exactly one of `text`, `file` and `uri`."""

    text: str | None = Field(None, description="The document as text.")

    @classmethod
    def contents(cls) -> tuple[str, ...]:
        """The fields of which an event has exactly one."""
        return ("text", *super().contents())


class LineItem(BaseModel):
    """A position of an invoice; null where the document does not say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    quantity: DecimalString | None
    unit_price: DecimalString | None
    amount: DecimalString | None


class InvoiceResult(BaseModel):
    """`result` of a record of `invoices.enriched`; null where the document does not say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    invoice_number: str | None
    issue_date: date | None
    due_date: date | None
    vendor: str | None
    buyer: str | None
    currency: str | None = Field(description="ISO 4217 code.")
    line_items: list[LineItem]
    allowances: DecimalString | None = Field(description="On the whole document; 0 if none.")
    charges: DecimalString | None = Field(description="On the whole document; 0 if none.")
    net: DecimalString | None = Field(description="Total before tax.")
    tax: DecimalString | None
    gross: DecimalString | None = Field(description="Total with tax.")
    prepaid: DecimalString | None = Field(description="Paid in advance; 0 if nothing was.")
    withheld: DecimalString | None = Field(
        None, description="Tax that the buyer keeps back; 0 if none."
    )
    due: DecimalString | None = Field(description="Left to pay.")
    legibility: Legibility
    missing: list[InvoiceField] = Field(description="What it should have and does not.")
    fields: Extracted = Field(default_factory=dict)


class Invoices:
    """The stage `invoices`.

    Args:
        settings: Limits, required fields, tolerance, thresholds.
        claims: Where a `uri` is redeemed; files below `settings.uri_allow` if not given.
    """

    name = "invoices"
    raw_model = InvoiceEvent
    result_model = InvoiceResult
    deciding = ("invoice_number", "issue_date", "currency", "net", "tax", "gross", "due")
    reads_files = True
    checks_slowly = True

    def __init__(self, settings: InvoiceSettings, claims: ClaimStore | None = None) -> None:
        self._settings = settings
        self._files = Files(settings, claims)
        self._extraction = FieldExtractor(settings.fields)
        # What is published is read with the index that the checks have just made.
        self._indexed = lru_cache(maxsize=2)(TextIndex)
        self._answer_model = self._extraction.extended(InvoiceAnswer)
        self._answer_schema = answer_schema(self._answer_model)
        self._instructions = build_instructions(
            _ROLE,
            Section("What to answer", _FIELDS),
            Section("Amounts", _AMOUNTS),
            *self._extraction.sections,
            Section("Care", _CARE),
            Section("Pictures in parts", PARTS_OF_A_PICTURE),
        )

    def parse(
        self, value: bytes, *, key: bytes | None, headers: Mapping[str, bytes]
    ) -> InvoiceEvent:
        """Read a raw event, JSON or a bare file."""
        event = self._files.read_event(InvoiceEvent, value, key=key, headers=headers)
        check_text("text", event.text or "", self._settings.max_text_chars)
        return event

    def question(self, event: InvoiceEvent) -> Question[InvoiceAnswer]:
        """Ask about the text, or about the file once it is checked and scaled."""
        parts: tuple[Part, ...] = (
            self._files.open(event)
            if event.text is None
            else (Text("invoice", visible(event.text)),)
        )
        return Question(
            stage=self.name,
            instructions=self._instructions,
            parts=parts,
            answer_model=self._answer_model,
            answer_schema=self._answer_schema,
            max_output_tokens=8192,
        )

    def signals(self, event: InvoiceEvent, answer: InvoiceAnswer) -> Sequence[Signal]:
        """Check sums, form, completeness, and that all of it is in the text."""
        index = self._index_of(event)
        reading = self._read(answer, index)
        return [
            *sum_signals(reading, self._settings.amount_tolerance),
            *ambiguity_signals(reading),
            *date_signals(reading),
            *form_signals(answer, reading),
            *missing_signals(reading, self._settings.required_fields),
            *legibility_signals(answer.legibility),
            *self._extraction.signals(answer, event.text),
            *_text_signals(answer, reading, event.text, index),
        ]

    def result(self, event: InvoiceEvent, answer: InvoiceAnswer) -> InvoiceResult:
        """What is published: empty strings become null, and so does what cannot be right."""
        reading = self._read(answer, self._index_of(event))
        totals = reading.totals
        return InvoiceResult(
            invoice_number=reading.invoice_number,
            issue_date=reading.issue_date,
            due_date=reading.due_date,
            vendor=reading.vendor,
            buyer=reading.buyer,
            currency=reading.currency,
            allowances=totals.allowances,
            charges=totals.charges,
            net=totals.net,
            tax=totals.tax,
            gross=totals.gross,
            prepaid=totals.prepaid,
            withheld=totals.withheld,
            due=totals.due,
            line_items=[
                LineItem(
                    description=item.description.strip(),
                    quantity=line.quantity,
                    unit_price=line.unit_price,
                    amount=line.amount,
                )
                for item, line in zip(answer.line_items, totals.lines, strict=True)
            ],
            legibility=answer.legibility,
            missing=list(reading.missing),
            fields=self._extraction.read(answer),
        )

    def _index_of(self, event: InvoiceEvent) -> TextIndex | None:
        return None if event.text is None else self._indexed(event.text)

    def _read(self, answer: InvoiceAnswer, index: TextIndex | None) -> Reading:
        tolerance = self._settings.amount_tolerance
        return read_answer(answer, tolerance=tolerance, index=index)


def _text_signals(
    answer: InvoiceAnswer, reading: Reading, text: str | None, index: TextIndex | None
) -> list[Signal]:
    if text is None or index is None:
        return injection_signals(answer.quote, *(item.description for item in answer.line_items))
    return blank_signals(text) or [
        *quote_signals(answer.quote, text),
        *invented_signals(answer, reading, index),
        *damage_signals(text),
        *injection_signals(text),
        *length_signals(text),
    ]
