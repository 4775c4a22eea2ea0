"""One number of all signals: what it counts, what a file of it must be, how soon it is there."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.model.errors import UsageError
from pipeline.model.questions import Signal
from pipeline.trust.score import (
    RULE,
    Model,
    Score,
    Tree,
    feature_names,
    features_of,
    read_score,
    rule_doubt,
)

THRESHOLDS = {"low_confidence": 0.3, "runner_up_close": 0.33, "other": 0.5}


def signal(code: str, strength: float, *fields: str) -> Signal:
    return Signal(code, strength, "", fields)


def score(**changes: object) -> Score:
    names = feature_names(["low_confidence", "implausible"], of_field=False)
    weights = tuple(1.0 if name == RULE else 0.0 for name in names)
    whole = Model(features=names, weights=weights, threshold=0.5)
    return Score.model_validate(
        {
            "stage": "tickets", "asks": "a", "fitted_on": "f", "labels": 100,
            "method": "logistic", "codes": ("implausible", "low_confidence"),
            "thresholds": THRESHOLDS, "whole": whole, **changes,
        }
    )  # fmt: skip


STRENGTHS = st.floats(0, 1)


@given(STRENGTHS, STRENGTHS)
def test_without_labels_the_order_is_the_rules(one: float, other: float) -> None:
    less, more = sorted((one, other))
    signals = [[signal("low_confidence", each)] for each in (less, more)]
    low, high = (score().p_wrong(each) for each in signals)
    assert low <= high
    assert (high >= 0.5) == (rule_doubt(signals[1], THRESHOLDS) >= 1 or more >= 0.3 - 1e-9)


@given(STRENGTHS, STRENGTHS)
def test_a_runner_up_adds_nothing_to_the_confidence_that_it_follows_from(
    confidence: float, odds: float
) -> None:
    alone = [signal("low_confidence", confidence)]
    assert score().p_wrong([*alone, signal("runner_up_close", odds)]) == score().p_wrong(alone)


def test_of_a_code_the_two_strongest_are_looked_at_each_by_itself() -> None:
    signals = [signal("implausible", each) for each in (0.2, 0.9, 0.4)]
    names = ("implausible", "implausible/next")
    assert features_of(signals, names, THRESHOLDS) == [0.9, 0.4]


def test_a_doubted_date_does_not_make_the_vendor_doubtful() -> None:
    names = feature_names(["implausible", "low_confidence"], of_field=True)
    weights = tuple(4.0 if name == "implausible/field" else 0.0 for name in names)
    model = Model(features=names, weights=weights, intercept=-2.0, threshold=0.5)
    found = score(fields={"vendor": model, "issue_date": model})
    signals = [signal("implausible", 1.0, "issue_date"), signal("low_confidence", 0.1)]
    assert found.p_wrong(signals, "issue_date") > 0.8
    assert found.p_wrong(signals, "vendor") < 0.2
    # A field without a model of its own is as doubtful as the answer.
    assert found.p_wrong(signals, "gross") == found.p_wrong(signals)


def test_what_speaks_most_is_named() -> None:
    signals = [signal("low_confidence", 0.1), signal("implausible", 1.0), signal("new", 0.1)]
    assert score().strongest(signals) == ["implausible"]


def stump(limit: float, left: float, right: float) -> Tree:
    return Tree(
        feature=(0, -1, -1), limit=(limit, 0, 0), left=(1, -1, -1), right=(2, -1, -1),
        value=(0, left, right),
    )  # fmt: skip


@given(STRENGTHS)
def test_trees_are_summed_and_calibrated(strength: float) -> None:
    model = Model(
        features=("low_confidence",), trees=(stump(0.5, -1, 1), stump(0.2, -1, 1)), slope=2.0,
        offset=1.0, threshold=0.5,
    )  # fmt: skip
    total = (1 if strength > 0.5 else -1) + (1 if strength > 0.2 else -1)
    expected = {-2: 0.047426, 0: 0.731059, 2: 0.993307}[total]
    assert model.p_wrong([strength]) == pytest.approx(expected, abs=1e-6)


def test_a_tree_that_would_never_end_is_refused() -> None:
    with pytest.raises(ValidationError, match="lie behind it"):
        Tree(feature=(0, -1), limit=(0, 0), left=(0, -1), right=(1, -1), value=(0, 0))
    with pytest.raises(ValidationError, match="not there"):
        Model(features=(), trees=(stump(0, 0, 0),), threshold=0.5)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "score.json"
    file.write_text(score().model_dump_json(by_alias=True))
    assert read_score(file) == score()
    assert read_score(file).digest == score().digest != score(labels=101).digest


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": "trust.score/2"}'])
def test_what_is_no_score_is_refused_with_what_to_do(content: str, tmp_path: Path) -> None:
    file = tmp_path / "score.json"
    file.write_text(content)
    with pytest.raises(UsageError, match="pipeline trust fit"):
        read_score(file)
    with pytest.raises(UsageError, match="cannot be read"):
        read_score(tmp_path / "absent.json")


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    document = json.loads(score().model_dump_json(by_alias=True))
    document["whole"]["intercept"] = "Infinity"
    file = tmp_path / "score.json"
    file.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="intercept"):
        read_score(file)


def test_a_rule_without_a_threshold_for_other_codes_is_refused() -> None:
    with pytest.raises(ValidationError, match="other"):
        score(thresholds={})


def test_sixty_trees_take_less_than_a_millisecond() -> None:
    names = feature_names(["low_confidence", "implausible"], of_field=False)
    model = Model(features=names, trees=(stump(0.5, -1, 1),) * 60, threshold=0.5)
    found, signals = score(whole=model), [signal("low_confidence", 0.2)]
    seconds = []
    for _ in range(20):
        begun = time.perf_counter()
        found.p_wrong(signals)
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 0.001
