"""The random sample: a share of the events, the same ones each time."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipeline.cascade.policy import audit_doubts

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
IDS = [f"event-{number}" for number in range(10_000)]

shares = st.floats(0, 1)
ids = st.text()
moments = st.datetimes(timezones=st.just(UTC))


def sample(stage: str, share: float) -> set[str]:
    return {each for each in IDS if audit_doubts(stage, each, NOON, share)}


def test_it_is_about_as_large_as_its_share() -> None:
    # Four standard deviations of a binomial; the ids are fixed, so this never changes.
    assert abs(len(sample("tickets", 0.02)) - 200) < 4 * 14
    assert abs(len(sample("tickets", 0.5)) - 5000) < 4 * 50


def test_stages_have_samples_of_their_own() -> None:
    tickets, images = sample("tickets", 0.1), sample("images", 0.1)
    assert abs(len(tickets & images) - 100) < 4 * 10


def test_an_id_that_comes_again_and_again_is_chosen_as_often_as_others() -> None:
    times = [NOON + timedelta(seconds=number) for number in range(10_000)]
    chosen = sum(bool(audit_doubts("tickets", "same", at, 0.02)) for at in times)
    assert abs(chosen - 200) < 4 * 14


@given(st.text(), ids, moments, shares)
def test_none_is_chosen_of_a_share_of_0_and_all_are_of_1(
    stage: str, event_id: str, at: datetime, share: float
) -> None:
    assert not audit_doubts(stage, event_id, at, 0)
    assert audit_doubts(stage, event_id, at, 1)
    again = audit_doubts(stage, event_id, at, share)
    assert audit_doubts(stage, event_id, at, share) == again


@given(st.text(), ids, moments, shares, shares)
def test_a_larger_share_keeps_who_was_chosen(
    stage: str, event_id: str, at: datetime, one: float, other: float
) -> None:
    smaller, larger = sorted((one, other))
    chosen = audit_doubts(stage, event_id, at, smaller)
    assert not chosen or audit_doubts(stage, event_id, at, larger)


def test_the_doubt_says_that_it_is_chance() -> None:
    (doubt,) = audit_doubts("tickets", "k", NOON, 1)
    assert doubt.code == "audit"
    assert "random" in doubt.detail
    assert not audit_doubts("tickets", "k", NOON, 0)
