"""A tenant's share of the rate limits, at a pace of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.tenant_shares import TenantShares


def shares(**of: float) -> TenantShares:
    return TenantShares(of.get)


def test_a_tenant_without_a_share_never_waits() -> None:
    made = shares(acme=0.1)
    made.take("other", 100.0, 0.0)
    assert (made.wait("other", 0.0), made.seconds_for("other", 1.0)) == (0, 0)


def test_what_was_taken_beyond_the_share_is_waited_for() -> None:
    made = shares(acme=0.5)
    assert made.wait("acme", 0.0) == 0
    made.take("acme", 0.1, 0.0)
    assert made.wait("acme", 0.0) == pytest.approx(11.0)
    assert made.wait("acme", 11.0) == pytest.approx(0.0)
    assert made.seconds_for("acme", 0.1) == pytest.approx(12.0)


@given(st.lists(st.floats(0.0001, 0.01), max_size=200), st.floats(0.01, 1.0))
def test_no_more_than_the_share_is_taken_in_the_long_run(
    weights: list[float], share: float
) -> None:
    made, now, taken = shares(acme=share), 0.0, 0.0
    for weight in weights:
        now += made.wait("acme", now)
        made.take("acme", weight, now)
        taken += weight
        assert taken <= (now + 1.0) * share / 60 + weight + 1e-9


def test_tenants_that_owe_nothing_are_forgotten() -> None:
    made = TenantShares(lambda _: 1.0)
    for number in range(3_000):
        made.take(f"t{number}", 0.001, float(number))
    assert len(made._accounts) <= 1_001
