"""Numbers that prove themselves: cards, bank accounts, national ids by their check digits. Pure.

Each function takes a number without blanks and separators, in capitals where it has letters, and
says whether it can be one. What is right by chance, of numbers of the right form, is one in ten for
a single check digit, one in a hundred for two.
"""

import re
from collections.abc import Sequence
from datetime import date

_CARD = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:6011|64[4-9]\d|65\d\d|62\d\d)\d{12,15}"  # Discover, UnionPay
    r"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
    r"|3(?:0[0-5]|[689]\d)\d{11}"  # Diners Club
    r"|(?:50|5[6-8]|6304|6759|676[1-3])\d{10,17}"  # Maestro
)
_IBAN_LENGTHS = {
    country: length
    for length, countries in (
        (15, "NO"),
        (16, "BE"),
        (18, "DK FI FK FO GL NL SD"),
        (19, "MK SI"),
        (20, "AT BA EE KZ LT LU MN XK"),
        (21, "CH HR LI LV"),
        (22, "BG BH CR DE GB GE IE ME RS VA"),
        (23, "AE GI IL IQ OM SO TL"),
        (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
        (25, "LY PT ST"),
        (26, "IS TR"),
        (27, "BI DJ FR GR IT MC MR SM"),
        (28, "AL AZ BY CY DO GT HN HU LB NI PL SV"),
        (29, "BR EG PS QA UA"),
        (30, "JO KW MU YE"),
        (31, "MT SC"),
        (32, "LC"),
        (33, "RU"),
    )
    for country in countries.split()
}
"""Of the SWIFT registry, release 99."""
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_MONTHS_OF_ITALY = "ABCDEHLMPRST"
_OMOCODIA = str.maketrans("LMNPQRSTUV", "0123456789")
"""Letters that stand for digits in the tax codes of people who would otherwise share one."""
_ODD_VALUES = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25,
               24, 23)  # fmt: skip
_VERHOEFF_TURNS = ((0, 1, 2, 3, 4), (1, 5, 7, 6, 2, 8, 3, 0, 9, 4))


def _verhoeff_permutations() -> tuple[tuple[int, ...], ...]:
    rows = [tuple(range(10))]
    for _ in range(7):
        rows.append(tuple(_VERHOEFF_TURNS[1][each] for each in rows[-1]))
    return tuple(rows)


_PERMUTATIONS = _verhoeff_permutations()


def luhn(number: str) -> bool:
    total = 0
    for place, char in enumerate(reversed(number)):
        digit = int(char) * (1 + place % 2)
        total += digit - 9 if digit > 9 else digit  # noqa: PLR2004 - the sum of two digits
    return total % 10 == 0


def is_card(number: str) -> bool:
    """By the ranges and lengths of the large networks, and by the check digit."""
    return _CARD.fullmatch(number) is not None and luhn(number)


def iban_length(number: str) -> int | None:
    """Characters of an IBAN of this one's country; None where the country has none."""
    return _IBAN_LENGTHS.get(number[:2])


def is_iban(number: str) -> bool:
    if len(number) != iban_length(number):
        return False
    return int("".join(str(int(char, 36)) for char in number[4:] + number[:4])) % 97 == 1


def is_us_ssn(number: str) -> bool:
    """It has no check digit: only what was never given out is refused."""
    area, group, serial = number[:3], number[3:5], number[5:]
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"


def is_german_tax_id(number: str) -> bool:
    """Of its first ten digits exactly one comes twice or three times, all others once at most."""
    counts = sorted(number[:10].count(digit) for digit in set(number[:10]))
    if number[0] == "0" or counts[-1] not in {2, 3} or counts[-2] > 1:
        return False
    product = 10
    for char in number[:10]:
        product = ((int(char) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(number[10])


def is_dutch_bsn(number: str) -> bool:
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return number != "0" * 9 and _weighed(number, weights) % 11 == 0


def is_french_nir(number: str) -> bool:
    """With the two departments of Corsica, 2A and 2B."""
    body = number[:13].replace("2A", "19", 1).replace("2B", "18", 1)
    return body.isdecimal() and 97 - int(body) % 97 == int(number[13:])


def is_spanish_id(number: str) -> bool:
    """A DNI, or a NIE, which begins with X, Y or Z."""
    body = number[:-1].replace("X", "0").replace("Y", "1").replace("Z", "2")
    return body.isdecimal() and _DNI_LETTERS[int(body) % 23] == number[-1]


def is_italian_tax_code(number: str) -> bool:
    places = "".join(number[at] for at in (6, 7, 9, 10, 12, 13, 14)).translate(_OMOCODIA)
    day = int(places[2:4]) if places.isdecimal() else 0
    if number[8] not in _MONTHS_OF_ITALY or not (1 <= day <= 31 or 41 <= day <= 71):  # noqa: PLR2004
        return False
    total = 0
    for place, char in enumerate(number[:15]):
        value = int(char) if char.isdecimal() else ord(char) - ord("A")
        total += value if place % 2 else _ODD_VALUES[value]
    return chr(ord("A") + total % 26) == number[15]


def is_brazilian_cpf(number: str) -> bool:
    if len(set(number)) == 1:
        return False
    first = _weighed(number[:9], range(10, 1, -1)) * 10 % 11 % 10
    second = _weighed(number[:10], range(11, 1, -1)) * 10 % 11 % 10
    return number[9:] == f"{first}{second}"


def is_aadhaar(number: str) -> bool:
    """By Verhoeff's check digit."""
    check = 0
    for place, char in enumerate(reversed(number)):
        check = _dihedral(check, _PERMUTATIONS[place % 8][int(char)])
    return check == 0 and number != number[::-1]


def is_polish_pesel(number: str) -> bool:
    if _weighed(number, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10:
        return False
    century, month = divmod(int(number[2:4]), 20)
    return century < 5 and _is_day((1900, 2000, 2100, 2200, 1800)[century], month, number)  # noqa: PLR2004


def is_swedish_id(number: str) -> bool:
    """A personnummer of ten digits; of a samordningsnummer, too, whose day is 60 higher."""
    day = int(number[4:6])
    shifted = f"{number[:4]}{day - 60:02}" if day > 60 else number  # noqa: PLR2004
    return luhn(number) and _is_day(2000, int(number[2:4]), shifted)


def is_japanese_my_number(number: str) -> bool:
    rest = _weighed(number[:11], (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return int(number[11]) == (0 if rest <= 1 else 11 - rest)


def is_portuguese_nif(number: str) -> bool:
    """Of a person: those of companies begin with 5 and more."""
    rest = _weighed(number[:8], range(9, 1, -1)) % 11
    return number[0] in "123" and int(number[8]) == (0 if rest <= 1 else 11 - rest)


def _weighed(number: str, weights: Sequence[int]) -> int:
    return sum(int(char) * weight for char, weight in zip(number, weights, strict=True))


def _is_day(century: int, month: int, number: str) -> bool:
    try:
        date(century + int(number[:2]), month, int(number[4:6]))
    except ValueError:
        return False
    return True


def _dihedral(left: int, right: int) -> int:
    """The product of two digits in the group of a pentagon's symmetries."""
    turn = left + right if left < 5 else left - right  # noqa: PLR2004
    return turn % 5 + 5 * ((left < 5) != (right < 5))  # noqa: PLR2004
