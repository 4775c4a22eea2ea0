import subprocess
import sys
import time
from pathlib import Path

import pytest

import pipeline
from pipeline import schemas
from tests.cli.conftest import Run


def test_the_version_is_printed(run: Run) -> None:
    assert run("version").out == f"{pipeline.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["no-such-command"], id="command"),
        pytest.param(["schemas", "--no-such-option"], id="option"),
        pytest.param(["publish"], id="missing argument"),
        pytest.param(["local", "--kafka-port", "many"], id="value"),
        pytest.param(["local", "--broker", "rabbit"], id="broker"),
        pytest.param(["publish", "faxes", "-"], id="stage"),
        pytest.param(["topics", "create", "faxes"], id="stage of topics"),
        pytest.param(["publish", "tickets", "no/such/file.jsonl"], id="file"),
    ],
)
def test_wrong_use_ends_with_2_and_a_sentence(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.strip()
    assert "Traceback" not in ran.err


def test_a_wrong_setting_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_STREAM__MAX_UNFINISHED", "5000")
    ran = run("topics", "list")
    assert ran.code == 2
    assert "stream.max_unfinished" in ran.err


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    "arguments",
    [
        ["topics", "list"],
        ["tail", "tickets"],
        ["publish", "tickets", "samples/tickets.jsonl"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_brokers_that_do_not_answer_end_with_1_and_what_to_do(
    run: Run, arguments: list[str]
) -> None:
    ran = run(*arguments)
    assert ran.code == 1
    assert "127.0.0.1:1" in ran.err
    assert "PIPELINE_KAFKA__BOOTSTRAP_SERVERS" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    "arguments", [["--debug", "topics", "list"], ["topics", "list", "--debug"]]
)
def test_a_traceback_is_shown_where_it_is_asked_for(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.code == 1
    assert "Traceback" in ran.err


def test_a_fault_of_the_program_is_reported_without_what_it_quotes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> dict[str, str]:
        raise KeyError("secret content")

    monkeypatch.setattr(schemas, "generate", fail)
    ran = run("schemas", "--check")
    assert ran.code == 1
    assert "KeyError" in ran.err
    assert "--debug" in ran.err
    assert "secret content" not in ran.err


def test_schemas_are_written_and_checked(run: Run, tmp_path: Path) -> None:
    stale = run("schemas", "--check", "--directory", str(tmp_path))
    assert stale.code == 1
    assert "pipeline schemas" in stale.err
    assert run("schemas", "--directory", str(tmp_path)).code == 0
    assert run("schemas", "--check", "--directory", str(tmp_path)).code == 0


def test_help_is_quick_because_it_imports_nothing_heavy() -> None:
    heavy = {"aiokafka", "anthropic", "pydantic", "PIL", "aiohttp", "asyncio"}
    program = (
        "import sys, pipeline.cli\n"
        "sys.argv = ['pipeline', '--help']\n"
        "try: pipeline.cli.main()\n"
        "except SystemExit: pass\n"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    started = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "[]"
    assert time.perf_counter() - started < 5
