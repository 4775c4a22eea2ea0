"""`pipeline offsets`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from pipeline.cli.options import Json, Strings

if TYPE_CHECKING:
    from pipeline.operators.offsets import GroupOffsets, Plan

offsets = typer.Typer(
    no_args_is_help=True,
    help="Look at what groups committed, and move one on purpose, while nobody is in it.",
)
AStage = Annotated[str, Argument(help="Whose group: tickets, escalations, ...")]
Execute = Annotated[bool, Option("--execute", help="Do it; without, only say what it comes to.")]


@offsets.command("show")
def show_offsets(
    stages: Annotated[Strings, Argument(help="Which; the enabled ones if none.")] = None,
    json: Json = False,
) -> None:
    """Show what each group committed, what is done above it, and what waits."""
    from functools import partial

    from pipeline.cli.terminal import console, load_settings
    from pipeline.kafka.groups import open_group
    from pipeline.operators.offsets import SHOWN, show, shown_rows

    settings = load_settings()

    async def look() -> "list[GroupOffsets]":
        return [each async for each in show(settings, stages, partial(open_group, settings))]

    found = console.run(look())
    if json:
        console.as_json(found)
        return
    for group in found:
        console.line(f"{group.group}, {group.members} members")
        console.table(SHOWN, shown_rows(group))
        for each in group.partitions:
            if each.fault is not None:
                console.note(f"{each.topic}, partition {each.partition}: {each.fault}")


@offsets.command("reset")
def reset_offsets(
    *,
    stage: AStage,
    to: Annotated[
        str,
        Option(help="earliest, latest, current, an offset, or a time: 2026-11-22T10:00, 2h ago."),
    ],
    partition: Annotated[
        list[int] | None, Option("--partition", help="Only this one; repeatable.")
    ] = None,
    topic: Annotated[
        Strings, Option("--topic", help="Only of this one, where it reads several; repeatable.")
    ] = None,
    keep_done: Annotated[
        bool, Option("--keep-done", help="What is done above the committed offset stays done.")
    ] = False,
    execute: Execute = False,
    json: Json = False,
) -> None:
    """Have a stage go on from elsewhere: say what is done again or skipped, and what it costs."""
    from functools import partial

    from pipeline.cli.terminal import console, load_settings
    from pipeline.kafka.groups import open_group
    from pipeline.model.records import now
    from pipeline.operators.offsets import reset

    settings = load_settings()
    work = reset(
        settings,
        stage,
        to,
        partial(open_group, settings),
        now=now(),
        partitions=partition or (),
        topics=topic or (),
        keep_done=keep_done,
        execute=execute,
    )
    _print(console.run(work), json=json)


@offsets.command("import")
def import_offsets(
    *,
    stage: AStage,
    source: Annotated[
        str, Option("--from", help="The group to take over, or a file of `offsets show --json`.")
    ],
    execute: Execute = False,
    json: Json = False,
) -> None:
    """Have a stage go on where another group stopped, with what is done above its offsets."""
    from functools import partial

    from pipeline.cli.terminal import console, load_settings
    from pipeline.kafka.groups import open_group
    from pipeline.operators.offsets import import_from

    settings = load_settings()
    file = Path(source)
    taken = file if file.is_file() else source
    work = import_from(settings, stage, taken, partial(open_group, settings), execute=execute)
    _print(console.run(work), json=json)


def _print(plan: "Plan", *, json: bool) -> None:
    from pipeline.cli.terminal import console
    from pipeline.operators.offsets import MOVED, moved_rows, summary

    if json:
        console.as_json(plan)
    else:
        console.table(MOVED, moved_rows(plan))
        console.line(summary(plan))
    for note in plan.notes:
        console.note(note)
    if plan.members and not plan.executed:
        console.note(
            f"{plan.group} has {plan.members} members, which go on meanwhile: --execute is refused "
            "until they are stopped."
        )
