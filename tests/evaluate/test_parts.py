"""Parts of a labelled file are disjoint, whole, and stay what they are."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluate.proposal import Part, part_of, split


@given(st.sets(st.text(max_size=20), max_size=50))
def test_every_event_is_in_exactly_one_part(ids: set[str]) -> None:
    parts = split(ids, lambda each: each)
    assert sorted(each for part in parts.values() for each in part) == sorted(ids)


@given(st.lists(st.text(max_size=20), unique=True, max_size=50), st.text())
def test_a_file_that_grows_moves_nothing(ids: list[str], another: str) -> None:
    before = {each: part_of(each) for each in ids}
    after = split([*ids, another], lambda each: each)
    assert all(each in after[part] for each, part in before.items())


def test_parts_have_about_their_shares() -> None:
    parts = split([f"T-{number}" for number in range(10_000)], lambda each: each)
    shares = {part: len(found) / 10_000 for part, found in parts.items()}
    assert abs(shares[Part.FIT] - 0.2) < 0.02
    assert abs(shares[Part.THRESHOLD] - 0.5) < 0.02
    assert abs(shares[Part.REPORT] - 0.3) < 0.02
