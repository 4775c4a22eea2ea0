from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from pipeline.claude.budget import Budget, Caps

NOON = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def budget(now: Callable[[], datetime] = lambda: NOON, **stages: Caps) -> Budget:
    return Budget({"hour": Decimal(10), "day": Decimal(30)}, stages, now=now)


def test_a_budget_that_is_reached_closes_until_the_window_moves() -> None:
    clock = Clock()
    spent = budget(clock)
    spent.add("tickets", Decimal("9.99"))
    assert spent.used_up("tickets") is None
    spent.add("invoices", Decimal("0.01"))
    used_up = spent.used_up("tickets")
    assert used_up is not None
    assert used_up.until == datetime(2026, 11, 22, 13, tzinfo=UTC)
    assert "10 US dollars for this hour" in used_up.because
    clock.now = used_up.until
    assert spent.used_up("tickets") is None


def test_the_day_closes_later_hours() -> None:
    clock = Clock()
    spent = budget(clock)
    for _ in range(3):
        spent.add("tickets", Decimal(10))
        clock.now += timedelta(hours=1)
    used_up = spent.used_up("tickets")
    assert used_up is not None
    assert used_up.until == datetime(2026, 11, 23, tzinfo=UTC)


def test_a_stages_own_budget_closes_that_stage_alone() -> None:
    spent = budget(tickets={"day": Decimal(1)})
    spent.add("tickets", Decimal(1))
    assert spent.used_up("tickets") is not None
    assert spent.used_up("invoices") is None


def test_without_caps_nothing_is_ever_used_up() -> None:
    spent = Budget({}, {"tickets": {"hour": None}}, now=Clock())
    spent.add("tickets", Decimal(10**9))
    assert not spent.is_limited
    assert spent.used_up("tickets") is None


CALL = Decimal(1)


def test_calls_under_way_count_as_what_they_may_cost_at_most() -> None:
    alone = budget(tickets={"hour": Decimal(2)})
    assert alone.wait("tickets", CALL) == 0
    alone.reserve("tickets", CALL)
    assert alone.wait("tickets", CALL) == 0
    alone.reserve("tickets", CALL)
    assert alone.wait("tickets", CALL) > 0
    assert alone.wait("invoices", CALL) == 0
    assert alone.used_up("tickets") is None, "what is under way may cost less"
    alone.add("tickets", Decimal("0.1"))
    alone.release("tickets", CALL)
    assert alone.wait("tickets", CALL) == 0


def test_a_single_call_may_go_although_it_may_cost_more_than_is_left() -> None:
    alone = budget(tickets={"hour": Decimal("0.5")})
    assert alone.wait("tickets", CALL) == 0
    alone.reserve("tickets", CALL)
    alone.release("tickets", CALL)
    alone.add("tickets", Decimal("0.5"))
    assert alone.wait("tickets", CALL) == 1800


def test_what_is_under_way_at_the_end_of_an_hour_counts_in_the_next() -> None:
    clock = Clock()
    alone = budget(clock, tickets={"hour": Decimal(1)})
    alone.reserve("tickets", CALL)
    clock.now += timedelta(hours=1)
    assert alone.wait("tickets", CALL) > 0
    alone.release("tickets", CALL)
    assert alone.wait("tickets", CALL) == 0


def test_a_clock_that_is_put_back_opens_no_hour_again() -> None:
    clock = Clock()
    alone = budget(clock)
    alone.add("tickets", Decimal(10))
    clock.now += timedelta(hours=1)
    assert alone.used_up("tickets") is None
    clock.now -= timedelta(hours=1)
    assert alone.used_up("tickets") is not None


def test_what_was_spent_yesterday_is_not_spent_today() -> None:
    clock = Clock()
    spent = budget(clock)
    spent.add("tickets", Decimal(30))
    clock.now += timedelta(days=1)
    assert spent.spent("tickets", "day") == 0
    assert spent.stages() == ["tickets"]
    assert spent.used_up("tickets") is None
