"""What `--help` shows of every command, and what every command has."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from pipeline.cli import app
from pipeline.cli.examples import EXAMPLES
from tests.cli.conftest import Run

ROOT: Any = typer.main.get_command(app)
# What prints something else than a document: a file of its own, JSON Lines, or variables.
WITHOUT_JSON = {
    *("local", "tail", "version", "schemas", "dead-letters export", "review sample"),
    *("trust export", "trust acknowledge", "trust promote", "trust rollback"),
}


def commands(group: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - the library of commands has no types of its own
    for name, each in group.commands.items():
        if not hasattr(each, "commands"):
            yield " ".join([*path, name]), each
            continue
        if each.invoke_without_command:
            yield " ".join([*path, name]), each
        yield from commands(each, (*path, name))


COMMANDS = dict(commands())


def test_every_command_has_examples_and_no_other() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()
    assert all(EXAMPLES.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_what_its_command_takes_and_is_in_its_help(name: str) -> None:
    command = COMMANDS[name]
    for example in EXAMPLES[name]:
        words = shlex.split(example)
        assert words[: len(name.split())] == name.split()
        with command.make_context(name, words[len(name.split()) :]):
            assert f"pipeline {example}" in command.epilog


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_speaks_json(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert ("--json" in options) != (name in WITHOUT_JSON)


def test_help_ends_with_the_examples(run: Run) -> None:
    ran = run("lag", "--help")
    assert ran.code == 0
    assert "pipeline lag tickets --watch" in ran.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell: str) -> None:
    words = {
        "COMP_WORDS": "pipeline dead",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "pipeline dead",
    }
    environment = {
        **os.environ, **words, "_PIPELINE_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }  # fmt: skip
    script = "import pipeline.cli; pipeline.cli.app([], prog_name='pipeline')"
    program = [sys.executable, "-c", script]
    ran = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert "dead-letters" in ran.stdout
