"""What is recognised, on a labelled set and at the edges, and how long it takes at worst."""

import time
from collections import Counter

import pytest

from pipeline.privacy.recognition import KINDS, Kind, recognise
from tests.privacy.labelled import LabelledText, labelled

CHECKED = {"card", "iban", "national_id"}


def found_in(text: str, *kinds: Kind) -> list[tuple[str, str]]:
    return [(text[start:end], kind) for start, end, kind in recognise([text], kinds or KINDS)[0]]


@pytest.fixture(scope="module")
def texts() -> list[LabelledText]:
    return labelled()


def test_nearly_all_of_the_labelled_set_is_found(texts: list[LabelledText]) -> None:
    labels, covered = Counter[str](), Counter[str]()
    for each in texts:
        found = recognise([each.text], KINDS)[0]
        for start, end, kind in each.places:
            labels[kind] += 1
            covered[kind] += any(own.start <= start and end <= own.end for own in found)
    assert set(labels) == set(KINDS)
    for kind, count in labels.items():
        assert covered[kind] / count >= (0.98 if kind in CHECKED else 0.95), kind


def test_hardly_anything_else_is_found(texts: list[LabelledText]) -> None:
    alike = [each for each in texts if not each.places]
    assert len(alike) > 100
    assert sum(bool(recognise([each.text], KINDS)[0]) for each in alike) <= len(alike) / 100


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("(anna@example.com)", "anna@example.com", "email"),
        ("<Anna.B+x@Mail.Example.co.uk>", "Anna.B+x@Mail.Example.co.uk", "email"),
        ("write to anna @ example.com", "anna @ example.com", "email"),
        ("anna [at] example [dot] com", "anna [at] example [dot] com", "email"),
        ("メールはanna@example.comです", "anna@example.com", "email"),
        ("IBAN DE89 3704 0044 0532 0130 00 bitte", "DE89 3704 0044 0532 0130 00", "iban"),
        ("de89370400440532013000", "de89370400440532013000", "iban"),
        ("4111-1111-1111-1111 123", "4111-1111-1111-1111", "card"),
        ("3782 822463 10005", "3782 822463 10005", "card"),
        ("SSN 123456789", "123456789", "national_id"),
        ("from 203.0.113.9, twice", "203.0.113.9", "ip_address"),
        ("from 2001:db8::8a2e:370:7334.", "2001:db8::8a2e:370:7334", "ip_address"),
        ("+49 (0)30 23125-099", "+49 (0)30 23125-099", "phone"),
        ("Tel.: 23125099 01.02.2026", "23125099", "phone"),
        ("電話は０３－１２３４－５６７８", "０３－１２３４－５６７８", "phone"),
    ],
)
def test_a_value_is_found_whole_and_without_what_stands_around_it(
    text: str, value: str, kind: str
) -> None:
    assert (value, kind) in found_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "@support, see a@b or x@localhost",
        "DE89 3704 0044 0532 0130 01",  # a digit is wrong
        "4111 1111 1111 1112",
        "order 123456789 of last week",
        "Version 10.4.2.1 since 10:42:31 on 2026-11-30 10:42",
        "127.0.0.1 and ::1 and std::vector and a::b",
        "1.234.567,89 EUR and 1 234 567 kr and $ 1234567",
        "01.12.2026 and 2025-2026 and 30 11 2026",
        "Tracking 00340434161094021501 and call reference 12345678",
        "0x7fff5fbff8c0 and 550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_what_only_looks_like_personal_data_is_left(text: str) -> None:
    assert found_in(text) == []


def test_only_the_kinds_that_are_asked_for_are_found() -> None:
    text = "anna@example.com, DE89 3704 0044 0532 0130 00, +49 30 23125099"
    assert [kind for _, kind in found_in(text, "iban")] == ["iban"]
    assert found_in(text, "card") == []


def test_a_number_that_is_known_is_found_without_a_word_beside_it_and_in_other_groups() -> None:
    texts = ["Phone: 5551234567", "I said 555 123 4567!"]
    assert [each.kind for found in recognise(texts, KINDS) for each in found] == ["phone", "phone"]
    assert recognise(texts[1:], KINDS) == [[]]


def test_what_overlaps_is_found_as_one() -> None:
    [(value, kind)] = found_in("+491701234567@example.com")
    assert (value, kind) == ("+491701234567@example.com", "email")


HOSTILE = [
    "1", "1 ", "1-", "+1", "(1", "0", "01 ", "@", "a@", "a.@", "a@a.", "a@a.a", "[at]", " @ ",
    "DE89", "DE89 ", "A1", ":", "1:", "::1", "1.", "255.", "4111 ", "4111", "tel ", "tel 1234567 ",
    "order 123456789 ", "x", "é", "\uff11", "[EMAIL_1]", "電話", " ", "\n", "a" * 63 + ".", "-",
    "+", "12345678Z", "RSSMRA85T10A562S ", "AA1",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_grows_with_the_text_alone(piece: str) -> None:
    text = piece * (40_000 // len(piece))
    began = time.process_time()
    recognise([text], KINDS)
    # Ten times what the slowest of them takes; what is quadratic takes far longer.
    assert time.process_time() - began < 4
