"""A clock that is a day off, and right again: budgets go by it, and nothing breaks."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path

import pytest

from pipeline.claude.billing import BUDGET_SCHEMA, Budget
from pipeline.claude.failures import LONGEST_RETRY_AFTER, retry_after
from pipeline.runtime.database import Database

NOON = datetime(2026, 11, 30, 12, 30, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize("off", [DAY, -DAY])
async def test_what_was_spent_counts_again_when_the_clock_is_right_again(
    tmp_path: Path, off: timedelta
) -> None:
    now = NOON
    budget = Budget({"day": Decimal(10)}, {}, now=lambda: now)
    path = tmp_path / "spending.sqlite3"
    async with Database(path, BUDGET_SCHEMA, setting="claude.state_dir") as file:
        await budget.keep_in(file)
        budget.add("tickets", Decimal(10))
        await budget.save()
        assert 0 < budget.wait("tickets") <= DAY.total_seconds()
        now = NOON + off
        budget.add("tickets", Decimal(1))
        await budget.save()
        assert 0 <= budget.wait("tickets") <= DAY.total_seconds()
        now = NOON
        await budget.save()
        assert 0 < budget.wait("tickets") <= DAY.total_seconds()
        assert budget.spent("tickets", "day") >= 10


@pytest.mark.parametrize("off", [DAY, -DAY])
def test_a_time_to_retry_at_is_waited_for_within_bounds(off: timedelta) -> None:
    headers = {"retry-after": format_datetime(NOON, usegmt=True)}
    seconds = retry_after(headers, NOON + off)
    assert seconds is not None
    assert 0 <= seconds <= LONGEST_RETRY_AFTER
