"""When intake closes, what it says, and what opens it again."""

from pipeline.model.records import DeadLetterReason
from pipeline.stream.dead_letter_breaker import (
    PROBE_EVENTS,
    PROBE_FIRST_SECONDS,
    DeadLetterBreaker,
)
from pipeline.stream.intake import Intake
from pipeline.stream.records import Disposition, Outcome, Outgoing
from tests.stream.workbench import Gate, Notes

STAGE_FAILED = DeadLetterReason.STAGE_FAILED


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(gate: Gate, notes: Notes, clock: Clock) -> Intake:
    return Intake("tickets", gate, DeadLetterBreaker(200, 0.5, clock=clock), notes)


def may_take(intake: Intake) -> bool:
    return intake.room() != 0


def ended(intake: Intake, keys: int, reason: DeadLetterReason | None = None) -> None:
    for number in range(keys):
        end = Disposition.ENRICHED if reason is None else Disposition.DEAD_LETTER
        records = (Outgoing("out", b"%d" % number, b"", ()),)
        intake.completed(Outcome(end, records, reason), 0.1)


def test_the_gate_closes_it_and_opens_it_again_and_each_change_is_reported_once() -> None:
    gate, notes = Gate(), Notes()
    intake = opened(gate, notes, Clock())
    assert may_take(intake)
    gate.reason = "the budget is used up"
    assert not may_take(intake)
    assert not may_take(intake)
    gate.reason = None
    assert may_take(intake)
    assert notes.closed == ["the budget is used up", None]


def test_dead_letters_close_it_and_say_what_to_do_and_good_ends_open_it() -> None:
    notes, clock = Notes(), Clock()
    intake = opened(Gate(), notes, clock)
    ended(intake, 10, STAGE_FAILED)
    assert may_take(intake)
    ended(intake, 11, STAGE_FAILED)
    assert intake.room() == 0
    [because] = notes.closed
    assert because is not None
    assert "became dead letters" in because
    assert "pipeline dead-letters list" in because

    clock.now += PROBE_FIRST_SECONDS
    assert intake.room() == PROBE_EVENTS  # a few are let through, and yet it is not open
    intake.took(PROBE_EVENTS)
    assert not may_take(intake)
    assert notes.closed == [because]
    ended(intake, PROBE_EVENTS)
    assert intake.room() is None
    assert notes.closed == [because, None]


def test_nothing_is_let_through_while_the_gate_is_closed() -> None:
    gate, notes, clock = Gate(), Notes(), Clock()
    intake = opened(gate, notes, clock)
    ended(intake, 11, STAGE_FAILED)
    intake.room()
    gate.reason = "the budget is used up"
    clock.now += PROBE_FIRST_SECONDS
    assert not may_take(intake)
