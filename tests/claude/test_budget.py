import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.claude.billing import BUDGET_SCHEMA, Budget, Caps
from pipeline.model.errors import UsageError
from pipeline.runtime.database import Database

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


def database(path: Path) -> Database:
    return Database(path / "spend.sqlite3", BUDGET_SCHEMA, setting="claude.state_dir")


async def kept(file: Database, now: Callable[[], datetime]) -> Budget:
    counted = budget(now)
    await counted.keep_in(file)
    return counted


async def test_what_was_spent_survives_a_restart(tmp_path: Path) -> None:
    async with database(tmp_path) as file:
        before = await kept(file, Clock())
        before.add("tickets", Decimal("10.00000001"))
        await before.save()
    async with database(tmp_path) as file:
        after = await kept(file, Clock())
        assert after.spent("tickets", "hour") == Decimal("10.00000001")
        assert after.used_up("invoices") is not None
        assert after.wait("tickets") == 1800


async def test_processes_that_share_the_file_share_the_budget(tmp_path: Path) -> None:
    async with database(tmp_path) as one, database(tmp_path) as other:
        first, second = await kept(one, Clock()), await kept(other, Clock())
        first.add("tickets", Decimal(4))
        second.add("tickets", Decimal(6))
        await first.save()
        assert await second.save() == ["tickets"]
        assert second.used_up("tickets") is not None
        assert first.used_up("tickets") is None
        await first.save()
        assert first.used_up("tickets") is not None


async def test_what_is_spent_while_the_file_is_written_is_counted_once(tmp_path: Path) -> None:
    async with database(tmp_path) as file:
        counted = await kept(file, Clock())
        counted.add("tickets", Decimal(1))
        saving = asyncio.create_task(counted.save())
        await asyncio.sleep(0)
        counted.add("tickets", Decimal(2))
        await saving
        assert counted.spent("tickets", "hour") == 3
        await counted.save()
        assert counted.spent("tickets", "hour") == 3
        assert counted.spent("tickets", "day") == 3


async def test_what_all_stages_spend_together_is_counted_after_a_save_as_well(
    tmp_path: Path,
) -> None:
    async with database(tmp_path) as file:
        counted = await kept(file, Clock())
        counted.add("tickets", Decimal(4))
        await counted.save()
        counted.add("invoices", Decimal(5))
        assert counted.used_up("texts") is None
        await counted.save()
        assert counted.used_up("texts") is None
        counted.add("invoices", Decimal(1))
        assert counted.used_up("texts") is not None


async def test_yesterdays_spending_is_not_todays(tmp_path: Path) -> None:
    clock = Clock()
    async with database(tmp_path) as file:
        counted = await kept(file, clock)
        counted.add("tickets", Decimal(30))
        await counted.save()
        clock.now += timedelta(days=1)
        await counted.save()
        assert counted.spent("tickets", "day") == 0
        assert counted.used_up("tickets") is None


async def test_a_file_that_cannot_be_written_is_an_error_that_names_the_setting(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"claude\.state_dir"):
        async with Database(tmp_path / "file" / "x", BUDGET_SCHEMA, setting="claude.state_dir"):
            pass
