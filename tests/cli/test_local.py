import asyncio
import re
import shlex
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from pipeline.config import KafkaSettings
from pipeline.kafka.connection import ConnectionFailed, admin_client, check_connection
from pipeline.kafka.topics import Topics
from pipeline.local.child import Child

COMMAND = [sys.executable, "-m", "pipeline.cli", "local"]


async def started(tmp_path: Path, *options: str) -> tuple[Child, dict[str, str]]:
    child = Child([*COMMAND, *options], log=tmp_path / "local.log", env={"ANTHROPIC_API_KEY": ""})
    async with asyncio.timeout(60):
        while "ready" not in (lines := child.output().splitlines()):
            assert child.running, child.output()
            await asyncio.sleep(0.02)
    exports = [re.fullmatch(r"export (\w+)=(.*)", line) for line in lines]
    return child, {found[1]: shlex.split(found[2])[0] for found in exports if found}


def kafka(variables: dict[str, str]) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=variables["PIPELINE_KAFKA__BOOTSTRAP_SERVERS"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_says_how_to_reach_both_and_stops_cleanly(
    tmp_path: Path, number: signal.Signals
) -> None:
    child, variables = await started(tmp_path)
    async with admin_client(kafka(variables)) as admin:
        assert await Topics(admin).describe(["tickets.raw"])
    async with (
        aiohttp.ClientSession(variables["ANTHROPIC_BASE_URL"]) as session,
        session.get("/admin/counters") as answer,
    ):
        assert answer.status == 200
    assert variables["ANTHROPIC_API_KEY"] == "simulated"

    child.send(number)
    async with asyncio.timeout(20):
        assert await child.wait() == 0, child.output()
    with pytest.raises(ConnectionFailed):
        await check_connection(kafka(variables))


async def test_a_fault_that_does_not_exist_is_told(tmp_path: Path) -> None:
    child = Child([*COMMAND, "--fault", "gremlins"], log=tmp_path / "local.log")
    async with asyncio.timeout(60):
        assert await child.wait() == 1
    assert "gremlins" in child.output()
    assert "Traceback" not in child.output()
