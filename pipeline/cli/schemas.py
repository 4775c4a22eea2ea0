"""`pipeline schemas`."""

from pathlib import Path
from typing import Annotated

import typer


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
