"""Calls that gave no usable answer: whether to repeat them, and the signal that they are."""

from pipeline.errors import (
    AnswerError,
    CutOff,
    FileUnavailable,
    Malformed,
    NoRoom,
    Refused,
    Unanswered,
)
from pipeline.signals import Signal

TROUBLES = frozenset({"call_failed", "file_unavailable"})
"""The codes of events that failed again and again while others did not."""
FAILURES = frozenset({"refused", "cut_off", "malformed"}) | TROUBLES
"""The codes of an answer that never came."""

MAX_ATTEMPTS = 2
LARGEST_LIMIT = 20_000
"""Output tokens. Above about 21,000 a request needs streaming."""


def limit_for_repetition(failure: AnswerError, *, attempt: int, limit: int) -> int | None:
    """Decide whether the same question is worth another call to the same model.

    Args:
        failure: What the last call came to.
        attempt: Calls made so far, from 1.
        limit: Output tokens that the last call was allowed.

    Returns:
        The output limit of the next call; None where there is to be none. An answer that was cut
        off gets twice the room, once, unless the context itself was full. A malformed one is asked
        for once more. A refusal is final: the same request would be refused again. What was tried
        again and again already is, too.
    """
    if attempt >= MAX_ATTEMPTS:
        return None
    match failure:
        case NoRoom():
            return None
        case CutOff() if limit < LARGEST_LIMIT:
            return min(2 * limit, LARGEST_LIMIT)
        case Malformed():
            return limit
        case _:
            return None


def signal_of(failure: AnswerError) -> Signal:
    """The signal that there is no answer, and why."""
    match failure:
        case Refused():
            return Signal("refused", 1.0, failure.detail)
        case CutOff():
            return Signal("cut_off", 1.0, failure.detail)
        case Unanswered():
            return Signal("call_failed", 1.0, failure.detail)
        case FileUnavailable():
            return Signal("file_unavailable", 1.0, failure.detail)
        case _:
            return Signal("malformed", 1.0, failure.detail)
