"""Finds personal data in texts: by its form, by its check digits, by the words beside it. Pure.

What has a form or check digits of its own (an e-mail address, an IBAN, a card, most national ids)
is found wherever it stands. A bare run of digits is a telephone number, or an id whose one check
digit fits by chance each tenth time, only where a word beside it says so.

Every pattern is bounded, so that time grows with the text alone, whatever it holds.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from ipaddress import IPv4Address, ip_address
from itertools import chain
from typing import Literal, NamedTuple, get_args

from pipeline.privacy import checksums
from pipeline.privacy.numbers import (
    EDGE,
    GAP,
    Words,
    digits_of,
    number_starts,
    words_after,
    words_before,
)
from pipeline.privacy.telephones import NUMBER, telephones

Kind = Literal["email", "iban", "card", "national_id", "ip_address", "phone"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The surest first: where two overlap, what both cover is of the first."""
_RANKS: dict[str, int] = {kind: rank for rank, kind in enumerate(KINDS)}
_NUMERIC = frozenset({"card", "national_id", "phone"})
_FULL_WIDTH = re.compile("[\uff01-\uff5e]+")


class Found(NamedTuple):
    """Where in a text something personal stands: of which kind, or in which field of the event."""

    start: int
    end: int
    kind: str


def recognise(texts: Sequence[str], kinds: Collection[Kind]) -> list[list[Found]]:
    """What is found in each of the texts of an event, in order, without overlaps.

    A number that was recognised once is found wherever else it stands in the texts, however it is
    grouped there.
    """
    if not kinds:
        return [[] for _ in texts]
    texts = [text if text.isascii() else _FULL_WIDTH.sub(_half_width, text) for text in texts]
    starts = [number_starts(text) for text in texts]
    found = [
        [each for kind in KINDS if kind in kinds for each in _BY_KIND[kind](text, begins)]
        for text, begins in zip(texts, starts, strict=True)
    ]
    known = {
        digits_of(text[each.start : each.end]): each.kind
        for text, some in zip(texts, found, strict=True)
        for each in some
        if each.kind in _NUMERIC
    }
    if known:
        for text, begins, some in zip(texts, starts, found, strict=True):
            for start in begins:
                match = NUMBER.match(text, start)
                if match is not None and (kind := known.get(digits_of(match[0]))) is not None:
                    some.append(Found(start, match.end(), kind))
    return [merged(some) for some in found]


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


def _half_width(match: re.Match[str]) -> str:
    return "".join(chr(ord(char) - 0xFEE0) for char in match[0])


# --- e-mail addresses

_AT = re.compile(r"[@\[({](?:(?<=@)|\s?(?:at|arroba|chiocciola)\s?[\])}])", re.IGNORECASE)
_DOT = r"(?:\.|\s?[\[({]\s?(?:dot|punkt|punto|ponto|point)\s?[\])}]\s?)"
_DOMAIN = re.compile(
    rf"\s?(?:[\w-]{{1,63}}{_DOT}){{1,8}}[A-Za-z\u00aa-\u1fff]{{2,24}}", re.IGNORECASE
)
_SIGNS = frozenset("._+-%'")
_LONGEST_LOCAL = 64
_CJK = "\u2e80"


def _emails(text: str, _: Sequence[int]) -> Iterator[Found]:
    least = 0
    for at in _AT.finditer(text):
        end = at.start() - (text[at.start() - 1 : at.start()] == " ")
        bound, begin = max(least, end - _LONGEST_LOCAL), end
        while begin > bound and _is_local(text[begin - 1]):
            begin -= 1
        while begin < end and text[begin] in _SIGNS:
            begin += 1
        if begin < end and (domain := _DOMAIN.match(text, at.end())) is not None:
            least = domain.end()
            yield Found(begin, least, "email")


def _is_local(char: str) -> bool:
    return char in _SIGNS or (char < _CJK and char.isalnum())


# --- bank accounts and cards

_IBAN = re.compile(rf"(?<!{EDGE})[A-Z]{{2}}{GAP}?\d{{2}}(?:{GAP}?[A-Z0-9]){{11,30}}", re.IGNORECASE)
_CARD = re.compile(
    rf"(?<!\d)(?<!\d[.,-])(?:\d{{4}}({GAP}?)\d{{4}}\1\d{{4}}\1\d{{4}}"
    rf"|3\d{{3}}({GAP}?)\d{{6}}\2\d{{4,5}}|\d{{13,19}})(?!\d)"
)
_CHECK_DIGITS = re.compile(r"\d{2,}")
_NOT_ALNUM = re.compile(r"[\W_]+")


def _ibans(text: str, _: Sequence[int]) -> Iterator[Found]:
    for digits in _CHECK_DIGITS.finditer(text):
        start = digits.start() - 2 - (text[digits.start() - 1 : digits.start()] == " ")
        match = _IBAN.match(text, start) if start >= 0 else None
        length = None if match is None else checksums.iban_length(match[0][:2].upper())
        if match is None or length is None:
            continue
        # What follows may look as if it went on: the country says how long it is.
        written, end, count = match[0], 0, 0
        while end < len(written) and count < length:
            count += written[end].isalnum()
            end += 1
        ends_there = not text[start + end : start + end + 1].isalnum()
        if ends_there and checksums.is_iban(_NOT_ALNUM.sub("", written[:end]).upper()):
            yield Found(start, start + end, "iban")


def _cards(text: str, starts: Sequence[int]) -> Iterator[Found]:
    for start in starts:
        match = _CARD.match(text, start)
        if match is not None and checksums.is_card(digits_of(match[0])):
            yield Found(start, match.end(), "card")


# --- national ids


class _Id(NamedTuple):
    """A national id: its form, its check, and the words without which these are not enough.

    In a form `~` is a gap that may be there or not.
    """

    form: str
    is_valid: Callable[[str], bool]
    words: Words | None = None


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?<!{EDGE})(?<!\d[.,/-])(?:{pattern.replace('~', f'{GAP}?')})(?!{EDGE}|[.,/-]\d)",
        re.IGNORECASE,
    )


_IDS = (
    _Id(r"\d{3}-\d{2}-\d{4}", checksums.is_us_ssn),
    _Id(r"\d{3}~\d{2}~\d{4}", checksums.is_us_ssn, Words.of("ssn social itin.")),
    _Id(r"[1-9]\d(?:~\d{3}){3}", checksums.is_german_tax_id),
    _Id(
        r"\d{9}|\d{4}~\d{2}~\d{3}|\d{3}~\d{3}~\d{3}",
        checksums.is_dutch_bsn,
        Words.of("bsn. burgerservice sofi"),
    ),
    _Id(r"[1-478]~\d{2}~\d{2}~(?:\d{2}|2[AB])~\d{3}~\d{3}~\d{2}", checksums.is_french_nir),
    _Id(r"(?:\d{8}|\d{1,2}\.\d{3}\.\d{3})~[A-Z]", checksums.is_spanish_id),
    _Id(r"\d{3}\.\d{3}\.\d{3}-\d{2}", checksums.is_brazilian_cpf),
    _Id(r"\d{3}~\d{3}~\d{3}~\d{2}", checksums.is_brazilian_cpf, Words.of("cpf.")),
    _Id(
        r"[2-9]\d{3}~\d{4}~\d{4}",
        checksums.is_aadhaar,
        Words.of("aadhaar aadhar adhaar uidai आधार"),
    ),
    _Id(r"\d{11}", checksums.is_polish_pesel),
    _Id(r"(?:19|20)?\d{6}[-+]\d{4}|(?:19|20)\d{10}", checksums.is_swedish_id),
    _Id(r"\d{10}", checksums.is_swedish_id, Words.of("person samordning pnr.")),
    _Id(
        r"\d{4}~\d{4}~\d{4}",
        checksums.is_japanese_my_number,
        Words.of("mynumber my. マイナンバー 個人番号"),
    ),
    _Id(
        r"[1-3]\d{2}~\d{3}~\d{3}",
        checksums.is_portuguese_nif,
        Words.of("nif. contribuinte"),
    ),
)
_FOREIGNER_OF_SPAIN = _Id(r"[XYZ]~\d{7}~[A-Z]", checksums.is_spanish_id)
_TAX_CODE_OF_ITALY = _Id(
    r"[A-Z]{3}~[A-Z]{3}~\d{2}[A-EHLMPRST][\dL-NP-V]{2}~[A-Z][\dL-NP-V]{3}[A-Z]",
    checksums.is_italian_tax_code,
)
_FORMS = {each.form: _form(each.form) for each in (*_IDS, _FOREIGNER_OF_SPAIN, _TAX_CODE_OF_ITALY)}
_ANY_FORM = _form("|".join(each.form for each in _IDS))
_BIRTH_YEAR = re.compile(r"\d\d(?<=[A-Z]{3}\d\d|[A-Z]{2} \d\d)(?=[A-EHLMPRST])", re.IGNORECASE)
_FOREIGNERS = frozenset("XYZxyz")
_LETTERS_BEFORE = (6, 7, 8)
_BEFORE, _AFTER = 40, 16
"""Characters beside a number that are searched for a word about it."""
_DIGITS_OF_SWEDEN, _CHARS_OF_SPAIN = 10, 9


def _national_ids(text: str, starts: Sequence[int]) -> Iterator[Found]:
    found = chain(
        ((each, start) for start in starts if _ANY_FORM.match(text, start) for each in _IDS),
        (
            (_FOREIGNER_OF_SPAIN, start - back)
            for start in starts
            for back in (1, 2)
            if text[start - back : start - back + 1] in _FOREIGNERS
        ),
        (
            (_TAX_CODE_OF_ITALY, year.start() - back)
            for year in _BIRTH_YEAR.finditer(text)
            for back in _LETTERS_BEFORE
        ),
    )
    for each, start in found:
        match = _FORMS[each.form].match(text, start) if start >= 0 else None
        if match is None or not _is_id(each, match[0]):
            continue
        end = match.end()
        if each.words is None or any(
            each.words.have(word)
            for word in chain(words_before(text, start, _BEFORE), words_after(text, end, _AFTER))
        ):
            yield Found(start, end, "national_id")


def _is_id(each: _Id, written: str) -> bool:
    number = _NOT_ALNUM.sub("", written).upper()
    if not number.isascii():
        number = "".join(str(int(char)) if char.isdecimal() else char for char in number)
    if each.is_valid is checksums.is_swedish_id:
        number = number[-_DIGITS_OF_SWEDEN:]
    elif each.is_valid is checksums.is_spanish_id:
        number = number.zfill(_CHARS_OF_SPAIN)
    return number.isascii() and each.is_valid(number)


# --- addresses in the internet

_IPV4 = re.compile(rf"\d(?<!{EDGE}\d)(?<!\.\d)\d{{0,2}}(?:\.\d{{1,3}}){{3}}(?!{EDGE}|\.\d)")
_IPV6 = re.compile(
    rf"[0-9A-F:](?<!{EDGE}.)(?<![:.].)[0-9A-F]{{0,3}}(?::[0-9A-F]{{0,4}}){{2,8}}(?!{EDGE}|:)",
    re.IGNORECASE,
)
_VERSION = Words.of(
    "v. ver. rev. version versión versão versie wersj release firmware build section chapter "
    "clause kapitel abschnitt article. artikel バージョン"
)
_DIGIT = re.compile(r"\d")
_GROUPS_OF_IPV6 = 3
_COLONS_OF_IPV6 = 7


def _ip_addresses(text: str, _: Sequence[int]) -> Iterator[Found]:
    patterns = [_IPV4] if "." in text else []
    if "::" in text or text.count(":") >= _COLONS_OF_IPV6:
        patterns.append(_IPV6)
    for pattern in patterns:
        for match in pattern.finditer(text):
            start, written = match.start(), match[0]
            try:
                address = ip_address(written)
            except ValueError:
                continue
            if address.is_loopback or address.is_unspecified:
                continue
            if isinstance(address, IPv4Address):
                last = next(iter(words_before(text, start, _AFTER)), "")
                is_other = _VERSION.have(last)
            else:
                # `a::b` is a name in many programming languages.
                is_other = not _DIGIT.search(written) or written.count(":") < _GROUPS_OF_IPV6
            if not is_other:
                yield Found(start, match.end(), "ip_address")


def _phones(text: str, starts: Sequence[int]) -> Iterator[Found]:
    return (Found(start, end, "phone") for start, end in telephones(text, starts))


_BY_KIND: dict[Kind, Callable[[str, Sequence[int]], Iterator[Found]]] = {
    "email": _emails,
    "iban": _ibans,
    "card": _cards,
    "national_id": _national_ids,
    "ip_address": _ip_addresses,
    "phone": _phones,
}
