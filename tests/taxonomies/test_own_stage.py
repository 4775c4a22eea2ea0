"""A stage of one's own: found, held to its own settings, and like any other from there on."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy
from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import Escalations
from pipeline.claude.gateway import Gateway
from pipeline.config import Settings
from pipeline.kafka.topics import TopicNames
from pipeline.local.simulated import SimulatedApi
from pipeline.model.errors import UsageError
from pipeline.model.observer import Observer
from pipeline.model.questions import Question
from pipeline.model.records import Tier
from pipeline.observe.dashboard import budgets
from pipeline.operators.inspection import topic_of
from pipeline.operators.publish import read_items, refusal_of
from pipeline.stages import api
from pipeline.stages.api import build_stages, stage_named
from pipeline.stream.records import Disposition
from tests.cascade.stand_ins import NOON, published
from tests.taxonomies.world import outcomes, raw, settings_in

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_stage"
SMALLEST = """
from pipeline.stages.api import *
from pydantic import BaseModel

class Note(RawEvent):
    text: str

class NoteAnswer(Answer):
    mood: str

class NoteResult(BaseModel):
    mood: str

class Notes(JsonStage[Note]):
    name = "{name}"
    raw_model = Note
    result_model = NoteResult

    def question(self, event):
        return Question(self.name, "Say the mood.", (Text("note", event.text),), NoteAnswer,
                        answer_schema(NoteAnswer), 100)

    def signals(self, event, answer):
        return []

    def result(self, event, answer):
        return NoteResult(mood=answer.mood)
"""


@pytest.fixture(autouse=True)
def modules_as_they_were(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Stages that one test imports are not there for the next."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None and Path(file).parent in {EXAMPLE, tmp_path}:
            del sys.modules[name]


@pytest.fixture
def example() -> Settings:
    return settings_in(EXAMPLE)


def write(folder: Path, toml: str, **modules: str) -> Path:
    (folder / "pipeline.toml").write_text(toml, "utf-8")
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text, "utf-8")
    return folder


def install(site: Path, *, entry: str, **modules: str) -> None:
    """A package as an installer would leave it."""
    info = site / "acme_stages-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-stages\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[haiku_pipeline.stages]\n{entry}\n")
    for name, text in modules.items():
        (site / f"{name}.py").write_text(text, "utf-8")


def test_it_is_found_by_the_setting_and_its_table_is_held_to_its_own_model(
    example: Settings,
) -> None:
    table = example.stages.of("refunds")

    assert table is not None
    assert table.model_dump()["return_days"] == 14
    assert example.thresholds.stages["refunds"].other == {"more_than_paid": 0.5}
    assert "refunds" in build_stages(example.stages)
    assert budgets(example) == {("refunds", "day"): Decimal(5)}


def test_its_table_is_read_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_STAGES__REFUNDS__RETURN_DAYS", "60")

    table = settings_in(EXAMPLE).stages.of("refunds")

    assert table is not None
    assert table.model_dump()["return_days"] == 60


def test_a_stage_that_imports_by_earlier_names_works_as_before() -> None:
    earlier = vars(importlib.import_module("pipeline.stages.kit"))

    assert set(api.__all__) < earlier.keys()
    assert earlier["Choosing"] is api.LabelClassifier
    assert earlier["reworded"] is api.rephrase


def test_an_installed_package_offers_stages_without_being_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, entry="notes = acme_notes:Notes", acme_notes=SMALLEST.format(name="notes"))
    monkeypatch.syspath_prepend(tmp_path)

    settings = settings_in(write(tmp_path, "stages.notes.ordering = 'none'"))

    assert build_stages(settings.stages)["notes"].name == "notes"
    table = settings.stages.of("notes")
    assert table is not None
    assert table.ordering == "none"


def test_its_events_are_checked_before_they_are_published(example: Settings) -> None:
    stage = stage_named(example.stages, "refunds")
    items = list(read_items([EXAMPLE / "events.jsonl"]))

    assert len(items) == 8
    assert [refusal_of(stage, item) for item in items] == [None] * 8
    assert topic_of(example, "refunds") == "refunds.enriched"
    assert TopicNames(example.topics).raw("refunds") == "refunds.raw"


async def test_it_is_enriched_escalated_and_dead_lettered_like_any_other(
    example: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (EXAMPLE / "events.jsonl").read_bytes().splitlines()

    ends = await outcomes(example, "refunds", [*lines, b'{"id": "R-9"}'], monkeypatch)

    by_id = {orjson.loads(line)["id"]: end for line, end in zip(lines, ends, strict=False)}
    assert {end.end for end in ends} <= {
        Disposition.ENRICHED,
        Disposition.ESCALATED,
        Disposition.DEAD_LETTER,
    }
    assert ends[-1].end is Disposition.DEAD_LETTER
    assert dict(ends[-1].records[0].headers)["dlq-stage"] == b"refunds"
    assert Disposition.ENRICHED in {end.end for end in ends}
    assert by_id["R-8"].end is Disposition.ESCALATED
    codes = {doubt["code"] for doubt in published(by_id["R-8"])["doubts"]}
    assert "suspected_injection" in codes
    enriched = next(published(end) for end in ends if end.end is Disposition.ENRICHED)
    assert enriched["schema"] == "refunds.enriched/1"
    assert set(enriched["result"]) == {"decision", "amount", "needs_approval"}


async def test_sonnet_answers_what_was_escalated(
    example: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = (EXAMPLE / "events.jsonl").read_bytes().splitlines()
    example.claude.state_dir = tmp_path
    (escalated,) = await outcomes(example, "refunds", lines[-1:], monkeypatch)
    async with SimulatedApi() as api:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.base_url)
        async with Gateway(example) as gateway:
            process = Processor(
                Escalations(build_stages(example.stages)),
                CascadePolicy(gateway, Policy.from_settings(example), Tier.SONNET),
                TopicNames(example.topics),
                clock=lambda: NOON,
                observer=Observer(),
            )
            outcome = await process(raw(published(escalated), "escalations"))

    assert outcome.end in {Disposition.ENRICHED, Disposition.REVIEW}
    assert published(outcome)["stage"] == "refunds"


def test_its_own_checks_count_by_their_own_threshold(example: Settings) -> None:
    stage = stage_named(example.stages, "refunds")
    event = stage.raw_model(id="R-6", message="Refund me 500.00 for it.", paid="59.00")
    question = stage.question(event)
    assert isinstance(question, Question)
    answer = question.answer_model(
        quote="Refund me 500.00", decision="refund", amount="500.00", confidence=1, unclear=False
    )

    policy = Policy.from_settings(example)
    doubts = policy["refunds", Tier.HAIKU].doubts(stage.signals(event, answer))

    assert [doubt.code for doubt in doubts] == ["more_than_paid"]


def test_its_schemas_are_written_beside_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "tickets.raw.schema.json").write_text('{"$id": "a:tickets.raw:1"}')
    command = [sys.executable, "-m", "pipeline.cli", "schemas", "--stage", "refunds"]

    subprocess.run(
        [*command, "--directory", str(tmp_path)], cwd=EXAMPLE, check=True, capture_output=True
    )

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "refunds.enriched.schema.json",
        "refunds.raw.schema.json",
        "tickets.raw.schema.json",
    ]
    schema = orjson.loads((tmp_path / "refunds.raw.schema.json").read_bytes())
    assert schema["required"] == ["id", "message", "paid"]


def test_a_wrong_value_is_said_in_plain_words(tmp_path: Path) -> None:
    labels = "".join(f"[[stages.tickets.intents]]\nname = '{name}'\n" for name in ("a", "A"))

    with pytest.raises(UsageError) as caught:
        settings_in(write(tmp_path, labels))

    assert str(caught.value) == (
        "The settings are wrong: stages.tickets.intents: labels that differ in case only, or not "
        "at all: a."
    )


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("stage_modules = ['nothing_there:Notes']", "nothing_there:Notes cannot be imported"),
        ("stage_modules = ['own:Missing']", r"own:Missing cannot be imported \(AttributeError"),
        ("stage_modules = ['broken:Notes']", r"broken:Notes cannot be imported \(SyntaxError"),
        ("stage_modules = ['raising:Notes']", r"raising:Notes cannot be imported \(ZeroDivision"),
        ("stage_modules = ['own']", "'own' is no stage: write it as 'package.module:Class'"),
        ("stage_modules = ['own:Note']", "needs a `name`"),
        ("stage_modules = ['own:Unset']", "needs a `settings_model`"),
        ("stage_modules = ['own:Tickets']", "one that comes with the pipeline"),
        ("stage_modules = ['own:Review']", "cannot be called 'review'"),
        ("stage_modules = ['own:Notes', 'own:Other']", "two stages 'notes'"),
        ("stage_modules = ['own:Notes']\nstages.notes.typo = 1", "stages.notes.typo: Extra"),
        ("stages.nots.ordering = 'key'", "there is no stage 'nots'; there are tickets"),
        ("stages = ", "pipeline.toml is not TOML"),
    ],
)
def test_what_cannot_be_used_is_one_plain_sentence(tmp_path: Path, toml: str, said: str) -> None:
    own = SMALLEST.format(name="notes") + (
        "class Unset:\n    name = 'unset'\n"
        "class Tickets(Notes):\n    name = 'tickets'\n"
        "class Review(Notes):\n    name = 'review'\n"
        "class Other(Notes):\n    pass\n"
    )
    write(tmp_path, toml, own=own, broken="class Notes(:", raising="1 / 0")

    with pytest.raises(UsageError, match=said) as caught:
        settings_in(tmp_path)

    assert "\n" not in str(caught.value)


def test_a_stage_that_lacks_a_method_is_refused(tmp_path: Path) -> None:
    half = (
        "from pipeline.stages.api import StageSettings\n"
        "class Half:\n"
        "    name = 'half'\n"
        "    settings_model = StageSettings\n"
        "    def __init__(self, settings): pass\n"
    )
    settings = settings_in(write(tmp_path, "stage_modules = ['half:Half']", half=half))

    with pytest.raises(UsageError, match="lacks raw_model, result_model, reads_files, parse"):
        build_stages(settings.stages)


def test_a_broken_package_says_which_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, entry="notes = acme_gone:Notes")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(UsageError, match=r"acme_gone:Notes of acme-stages 1\.2 cannot be imported"):
        settings_in(write(tmp_path, ""))
