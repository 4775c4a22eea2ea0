"""Noticing that files of settings changed, and what of them a running process takes up."""

from pathlib import Path

import pytest

from pipeline.config import Settings, load_settings
from pipeline.config.live import check_live, settings_changes
from pipeline.model.errors import UsageError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def passing(_: float) -> None:
    """No time."""


async def test_each_change_of_a_file_brings_the_settings_that_are_there_then(folder: Path) -> None:
    turns = iter((
        lambda: None,
        lambda: (folder / "pipeline.toml").write_text("[thresholds]\nlow_confidence = 0.3"),
        lambda: None,
        lambda: (folder / "pipeline.toml").write_text("thresholds = ["),
        (folder / "pipeline.toml").unlink,
    ))  # fmt: skip

    async def wait(_: float) -> None:
        next(turns)()

    changes = settings_changes(load_settings(), load_settings, wait=wait)
    changed = await anext(changes)
    assert isinstance(changed, Settings)
    assert changed.thresholds.low_confidence == 0.3
    wrong = await anext(changes)
    assert isinstance(wrong, UsageError)
    assert "pipeline.toml is not TOML" in str(wrong)
    assert await anext(changes) == load_settings()


async def test_a_file_that_the_settings_name_is_one_of_theirs(folder: Path) -> None:
    (folder / "pipeline.toml").write_text('[stages.tickets]\nscore = "score.json"')
    turns = iter((lambda: None, lambda: (folder / "score.json").write_text("{}")))

    async def wait(_: float) -> None:
        next(turns)()

    changed = await anext(settings_changes(load_settings(), load_settings, wait=wait))
    assert changed == load_settings()


async def test_a_file_that_is_mounted_in_its_place_is_seen(folder: Path) -> None:
    def mounted(name: str, threshold: float) -> None:
        (folder / name).mkdir()
        (folder / name / "tickets.toml").write_text(
            f"[thresholds.stages.tickets]\nlow_confidence = {threshold}"
        )
        (folder / "link").unlink(missing_ok=True)
        (folder / "link").symlink_to(name)

    mounted("first", 0.2)
    (folder / "promoted").symlink_to("link")
    waited = iter([lambda: mounted("second", 0.3)])

    async def wait(_: float) -> None:
        next(waited)()

    changed = await anext(settings_changes(load_settings(), load_settings, wait=wait))
    assert isinstance(changed, Settings)
    assert changed.thresholds.stages["tickets"].low_confidence == 0.3


def test_what_was_promoted_wins_over_the_file_and_loses_to_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pipeline.toml").write_text(
        "[stages.tickets]\naudit_share = 0.1\nmax_text_chars = 9000"
    )
    (folder / "promoted").mkdir()
    (folder / "promoted" / "tickets.toml").write_text("[stages.tickets]\naudit_share = 0.2")
    tickets = load_settings().stages.tickets
    assert (tickets.audit_share, tickets.max_text_chars) == (0.2, 9000)
    monkeypatch.setenv("PIPELINE_STAGES__TICKETS__AUDIT_SHARE", "0.3")
    assert load_settings().stages.tickets.audit_share == 0.3


@pytest.mark.parametrize(
    "change",
    [
        {"thresholds": {"low_confidence": 0.3}},
        {"thresholds": {"stages": {"tickets": {"low_confidence": 0.3}}}},
        {"escalation": {"second_opinion": {"tickets": 0.3}}},
        {"stages": {"tickets": {"audit_share": 0.5}}},
        {"stages": {"tickets": {"intents": [{"name": "a"}, {"name": "b"}]}}},
        {"stages": {"tickets": {"where": "subject != 'x'"}}},
    ],
)
def test_what_decides_about_answers_may_change(change: dict[str, object]) -> None:
    check_live(Settings(), Settings.model_validate(change))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"models": {"haiku": "claude-x"}}, "models"),
        ({"escalation": {"max_share": 0.3}}, "escalation"),
        ({"stages": {"tickets": {"events_per_request": 4}}}, "stages.tickets.events_per_request"),
        ({"stages": {"tickets": {"budget_usd_per_day": 4}}}, "stages.tickets.budget_usd_per_day"),
    ],
)
def test_what_is_built_in_may_not(change: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        check_live(Settings(), Settings.model_validate(change))


def test_a_further_stage_may_not_come_while_a_process_runs() -> None:
    more = load_settings(stages={"complaints": {"kind": "tickets"}})
    with pytest.raises(UsageError, match=r"stages\.complaints"):
        check_live(load_settings(), more)
