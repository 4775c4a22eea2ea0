"""Short texts with personal data whose places are known, and texts with what only looks like it.

The texts are written by hand, in the languages of the samples; a seeded generator fills in values.
Telephone numbers have the groups in which their countries write them. Nothing here is anybody's:
names are common, domains are those of examples or made up, and numbers are drawn.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.privacy import checksums
from pipeline.privacy.recognition import Found

SLOT = re.compile(r"\{(\w+)\}")
SEED = 20261130
DRAWS = 4
"""Times that each text is filled in."""


@dataclass(frozen=True, slots=True)
class LabelledText:
    language: str
    text: str
    places: tuple[Found, ...]  # none in a text that only looks as if it had personal data


_NAMES = {
    "en": ("james.carter", "OliviaBrown", "m_hughes", "priya.nair99", "sam"),
    "de": ("lukas.weber", "anna-lena.schmidt", "t.mueller", "jörg.vogt", "info.bergmann"),
    "fr": ("camille.dubois", "j-p.moreau", "luc.girard", "élise.roux", "mc"),
    "es": ("carmen.ruiz", "jgarcia84", "lucia_ortega", "nuria.p", "a.moreno"),
    "pt": ("joao.silva", "mariana.costa", "rui-santos", "bia.lima", "t.almeida"),
    "it": ("giulia.rossi", "m.ferrari", "luca_romano", "d.greco+spam", "chiara"),
    "nl": ("sanne.devries", "j.bakker", "p.vandenberg", "daan-visser", "lotte"),
    "pl": ("kasia.nowak", "p.wisniewski", "m_kowalczyk", "j.zielinski", "ola"),
    "sv": ("erik.lindberg", "s.nilsson", "karin_berg", "o.aberg", "lisa"),
    "ja": ("tanaka.yuki", "k-suzuki", "sato_hiro", "m.watanabe", "aoi"),
}
_DOMAINS = ("example.com", "example.org", "mail.example.net", "post.example.co.uk", "firma.example",
            "web-mail.example", "kunde.example.de", "EXAMPLE.com", "x.example.io")  # fmt: skip
_PHONES = {
    "en": ("(2##) 555-01##", "+1 2##-555-01##", "2##-555-01##", "0161 496 0###", "07700 900###",
           "+44 7700 900###", "+44 (0)20 7946 0###", "020 7946 0###", "+91 98### #####",
           "98### #####", "085 01# ####", "1-2##-555-01##"),
    "de": ("030 23125###", "+49 30 23125###", "0151 2345####", "+49 (0)171 39200##", "089/99998###",
           "0171-39200##", "0049 40 66969###", "+43 664 1234##", "078 123 45 ##", "01512 3456###"),
    "fr": ("01 99 00 ## ##", "06 39 98 ## ##", "+33 6 39 98 ## ##", "06.39.98.##.##", "0639980###",
           "+33 (0)1 99 00 ## ##", "0450 00 12 ##"),
    "es": ("612 34 56 ##", "+34 612 345 6##", "91 123 45 ##", "612 345 6##", "+52 55 1234 56##",
           "+34 91 123 45 ##"),
    "pt": ("912 345 6##", "+351 912 345 6##", "21 234 56##", "(11) 96123-45##", "+55 11 96123-45##",
           "(11) 2345-67##"),
    "it": ("312 345 67##", "+39 312 345 67##", "02 1234 56##", "+39 02 1234 56##", "06 1234 5678"),
    "nl": ("06 123456##", "06-123456##", "+31 6 123456##", "010 123 45##", "020-12345##",
           "0412 34 56 ##"),
    "pl": ("512 345 6##", "+48 512 345 6##", "12 345 67 ##", "+48 12 345 67 ##"),
    "sv": ("08-12 34 ##", "070-174 06 ##", "+46 70 174 06 ##", "031-390 06 ##", "070-17406##"),
    "ja": ("03-1234-56##", "090-1234-56##", "+81 90-1234-56##", "0901234####",
           "０３－１２３４－５６##"),
}  # fmt: skip
_IDS: dict[str, Sequence[tuple[Callable[[str], bool], str, str]]] = {
    # The check, how it is drawn (# a digit, @ a letter), how it is written.
    "en": ((checksums.is_us_ssn, "#########", "xxx-xx-xxxx"),
           (checksums.is_us_ssn, "#########", "SSN xxxxxxxxx"),
           (checksums.is_aadhaar, "4###########", "Aadhaar xxxx xxxx xxxx"),
           (checksums.is_aadhaar, "7###########", "Aadhaar xxxxxxxxxxxx")),
    "de": ((checksums.is_german_tax_id, "###########", "xx xxx xxx xxx"),
           (checksums.is_german_tax_id, "###########", "xxxxxxxxxxx")),
    "fr": ((checksums.is_french_nir, "1850578006###36", "x xx xx xx xxx xxx xx"),
           (checksums.is_french_nir, "2911275112#####", "xxxxxxxxxxxxxxx"),
           (checksums.is_french_nir, "267092A004#####", "x xx xx xx xxx xxx xx")),
    "es": ((checksums.is_spanish_id, "########@", "xxxxxxxxx"),
           (checksums.is_spanish_id, "########@", "xxxxxxxx-x"),
           (checksums.is_spanish_id, "X#######@", "xxxxxxxxx"),
           (checksums.is_spanish_id, "Y#######@", "x-xxxxxxx-x")),
    "pt": ((checksums.is_brazilian_cpf, "###########", "xxx.xxx.xxx-xx"),
           (checksums.is_brazilian_cpf, "###########", "CPF xxxxxxxxxxx"),
           (checksums.is_portuguese_nif, "2########", "NIF xxx xxx xxx")),
    "it": ((checksums.is_italian_tax_code, "RSSMRA85T10A562@", "xxxxxxxxxxxxxxxx"),
           (checksums.is_italian_tax_code, "FRRGLI##C51H501@", "xxx xxx xxxxx xxxxx")),
    "nl": ((checksums.is_dutch_bsn, "1########", "BSN xxxxxxxxx"),
           (checksums.is_dutch_bsn, "2########", "BSN: xxx.xxx.xxx")),
    "pl": ((checksums.is_polish_pesel, "8#0#1######", "xxxxxxxxxxx"),
           (checksums.is_polish_pesel, "0#2#1######", "PESEL xxxxxxxxxxx")),
    "sv": ((checksums.is_swedish_id, "8#0#1#####", "xxxxxx-xxxx"),
           (checksums.is_swedish_id, "9#1#2#####", "19xxxxxx-xxxx"),
           (checksums.is_swedish_id, "7#0#1#####", "19xxxxxxxxxx")),
    "ja": ((checksums.is_japanese_my_number, "############", "マイナンバー xxxx xxxx xxxx"),
           (checksums.is_japanese_my_number, "############", "個人番号はxxxxxxxxxxxx")),
}  # fmt: skip
_IBANS = {"en": "GB##WEST##############", "de": "DE####################",
          "fr": "FR#########################",
          "es": "ES######################", "pt": "PT#######################",
          "it": "IT##X######################", "nl": "NL##ABNA##########",
          "pl": "PL##########################", "sv": "SE######################",
          "ja": "DE####################"}  # fmt: skip
_CARDS = ("4###############", "51##############", "2223############", "37#############",
          "6011############", "3530############", "36############")  # fmt: skip
_IPS = ("203.0.113.#", "198.51.100.1#", "10.2#.3#.7", "2001:db8:85a3::8a2e:37#:7334",
        "2001:db8:0:#f::1")  # fmt: skip

TEXTS: dict[str, Sequence[str]] = {
    "en": (
        "Hi, my order never arrived. Please write to {email} or call me at {phone}. Thanks, Jim",
        "I was charged twice on card {card}. My email is {email}.",
        "Refund it to {iban} please, the old account is closed.",
        "Your form asked for my {id}, is that really necessary? Reach me on {phone} after 5 pm",
        "Best regards,\nSam Hughes\n{phone}\n{email}\nwww.example.com",
        "Login from {ip} was blocked on 3 March 2026, ticket 2026-03-0041. User: {email}",
        "card no {card}, exp 04/28. it says declined!!! phone: {phone}",
        "From: Olivia <{email}>\nSubject: Re: invoice 2026-11-0417\n\nmy id: {id}, paid 120.50",
    ),
    "de": (
        "Guten Tag, bitte rufen Sie mich unter {phone} zurück oder schreiben Sie an {email}.",
        "Meine Steuer-ID lautet {id}, bitte auf der Rechnung 2026-11-0388 ergänzen.",
        "Bitte überweisen Sie den Betrag von 49,90 EUR auf {iban} (Anna Schmidt).",
        "Die Zahlung mit der Karte {card} wurde am 12.11.2026 abgelehnt.",
        "Mit freundlichen Grüßen\nLukas Weber\nTel. {phone}\nMail: {email}",
        "Zugriff von {ip} gesperrt, ich komme nicht mehr ins Konto ({email}).",
        "IBAN:{iban} IdNr:{id} Handy:{phone}",
    ),
    "fr": (
        "Bonjour, vous pouvez me joindre au {phone} ou par mail : {email}.",
        "Mon numéro de sécurité sociale est le {id}, merci de corriger le dossier 48213.",
        "Le remboursement est à faire sur le compte {iban}, pas sur l'ancien.",
        "Ma carte {card} a été débitée deux fois le 03/11/2026, 59,90 € chaque fois.",
        "Cordialement,\nCamille Dubois\n{phone}\n{email}",
        "Connexion bloquée depuis {ip}. Je suis {email}.",
    ),
    "es": (
        "Buenos días, llámenme al {phone} o escriban a {email}, el pedido 88213 no llega.",
        "Mi documento es {id} y la factura 2026-0412 está a otro nombre.",
        "Por favor devuelvan los 35,00 € a la cuenta {iban}.",
        "Me cobraron dos veces con la tarjeta {card} el 14/10/2026.",
        "Un saludo,\nCarmen Ruiz\nTeléfono: {phone}\n{email}",
        "Acceso bloqueado desde {ip}; mi usuario es {email} y mi DNI {id}",
    ),
    "pt": (
        "Olá, podem ligar para {phone} ou responder para {email}? A encomenda 5521 não chegou.",
        "O meu {id} está errado na fatura 2026/118, por favor corrijam.",
        "Por favor devolvam 20,00 € para {iban}.",
        "O cartão {card} foi cobrado duas vezes em 02/11/2026.",
        "Obrigada,\nMariana Costa\nTelemóvel {phone}\n{email}",
        "Bloquearam o acesso de {ip}, o meu email é {email}",
    ),
    "it": (
        "Buongiorno, chiamatemi al {phone} oppure scrivete a {email}, l'ordine 7731 è in ritardo.",
        "Il mio codice fiscale è {id}, correggete la fattura 2026/55.",
        "Rimborsate 75,00 € su {iban} per favore.",
        "La carta {card} è stata addebitata due volte il 09/11/2026.",
        "Saluti,\nGiulia Rossi\ncell. {phone}\n{email}",
        "Accesso bloccato da {ip}, utente {email}",
    ),
    "nl": (
        "Hallo, u kunt me bellen op {phone} of mailen naar {email}. Bestelling 99120 is zoek.",
        "Mijn {id} staat verkeerd op de factuur van 03-11-2026.",
        "Maak de 18,50 euro over naar {iban} alstublieft.",
        "Mijn kaart {card} is twee keer belast.",
        "Groeten,\nSanne de Vries\n{phone}\n{email}",
        "Inloggen vanaf {ip} lukt niet, account {email}",
    ),
    "pl": (
        "Dzień dobry, proszę o telefon: {phone} albo mail {email}. Zamówienie 55120 nie doszło.",
        "Mój numer to {id}, proszę poprawić fakturę FV/2026/11/88.",
        "Proszę o zwrot 99,00 zł na konto {iban}.",
        "Karta {card} została obciążona dwa razy 05.11.2026.",
        "Pozdrawiam,\nKasia Nowak\ntel. {phone}\n{email}",
        "Logowanie z {ip} zablokowane, konto {email}",
    ),
    "sv": (
        "Hej, ring mig på {phone} eller mejla {email}. Beställning 4471 har inte kommit.",
        "Mitt personnummer är {id}, rätta fakturan tack.",
        "Betala tillbaka 450 kr till {iban}.",
        "Kortet {card} drogs två gånger den 2026-11-03.",
        "Hälsningar,\nErik Lindberg\n{phone}\n{email}",
        "Inloggning från {ip} spärrad, konto {email}",
    ),
    "ja": (
        "お世話になります。電話番号は{phone}、メールは{email}です。注文12345が届きません。",
        "{id} です。登録を確認してください。",
        "返金は {iban} までお願いします。",
        "カード {card} に二重請求がありました。",
        "よろしくお願いします。\n田中\n{phone}\n{email}",
        "{ip} からログインできません。{email}",
    ),
}
NEGATIVES: dict[str, Sequence[str]] = {
    "en": (
        "Order {order} from {date} was {amount}, tracking {tracking}.",
        "We are on version {version} since {date} and error 0x80070005 at 10:42:31 keeps coming.",
        "Invoice {invoice}: {amount} instead of {amount}, due {date}. Ref {tracking}.",
        "Mention @support or #general; the part {part} costs {amount} @ 3 pcs.",
        "Meter reading 00{digits8}, serial {part}, ISBN 978-3-16-148410-0, range 2019-2026",
        "Customer number {digits8}, contract {digits10}, call reference {digits8}",
    ),
    "de": (
        "Bestellung {order} vom {date}, Betrag {amount}, Sendungsnummer {tracking}.",
        "Seit Version {version} stürzt es ab, Fehler 500 um 14:05:59 Uhr.",
        "Rechnung {invoice} über {amount}, Kundennummer {digits8}, Vertrag {digits10}.",
        "Zählerstand 00{digits8}, Artikel {part}, PLZ 10115 Berlin, Kapitel 3.4.2.1",
    ),
    "fr": (
        "Commande {order} du {date}, montant {amount}, suivi {tracking}.",
        "Depuis la version {version}, erreur 404 à 9h30. Dossier {digits8}.",
        "Facture {invoice} : {amount} au lieu de {amount}, client {digits10}.",
    ),
    "es": (
        "Pedido {order} del {date} por {amount}, seguimiento {tracking}.",
        "Con la versión {version} falla a las 12:30:45. Contrato {digits8}.",
        "Factura {invoice} de {amount}, cliente {digits10}, pieza {part}.",
    ),
    "pt": (
        "Encomenda {order} de {date}, valor {amount}, rastreio {tracking}.",
        "Na versão {version} dá erro às 12:30:45. Cliente {digits8}, peça {part}.",
    ),
    "it": (
        "Ordine {order} del {date}, importo {amount}, spedizione {tracking}.",
        "Fattura {invoice}: {amount}, pratica {digits10}, articolo {part}, ore 12:30:45",
    ),
    "nl": (
        "Bestelling {order} van {date}, bedrag {amount}, zending {tracking}.",
        "Factuur {invoice} van {amount}, klantnummer {digits8}, onderdeel {part}",
    ),
    "pl": (
        "Zamówienie {order} z {date}, kwota {amount}, przesyłka {tracking}.",
        "Faktura {invoice} na {amount}, umowa {digits10}, część {part}",
    ),
    "sv": (
        "Order {order} den {date}, {amount}, försändelse {tracking}.",
        "Faktura {invoice} på {amount}, kundnummer {digits8}, artikel {part}",
    ),
    "ja": (
        "注文番号{order}、{date}、金額{amount}、追跡番号{tracking}。",
        "請求書 {invoice}、会員番号 {digits8}、バージョン {version}、12:30:45",
    ),
}
_LOOKALIKES: dict[str, Sequence[str]] = {
    "order": ("#########", "2026-11-####", "A-######", "112-#######-#######", "4500######"),
    "date": ("0#.1#.2026", "2026-11-0#", "0#/1#/2026", "1# 11 2026", "3 March 2026", "0#-11-26",
             "2026-11-0# 1#:3#:0#"),
    "amount": ("1.2##,50 EUR", "€ 1,2##.00", "12#.50 USD", "1 2## 500,00 zł", "12 3## kr",
               "9##,00 €",
               "R$ 1.2##,90", "¥12,###", "-1#.5 %"),
    "tracking": ("1Z999AA1########84", "00340434########40##", "RR#########DE", "JD0146########",
                 "9400 1118 9922 #### #### 00", "LX########9CN"),
    "version": ("4.12.#.10#", "10.0.1#.4#", "2.#.1"),
    "invoice": ("2026-11-04##", "RE-2026/00##", "INV 00#####", "20261104##", "2026/11/0#"),
    "part": ("AB12-34##-CD", "7##-B", "X1##.44.##Z", "3RT20##-1AP00"),
    "digits8": ("########",),
    "digits10": ("7#########",),
}  # fmt: skip
_WORD_AND_FORM = re.compile(r"([^x]*)(\S.*)")


def labelled(seed: int = SEED) -> list[LabelledText]:
    """The whole set, the same for the same seed."""
    source = random.Random(seed)
    texts = []
    for language, templates in (*TEXTS.items(), *NEGATIVES.items()):
        for template in templates:
            texts += [_filled(source, language, template) for _ in range(DRAWS)]
    return texts


def _filled(source: random.Random, language: str, template: str) -> LabelledText:
    text, places, at = "", list[Found](), 0
    for slot in SLOT.finditer(template):
        text += template[at : slot.start()]
        at, name = slot.end(), slot[1]
        if name in _LOOKALIKES:
            text += _drawn(source, source.choice(_LOOKALIKES[name]))
            continue
        if name == "id":
            is_right, drawn, written = source.choice(_IDS[language])
            before, form = _WORD_AND_FORM.fullmatch(written).groups("")  # type: ignore[union-attr]
            text += before
            number = iter(_right(source, is_right, drawn))
            value = "".join(next(number) if char == "x" else char for char in form)
        else:
            value = _WRITERS[name](source, language)
        places.append(Found(len(text), len(text) + len(value), _KINDS.get(name, name)))
        text += value
    return LabelledText(language, text + template[at:], tuple(places))


def _email(source: random.Random, language: str) -> str:
    sign = " (at) " if source.random() < _SPELLED else "@"
    return f"{source.choice(_NAMES[language])}{sign}{source.choice(_DOMAINS)}"


def _card(source: random.Random, language: str) -> str:
    number = _right(source, checksums.is_card, source.choice(_CARDS))
    grouped = _grouped(number, _CARD_GROUPS[len(number)], source.choice(" -"))
    return source.choice((number, grouped))


def _iban(source: random.Random, language: str) -> str:
    drawn = _drawn(source, _IBANS[language])
    rest = int("".join(str(int(char, 36)) for char in f"{drawn[4:]}{drawn[:2]}00")) % 97
    number = f"{drawn[:2]}{98 - rest:02}{drawn[4:]}"
    grouped = _grouped(number, (4,) * 9, " ")
    return source.choice((number, grouped, grouped, number.lower()))


_KINDS = {"id": "national_id", "ip": "ip_address"}
_CARD_GROUPS = {14: (4, 6, 4), 15: (4, 6, 5), 16: (4, 4, 4, 4)}
_SPELLED = 0.05
"""Of addresses, that are written with a word instead of the sign."""
_WRITERS: dict[str, Callable[[random.Random, str], str]] = {
    "email": _email,
    "card": _card,
    "iban": _iban,
    "phone": lambda source, language: _drawn(source, source.choice(_PHONES[language])),
    "ip": lambda source, language: _drawn(source, source.choice(_IPS)),
}


def _drawn(source: random.Random, pattern: str) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return re.sub(
        "[#@]", lambda at: source.choice("0123456789" if at[0] == "#" else letters), pattern
    )


def _right(source: random.Random, is_right: Callable[[str], bool], pattern: str) -> str:
    while not is_right(drawn := _drawn(source, pattern)):
        pass
    return drawn


def _grouped(number: str, groups: Sequence[int], gap: str) -> str:
    pieces, at = [], 0
    for size in groups:
        pieces.append(number[at : at + size])
        at += size
    return gap.join(filter(None, pieces))
