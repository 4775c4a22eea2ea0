import json

import pytest

from tests.cli.conftest import Run


@pytest.mark.usefixtures("nowhere")
def test_a_fault_ends_with_1_and_all_findings_are_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    ran = run("doctor")
    assert ran.code == 1
    assert "failed   brokers" in ran.out
    assert "ANTHROPIC_API_KEY" in ran.out
    verdicts = {finding["verdict"] for finding in json.loads(run("doctor", "--json").out)}
    assert {"ok", "failed"} <= verdicts


def test_wrong_settings_are_a_finding_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_DELIVERY", "twice")
    ran = run("doctor")
    assert ran.code == 1
    assert "failed   settings" in ran.out
    assert "delivery" in ran.out
