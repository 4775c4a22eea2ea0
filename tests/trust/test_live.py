"""Labels that keep coming: bounds that hold at every label, and an alarm where risk has risen."""

import random
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.model.records import Tier
from pipeline.trust.certificate_file import StageCertificate
from pipeline.trust.live import Bound, StageWatch
from pipeline.trust.records import AnswerLabel, SampledAnswer
from tests.trust.examples import NOON, answer, label
from tests.trust.test_issuing import ISSUED, certified, labelled

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def certificate() -> StageCertificate:
    return certified(labelled(80))


def said(
    number: int, *, right: bool, at: timedelta = timedelta(), **changed: object
) -> tuple[SampledAnswer, AnswerLabel]:
    """An answer that was published after the certificate, and a verdict a minute later."""
    when = ISSUED + at + timedelta(seconds=number + 1)
    published = answer(number, published_at=when, **changed)
    return published, label(number, right=right, at=when + timedelta(minutes=1))


def feed(watch: StageWatch, pairs: Iterator[tuple[SampledAnswer, AnswerLabel]]) -> None:
    for published, verdict in pairs:
        watch.answer(published)
        watch.label(verdict)
    watch.settle()


def of(watch: StageWatch, scope: str, chosen: str = "all") -> tuple[int, int, float]:
    [found] = [each for each in watch.shown() if (each.scope, each.label) == (scope, chosen)]
    return found.labels, found.errors, found.upper


def test_right_answers_bring_the_bound_down_and_no_alarm(certificate: StageCertificate) -> None:
    watch = StageWatch("tickets", certificate)
    feed(watch, (said(n, right=True) for n in range(300)))
    labels, errors, upper = of(watch, "haiku")
    assert (labels, errors) == (300, 0)
    assert upper < 0.03
    assert of(watch, "haiku", "billing") == of(watch, "haiku") == of(watch, "stream")
    assert of(watch, "sonnet") == (0, 0, 1.0)
    assert watch.alarm(1, NOON) is None


def test_an_alarm_is_raised_where_many_are_wrong_and_says_of_what(
    certificate: StageCertificate,
) -> None:
    watch = StageWatch("tickets", certificate)
    feed(watch, (said(n, right=n % 4 != 0) for n in range(80)))
    alarm = watch.alarm(3, NOON)
    assert alarm is not None
    assert (alarm.number, alarm.scope, alarm.labels, alarm.errors) == (3, "haiku", 80, 20)
    assert alarm.certificate == certificate.id


def test_after_an_alarm_is_acknowledged_only_answers_of_after_that_count(
    certificate: StageCertificate,
) -> None:
    watch = StageWatch("tickets", certificate)
    feed(watch, (said(n, right=False) for n in range(40)))
    watch.acknowledged(ISSUED + DAY)
    assert watch.alarm(2, NOON) is None
    late = [said(n, right=False) for n in range(100, 140)]
    feed(watch, iter((a, b.model_copy(update={"at": ISSUED + 2 * DAY})) for a, b in late))
    assert of(watch, "haiku")[0] == 0
    feed(watch, (said(n, right=False, at=DAY) for n in range(200, 240)))
    assert watch.alarm(2, NOON) is not None


def test_labels_before_their_answers_and_out_of_order_come_to_the_same(
    certificate: StageCertificate,
) -> None:
    pairs = [said(n, right=n % 9 != 0) for n in range(90)]
    in_order, replayed = (StageWatch("tickets", certificate) for _ in range(2))
    feed(in_order, iter(pairs))
    for _, verdict in random.Random(1).sample(pairs, len(pairs)):
        replayed.label(verdict)
    for published, _ in random.Random(2).sample(pairs, len(pairs)):
        replayed.answer(published)
    assert replayed.settle(most=10)
    replayed.settle()
    assert list(replayed.shown()) == list(in_order.shown())


def test_what_does_not_count(certificate: StageCertificate) -> None:
    watch = StageWatch("tickets", certificate)
    published, verdict = said(1, right=False)
    feed(watch, iter([(published, verdict.model_copy(update={"chance": None}))]))
    assert watch.unweighable == 1
    # Another person on the same answer, the same key on the same day, an answer of the window.
    feed(watch, iter([(published, verdict)]))
    feed(watch, iter([(published, verdict.model_copy(update={"person": "bob"}))]))
    feed(watch, iter([said(2, right=False, whose="key-1")]))
    feed(watch, iter([(answer(3), label(3, right=False, at=ISSUED + DAY))]))
    # A verdict on the answer that was there before this one.
    again, _ = said(4, right=False, at=DAY)
    feed(watch, iter([(again, label(4, right=False, at=ISSUED))]))
    assert of(watch, "haiku")[:2] == (1, 1)
    feed(watch, iter([said(5, right=False, whose="key-1", at=DAY)]))
    assert of(watch, "haiku")[0] == 2


def test_answers_of_the_second_tier_move_its_bound_and_that_of_the_stream(
    certificate: StageCertificate,
) -> None:
    watch = StageWatch("tickets", certificate)
    feed(watch, (said(n, right=True, decided_by=Tier.SONNET) for n in range(30)))
    assert [of(watch, scope)[0] for scope in ("haiku", "sonnet", "stream")] == [0, 30, 30]


def test_answers_that_change_are_seen_without_a_label(certificate: StageCertificate) -> None:
    watch = StageWatch("tickets", certificate)
    for n in range(400):
        watch.answer(said(n, right=True, label="complaint" if n % 3 else "billing")[0])
    assert watch.distances["labels"] > 1
    assert watch.distances["low_confidence"] < 1


def ever_below(dice: random.Random, truth: float, labels: int) -> bool:
    """Whether a bound is below the truth at any label, of answers with different chances."""
    bound = Bound()
    for _ in range(labels):
        bound.add(dice.random() < truth, dice.choice((1.0, 0.5, 0.25)))
    return bound.upper < truth


def test_a_bound_is_hardly_ever_below_the_truth_however_often_it_is_looked_at() -> None:
    dice = random.Random(7)
    assert sum(ever_below(dice, 0.08, 300) for _ in range(40)) <= 5


def test_a_stage_takes_as_many_labels_as_stated_until_a_false_alarm(
    certificate: StageCertificate,
) -> None:
    dice, found = random.Random(7), []
    for _ in range(12):
        watch, number = StageWatch("tickets", certificate, run_length=60), 0
        while watch.alarm(1, NOON) is None and number < 600:
            number += 1
            feed(watch, iter([said(number, right=dice.random() >= 0.05)]))
        found.append(number)
    assert sum(found) / len(found) > 60


@settings(max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.001, 1)), max_size=60))
def test_a_bound_only_comes_down(labels: list[tuple[bool, float]]) -> None:
    bound, before = Bound(), 1.0
    for is_wrong, stake in labels:
        bound.add(is_wrong, stake)
        assert 0 < bound.upper <= before
        before = bound.upper
    assert bound.errors <= bound.labels == len(labels)
