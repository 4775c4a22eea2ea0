from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from pipeline.claude.budget import (
    TENANTS_COUNTED,
    Budget,
    Caps,
    TenantBudgets,
    TenantLimits,
)

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


def of_tenants(
    now: Callable[[], datetime] = lambda: NOON, *, share: float | None = None, **named: TenantLimits
) -> Budget:
    default = TenantLimits({"day": Decimal(2), "hour": None}, share)
    return Budget({"day": Decimal(30)}, {}, TenantBudgets(default, named), now=now)


def test_a_tenant_that_used_up_its_budget_waits_alone() -> None:
    spent = of_tenants()
    spent.add("tickets", Decimal(1), tenant="acme")
    spent.add("invoices", Decimal(1), tenant="acme")
    [(account, used_up)] = spent.tenants_used_up().items()
    assert account == spent.account("acme")
    assert "The budget of tenant acme of 2 US dollars for this day is used up" in used_up.because
    assert spent.wait("tickets", Decimal(1), tenant="acme") > 3600
    assert spent.wait("tickets", Decimal(1), tenant="other") == 0
    assert spent.used_up("tickets") is None
    assert spent.spent("tickets", "day") == 1
    assert spent.stages() == ["invoices", "tickets"]


def test_what_tenants_spend_counts_once_for_all() -> None:
    spent = of_tenants()
    for number in range(29):
        spent.add("tickets", Decimal(1), tenant=f"t{number}")
    assert spent.used_up("tickets") is None
    spent.reserve("tickets", Decimal(1), tenant="last")
    spent.add("tickets", Decimal(1), tenant="last")
    spent.release("tickets", Decimal(1), tenant="last")
    assert spent.used_up("tickets") is not None


def test_limits_of_its_own_replace_those_of_each() -> None:
    spent = of_tenants(big=TenantLimits({"hour": Decimal(10)}), free=TenantLimits())
    for tenant in ("big", "free"):
        spent.add("tickets", Decimal(9), tenant=tenant)
    assert not spent.tenants_used_up()
    assert (spent.account("free"), spent.wait("tickets", Decimal(1), tenant="free")) == (None, 0)
    spent.add("tickets", Decimal(1), tenant="big")
    assert list(spent.tenants_used_up()) == [spent.account("big")]


def test_events_that_name_no_tenant_are_one_together() -> None:
    spent = of_tenants()
    spent.add("tickets", Decimal(2))
    assert list(spent.tenants_used_up()) == ["tenant/(none)"]


def test_names_that_never_end_are_counted_within_bounds() -> None:
    clock = Clock()
    spent = of_tenants(clock, acme=TenantLimits({"day": Decimal(1)}))
    for number in range(TENANTS_COUNTED + 100):
        spent.add("tickets", Decimal("0.02"), tenant=f"t{number}" * 1000)
    assert list(spent.tenants_used_up()) == ["tenant/(others)"]
    assert spent.account("acme") == "tenant/acme"
    assert max(map(len, spent.claims()[clock.now.replace(minute=0)])) < 110
    clock.now += timedelta(days=1)
    assert spent.used_up("tickets") is None
    assert spent.account("new") == "tenant/new"


def test_a_share_of_the_rate_limits_is_parted_between_those_that_call_for_the_tenant() -> None:
    clock = Clock()
    spent = of_tenants(clock, share=0.5, free=TenantLimits())
    assert (spent.rate_share("acme"), spent.rate_share("free")) == (0.5, None)
    hour = NOON.replace(minute=0)
    spent.read_other("one", hour, {"tickets": Decimal(1), "tenant/acme": Decimal(1)})
    spent.read_other("two", hour, {"tickets": Decimal(1), "tenant/other": Decimal(1)})
    assert spent.rate_share("acme") == 0.25
    clock.now += timedelta(seconds=6)
    spent.read_other("one", hour, {"tickets": Decimal(1), "tenant/acme": Decimal("0.9")})
    assert spent.rate_share("acme") == 0.5
