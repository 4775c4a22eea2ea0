"""A child process that cannot outlive its parent, even if that is killed."""

import os
import signal
import sys
from collections.abc import Sequence

_TETHER = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None, use_errno=True).prctl(1, int(sys.argv[2]))  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Becomes the command after asking the kernel for a signal when its parent dies.

A program of its own rather than a `preexec_fn`, which is unsafe in a process with threads. Where
the kernel is not Linux, a child whose parent was killed stays until somebody ends it.
"""


def tethered(command: Sequence[str], *, when_parent_dies: signal.Signals) -> list[str]:
    """The command line that runs `command` as a child that gets a signal when this process dies."""
    tether = [sys.executable, "-I", "-S", "-c", _TETHER, str(os.getpid())]
    return [*tether, str(when_parent_dies.value), *command]
