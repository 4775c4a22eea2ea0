"""A clock that is a day off, and right again: budgets go by it, and nothing breaks."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime

import pytest

from pipeline.claude.budget import Budget
from pipeline.claude.failures import LONGEST_RETRY_AFTER, retry_after

NOON = datetime(2026, 11, 30, 12, 30, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize("off", [DAY, -DAY])
@pytest.mark.parametrize("by", ["itself", "another"])
def test_what_was_spent_counts_again_when_the_clock_is_right_again(off: timedelta, by: str) -> None:
    now, call = NOON, Decimal("0.01")
    budget = Budget({"day": Decimal(10)}, {}, now=lambda: now)
    if by == "itself":
        budget.add("tickets", Decimal(10))
    else:
        budget.read_other("another", NOON.replace(minute=0), {"tickets": Decimal(10)})
    assert 0 < budget.wait("tickets", call) <= DAY.total_seconds()
    now = NOON + off
    assert budget.wait("tickets", call) == 0
    budget.add("tickets", Decimal(1))
    assert budget.spent("tickets", "day") == 1
    now = NOON
    assert 0 < budget.wait("tickets", call) <= DAY.total_seconds()
    assert budget.spent("tickets", "day") == 10


@pytest.mark.parametrize("off", [DAY, -DAY])
def test_a_time_to_retry_at_is_waited_for_within_bounds(off: timedelta) -> None:
    headers = {"retry-after": format_datetime(NOON, usegmt=True)}
    seconds = retry_after(headers, NOON + off)
    assert seconds is not None
    assert 0 <= seconds <= LONGEST_RETRY_AFTER
