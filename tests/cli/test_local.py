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
from tests.cli.conftest import Ran, Run

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


async def test_it_says_how_to_reach_both_and_stops_cleanly(tmp_path: Path) -> None:
    child, variables = await started(tmp_path)
    async with admin_client(kafka(variables)) as admin:
        assert await Topics(admin).describe(["tickets.raw"])
    async with (
        aiohttp.ClientSession(variables["ANTHROPIC_BASE_URL"]) as session,
        session.get("/admin/counters") as answer,
    ):
        assert answer.status == 200
    assert variables["ANTHROPIC_API_KEY"] == "simulated"

    child.send(signal.SIGINT)  # SIGTERM: where the file of variables is there until it stops
    async with asyncio.timeout(20):
        assert await child.wait() == 0, child.output()
    with pytest.raises(ConnectionFailed):
        await check_connection(kafka(variables))


def test_a_command_runs_in_the_environment_and_its_exit_code_is_returned(
    run: Run, tmp_path: Path
) -> None:
    variables = tmp_path / "its env"
    script = f"""
        [ "$(stat -c %a '{variables}')" = 600 ] && echo private
        in_file=$(unset ANTHROPIC_BASE_URL; . '{variables}'; echo "$ANTHROPIC_BASE_URL")
        [ -n "$in_file" ] && [ "$in_file" = "$ANTHROPIC_BASE_URL" ] && echo same
        pipeline topics list && exit 7
    """
    ran = run("local", "--env-file", str(variables), "--", "sh", "-c", script)
    assert ran.code == 7, ran
    assert ran.out.splitlines()[:2] == ["private", "same"]
    assert "tickets.raw" in ran.out
    assert "ready" not in ran.out + ran.err
    assert not variables.exists()


def test_an_unknown_command_is_reported_before_anything_starts(run: Run) -> None:
    ran = run("local", "--", "no-such-program")
    assert ran == Ran(
        2, "", "Error: There is no command 'no-such-program': name one on the path.\n"
    )


async def test_without_a_command_the_file_of_variables_is_there_until_it_stops(
    tmp_path: Path,
) -> None:
    variables = tmp_path / "env"
    child, exports = await started(tmp_path, "--env-file", str(variables))
    assert exports == {}
    assert f". {variables}" in child.output()
    assert "export ANTHROPIC_BASE_URL=http://127.0.0.1:" in variables.read_text()
    command = [*COMMAND, "--env-file", str(variables), "--", "true"]
    second = Child(command, log=tmp_path / "second.log")
    async with asyncio.timeout(60):
        assert await second.wait() == 2
    assert "remove it, or name another file" in second.output()
    child.send(signal.SIGTERM)
    async with asyncio.timeout(20):
        assert await child.wait() == 0, child.output()
    assert not variables.exists()


TRAP = """trap 'echo got {0}; exit 5' {0}; echo up; while :; do sleep 0.05; done"""


async def test_a_signal_ends_the_command_first_and_then_the_rest(tmp_path: Path) -> None:
    script = TRAP.format("TERM")
    child = Child([*COMMAND, "--", "sh", "-c", script], log=tmp_path / "local.log")
    async with asyncio.timeout(60):
        while "up" not in child.output().splitlines():
            assert child.running, child.output()
            await asyncio.sleep(0.02)
        child.send(signal.SIGTERM)
        assert await child.wait() == 5, child.output()
    assert child.output().count("got TERM") == 1


ON_A_TERMINAL = """
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
"""


async def test_ctrl_c_on_a_terminal_reaches_the_command_once() -> None:
    terminal = [sys.executable, "-c", ON_A_TERMINAL]
    process = await asyncio.create_subprocess_exec(
        *(*terminal, *COMMAND, "--", "sh", "-c", TRAP.format("INT")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(60):
        printed = await process.stdout.readuntil(b"up")
        process.stdin.write(b"\x03")
        printed += await process.stdout.read()
        assert await process.wait() == 5, printed
    assert printed.count(b"got INT") == 1


def test_a_fault_that_does_not_exist_is_reported(run: Run) -> None:
    ran = run("local", "--fault", "gremlins")
    assert ran.code == 1
    assert "gremlins" in ran.err
    assert "Traceback" not in ran.err
