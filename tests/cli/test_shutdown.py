"""A process that is asked to end ends in time, whatever its threads and its event loop do."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, re, signal, sys, threading, time
from pipeline.runtime import console
from pipeline import cli
from pipeline.observe.logging import configure_logging
from pipeline.config import LogSettings

configure_logging(LogSettings(format="json"))

def for_ever():
    threading.Event().wait()

def holding_the_interpreter():
    re.fullmatch("(a+)+b", "a" * 64)

async def begun():
    print("begun", flush=True)

async def serve(stop):
    {body}

@cli.app.command("test")
def command() -> None:
    console.run_until_stopped(serve, ends_within={within})
    print("drained", flush=True)

sys.argv = ["pipeline", "test"]
cli.program()
"""


def ended(
    tmp_path: Path, body: str, *, within: float = 60, signals: int = 1
) -> tuple[int, str, str]:
    """Run a program, send it SIGTERM once it has begun; its exit code and what it printed."""
    file = tmp_path / "program.py"
    file.write_text(PROGRAM.format(body=body.replace("\n", "\n    "), within=within))
    with subprocess.Popen(
        [sys.executable, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "begun\n"
            for _ in range(signals):
                process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=40)
        finally:
            process.kill()
    return process.returncode, out, err


@pytest.mark.timeout(90)
def test_a_thread_that_never_ends_is_left_behind_with_the_exit_code_of_the_command(
    tmp_path: Path,
) -> None:
    code, out, err = ended(
        tmp_path,
        """task = asyncio.create_task(asyncio.to_thread(for_ever))
await begun()
await stop.wait()
task.cancel()""",
    )
    assert (code, out) == (0, "drained\n")
    assert "left behind" in err


@pytest.mark.timeout(90)
def test_a_failure_is_reported_although_a_thread_never_ends(tmp_path: Path) -> None:
    code, out, err = ended(
        tmp_path,
        """task = asyncio.create_task(asyncio.to_thread(for_ever))
await begun()
await stop.wait()
from pipeline.model.errors import PipelineError
raise PipelineError("No broker answers.")""",
    )
    assert (code, out) == (1, "")
    assert "Error: No broker answers." in err


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    "body",
    [
        "await begun()\nawait asyncio.Event().wait()",
        "await begun()\ntime.sleep(10**6)",
        "await begun()\nwhile True: pass",
        "await begun()\nawait stop.wait()\nholding_the_interpreter()",
        # An executor of its own, whose threads are waited for.
        """from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor() as threads:
    threads.submit(for_ever)
    await begun()""",
    ],
    ids=["never drains", "sleeps on the loop", "spins on the loop", "in C", "own executor"],
)
def test_what_does_not_end_by_itself_is_ended_at_the_deadline(tmp_path: Path, body: str) -> None:
    started = time.monotonic()
    code, out, err = ended(tmp_path, body, within=0.5)
    assert (code, out) == (1, "")
    assert time.monotonic() - started < 30
    assert "most recent call first" in err  # where each thread is
    if "holding" not in body:
        assert "it was asked to end" in err


@pytest.mark.timeout(90)
def test_a_failure_without_any_signal_has_the_same_time_to_end(tmp_path: Path) -> None:
    code, _, err = ended(
        tmp_path, "await begun()\nstop.set()\nawait asyncio.Event().wait()", within=0.5, signals=0
    )
    assert code == 1
    assert "it was asked to end" in err


@pytest.mark.timeout(90)
def test_what_ends_by_itself_is_not_ended_later(tmp_path: Path) -> None:
    code, out, err = ended(tmp_path, "await begun()\nawait stop.wait()", within=30)
    assert (code, out, err) == (0, "drained\n", "")
