"""`pipeline schemas register`, and a pipeline that starts only after it."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from pipeline.app import App
from pipeline.config import Settings
from pipeline.model.errors import PipelineError
from tests.inputs.registry_server import RegistryServer


async def command(server: RegistryServer, folder: Path, *words: str) -> tuple[int, str, str]:
    variables = {
        "PIPELINE_REGISTRY__URL": server.url,
        "PIPELINE_STAGES__TICKETS__OUTPUT__FORMAT": "avro",
        "PIPELINE_STAGES__TICKETS__OUTPUT__FLAT_TOPIC": "tickets.flat",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pipeline.cli", "schemas", "register", *words),
        cwd=folder,
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


async def test_the_command_registers_once_and_says_what_it_did(tmp_path: Path):
    async with RegistryServer().serving() as server:
        code, output, errors = await command(server, tmp_path)
        assert (code, errors) == (0, "")
        assert output.splitlines() == [
            "tickets.enriched-value (avro): registered as 1, its first version.",
            "tickets.flat-value (avro): registered as 2, its first version.",
        ]
        code, output, _ = await command(server, tmp_path, "--json")
        assert code == 0
        assert [each["change"] for each in json.loads(output)] == ["none", "none"]
        # One of them cannot be, so that none is.
        server.subjects = {"tickets.enriched-value": [server.add("other", '"string"')]}
        code, output, _ = await command(server, tmp_path)
        assert code == 1
        assert "tickets.enriched-value (avro): not registered" in output
        assert "tickets.flat-value (avro): is not registered, as others are not" in output
        assert "tickets.flat-value" not in server.subjects


async def test_a_registry_that_is_away_is_said_in_one_sentence(tmp_path: Path):
    async with RegistryServer().serving() as server:
        pass
    code, output, errors = await command(server, tmp_path)
    assert (code, output) == (1, "")
    assert errors.startswith("Error: The schema registry cannot be asked")


async def test_a_process_does_not_start_without_its_schemas(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    async with RegistryServer().serving() as server:
        settings = Settings.model_validate(
            {
                "registry": {"url": server.url},
                "stages": {"tickets": {"output": {"format": "avro"}}},
            }
        )
        for served in (["tickets"], ["escalations"]):
            with pytest.raises(PipelineError, match="run `pipeline schemas register`"):
                await App(settings, served).run(asyncio.Event())
