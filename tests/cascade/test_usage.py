"""What the answers behind a record cost, summed."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.records import Usage

COUNTS = st.integers(0, 10**9)
USAGES = st.builds(
    Usage,
    calls=COUNTS,
    reused=COUNTS,
    input_tokens=COUNTS,
    cache_read_tokens=COUNTS,
    cache_write_tokens=COUNTS,
    output_tokens=COUNTS,
    cost_usd=st.none() | st.decimals(0, 1000, places=6),
)


@given(st.lists(USAGES), USAGES)
def test_one_unknown_cost_makes_the_total_unknown(usages: list[Usage], other: Usage) -> None:
    unknown = other.model_copy(update={"cost_usd": None})
    assert sum((*usages, unknown), Usage()).cost_usd is None


def test_nothing_costs_nothing() -> None:
    assert sum((), Usage()) == Usage(cost_usd=Decimal(0))
