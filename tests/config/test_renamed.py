"""A setting that had another name is refused with what to do instead."""

import re
from pathlib import Path

import pytest

from pipeline.config import Settings, load_settings
from pipeline.config.settings import INSTEAD, instead_of
from pipeline.model.errors import UsageError
from tests.config.tree import leaves

OLD = {
    old.replace("<stage>", stage): instead.replace("<stage>", stage)
    for old, instead in INSTEAD.items()
    for stage in ("invoices" if ".s3." in old else "tickets",)
}
NAMES = {*leaves(Settings), "AWS_DEFAULT_REGION", "OTEL_SERVICE_NAME"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", OLD)
def test_an_old_name_in_the_file_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").write_text(f"{name} = 1\n")
    with pytest.raises(UsageError) as refused:
        load_settings()
    assert str(refused.value) == (
        f"The settings are wrong: {name} is not a setting any more: {OLD[name]}."
    )


@pytest.mark.parametrize("name", OLD)
def test_an_old_name_in_the_environment_is_refused_with_what_to_do(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PIPELINE_{name.replace('.', '__').upper()}", "1")
    with pytest.raises(UsageError, match=f"{name} is not a setting any more: "):
        load_settings()


def test_what_was_a_table_is_refused_by_each_of_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_STAGES__TICKETS__SONNET_THRESHOLDS__UNCLEAR", "1")
    monkeypatch.setenv("PIPELINE_CLAUDE__BUDGET_PATH", "/data/spend.sqlite3")
    with pytest.raises(UsageError) as refused:
        load_settings()
    assert (
        "claude.budget_path is not a setting any more: what was spent is in the topic budget"
        in str(refused.value)
    )
    assert (
        "stages.tickets.sonnet_thresholds is not a setting any more: "
        "set thresholds.stages.tickets.sonnet" in str(refused.value)
    )


@pytest.mark.parametrize("instead", [text for text in OLD.values() if text.startswith("set ")])
def test_what_is_named_instead_is_a_setting(instead: str) -> None:
    name = instead.split()[1].rstrip(",")
    # Below these two, names are those of stages.
    known = re.sub(r"^(thresholds\.stages|escalation\.second_opinion)\..*", r"\1", name)
    assert known in NAMES


def test_an_old_name_is_not_a_setting() -> None:
    assert not OLD.keys() & NAMES


def test_a_name_that_never_was_a_setting_is_refused_without_advice(tmp_path: Path) -> None:
    assert instead_of(["kafka", "retires"]) is None
    (tmp_path / "pipeline.toml").write_text("kafka.retires = 1\n")
    with pytest.raises(UsageError, match=r"kafka\.retires: Extra inputs are not permitted"):
        load_settings()
