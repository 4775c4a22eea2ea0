"""Runs an example of a docstring where it can do no harm: `python -I -S example_child.py SECONDS`.

A program of its own, of the standard library alone, in an interpreter that has nothing of the
pipeline's memory, environment or connections. Before anything of an event runs, the kernel is given
what this process may still do, which it cannot take back: use its memory, tell the time, sleep,
write what came of it, and end. It opens no file and no connection, starts nothing, and signals
nobody (seccomp, an allow-list of system calls; the others fail). Memory, CPU and time are limited.

It reads one JSON object, `source` and `example`, and writes one: how many examples were tried and
how many of them do not do what they show. Where it says nothing, nothing can be said.
"""

import contextlib
import ctypes
import doctest
import json
import os
import platform
import resource
import signal
import struct
import sys

# What examples and sources import; once confined, nothing else can be.
for _name in (
    "abc", "bisect", "collections", "contextlib", "copy", "dataclasses", "datetime", "decimal",
    "enum", "fractions", "functools", "heapq", "itertools", "json", "math", "operator", "random",
    "re", "statistics", "string", "textwrap", "time", "typing",
):  # fmt: skip
    __import__(_name)

MEMORY = 256 << 20
"""Bytes of address space beside what the interpreter takes."""
_PAGE = resource.getpagesize()
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # the call fails with EPERM
_ARCHITECTURE_AT, _NUMBER_AT = 4, 0
ARCHITECTURES = {
    # read write close fstat lseek mmap mprotect munmap brk rt_sigreturn sched_yield mremap madvise
    # getpid exit gettimeofday sigaltstack gettid time futex restart_syscall clock_gettime
    # clock_nanosleep exit_group getrandom
    "x86_64": (
        0xC000003E,
        (0, 1, 3, 5, 8, 9, 10, 11, 12, 15, 24, 25, 28, 39, 60, 96, 131, 186, 201, 202, 219, 228,
         230, 231, 318),
    ),
    # the same, without time; clock_nanosleep is 115
    "aarch64": (
        0xC00000B7,
        (63, 64, 57, 80, 62, 222, 226, 215, 214, 139, 124, 216, 233, 172, 93, 169, 132, 178, 98,
         128, 113, 115, 94, 278),
    ),
}  # fmt: skip
"""By machine: how the kernel calls it, and the numbers of the system calls that are left."""
_NOT_TO_BE_JUDGED = (ImportError, OSError, MemoryError, RecursionError, NotImplementedError)
"""What an example may raise because of where it runs."""


class Confinement(OSError):
    """The kernel does not confine this process."""


def confine() -> None:
    """Give up all that is not needed to compute; raises `Confinement` where that cannot be."""
    mapped = int(open("/proc/self/statm").read().split()[0]) * _PAGE  # noqa: PTH123, SIM115
    for what, most in (
        (resource.RLIMIT_AS, mapped + MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(what, (most, most))
    architecture, calls = ARCHITECTURES[platform.machine()]
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _REFUSE),
    ]
    steps.append((_LOAD, 0, 0, _NUMBER_AT))
    for at, number in enumerate(calls):
        steps.append((_EQUAL, len(calls) - at, 0, number))
    steps += [(_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in steps))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))

    filtering = Program(len(steps), ctypes.addressof(program))
    kernel = ctypes.CDLL(None, use_errno=True)
    if kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or kernel.prctl(
        _PR_SET_SECCOMP, _FILTER, ctypes.byref(filtering), 0, 0
    ):
        raise Confinement(ctypes.get_errno(), "no seccomp")


class Runner(doctest.DocTestRunner):
    """Counts instead of printing; stops judging at what is not the example's fault."""

    wrong, is_judged = 0, True

    def report_start(self, *_: object) -> None:
        """Say nothing."""

    def report_success(self, *_: object) -> None:
        """Say nothing."""

    def report_failure(self, *_: object) -> None:
        self.wrong += 1

    def report_unexpected_exception(self, _out, _test, _example, raised) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
        if issubclass(raised[0], _NOT_TO_BE_JUDGED):
            self.is_judged = False
        else:
            self.wrong += 1


def run(source: str, example: str) -> dict[str, int]:
    """Define what the source defines, and do what the example shows."""
    names: dict[str, object] = {"__name__": "example"}
    exec(compile(source, "<source>", "exec"), names)  # noqa: S102 - what this process is for
    test = doctest.DocTestParser().get_doctest(example, names, "example", None, 0)
    # What an error says is no part of what is documented.
    flags = doctest.IGNORE_EXCEPTION_DETAIL | doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = Runner(verbose=False, optionflags=flags)
    runner.run(test, out=lambda _: None, clear_globs=False)
    return {"tried": len(test.examples) if runner.is_judged else 0, "wrong": runner.wrong}


def main(seconds: float) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    asked = json.loads(sys.stdin.buffer.read())
    confine()
    found = {"tried": 0, "wrong": 0}
    with contextlib.suppress(BaseException):  # whatever the source raises is not the example's
        found = run(asked["source"], asked["example"])
    os.write(1, json.dumps(found).encode())
    os._exit(0)


if __name__ == "__main__":
    main(float(sys.argv[1]))
