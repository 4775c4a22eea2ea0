"""Finds personal data in texts: by its form, by its check digits, by the words before it. Pure.

What has a form or check digits of its own (an e-mail address, an IBAN, a card, most national ids)
is found wherever it stands. A bare run of digits is a telephone number, or an id whose one check
digit fits by chance each tenth time, only where a word beside it says so.

Every pattern is bounded, so that time grows with the text alone, whatever it holds.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from ipaddress import IPv4Address, ip_address
from typing import Literal, NamedTuple, get_args

from pipeline.privacy import checksums

Kind = Literal["email", "iban", "card", "national_id", "ip_address", "phone"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The surest first: where two overlap, what both cover is of the first."""

_RANKS: dict[str, int] = {kind: rank for rank, kind in enumerate(KINDS)}


class Found(NamedTuple):
    """Where in a text something personal stands: of which kind, or in which field of the event."""

    start: int
    end: int
    kind: str


_GAP = r"[ \-.\u00a0\u2009\u202f\u2010-\u2015\u2212\uff0d\u3000]"
"""Between the digits of a number: blanks, points and dashes of many kinds, never a line's end."""
_WORD = r"[\d_A-Za-z\u00aa-\u1fff]"
"""What goes on before or after a number is no end of it; scripts without blanks are an end."""
_NOT_ALNUM = re.compile(r"[\W_]+")
_BEFORE, _AFTER = 40, 16
"""Characters beside a number that are searched for a word about it."""


def recognise(texts: Sequence[str], kinds: Collection[Kind]) -> list[list[Found]]:
    """What is found in each of the texts of an event, in order, without overlaps.

    A number that was recognised once is found wherever else it stands in the texts, however it is
    grouped there.
    """
    texts = [_FULL_WIDTH.sub(_half_width, text) for text in texts]
    found = [[each for kind in KINDS if kind in kinds for each in _BY_KIND[kind](text)]
             for text in texts]  # fmt: skip
    known = {
        _digits(text[each.start : each.end]): each.kind
        for text, some in zip(texts, found, strict=True)
        for each in some
        if each.kind in _NUMERIC
    }
    if known:
        for text, some in zip(texts, found, strict=True):
            for match in _NUMBER.finditer(text):
                kind = known.get(_digits(match[0]))
                if kind is not None:
                    some.append(Found(match.start(), match.end(), kind))
    return [merged(some) for some in found]


_FULL_WIDTH = re.compile("[\uff01-\uff5e]+")


def _half_width(match: re.Match[str]) -> str:
    return "".join(chr(ord(char) - 0xFEE0) for char in match[0])


def merged(found: list[Found]) -> list[Found]:
    """The same in order, what overlaps as one: of a field's name, or of the surest kind."""
    if len(found) < 2:  # noqa: PLR2004
        return found
    result: list[Found] = []
    for each in sorted(found):
        if result and each.start < result[-1].end:
            before = result.pop()
            kind = min(before.kind, each.kind, key=lambda kind: _RANKS.get(kind, -1))
            result.append(Found(before.start, max(before.end, each.end), kind))
        else:
            result.append(each)
    return result


def _digits(text: str) -> str:
    return "".join(str(int(char)) for char in text if char.isdecimal())


# --- e-mail addresses

_AT = re.compile(r" ?@ ?|\s?[\[({]\s?(?:at|arroba|chiocciola)\s?[\])}]\s?", re.IGNORECASE)
_DOT = r"(?:\.|\s?[\[({]\s?(?:dot|punkt|punto|ponto|point)\s?[\])}]\s?)"
_DOMAIN = re.compile(rf"(?:[\w-]{{1,63}}{_DOT}){{1,8}}[A-Za-z\u00aa-\u1fff]{{2,24}}", re.IGNORECASE)
_LOCAL = frozenset("._+-%'")
_LONGEST_LOCAL = 64


def _is_local(char: str) -> bool:
    return char in _LOCAL or (char < "\u2e80" and char.isalnum())


def _emails(text: str) -> Iterator[Found]:
    least = 0
    for at in _AT.finditer(text):
        begin = at.start()
        bound = max(least, begin - _LONGEST_LOCAL)
        while begin > bound and _is_local(text[begin - 1]):
            begin -= 1
        while begin < at.start() and text[begin] in _LOCAL:
            begin += 1
        if begin == at.start():
            continue
        domain = _DOMAIN.match(text, at.end())
        if domain is not None:
            least = domain.end()
            yield Found(begin, least, "email")


# --- bank accounts and cards

_IBAN = re.compile(
    rf"(?<!{_WORD})[A-Z]{{2}}{_GAP}?\d{{2}}(?:{_GAP}?[A-Z0-9]){{11,30}}", re.IGNORECASE
)
_CARD = re.compile(
    rf"(?<!\d)(?<!\d[.,-])(?:\d{{4}}({_GAP}?)\d{{4}}\1\d{{4}}\1\d{{4}}"
    rf"|3\d{{3}}({_GAP}?)\d{{6}}\2\d{{4,5}}|\d{{13,19}})(?!\d)"
)


def _ibans(text: str) -> Iterator[Found]:
    for match in _IBAN.finditer(text):
        start, written = match.start(), match[0]
        length = checksums.iban_length(written[:2].upper())
        if length is None:
            continue
        # What follows may look as if it went on: the country says how long it is.
        end = count = 0
        for end, char in enumerate(written, start=1):  # noqa: B007
            count += char.isalnum()
            if count == length:
                break
        number = _NOT_ALNUM.sub("", written[:end]).upper()
        ends_there = end == len(written) or not written[end].isalnum()
        if ends_there and checksums.is_iban(number):
            yield Found(start, start + end, "iban")


def _cards(text: str) -> Iterator[Found]:
    for match in _CARD.finditer(text):
        if checksums.is_card(_digits(match[0])):
            yield Found(match.start(), match.end(), "card")


# --- national ids


class _Id(NamedTuple):
    """A national id: its form, its check, and the words without which its form is not enough."""

    pattern: re.Pattern[str]
    is_valid: Callable[[str], bool]
    words: re.Pattern[str] | None = None


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?<!{_WORD})(?<!\d[.,/-])(?:{pattern.replace('~', _GAP + '?')})(?!{_WORD}|[.,/-]\d)",
        re.IGNORECASE,
    )


def _words(*words: str) -> re.Pattern[str]:
    """Words at their beginning; those of a script without blanks anywhere."""
    begins = [word for word in words if word[0].isalnum() and word[0] < "\u3000"]
    anywhere = [f"|{word}" for word in words if word not in begins]
    return re.compile(rf"\b(?:{'|'.join(begins)}){''.join(anywhere)}", re.IGNORECASE)


_IDS = (
    _Id(_form(r"\d{3}-\d{2}-\d{4}"), checksums.is_us_ssn),
    _Id(
        _form(r"\d{3}~\d{2}~\d{4}"),
        checksums.is_us_ssn,
        _words("ssn", "social", "soc sec", "tin", "itin"),
    ),
    _Id(_form(r"[1-9]\d(?:~\d{3}){3}|[1-9]\d{10}"), checksums.is_german_tax_id),
    _Id(
        _form(r"\d{9}|\d{4}~\d{2}~\d{3}|\d{3}~\d{3}~\d{3}"),
        checksums.is_dutch_bsn,
        _words("bsn", "burgerservice", "sofi"),
    ),
    _Id(
        _form(r"[1-478]~\d{2}~[0-9]{2}~(?:\d{2}|2[AB])~\d{3}~\d{3}~\d{2}"),
        checksums.is_french_nir,
    ),
    _Id(_form(r"(?:\d{8}|\d{1,2}\.\d{3}\.\d{3}|[XYZ]~\d{7})~[A-Z]"), checksums.is_spanish_id),
    _Id(
        _form(r"[A-Z]{3}~[A-Z]{3}~[\dL-NP-V]{2}[A-EHLMPRST][\dL-NP-V]{2}~[A-Z][\dL-NP-V]{3}[A-Z]"),
        checksums.is_italian_tax_code,
    ),
    _Id(_form(r"\d{3}\.\d{3}\.\d{3}-\d{2}"), checksums.is_brazilian_cpf),
    _Id(_form(r"\d{3}~\d{3}~\d{3}~\d{2}"), checksums.is_brazilian_cpf, _words("cpf")),
    _Id(
        _form(r"[2-9]\d{3}~\d{4}~\d{4}"),
        checksums.is_aadhaar,
        _words("aadhaar", "aadhar", "adhaar", "uidai", "आधार"),
    ),
    _Id(_form(r"\d{11}"), checksums.is_polish_pesel),
    _Id(_form(r"(?:19|20)?\d{6}[-+]\d{4}|(?:19|20)\d{10}"), checksums.is_swedish_id),
    _Id(_form(r"\d{10}"), checksums.is_swedish_id, _words("person", "samordning", "pnr")),
    _Id(
        _form(r"\d{4}~\d{4}~\d{4}"),
        checksums.is_japanese_my_number,
        _words("my ?number", "マイナンバー", "個人番号"),
    ),
    _Id(
        _form(r"[1-3]\d{2}~\d{3}~\d{3}"),
        checksums.is_portuguese_nif,
        _words("nif", "contribuinte"),
    ),
)


def _national_ids(text: str) -> Iterator[Found]:
    if not _DIGIT.search(text):
        return
    for each in _IDS:
        for match in each.pattern.finditer(text):
            start, end = match.span()
            number = _NOT_ALNUM.sub("", match[0]).upper()
            if not number.isascii():
                number = "".join(str(int(c)) if c.isdecimal() else c for c in number)
            if each.is_valid is checksums.is_swedish_id:
                number = number[-10:]
            elif each.is_valid is checksums.is_spanish_id and len(number) < 9:  # noqa: PLR2004
                number = number.zfill(9)
            if not number.isascii() or not each.is_valid(number):
                continue
            if each.words is None or _beside(each.words, text, start, end):
                yield Found(start, end, "national_id")


def _beside(words: re.Pattern[str], text: str, start: int, end: int) -> bool:
    return (
        words.search(text, max(0, start - _BEFORE), start) is not None
        or words.search(text, end, end + _AFTER) is not None
    )


# --- addresses in the internet

_DIGIT = re.compile(r"\d")
_IPV4 = re.compile(rf"(?<!{_WORD})(?<!\.)(?:\d{{1,3}}\.){{3}}\d{{1,3}}(?!{_WORD}|\.\d)")
_IPV6 = re.compile(
    rf"(?<!{_WORD})(?<![:.])[0-9A-F]{{0,4}}(?::[0-9A-F]{{0,4}}){{2,8}}(?!{_WORD}|:)", re.IGNORECASE
)
_VERSION = re.compile(
    r"(?:\b(?:v|ver|rev|version\w*|versión|versão|versie|wersj\w+|release|firmware|build|"
    r"section|sections|chapter|clause|kapitel|abschnitt|article|artikel|§)|バージョン)[.:]? ?$",
    re.IGNORECASE,
)
_GROUPS_OF_IPV6 = 3


def _ip_addresses(text: str) -> Iterator[Found]:
    for pattern, sign in ((_IPV4, "."), (_IPV6, ":")):
        if sign not in text:
            continue
        for match in pattern.finditer(text):
            start, written = match.start(), match[0]
            try:
                address = ip_address(written)
            except ValueError:
                continue
            if address.is_loopback or address.is_unspecified:
                continue
            if isinstance(address, IPv4Address):
                is_other = _VERSION.search(text, max(0, start - _AFTER), start) is not None
            else:
                # `a::b` is a name in many programming languages.
                is_other = not _DIGIT.search(written) or written.count(":") < _GROUPS_OF_IPV6
            if not is_other:
                yield Found(start, match.end(), "ip_address")


# --- telephone numbers

_PHONE_GAP = rf"(?:{_GAP}|[()/]){{0,3}}"
_NUMBER = re.compile(
    rf"(?<!{_WORD})(?<!\d[.,])(?:\+ ?|\(\+?)?\d(?:{_PHONE_GAP}\d){{6,16}}(?!{_WORD}|[.,:]\d)"
)


def _grouped(*forms: str) -> re.Pattern[str]:
    forms = tuple(form.replace("~", "[ .-]") for form in forms)
    return re.compile(rf"(?<!{_WORD})(?<![.,/#+-])(?:{'|'.join(forms)})(?!{_WORD}|[.,:/-]\d|-)")


_NATIONAL = (
    _grouped(r"(?:1~)?(?:\([2-9]\d\d\) ?|[2-9]\d\d[-.])[2-9]\d\d~\d{4}"),  # North America
    _grouped(r"\([1-9]\d\) ?9?\d{4}-\d{4}"),  # Brazil
    # With the zero that is dialled within a country: in groups, or a mobile's.
    _grouped(
        rf"\(?0[1-9]\d{{0,4}}\)?(?:(?:{_GAP}|/){{1,3}}\d{{2,8}}){{1,5}}",
        r"0(?:[67]\d{8}|7\d{9}|1[567]\d{8,9}|[789]0\d{8})",
    ),
    # Without one: Spain, Portugal, Poland, Italy, India.
    _grouped(
        r"[5-9]\d\d~\d{3}~\d{3}",
        r"[6-9]\d\d~\d\d~\d\d~\d\d",
        r"[1-9]\d~\d{3}~\d\d~\d\d",
        r"3[1-9]\d~\d{3}~?\d{3,4}",
        r"[6-9]\d{4}[ -]\d{5}",
    ),
)
_FEWEST_NATIONAL, _MOST_NATIONAL = 9, 12
_FIVE_PAIRS = re.compile(rf"0\d(?:{_GAP}\d\d){{4}}")
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
_MONEY_BEFORE = re.compile(r"(?:[€$£¥₹₽₩]|\b(?:EUR|USD|GBP|PLN|SEK|BRL|INR|JPY|CHF|R\$|kr)) ?-?$")
_MONEY_AFTER = re.compile(r" ?(?:[€$£¥₹₽₩%円]|(?:EUR|USD|GBP|PLN|SEK|BRL|INR|JPY|CHF|zł|kr|Rs)\b)")
_PHONE_WORDS = _words(
    # en, de
    "tel\\b", "telephone", "telefon", "phone", "ph\\b", "mobile", "mob\\b", "cell", "call",
    "dial", "ring me", "reach", "text me", "sms", "whats?app", "signal", "fax", "handy", "ruf",
    "anruf", "rückruf", "zurückruf", "erreich", "festnetz", "durchwahl", "landline",
    # fr, es, pt, it
    "tél", "portable", "appel", "rappel", "joign", "teléfono", "tfno", "tlf", "móvil", "movil",
    "celular", "cel\\b", "llam", "llám", "telefone", "telemóvel", "telemovel", "telem\\b", "lig",
    "fone", "contato", "telefono", "cellulare", "chiam", "recapito",
    # nl, pl, sv
    "telefoon", "mobiel", "bel\\b", "bellen", "nummer is", "gsm", "komórk", "zadzwo", "dzwoni",
    "telefonu", "mobil", "ring\\b", "nå mig", "kontakt",
    "電話", "携帯", "連絡先", "☎", "📞",
)  # fmt: skip
_OTHER_WORDS = _words(
    "order", "ticket", "case", "invoice", "tracking", "parcel", "shipment", "reference", "ref\\b",
    "booking", "serial", "article", "item", "sku", "account", "customer", "contract", "policy",
    "meter", "isbn", "ean\\b", "imei", "batch", "amount", "total",
    "bestell", "rechnung", "auftrag", "sendung", "paket", "artikel", "kunden", "vorgang",
    "vertrag", "serien", "zähler", "betrag",
    "commande", "facture", "suivi", "colis", "dossier", "contrat", "client", "réf", "série",
    "pedido", "factura", "envío", "seguimiento", "fatura", "encomenda", "rastre", "cliente",
    "ordine", "fattura", "spedizione", "pratica", "factuur", "bestelling", "zending", "klant",
    "zamówien", "faktur", "przesył", "umow", "beställning", "order", "försändelse", "kund",
    "注文", "請求", "追跡", "伝票", "会員",
)  # fmt: skip
_FEWEST_INTERNATIONAL, _MOST_INTERNATIONAL = 8, 15
_NUMERIC = frozenset({"card", "national_id", "phone"})


def _phones(text: str) -> Iterator[Found]:
    if not _DIGIT.search(text):
        return
    for pattern in _NATIONAL:
        for match in pattern.finditer(text):
            start, end = match.span()
            is_whole = _FEWEST_NATIONAL <= len(_digits(match[0])) <= _MOST_NATIONAL
            if is_whole and not _is_other(text, start, end) and _said(text, start) is not False:
                yield Found(start, end, "phone")
    for match in _NUMBER.finditer(text):
        start, end = match.span()
        if (date := _DATE_AFTER.search(text, start, end)) is not None:
            end = date.start()
        if not _is_other(text, start, end) and (
            _is_international(text[start:end]) or _said(text, start)
        ):
            yield Found(start, end, "phone")


def _is_other(text: str, start: int, end: int) -> bool:
    """Whether it is a date or an amount."""
    if _MONEY_AFTER.match(text, end) or _MONEY_BEFORE.search(text, max(0, start - 5), start):
        return True
    return _DATE.match(text, start) is not None and not _FIVE_PAIRS.fullmatch(text, start, end)


def _is_international(written: str) -> bool:
    """With a plus sign, or with two zeros and groups."""
    digits = _digits(written)
    bare = written.lstrip("( ")
    if bare.startswith("+"):
        return digits[0] != "0" and _FEWEST_INTERNATIONAL <= len(digits) <= _MOST_INTERNATIONAL
    grouped = len(digits) < len(written)
    return bare.startswith("00") and digits[2] != "0" and grouped and len(digits) > 10  # noqa: PLR2004


def _said(text: str, start: int) -> bool | None:
    """Whether the last word before a number says that it is a telephone's, or that it is not."""
    begin = max(0, start - _BEFORE)
    phone = max((match.end() for match in _PHONE_WORDS.finditer(text, begin, start)), default=-1)
    other = max((match.end() for match in _OTHER_WORDS.finditer(text, begin, start)), default=-1)
    return None if phone == other else phone > other


_BY_KIND: dict[Kind, Callable[[str], Iterator[Found]]] = {
    "email": _emails,
    "iban": _ibans,
    "card": _cards,
    "national_id": _national_ids,
    "ip_address": _ip_addresses,
    "phone": _phones,
}
