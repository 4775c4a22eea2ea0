"""The random sample: a share of the keys, the same ones each time."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.cascade.policy import audit_doubts

KEYS = [f"customer-{number}".encode() for number in range(10_000)]

shares = st.floats(0, 1)


def sample(stage: str, share: float) -> set[bytes]:
    return {key for key in KEYS if audit_doubts(stage, key, share)}


def test_it_is_about_as_large_as_its_share() -> None:
    # Four standard deviations of a binomial; the keys are fixed, so this never changes.
    assert abs(len(sample("tickets", 0.02)) - 200) < 4 * 14
    assert abs(len(sample("tickets", 0.5)) - 5000) < 4 * 50


def test_stages_have_samples_of_their_own() -> None:
    tickets, images = sample("tickets", 0.1), sample("images", 0.1)
    assert abs(len(tickets & images) - 100) < 4 * 10


@given(st.text(), st.binary(), shares)
def test_none_is_chosen_of_a_share_of_0_and_all_are_of_1(
    stage: str, key: bytes, share: float
) -> None:
    assert not audit_doubts(stage, key, 0)
    assert audit_doubts(stage, key, 1)
    assert audit_doubts(stage, key, share) == audit_doubts(stage, key, share)


@given(st.text(), st.binary(), shares, shares)
def test_a_larger_share_keeps_who_was_chosen(
    stage: str, key: bytes, one: float, other: float
) -> None:
    smaller, larger = sorted((one, other))
    assert not audit_doubts(stage, key, smaller) or audit_doubts(stage, key, larger)


def test_the_doubt_says_that_it_is_chance() -> None:
    (doubt,) = audit_doubts("tickets", b"k", 1)
    assert doubt.code == "audit"
    assert "random" in doubt.detail
    assert not audit_doubts("tickets", b"k", 0)
