"""`pipeline schemas`."""

from pathlib import Path
from typing import Annotated

import typer


def schemas(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if the files are stale.")
    ] = False,
    directory: Annotated[Path, typer.Option(help="Where the files are.")] = Path("schemas"),
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", help="Only what this stage reads and writes; may be repeated."),
    ] = None,
) -> None:
    """Write the JSON Schemas and the AsyncAPI document of all topics, or check them."""
    from pipeline import schemas
    from pipeline.config import load_settings
    from pipeline.stages.api import build_stages, stage_named

    settings = load_settings()
    if stage:
        chosen = schemas.generate_some([stage_named(settings.stages, name) for name in stage])
        generated = {**schemas.read(directory), **chosen}
    else:
        generated = schemas.generate(tuple(build_stages(settings.stages).values()))
    if check:
        schemas.check(directory, generated)
        return
    for name in schemas.write(directory, generated):
        typer.echo(f"wrote {directory / name}")
