"""Whether the examples of a docstring do what they show: run in a child that can do nothing else.

`example_child` says how it is confined. Each example has an interpreter of its own, which ends with
it: about 0.1 s of CPU, for whoever switches it on.
"""

import contextlib
import platform
import subprocess
import sys
import threading
from pathlib import Path

import orjson

from pipeline.model.errors import UsageError
from pipeline.model.questions import Signal

SECONDS = 2.0
"""Of one docstring's examples; what takes longer is not judged."""
PROMPT = ">>> "
MACHINES = ("x86_64", "aarch64")
_CHILD = Path(__file__).with_name("example_child.py")
_LONGEST_REPLY = 200
_AT_ONCE = threading.BoundedSemaphore(2)


def require_confinement(setting: str) -> None:
    """Raise a UsageError where the kernel cannot confine a child as is needed here."""
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        raise UsageError(
            f"{setting} needs Linux on {' or '.join(MACHINES)}, whose seccomp confines what "
            "examples do: set it to false here."
        )


def example_signals(source: str, example: str) -> list[Signal]:
    """Run an interpreter session against a Python source, and notice what comes out otherwise.

    Nothing is said of an example that is no session, or that cannot run where nothing can be
    opened, imported beyond the standard library's usual modules, or waited for.
    """
    if PROMPT not in example:
        return []
    tried, wrong = _outcome(orjson.dumps({"source": source, "example": example}))
    if not wrong:
        return []
    return [Signal("example_failed", 1.0, f"{wrong} of {tried} examples do not do what they show.")]


def _outcome(asked: bytes) -> tuple[int, int]:
    command = [sys.executable, "-I", "-S", str(_CHILD), str(SECONDS)]
    nothing, pipe = subprocess.DEVNULL, subprocess.PIPE
    with (
        _AT_ONCE,
        subprocess.Popen(  # noqa: S603 - this interpreter, our program
            command, stdin=pipe, stdout=pipe, stderr=nothing, env={}, cwd="/"
        ) as child,
    ):
        assert child.stdin is not None  # noqa: S101 - both are pipes
        assert child.stdout is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(asked)
            child.stdin.close()
        # It ends itself in time, by an alarm that it cannot take back.
        reply = child.stdout.read(_LONGEST_REPLY)
        child.kill()
    try:
        found = orjson.loads(reply)
        return int(found["tried"]), min(int(found["wrong"]), int(found["tried"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return 0, 0
