"""The terminal: how commands run, what they say when they fail, and how they show progress."""

import asyncio
import contextlib
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from types import FrameType
from typing import Any, TypeVar

import orjson
import uvloop
from pydantic_core import to_json
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod, OverflowMethod
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from pipeline.model.errors import PipelineError, UsageError
from pipeline.model.printable import printable
from pipeline.runtime.process import Deadline, UnwaitedExecutor

T = TypeVar("T")
FAILED = 1
WRONG_USE = 2
_WIDE = 200
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(PipelineError):
    """A command was stopped before it had done its work."""


def report(error: BaseException, *, debug: bool) -> int:
    """Print on standard error, in one sentence, why a command failed; returns its exit code."""
    if debug:
        traceback.print_exception(error)
    cause = first_cause(error)
    sentence = str(cause)
    if not isinstance(cause, PipelineError):
        frames = traceback.extract_tb(cause.__traceback__)
        place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        # Its message may quote a record; the traceback, which shows it, has to be asked for.
        sentence = (
            f"A fault of the program itself ({type(cause).__name__}{place}): run the command again "
            "with --debug and report what it prints."
        )
    terminal = Console(stderr=True, highlight=False, soft_wrap=True)
    terminal.print("[bold red]Error:[/bold red]", end=" ")
    terminal.print(printable(sentence, keep="\n"), markup=False)
    return WRONG_USE if isinstance(cause, UsageError) else FAILED


def first_cause(error: BaseException) -> BaseException:
    """The first error of a group that a person can act on, or else its first."""
    leaves = [error]
    while groups := [each for each in leaves if isinstance(each, BaseExceptionGroup)]:
        at = leaves.index(groups[0])
        leaves[at : at + 1] = groups[0].exceptions
    return next((leaf for leaf in leaves if isinstance(leaf, PipelineError)), leaves[0])


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command that has an end; Ctrl-C and SIGTERM cancel it.

    Raises:
        Interrupted: It was cancelled.
    """

    async def interruptible(_: asyncio.Event) -> T:
        return await work

    return _run(interruptible, patience=0, deadline=Deadline(None))


def run_until_stopped(
    serve: Callable[[asyncio.Event], Awaitable[T]], *, ends_within: float | None = None
) -> T:
    """Run a command that goes on until it is stopped.

    `serve` is to return soon after its event is set, which the first Ctrl-C or SIGTERM does; a
    second one cancels it. Where it has not `ends_within` seconds after that, the process ends with
    `pipeline.runtime.process.OVERDUE`.

    Raises:
        Interrupted: It was cancelled.
    """
    return _run(serve, patience=1, deadline=Deadline(ends_within))


def run_endless(work: Coroutine[Any, Any, T]) -> T | None:
    """Run a command that is done when it is stopped, as that is the only way to end it."""
    try:
        return run(work)
    except Interrupted:
        return None


class Bar:
    """A progress bar; called with a number of steps it moves on by them."""

    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def __call__(self, steps: int) -> None:
        self._bars.advance(self._task, steps)

    def show(self, *, done: int, total: int, what: str) -> None:
        self._bars.update(self._task, completed=done, total=total, description=what)


@contextlib.contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Bar]:
    """Show how far a long work is, on standard error; nothing where that is no terminal."""
    terminal = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeElapsedColumn(), console=terminal, disable=not terminal.is_terminal
    ) as bars:
        task = bars.add_task(what, total=total)
        yield Bar(bars, task)


def _run(serve: Callable[[asyncio.Event], Awaitable[T]], *, patience: int, deadline: Deadline) -> T:
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_with_signals(serve, patience, deadline))
    finally:
        deadline.cancel()


async def _with_signals(
    serve: Callable[[asyncio.Event], Awaitable[T]], patience: int, deadline: Deadline
) -> T:
    stop, received = asyncio.Event(), 0
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    loop.set_default_executor(UnwaitedExecutor())

    def on_signal() -> None:
        nonlocal received
        received += 1
        stop.set()
        if received > patience and task is not None:
            task.cancel()

    async def start_deadline() -> None:
        # A failure sets `stop` without any signal.
        await stop.wait()
        deadline.start()

    for number in _SIGNALS:
        _handle(number, on_signal, deadline)
    waiting = loop.create_task(start_deadline())
    try:
        return await serve(stop)
    except asyncio.CancelledError:
        if received > patience:
            raise Interrupted("Stopped before it was done.") from None
        raise
    finally:
        deadline.start()
        waiting.cancel()
        await asyncio.wait((waiting,))
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _handle(number: signal.Signals, on_signal: Callable[[], None], deadline: Deadline) -> None:
    """Have the time run from the signal on, even where the event loop is blocked."""
    asyncio.get_running_loop().add_signal_handler(number, on_signal)
    of_loop = signal.getsignal(number)

    def handle(received: int, frame: FrameType | None) -> None:
        deadline.start()
        if callable(of_loop):
            of_loop(received, frame)

    # A wait that the signal interrupts, as of a thread for another, lets this run at once.
    signal.signal(number, handle)


def line(text: str) -> None:
    """Print a line on standard output, at once and as it is."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def plain(text: str) -> str:
    """Text from outside, with nothing in it that a terminal would obey."""
    return printable(text, keep="\n")


def note(text: str) -> None:
    """Print a note for a person on standard error, out of the way of the output."""
    readable = printable(text, keep="\n")
    sys.stderr.write(f"{readable}\n")


def clear() -> None:
    """Empty the terminal; nothing where there is none."""
    Console().clear()


def as_json(document: Any) -> None:  # noqa: ANN401 - whatever orjson takes
    """Print one line of JSON for a program; what a terminal would obey is escaped within it."""
    try:
        text = orjson.dumps(document, default=str).decode()
    except orjson.JSONEncodeError:  # an event may hold numbers that are longer than it takes
        text = to_json(document, fallback=str).decode()
    line(printable(text))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True) -> None:
    """Print a table; `numbers` belong in all columns but the first."""
    shown = grid(headings, no_wrap=False, numbers=numbers)
    for row in rows:
        shown.add_row(*(Text(printable(cell)) for cell in row))
    terminal().print(shown)


def grid(headings: Sequence[str], *, no_wrap: bool = True, numbers: bool = True) -> Table:
    """A table without rows yet; `numbers` belong in all columns but the first."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for index, heading in enumerate(headings):
        justify: JustifyMethod = "right" if index and numbers else "left"
        overflow: OverflowMethod = "ellipsis" if no_wrap else "fold"
        table.add_column(heading, justify=justify, overflow=overflow, no_wrap=no_wrap)
    return table


def terminal() -> Console:
    """Standard output; a file or a pipe has no width to keep to."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
