"""The invoices that arrive as text: written by hand, as mail programs and PDF readers give them."""

from dataclasses import dataclass

from rendering.invoice import JsonGold

Item = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class WrittenInvoice:
    """A text, and what a reader should find in it."""

    id: str
    text: str
    gold: JsonGold
    adds_up: bool = True


def _gold(
    number: str,
    dates: tuple[str, str | None],
    parties: tuple[str, str],
    *,
    currency: str,
    items: tuple[Item, ...],
    sums: tuple[str, str, str],
    allowances: str | None = None,
    charges: str | None = None,
    prepaid: str | None = None,
    due: str | None = None,
) -> JsonGold:
    """Gold fields; `sums` are net, tax and gross, and what is due is the gross unless said."""
    issue_date, due_date = dates
    vendor, buyer = parties
    net, tax, gross = sums
    keys = ("description", "quantity", "unit_price", "amount")
    return {
        "number": number,
        "issue_date": issue_date,
        "due_date": due_date,
        "vendor": vendor,
        "buyer": buyer,
        "currency": currency,
        "line_items": [dict(zip(keys, item, strict=True)) for item in items],
        "allowances": allowances,
        "charges": charges,
        "net": net,
        "tax": tax,
        "gross": gross,
        "prepaid": prepaid,
        "due": due or gross,
    }


WRITTEN_INVOICES = (
    WrittenInvoice(
        id="I-3001",
        text="""\
ASHGROVE TREE CARE
Nether Farm, Bakewell DE45 1AA          VAT reg. GB 000 5520 41

INVOICE  ATC/0642
Date: 7 November 2026
Terms: 30 days, due 7 December 2026

To: Little Wexford Parish Council, The Reading Room, Church Lane

Qty  Description                          Each      Amount
  2  Crown reduction, oak               340.00      680.00
  1  Stump grinding                     125.00      125.00
  3  Chipping and removal, per load      45.00      135.00

                                  Net GBP           940.00
                                  VAT at 20 %       188.00
                                  TOTAL GBP       1,128.00

Work carried out on 2 and 3 November. Thank you for having us.
""",
        gold=_gold(
            "ATC/0642",
            ("2026-11-07", "2026-12-07"),
            ("Ashgrove Tree Care", "Little Wexford Parish Council"),
            currency="GBP",
            items=(
                ("Crown reduction, oak", "2", "340.00", "680.00"),
                ("Stump grinding", "1", "125.00", "125.00"),
                ("Chipping and removal, per load", "3", "45.00", "135.00"),
            ),
            sums=("940.00", "188.00", "1128.00"),
        ),
    ),
    WrittenInvoice(
        id="I-3002",
        text="""\
Feinkost Marlene Winter e. K. · Hauptstraße 80 · 87561 Oberstdorf
USt-IdNr. DE900552041

Hotel Breitachblick
Klammweg 4
87561 Oberstdorf

Rechnung Nr. 2026-3318                        Datum: 04.11.2026
Lieferdatum: 03.11.2026                       Zahlbar bis: 18.11.2026

Pos.  Artikel                    Menge     Preis    USt.     Betrag
1     Bergkäse, 12 Monate, kg       12     18,40     7 %     220,80
2     Räucherlachs, Seite            6     31,50     7 %     189,00
3     Tafelwein weiß, 0,75 l        24      6,95    19 %     166,80

Summe der Positionen                                 EUR     576,60
abzüglich Mengenrabatt Wein (19 %)                   EUR     -15,00
zuzüglich Kühlversand (19 %)                         EUR      14,90
Nettosumme                                           EUR     576,50
USt. 7 % auf 409,80                                  EUR      28,69
USt. 19 % auf 166,70                                 EUR      31,67
Rechnungsbetrag                                      EUR     636,86

Bei Zahlung bis 11.11.2026 gewähren wir 2 % Skonto.
""",
        gold=_gold(
            "2026-3318",
            ("2026-11-04", "2026-11-18"),
            ("Feinkost Marlene Winter e. K.", "Hotel Breitachblick"),
            currency="EUR",
            items=(
                ("Bergkäse, 12 Monate, kg", "12", "18.40", "220.80"),
                ("Räucherlachs, Seite", "6", "31.50", "189.00"),
                ("Tafelwein weiß, 0,75 l", "24", "6.95", "166.80"),
            ),
            sums=("576.50", "60.36", "636.86"),
            allowances="15.00",
            charges="14.90",
        ),
    ),
    WrittenInvoice(
        id="I-3003",
        text="""\
Électricité Vasseur — artisan
14, impasse du Lavoir, 63000 Clermont-Ferrand

FACTURE N° 2026-118 du 31 octobre 2026
Client : SCI Les Trois Tilleuls, 9 place de Jaude, 63000 Clermont-Ferrand
Échéance : 30 novembre 2026

Mise aux normes du tableau électrique    1 x 890,00 €     890,00 €
Prises et interrupteurs posés           22 x  34,50 €     759,00 €
Déplacement                              2 x  45,00 €      90,00 €

Total HT            1 739,00 €
TVA 10 %              173,90 €
Total TTC           1 912,90 €
Acompte du 12/10     -600,00 €
Net à payer         1 312,90 €
""",
        gold=_gold(
            "2026-118",
            ("2026-10-31", "2026-11-30"),
            ("Électricité Vasseur", "SCI Les Trois Tilleuls"),
            currency="EUR",
            items=(
                ("Mise aux normes du tableau électrique", "1", "890.00", "890.00"),
                ("Prises et interrupteurs posés", "22", "34.50", "759.00"),
                ("Déplacement", "2", "45.00", "90.00"),
            ),
            sums=("1739.00", "173.90", "1912.90"),
            prepaid="600.00",
            due="1312.90",
        ),
    ),
    WrittenInvoice(
        id="I-3004",
        text="""\
From: Ruth Okafor, Okafor Piano Service <ruth@example.org>
To: Dana Whitfield, Millbrook Conservatory
Date: November 10, 2026
Subject: Invoice 2231

Hi Dana,

it was good to see the old Baldwin holding up so well. Here is the bill for last week:

- Tuning, concert grand: 1 at $185.00 = $185.00
- Tuning, upright: 3 at $140.00 = $420.00
- Mileage: 62 miles at $0.70 = $43.40

Subtotal $648.40. Sales tax $0.00, services are not taxed here. Total $648.40.
You already gave me a check for $100.00, so $548.40 is left, by November 24, 2026 if you can.

Thanks!
Ruth
""",
        gold=_gold(
            "2231",
            ("2026-11-10", "2026-11-24"),
            ("Okafor Piano Service", "Millbrook Conservatory"),
            currency="USD",
            items=(
                ("Tuning, concert grand", "1", "185.00", "185.00"),
                ("Tuning, upright", "3", "140.00", "420.00"),
                ("Mileage", "62", "0.70", "43.40"),
            ),
            sums=("648.40", "0.00", "648.40"),
            prepaid="100.00",
            due="548.40",
        ),
    ),
    WrittenInvoice(
        id="I-3005",
        text="""\
CANTINA ROVERSI S.R.L. - Via Emilia 210 - 40068 San Lazzaro - P.IVA IT00552041000

FATTURA N. 874/2026                                   DATA 06/11/2026
CLIENTE  Ristorante Al Vecchio Forno, Via Saragozza 31, 40123 Bologna
PAGAMENTO  bonifico, scadenza 06/12/2026

DESCRIZIONE                       Q.TA     PREZZO   IVA      IMPORTO
Olio extravergine, latta 5 l        10      48,00    4%       480,00
Vino rosso della casa, 0,75 l       36       7,20   22%       259,20
Aceto balsamico, 25 cl              12      11,90   10%       142,80

IMPONIBILE                                                    882,00
IVA  4% su 480,00                                              19,20
IVA 10% su 142,80                                              14,28
IVA 22% su 259,20                                              57,02
TOTALE IVA                                                     90,50
TOTALE FATTURA EUR                                            972,50
""",
        gold=_gold(
            "874/2026",
            ("2026-11-06", "2026-12-06"),
            ("Cantina Roversi S.r.l.", "Ristorante Al Vecchio Forno"),
            currency="EUR",
            items=(
                ("Olio extravergine, latta 5 l", "10", "48.00", "480.00"),
                ("Vino rosso della casa, 0,75 l", "36", "7.20", "259.20"),
                ("Aceto balsamico, 25 cl", "12", "11.90", "142.80"),
            ),
            sums=("882.00", "90.50", "972.50"),
        ),
    ),
    WrittenInvoice(
        id="I-3006",
        text="""\
請求書

請求番号: 2026-1105-02
発行日: 2026年11月5日
お支払期限: 2026年11月30日

青葉印刷株式会社 御中

株式会社みなとサービス
神奈川県横浜市中区本町9-9-9

品目                        数量      単価       金額
ノートパソコン保守            5     12,000     60,000
会議用お茶 (軽減税率8%)      48        120      5,760
データ復旧作業                1     35,000     35,000

小計 (税抜)                                 100,760円
消費税 10% (対象 95,000円)                    9,500円
消費税  8% (対象 5,760円)                       460円
ご請求金額 (税込)                           110,720円
""",
        gold=_gold(
            "2026-1105-02",
            ("2026-11-05", "2026-11-30"),
            ("株式会社みなとサービス", "青葉印刷株式会社"),
            currency="JPY",
            items=(
                ("ノートパソコン保守", "5", "12000", "60000"),
                ("会議用お茶", "48", "120", "5760"),
                ("データ復旧作業", "1", "35000", "35000"),
            ),
            sums=("100760", "9960", "110720"),
        ),
    ),
    WrittenInvoice(
        id="I-3007",
        text="""\
Traducciones Belmonte — Calle del Pez Volador 6, 28007 Madrid — NIF 00055204T

Factura: TB-26-077
Fecha: 09/11/2026
Vencimiento: 24/11/2026
Cliente: Bufete Salvatierra y Asociados

Concepto                          Cantidad    Precio    Importe
Traducción jurada, página               14     32,00     448,00
Legalización                             2     25,00      50,00
Envío urgente                            1     12,80      12,80

Base imponible   510,80 EUR
IVA 21 %         107,27 EUR
TOTAL            681,07 EUR
""",
        gold=_gold(
            "TB-26-077",
            ("2026-11-09", "2026-11-24"),
            ("Traducciones Belmonte", "Bufete Salvatierra y Asociados"),
            currency="EUR",
            items=(
                ("Traducción jurada, página", "14", "32.00", "448.00"),
                ("Legalización", "2", "25.00", "50.00"),
                ("Envío urgente", "1", "12.80", "12.80"),
            ),
            sums=("510.80", "107.27", "681.07"),
        ),
        adds_up=False,
    ),
    WrittenInvoice(
        id="I-3008",
        text="""\
Nordvik Snickeri AB                      Org.nr 000552-0417
Hamngatan 3, 831 34 Östersund

FAKTURA 10452            Fakturadatum 2026-11-02    Förfallodatum 2026-12-02
Kund: Bokhandeln Storgatan 12

Platsbyggd bokhylla         1 st   14 500,00    14 500,00
Arbete, timmar             16       620,00       9 920,00
Material                    1      3 275,50      3 275,50

Summa exkl. moms           27 695,50
Moms 25 %                   6 923,88
Summa inkl. moms           34 619,38
Avgår a conto 2026-10-05  -10 000,00
ATT BETALA SEK             24 619,38
""",
        gold=_gold(
            "10452",
            ("2026-11-02", "2026-12-02"),
            ("Nordvik Snickeri AB", "Bokhandeln Storgatan 12"),
            currency="SEK",
            items=(
                ("Platsbyggd bokhylla", "1", "14500.00", "14500.00"),
                ("Arbete, timmar", "16", "620.00", "9920.00"),
                ("Material", "1", "3275.50", "3275.50"),
            ),
            sums=("27695.50", "6923.88", "34619.38"),
            prepaid="10000.00",
            due="24619.38",
        ),
    ),
)
