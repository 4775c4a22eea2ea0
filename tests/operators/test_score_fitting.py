"""What a score is fitted to: labels of the topic as well as of a file."""

import pytest

from pipeline.config import Settings
from pipeline.model.errors import UsageError
from pipeline.trust.records import LabelledAnswer
from tests.trust.examples import answer, label

pytest.importorskip("sklearn", reason="the extra `trust` is not installed")
score_fitting = pytest.importorskip("pipeline.operators.score_fitting")


def test_labels_of_the_topic_are_examples_and_where_there_are_none_it_is_said() -> None:
    answers = [LabelledAnswer(answer(n), [label(n, right=n > 1)]) for n in (1, 2)]
    found = score_fitting.of_topic(Settings(), "tickets", answers)
    assert [each.wrong for each in found.examples] == [True, False]
    with pytest.raises(UsageError, match="The topic trust has no labelled answers of invoices"):
        score_fitting.of_topic(Settings(), "invoices", answers)
