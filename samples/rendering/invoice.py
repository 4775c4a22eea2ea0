"""An invoice: its data, what is true about it, and how it looks on paper."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import reduce

from rendering.sheet import GREY, PALE, Sheet
from rendering.words import Words

CENT = Decimal("0.01")
ROWS_ON_FIRST_PAGE = 14
ROWS_ON_NEXT_PAGE = 26

JsonGold = dict[str, object]


def rounded(amount: Decimal) -> Decimal:
    """To the cent, half up, as invoices do."""
    return amount.quantize(CENT, ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class Line:
    """A position; the tax rate is in percent."""

    description: str
    quantity: Decimal
    unit_price: Decimal
    rate: Decimal

    @property
    def amount(self) -> Decimal:
        """Quantity times price."""
        return rounded(self.quantity * self.unit_price)


def line(description: str, quantity: str, unit_price: str, rate: str) -> Line:
    """A position, from decimal strings."""
    return Line(description, Decimal(quantity), Decimal(unit_price), Decimal(rate))


@dataclass(frozen=True, slots=True)
class Adjustment:
    """An allowance or a charge on the whole document, never negative."""

    reason: str
    amount: Decimal
    rate: Decimal


def adjustment(reason: str, amount: str, rate: str) -> Adjustment:
    """An allowance or a charge, from decimal strings."""
    return Adjustment(reason, Decimal(amount), Decimal(rate))


@dataclass(frozen=True, slots=True)
class Party:
    """A name and the lines below it."""

    name: str
    address: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice whose sums add up, unless a misprint says otherwise.

    Args:
        misprints: By name of a sum (`net`, `tax`, `gross`, `due`, `line 2`), what is printed in
            its place. The other sums stay as they are, so the document contradicts itself.
    """

    id: str
    number: str
    issue_date: date
    due_date: date | None
    vendor: Party
    buyer: Party
    currency: str
    words: Words
    lines: tuple[Line, ...]
    footer: tuple[str, ...]
    allowances: tuple[Adjustment, ...] = ()
    charges: tuple[Adjustment, ...] = ()
    prepaid: Decimal | None = None
    misprints: Mapping[str, str] = field(default_factory=dict)

    def taxes(self) -> dict[Decimal, tuple[Decimal, Decimal]]:
        """By rate: the amount that is taxed, and the tax."""
        bases: dict[Decimal, Decimal] = {}
        for row in self.lines:
            bases[row.rate] = bases.get(row.rate, Decimal(0)) + row.amount
        for charge in self.charges:
            bases[charge.rate] = bases.get(charge.rate, Decimal(0)) + charge.amount
        for allowance in self.allowances:
            bases[allowance.rate] = bases.get(allowance.rate, Decimal(0)) - allowance.amount
        return {rate: (base, rounded(base * rate / 100)) for rate, base in sorted(bases.items())}

    def sums(self) -> dict[str, Decimal]:
        """The sums as they are printed, misprints included."""
        taxes = self.taxes()
        net = sum((base for base, _ in taxes.values()), Decimal(0))
        tax = sum((part for _, part in taxes.values()), Decimal(0))
        due = net + tax - (self.prepaid or 0)
        true = {"net": net, "tax": tax, "gross": net + tax, "due": due}
        return {name: Decimal(self.misprints.get(name, amount)) for name, amount in true.items()}

    def amounts(self) -> list[Decimal]:
        """The amounts of the lines as they are printed, misprints included."""
        return [
            Decimal(self.misprints.get(f"line {number}", row.amount))
            for number, row in enumerate(self.lines, start=1)
        ]

    def gold(self) -> JsonGold:
        """What a reader of the document should find; null is what it does not say."""
        sums = self.sums()
        return {
            "number": self.number,
            "issue_date": self.issue_date.isoformat(),
            "due_date": self.due_date and self.due_date.isoformat(),
            "vendor": self.vendor.name,
            "buyer": self.buyer.name,
            "currency": self.currency,
            "line_items": [
                {
                    "description": row.description,
                    "quantity": f"{row.quantity:f}",
                    "unit_price": f"{row.unit_price:f}",
                    "amount": f"{amount:f}",
                }
                for row, amount in zip(self.lines, self.amounts(), strict=True)
            ],
            "allowances": _total(self.allowances),
            "charges": _total(self.charges),
            "net": f"{sums['net']:f}",
            "tax": f"{sums['tax']:f}",
            "gross": f"{sums['gross']:f}",
            "prepaid": None if self.prepaid is None else f"{self.prepaid:f}",
            "due": f"{sums['due']:f}",
        }

    @property
    def adds_up(self) -> bool:
        """Whether the sums agree with each other."""
        return not self.misprints


def _total(adjustments: tuple[Adjustment, ...]) -> str | None:
    if not adjustments:
        return None
    return f"{reduce(lambda total, one: total + one.amount, adjustments, Decimal(0)):f}"


def to_sheets(invoice: Invoice, height: float = 842) -> list[Sheet]:
    """Set an invoice on as many pages as its lines need."""
    first = Sheet(height=height)
    y = _head(first, invoice)
    sheets = [first]
    room = ROWS_ON_FIRST_PAGE
    y = _table_head(first, invoice.words, y)
    for row, amount in zip(invoice.lines, invoice.amounts(), strict=True):
        if room == 0:
            sheets.append(Sheet(height=height))
            y = _table_head(sheets[-1], invoice.words, 70)
            room = ROWS_ON_NEXT_PAGE
        _row(sheets[-1], invoice.words, y, row, amount)
        y, room = y + 18, room - 1
    _sums(sheets[-1], invoice, y + 4)
    if len(sheets) > 1:
        for number, sheet in enumerate(sheets, start=1):
            sheet.text(545, 30, f"{number} / {len(sheets)}", 8, align="right", ink=GREY)
    return sheets


def _head(sheet: Sheet, invoice: Invoice) -> float:
    words = invoice.words
    sheet.text(50, 60, invoice.vendor.name, 16, bold=True)
    sheet.lines(50, 76, invoice.vendor.address, 8.5)
    sheet.text(545, 60, words.title, 18, bold=True, align="right", ink=GREY)
    sheet.text(50, 142, words.bill_to, 8, ink=GREY)
    sheet.text(50, 157, invoice.buyer.name, 10.5, bold=True)
    sheet.lines(50, 171, invoice.buyer.address, 10)
    facts = [
        (words.number, invoice.number),
        (words.date, words.day(invoice.issue_date)),
        *([(words.due_date, words.day(invoice.due_date))] if invoice.due_date else []),
    ]
    for index, (name, value) in enumerate(facts):
        sheet.text(340, 157 + 15 * index, name, 10, ink=GREY)
        sheet.text(545, 157 + 15 * index, value, 10, align="right")
    return 245


def _table_head(sheet: Sheet, words: Words, y: float) -> float:
    sheet.area(50, y - 13, 495, 19, PALE)
    sheet.text(56, y, words.description, 9, bold=True)
    for x, name in (
        (330, words.quantity),
        (410, words.unit_price),
        (462, words.tax),
        (540, words.amount),
    ):
        sheet.text(x, y, name, 9, bold=True, align="right")
    return y + 22


def _row(sheet: Sheet, words: Words, y: float, row: Line, amount: Decimal) -> None:
    sheet.text(56, y, row.description, 9.5)
    sheet.text(330, y, words.plain(row.quantity), 9.5, align="right")
    sheet.text(410, y, words.money(row.unit_price), 9.5, align="right")
    sheet.text(462, y, f"{words.plain(row.rate)} %", 9.5, align="right")
    sheet.text(540, y, words.money(amount), 9.5, align="right")


def _sums(sheet: Sheet, invoice: Invoice, y: float) -> None:
    words, sums = invoice.words, invoice.sums()
    rows: list[tuple[str, Decimal]] = []
    if invoice.allowances or invoice.charges:
        rows.append((words.subtotal, sum(invoice.amounts(), Decimal(0))))
        rows += [(cut.reason, -cut.amount) for cut in invoice.allowances]
        rows += [(charge.reason, charge.amount) for charge in invoice.charges]
    rows.append((words.net, sums["net"]))
    taxes = invoice.taxes()
    for rate, (base, tax) in taxes.items():
        printed = sums["tax"] if len(taxes) == 1 else tax
        rows.append((words.tax_line(rate, base), printed))
    if len(taxes) > 1:
        rows.append((words.tax_total, sums["tax"]))
    rows.append((words.gross, sums["gross"]))
    if invoice.prepaid is not None:
        rows += [(words.prepaid, -invoice.prepaid), (words.due, sums["due"])]
    sheet.rule(50, y - 8, 495)
    y += 8
    for index, (name, amount) in enumerate(rows):
        strong = index == len(rows) - 1 or name == words.gross
        sheet.text(300, y, name, 9.5, bold=strong)
        sheet.text(480, y, invoice.currency, 9.5, bold=strong, align="right")
        sheet.text(540, y, words.money(amount), 9.5, bold=strong, align="right")
        y += 16
    sheet.rule(300, y - 10, 245)
    sheet.lines(50, max(y + 24, sheet.height - 90), invoice.footer, 8.5)
