"""The command line: which commands there are, and how their errors end.

Each command imports what it needs when it runs, so that `--help` and completion are quick.
"""

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated, NoReturn

import typer

from pipeline.cli import comparing  # noqa: F401 - its commands are of `trust`
from pipeline.cli.access import access
from pipeline.cli.checks import cost, doctor, evaluate, say_what_is_next, schemas, version
from pipeline.cli.examples import epilog
from pipeline.cli.kafka import lag, lookup, publish, tail, topics
from pipeline.cli.labelling import label_sample
from pipeline.cli.notify import notify
from pipeline.cli.offsets import offsets
from pipeline.cli.operators import audit, dead_letters, forget, review
from pipeline.cli.options import Json
from pipeline.cli.running import backfill, demo, desk, local, run
from pipeline.cli.trust import trust
from pipeline.cli.trying import ask, init, map_sample

__all__ = ["app", "main", "program"]

DEBUG = "--debug"

app = typer.Typer(
    pretty_exceptions_enable=False,
    help="Kafka events enriched by Claude: Haiku answers the routine, Sonnet the ambiguous.",
)
COMMANDS = (
    *(demo, run, desk, local, publish, backfill, tail, lookup, lag),
    *(init, ask, forget, cost, evaluate, doctor, version),
)
GROUPS = {
    "topics": topics,
    "schemas": schemas,
    "offsets": offsets,
    "dead-letters": dead_letters,
    "review": review,
    "audit": audit,
    "trust": trust,
    "access": access,
    "notify": notify,
}
for command in COMMANDS:
    app.command(epilog=epilog(command.__name__))(command)
review.command("sample")(label_sample)
app.command("map", epilog=epilog("map"))(map_sample)
for group_name, group in GROUPS.items():
    app.add_typer(group, name=group_name, epilog=epilog(group_name))
    for registered in group.registered_commands:
        named = registered.name or getattr(registered.callback, "__name__", "")
        registered.epilog = epilog(f"{group_name} {named}")


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    debug: Annotated[  # noqa: ARG001 - `main` looks for it among the arguments
        bool, typer.Option(DEBUG, help="Print an error's traceback, too.")
    ] = False,
    json: Json = False,
) -> None:
    """Options of every command; without one it says what to do next."""
    if context.invoked_subcommand is None:
        say_what_is_next(json=json)


def program() -> NoReturn:
    """Run the command line as the whole of this process, and leave behind what never ends."""
    try:
        main()
    except SystemExit as end:
        from pipeline.runtime.process import leave

        leave(end.code if isinstance(end.code, int) else 1)


def main() -> NoReturn:
    """Run the command line, in which `--debug` may stand anywhere; `SystemExit` has the code."""
    arguments = [argument for argument in sys.argv[1:] if argument != DEBUG]
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal that cannot show a character of some record gets its escape.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(_code_of(arguments))


def _code_of(arguments: Sequence[str]) -> int:
    try:
        app(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:
        # The reader has enough, as in `pipeline tail tickets | head`; the interpreter's own flush
        # at its end must not fail for that again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the last place where a fault can be put in words
        from pipeline.runtime import console

        return console.report(error, debug=DEBUG in sys.argv)
    return 0
