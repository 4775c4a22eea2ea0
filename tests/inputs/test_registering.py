"""A process that publishes in a registry's format starts only once its schemas are there."""

import asyncio
from pathlib import Path

import pytest

from pipeline.app import App
from pipeline.config import Settings, load_settings
from pipeline.model.errors import PipelineError
from tests.inputs.registry_server import RegistryServer


@pytest.mark.parametrize("served", ["tickets", "escalations"])
async def test_a_process_does_not_start_without_its_schemas(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: str
) -> None:
    monkeypatch.chdir(tmp_path)
    async with RegistryServer().serving() as server:
        settings = Settings.model_validate(
            {
                "registry": {"url": server.url},
                "stages": {"tickets": {"output": {"format": "avro"}}},
            }
        )
        with pytest.raises(PipelineError, match="run `pipeline schemas register`"):
            await App(settings, [served]).run(asyncio.Event())


async def test_what_sonnet_decides_is_published_as_its_stage_says_wherever_that_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    stage = {"kind": "tickets", "output": {"format": "avro"}}
    async with RegistryServer().serving() as server:
        settings = load_settings(registry={"url": server.url}, stages={"complaints": stage})
        assert "complaints" not in settings.enabled
        with pytest.raises(PipelineError, match=r"complaints\.enriched-value"):
            await App(settings, ["escalations"]).run(asyncio.Event())
