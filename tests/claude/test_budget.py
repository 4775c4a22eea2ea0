from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.claude.limits import budget as spending
from pipeline.claude.limits.budget import Budget, Caps, Spending
from pipeline.model.errors import UsageError
from pipeline.runtime.database import Database

NOON = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)


def budget(**stages: Caps) -> Budget:
    return Budget(Caps(usd_per_hour=Decimal(10), usd_per_day=Decimal(30)), stages)


def test_a_budget_that_is_reached_closes_until_the_window_moves() -> None:
    spent = budget()
    spent.spend("tickets", Decimal("9.99"), NOON)
    assert spent.used_up("tickets", NOON) is None
    spent.spend("invoices", Decimal("0.01"), NOON)
    used_up = spent.used_up("tickets", NOON)
    assert used_up is not None
    assert used_up.until == datetime(2026, 11, 22, 13, tzinfo=UTC)
    assert "10 US dollars for this hour" in used_up.because
    assert spent.used_up("tickets", used_up.until) is None


def test_the_day_closes_later_hours() -> None:
    spent = budget()
    for hour in range(3):
        spent.spend("tickets", Decimal(10), NOON + timedelta(hours=hour))
    used_up = spent.used_up("tickets", NOON + timedelta(hours=3))
    assert used_up is not None
    assert used_up.until == datetime(2026, 11, 23, tzinfo=UTC)


def test_a_stages_own_budget_closes_that_stage_alone() -> None:
    spent = budget(tickets=Caps(usd_per_day=Decimal(1)))
    spent.spend("tickets", Decimal(1), NOON)
    assert spent.used_up("tickets", NOON) is not None
    assert spent.used_up("invoices", NOON) is None


def test_without_caps_nothing_is_ever_used_up() -> None:
    spent = Budget(Caps(), {"tickets": Caps()})
    spent.spend("tickets", Decimal(10**9), NOON)
    assert not spent.is_set
    assert spent.used_up("tickets", NOON) is None


def database(path: Path) -> Database:
    return Database(path / "spend.sqlite3", spending.SCHEMA, setting="claude.state_dir")


async def test_what_was_spent_survives_a_restart(tmp_path: Path) -> None:
    async with database(tmp_path) as file:
        before = Spending(budget(), file, now=lambda: NOON)
        before.add("tickets", Decimal("10.00000001"))
        await before.save()
    async with database(tmp_path) as file:
        after = Spending(budget(), file, now=lambda: NOON)
        await after.save()
        assert after.spent("tickets", "hour") == Decimal("10.00000001")
        assert after.paused_reason("invoices") is not None
        assert after.wait("tickets") == 1800


async def test_processes_that_share_the_file_share_the_budget(tmp_path: Path) -> None:
    async with database(tmp_path) as one, database(tmp_path) as other:
        first = Spending(budget(), one, now=lambda: NOON)
        second = Spending(budget(), other, now=lambda: NOON)
        first.add("tickets", Decimal(4))
        second.add("tickets", Decimal(6))
        await first.save()
        assert await second.save() == ["tickets"]
        assert second.paused_reason("tickets") is not None
        assert first.paused_reason("tickets") is None
        await first.save()
        assert first.paused_reason("tickets") is not None


async def test_what_is_spent_while_the_file_is_written_is_counted_once(tmp_path: Path) -> None:
    async with database(tmp_path) as file:
        counted = Spending(budget(), file, now=lambda: NOON)
        counted.add("tickets", Decimal(1))
        await counted.save()
        counted.add("tickets", Decimal(2))
        assert counted.spent("tickets", "hour") == 3
        await counted.save()
        assert counted.spent("tickets", "hour") == 3
        assert counted.spent("tickets", "day") == 3


async def test_yesterdays_spending_is_not_todays(tmp_path: Path) -> None:
    moment = [NOON]
    async with database(tmp_path) as file:
        counted = Spending(budget(), file, now=lambda: moment[0])
        counted.add("tickets", Decimal(30))
        await counted.save()
        moment[0] += timedelta(days=1)
        await counted.save()
        assert counted.spent("tickets", "day") == 0
        assert counted.paused_reason("tickets") is None


async def test_a_file_that_cannot_be_written_is_an_error_that_names_the_setting(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"claude\.state_dir"):
        async with Database(tmp_path / "file" / "x", spending.SCHEMA, setting="claude.state_dir"):
            pass
