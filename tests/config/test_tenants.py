import pytest

from pipeline.config import load_settings
from pipeline.model.errors import UsageError


def test_limits_of_tenants_are_read_and_count_as_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_STREAM__TENANT_FROM", "field:tenant")
    monkeypatch.setenv("PIPELINE_TENANTS__EACH__RATE_SHARE", "0.2")
    monkeypatch.setenv("PIPELINE_TENANTS__NAMED", '{"acme": {"budget_usd_per_day": 5}}')
    settings = load_settings()
    assert settings.tenants.named["acme"].budget_usd_per_day == 5
    assert settings.has_budget


def test_limits_without_a_word_of_whose_an_event_is_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIPELINE_TENANTS__EACH__BUDGET_USD_PER_DAY", "5")
    with pytest.raises(UsageError, match=r"stream\.tenant_from"):
        load_settings()
