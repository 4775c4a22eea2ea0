"""How far a judge agrees with people."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.trust.agreement import Choice, Pair, agreement, kappa

CHOICES = st.sampled_from(["a", "b", "tie"])
PAIRS = st.lists(st.tuples(CHOICES, CHOICES), min_size=1, max_size=30)


def test_kappa_is_that_of_cohens_definition() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed 0.7, by chance 0.5.
    table: dict[tuple[Choice, Choice], int] = {
        ("a", "a"): 20, ("a", "b"): 5, ("b", "a"): 10, ("b", "b"): 15,
    }  # fmt: skip
    pairs: list[Pair] = [pair for pair, count in table.items() for _ in range(count)]
    assert kappa(pairs) == pytest.approx(0.4)
    found = agreement(pairs)
    assert (found.pairs, found.agreed, found.share) == (50, 35, 0.7)
    # What SciPy's exact binomial test gives for 35 of 50.
    assert found.share_within.low == pytest.approx(0.5539, abs=1e-3)
    assert found.share_within.high == pytest.approx(0.8214, abs=1e-3)


def test_who_always_says_the_same_has_no_kappa() -> None:
    found = agreement([("a", "a"), ("a", "a")])
    assert (found.share, found.kappa, found.kappa_within) == (1.0, None, None)
    assert found.share_within.low < 0.2


@settings(max_examples=10)
@given(PAIRS)
def test_intervals_hold_what_they_are_about(pairs: list[Pair]) -> None:
    found = agreement(pairs)
    assert found.share_within.low <= found.share + 1e-9
    assert found.share <= found.share_within.high + 1e-9
    assert agreement(pairs) == found


@given(PAIRS)
def test_kappa_is_symmetric_and_at_most_1(pairs: list[Pair]) -> None:
    found = kappa(pairs)
    assert found == kappa([(human, judged) for judged, human in pairs])
    assert found is None or found <= 1
