import pytest

from tests.deploy.promql import Matcher, Selector, grouping_labels, selectors
from tests.deploy.vocabulary import objections


def test_selectors_are_found_among_functions_groupings_ranges_and_strings() -> None:
    expression = """
        histogram_quantile(0.95, sum by (le, stage) (rate(a_bucket{end=~"x|y", stage!="z"}[5m])))
          / on (stage) group_left (model)
        max without (kind) (b) > 1.5e3 unless c:d{l='{not, a}'} offset 5m and bool
    """
    assert list(selectors(expression)) == [
        Selector("a_bucket", (Matcher("end", "=~", "x|y"), Matcher("stage", "!=", "z"))),
        Selector("b", ()),
        Selector("c:d", (Matcher("l", "=", "{not, a}"),)),
    ]
    assert grouping_labels(expression) == {"le", "stage", "model", "kind"}


@pytest.mark.parametrize(
    ("expression", "objection"),
    [
        ("rate(pipeline_events_total[5m])", "there is no metric pipeline_events_total"),
        ("pipeline_event_seconds", "there is no metric pipeline_event_seconds"),
        ('pipeline_lag_events{model="x"}', "pipeline_lag_events has no label model"),
        ("sum by (colour) (pipeline_lag_events)", "no metric has a label colour"),
        (
            'pipeline_events_completed_total{end="dead-letter"}',
            "pipeline_events_completed_total never has end dead-letter",
        ),
        (
            'pipeline_decisions_total{end=~"review|gone"}',
            "pipeline_decisions_total never has end gone",
        ),
        ("vector(0)", "it asks for no series"),
    ],
)
def test_what_no_metric_says_is_objected_to(expression: str, objection: str) -> None:
    assert objections(expression) == [objection]


def test_what_the_metrics_say_is_not() -> None:
    expression = 'sum by (stage) (rate(pipeline_event_seconds_bucket{end="review", le="5"}[5m]))'
    assert objections(expression) == []
