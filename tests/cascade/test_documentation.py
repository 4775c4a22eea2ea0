"""docs/ESCALATION.md says of doubts and settings what is true."""

import re
import tomllib
from pathlib import Path

import pytest

from pipeline.cascade.cap import WINDOW_SECONDS
from pipeline.cascade.policy import ABOVE, AUDIT, BELOW, DEFAULT_THRESHOLD, FAILURES, SCORE
from pipeline.config import (
    EscalationSettings,
    Settings,
    SonnetThresholds,
    StageSettings,
    Thresholds,
)
from pipeline.model.records import Tier
from pipeline.stages.checks.scope import LEAST_EXAMPLES

TEXT = (Path(__file__).parents[2] / "docs" / "ESCALATION.md").read_text("utf-8")
ROWS = {
    code: dict(zip(("source", "strength", Tier.HAIKU, Tier.SONNET), cells, strict=True))
    for code, *cells in re.findall(
        r"^\| `(\w+)` \| (.+?) \| (.*?) \| (\S*) \| (\S*) ?\|$", TEXT, re.MULTILINE
    )
}
CODES = set(Thresholds.model_fields) - {"other"}
DEFAULTS = {Tier.HAIKU: Thresholds(), Tier.SONNET: SonnetThresholds()}


def test_every_doubt_is_in_the_table_and_nothing_else_is() -> None:
    assert set(ROWS) == CODES | FAILURES | {AUDIT, SCORE}


@pytest.mark.parametrize("code", sorted(CODES))
@pytest.mark.parametrize("tier", Tier)
def test_thresholds_in_the_table_are_the_defaults(code: str, tier: Tier) -> None:
    threshold = getattr(DEFAULTS[tier], code)
    assert ROWS[code][tier] == ("off" if threshold > 1 else f"{threshold:g}")


@pytest.mark.parametrize("code", sorted(FAILURES))
def test_an_answer_that_never_came_has_no_threshold(code: str) -> None:
    assert {ROWS[code][tier] for tier in Tier} == {"always"}


def test_the_examples_are_settings_that_can_be_set() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert blocks
    for block in blocks:
        Settings.model_validate(tomllib.loads(block))


def test_the_defaults_that_the_text_names_are_the_defaults() -> None:
    stage, escalation = StageSettings(), EscalationSettings()
    assert re.search(rf"^per_minute = {escalation.per_minute:g} +#", TEXT, re.MULTILINE)
    assert f"from {ABOVE:g} to less than {BELOW:g}" in TEXT
    assert WINDOW_SECONDS == 5 * 60
    assert "the last 5 minutes" in TEXT
    assert not escalation.second_opinion
    assert escalation.max_share is None
    assert f"audit_share` ({stage.audit_share:g})" in TEXT
    assert f"at least {LEAST_EXAMPLES} `examples`" in TEXT
    assert f"they count from {DEFAULT_THRESHOLD:g}" in TEXT
