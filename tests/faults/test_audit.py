"""The audit notices each thing that can go wrong, and nothing where all is well."""

from tests.faults.audit import End, Ended, Hop, Move, Published, audit


def sent(*events: str, key: str = "k") -> list[Published]:
    return [Published(event, key, (0, "abcdefgh".index(event))) for event in events]


def came(
    *events: str,
    end: End = End.ENRICHED,
    escalated: bool = False,
    key: str = "k",
    partition: int = 0,
    first: int = 0,
    epoch: int = 0,
) -> list[Ended]:
    return [
        Ended(event, (0, "abcdefgh".find(event)), end, escalated, key, partition, offset, epoch)
        for offset, event in enumerate(events, first)
    ]


def test_nothing_is_found_where_each_event_came_out_once_and_in_order() -> None:
    findings = audit(sent("a", "b", "c"), [], came("a", "b", "c"))
    assert findings.ok
    assert findings.ends == {"enriched": 3}


def test_a_run_without_events_proves_nothing() -> None:
    assert not audit([], [], []).ok


def test_an_event_that_ended_nowhere_is_lost() -> None:
    findings = audit(sent("a", "b", "c"), [], came("a", "c"))
    assert findings.lost == ("b",)
    assert not findings.ok


def test_an_event_that_was_escalated_and_then_ended_nowhere_is_lost() -> None:
    assert audit(sent("a", "b"), [Hop((0, 1))], came("a")).lost == ("b",)


def test_an_event_that_ended_twice_is_duplicated() -> None:
    findings = audit(sent("a", "b"), [], came("a", "b", "b"))
    assert findings.duplicated == ("b",)
    assert not findings.ok


def test_two_different_ends_of_one_event_are_a_duplicate() -> None:
    ended = [*came("a", "b"), *came("a", end=End.REVIEW, escalated=True)]
    assert audit(sent("a", "b"), [Hop((0, 0))], ended).duplicated == ("a",)


def test_an_event_that_was_escalated_twice_is_duplicated() -> None:
    findings = audit(sent("a"), [Hop((0, 0)), Hop((0, 0))], came("a", escalated=True))
    assert findings.duplicated == ("a",)


def test_an_event_that_came_out_before_an_earlier_one_of_its_key_is_out_of_order() -> None:
    findings = audit(sent("a", "b", "c"), [], came("b", "a", "c"))
    assert findings.out_of_order == ("a",)
    assert not findings.ok


def test_events_of_different_keys_have_no_order() -> None:
    published = [*sent("a", key="k"), *sent("b", key="l")]
    assert audit(published, [], [*came("b", key="l"), *came("a", key="k", first=1)]).ok


def test_an_escalated_event_may_come_out_after_a_later_one_of_its_key() -> None:
    ended = [*came("b", "c"), *came("a", escalated=True, first=2)]
    assert audit(sent("a", "b", "c"), [Hop((0, 0))], ended).ok


def test_order_is_that_of_the_output_partition_not_of_reading() -> None:
    assert audit(sent("a", "b"), [], list(reversed(came("a", "b")))).ok


def test_a_key_that_comes_out_on_two_partitions_has_lost_its_order() -> None:
    ended = [*came("a"), *came("b", partition=1)]
    assert audit(sent("a", "b"), [], ended).out_of_order == ("b",)


def test_a_dead_letter_is_a_fault_for_no_event_was_at_fault() -> None:
    ended = [*came("a"), *came("b", end=End.DEAD_LETTER)]
    findings = audit(sent("a", "b"), [], ended)
    assert findings.dead_lettered == ("b",)
    assert findings.lost == ()
    assert not findings.ok


def test_a_record_of_no_published_event_is_foreign() -> None:
    findings = audit(sent("a"), [Hop((0, 7))], came("a", "y"))
    assert findings.foreign == ("escalation of (0, 7)", "y")
    assert not findings.ok


def test_a_record_with_another_key_than_its_event_is_foreign() -> None:
    assert audit(sent("a"), [], came("a", key="other")).foreign == ("a",)


def test_a_record_with_another_id_than_its_event_is_foreign() -> None:
    ended = Ended("b", (0, 0), End.ENRICHED, False, "k", 0, 0)
    assert audit(sent("a"), [], [ended]).foreign == ("b",)


def test_what_the_publisher_sent_twice_are_two_events_for_the_pipeline() -> None:
    published = [Published("a", "k", (0, 0)), Published("a", "k", (0, 1))]
    ended = [Ended("a", (0, at), End.ENRICHED, False, "k", 0, at) for at in (0, 1)]
    findings = audit(published, [], ended)
    assert findings.ok
    assert findings.published_twice == ("a",)
    assert audit(published, [], ended[:1]).lost == ("a",)
    assert audit(published, [], [ended[0], *ended]).duplicated == ("a",)


def moved(*to: int) -> list[Move]:
    return [Move("moved", {0: offset}, {}) for offset in to]


def test_what_a_move_asks_for_comes_once_more_in_an_order_of_its_own() -> None:
    ended = [*came("a", "b", "c"), *came("b", "c", first=3, epoch=1)]
    findings = audit(sent("a", "b", "c"), [], ended, moved(1))
    assert findings.ok
    assert (findings.again, findings.skipped) == (2, 0)


def test_what_a_move_asks_for_and_does_not_come_again_is_lost() -> None:
    ended = [*came("a", "b", "c"), *came("c", first=3, epoch=1)]
    assert audit(sent("a", "b", "c"), [], ended, moved(1)).lost == ("b",)


def test_what_was_done_below_a_move_and_comes_again_is_duplicated() -> None:
    ended = [*came("a", "b"), *came("a", "b", first=2, epoch=1)]
    assert audit(sent("a", "b"), [], ended, moved(1)).duplicated == ("a",)


def test_what_a_move_asks_for_and_comes_twice_after_it_is_duplicated() -> None:
    ended = [*came("a"), *came("a", "a", first=1, epoch=1)]
    assert audit(sent("a"), [], ended, moved(0)).duplicated == ("a",)


def test_what_was_not_done_below_a_move_is_skipped_until_another_one_asks_for_it() -> None:
    ended = [*came("a"), *came("c", first=1, epoch=1)]
    findings = audit(sent("a", "b", "c"), [], ended, moved(2))
    assert findings.ok
    assert (findings.again, findings.skipped) == (0, 1)
    assert audit(sent("a", "b", "c"), [], ended, moved(2, 1)).lost == ("b", "c")
    ended += came("b", "c", first=2, epoch=2)
    findings = audit(sent("a", "b", "c"), [], ended, moved(2, 1))
    assert findings.ok
    assert (findings.again, findings.skipped) == (1, 0)


def test_what_came_while_it_was_skipped_is_duplicated() -> None:
    ended = [*came("a"), *came("b", first=1, epoch=1)]
    assert audit(sent("a", "b"), [], ended, moved(2)).duplicated == ("b",)


def test_a_partition_that_was_not_moved_goes_on() -> None:
    moves = [Move("moved", {1: 0}, {})]
    assert audit(sent("a", "b"), [], [*came("a"), *came("b", first=1, epoch=1)], moves).ok
    assert audit(sent("a"), [], [*came("a"), *came("a", first=1, epoch=1)], moves).duplicated


def test_order_holds_between_two_moves() -> None:
    ended = [*came("a", "b"), *came("b", "a", first=2, epoch=1)]
    assert audit(sent("a", "b"), [], ended, moved(0)).out_of_order == ("a",)


def test_an_escalation_that_a_move_repeats_is_answered_once_more() -> None:
    hops = [Hop((0, 0)), Hop((0, 0), epoch=1)]
    ended = [*came("a", escalated=True), *came("a", escalated=True, first=1, epoch=1)]
    assert audit(sent("a"), hops, ended, moved(0)).ok
    assert audit(sent("a"), hops, ended[:1], moved(0)).lost == ("a",)
    assert audit(sent("a"), hops[:1], ended, moved(1)).duplicated == ("a",)
