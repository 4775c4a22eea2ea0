"""Lists of the newest records, and what is counted beside them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipeline.operators.listing import Listing
from pipeline.operators.selection import Place

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Numbers(Listing[int]):
    what = "numbers"
    headings = ("Number",)
    handled_as, codes_as = "done", "kinds"

    def row(self, line: int) -> Sequence[str]:
        return (str(line),)

    def _sentence(self) -> str:
        return f"{self._counts()}.{self._left_out()}"


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3)), unique=True), st.integers(1, 8))
def test_the_newest_are_kept_in_order(added: list[tuple[int, int]], limit: int) -> None:
    listing = Numbers(limit)
    for index, (offset, partition) in enumerate(added):
        at, place = NOON + timedelta(seconds=offset), Place(partition, offset)
        listing.add(index, at, place, times=0, codes=())
    assert [added[index] for index in listing.lines] == sorted(added)[-limit:]
    assert listing.matching == len(added)


def test_all_that_match_are_counted_and_those_left_out_are_announced() -> None:
    listing = Numbers(2)
    assert listing.summary() == "No numbers match."
    for number in range(5):
        listing.add(number, NOON, Place(0, number), times=number % 2, codes=["odd"] * (number % 2))
    assert listing.document() == {"lines": [3, 4], "matching": 5, "done": 2, "kinds": {"odd": 2}}
    assert listing.summary() == "2 odd. The newest 2 are shown; --limit shows more."


def test_only_those_that_were_handled_or_were_not_match() -> None:
    for wanted, matching in ((True, [1, 3]), (False, [0, 2, 4]), (None, [0, 1, 2, 3, 4])):
        listing = Numbers(9, handled=wanted)
        for number in range(5):
            listing.add(number, NOON, Place(0, number), times=number % 2, codes=())
        assert listing.lines == matching
