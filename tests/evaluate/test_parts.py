"""Parts of a labelled file have their shares; that each event has one follows from `part_of`."""

from collections import Counter

from pipeline.evaluate.proposal import Part, part_of


def test_parts_have_about_their_shares() -> None:
    parts = Counter(part_of(f"T-{number}") for number in range(10_000))
    assert abs(parts[Part.FIT] / 10_000 - 0.2) < 0.02
    assert abs(parts[Part.THRESHOLD] / 10_000 - 0.5) < 0.02
    assert abs(parts[Part.REPORT] / 10_000 - 0.3) < 0.02


def test_an_event_stays_in_its_part_whatever_its_id() -> None:
    known = {"T-1": Part.THRESHOLD, "": Part.REPORT, "\udcff": Part.REPORT}
    assert {each: part_of(each) for each in known} == known
