"""E-invoices: the fields of an invoice from its own XML, and what in it does not agree.

Four syntaxes: UN/CEFACT's Cross Industry Invoice (Factur-X, ZUGFeRD 2, XRechnung), the document
that it grew from (ZUGFeRD 1.0), and UBL's Invoice and CreditNote (XRechnung, Peppol). Where each
has a field is a table of paths. The libraries of the field write and validate such files; none that
was found gives the fields of all four, and with such a table this takes no more than calling one.

Comments name the business terms (BT) and rules (BR) of EN 16931-1. Amounts have the sign that the
document states: a credit note's are as a rule above 0, as they are printed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, DecimalException, localcontext

from pipeline.config import InvoiceField
from pipeline.stages.checks.arithmetic import Line, Totals
from pipeline.stages.fields.amounts import CURRENCIES
from pipeline.stages.fields.dates import parse_date
from pipeline.stages.fields.invoice_answer import AMOUNTS, Reading
from pipeline.stages.files.xml import Element

MOST_LINES = 5_000
_ZERO, _ONE = Decimal(0), Decimal(1)
_DECIMAL = re.compile(r"[+-]?(?:\d{1,18}(?:\.\d{0,12})?|\.\d{1,12})", re.ASCII)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)
_ROUNDED = _ONE
"""By how much a tax may differ from base times rate (BR-CO-17): as in CEN's own validation."""
_PRICE_DIGITS = 12
_LONGEST = 1_000
"""Characters of a name or a description that are published."""
_PARTIAL = ("minimum", "basicwl")
"""How the identifiers of profiles without lines end: bookkeeping aids, no whole invoices."""
_NO_POSITION = frozenset({"GROUP", "INFORMATION"})
"""Lines that sum up others or say something (BT-X-8), and are in no total."""


@dataclass(frozen=True, slots=True)
class _Syntax:
    """Where one syntax has what; of several paths the first that is there counts."""

    prefixes: Mapping[str, str]
    profile: str
    fields: Mapping[str, tuple[str, ...]]
    due_dates: str
    taxes: str  # total amounts of tax, in one or two currencies
    tax: tuple[str, str, str, str]  # a VAT breakdown, and in it base, amount and rate
    adjustment: tuple[str, str, str]  # an allowance or a charge, and in it which, and the amount
    further_charges: str
    line: str
    line_kind: str
    line_fields: Mapping[str, str]
    line_adjustment: str
    mandatory: tuple[InvoiceField, ...]


@dataclass(frozen=True, slots=True)
class EInvoice:
    """What an e-invoice says; `faults` are sentences about what does not agree or is not there.

    `odd_lines` are those whose quantity times price is not their amount.
    """

    reading: Reading
    descriptions: tuple[str, ...]
    faults: tuple[str, ...]
    odd_lines: int


def read_einvoice(root: Element, *, tolerance: Decimal) -> EInvoice | None:
    """Read an e-invoice; None where it is not one, has no lines by its profile, or too many."""
    syntax = _SYNTAXES.get(root.tag)
    if syntax is None:
        return None
    document = _Document(root, syntax)
    profile = (document.text(root, syntax.profile) or "").casefold().replace("-", "")
    if profile.endswith(_PARTIAL):
        return None
    lines = document.lines()
    return None if len(lines) > MOST_LINES else document.read(lines, tolerance)


class _Document:
    """One e-invoice as it is read; collects what cannot be read in it."""

    def __init__(self, root: Element, syntax: _Syntax) -> None:
        self._root = root
        self._syntax = syntax
        self._faults: list[str] = []

    def lines(self) -> list[Element]:
        syntax = self._syntax
        name, amount = (syntax.line_fields[each] for each in ("description", "amount"))
        return [
            each
            for each in self._root.iterfind(syntax.line, syntax.prefixes)
            if self.text(each, syntax.line_kind) not in _NO_POSITION
            # In ZUGFeRD 1.0 what is nothing but a note is a line, too.
            and (self.text(each, name) or self.text(each, amount))
        ]

    def read(self, elements: list[Element], tolerance: Decimal) -> EInvoice:
        syntax = self._syntax
        code = self._field("currency")
        currency = code if code in CURRENCIES else None
        if code and currency is None:
            self._faults.append("currency: there is no such currency.")
        amounts = {name: self._amount(name) for name in (*AMOUNTS, "lines", "rounding")}
        # What an invoice has none of is not in it.
        for name in ("allowances", "charges", "prepaid", "withheld", "rounding"):
            amounts[name] = _ZERO if amounts[name] is None else amounts[name]
        amounts["tax"] = self._tax(currency)
        if amounts["tax"] is None and amounts["net"] == amounts["gross"]:
            amounts["tax"] = None if amounts["net"] is None else _ZERO
        lines, odd = [], 0
        for at, element in enumerate(elements, start=1):
            line, made = self._line(element, at)
            lines.append(line)
            if made is not None and line.amount is not None:
                odd += abs(made - line.amount) > tolerance
        self._check_currencies(code)
        reading = Reading(
            invoice_number=self._field("invoice_number"),
            issue_date=self._date("issue_date", self._field("issue_date")),
            due_date=self._due_date(),
            vendor=self._field("vendor"),
            buyer=self._field("buyer"),
            currency=currency,
            totals=Totals(lines=tuple(lines), **{name: amounts[name] for name in AMOUNTS}),
            ambiguous=(),
            stated_missing=frozenset(),
        )
        self._faults += (f"{name}: not found." for name in syntax.mandatory if reading.lacks(name))
        self._faults += self._wrong_sums(reading.totals, amounts, tolerance)
        descriptions = tuple(
            self.text(element, syntax.line_fields["description"]) or "" for element in elements
        )
        return EInvoice(reading, descriptions, tuple(self._faults), odd)

    def text(self, element: Element, path: str) -> str | None:
        found = element.find(path, self._syntax.prefixes) if path else None
        if found is None or not found.text:
            return None
        return " ".join(found.text[:_LONGEST].split()) or None

    def _field(self, name: str) -> str | None:
        paths = self._syntax.fields.get(name, ())
        return next(filter(None, (self.text(self._root, path) for path in paths)), None)

    def _amount(self, name: str) -> Decimal | None:
        return self._number(self._field(name), name)

    def _number(self, text: str | None, what: str) -> Decimal | None:
        if text is None:
            return None
        if _DECIMAL.fullmatch(text) is None:
            self._faults.append(f"{what}: not a number.")
            return None
        return Decimal(text)

    def _date(self, what: str, text: str | None) -> date | None:
        if text is None:
            return None
        day = parse_date(_COMPACT.sub(r"\1-\2-\3", text[:10]))
        if day is None:
            self._faults.append(f"{what}: not a date.")
        return day

    def _due_date(self) -> date | None:
        """The last one: of several, the earlier ones are those of discounts."""
        found = self._root.iterfind(self._syntax.due_dates, self._syntax.prefixes)
        days = [self._date("due_date", " ".join((each.text or "").split())) for each in found]
        return max((day for day in days if day is not None), default=None)

    def _tax(self, currency: str | None) -> Decimal | None:
        """In the invoice's own currency (BT-110), not in the one of its books (BT-111)."""
        found = self._root.iterfind(self._syntax.taxes, self._syntax.prefixes)
        own = [each for each in found if each.get("currencyID", currency) == currency]
        if len(own) > 1:
            self._faults.append("tax: there are several totals in one currency.")
        return self._number(self.text(own[0], "."), "tax") if own else None

    def _line(self, element: Element, at: int) -> tuple[Line, Decimal | None]:
        """A position, and the amount that quantity and price make; None where one is not there."""
        paths = self._syntax.line_fields
        quantity, price, per, amount = (
            self._number(self.text(element, paths[name]), f"{name} of line {at}")
            for name in ("quantity", "unit_price", "per", "amount")
        )
        if amount is None:
            self._faults.append(f"amount of line {at}: not found.")
        if price is not None and per not in {None, _ZERO, _ONE}:
            price = _divided(price, per or _ONE)
        line = Line(quantity, price, amount)
        if quantity is None or price is None:
            return line, None
        adjustments = element.iterfind(self._syntax.line_adjustment, self._syntax.prefixes)
        return line, quantity * price + sum(self._adjusted(adjustments), _ZERO)

    def _adjusted(self, adjustments: Iterable[Element]) -> Iterator[Decimal]:
        """Charges above 0, allowances below."""
        _, which, amount = self._syntax.adjustment
        for each in adjustments:
            value = self._number(self.text(each, amount), "allowances and charges") or _ZERO
            is_charge = (self.text(each, which) or "").casefold() in {"true", "1"}
            yield value if is_charge else -value

    def _check_currencies(self, code: str | None) -> None:
        # BR-51 and others: the tax total alone may also be stated in another currency.
        paths = (path for name in AMOUNTS for path in self._syntax.fields.get(name, ()))
        found = (self._root.find(path, self._syntax.prefixes) for path in paths)
        others = {each.get("currencyID", code) for each in found if each is not None}
        if others - {code}:
            self._faults.append("currency: totals are in another one than the document says.")

    def _wrong_sums(
        self, totals: Totals, amounts: Mapping[str, Decimal | None], tolerance: Decimal
    ) -> Iterator[str]:
        group, base, tax, rate = self._syntax.tax
        breakdown = [
            [self._number(self.text(each, path), "VAT breakdown") for path in (base, tax, rate)]
            for each in self._root.iterfind(group, self._syntax.prefixes)
        ]
        net, gross = totals.net, totals.gross
        deducted = (_negated(totals.allowances), totals.charges)
        rules = (
            ("BR-CO-10", "lines", _sum(line.amount for line in totals.lines), amounts["lines"]),
            # BR-CO-11 and 12 in one, since signs are used differently.
            ("BR-CO-11, 12", "allowances and charges", self._adjustments(), _sum(deducted)),
            ("BR-CO-13", "net", _sum((amounts["lines"], *deducted)), net),
            ("BR-CO-14", "tax", _sum(each[1] for each in breakdown), totals.tax),
            ("BR-CO-15", "gross", _sum((net, totals.tax)), gross),
            (
                "BR-CO-16",
                "due",
                _sum((gross, _negated(totals.prepaid), amounts["rounding"])),
                totals.due,
            ),
            ("VAT bases", "net", _sum(each[0] for each in breakdown), net),
        )
        for rule, what, made, amount in rules:
            if made is not None and amount is not None and abs(made - amount) > tolerance:
                yield f"{what}: the data give {amount}, and {made} by their sums ({rule})."
        for of, taxed, percent in breakdown:
            if of is None or taxed is None or percent is None:
                continue
            if abs(of * percent / 100 - taxed) > max(tolerance, _ROUNDED):
                yield f"tax: {percent} % of {of} is not {taxed} (BR-CO-17)."

    def _adjustments(self) -> Decimal | None:
        """What the single allowances and charges come to; None where there are none."""
        root, prefixes = self._root, self._syntax.prefixes
        found = list(self._adjusted(root.iterfind(self._syntax.adjustment[0], prefixes)))
        if self._syntax.further_charges:
            further = root.iterfind(self._syntax.further_charges, prefixes)
            found += (self._number(self.text(each, "."), "charges") or _ZERO for each in further)
        return _sum(found)


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """None of nothing, and where one is not known."""
    found = list(amounts)
    known = [each for each in found if each is not None]
    return sum(known, _ZERO) if known and len(known) == len(found) else None


def _negated(amount: Decimal | None) -> Decimal | None:
    return None if amount is None else -amount


def _divided(price: Decimal, per: Decimal) -> Decimal:
    """The price of one, where it is stated of several (BT-149)."""
    with localcontext(prec=_PRICE_DIGITS + 18):
        try:
            return (price / per).quantize(Decimal(1).scaleb(-_PRICE_DIGITS)).normalize() + 0
        except DecimalException:
            return price


_DATA = "urn:un:unece:uncefact:data:standard:"
_MANDATORY: tuple[InvoiceField, ...] = (
    "invoice_number", "issue_date", "vendor", "buyer", "currency", "line_items", "net", "tax",
    "gross",
)  # fmt: skip


def _cross_industry(
    prefixes: Mapping[str, str],
    *,
    heads: tuple[str, str, str],
    header: str,
    lines: tuple[str, str, str],
    summations: tuple[str, str],
    rate: str,
    mandatory: tuple[InvoiceField, ...],
) -> _Syntax:
    """UN/CEFACT's syntax, of which ZUGFeRD 1.0 and the later ones differ in the names of groups."""
    context, document, trade = heads
    agreement = f"{trade}/ram:Applicable{header}TradeAgreement"
    settlement = f"{trade}/ram:Applicable{header}TradeSettlement"
    total, of_line = (f"ram:SpecifiedTradeSettlement{each}MonetarySummation" for each in summations)
    line_agreement, line_delivery, line_settlement = (f"ram:Specified{each}" for each in lines)
    price = f"{line_agreement}/ram:NetPriceProductTradePrice"
    adjustment = "ram:SpecifiedTradeAllowanceCharge"

    def of_total(name: str) -> tuple[str]:
        return (f"{settlement}/{total}/ram:{name}",)

    return _Syntax(
        prefixes=prefixes,
        profile=f"{context}/ram:GuidelineSpecifiedDocumentContextParameter/ram:ID",
        fields={
            "invoice_number": (f"{document}/ram:ID",),
            "issue_date": (f"{document}/ram:IssueDateTime/udt:DateTimeString",),
            "vendor": (f"{agreement}/ram:SellerTradeParty/ram:Name",),
            "buyer": (f"{agreement}/ram:BuyerTradeParty/ram:Name",),
            "currency": (f"{settlement}/ram:InvoiceCurrencyCode",),
            "lines": of_total("LineTotalAmount"),
            "allowances": of_total("AllowanceTotalAmount"),
            "charges": of_total("ChargeTotalAmount"),
            "net": of_total("TaxBasisTotalAmount"),
            "gross": of_total("GrandTotalAmount"),
            "prepaid": of_total("TotalPrepaidAmount"),
            "rounding": of_total("RoundingAmount"),
            "due": of_total("DuePayableAmount"),
        },
        due_dates=f"{settlement}/ram:SpecifiedTradePaymentTerms/ram:DueDateDateTime/udt:DateTimeString",
        taxes=of_total("TaxTotalAmount")[0],
        tax=(
            f"{settlement}/ram:ApplicableTradeTax",
            "ram:BasisAmount",
            "ram:CalculatedAmount",
            f"ram:{rate}",
        ),
        adjustment=(
            f"{settlement}/{adjustment}",
            "ram:ChargeIndicator/udt:Indicator",
            "ram:ActualAmount",
        ),
        further_charges=f"{settlement}/ram:SpecifiedLogisticsServiceCharge/ram:AppliedAmount",
        line=f"{trade}/ram:IncludedSupplyChainTradeLineItem",
        line_kind="ram:AssociatedDocumentLineDocument/ram:LineStatusReasonCode",
        line_fields={
            "description": "ram:SpecifiedTradeProduct/ram:Name",
            "quantity": f"{line_delivery}/ram:BilledQuantity",
            "unit_price": f"{price}/ram:ChargeAmount",
            "per": f"{price}/ram:BasisQuantity",
            "amount": f"{line_settlement}/{of_line}/ram:LineTotalAmount",
        },
        line_adjustment=f"{line_settlement}/{adjustment}",
        mandatory=mandatory,
    )


def _ubl(document: str, line: str, quantity: str, due_date: str) -> _Syntax:
    schema = "urn:oasis:names:specification:ubl:schema:xsd:"
    total = "cac:LegalMonetaryTotal/cbc:"

    def party(role: str) -> tuple[str, ...]:
        of = f"cac:Accounting{role}Party/cac:Party"
        return (f"{of}/cac:PartyLegalEntity/cbc:RegistrationName", f"{of}/cac:PartyName/cbc:Name")

    return _Syntax(
        prefixes={
            "rsm": f"{schema}{document}-2",
            "cac": f"{schema}CommonAggregateComponents-2",
            "cbc": f"{schema}CommonBasicComponents-2",
        },
        profile="cbc:CustomizationID",
        fields={
            "invoice_number": ("cbc:ID",),
            "issue_date": ("cbc:IssueDate",),
            "vendor": party("Supplier"),
            "buyer": party("Customer"),
            "currency": ("cbc:DocumentCurrencyCode",),
            "lines": (f"{total}LineExtensionAmount",),
            "allowances": (f"{total}AllowanceTotalAmount",),
            "charges": (f"{total}ChargeTotalAmount",),
            "net": (f"{total}TaxExclusiveAmount",),
            "gross": (f"{total}TaxInclusiveAmount",),
            "prepaid": (f"{total}PrepaidAmount",),
            "withheld": ("cac:WithholdingTaxTotal/cbc:TaxAmount",),
            "rounding": (f"{total}PayableRoundingAmount",),
            "due": (f"{total}PayableAmount",),
        },
        due_dates=due_date,
        taxes="cac:TaxTotal/cbc:TaxAmount",
        tax=(
            "cac:TaxTotal/cac:TaxSubtotal",
            "cbc:TaxableAmount",
            "cbc:TaxAmount",
            "cac:TaxCategory/cbc:Percent",
        ),
        adjustment=("cac:AllowanceCharge", "cbc:ChargeIndicator", "cbc:Amount"),
        further_charges="",
        line=f"cac:{line}",
        line_kind="",
        line_fields={
            "description": "cac:Item/cbc:Name",
            "quantity": f"cbc:{quantity}",
            "unit_price": "cac:Price/cbc:PriceAmount",
            "per": "cac:Price/cbc:BaseQuantity",
            "amount": "cbc:LineExtensionAmount",
        },
        line_adjustment="cac:AllowanceCharge",
        mandatory=(*_MANDATORY, "due"),
    )


_ALL = (
    (
        "CrossIndustryInvoice",
        _cross_industry(
            {
                "rsm": f"{_DATA}CrossIndustryInvoice:100",
                "ram": f"{_DATA}ReusableAggregateBusinessInformationEntity:100",
                "udt": f"{_DATA}UnqualifiedDataType:100",
            },
            heads=(
                "rsm:ExchangedDocumentContext",
                "rsm:ExchangedDocument",
                "rsm:SupplyChainTradeTransaction",
            ),
            header="Header",
            lines=("LineTradeAgreement", "LineTradeDelivery", "LineTradeSettlement"),
            summations=("Header", "Line"),
            rate="RateApplicablePercent",
            mandatory=(*_MANDATORY, "due"),
        ),
    ),
    (
        "CrossIndustryDocument",
        _cross_industry(
            {
                "rsm": "urn:ferd:CrossIndustryDocument:invoice:1p0",
                "ram": f"{_DATA}ReusableAggregateBusinessInformationEntity:12",
                "udt": f"{_DATA}UnqualifiedDataType:15",
            },
            heads=(
                "rsm:SpecifiedExchangedDocumentContext",
                "rsm:HeaderExchangedDocument",
                "rsm:SpecifiedSupplyChainTradeTransaction",
            ),
            header="SupplyChain",
            lines=(
                "SupplyChainTradeAgreement",
                "SupplyChainTradeDelivery",
                "SupplyChainTradeSettlement",
            ),
            summations=("", ""),
            rate="ApplicablePercent",
            mandatory=_MANDATORY,  # its profile BASIC has no amount due
        ),
    ),
    ("Invoice", _ubl("Invoice", "InvoiceLine", "InvoicedQuantity", "cbc:DueDate")),
    (
        "CreditNote",
        _ubl(
            "CreditNote",
            "CreditNoteLine",
            "CreditedQuantity",
            "cac:PaymentMeans/cbc:PaymentDueDate",
        ),
    ),
)
_SYNTAXES = {f"{{{syntax.prefixes['rsm']}}}{name}": syntax for name, syntax in _ALL}
