"""The words, dates and numbers of an invoice in each language."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Words:
    """How a language, and a country, writes an invoice.

    Args:
        marks: The thousands separator and the decimal mark.
        day: Writes a date.
    """

    title: str
    bill_to: str
    number: str
    date: str
    due_date: str
    description: str
    quantity: str
    unit_price: str
    amount: str
    subtotal: str
    net: str
    tax: str
    tax_of: str
    tax_total: str
    gross: str
    prepaid: str
    due: str
    marks: tuple[str, str]
    day: Callable[[datetime.date], str]

    def money(self, amount: Decimal) -> str:
        """An amount, with two places."""
        return self._marked(f"{amount:,.2f}")

    def plain(self, number: Decimal) -> str:
        """A quantity or a rate, with the places it has."""
        return self._marked(f"{number:,f}")

    def tax_line(self, rate: Decimal, base: Decimal) -> str:
        """What stands before the tax of one rate."""
        return self.tax_of.format(rate=self.plain(rate), base=self.money(base))

    def _marked(self, english: str) -> str:
        thousands, point = self.marks
        return english.translate({ord(","): thousands, ord("."): point})


ENGLISH = Words(
    title="INVOICE",
    bill_to="Bill to",
    number="Invoice no.",
    date="Invoice date",
    due_date="Due date",
    description="Description",
    quantity="Qty",
    unit_price="Unit price",
    amount="Amount",
    subtotal="Subtotal",
    net="Net amount",
    tax="VAT",
    tax_of="VAT {rate} % on {base}",
    tax_total="Total VAT",
    gross="Total",
    prepaid="Paid in advance",
    due="Amount due",
    marks=(",", "."),
    day=lambda day: f"{day:%d %B %Y}".lstrip("0"),
)

AMERICAN = Words(
    title="INVOICE",
    bill_to="Sold to",
    number="Invoice #",
    date="Date",
    due_date="Payment due",
    description="Item",
    quantity="Qty",
    unit_price="Rate",
    amount="Amount",
    subtotal="Subtotal",
    net="Taxable amount",
    tax="Tax",
    tax_of="Sales tax {rate} % on {base}",
    tax_total="Total sales tax",
    gross="Total",
    prepaid="Deposit received",
    due="Balance due",
    marks=(",", "."),
    day=lambda day: f"{day:%m/%d/%Y}",
)

GERMAN = Words(
    title="RECHNUNG",
    bill_to="Rechnung an",
    number="Rechnungsnummer",
    date="Rechnungsdatum",
    due_date="Zahlbar bis",
    description="Bezeichnung",
    quantity="Menge",
    unit_price="Einzelpreis",
    amount="Betrag",
    subtotal="Zwischensumme",
    net="Nettobetrag",
    tax="USt.",
    tax_of="USt. {rate} % auf {base}",
    tax_total="Umsatzsteuer gesamt",
    gross="Rechnungsbetrag",
    prepaid="Bereits gezahlt",
    due="Zu zahlen",
    marks=(".", ","),
    day=lambda day: f"{day:%d.%m.%Y}",
)

FRENCH = Words(
    title="FACTURE",
    bill_to="Facturé à",
    number="Facture n°",
    date="Date de facture",
    due_date="Échéance",
    description="Désignation",
    quantity="Qté",
    unit_price="Prix unit. HT",
    amount="Montant HT",
    subtotal="Sous-total HT",
    net="Total HT",
    tax="TVA",
    tax_of="TVA {rate} % sur {base}",
    tax_total="Total TVA",
    gross="Total TTC",
    prepaid="Acompte versé",
    due="Reste à payer",
    marks=(" ", ","),
    day=lambda day: f"{day:%d/%m/%Y}",
)

SPANISH = Words(
    title="FACTURA",
    bill_to="Cliente",
    number="Factura n.",
    date="Fecha",
    due_date="Vencimiento",
    description="Concepto",
    quantity="Cant.",
    unit_price="Precio",
    amount="Importe",
    subtotal="Subtotal",
    net="Base imponible",
    tax="IVA",
    tax_of="IVA {rate} % sobre {base}",
    tax_total="Total IVA",
    gross="Total factura",
    prepaid="Anticipo",
    due="Total a pagar",
    marks=(".", ","),
    day=lambda day: f"{day:%d/%m/%Y}",
)

ITALIAN = Words(
    title="FATTURA",
    bill_to="Spettabile",
    number="Fattura n.",
    date="Data",
    due_date="Scadenza",
    description="Descrizione",
    quantity="Q.tà",
    unit_price="Prezzo",
    amount="Importo",
    subtotal="Totale merce",
    net="Imponibile",
    tax="IVA",
    tax_of="IVA {rate} % su {base}",
    tax_total="Totale IVA",
    gross="Totale fattura",
    prepaid="Acconto",
    due="Da pagare",
    marks=(".", ","),
    day=lambda day: f"{day:%d/%m/%Y}",
)

DUTCH = Words(
    title="FACTUUR",
    bill_to="Factuur aan",
    number="Factuurnummer",
    date="Factuurdatum",
    due_date="Vervaldatum",
    description="Omschrijving",
    quantity="Aantal",
    unit_price="Prijs",
    amount="Bedrag",
    subtotal="Subtotaal",
    net="Totaal excl. btw",
    tax="Btw",
    tax_of="Btw {rate} % over {base}",
    tax_total="Totaal btw",
    gross="Totaal incl. btw",
    prepaid="Aanbetaling",
    due="Te betalen",
    marks=(".", ","),
    day=lambda day: f"{day:%d-%m-%Y}",
)
