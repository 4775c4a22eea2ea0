"""Repeated calls are held against what each fault endangered, and no more is excused."""

from dataclasses import replace

from tests.faults.exposure import Call, Exposure, Fault, Kind, Question, exposures, repetitions


def call(event: str, caller: str, began: float, *, tier: str = "haiku") -> Call:
    return Call(Question(event, tier, f"{tier}-{event}"), caller, began, began + 0.2)


def kill(caller: str, at: float) -> Fault:
    return Fault(Kind.KILL, "replica 0", caller, at)


def events(exposure: Exposure) -> set[str]:
    return {each.question.event for each in exposure.uncommitted}


def test_a_kill_endangers_what_its_process_asked_and_had_not_committed() -> None:
    calls = [call("a", "r", 1.0), call("b", "r", 1.1), call("c", "other", 1.2)]
    written = {("a", "haiku", 0): 1.5, ("b", "haiku", 0): 9.0, ("c", "haiku", 0): 9.0}
    [exposure] = exposures([kill("r", 2.0)], calls, written)
    assert events(exposure) == {"b"}


def test_what_was_never_written_is_uncommitted() -> None:
    [exposure] = exposures([kill("r", 2.0)], [call("a", "r", 1.0)], {})
    assert events(exposure) == {"a"}


def test_the_hops_of_an_event_are_written_at_times_of_their_own() -> None:
    calls = [call("a", "r", 1.0), call("a", "r", 1.8, tier="sonnet")]
    written = {("a", "haiku", 0): 1.5, ("a", "sonnet", 0): 9.0}
    [exposure] = exposures([kill("r", 2.0)], calls, written)
    assert {each.question.tier for each in exposure.uncommitted} == {"sonnet"}


def test_what_a_killed_process_had_sent_counts_even_if_it_arrived_later() -> None:
    [exposure] = exposures([kill("r", 2.0)], [call("a", "r", 2.1)], {("a", "haiku", 0): 9.0})
    assert events(exposure) == {"a"}


def test_the_end_of_a_broker_endangers_what_anybody_had_asked_by_then() -> None:
    calls = [call("a", "r", 1.0), call("b", "other", 1.0), call("c", "r", 2.5)]
    [exposure] = exposures([Fault(Kind.BROKER_KILL, "node 1", None, 2.0)], calls, {})
    assert events(exposure) == {"a", "b"}


def test_a_frozen_process_asks_in_vain_until_it_must_have_noticed() -> None:
    frozen = Fault(Kind.STOP, "replica 0", "r", 2.0, woke=10.0, noticed=12.0)
    others = [call("b", "s", 4.0), call("c", "s", 4.0)]
    own = [call("a", "r", 1.0), call("b", "r", 10.5), call("c", "r", 13.0), call("d", "r", 10.5)]
    written = {
        ("a", "haiku", 0): 1.5,
        ("b", "haiku", 0): 5.0,
        ("c", "haiku", 0): 5.0,
        ("d", "haiku", 0): 11.0,
    }
    [exposure] = exposures([frozen], [*others, *own], written)
    assert not exposure.uncommitted
    assert {each.question.event for each in exposure.in_vain} == {"b"}


def test_no_more_may_be_repeated_than_was_endangered() -> None:
    calls = [call("a", "r", 1.0), call("a", "s", 3.0), call("b", "r", 1.0), call("b", "s", 3.0)]
    written = {("a", "haiku", 0): 4.0, ("b", "haiku", 0): 1.5}
    found = repetitions(calls, exposures([kill("r", 2.0)], calls, written))
    assert (found.made, found.repeated, found.bound) == (4, 2, 1)
    assert found.unexplained == ("b (haiku)",)
    assert not found.ok


def test_what_one_fault_endangered_excuses_no_repetition_of_something_else() -> None:
    calls = [call("a", "r", 1.0), call("b", "r", 1.0), call("c", "s", 1.0), call("c", "s", 3.0)]
    found = repetitions(calls, exposures([kill("r", 2.0)], calls, {("c", "haiku", 0): 4.0}))
    assert found.repeated < found.bound
    assert found.unexplained == ("c (haiku)",)
    assert not found.ok


def test_one_fault_excuses_one_repetition_of_a_question() -> None:
    calls = [call("a", "r", 1.0), call("a", "s", 3.0), call("a", "t", 5.0)]
    found = repetitions(calls, exposures([kill("r", 2.0)], calls, {("a", "haiku", 0): 6.0}))
    assert found.unexplained == ("a (haiku)",)


def test_ends_of_brokers_explain_repetitions_but_do_not_widen_the_bound() -> None:
    calls = [call("a", "r", 1.0), call("a", "s", 3.0)]
    broker = Fault(Kind.BROKER_STOP, "node 1", None, 2.0)
    found = repetitions(calls, exposures([broker], calls, {("a", "haiku", 0): 4.0}))
    assert not found.unexplained
    assert (found.repeated, found.bound) == (1, 0)
    assert not found.ok


def test_without_faults_nothing_may_be_repeated() -> None:
    once = [call("a", "r", 1.0), call("a", "r", 1.5, tier="sonnet")]
    assert repetitions(once, []).ok
    assert not repetitions([*once, call("a", "r", 2.0)], []).ok


def test_what_was_written_before_a_move_of_the_group_is_asked_for_again_after_it() -> None:
    later = replace(kill("r", 9.0), epoch=1)
    calls = [call("a", "r", 8.9)]
    written = {("a", "haiku", 0): 1.0}
    [exposure] = exposures([later], calls, written)
    assert events(exposure) == {"a"}


def test_a_call_for_each_outcome_that_a_move_asked_for_is_no_repetition() -> None:
    calls = [call("a", "r", 1.0), call("a", "s", 3.0), call("a", "t", 5.0)]
    found = repetitions(calls, [], {("a", "haiku"): 2})
    assert (found.repeated, found.unexplained) == (1, ("a (haiku)",))
    assert repetitions(calls, [], {("a", "haiku"): 3}).ok


def test_no_more_may_be_repeated_than_was_in_flight_or_has_just_been_answered() -> None:
    calls = [call("a", "r", 1.0), call("b", "r", 1.6), call("a", "s", 3.0), call("b", "s", 3.0)]
    exposed = exposures([kill("r", 2.0)], calls, {})
    found = repetitions(calls, exposed)
    assert (found.repeated, found.bound, found.recent) == (2, 2, 1)
    assert not found.unexplained
    assert not found.ok
    assert repetitions(calls[1:2] + calls[3:], exposed).ok


def test_what_could_not_be_committed_while_a_broker_was_away_counts_as_just_answered() -> None:
    calls = [call("a", "r", 0.1), call("b", "r", 1.0), call("c", "r", 1.1)]
    written = {("c", "haiku", 0): 1.5}
    broker = Fault(Kind.BROKER_KILL, "node 1", None, 1.1, away=(1.0, 4.0))
    apart = replace(broker, at=3.1, away=(3.0, 4.0))
    [exposure, _] = exposures([kill("r", 2.0), broker], calls, written)
    assert {each.question.event for each in exposure.recent} == {"b"}
    [exposure, _] = exposures([kill("r", 2.0), apart], calls, written)
    assert not exposure.recent


def test_brokers_that_are_away_one_after_the_other_are_away_from_the_first_on() -> None:
    calls = [call("a", "r", 1.0), call("b", "r", 0.3)]
    away = [(1.0, 3.0), (3.1, 5.0)]
    brokers = [Fault(Kind.LEADERS, "node 1", None, end, away=(begin, end)) for begin, end in away]
    [exposure, *_] = exposures([kill("r", 4.0), *brokers], calls, {})
    assert {each.question.event for each in exposure.recent} == {"a"}
