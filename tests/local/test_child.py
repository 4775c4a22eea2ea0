import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.local.child import Child


def sleeper(tmp_path: Path, *, ignoring_sigterm: bool = False) -> Child:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN);" if ignoring_sigterm else ""
    code = f"import signal;{ignore}print('up', flush=True);signal.pause()"
    return Child([sys.executable, "-S", "-c", code], log=tmp_path / "log")


async def up(child: Child) -> None:
    async with asyncio.timeout(10):
        while "up" not in child.output():  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.005)


async def test_a_child_that_does_not_end_when_asked_is_killed(tmp_path: Path) -> None:
    child = sleeper(tmp_path, ignoring_sigterm=True)
    await up(child)
    assert await child.stop(within=0.05) == -signal.SIGKILL


async def test_a_child_ends_when_asked(tmp_path: Path) -> None:
    child = sleeper(tmp_path)
    await up(child)
    assert await child.stop(within=10) == -signal.SIGTERM
    assert not child.running


async def test_a_frozen_child_can_be_stopped(tmp_path: Path) -> None:
    child = sleeper(tmp_path)
    await up(child)
    child.send(signal.SIGSTOP)
    assert await child.stop(within=10) == -signal.SIGTERM


async def test_a_program_that_is_missing_ends_with_the_reason_in_its_output(tmp_path: Path) -> None:
    child = Child(["no-such-program"], log=tmp_path / "log")
    assert await child.wait() != 0
    assert "No such file" in child.output()


async def test_output_is_of_this_run_alone(tmp_path: Path) -> None:
    for word in ("first", "second"):
        child = Child(["echo", word], log=tmp_path / "log")
        await child.wait()
        assert child.output() == f"{word}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_child_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    code = f"""
import pathlib, signal, sys
from pipeline.local.child import Child
child = Child(["sleep", "1000"], log=pathlib.Path({str(tmp_path / "log")!r}))
print(child.pid, flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.kill()
            ended, _, _ = select.select([child], [], [], 10)
            assert ended
        finally:
            os.close(child)
