"""`pipeline dead-letters`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import APlace, Json, Key, Newest, Since, Until

if TYPE_CHECKING:
    from pipeline.operators.dead_letters.record import Selection

app = typer.Typer(no_args_is_help=True, help="Look at dead letters, replay them, take them out.")

Places = Annotated[
    list[str] | None, typer.Argument(help="PARTITION:OFFSET, as `list` prints them; all if none.")
]
Stages = Annotated[
    list[str] | None, typer.Option("--stage", help="Who could not handle it; may be repeated.")
]
Reasons = Annotated[
    list[str] | None, typer.Option("--reason", help="Such as invalid_event; may be repeated.")
]
Topics = Annotated[
    list[str] | None, typer.Option("--topic", help="Where it came from; may be repeated.")
]


@app.command("list")
def list_letters(
    *,
    stage: Stages = None,
    reason: Reasons = None,
    topic: Topics = None,
    key: Key = None,
    since: Since = None,
    until: Until = None,
    limit: Newest = 100,
    replayed: Annotated[
        bool | None, typer.Option("--replayed/--open", help="Only those that were, or were not.")
    ] = None,
    json: Json = False,
) -> None:
    """List dead letters, the newest last."""
    from pipeline.config import load_settings
    from pipeline.operators.dead_letters import listing
    from pipeline.operators.desk import topic_reader
    from pipeline.runtime import console

    settings = load_settings()
    selection = _selection(
        stages=stage, reasons=reason, topics=topic, key=key, since=since, until=until
    )
    found = console.run(
        listing.list_letters(
            settings, topic_reader(settings), selection, limit=limit, replayed=replayed
        )
    )
    if json:
        console.as_json(found)
        return
    if found.lines:
        console.table(listing.HEADINGS, listing.rows(found))
    console.note(listing.summary(found))


@app.command("show")
def show_letter(
    place: APlace,
    full: Annotated[bool, typer.Option("--full", help="All of it, however large.")] = False,
    json: Json = False,
) -> None:
    """Show one dead letter: why it is here, its headers, its value as text or in hexadecimal."""
    from pipeline.config import load_settings
    from pipeline.kafka.topics import TopicNames
    from pipeline.operators.arguments import parse_place
    from pipeline.operators.dead_letters import listing
    from pipeline.operators.dead_letters import listing as showing
    from pipeline.operators.desk import marks_of, topic_reader
    from pipeline.runtime import console

    settings, where = load_settings(), parse_place(place)
    names, read = TopicNames(settings.topics), topic_reader(settings)

    async def look() -> None:
        marks = await marks_of(read, names.dead_letters, names.replayed)
        letter = await listing.find(read, names.dead_letters, where)
        if json:
            console.as_json(showing.document_of(letter, marks))
            return
        for line in showing.lines_of(letter, marks, limit=None if full else showing.SHOWN):
            console.line(line)

    console.run(look())


@app.command("replay")
def replay_letters(
    *,
    places: Places = None,
    stage: Stages = None,
    reason: Reasons = None,
    topic: Topics = None,
    key: Key = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="At most; the first ones.")
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="A second, at most.")] = 50,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go where.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Those too that were replayed before.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Needed where nothing else says which.")
    ] = False,
    json: Json = False,
) -> None:
    """Put dead letters back on their topics, with their keys and headers, each once."""
    from pipeline.config import load_settings
    from pipeline.kafka.topics import TopicNames
    from pipeline.model.errors import UsageError
    from pipeline.operators.dead_letters import replay
    from pipeline.operators.desk import desk_for, marks_of, topic_reader
    from pipeline.runtime import console

    selected = places or stage or reason or topic or key or since or until
    if not (selected or limit or everything):
        raise UsageError(
            "Say which: PARTITION:OFFSET, --reason, --stage, --topic, --key, --since, --until, "
            "--limit, or --all."
        )
    settings = load_settings()
    selection = _selection(
        places=places, stages=stage, reasons=reason, topics=topic, key=key, since=since, until=until
    )
    order = replay.ReplayRequest(selection, rate=rate, limit=limit, again=again)
    names, read = TopicNames(settings.topics), topic_reader(settings)

    async def put_back() -> replay.Replayed:
        if dry_run:
            marks = await marks_of(read, names.dead_letters, names.replayed)
            return await replay.rehearse(settings, read, order, marks, on_done=done)
        async with desk_for(
            settings, names.dead_letters, names.replayed, tell=console.note
        ) as desk:
            return await replay.replay(settings, read, order, desk, on_done=done)

    with console.progress("Rehearsing" if dry_run else "Replaying", limit) as done:
        result = console.run(put_back())
    for refusal in result.refusals:
        console.note(f"{refusal.place}: {refusal.because}")
    if json:
        console.as_json({"dry_run": dry_run, **replay.document_of(result)})
    else:
        console.line(replay.sentence(result, dry_run=dry_run))
    if result.refused:
        raise typer.Exit(console.FAILED)


@app.command("export")
def export_letters(
    *,
    places: Places = None,
    stage: Stages = None,
    reason: Reasons = None,
    topic: Topics = None,
    key: Key = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most.")] = None,
    files: Annotated[
        Path | None,
        typer.Option(help="A folder: each value as a file, with what is known of it beside it."),
    ] = None,
) -> None:
    """Print dead letters as JSON Lines, bytes in base64; or write them as files."""
    from pipeline.config import load_settings
    from pipeline.model.printable import printable
    from pipeline.operators.dead_letters import export
    from pipeline.operators.dead_letters.record import DeadLetterRecord
    from pipeline.operators.desk import topic_reader
    from pipeline.operators.handled import HandledIndex
    from pipeline.runtime import console

    settings = load_settings()
    selection = _selection(
        places=places, stages=stage, reasons=reason, topics=topic, key=key, since=since, until=until
    )
    take: export.Take

    def print_line(letter: DeadLetterRecord, marks: HandledIndex) -> None:
        console.line(printable(export.as_line(letter, marks).decode()))

    take = print_line if files is None else export.Folder(files)
    taken = console.run(
        export.export(settings, topic_reader(settings), selection, take, limit=limit)
    )
    console.note(f"{taken:,} dead letters{'' if files is None else f' written to {files}'}")


def _selection(
    *,
    places: list[str] | None = None,
    stages: list[str] | None,
    reasons: list[str] | None,
    topics: list[str] | None,
    key: str | None,
    since: str | None,
    until: str | None,
) -> "Selection":
    from pipeline.model.records import now
    from pipeline.operators.arguments import parse_place, span
    from pipeline.operators.dead_letters.record import Selection

    return Selection(
        places=frozenset(parse_place(text) for text in places or ()),
        stages=tuple(stages or ()),
        reasons=tuple(reasons or ()),
        topics=tuple(topics or ()),
        key=key,
        span=span(since, until, now()),
    )
