"""What is decided about second opinions when the program starts."""

from pipeline.cascade.policy import opinions
from pipeline.config import Settings
from pipeline.stages.api import build_stages


def decided(**changes: object) -> dict[str, bool]:
    settings = Settings.model_validate(changes)
    found = opinions(settings, build_stages(settings.stages))
    assert all(verdict.because for verdict in found.values())
    return {name: verdict.pays for name, verdict in found.items()}


WANTED = {"second_opinion": {"tickets": 0.3, "invoices": 0.3}}


def test_it_is_off_unless_it_is_switched_on() -> None:
    assert decided() == {}


def test_it_is_on_where_prices_say_that_it_pays() -> None:
    assert decided(escalation=WANTED) == {"tickets": True, "invoices": False}
    assert decided(escalation=WANTED, models={"haiku": "claude-haiku-4-5"})["tickets"] is False
    assert decided(escalation=WANTED, models={"haiku": "unheard-of"})["tickets"] is False
