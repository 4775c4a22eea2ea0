"""The commands, nothing else.

Each imports what it needs when it runs, so that `--help` and completion are quick.
"""
# ruff: noqa: PLC0415

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Kafka events enriched by Claude: Haiku answers the routine, Sonnet the ambiguous.",
)

DEBUG = "--debug"
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option(DEBUG, help="Print the traceback of an error, too.")
    ] = False,
) -> None:
    """Options of every command."""


@app.command()
def schemas(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if the files are stale.")
    ] = False,
    directory: Annotated[Path, typer.Option(help="Where the files are.")] = Path("schemas"),
) -> None:
    """Write the JSON Schemas and the AsyncAPI document of all topics, or check them."""
    from pipeline.schemas import files
    from pipeline.settings import StagesSettings
    from pipeline.stages.registry import build_stages

    generated = files.generate(tuple(build_stages(StagesSettings()).values()))
    if check:
        files.check(directory, generated)
        return
    for name in files.write(directory, generated):
        typer.echo(f"wrote {directory / name}")


@app.command()
def version() -> None:
    """Print the version."""
    import pipeline

    typer.echo(pipeline.__version__)


def main() -> None:
    """Run the command line; `--debug` may stand anywhere in it."""
    arguments = [argument for argument in sys.argv[1:] if argument != DEBUG]
    try:
        app(arguments)
    except Exception as error:  # noqa: BLE001 - the last place where a fault can be put in words
        from pipeline import console

        sys.exit(console.report(error, debug=DEBUG in sys.argv))


if __name__ == "__main__":
    main()
