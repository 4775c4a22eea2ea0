"""`pipeline topics`."""

from typing import Annotated

import typer

from pipeline.cli.options import Json

app = typer.Typer(no_args_is_help=True, help="Make, list and describe the topics.")
Stages = Annotated[
    list[str] | None, typer.Argument(help="Whose topics; those of the enabled stages if none.")
]


@app.command("create")
def create_topics(stages: Stages = None, json: Json = False) -> None:
    """Make the topics that are missing; change none that exists."""
    from pipeline.config import load_settings
    from pipeline.operators.topics import create
    from pipeline.runtime import console

    reports = console.run(create(load_settings(), stages))
    if json:
        console.as_json(reports)
        return
    for report in reports:
        console.line(f"{report.name}: {'made' if report.was_created else 'exists'}")
        for difference in report.differences:
            console.note(f"  {difference}")


@app.command("list")
def list_topics(stages: Stages = None, json: Json = False) -> None:
    """List the topics of the pipeline that exist."""
    from pipeline.config import load_settings
    from pipeline.operators.topics import describe
    from pipeline.runtime import console

    described = console.run(describe(load_settings(), stages))
    names = [name for name, state in described.items() if state is not None]
    if json:
        console.as_json(names)
    else:
        for name in names:
            console.line(name)


@app.command("describe")
def describe_topics(stages: Stages = None, json: Json = False) -> None:
    """Describe the topics of the pipeline, the missing ones included."""
    from pipeline.config import load_settings
    from pipeline.operators.topics import describe
    from pipeline.runtime import console

    described = console.run(describe(load_settings(), stages))
    if json:
        console.as_json(described)
        return
    headings = ("Topic", "Partitions", "Replicas", "Largest record")
    console.table(
        headings,
        [
            (name, "missing", "", "")
            if state is None
            else (
                name,
                str(state.partitions),
                str(state.replication_factor),
                "?" if state.max_message_bytes is None else f"{state.max_message_bytes:,}",
            )
            for name, state in described.items()
        ],
    )
