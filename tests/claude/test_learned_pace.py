"""A pace learned from 429s alone, by replicas that do not talk: event by event, in virtual time."""

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.learned_pace import LEAST_RATE, LearnedPace
from pipeline.claude.rate_limits import ALL_LIMITS, Cost, Limits, RateLimitSnapshot
from pipeline.model.observer import LimitKind
from tests.claude.limited_replicas import COST, Server, World, server_of

UNLIMITED = 1e9
BEGIN, CHANGE, END = 75.0, 225.0, 375.0
"""Seconds: what counts begins after the first minute; the limit changes in the middle."""


def silent(per_minute: float, *, window: float = 60.0, retries: bool = False) -> Server:
    """An API that states no limit."""
    server = server_of(per_minute, UNLIMITED, UNLIMITED, window)
    server.says, server.retries = False, retries
    return server


def used_and_refused(world: World, *, then: float = 1.0) -> tuple[float, float]:
    """Of the limit, and of all requests; the limit is multiplied by `then` in the middle."""
    requests = world.server.requests
    per_second = requests.per_minute / 60
    world.run(until=CHANGE)
    requests.advance(CHANGE)
    requests.resize(requests.per_minute * then)
    world.run(until=END)
    admitted = world.admitted(BEGIN, END).total()
    refused = world.refused(60.0, END)
    allowed = per_second * (CHANGE - BEGIN + then * (END - CHANGE))
    return admitted / allowed, refused / (world.admitted(60.0, END).total() + refused)


@pytest.mark.parametrize(
    ("per_minute", "window", "then", "least"),
    [
        (600, 60.0, 1.0, 0.9),
        (600, 60.0, 0.5, 0.9),
        (600, 60.0, 2.0, 0.9),
        (600, 1.0, 1.0, 0.9),
        (600, 1.0, 0.5, 0.9),
        # Nothing is saved up in the minute or two until it is found that there is more.
        (600, 1.0, 2.0, 0.85),
        (6_000, 60.0, 2.0, 0.9),
    ],
)
def test_replicas_use_a_limit_that_nobody_states_and_seldom_exceed_it(
    per_minute: int, window: float, then: float, least: float
) -> None:
    world = World(silent(per_minute, window=window), replicas=4)
    used, refused = used_and_refused(world, then=then)
    assert used >= least
    assert refused <= 0.02


@pytest.mark.parametrize("replicas", [1, 2, 16])
def test_the_same_holds_for_one_replica_and_for_many(replicas: int) -> None:
    world = World(silent(600 * max(1, replicas // 4), window=10), replicas=replicas)
    used, refused = used_and_refused(world)
    assert used >= 0.9
    assert refused <= 0.02


def test_times_to_come_back_are_kept_and_cost_little() -> None:
    world = World(silent(600, retries=True), replicas=4)
    used, refused = used_and_refused(world)
    assert used >= 0.9
    assert refused <= 0.02


def spread(shares: list[int]) -> float:
    """The coefficient of variation."""
    mean = sum(shares) / len(shares)
    return sqrt(sum((share - mean) ** 2 for share in shares) / len(shares)) / mean


@pytest.mark.parametrize("window", [60.0, 1.0], ids=["minute", "second"])
def test_replicas_get_about_the_same(window: float) -> None:
    spreads = []
    for seed in range(4):
        world = World(silent(600, window=window), replicas=4, seed=seed)
        world.run(until=180)
        spreads.append(spread(list(world.admitted(60, 180).values())))
    assert sum(spreads) / len(spreads) < 0.4


def test_a_replica_that_comes_late_gets_its_share() -> None:
    world = World(silent(1_200, window=1), replicas=4)
    world.run(until=120)
    late = world.add(at=120)
    world.run(until=480)
    share = world.admitted(240, 480)[late] / world.admitted(240, 480).total()
    assert 0.1 < share < 0.4


@pytest.mark.parametrize("names", [ALL_LIMITS, {"output_tokens"}], ids=["any", "output tokens"])
def test_a_limit_on_tokens_is_learned_as_well(names: frozenset[LimitKind]) -> None:
    # A request takes 40 output tokens at a mean: 600 may go.
    server = server_of(UNLIMITED, UNLIMITED, 24_000)
    server.says = server.retries = False
    server.names = frozenset(names)
    world = World(server, replicas=4)
    # The calls that are under way when it is used up overdraw it by a minute.
    begin = 150.0
    world.run(until=END)
    admitted, refused = world.admitted(begin, END).total(), world.refused(begin, END)
    assert admitted >= 0.9 * 600 * (END - begin) / 60
    assert refused <= 0.02 * admitted


def test_a_limit_that_is_used_up_for_a_while_is_used_again_when_it_is_refilled() -> None:
    world = World(silent(600), replicas=4)
    world.run(until=120)
    requests = world.server.requests
    requests.advance(120)
    requests.level = -600.0
    world.run(until=180)
    assert not world.admitted(120, 180)
    assert world.refused(150, 180) < 4 * 30
    world.run(until=260)
    assert world.admitted(220, 260).total() >= 0.9 * 400


def refuse(limits: Limits, now: float, cost: Cost = COST, *, seconds: float | None = None) -> None:
    limits.refused(cost, ALL_LIMITS, now, sent_at=now, seconds=seconds)


def steady(requests: int, *, seconds: float) -> Limits:
    """Limits of a process that has asked so much for so long."""
    limits = Limits()
    for number in range(requests):
        limits.wait(COST, number * seconds / requests)
        limits.take(COST)
    return limits


def test_one_429_on_a_steady_day_pauses_nothing_and_takes_a_little() -> None:
    limits = steady(900, seconds=90)
    refuse(limits, 90.0)
    assert limits.wait(COST, 90.0) == 0.0
    limits.take(COST)
    assert limits.wait(COST, 90.0) < 0.15


def test_where_no_time_is_asked_for_the_next_request_goes_at_the_pace() -> None:
    pace = LearnedPace(10.0, 0.0)
    pace.sent(1.0)
    assert pace.wait(0.0) == pytest.approx(1 / pace.rate)


def test_a_429_of_what_was_on_its_way_at_the_last_decrease_counts_no_more() -> None:
    pace = LearnedPace(10.0, 5.0)
    before = pace.rate
    for _ in range(3):
        pace.refused(sent_at=4.9, now=5.0)
    assert pace.rate == before


def test_a_pace_that_is_not_used_does_not_grow() -> None:
    pace = LearnedPace(10.0, 0.0)
    pace.wait(0.5)
    before = pace.rate
    pace.wait(3_600.0)
    assert pace.rate == pytest.approx(before, rel=0.001)


def test_an_announced_limit_takes_the_place_of_a_learned_one_and_gives_it_back() -> None:
    limits = steady(900, seconds=90)
    refuse(limits, 90.0)
    limits.update({"requests": RateLimitSnapshot(6_000, 6_000, 0.0)}, 91.0)
    limits.take(COST)
    assert limits.wait(COST, 91.0) == pytest.approx(0.01, abs=0.005)
    limits.update({}, 95.0)
    assert limits.weight(COST) == 1 / 6_000
    limits.update({}, 102.0)
    assert not limits.are_known


def test_a_429_that_the_announced_limits_do_not_explain_is_learned_from() -> None:
    limits = steady(900, seconds=90)
    limits.update({"requests": RateLimitSnapshot(60_000, 60_000, 0.0)}, 90.0)
    refuse(limits, 90.0)
    limits.take(COST)
    assert limits.wait(COST, 90.0) > 0.05


def test_a_learned_limit_is_forgotten_when_it_refuses_nothing_for_long() -> None:
    limits = steady(900, seconds=90)
    refuse(limits, 90.0)
    limits.update({}, 400.0)
    assert limits.are_known
    limits.update({}, 700.0)
    assert not limits.are_known


def test_a_large_request_waits_until_nothing_is_owed_and_owes_what_it_takes() -> None:
    limits = steady(900, seconds=90)
    large = Cost(120_000, 40)
    limits.refused(COST, frozenset({"input_tokens"}), 90.0, sent_at=90.0, seconds=None)
    assert limits.wait(large, 91.0) == 0.0
    limits.take(large)
    assert limits.wait(COST, 91.0) > 60


@given(
    st.floats(0.01, 1e4),
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 50), st.booleans()), max_size=60),
)
def test_whatever_happens_a_request_may_go_in_finite_time(
    rate: float, steps: list[tuple[float, int, bool]]
) -> None:
    pace, now = LearnedPace(rate, 0.0), 0.0
    for pause, requests, refused in steps:
        for _ in range(requests):
            now += min(1.0, pace.wait(now))
            pace.sent(1.0)
        now += pause
        if refused:
            pace.refused(sent_at=now - 0.01, now=now)
        assert pace.rate >= LEAST_RATE
        assert 0 <= pace.wait(now) <= 51 / LEAST_RATE
