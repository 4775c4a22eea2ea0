"""Which answers are drawn: with the chance that is said, and the same by everyone."""

from datetime import UTC, datetime, timedelta
from math import sqrt

from hypothesis import given
from hypothesis import strategies as st

from pipeline.trust.sampling import Lottery

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def drawn(lottery: Lottery, count: int = 20_000) -> set[int]:
    return {at for at in range(count) if lottery.is_drawn("tickets", f"T-{at}", NOON)}


def test_each_answer_is_drawn_with_the_stated_chance() -> None:
    for share in (0.01, 0.2):
        found = len(drawn(Lottery(share)))
        assert abs(found - 20_000 * share) < 4 * sqrt(20_000 * share)


def test_of_one_key_as_many_are_drawn_as_of_others() -> None:
    days = [NOON + timedelta(days=day) for day in range(20_000)]
    found = sum(Lottery(0.05).is_drawn("tickets", "the same id", day) for day in days)
    assert abs(found - 1000) < 4 * sqrt(1000)


def test_nothing_is_drawn_with_no_chance_and_all_with_a_certain_one() -> None:
    assert not drawn(Lottery(0.0), 1000)
    assert len(drawn(Lottery(1.0), 1000)) == 1000


def test_another_key_draws_others() -> None:
    public, secret = drawn(Lottery(0.1)), drawn(Lottery(0.1, b"a secret of the team"))
    assert len(public & secret) < 0.2 * len(public)


def test_stages_have_samples_of_their_own() -> None:
    lottery = Lottery(0.1)
    others = {at for at in range(20_000) if lottery.is_drawn("mails", f"T-{at}", NOON)}
    assert len(drawn(lottery) & others) < 0.2 * len(others)


@given(st.text(max_size=20), st.datetimes(timezones=st.just(UTC)))
def test_a_larger_share_keeps_what_a_smaller_one_drew(event_id: str, at: datetime) -> None:
    small, large = Lottery(0.2), Lottery(0.6)
    assert large.is_drawn("s", event_id, at) or not small.is_drawn("s", event_id, at)


@given(st.text(max_size=20), st.datetimes(timezones=st.just(UTC)))
def test_what_brokers_do_not_carry_of_a_time_changes_nothing(event_id: str, at: datetime) -> None:
    lottery, carried = Lottery(0.5), at.replace(microsecond=at.microsecond // 1000 * 1000)
    assert lottery.is_drawn("s", event_id, at) == lottery.is_drawn("s", event_id, carried)


def test_keys_can_be_distinguished_and_not_read() -> None:
    lottery = Lottery(0.1)
    ada = lottery.whose(b"ada@example.com", "1")
    assert ada == lottery.whose(b"ada@example.com", "2")
    assert ada != lottery.whose(b"bob@example.com", "1")
    assert ada != Lottery(0.1, b"a secret of the team").whose(b"ada@example.com", "1")
    assert "ada" not in ada


def test_events_without_a_key_are_nobody_elses() -> None:
    lottery = Lottery(0.1)
    assert lottery.whose(None, "1") != lottery.whose(None, "2")
    assert lottery.whose(None, "1") != lottery.whose(b"1", "1")
