"""A process that publishes in a registry's format starts only once its schemas are there."""

import asyncio
from pathlib import Path

import pytest

from pipeline.app import App
from pipeline.config import Settings
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
