"""Check digits, against numbers that another library (python-stdnum 2.2) calls right."""

from collections.abc import Callable

import pytest

from pipeline.privacy import checksums

RIGHT: list[tuple[Callable[[str], bool], str]] = [
    (checksums.is_german_tax_id, "16918453072 68032495571 76298300147"),
    (checksums.is_dutch_bsn, "903665189 363779280 417866197"),
    (checksums.is_french_nir, "264077539544417 173077527483453 230072A24570661"),
    (checksums.is_spanish_id, "43737903E 89594372B 88352927Z X8438078E X7342766Q Z2561433C"),
    (checksums.is_italian_tax_code, "VRSDKJ86A68Z820V KXQSXD73T01W070M LJFKMZ69S68O956N"),
    (checksums.is_brazilian_cpf, "88377997304 66168817255 38734794786"),
    (checksums.is_aadhaar, "682756650816 282889422992 788393255675"),
    (checksums.is_polish_pesel, "54820503410 48611499776 90673155291"),
    (checksums.is_swedish_id, "4005252475 2210236606 9807089512"),
    (checksums.is_portuguese_nif, "312354622 238667448 279367287"),
    (checksums.is_japanese_my_number, "123456789018"),
    (checksums.is_card, "4111111111111111 5555555555554444 378282246310005 30569309025904"),
    (checksums.is_card, "6011111111111117 3530111333300000 2223003122003222"),
    (checksums.is_iban, "DE89370400440532013000 GB29NWBK60161331926819 NO9386011117947"),
    (checksums.is_iban, "FR1420041010050500013M02606 MT84MALT011000012345MTLCAST001S"),
]


@pytest.mark.parametrize(("is_right", "numbers"), RIGHT)
def test_right_numbers_are_right_and_no_other_digit_in_them_is(
    is_right: Callable[[str], bool], numbers: str
) -> None:
    for number in numbers.split():
        assert is_right(number)
        wrong = (
            f"{number[:8]}{(int(number[8]) + 1) % 10}{number[9:]}" if number[8].isdigit() else ""
        )
        assert not wrong or not is_right(wrong)


@pytest.mark.parametrize(
    "number", ["000456789", "666456789", "912456789", "123006789", "123450000"]
)
def test_social_security_numbers_that_were_never_given_out_are_refused(number: str) -> None:
    assert checksums.is_us_ssn("123456789")
    assert not checksums.is_us_ssn(number)


def test_numbers_of_one_digit_alone_are_nobodys() -> None:
    assert not checksums.is_brazilian_cpf("1" * 11)
    assert not checksums.is_dutch_bsn("0" * 9)
    assert not checksums.is_german_tax_id("1" * 11)
