"""What is learnt from calls: estimates, time-outs, windows, pauses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.failures import Backoff
from pipeline.claude.limiter import FIRST_WINDOW, Window
from pipeline.claude.prompts import LEAST_SECONDS, Prompt, content_weight
from pipeline.claude.request_body import Template
from pipeline.model.questions import Image, Pdf, Text
from pipeline.model.records import Usage

TEMPLATE = Template("claude-haiku-5-5", "Sort it.", {"type": "object"})


def prompt(most_seconds: float = 60) -> Prompt:
    return Prompt("tickets", TEMPLATE, {}, most_seconds=most_seconds)


def learn(
    of: Prompt, seconds: float = 1, *, weight: int = 500, tokens: int = 200, output: int = 40
) -> None:
    usage = Usage(input_tokens=tokens, output_tokens=output, cache_read_tokens=700)
    of.learn(weight, usage, started=0, seconds=seconds)


def test_the_static_part_is_counted_until_it_is_seen_cached() -> None:
    of = prompt()
    whole = 500 + TEMPLATE.static_bytes
    assert of.estimate(500, 256).input_tokens == pytest.approx(0.4 * whole)
    learn(of)
    assert of.estimate(500, 256).input_tokens == pytest.approx(200)


def test_estimates_come_to_what_is_used_and_scale_with_the_content() -> None:
    of = prompt()
    for _ in range(300):
        learn(of, weight=1000, tokens=300, output=60)
    cost = of.estimate(2000, 1000)
    assert cost.input_tokens == pytest.approx(600, rel=0.01)
    assert cost.output_tokens == pytest.approx(60, rel=0.01)


def test_an_answer_is_never_estimated_longer_than_it_may_be() -> None:
    assert prompt().estimate(100, 16).output_tokens == 16


def test_files_weigh_what_the_model_makes_of_them_not_what_they_are_as_bytes() -> None:
    small, large = Image("image/png", b"1" * 1000), Image("image/png", b"1" * 1_000_000)
    assert content_weight((small,)) == content_weight((large,))
    assert (
        content_weight((Pdf(b"1" * 500_000),))
        > content_weight((Pdf(b"1" * 1000),))
        > content_weight((Text("a", "b"),))
    )


def test_a_timeout_is_the_setting_until_enough_is_known() -> None:
    of = prompt(60)
    for _ in range(10):
        learn(of, 0.5)
    assert of.time_limit() == 60


def test_a_timeout_is_learnt_far_above_what_was_measured() -> None:
    of = prompt(600)
    for index in range(200):
        learn(of, 8.0 if index % 2 else 12.0)
    assert 20 < of.time_limit() < 60


def test_a_fast_stage_is_not_cut_short_at_its_first_slow_answer() -> None:
    of = prompt(60)
    for _ in range(200):
        learn(of, 0.3)
    assert of.time_limit() == LEAST_SECONDS


def test_timeouts_that_were_hit_double_the_limit_up_to_the_setting() -> None:
    of = prompt(60)
    for _ in range(200):
        learn(of, 0.3)
    of.timed_out()
    assert of.time_limit() == 2 * LEAST_SECONDS
    for _ in range(50):
        of.timed_out()
    assert of.time_limit() == 60


@given(st.lists(st.floats(0, 1e6) | st.none(), max_size=100))
def test_a_timeout_stays_between_its_bounds(ends: list[float | None]) -> None:
    of = prompt(60)
    for end in ends:
        of.timed_out() if end is None else learn(of, end)
        assert LEAST_SECONDS <= of.time_limit() <= 60


def test_the_window_doubles_with_each_round_of_answers() -> None:
    window = Window(256)
    rounds = 0
    while window.size < 256:
        for _ in range(window.size):
            window.succeeded(window.size)
        rounds += 1
    assert rounds == 5


def test_a_window_that_is_not_used_does_not_grow() -> None:
    window = Window(256)
    for _ in range(100):
        window.succeeded(1)
    assert window.size == FIRST_WINDOW


def test_growing_too_fast_halves_the_window_and_slows_it() -> None:
    window = Window(256)
    for _ in range(300):
        window.succeeded(window.size)
    window.ramped()
    assert window.size == 128
    for _ in range(128):
        window.succeeded(window.size)
    assert window.size in {128, 129}


def test_after_an_outage_the_window_starts_small_and_recovers_in_a_few_rounds() -> None:
    window = Window(256)
    for _ in range(300):
        window.succeeded(window.size)
    window.recovered()
    assert window.size == 64


@given(st.lists(st.sampled_from(["ok", "ramped", "recovered"]), max_size=300), st.integers(1, 99))
def test_a_window_is_always_open_and_never_larger_than_the_setting(
    ends: list[str], most: int
) -> None:
    window = Window(most)
    for end in ends:
        match end:
            case "ok":
                window.succeeded(window.size)
            case "ramped":
                window.ramped()
            case _:
                window.recovered()
        assert 1 <= window.size <= most


@given(st.integers(1, 10_000), st.floats(0, 1), st.none() | st.floats(0, 100))
def test_a_pause_grows_to_its_ceiling_and_is_never_shorter_than_asked(
    attempt: int, jitter: float, asked: float | None
) -> None:
    seconds = Backoff(0.5, 30, lambda: jitter).seconds(attempt, asked=asked)
    assert 0.25 <= seconds <= max(30, asked or 0)
    assert asked is None or seconds >= asked


def test_pauses_double() -> None:
    backoff = Backoff(0.5, 30, lambda: 1)
    assert [backoff.seconds(n) for n in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
