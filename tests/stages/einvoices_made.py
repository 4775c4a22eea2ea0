"""E-invoices made for tests, in each syntax, and PDF files that they are attached to."""

import io
from collections.abc import Iterable, Mapping, Sequence

from pypdf import PdfWriter

from tests.stages.documents import stack

Row = tuple[str, str, str, str]
"""A position: what, how many, at which price, for which amount."""
_CII = "urn:un:unece:uncefact:data:standard:"
_UBL = "urn:oasis:names:specification:ubl:schema:xsd:"
USUAL: Mapping[str, str] = {
    "number": "R-17", "issued": "2026-03-05", "due": "2026-04-04", "seller": "Kreide & Söhne GmbH",
    "buyer": "Tafelwerk AG", "currency": "EUR", "lines": "300.00", "allowances": "20.00",
    "charges": "5.00", "net": "285.00", "tax": "48.15", "gross": "333.15", "prepaid": "100.00",
    "payable": "233.15", "rounding": "0.00",
}  # fmt: skip
RATES = (("235.00", "44.65", "19"), ("50.00", "3.50", "7"))
LINES: tuple[Row, ...] = (
    ("Chalk, white", "10", "25.00", "250.00"),
    ("Sponge", "4", "12.50", "50.00"),
)


def cii(
    *, profile: str = "urn:cen.eu:en16931:2017", positions: Iterable[Row] = LINES, **changes: str
) -> str:
    """A UN/CEFACT Cross Industry Invoice; an empty value leaves its element out."""
    of = {**USUAL, **changes}
    day = {name: of[name].replace("-", "") for name in ("issued", "due")}

    def date(text: str) -> str:
        return f'<udt:DateTimeString format="102">{text}</udt:DateTimeString>' if text else ""

    items = "".join(
        f"""<ram:IncludedSupplyChainTradeLineItem>
        <ram:SpecifiedTradeProduct><ram:Name>{name}</ram:Name></ram:SpecifiedTradeProduct>
        <ram:SpecifiedLineTradeAgreement><ram:NetPriceProductTradePrice>
        <ram:ChargeAmount>{price}</ram:ChargeAmount>
        </ram:NetPriceProductTradePrice></ram:SpecifiedLineTradeAgreement>
        <ram:SpecifiedLineTradeDelivery>
        <ram:BilledQuantity unitCode="C62">{count}</ram:BilledQuantity>
        </ram:SpecifiedLineTradeDelivery>
        <ram:SpecifiedLineTradeSettlement><ram:SpecifiedTradeSettlementLineMonetarySummation>
        <ram:LineTotalAmount>{amount}</ram:LineTotalAmount>
        </ram:SpecifiedTradeSettlementLineMonetarySummation></ram:SpecifiedLineTradeSettlement>
        </ram:IncludedSupplyChainTradeLineItem>"""
        for name, count, price, amount in positions
    )
    taxes = "".join(
        f"""<ram:ApplicableTradeTax><ram:CalculatedAmount>{tax}</ram:CalculatedAmount>
        <ram:BasisAmount>{base}</ram:BasisAmount>
        <ram:RateApplicablePercent>{rate}</ram:RateApplicablePercent></ram:ApplicableTradeTax>"""
        for base, tax, rate in RATES
    )
    adjustments = "".join(
        f"""<ram:SpecifiedTradeAllowanceCharge>
        <ram:ChargeIndicator><udt:Indicator>{is_charge}</udt:Indicator></ram:ChargeIndicator>
        <ram:ActualAmount>{of[name]}</ram:ActualAmount></ram:SpecifiedTradeAllowanceCharge>"""
        for name, is_charge in (("allowances", "false"), ("charges", "true"))
    )
    totals = "".join(
        _element(f"ram:{name}", of[key], f' currencyID="{of["currency"]}"' if key == "tax" else "")
        for name, key in (
            ("LineTotalAmount", "lines"), ("ChargeTotalAmount", "charges"),
            ("AllowanceTotalAmount", "allowances"), ("TaxBasisTotalAmount", "net"),
            ("TaxTotalAmount", "tax"), ("RoundingAmount", "rounding"),
            ("GrandTotalAmount", "gross"), ("TotalPrepaidAmount", "prepaid"),
            ("DuePayableAmount", "payable"),
        )
    )  # fmt: skip
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<rsm:CrossIndustryInvoice xmlns:rsm="{_CII}CrossIndustryInvoice:100"
 xmlns:ram="{_CII}ReusableAggregateBusinessInformationEntity:100"
 xmlns:udt="{_CII}UnqualifiedDataType:100">
<rsm:ExchangedDocumentContext><ram:GuidelineSpecifiedDocumentContextParameter>
<ram:ID>{profile}</ram:ID></ram:GuidelineSpecifiedDocumentContextParameter>
</rsm:ExchangedDocumentContext>
<rsm:ExchangedDocument>{_element("ram:ID", of["number"])}<ram:TypeCode>380</ram:TypeCode>
<ram:IssueDateTime>{date(day["issued"])}</ram:IssueDateTime></rsm:ExchangedDocument>
<rsm:SupplyChainTradeTransaction>{items}
<ram:ApplicableHeaderTradeAgreement>
<ram:SellerTradeParty>{_element("ram:Name", _escaped(of["seller"]))}</ram:SellerTradeParty>
<ram:BuyerTradeParty>{_element("ram:Name", _escaped(of["buyer"]))}</ram:BuyerTradeParty>
</ram:ApplicableHeaderTradeAgreement><ram:ApplicableHeaderTradeSettlement>
{_element("ram:InvoiceCurrencyCode", of["currency"])}{taxes}{adjustments}
<ram:SpecifiedTradePaymentTerms><ram:DueDateDateTime>{date(day["due"])}</ram:DueDateDateTime>
</ram:SpecifiedTradePaymentTerms>
<ram:SpecifiedTradeSettlementHeaderMonetarySummation>{totals}
</ram:SpecifiedTradeSettlementHeaderMonetarySummation></ram:ApplicableHeaderTradeSettlement>
</rsm:SupplyChainTradeTransaction></rsm:CrossIndustryInvoice>"""


def ubl(
    document: str = "Invoice", *, namespace: str | None = None, more: str = "", **changes: str
) -> str:
    """A UBL `Invoice` or `CreditNote`; an empty value leaves its element out."""
    of = {**USUAL, **changes}
    money = f' currencyID="{of["currency"]}"'
    line, quantity = {
        "Invoice": ("InvoiceLine", "InvoicedQuantity"),
        "CreditNote": ("CreditNoteLine", "CreditedQuantity"),
    }[document]
    due = _element("cbc:DueDate", of["due"])
    if document == "CreditNote":
        due = f"<cac:PaymentMeans>{_element('cbc:PaymentDueDate', of['due'])}</cac:PaymentMeans>"

    def party(role: str, name: str) -> str:
        entity = _element("cbc:RegistrationName", _escaped(name))
        return f"""<cac:Accounting{role}Party><cac:Party><cac:PartyLegalEntity>{entity}
        </cac:PartyLegalEntity></cac:Party></cac:Accounting{role}Party>"""

    items = "".join(
        f"""<cac:{line}><cbc:{quantity} unitCode="C62">{count}</cbc:{quantity}>
        <cbc:LineExtensionAmount{money}>{amount}</cbc:LineExtensionAmount>
        <cac:Item><cbc:Name>{name}</cbc:Name></cac:Item>
        <cac:Price><cbc:PriceAmount{money}>{price}</cbc:PriceAmount></cac:Price></cac:{line}>"""
        for name, count, price, amount in LINES
    )
    taxes = "".join(
        f"""<cac:TaxSubtotal><cbc:TaxableAmount{money}>{base}</cbc:TaxableAmount>
        <cbc:TaxAmount{money}>{tax}</cbc:TaxAmount>
        <cac:TaxCategory><cbc:Percent>{rate}</cbc:Percent></cac:TaxCategory></cac:TaxSubtotal>"""
        for base, tax, rate in RATES
    )
    adjustments = "".join(
        f"""<cac:AllowanceCharge><cbc:ChargeIndicator>{is_charge}</cbc:ChargeIndicator>
        <cbc:Amount{money}>{of[name]}</cbc:Amount></cac:AllowanceCharge>"""
        for name, is_charge in (("allowances", "false"), ("charges", "true"))
    )
    totals = "".join(
        _element(f"cbc:{name}", of[key], money)
        for name, key in (
            ("LineExtensionAmount", "lines"), ("TaxExclusiveAmount", "net"),
            ("TaxInclusiveAmount", "gross"), ("AllowanceTotalAmount", "allowances"),
            ("ChargeTotalAmount", "charges"), ("PrepaidAmount", "prepaid"),
            ("PayableRoundingAmount", "rounding"), ("PayableAmount", "payable"),
        )
    )  # fmt: skip
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<{document} xmlns="{namespace or f"{_UBL}{document}-2"}"
 xmlns:cac="{_UBL}CommonAggregateComponents-2" xmlns:cbc="{_UBL}CommonBasicComponents-2">
<cbc:CustomizationID>urn:cen.eu:en16931:2017#compliant#urn:xeinkauf.de:kosit:xrechnung_3.0</cbc:CustomizationID>
{_element("cbc:ID", of["number"])}{_element("cbc:IssueDate", of["issued"])}{due}
{_element("cbc:DocumentCurrencyCode", of["currency"])}{more}
{party("Supplier", of["seller"])}{party("Customer", of["buyer"])}{adjustments}
<cac:TaxTotal>{_element("cbc:TaxAmount", of["tax"], money)}{taxes}</cac:TaxTotal>
<cac:LegalMonetaryTotal>{totals}</cac:LegalMonetaryTotal>{items}</{document}>"""


def pdf_with(
    attached: Iterable[tuple[str, bytes]],
    *,
    password: str | None = None,
    pages: Sequence[str] = (),
) -> bytes:
    """A PDF file of one page with these files attached; opens without the password it has.

    Where `pages` are given it has one for each, with that printed on it.
    """
    writer = PdfWriter(clone_from=io.BytesIO(stack(*pages)) if pages else None)
    if not pages:
        writer.add_blank_page(width=200, height=200)
    for name, content in attached:
        writer.add_attachment(name, content)
    if password is not None:
        writer.encrypt(password, "for its owner", algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def _element(name: str, text: str, attributes: str = "") -> str:
    return f"<{name}{attributes}>{text}</{name}>" if text else ""


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;")
