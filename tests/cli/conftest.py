import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import typer.main

from pipeline.cli import main
from pipeline.local.broker import LocalBroker
from pipeline.local.environment import kafka_variables
from tests.brokers import FreshName


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]
# Made of all commands at each call, which takes longer than most of them.
_commands = functools.cache(typer.main.get_command)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process."""

    def call(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
        monkeypatch.setattr(typer.main, "get_command", _commands)
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0, out, err)

    return call


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that name a port at which nothing listens."""
    monkeypatch.setenv("PIPELINE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")


@pytest.fixture
def prefix(
    embedded_broker: LocalBroker, monkeypatch: pytest.MonkeyPatch, fresh_name: FreshName
) -> str:
    """Settings that reach the embedded broker, with topics of this test alone."""
    prefix = fresh_name("cli") + "."
    for name, value in kafka_variables(embedded_broker.settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIPELINE_TOPICS__PREFIX", prefix)
    monkeypatch.setenv("PIPELINE_TOPICS__PARTITIONS", "2")
    return prefix
