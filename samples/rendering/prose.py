"""Papers made of sentences: contracts and letters."""

from rendering.sheet import GREY, Sheet

HEIGHT = 800


def tenancy_agreement() -> Sheet:
    """First page of a tenancy agreement."""
    return _contract("""\
TENANCY AGREEMENT

between Margaret Ellis, Sleights (the landlord) and Tomasz Wilk, Whitby (the tenant)

1. The property
The landlord lets to the tenant the ground-floor flat at 12 Rope Walk, Whitby, together with the
shed in the yard and the furniture listed in annex A.

2. Term
The tenancy begins on 1 December 2026 and runs for twelve months. After that it continues from
month to month until either party ends it with two months' notice.

3. Rent
The rent is 780 pounds a month, payable in advance on the first day of each month. A deposit of
900 pounds is held by a protected scheme.

4. Repairs
The landlord keeps the roof, the walls and the heating in repair. The tenant reports any damage
within three days and keeps the drains clear.

5. Use
The flat is let as a private home. The tenant shall not sublet any part of it without the written
consent of the landlord.
""")


def confidentiality_agreement() -> Sheet:
    """A short agreement, signed by both parties."""
    return _contract(
        """\
MUTUAL CONFIDENTIALITY AGREEMENT

between Kelpwood Instruments Ltd, Galway, and Marisol Robotics, Vigo

Article 1: Purpose
The parties wish to examine whether they can develop a tide sensor together and will therefore
show each other drawings, prices and software.

Article 2: Confidentiality
Each party shall keep what it receives secret, use it for the purpose only and return or destroy
it when asked in writing.

Article 3: Exceptions
This agreement does not cover what is public, what was known before, or what a court orders to be
disclosed.

Article 4: Duration
The duties of this agreement end five years after its signature. It is governed by the law of
Ireland.
""",
        "Kelpwood Instruments Ltd",
        "Marisol Robotics",
    )


def employment_contract() -> Sheet:
    """A German employment contract."""
    return _contract(
        """\
ARBEITSVERTRAG

zwischen der Holzwerkstatt Lahnberg GmbH und Frau Svenja Petersen

Paragraph 1: Beginn und Tätigkeit
Die Arbeitnehmerin wird ab dem 1. Januar 2027 als Tischlerin eingestellt. Arbeitsort ist die
Werkstatt in Marburg.

Paragraph 2: Arbeitszeit
Die wöchentliche Arbeitszeit beträgt 37 Stunden. Überstunden werden durch Freizeit ausgeglichen.

Paragraph 3: Vergütung
Das monatliche Bruttogehalt beträgt 3.240 Euro und wird am letzten Werktag des Monats überwiesen.

Paragraph 4: Urlaub
Der Urlaub beträgt 29 Arbeitstage im Kalenderjahr.

Paragraph 5: Kündigung
Nach der Probezeit von sechs Monaten gelten die gesetzlichen Kündigungsfristen. Die Kündigung
bedarf der Schriftform.
""",
        "Holzwerkstatt Lahnberg GmbH",
        "Svenja Petersen",
    )


def council_letter() -> Sheet:
    """A complaint about a street lamp."""
    return _letter("""\
Harriet Boyle
3 Mill Bank
Hebden Water HX9 2AB

Calder Valley Council
Highways Department

10 November 2026

Dear Sir or Madam,

I am writing about the street lamp at the corner of Mill Bank and Station Road. It has been out
since the storm of 19 September, and the steps below it are now quite dark by five o'clock.

My neighbour, who is eighty-one, slipped there last Tuesday and was lucky to come away with a
bruise. I have reported the lamp twice by telephone and was told each time that an engineer would
come within ten days.

I should be grateful if you would let me know when the repair will be done, and whether a
temporary light could be put up until then.

Yours faithfully,

Harriet Boyle
""")


def cancellation_letter() -> Sheet:
    """A German notice to a gym."""
    return _letter("""\
Jonas Riemann
Birkenallee 17
34117 Kassel

Fitnessclub Am Auepark
Mitgliederverwaltung

Kassel, den 6. November 2026

Sehr geehrte Damen und Herren,

hiermit kündige ich meine Mitgliedschaft mit der Nummer 20417 fristgerecht zum 31. Dezember 2026,
hilfsweise zum nächstmöglichen Termin.

Ich ziehe im Januar aus beruflichen Gründen nach Rostock und kann Ihr Angebot dort leider nicht
mehr nutzen. Mit den Trainern war ich immer sehr zufrieden.

Bitte bestätigen Sie mir den Eingang und das Datum, zu dem der Vertrag endet.

Mit besten Empfehlungen

Jonas Riemann
""")


def thank_you_letter() -> Sheet:
    """A French letter of thanks to a choir."""
    return _letter("""\
Mairie de Saint-Aubin
Le service culturel

Madame Hélène Charrier
Chorale Les Voix du Lac

Saint-Aubin, le 4 novembre 2026

Chère Madame,

Au nom de toute la commune, je tiens à vous remercier pour le concert du 31 octobre. Plus de trois
cents personnes étaient présentes, et beaucoup nous en parlent encore.

Grâce à vous, la collecte en faveur de la bibliothèque a rapporté deux fois plus que prévu. Les
enfants pourront choisir leurs nouveaux livres dès le mois prochain.

Nous serions très heureux de vous accueillir de nouveau au printemps.

Veuillez agréer, chère Madame, nos salutations les meilleures.

Paul Daubert
""")


def _contract(text: str, *signed: str) -> Sheet:
    """Set a title, the parties and clauses, each a heading and a paragraph."""
    title, parties, *clauses = _blocks(text)
    sheet = Sheet(height=HEIGHT)
    sheet.text(297, 72, title[0], 18, bold=True, align="center")
    y = sheet.paragraph(70, 112, " ".join(parties), 11) + 14
    for heading, *clause in clauses:
        sheet.text(70, y, heading, 11.5, bold=True)
        y = sheet.paragraph(70, y + 18, " ".join(clause), 11) + 10
    for index, name in enumerate(signed):
        x = 70 + 250 * index
        _sign(sheet, x + 20, 700, name)
        sheet.rule(x, 708, 205)
        sheet.text(x, 724, name, 10)
    sheet.text(297, 775, "1", 9, align="center", ink=GREY)
    return sheet


def _letter(text: str) -> Sheet:
    """Set sender, recipient, date, greeting, paragraphs, close and name."""
    sender, recipient, day, greeting, *paragraphs, close, name = _blocks(text)
    sheet = Sheet(height=HEIGHT)
    sheet.lines(360, 70, sender, 11)
    sheet.lines(70, 150, recipient, 11)
    sheet.text(525, 220, day[0], 11, align="right")
    sheet.text(70, 270, greeting[0], 11.5)
    y = 300.0
    for paragraph in paragraphs:
        y = sheet.paragraph(70, y, " ".join(paragraph), 11.5) + 8
    sheet.text(70, y + 14, close[0], 11.5)
    _sign(sheet, 80, y + 70, name[0])
    sheet.text(70, y + 96, name[0], 11.5)
    return sheet


def _sign(sheet: Sheet, x: float, y: float, name: str) -> None:
    sheet.signature(x, y, [6 + 3 * (ord(letter) % 7) for letter in name[:8]])


def _blocks(text: str) -> list[list[str]]:
    return [block.splitlines() for block in text.strip().split("\n\n")]
