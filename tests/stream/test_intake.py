"""When intake closes, what it says, and what opens it again."""

from pipeline.stream.deadletters import DeadLetterRatio
from pipeline.stream.intake import Intake
from pipeline.stream.records import End, Outcome
from tests.stream.workbench import Gate, Notes


def ended(intake: Intake, end: End, count: int) -> None:
    for _ in range(count):
        intake.completed(Outcome(end, ()), 0.1)


def test_the_gate_closes_it_and_opens_it_again_and_each_change_is_told_once() -> None:
    gate, notes = Gate(), Notes()
    intake = Intake("tickets", gate, DeadLetterRatio(10, 0.5), notes)
    assert intake.update()
    gate.reason = "the budget is used up"
    assert not intake.update()
    assert not intake.update()
    gate.reason = None
    assert intake.update()
    assert notes.closed == ["the budget is used up", None]


def test_too_many_dead_letters_close_it_and_say_what_to_do() -> None:
    notes = Notes()
    intake = Intake("tickets", Gate(), DeadLetterRatio(10, 0.5), notes)
    ended(intake, End.DEAD_LETTER, 5)
    assert intake.update()
    ended(intake, End.DEAD_LETTER, 1)
    assert not intake.update()
    [because] = notes.closed
    assert because is not None
    assert because.startswith("6 of the last 10 events became dead letters")
    assert "pipeline dead-letters list" in because
    assert "start this process anew" in because


def test_what_was_under_way_does_not_open_it_again() -> None:
    notes = Notes()
    intake = Intake("tickets", Gate(), DeadLetterRatio(10, 0.5), notes)
    ended(intake, End.DEAD_LETTER, 6)
    intake.update()
    ended(intake, End.ENRICHED, 10)
    assert not intake.update()
    assert len(notes.closed) == 1


def test_a_new_process_begins_with_it_open() -> None:
    ratio = DeadLetterRatio(10, 0.5)
    assert Intake("tickets", Gate(), ratio, Notes()).update()
