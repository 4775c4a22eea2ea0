"""Where in the text of an invoice its values stand."""

from collections.abc import Iterator, Mapping
from datetime import date

from pipeline.model.records import Evidence
from pipeline.stages.checks.places import Places, Span
from pipeline.stages.fields.invoice_answer import AMOUNTS, HEAD, InvoiceAnswer, Reading

_PRINTED: Mapping[str, tuple[str, ...]] = {
    "invoice_number": (
        "invoice number", "invoice no", "receipt no", "document no", "rechnungsnummer",
        "rechnung nr", "rechnungsnr", "numéro de facture", "facture no", "número de factura",
        "factura no", "numero fattura", "fattura n", "factuurnummer",
    ),
    "issue_date": (
        "invoice date", "date of issue", "date", "rechnungsdatum", "belegdatum", "vom", "datum",
        "date de facture", "fecha de factura", "fecha", "data fattura", "data", "factuurdatum",
    ),
    "due_date": (
        "due date", "payable by", "fällig", "fälligkeit", "zahlbar bis", "échéance", "vencimiento",
        "scadenza", "vervaldatum",
    ),
    "allowances": ("discount", "allowance", "rabatt", "nachlass", "remise", "descuento", "sconto"),
    "charges": ("freight", "shipping", "charges", "versand", "fracht", "zuschläge", "port"),
    "net": (
        "net total", "subtotal", "net", "nettobetrag", "nettosumme", "steuerbasisbetrag",
        "rechnungssumme ohne", "total ht", "base imponible", "imponibile", "nettobedrag",
    ),
    "tax": (
        "tax", "vat", "gst", "steuerbetrag", "mwst", "umsatzsteuer", "ust", "tva", "iva", "btw",
    ),
    "gross": (
        "grand total", "total", "gross", "gesamtbetrag", "rechnungsbetrag", "bruttosumme",
        "bruttobetrag", "total ttc", "importe total", "totale", "totaalbedrag",
    ),
    "prepaid": ("prepaid", "deposit", "anzahlung", "acompte", "anticipo", "acconto", "aanbetaling"),
    "withheld": ("withheld", "withholding tax", "retention", "einbehalt", "retención", "ritenuta"),
    "due": (
        "amount due", "balance due", "to pay", "zahlbetrag", "fälliger betrag", "zu zahlen",
        "net à payer", "a pagar", "da pagare", "te betalen",
    ),
}  # fmt: skip
"""What invoices in seven languages print beside a value; only to choose among places where the
value stands, so that one that is missing costs no more than the evidence of one value."""


def invoice_evidence(text: Places, answer: InvoiceAnswer, reading: Reading) -> Iterator[Evidence]:
    """Where the text has what is published of an answer, as `reading` has it; 0 is not looked for.

    The quote states the amount to pay or the total, so that it singles out where these are.
    """
    for name in HEAD:
        value = getattr(reading, name)
        if value is not None:
            spans = text.of_date(value) if isinstance(value, date) else text.of_copy(value)
            yield from text.evidence(f"/{name}", spans, *_printed(text, name, spans))
    for name in AMOUNTS:
        amount = getattr(reading.totals, name)
        if amount:
            spans = text.of_number(amount, reading.currency)
            beside = _printed(text, name, spans)
            if len(spans) > 1 and name in {"gross", "due"}:
                beside += text.of_copy(answer.quote)
            yield from text.evidence(f"/{name}", spans, *beside)
    yield from _line_evidence(text, answer, reading)


def _printed(text: Places, name: str, spans: list[Span]) -> list[Span]:
    return text.alike(*_PRINTED[name]) if len(spans) > 1 and name in _PRINTED else []


def _line_evidence(text: Places, answer: InvoiceAnswer, reading: Reading) -> Iterator[Evidence]:
    """A description follows that of the line before, and the figures of its line stand by it.

    A figure stands for one value: where price and amount are the same, the first is the price.
    """
    reached, taken = 0, set[int | None]()
    lines = zip(answer.line_items, reading.totals.lines, strict=True)
    for at, (said, line) in enumerate(lines):
        pointer = f"/line_items/{at}"
        described = [each for each in text.of_copy(said.description) if each.start >= reached][:1]
        reached = described[0].end if described else reached
        yield from text.evidence(f"{pointer}/description", described)
        for name in ("quantity", "unit_price", "amount"):
            value = getattr(line, name)
            spans = [] if value is None else text.of_number(value, reading.currency)
            left = [each for each in spans if each.start not in taken]
            for found in text.evidence(f"{pointer}/{name}", left, *described):
                taken.add(found.start)
                yield found
