"""The example company: all its own categories from one file, through the simulated API."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import MOST_AT_ONCE, Settings
from pipeline.kafka.topics import TopicNames
from pipeline.model.questions import MultiStepQuery, Question
from pipeline.stages.api import build_stages
from pipeline.stream.records import Disposition
from tests.cascade.stand_ins import published
from tests.stages.making import picture
from tests.taxonomies.world import outcomes, settings_in

COMPANY = Path(__file__).parents[2] / "examples" / "alpenrad"
STAGES = ("tickets", "invoices", "documents", "requests", "texts")


@pytest.fixture(scope="module")
def settings() -> Settings:
    return settings_in(COMPANY)


def names(table: str, key: str) -> list[str]:
    """What the file itself says, read without the settings."""
    with (COMPANY / "pipeline.toml").open("rb") as file:
        tables: Any = tomllib.load(file)["stages"][table].get(key, [])
    return [entry["name"] for entry in tables]


def result_of(record: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = record.get("result") or record["haiku_result"]
    return result


def test_the_file_loads_and_every_stage_has_the_companys_own_categories(
    settings: Settings,
) -> None:
    stages = settings.stages

    assert [label.name for label in stages.tickets.intents] == names("tickets", "intents")
    assert len(stages.tickets.intents) > MOST_AT_ONCE
    assert [label.name for label in stages.images.document_types] == names(
        "images", "document_types"
    )
    assert [agent.name for agent in stages.requests.agents] == names("requests", "agents")
    assert [label.name for label in stages.texts.intents] == names("texts", "intents")
    assert TopicNames.under(settings).raw("tickets") == "alpenrad.tickets.raw"


@pytest.mark.parametrize("stage", STAGES)
async def test_its_events_run_through_the_simulated_api(
    stage: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (COMPANY / "events" / f"{stage}.jsonl").read_bytes().splitlines()

    ends = await outcomes(settings, stage, lines, monkeypatch)

    assert {outcome.end for outcome in ends} <= {Disposition.ENRICHED, Disposition.ESCALATED}
    for record in map(published, ends):
        result = result_of(record)
        assert list(result.get("fields", {})) == names(stage, "fields")
        assert record["usage"]["calls"] == (2 if stage == "tickets" else 1)


async def test_tickets_go_to_the_companys_queues_with_its_fields(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (COMPANY / "events" / "tickets.jsonl").read_bytes().splitlines()

    ends = await outcomes(settings, "tickets", lines, monkeypatch)

    first, _, late, charger, *_ = [result_of(published(outcome)) for outcome in ends]
    assert (first["intent"], first["queue"]) == ("battery_fire", "safety")
    assert (first["fields"]["model"], first["fields"]["serial_number"]) == ("Gipfel", "AR-20117")
    assert (late["intent"], late["queue"]) == ("delivery_late", "logistics")
    assert late["fields"]["model"] is None
    assert (charger["fields"]["model"], charger["fields"]["bought_on"]) == (
        "Talfahrt",
        "2026-05-03",
    )


async def test_an_invoice_has_the_companys_fields(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = (COMPANY / "events" / "invoices.jsonl").read_bytes().splitlines()[0]

    (outcome,) = await outcomes(settings, "invoices", [line], monkeypatch)

    result = result_of(published(outcome))
    assert result["gross"] == "952.00"
    assert set(result["fields"]) == {"cost_centre", "delivery_note"}


def test_pictures_are_sorted_into_the_companys_types(settings: Settings) -> None:
    stage = build_stages(settings.stages)["images"]
    headers = {"content-type": b"image/png", "event-id": b"F-1"}
    question = stage.question(stage.parse(picture(), key=None, headers=headers))

    assert isinstance(question, Question)
    schema: Any = question.answer_schema
    assert schema["properties"]["document_type"]["enum"] == names("images", "document_types")
    assert "serial_number" in schema["$defs"]["FurtherFields"]["properties"]


def test_every_word_that_a_model_sees_is_part_of_what_is_asked(settings: Settings) -> None:
    def prompts(given: Settings) -> list[str]:
        stage = build_stages(given.stages)["tickets"]
        steps = stage.question(stage.raw_model(id="1", body="a"))
        assert isinstance(steps, MultiStepQuery)
        return [question.digest for question in steps.questions]

    changed = settings.model_copy(deep=True)
    changed.stages.tickets.intents[0].description = "A battery is on fire."

    assert prompts(settings) == prompts(settings_in(COMPANY))
    assert prompts(settings) != prompts(changed)
