import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.documents import RULE_TESTS, RULES, alerts, document, rules
from tests.deploy.promql import selectors
from tests.deploy.tools import DEPLOY, ROOT, run
from tests.deploy.vocabulary import objections, series_of

_FIRING = re.compile(r'alertname="(\w+)"')


def name(rule: dict[str, Any]) -> str:
    return str(rule.get("alert") or rule["record"])


def test_prometheus_accepts_the_configuration_and_every_rule() -> None:
    run("promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    run("promtool", "check", "rules", "--lint-fatal", *sorted(RULES.glob("*.yml")))


@pytest.mark.parametrize("path", sorted(RULE_TESTS.glob("*.yml")), ids=lambda path: path.stem)
def test_every_alert_fires_and_clears_as_its_unit_tests_say(path: Path) -> None:
    run("promtool", "test", "rules", path)


def test_every_alert_has_a_unit_test_in_which_it_fires_and_clears() -> None:
    fires_and_clears = set()
    for path in RULE_TESTS.glob("*.yml"):
        for test in document(path)["tests"]:
            checks = [each for each in test["promql_expr_test"] if "ALERTS{" in each["expr"]]
            seen = [set(_FIRING.findall(str(check["exp_samples"]))) for check in checks]
            for before, after in itertools.pairwise(seen):
                fires_and_clears |= before - after
    assert {rule["alert"] for rule in alerts()} == fires_and_clears


def test_every_alert_about_a_stage_fires_for_a_stage_of_ones_own() -> None:
    tests = document(RULE_TESTS / "own_stage.yml")["tests"]
    checks = [check for test in tests for check in test["promql_expr_test"]]
    fired = {
        found
        for check in checks
        if 'stage="refunds"' in check["expr"]
        for found in _FIRING.findall(str(check["exp_samples"]))
    }
    about_a_stage = {
        alert["alert"] for alert in alerts() if "$labels.stage" in alert["annotations"]["summary"]
    }
    assert fired == about_a_stage


@pytest.mark.parametrize("rule", rules(), ids=name)
def test_every_rule_asks_only_for_what_the_pipeline_tells(rule: dict[str, Any]) -> None:
    assert objections(rule["expr"]) == []


@pytest.mark.parametrize("rule", rules(), ids=name)
def test_the_first_burst_counts_for_every_rule(rule: dict[str, Any]) -> None:
    counted = [series_of(selector.metric) for selector in selectors(rule["expr"])]
    assert [
        metric.name
        for metric in counted
        if metric is not None and metric.kind != "gauge" and not metric.from_zero
    ] == []


@pytest.mark.parametrize("alert", alerts(), ids=name)
def test_every_alert_says_what_it_means_and_where_its_runbook_is(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    notes = alert["annotations"]
    assert notes.keys() == {"summary", "description", "cost_of_waiting", "action", "runbook"}
    assert len(notes["summary"]) < 120
    path, _, anchor = notes["runbook"].partition("#")
    assert anchor == alert["alert"].lower()
    assert f"\n#### {alert['alert']}\n" in (ROOT / path).read_text("utf-8")


def test_names_are_used_once() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names))
