"""No child outlives its parent."""

import signal
import subprocess
import sys

import pytest

from pipeline.runtime.process import dies_with_parent

PARENT = """
import signal, subprocess, sys
from pipeline.runtime.process import dies_with_parent
child = [sys.executable, "-c", "import sys; sys.stdin.read()"]
command = dies_with_parent(child, when_parent_dies=signal.SIGTERM)
running = subprocess.Popen(command, stdin=subprocess.PIPE)
print(running.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux notifies a child of this")
def test_a_child_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        # The pipe that the child inherited closes when it is gone, and only then.
        assert parent.stdout.read() == b""
    assert child > 0


def test_a_command_runs_as_it_is() -> None:
    command = [sys.executable, "-c", "import sys; print(sys.argv[1:])", "a b", "c"]

    done = subprocess.run(
        dies_with_parent(command, when_parent_dies=signal.SIGKILL),
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout == "['a b', 'c']\n"
