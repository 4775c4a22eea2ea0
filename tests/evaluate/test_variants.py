"""Other settings to compare with."""

import pytest

from pipeline.config import ModelSettings, Settings, TierSettings
from pipeline.evaluate.evaluation import variant
from pipeline.model.errors import UsageError


def test_a_name_without_a_table_is_the_stage_s_own() -> None:
    settings = Settings()
    changed = variant(settings, "tickets", "events_per_request=8,thresholds.low_confidence=0.2")
    assert changed.stages.tickets.events_per_request == 8
    assert changed.thresholds.stages["tickets"].low_confidence == 0.2
    assert changed.thresholds.stages["tickets"].model_fields_set == {"low_confidence"}
    assert changed.stages.invoices == settings.stages.invoices
    assert settings.stages.tickets.events_per_request == 1


def test_a_value_may_be_a_list() -> None:
    changes = 'required_fields=["vendor","gross"],events_per_request=2'
    changed = variant(Settings(), "invoices", changes).stages.invoices
    assert changed.required_fields == ["vendor", "gross"]
    assert changed.events_per_request == 2


def test_what_is_masked_can_be_compared() -> None:
    changed = variant(Settings(), "tickets", 'privacy.mask=["email","phone"]')
    assert changed.privacy.mask == ["email", "phone"]


def test_a_name_with_a_table_is_taken_whole() -> None:
    changed = variant(Settings(), "tickets", "models.haiku=claude-haiku-4-5")
    assert changed.models.haiku.model == "claude-haiku-4-5"


def test_another_model_is_asked_at_the_same_provider() -> None:
    settings = Settings(models=ModelSettings(haiku=TierSettings(model="x", inference_geo="us")))
    haiku = variant(settings, "tickets", "models.haiku=y").models.haiku
    assert haiku == TierSettings(model="y", inference_geo="us")


def test_providers_can_be_compared() -> None:
    changes = "models.haiku.resource=acme,models.haiku.provider=foundry"
    with pytest.raises(UsageError, match="anthropic has no resource"):
        variant(Settings(), "tickets", changes)
    changes = 'models.haiku={"model":"x","provider":"foundry","resource":"acme"}'
    assert variant(Settings(), "tickets", changes).models.haiku.name == "foundry/x"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("events_per_request", "NAME=VALUE"),
        ("events_per_message=8", "no setting 'events_per_message'"),
        ("thresholds=1", "no setting 'thresholds'"),
        ("thresholds.mood=1", "no setting 'thresholds.mood'"),
        ("events_per_request=0", "cannot be 0"),
        ("models.haiku.name=x", "no setting"),
    ],
)
def test_what_cannot_be_set_is_wrong_use(changes: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        variant(Settings(), "tickets", changes)
