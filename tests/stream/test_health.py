"""What counts as stuck, and what does not."""

import pytest

from pipeline.stream.health import PartitionSigns, Signs, why_not_polling, why_stuck

AFTER = 100.0
IDLE = PartitionSigns(
    since_progress=1000, since_asked=0, unread=0, in_flight=0, uncommitted=0
)  # fmt: skip


def signs(*partitions: PartitionSigns, since_poll: float = 0) -> Signs:
    return Signs(rebalancing=None, since_poll=since_poll, partitions=partitions)


def partition(**changes: float) -> PartitionSigns:
    shown = {
        "since_progress": 1000.0,
        "since_asked": 0.0,
        "unread": 0,
        "in_flight": 0,
        "uncommitted": 0,
    }
    return PartitionSigns(**{**shown, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shown", "because"),
    [
        (Signs(rebalancing=101, since_poll=0), "no partitions were assigned for 101 s"),
        (signs(since_poll=101), "no poll came back for 101 s"),
        (signs(IDLE, partition(unread=5)), "5 records did not come in for 1000 s"),
        (signs(partition(uncommitted=3, in_flight=3)), "3 results were not committed for 1000 s"),
    ],
)
def test_it_is_stuck(shown: Signs, because: str) -> None:
    assert why_stuck(shown, AFTER) == because


@pytest.mark.parametrize(
    "shown",
    [
        signs(),
        signs(IDLE),
        Signs(rebalancing=99, since_poll=1000),
        signs(partition(since_progress=99, unread=5)),
        # It was not asked: the flow gates, or the intake, were closed.
        signs(partition(since_asked=1000, unread=5)),
        # Calls may take as long as they want.
        signs(partition(in_flight=5, unread=5)),
    ],
)
def test_it_is_not_stuck(shown: Signs) -> None:
    assert why_stuck(shown, AFTER) is None


def test_it_is_not_ready_long_before_it_is_stuck() -> None:
    assert why_not_polling(signs(since_poll=31)) == "the last poll was 31 s ago"
    rebalancing = Signs(rebalancing=31, since_poll=31)
    assert why_not_polling(rebalancing) == "no partitions have been assigned for 31 s"


def test_a_rebalance_of_usual_length_leaves_it_ready() -> None:
    assert why_not_polling(Signs(rebalancing=10, since_poll=10)) is None
    assert why_not_polling(signs(since_poll=10)) is None
