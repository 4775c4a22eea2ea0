"""No check of any stage keeps the event loop waiting, whatever an event holds.

What is made of a long event is made in a thread, which is no help while it is in one call of C:
the loop waits for that, too. So two things are held to the limit: of a short event everything, in
the sum; of the longest the longest time between two calls. Measured is the CPU time of the thread,
at its best of three runs, so that a busy machine makes no difference.
"""

import gc
import sys
import time
import unicodedata
from collections.abc import Callable
from functools import partial
from itertools import islice
from types import FrameType
from typing import Any

import pytest

from pipeline.cascade.reading import LARGE_BYTES, LONG_CHARS, is_long
from pipeline.stages.api import Rewording
from tests.stages.worst.events import LONGEST, STAGES, answer_to, first_question, raw_event
from tests.stages.worst.texts import TEXTS

MOST = 0.05
"""Seconds that the event loop may be kept waiting."""
LINEAR = 3.0
"""Seconds for the longest event of a stage: a few microseconds a character."""
LOOK = 0.005
RUNS = 3
IN_LONG_CALLS = (
    "combining marks", "ligatures of eighteen", "words, not ascii", "numbers", "one number",
    "blanks of all kinds", "attempts", "backslashes", "entities", "addresses without an end",
    "comments", "calls", "one long parameter", "names with dots",
)  # fmt: skip
"""Of the texts those with which a regular expression or a parser has the most to do."""

each_stage = pytest.mark.parametrize("name", STAGES)
each_text = pytest.mark.parametrize("kind", TEXTS)

Measure = Callable[[Callable[[], Any]], tuple[Any, float]]


def cpu(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and the seconds of CPU that it takes.

    What the collector does with all that other tests have left in this process is not counted.
    """
    gc.disable()
    try:
        begin = time.thread_time()
        returned = call()
        return returned, time.thread_time() - begin
    finally:
        gc.enable()


def longest_call(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and the most seconds of CPU between two calls of functions within."""
    longest, last, looked = 0.0, time.thread_time(), time.perf_counter()

    def measure(frame: FrameType, event: str, arg: object) -> None:
        nonlocal longest, last, looked
        # Looking at the CPU time is slow, so it is looked at each few milliseconds.
        if (now := time.perf_counter()) - looked > LOOK:
            cpu_now, before = time.thread_time(), last
            longest, last, looked = max(longest, cpu_now - before), cpu_now, now

    sys.setprofile(measure)
    try:
        returned = call()
    finally:
        sys.setprofile(None)
    return returned, longest


def every_step(name: str, value: bytes, text: str, measure: Measure) -> dict[str, float]:
    """What each thing takes that is made of an event, by its name."""
    stage = STAGES[name]
    took: dict[str, float] = {}
    event, took["parse"] = measure(lambda: stage.parse(value, key=None, headers={}))
    inquiry, took["question"] = measure(lambda: stage.question(event))
    answer = answer_to(first_question(inquiry), text)
    _, took["signals"] = measure(lambda: stage.signals(event, answer))
    _, took["result"] = measure(lambda: stage.result(event, answer))
    if isinstance(stage, Rewording):
        _, took["second_question"] = measure(lambda: stage.second_question(event))
    return took


def at_best(name: str, text: str, measure: Measure, most: float) -> dict[str, float]:
    """The steps that take more than that in each of three runs, and what they take at best."""
    value = raw_event(name, text)
    best: dict[str, float] = {}
    for _ in range(RUNS):
        took = every_step(name, value, text, measure)
        best = {step: min(seconds, best.get(step, seconds)) for step, seconds in took.items()}
        if max(best.values()) <= most:
            break
    return {step: seconds for step, seconds in best.items() if seconds > most}


@each_stage
def test_a_short_event_is_done_with_before_the_loop_notices(name: str) -> None:
    # A ticket has a part of its text as its subject, too.
    most = (LONG_CHARS - 50) // (2 if name == "tickets" else 1)
    for kind, of_length in TEXTS.items():
        text = of_length(LONG_CHARS)
        text = text[: most // (1 if text.isascii() else 3)]
        assert not is_long(STAGES[name].parse(raw_event(name, text), key=None, headers={})), kind
        assert not at_best(name, text, cpu, MOST), kind


@pytest.mark.parametrize("name", ["tickets", "code"])
@pytest.mark.parametrize("kind", IN_LONG_CALLS)
def test_the_longest_event_lets_others_run_in_between(name: str, kind: str) -> None:
    assert not at_best(name, TEXTS[kind](LONGEST[name]), longest_call, MOST)


@pytest.mark.parametrize("name", ["tickets", "texts"])
@each_text
def test_the_longest_event_takes_time_by_its_length(name: str, kind: str) -> None:
    assert not at_best(name, TEXTS[kind](LONGEST[name]), cpu, LINEAR)


@each_stage
def test_what_is_long_is_read_and_checked_in_a_thread(name: str) -> None:
    long = STAGES[name].parse(raw_event(name, "a" * (LONG_CHARS + 1)), key=None, headers={})
    short = STAGES[name].parse(raw_event(name, "a" * 100), key=None, headers={})
    assert is_long(long)
    assert not is_long(short)
    assert LARGE_BYTES > LONG_CHARS


@pytest.mark.parametrize("field", [b"1", b"1.0e9", b"[1e0]", b'["",1e0]', b"{}", b'"\\u00e9"'])
def test_a_record_of_nothing_but_small_fields_is_read_before_the_loop_notices(field: bytes) -> None:
    names = (b',"%05d":%b' % (number, field) for number in range(LARGE_BYTES))
    fields = islice(names, LARGE_BYTES // len(b',"00000":' + field) - 10)
    value = b'{"id":"1","body":"refund"' + b"".join(fields) + b"}"
    assert LARGE_BYTES - 500 < len(value) < LARGE_BYTES
    parse = partial(STAGES["tickets"].parse, value, key=None, headers={})
    # As soon as it was fast once, it can be: a busy machine makes it slower, and never faster.
    assert any(cpu(parse)[1] < MOST for _ in range(10 * RUNS))


def test_one_long_call_is_noticed() -> None:
    marks = "\u0301\u0323" * 6_000  # as many as took a second and a half when nothing was bounded
    _, seconds = longest_call(lambda: unicodedata.normalize("NFKC", marks))
    assert seconds > MOST
