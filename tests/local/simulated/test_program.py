"""The program: what it prints, how it stops, what it refuses."""

import asyncio
import signal
import socket
import sys

import pytest

from pipeline.local.simulated.server import main
from pipeline.stages.checks import scope
from tests.local.simulated.conftest import asking


async def test_it_says_where_it_is_and_stops_when_asked() -> None:
    from anthropic import AsyncAnthropic

    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pipeline.local.simulated", "--instant", "--limit", "requests=5",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert program.stdout is not None
    said = {}
    while (line := (await program.stdout.readline()).decode().strip()) != "ready":
        name, _, value = line.partition("=")
        said[name] = value
    assert said["base_url"] == f"http://127.0.0.1:{said['port']}"
    async with AsyncAnthropic(api_key="k", base_url=said["base_url"], max_retries=0) as client:
        raw = await client.messages.with_raw_response.create(**asking())
    assert raw.headers["anthropic-ratelimit-requests-limit"] == "5"
    program.send_signal(signal.SIGTERM)
    _, errors = await program.communicate()
    assert program.returncode == 0
    assert errors == b""


@pytest.mark.parametrize(
    "wrong",
    [
        ["--fault", "sadness"],
        ["--latency", "median=-1"],
        ["--limit", "requests=0"],
        ["--limit", "x"],
    ],
)
def test_wrong_options_are_refused_with_a_sentence(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(wrong) == 2
    assert "cannot start" in capsys.readouterr().err


def test_an_encoder_that_is_not_installed_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scope, "_missing_for_encoder", lambda: ["tokenizers"])
    assert main(["--encoder"]) == 2
    assert "haiku-pipeline[encoder]" in capsys.readouterr().err


def test_a_port_that_is_taken_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--port", str(taken.getsockname()[1])]) == 1
    assert "cannot listen" in capsys.readouterr().err
