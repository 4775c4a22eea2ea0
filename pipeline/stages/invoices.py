"""Invoices and receipts: their parties, dates and amounts, from text, a PDF file or an image.

An e-invoice is read from its own data, and asked about only where these do not agree.
"""

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Generic, TypeVar

from pydantic import Field, PlainSerializer, WithJsonSchema

from pipeline.config import InvoiceField, InvoiceSettings
from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import KnownResult, Part, Pdf, Question, Signal, Text
from pipeline.model.records import DeadLetterReason, Evidence
from pipeline.stages.checks import text_quality
from pipeline.stages.checks.arithmetic import CheckName, check_totals, odd_lines
from pipeline.stages.checks.evidence import ambiguous, not_found, quote_signals
from pipeline.stages.checks.injection import injection_signals
from pipeline.stages.checks.places import Places
from pipeline.stages.checks.text_index import TextIndex, value_signals
from pipeline.stages.fields import asking
from pipeline.stages.fields.amounts import format_amount
from pipeline.stages.fields.dates import is_plausible
from pipeline.stages.fields.einvoice import EInvoice, read_einvoice
from pipeline.stages.fields.extraction import Extracted, FieldExtractor
from pipeline.stages.fields.invoice_answer import AMOUNTS, HEAD, InvoiceAnswer, Reading, read_answer
from pipeline.stages.fields.invoice_places import invoice_evidence
from pipeline.stages.files.decoding import TEXT_LAYER
from pipeline.stages.files.media import MEDIA_TYPES
from pipeline.stages.files.raw_events import FileEvent, Files, text_too_long
from pipeline.stages.files.xml import XML, Element, XmlRefused, parse_xml, without_files

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
_NAMED = 5
_DESCRIBED = 0.5
"""Of the letters of a description: less than that was not read, but made up."""
_CONTRADICTS = "document_contradicts"
_READINGS_KEPT = 8
"""Of answers, which are read to be checked, to be published and to say where they are from."""
_PARSED_AT_ONCE = threading.BoundedSemaphore(4)
"""XML documents, of which one may take some 60 MB as a tree."""
_DATES = ("issue_date", "due_date")
_LINES = ("line_items",)
_QUOTED = ("gross", "due")
"""What the quote states: the amount to pay, or the total."""
_SUMMED: Mapping[CheckName, tuple[str, ...]] = {
    "lines": ("line_items", "allowances", "charges", "net"),
    "gross": ("net", "tax", "gross"),
    "due": ("gross", "prepaid", "withheld", "due"),
}
"""What goes into each sum."""
_PRINTED_AMOUNT = re.compile(r"\d[.,]\d\d(?!\d)")
_FEWEST_AMOUNTS = 3
_OTHER_NUMBER = 0.4
_ODD_LINES = 0.3
"""Quantity times price holds on 0.7 of true invoices, so it does not count by default."""
T = TypeVar("T")
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


class LineItem(asking.Strict):
    """A position of an invoice; null where the document does not say."""

    description: str
    quantity: DecimalString | None
    unit_price: DecimalString | None
    amount: DecimalString | None


class InvoiceResult(asking.Strict):
    """`result` of a record of `invoices.enriched`; null where the document does not say."""

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
    legibility: text_quality.Legibility
    missing: list[InvoiceField] = Field(description="What it should have and does not.")
    fields: Extracted = Field(default_factory=dict)


class Invoices:
    name = "invoices"
    raw_model = InvoiceEvent
    result_model = InvoiceResult
    deciding = ("invoice_number", "issue_date", "currency", "net", "tax", "gross", "due")
    reads_files = True
    checks_slowly = True
    media_types = MEDIA_TYPES | {XML}

    def __init__(self, settings: InvoiceSettings) -> None:
        self._settings = settings
        self._reads_einvoices = settings.read_einvoices
        self._files = Files(settings, takes_xml=settings.read_einvoices)
        self.splitter = self._files.splitter(self.name)
        self._extraction = FieldExtractor(settings.fields)
        # What is published is read with the index that the checks have just made.
        self._indexed = lru_cache(maxsize=2)(TextIndex)
        self._readings = lru_cache(maxsize=_READINGS_KEPT)(self._read_first)
        self._question = asking.question_for(
            self.name,
            self._extraction.extended(InvoiceAnswer),
            _ROLE,
            asking.Section("What to answer", _FIELDS),
            asking.Section("Amounts", _AMOUNTS),
            *self._extraction.sections,
            asking.Section("Care", _CARE),
            asking.Section("Pictures in parts", asking.PARTS_OF_A_PICTURE),
            max_output_tokens=8192,
        )

    def parse(
        self, value: bytes, *, key: bytes | None, headers: Mapping[str, bytes]
    ) -> InvoiceEvent:
        return self._files.read_event(InvoiceEvent, value, key=key, headers=headers)

    def question(self, event: InvoiceEvent) -> Question[InvoiceAnswer]:
        return self._opened(event)[0]()

    def read_or_ask(
        self, event: InvoiceEvent
    ) -> KnownResult[InvoiceAnswer] | Question[InvoiceAnswer]:
        """An e-invoice as its own data say; a question about everything else.

        Further fields of a team are in no e-invoice, so that with `fields` all are asked.
        """
        question, documents, visible = self._opened(event)
        if not documents or self._settings.fields:
            return question()
        tolerance = self._settings.amount_tolerance
        with _PARSED_AT_ONCE:
            found = [read_einvoice(root, tolerance=tolerance) for root in _parsed(documents)]
        einvoices = [each for each in found if each is not None]
        if not einvoices:
            return question()
        einvoice, *others = einvoices
        signals = [*self._contradictions(einvoice)]
        if any(other.reading != einvoice.reading for other in others):
            signals.append(Signal(_CONTRADICTS, 1.0, "Two e-invoices are attached that differ."))
        signals += _not_shown(einvoice.reading, visible)
        reading = einvoice.reading
        lines = [
            LineItem(description=description, **asdict(line))
            for description, line in zip(einvoice.descriptions, reading.totals.lines, strict=True)
        ]
        return KnownResult(_result(reading, lines, "legible", {}), tuple(signals), question)

    def _opened(
        self, event: InvoiceEvent
    ) -> tuple[Callable[[], Question[InvoiceAnswer]], list[str | bytes], str]:
        """What builds the question about an event, what may be an e-invoice in it, and its text.

        That is what people see on the pages that an e-invoice is attached to.
        """
        text = event.text
        if text is not None:
            is_markup = self._reads_einvoices and text.lstrip("\ufeff \t\r\n").startswith("<")
            documents: list[str | bytes] = [text] if is_markup else []
            return lambda: self._asked(Text("invoice", text_quality.visible(text))), documents, ""
        opened = self._files.open_any(event)
        if isinstance(opened, bytes):
            where = "file" if event.file is not None else "uri"
            return lambda: self._asked_of_xml(opened, where), [opened], ""
        attached = [each for part in opened if isinstance(part, Pdf) for each in part.attached]
        visible = ""
        parts: list[Part] = []
        for each in opened:
            if attached and isinstance(each, Text) and each.name == TEXT_LAYER:
                visible = each.text
            else:
                parts.append(replace(each, attached=()) if isinstance(each, Pdf) else each)
        return lambda: self._asked(*parts), [*attached], visible

    def _asked(self, *parts: Part) -> Question[InvoiceAnswer]:
        return replace(self._question, parts=parts)

    def _asked_of_xml(self, document: bytes, where: str) -> Question[InvoiceAnswer]:
        try:
            with _PARSED_AT_ONCE:
                text = without_files(parse_xml(document))
        except XmlRefused as refused:
            detail = f"{where}: this XML is not read, because {refused}."
            raise InvalidEvent(DeadLetterReason.UNSUPPORTED_MEDIA, detail) from None
        if len(text) > (limit := self._settings.max_text_chars):
            raise text_too_long(where, text, limit)
        return self._asked(Text("invoice", text_quality.visible(text)))

    def _contradictions(self, einvoice: EInvoice) -> Iterable[Signal]:
        """What the data of an e-invoice lack, or say in two ways."""
        reading, required = einvoice.reading, self._settings.required_fields
        details = [
            *einvoice.faults[:_NAMED],
            *(f"{name}: not found." for name in required if reading.lacks(name)),
            *(signal.detail for signal in _date_signals(reading)),
        ]
        for detail in dict.fromkeys(details):
            yield Signal(_CONTRADICTS, 1.0, f"By the document's own data: {detail}")
        if einvoice.odd_lines:
            detail = f"Quantity x price is not the amount of {einvoice.odd_lines} lines."
            yield Signal(_CONTRADICTS, _ODD_LINES, f"By the document's own data: {detail}")

    def signals(self, event: InvoiceEvent, answer: InvoiceAnswer) -> Sequence[Signal]:
        text, index = event.text, None if event.text is None else self._indexed(event.text)
        reading = self._read(event, answer)
        found = [
            *_sum_signals(reading, self._settings.amount_tolerance),
            *(ambiguous(name, _field_of(name)) for name in reading.ambiguous[:_NAMED]),
            *_date_signals(reading),
            *_form_signals(answer, reading),
            *(
                Signal("missing_field", 1.0, f"{name}: not found.", (name,))
                for name in self._settings.required_fields
                if reading.lacks(name)
            ),
            *text_quality.legibility_signals(answer.legibility),
            *self._extraction.signals(answer, text),
        ]
        if text is None or index is None:
            said = (answer.quote, *(item.description for item in answer.line_items))
            return found + injection_signals(*said)
        if text_quality.is_blank(text):
            return [*found, text_quality.NO_TEXT]
        return [
            *found,
            *quote_signals(answer.quote, text, fields=_QUOTED),
            *_invented_signals(answer, reading, index),
            *text_quality.damage_signals(text),
            *injection_signals(text),
            *text_quality.length_signals(text),
        ]

    def evidence(self, event: InvoiceEvent, answer: InvoiceAnswer) -> Iterator[Evidence]:
        if event.text is None:
            return
        text = Places(event.text, "text")
        yield from invoice_evidence(text, answer, self._read(event, answer))
        yield from self._extraction.evidence(answer, text)

    def result(self, event: InvoiceEvent, answer: InvoiceAnswer) -> InvoiceResult:
        """Empty strings become null, and so does what cannot be right."""
        reading = self._read(event, answer)
        lines = [
            LineItem(description=item.description.strip(), **asdict(line))
            for item, line in zip(answer.line_items, reading.totals.lines, strict=True)
        ]
        return _result(reading, lines, answer.legibility, self._extraction.read(answer))

    def _read(self, event: InvoiceEvent, answer: InvoiceAnswer) -> Reading:
        return self._readings(_Itself(event), _Itself(answer))

    def _read_first(
        self, event: "_Itself[InvoiceEvent]", answer: "_Itself[InvoiceAnswer]"
    ) -> Reading:
        index = None if event.value.text is None else self._indexed(event.value.text)
        return read_answer(answer.value, tolerance=self._settings.amount_tolerance, index=index)


@dataclass(frozen=True, slots=True, eq=False)
class _Itself(Generic[T]):
    """A value that is compared by what it is, not by what it holds."""

    value: T

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _result(
    reading: Reading, lines: list[LineItem], legibility: text_quality.Legibility, fields: Extracted
) -> InvoiceResult:
    return InvoiceResult(
        **{name: getattr(reading, name) for name in HEAD},
        **{name: getattr(reading.totals, name) for name in AMOUNTS},
        line_items=lines,
        legibility=legibility,
        missing=list(reading.missing),
        fields=fields,
    )


def _field_of(name: str) -> str:
    """The field of the result that an amount belongs to, such as that of `line 3`."""
    return name if name in AMOUNTS else "line_items"


def _parsed(documents: Iterable[str | bytes]) -> Iterator[Element]:
    """Those that can be parsed, one at a time; the others are asked about, or refused then."""
    for document in documents:
        with contextlib.suppress(XmlRefused):
            yield parse_xml(document)


def _not_shown(reading: Reading, visible: str) -> Iterable[Signal]:
    """What of an e-invoice its PDF does not show; nothing where that shows no amounts as text.

    Of 20 public e-invoices 18 show both, and 2 are another document than their data. A number may
    be printed in another form, so that it alone is no doubt.
    """
    if len(_PRINTED_AMOUNT.findall(visible)) < _FEWEST_AMOUNTS:
        return
    index, gross, number = TextIndex(visible), reading.totals.gross, reading.invoice_number
    if gross and not index.has_number(abs(gross), reading.currency):
        yield Signal(_CONTRADICTS, 1.0, "The PDF does not show the gross total of its own data.")
    if number is not None and not index.has_identifier(number):
        detail = "The PDF does not show the invoice number of its own data."
        yield Signal(_CONTRADICTS, _OTHER_NUMBER, detail)


def _sum_signals(reading: Reading, tolerance: Decimal) -> list[Signal]:
    found = [
        Signal("arithmetic", 1.0, f"The sum does not hold: {check.detail}.", _SUMMED[check.name])
        for check in check_totals(reading.totals, tolerance)
        if check.state == "fails"
    ]
    if odd := odd_lines(reading.totals.lines, tolerance):
        detail = f"Quantity x price is not the amount of {odd} lines."
        found.append(Signal("arithmetic", _ODD_LINES, detail, _LINES))
    return found


def _date_signals(reading: Reading) -> Iterable[Signal]:
    for name in _DATES:
        day = getattr(reading, name)
        if day is not None and not is_plausible(day):
            detail = f"{name}: no document bears the year {day.year}."
            yield Signal("implausible", 1.0, detail, (name,))
    if reading.issue_date and reading.due_date and reading.due_date < reading.issue_date:
        yield Signal("implausible", 0.8, "due_date: before the issue date.", _DATES)


def _form_signals(answer: InvoiceAnswer, reading: Reading) -> Iterable[Signal]:
    for name in ("issue_date", "due_date", "currency"):
        if text_quality.stated(getattr(answer, name)) and getattr(reading, name) is None:
            yield Signal("implausible", 1.0, f"{name}: there is no such thing.", (name,))
    for name in AMOUNTS:
        if text_quality.stated(getattr(answer, name)) and getattr(reading.totals, name) is None:
            yield Signal("implausible", 1.0, f"{name}: not an amount.", (name,))
    lines = zip(answer.line_items, reading.totals.lines, strict=True)
    for number, (line, read) in enumerate(lines, start=1):
        if text_quality.stated(line.amount) and read.amount is None:
            detail = f"line_items: line {number} has no readable amount."
            yield Signal("implausible", 1.0, detail, _LINES)
        # "Lump sum" is no quantity, and null is right; but figures that cannot be read are lost.
        for name in ("quantity", "unit_price"):
            if getattr(read, name) is None and any(map(str.isdigit, getattr(line, name))):
                what = f"line_items: line {number} has no readable {name}."
                yield Signal("implausible", 1.0, what, _LINES)


def _invented_signals(
    answer: InvoiceAnswer, reading: Reading, index: TextIndex
) -> Iterable[Signal]:
    # One signal for all amounts: where one is wrong, sums are, too. 0 need not be printed.
    totals, currency = reading.totals, reading.currency
    named = [(name, getattr(totals, name)) for name in AMOUNTS]
    named += [(f"line {at}", line.amount) for at, line in enumerate(totals.lines, start=1)]
    absent = [name for name, amount in named if amount and not index.has_number(amount, currency)]
    if absent:
        more = " ..." if absent[_NAMED:] else ""
        detail = f"Not in the text: {', '.join(absent[:_NAMED])}{more}."
        yield Signal(
            "evidence_not_found", 0.8, detail, tuple(dict.fromkeys(map(_field_of, absent)))
        )
    yield from value_signals(
        index,
        names={"vendor": reading.vendor, "buyer": reading.buyer},
        identifiers={"invoice_number": reading.invoice_number},
        dates={"issue_date": reading.issue_date},
    )
    # A due date may follow from the date of issue and a term that is printed.
    due, issued = reading.due_date, reading.issue_date
    if due and not index.has_date(due) and not (issued and index.has_term(issued, due)):
        yield not_found("due_date")
    # A currency need not be printed, but then no other one is either.
    if currency is not None and index.says_otherwise(currency):
        yield not_found("currency")
    strange = [
        str(at)
        for at, line in enumerate(answer.line_items, start=1)
        if index.share_of(index.words(line.description)) < _DESCRIBED
    ]
    if strange:
        yield not_found(f"description of line {', '.join(strange[:_NAMED])}", *_LINES)
