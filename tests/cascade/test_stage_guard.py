"""What a hostile event raises through a stage costs that event; a person's Ctrl-C does not."""

import asyncio
import decimal
import sys

import pytest

from pipeline.cascade.reading import of_stage
from pipeline.model.errors import InvalidEvent, Unavailable
from pipeline.model.records import DeadLetterReason


class Panic(BaseException):
    """What a library in Rust raises when it panics: none of `Exception`."""


def deep(level: int = 0) -> int:
    return deep(level + 1) + 1


def raising(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        RecursionError(),
        MemoryError(),
        OverflowError(),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"),
        decimal.InvalidOperation(),
        decimal.Overflow(),
        StopIteration(),
        SystemExit(3),
        GeneratorExit(),
        asyncio.CancelledError(),
        Panic("the event, quoted"),
        BaseExceptionGroup("several", [Panic(), ValueError()]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_it_costs_the_event(error: BaseException) -> None:
    with pytest.raises(InvalidEvent) as caught:
        of_stage("notes", raising, error)
    assert caught.value.reason is DeadLetterReason.STAGE_FAILED
    assert type(error).__name__ in caught.value.detail
    assert "quoted" not in caught.value.detail


def test_a_recursion_without_an_end_costs_the_event() -> None:
    with pytest.raises(InvalidEvent, match="RecursionError"):
        of_stage("notes", deep)


async def test_a_library_that_ends_the_process_from_a_thread_costs_the_event() -> None:
    with pytest.raises(InvalidEvent, match="SystemExit"):
        await asyncio.to_thread(of_stage, "notes", sys.exit, 1)


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("The store does not answer."),
        InvalidEvent(DeadLetterReason.BAD_PDF, "no pages"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_stage_means_to_say_and_what_a_person_wants_pass(error: BaseException) -> None:
    with pytest.raises(type(error)):
        of_stage("notes", raising, error)
