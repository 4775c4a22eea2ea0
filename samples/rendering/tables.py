"""Papers with fields and figures: invoices, receipts and forms."""

from datetime import date
from decimal import Decimal

from rendering.invoice import Invoice, Party, line, to_sheets
from rendering.sheet import BLUE, GREY, Ink, Sheet
from rendering.words import DUTCH

HEIGHT = 800
GREEN: Ink = (38, 92, 70)
WHITE: Ink = (250, 250, 250)
INK: Ink = BLUE


def garage_invoice() -> Sheet:
    """An invoice of a car workshop, with a coloured head."""
    sheet = Sheet(height=HEIGHT)
    sheet.area(0, 0, 595, 84, GREEN)
    sheet.text(50, 42, "Quarry Lane Garage", 22, bold=True, ink=WHITE)
    sheet.text(50, 62, "MOT, servicing and repairs since 1988", 10, ink=WHITE)
    sheet.text(545, 42, "TAX INVOICE", 14, align="right", ink=WHITE)
    sheet.lines(50, 120, ("Mr A. Tremlett", "6 Weavers Row", "Stroud GL5 3QT"), 11)
    facts = ("Invoice no. 30877", "Date 12 November 2026", "Vehicle: Skoda Fabia, 61,204 miles")
    sheet.lines(330, 120, facts, 11)
    rows = (
        ("Annual service", "1", "165.00", "165.00"),
        ("Front brake discs and pads", "1", "212.40", "212.40"),
        ("Wiper blades", "2", "11.50", "23.00"),
        ("Labour, brakes, hours", "1.5", "62.00", "93.00"),
    )
    y = _table(sheet, 200, ("Description", "Qty", "Unit", "Amount GBP"), rows)
    for name, amount in (("Net", "493.40"), ("VAT 20 %", "98.68"), ("TOTAL DUE", "592.08")):
        sheet.text(440, y, name, 11, bold=name.isupper(), align="right")
        sheet.text(540, y, amount, 11, bold=name.isupper(), align="right")
        y += 20
    sheet.text(50, 560, "Please pay within 7 days. Sort code 00-55-20, account 41009317.", 10)
    sheet.text(50, 740, "VAT registration GB 000 9317 20", 8, ink=GREY)
    return sheet


def florist_invoice() -> Sheet:
    """A Dutch invoice in the plain layout of the invoices stage."""
    invoice = Invoice(
        id="D-4002",
        number="2026-0291",
        issue_date=date(2026, 11, 10),
        due_date=date(2026, 11, 24),
        vendor=Party("Bloemerij De Linde", ("Dorpsplein 5, 1391 GH Abcoude", "KvK 00552041")),
        buyer=Party("Theater De Kolk", ("Havenstraat 2", "1382 AB Weesp")),
        currency="EUR",
        words=DUTCH,
        lines=(
            line("Boeket podium, groot", "4", "37.50", "9"),
            line("Tafelstuk foyer", "12", "9.80", "9"),
            line("Bezorging op zaterdag", "1", "17.50", "21"),
        ),
        prepaid=Decimal("100.00"),
        footer=("Graag betalen onder vermelding van het factuurnummer.",),
    )
    return to_sheets(invoice, HEIGHT)[0]


def lesson_invoice() -> Sheet:
    """A Spanish invoice of a teacher, without any design."""
    sheet = Sheet(height=HEIGHT)
    sheet.text(60, 70, "FACTURA 18/2026", 15, bold=True)
    sheet.lines(
        60, 100, ("Nuria Casals Ferrer", "Profesora de piano", "Calle Mayor 31, Huesca"), 11
    )
    sheet.text(60, 165, "Fecha: 2 de noviembre de 2026", 11)
    sheet.text(60, 190, "Para: Asociación Cultural El Tilo, Plaza Nueva 4, Huesca", 11)
    rows = (
        ("Clases de octubre, horas", "16", "28,00", "448,00"),
        ("Partituras", "5", "12,40", "62,00"),
    )
    y = _table(sheet, 240, ("Concepto", "Cantidad", "Precio", "Importe EUR"), rows)
    sheet.text(540, y, "Total a pagar: 510,00 EUR", 12, bold=True, align="right")
    sheet.text(60, y + 50, "Operación exenta de IVA. Pago a 15 días por transferencia.", 10)
    return sheet


def till_receipt() -> Sheet:
    """A long narrow receipt of a grocer."""
    sheet = Sheet(300, 560)
    sheet.text(150, 34, "HARBOUR GROCERS", 16, bold=True, align="center")
    sheet.text(150, 50, "21 Quay Street, Falmouth", 10, align="center")
    rows = (
        ("Milk 2 l", "1.65"),
        ("Sourdough loaf", "3.20"),
        ("Eggs, free range x12", "3.95"),
        ("Tomatoes 0.624 kg", "1.87"),
        ("Cheddar mature", "4.50"),
        ("Washing powder", "7.25"),
        ("Bag", "0.30"),
    )
    y = _till(sheet, 84, rows)
    for name, amount in (("TOTAL GBP", "22.72"), ("CASH", "30.00"), ("CHANGE", "7.28")):
        sheet.text(24, y, name, 13, bold=True)
        sheet.text(276, y, amount, 13, bold=True, align="right")
        y += 22
    footer = (
        "14/11/2026  09:41   Till 2",
        "You were served by Jowan",
        "THANK YOU - PLEASE COME AGAIN",
    )
    for index, text in enumerate(footer):
        sheet.text(150, y + 24 + 18 * index, text, 10, align="center")
    return sheet


def cafe_receipt() -> Sheet:
    """A German receipt of a café, paid by card."""
    sheet = Sheet(320, 520)
    sheet.text(160, 38, "Café Zeitlos", 18, bold=True, align="center")
    sheet.text(160, 56, "Lange Reihe 9, 20099 Hamburg", 10, align="center")
    sheet.text(160, 82, "QUITTUNG", 12, bold=True, align="center")
    rows = (
        ("2 x Milchkaffee", "8,40"),
        ("1 x Käsekuchen", "4,60"),
        ("1 x Tagessuppe", "7,90"),
        ("1 x Apfelschorle", "3,80"),
    )
    y = _till(sheet, 112, rows)
    sheet.text(24, y, "Summe EUR", 13, bold=True)
    sheet.text(296, y, "24,70", 13, bold=True, align="right")
    lines = (
        "darin 19 % USt. 3,94",
        "Bezahlt mit Karte ****4417",
        "Tisch 6   13.11.2026  15:22",
        "Vielen Dank für Ihren Besuch!",
    )
    sheet.lines(24, y + 32, lines, 10.5, 1.6)
    return sheet


def taxi_receipt() -> Sheet:
    """A printed slip, filled in by hand."""
    sheet = Sheet(420, 300)
    sheet.frame(14, 14, 392, 272, 1.2)
    sheet.text(210, 46, "BLACKWATER TAXIS  -  RECEIPT", 15, bold=True, align="center")
    fields = (
        ("From", "Railway station"),
        ("To", "Old Mill Conference Centre"),
        ("Date", "12 Nov 2026"),
        ("Fare paid", "18.50 GBP   cash"),
        ("Driver", "K. Adeyemi, cab 41"),
    )
    for index, (name, value) in enumerate(fields):
        y = 88 + 36 * index
        sheet.text(36, y, f"{name}:", 11)
        sheet.text(122, y - 2, value, 15, ink=INK)
        sheet.rule(118, y + 4, 264)
    sheet.signature(260, 272, (9, 22, 6, 14, 8, 18, 5))
    return sheet


def membership_form() -> Sheet:
    """An application form, filled in by hand."""
    sheet = Sheet(height=HEIGHT)
    sheet.text(297, 64, "Application for Membership", 20, bold=True, align="center")
    sheet.text(297, 84, "Windermoor Allotment Society  -  Form A1", 11, align="center")
    fields = (
        ("Surname", "Petrova"),
        ("First name", "Ana"),
        ("Date of birth", "17 / 04 / 1988"),
        ("Address", "44 Sluice Road, flat 2"),
        ("Town and postcode", "Windermoor WM3 8QD"),
        ("E-mail", "ana.petrova@example.org"),
        ("Plot wanted", "half plot, near the water tap"),
    )
    y = _fields(sheet, 140, fields)
    sheet.text(60, y + 8, "Please tick:", 11)
    _boxes(sheet, y + 32, (("New member", True), ("Renewal", False), ("Pensioner", False)))
    declaration = (
        "I have read the rules of the society and agree to keep the paths clear. "
        "I understand that the fee is due each year on 1 March."
    )
    sheet.paragraph(60, y + 90, declaration, 10.5)
    sheet.text(60, 720, "Date: 9 Nov 2026", 12, ink=INK)
    sheet.rule(330, 724, 200)
    sheet.text(330, 740, "Signature of applicant", 9, ink=GREY)
    sheet.signature(360, 720, (10, 26, 8, 16, 22, 7, 12, 5))
    return sheet


def claim_form() -> Sheet:
    """A form of an insurer, blank."""
    sheet = Sheet(height=HEIGHT)
    sheet.text(50, 60, "Oakridge Mutual", 18, bold=True)
    sheet.text(545, 60, "Form WD-7", 11, align="right")
    sheet.text(50, 92, "NOTICE OF WATER DAMAGE", 15, bold=True)
    sheet.text(50, 112, "Use block capitals. Leave grey boxes empty.", 10)
    y = _fields(sheet, 160, tuple((name, "") for name in _CLAIM_FIELDS))
    sheet.text(60, y + 6, "Cause of the damage:", 11)
    choices = (("Burst pipe", False), ("Appliance", False), ("Rain", False))
    _boxes(sheet, y + 30, choices)
    sheet.text(60, y + 84, "Describe what happened:", 11)
    for index in range(4):
        sheet.rule(60, y + 114 + 26 * index, 475, 0.5, GREY)
    sheet.area(360, 720, 175, 46)
    sheet.text(366, 734, "Claim number (office use)", 8.5, ink=GREY)
    sheet.text(60, 760, "Place, date, signature", 9, ink=GREY)
    sheet.rule(60, 745, 240)
    return sheet


_CLAIM_FIELDS = (
    "Policy number",
    "Policy holder",
    "Telephone",
    "Address of damage",
    "Date and time",
    "Rooms affected",
)


def visitor_form() -> Sheet:
    """A Dutch registration form, half filled in."""
    sheet = Sheet(height=HEIGHT)
    sheet.text(60, 66, "Aanmeldformulier bezoekers", 20, bold=True)
    sheet.text(60, 88, "Invullen bij de balie en aan de gastheer of gastvrouw geven.", 10.5)
    fields = (
        ("Naam", "J. van den Akker"),
        ("Organisatie", "Waterschap Vechtdal"),
        ("Bezoek aan", "afdeling Inkoop"),
        ("Kenteken", ""),
        ("Tijd van aankomst", "10.15 uur"),
        ("Tijd van vertrek", ""),
    )
    y = _fields(sheet, 140, fields)
    _boxes(sheet, y + 20, (("Badge ontvangen", True), ("Huisregels gelezen", True)))
    sheet.text(60, y + 90, "Handtekening:", 11)
    sheet.signature(160, y + 92, (8, 20, 12, 6, 24, 10))
    return sheet


def _table(
    sheet: Sheet, y: float, names: tuple[str, ...], rows: tuple[tuple[str, ...], ...]
) -> float:
    columns = (60, 380, 450, 540)
    for row in (names, *rows):
        sheet.text(columns[0], y, row[0], 11, bold=row is names)
        for x, cell in zip(columns[1:], row[1:], strict=True):
            sheet.text(x, y, cell, 11, bold=row is names, align="right")
        if row is names:
            sheet.rule(55, y + 6, 490, 1.2)
        y += 24
    sheet.rule(55, y - 12, 490)
    return y + 12


def _till(sheet: Sheet, y: float, rows: tuple[tuple[str, str], ...]) -> float:
    for name, amount in rows:
        sheet.text(24, y, name, 11)
        sheet.text(sheet.width - 24, y, amount, 11, align="right")
        y += 20
    sheet.rule(24, y - 6, sheet.width - 48)
    return y + 16


def _fields(sheet: Sheet, y: float, fields: tuple[tuple[str, str], ...]) -> float:
    for name, value in fields:
        sheet.text(60, y, name, 11)
        sheet.frame(190, y - 18, 345, 27)
        if value:
            sheet.text(200, y, value, 14, ink=INK)
        y += 42
    return y


def _boxes(sheet: Sheet, y: float, choices: tuple[tuple[str, bool], ...]) -> None:
    for index, (name, ticked) in enumerate(choices):
        x = 60 + 160 * index
        sheet.frame(x, y - 11, 13, 13, 1)
        if ticked:
            sheet.stroke(((x + 2, y - 6), (x + 6, y), (x + 16, y - 16)), 1.8, INK)
        sheet.text(x + 22, y, name, 11)
