"""The three sums of an invoice."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stages.checks.arithmetic import Line, Totals, check_totals, odd_lines

CENT = Decimal("0.01")


def money(text: str) -> Decimal:
    return Decimal(text)


def line(amount: str | None, quantity: str | None = None, price: str | None = None) -> Line:
    known = (Decimal(each) if each is not None else None for each in (quantity, price, amount))
    return Line(*known)


RIGHT = Totals(
    lines=(line("100.00"), line("50.00")),
    allowances=money("10.00"),
    charges=money("5.00"),
    net=money("145.00"),
    tax=money("27.55"),
    gross=money("172.55"),
    prepaid=money("72.55"),
    due=money("100.00"),
)


def states(totals: Totals, tolerance: Decimal = CENT) -> dict[str, str]:
    return {check.name: check.state for check in check_totals(totals, tolerance)}


def test_a_right_invoice_passes_all_three() -> None:
    assert states(RIGHT) == {"lines": "holds", "gross": "holds", "due": "holds"}


@pytest.mark.parametrize(
    ("field", "failing"),
    [
        ("allowances", {"lines"}),
        ("charges", {"lines"}),
        ("net", {"lines", "gross"}),
        ("tax", {"gross"}),
        ("gross", {"gross", "due"}),
        ("prepaid", {"due"}),
        ("due", {"due"}),
    ],
)
def test_one_wrong_amount_fails_the_sums_it_is_part_of(field: str, failing: set[str]) -> None:
    wrong = replace(RIGHT, **{field: getattr(RIGHT, field) + 1})
    assert {name for name, state in states(wrong).items() if state == "fails"} == failing


def test_a_dropped_line_fails_the_sum_of_lines() -> None:
    assert states(replace(RIGHT, lines=RIGHT.lines[:1]))["lines"] == "fails"


@pytest.mark.parametrize(
    ("field", "unknown"),
    [
        ("allowances", {"lines"}),
        ("net", {"lines", "gross"}),
        ("tax", {"gross"}),
        ("gross", {"gross", "due"}),
        ("prepaid", {"due"}),
    ],
)
def test_a_missing_term_makes_its_sums_unknown_not_wrong(field: str, unknown: set[str]) -> None:
    unsaid: dict[str, Any] = {field: None}
    incomplete = replace(RIGHT, **unsaid)
    assert {name for name, state in states(incomplete).items() if state == "unknown"} == unknown


def test_no_lines_or_a_line_without_amount_make_the_sum_of_lines_unknown() -> None:
    assert states(replace(RIGHT, lines=()))["lines"] == "unknown"
    assert states(replace(RIGHT, lines=(line("100.00"), line(None))))["lines"] == "unknown"


def test_lines_with_tax_in_their_prices_may_make_the_gross_amount() -> None:
    receipt = Totals(
        lines=(line("24.00"),),
        allowances=money("0"),
        charges=money("0"),
        net=money("22.64"),
        tax=money("1.36"),
        gross=money("24.00"),
        prepaid=None,
        due=None,
    )
    assert states(receipt) == {"lines": "holds", "gross": "holds", "due": "unknown"}


def test_a_credit_note_keeps_its_signs() -> None:
    credit = Totals(
        lines=(line("-5.00"), line("-2.90")),
        allowances=money("-0.23"),
        charges=money("0"),
        net=money("-7.67"),
        tax=money("-1.12"),
        gross=money("-8.79"),
        prepaid=money("0"),
        due=money("-8.79"),
    )
    assert set(states(credit).values()) == {"holds"}


def test_the_tolerance_is_inclusive() -> None:
    off_by_a_cent = replace(RIGHT, due=money("100.01"))
    assert states(off_by_a_cent, CENT)["due"] == "holds"
    assert states(off_by_a_cent, Decimal(0))["due"] == "fails"


def test_odd_lines_are_counted_where_all_three_terms_are_known() -> None:
    lines = (line("10.00", "2", "5.00"), line("10.00", "3", "5.00"), line("10.00", None, "5.00"))
    assert odd_lines(lines, CENT) == 1


amounts = st.decimals(min_value=0, max_value=10**6, places=2)


@given(st.lists(amounts, min_size=1, max_size=8), amounts, amounts, amounts, amounts)
def test_whatever_adds_up_holds(
    lines: list[Decimal], allowances: Decimal, charges: Decimal, tax: Decimal, prepaid: Decimal
) -> None:
    net = sum(lines, Decimal(0)) - allowances + charges
    totals = Totals(
        lines=tuple(Line(None, None, amount) for amount in lines),
        allowances=allowances,
        charges=charges,
        net=net,
        tax=tax,
        gross=net + tax,
        prepaid=prepaid,
        due=net + tax - prepaid,
    )
    assert set(states(totals, Decimal(0)).values()) == {"holds"}
