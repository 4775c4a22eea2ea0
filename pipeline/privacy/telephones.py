"""Where telephone numbers stand in a text: by the form of a country, or by a word before them."""

import re
from collections.abc import Iterator, Sequence

from pipeline.privacy.numbers import EDGE, GAP, Words, digits_of, words_before

_ANY_GAP = rf"(?:{GAP}|[()/]){{0,3}}"
NUMBER = re.compile(rf"(?<!{EDGE})(?<!\d[.,])\d(?:{_ANY_GAP}\d){{6,16}}(?!{EDGE}|[.,:]\d)")
"""Any number of seven digits or more, in groups or not."""


def _form(*forms: str) -> re.Pattern[str]:
    either = "|".join(form.replace("~", "[ .-]") for form in forms)
    return re.compile(rf"(?<!{EDGE})(?<![.,/#+-])(?<!\d )(?:{either})(?!{EDGE}|[.,:/-]\d|-)")


_NATIONAL = (
    _form(r"(?:1~)?(?:\(?[2-9]\d\d\) ?|[2-9]\d\d[-.])[2-9]\d\d~\d{4}"),  # North America
    _form(r"\(?[1-9]\d\) ?9?\d{4}-\d{4}"),  # Brazil
    # With the zero that is dialled within a country: in groups, or a mobile's.
    _form(
        rf"0[1-9]\d{{0,4}}\)?(?:(?:{GAP}|/){{1,3}}\d{{2,8}}){{1,5}}",
        r"0(?:[67]\d{8}|7\d{9}|1[567]\d{8,9}|[789]0\d{8})",
    ),
    # Without one: Spain, Portugal, Poland, Italy, India.
    _form(
        r"[5-9]\d\d~\d{3}~\d{3}",
        r"[6-9]\d\d~\d\d~\d\d~\d\d",
        r"[1-9]\d~\d{3}~\d\d~\d\d",
        r"3[1-9]\d~\d{3}~?\d{3,4}",
        r"[6-9]\d{4}[ -]\d{5}",
    ),
)
_FEWEST, _MOST = 9, 12
"""Digits of a number as it is dialled within a country."""
_FEWEST_ABROAD, _MOST_ABROAD = 8, 15
_FEWEST_AFTER_ZEROS = 11
_FIVE_PAIRS = re.compile(rf"0\d(?:{GAP}\d\d){{4}}(?!\d)")
_DATE = re.compile(
    r"\d{1,2}([./-])\d{1,2}\1(?:\d{4}|\d{2})(?!\d)|\d{1,2} \d{1,2} (?:19|20)\d\d(?!\d)"
    r"|(?:19|20)\d\d([./ -])\d{1,2}\2\d{1,2}(?!\d)"
    r"|(?:19|20)\d\d ?[/\u2010-\u2015-] ?(?:19|20)\d\d(?!\d)"
    r"|(?:19|20)\d\d(?:0\d|1[0-2])(?:[0-2]\d|3[01])(?!\d)"
)
_DATE_AFTER = re.compile(
    r" +(?:\d{1,2}([./-])\d{1,2}\1(?:19|20)\d\d|(?:19|20)\d\d-\d\d-\d\d)(?!\d)"
)
"""Follows a number that ends there."""
_MONEY_BEFORE = re.compile(r"(?:[€$£¥₹₽₩]|\b(?:EUR|USD|GBP|PLN|SEK|BRL|INR|JPY|CHF|kr)) ?-?$")
_MONEY_AFTER = re.compile(r" ?(?:[€$£¥₹₽₩%円]|(?:EUR|USD|GBP|PLN|SEK|BRL|INR|JPY|CHF|zł|kr|Rs)\b)")
_LONGEST_CURRENCY = 5
_WORDS_WITHIN = 40
"""Characters before a number that are searched for a word about it."""
_TELEPHONE = Words.of(
    # A point: the word as it stands; without: what begins with it.
    "tel. telephone telefon phone ph. mobile mob. cell call dial reach text. sms whatsapp fax "
    "handy ruf anruf rückruf zurückruf erreich festnetz durchwahl landline ring. "
    "tél portable. appel rappel joign teléfono tfno tlf móvil movil celular cel. llam llám "
    "telefone telemóvel telemovel telem. lig. ligar liguem ligue fone. contato telefono cellulare "
    "chiam recapito telefoon mobiel bel. bellen gsm. komórk zadzwo dzwoni mobil kontakt "
    "電話 携帯 連絡先"
)
_OTHER = Words.of(
    "order ticket case invoice tracking parcel shipment reference ref. booking serial article "
    "item sku. account customer contract policy meter isbn ean. imei batch amount total "
    "bestell rechnung auftrag sendung paket artikel kunden vorgang vertrag serien zähler betrag "
    "commande facture suivi colis dossier contrat client réf série pedido factura envío "
    "seguimiento fatura encomenda rastre ordine fattura spedizione pratica factuur zending klant "
    "zamówien faktur przesył umow beställning försändelse kund 注文 請求 追跡 伝票 会員"
)


def telephones(text: str, starts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """From where to where numbers stand, overlapping ones too; `starts` are those of all numbers.

    Without a word before it a number is one of a telephone if it has the country's code behind a
    plus sign or two zeros, or the groups of a country that writes such numbers alone.
    """
    least = 0
    for start in starts:
        opened = start - (text[start - 1 : start] == "(")
        for form in _NATIONAL:
            match = form.match(text, start) or (opened < start and form.match(text, opened))
            if not match:
                continue
            if _FEWEST <= len(digits_of(match[0])) <= _MOST and not _is_other(text, *match.span()):
                if _said(text, opened) is not False:
                    yield opened, match.end()
                break
        if start < least or (match := NUMBER.match(text, start)) is None:
            continue
        date = _DATE_AFTER.search(text, start, match.end())
        end = least = match.end() if date is None else date.start()
        if _is_international(text, start, end):
            is_one = not _is_money(text, start, end)
        else:
            is_one = not _is_other(text, start, end) and bool(_said(text, start))
        if is_one:
            sign = 1 if text[start - 1 : start] in {"+", "("} else 0
            yield start - sign, end


def _is_other(text: str, start: int, end: int) -> bool:
    """Whether it is a date or an amount."""
    is_date = _DATE.match(text, start, end) and not _FIVE_PAIRS.match(text, start, end)
    return bool(is_date) or _is_money(text, start, end)


def _is_money(text: str, start: int, end: int) -> bool:
    before = text[max(0, start - _LONGEST_CURRENCY) : start]
    return bool(_MONEY_AFTER.match(text, end) or _MONEY_BEFORE.search(before))


def _is_international(text: str, start: int, end: int) -> bool:
    digits = digits_of(text[start:end])
    if text[start - 1 : start] == "+" or text[start - 2 : start] == "+ ":
        return digits[0] != "0" and _FEWEST_ABROAD <= len(digits) <= _MOST_ABROAD
    return (
        digits[:2] == "00"
        and digits[2] != "0"
        and len(digits) < end - start
        and len(digits) >= _FEWEST_AFTER_ZEROS
    )


def _said(text: str, start: int) -> bool | None:
    """Whether the last word before a number says that it is a telephone's, or that it is not."""
    for word in words_before(text, start, _WORDS_WITHIN):
        if _OTHER.have(word):
            return False
        if _TELEPHONE.have(word):
            return True
    return True if _has_sign(text, start) else None


def _has_sign(text: str, start: int) -> bool:
    before = text[max(0, start - 3) : start]
    return "☎" in before or "📞" in before
