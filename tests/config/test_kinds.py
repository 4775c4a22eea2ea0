"""Stages that are made by settings: as many of a kind as are wanted."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.cascade.policy import Policy, settings_digest
from pipeline.config import Settings, StagesSettings, TicketSettings, load_settings
from pipeline.model.errors import UsageError
from pipeline.model.records import Tier
from pipeline.observe.dashboard import budgets
from pipeline.operators.settings_audit import changed_from_defaults
from pipeline.schemas import generate, generate_some
from pipeline.stages.api import build_stages, stage_named
from tests.stages.asking import single
from tests.taxonomies.test_own_stage import SMALLEST, write
from tests.taxonomies.world import settings_in

TOML = """
enabled = ["tickets", "complaints", "escalations"]
[stages.tickets]
audit_share = 0.5
[stages.complaints]
kind = "tickets"
budget_usd_per_day = 5
input.topics = ["crm.complaints"]
[[stages.complaints.intents]]
name = "late"
[[stages.complaints.intents]]
name = "broken"
queue = "repairs"
[thresholds.stages.complaints]
low_confidence = 0.1
labels.late.low_confidence = 0.05
[escalation.second_opinion]
complaints = true
[privacy.stages.complaints]
mask = ["email"]
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(write(tmp_path, TOML))


def test_it_has_what_its_kind_has_and_is_set_by_itself(settings: Settings) -> None:
    table = settings.stages.of("complaints")

    assert isinstance(table, TicketSettings)
    assert [label.name for label in table.intents] == ["late", "broken"]
    assert table.audit_share == TicketSettings().audit_share
    assert settings.stages.tickets.audit_share == 0.5
    assert len(settings.stages.tickets.intents) == 4
    assert budgets(settings)["complaints", "day"] == Decimal(5)
    policy = Policy.from_settings(settings)
    assert policy["complaints", Tier.HAIKU].thresholds.low_confidence == 0.1
    assert policy["complaints", Tier.HAIKU].thresholds_of("Late")["low_confidence"] == 0.05
    assert policy["tickets", Tier.HAIKU].thresholds.low_confidence == 0.3


def test_every_stage_that_comes_with_the_pipeline_is_still_there(settings: Settings) -> None:
    stages = build_stages(settings.stages)

    assert list(stages) == [*StagesSettings.model_fields, "complaints"]
    assert all(stage.name == name for name, stage in stages.items())


def test_it_asks_with_its_own_labels_under_its_own_name(settings: Settings) -> None:
    stage, tickets = (stage_named(settings.stages, name) for name in ("complaints", "tickets"))
    event = stage.parse(b'{"id": "1", "body": "It came late."}', key=None, headers={})

    question, other = single(stage.question(event)), single(tickets.question(event))

    assert question.stage == "complaints"
    assert "- late" in question.instructions
    assert "- billing" not in question.instructions
    assert other.stage == "tickets"
    assert "- billing" in other.instructions


def test_it_is_made_by_the_environment_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIPELINE_STAGES__COMPLAINTS__KIND", "tickets")
    monkeypatch.setenv("PIPELINE_STAGES__COMPLAINTS__AUDIT_SHARE", "0.25")
    monkeypatch.setenv("PIPELINE_STAGES__COMPLAINTS__INPUT__TOPICS", '["crm.complaints"]')
    labels = '[{"name": "a"}, {"name": "b"}]'
    monkeypatch.setenv("PIPELINE_STAGES__LETTERS", f'{{"kind": "classify", "labels": {labels}}}')

    stages = settings_in(tmp_path).stages

    complaints, letters = stages.of("complaints"), stages.of("letters")
    assert isinstance(complaints, TicketSettings)
    assert (complaints.audit_share, complaints.input.topics) == (0.25, ["crm.complaints"])
    assert letters is not None
    assert [label.name for label in letters.deciding_labels()] == ["a", "b"]


def test_file_and_environment_make_one_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIPELINE_STAGES__COMPLAINTS__MAX_TEXT_CHARS", "10")

    table = settings_in(write(tmp_path, "stages.complaints.kind = 'tickets'")).stages.of(
        "complaints"
    )

    assert table is not None
    assert table.max_text_chars == 10


def test_a_class_of_ones_own_is_a_kind(tmp_path: Path, without_own: None) -> None:
    toml = "stage_modules = ['own:Notes']\nstages.moods.kind = 'notes'"
    settings = settings_in(write(tmp_path, toml, own=SMALLEST.format(name="notes")))

    stages = build_stages(settings.stages)

    assert stages["notes"].name == "notes"
    assert stages["moods"].name == "moods"
    event = stages["moods"].parse(b'{"id": "1", "text": "Well."}', key=None, headers={})
    assert single(stages["moods"].question(event)).stage == "moods"


@pytest.fixture
def without_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("own", None)


def test_a_class_that_names_itself_anew_cannot_be_two(tmp_path: Path, without_own: None) -> None:
    own = SMALLEST.format(name="notes") + (
        "    def __init__(self, settings):\n"
        "        super().__init__(settings)\n"
        "        self.name = 'notes'\n"
    )
    toml = "stage_modules = ['own:Notes']\nstages.moods.kind = 'notes'"

    with pytest.raises(UsageError, match=r"stages\.moods calls itself 'notes'"):
        build_stages(settings_in(write(tmp_path, toml, own=own)).stages)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        (
            "stages.moods.ordering = 'key'",
            r"'moods'; .*`kind` \(tickets, .*extract\), and",
        ),
        ("stages.moods.ordering = 'key'", "named in `stage_modules`"),
        ("stages.moods.kind = 'ticket'", "there is no kind 'ticket'; there are tickets, "),
        ("stages.moods.kind = 7", "there is no kind 7; there are tickets, "),
        ("stages.Moods.kind = 'tickets'", "lower-case letters, digits and single underscores"),
        ("stages.a__b.kind = 'tickets'", "lower-case letters, digits and single underscores"),
        ("stages.review.kind = 'tickets'", "cannot be called 'review'"),
        ("stages.copy.kind = 'tickets'", "cannot be called 'copy'"),
        ("stages.tickets.kind = 'tickets'", "tickets is itself a kind of stage"),
        ("stages.moods.kind = 'tickets'\nstages.moods.typo = 1", "stages.moods.typo: Extra"),
        ("stages.moods.kind = 'classify'", "stages.moods.labels: Field required"),
        ("stages.moods.kind = 'extract'", "stages.moods: `fields` are what is extracted"),
        ("thresholds.stages.moods.unclear = 1", "there is no stage 'moods'"),
    ],
)
def test_what_cannot_be_used_is_one_plain_sentence(tmp_path: Path, toml: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        settings_in(write(tmp_path, toml))

    assert "\n" not in str(caught.value)


def test_what_code_gives_counts_before_the_file(tmp_path: Path) -> None:
    write(tmp_path, "stages.complaints.kind = 'tickets'\nstages.complaints.audit_share = 0.5")

    settings = load_settings(stages={"letters": {"kind": "texts"}})

    assert settings.stages.of("letters") is not None


def test_its_schemas_speak_of_its_own_topics(settings: Settings) -> None:
    files = generate_some([stage_named(settings.stages, "complaints")])

    assert set(files) == {"complaints.raw.schema.json", "complaints.enriched.schema.json"}
    assert all("tickets." not in text for text in files.values())
    assert "A record of `complaints.raw`." in files["complaints.raw.schema.json"]
    document = generate(tuple(build_stages(settings.stages).values()), settings.stages.by_name())[
        "asyncapi.json"
    ]
    assert '"address": "crm.complaints"' in document
    assert '"address": "tickets.raw"' in document


def test_that_it_is_there_is_on_record(settings: Settings) -> None:
    changed = changed_from_defaults(settings)

    assert changed["stages.complaints.kind"] == "tickets"
    assert changed["stages.complaints.input.topics"] == '["crm.complaints"]'


def test_where_its_records_are_changes_no_answer(settings: Settings) -> None:
    table = settings.stages.of("complaints")
    assert table is not None
    before = settings_digest(settings, "complaints")
    table.input.topics.append("crm.letters")
    table.output.topic = "crm.out"

    assert settings_digest(settings, "complaints") == before
