"""Hostile records come in all kinds, and each is held to its one end."""

from itertools import islice

from tests.faults.poison import (
    HEADER,
    KINDS,
    Hostile,
    Place,
    delivered,
    hostile_records,
    judge,
    sources,
)
from tests.faults.reading import Record

AT: Place = ("tickets.raw", 0, 3)
TICKET = Hostile("zalgo", "tickets.raw", b"{}", key=b"k")


def test_a_round_has_one_record_of_every_kind_and_the_next_has_others_of_the_same() -> None:
    records = hostile_records()
    first, second = (list(islice(records, KINDS)) for _ in range(2))
    assert [each.kind for each in first] == [each.kind for each in second]
    assert len({(each.kind, each.topic) for each in first}) == KINDS
    assert not {each.key for each in first if each.key} & {each.key for each in second}


def test_one_end_each_is_right() -> None:
    assert judge({AT: TICKET}, [(AT, "dead_letter")]).wrong == ()


def test_no_end_and_two_ends_are_wrong() -> None:
    assert len(judge({AT: TICKET}, []).wrong) == 1
    assert len(judge({AT: TICKET}, [(AT, "review"), (AT, "dead_letter")]).wrong) == 1


def test_a_tombstone_must_have_no_end() -> None:
    tombstone = Hostile("tombstone", "tickets.raw", None, ends=0)
    assert judge({AT: tombstone}, []).wrong == ()
    assert judge({AT: tombstone}, [(AT, "dead_letter")]).wrong


def test_an_escalation_is_known_by_its_place_and_by_the_source_that_it_claims() -> None:
    [escalation] = [
        each for each in islice(hostile_records(), KINDS) if each.kind == "escalation_cost"
    ]
    at = ("escalations", 2, 5)
    known = sources({at: escalation})
    assert known.pop(at) == at
    assert list(known.values()) == [at]


def test_hostile_records_are_known_by_their_header_and_tombstones_have_no_end() -> None:
    records = [
        Record("tickets.raw", 0, 3, 1.0, "k", b"{}", {HEADER: b"zalgo"}),
        Record("tickets.raw", 0, 4, 1.0, "k", b"", {HEADER: b"tombstone"}),
        Record("tickets.raw", 0, 5, 1.0, "k", b"{}", {}),
    ]
    found = delivered(records)
    assert {place[2]: each.ends for place, each in found.items()} == {3: 1, 4: 0}
