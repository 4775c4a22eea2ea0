"""`pipeline review`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import APlace, Json, Key, Newest, Since, Until

app = typer.Typer(
    no_args_is_help=True, help="Look at what neither model could settle, and settle it."
)


class Accepted(StrEnum):
    """Whose answer may be accepted."""

    HAIKU = "haiku"
    SONNET = "sonnet"


@app.command("list")
def list_cases(
    *,
    stage: Annotated[
        list[str] | None, typer.Option("--stage", help="Whose events; may be repeated.")
    ] = None,
    doubt: Annotated[
        list[str] | None, typer.Option("--doubt", help="Such as arithmetic; may be repeated.")
    ] = None,
    key: Key = None,
    since: Since = None,
    until: Until = None,
    limit: Newest = 100,
    resolved: Annotated[
        bool | None, typer.Option("--resolved/--open", help="Only those that were, or were not.")
    ] = None,
    json: Json = False,
) -> None:
    """List cases, the newest last."""
    from pipeline.config import load_settings
    from pipeline.model.records import now
    from pipeline.operators.arguments import span
    from pipeline.operators.desk import topic_reader
    from pipeline.operators.review import listing
    from pipeline.operators.review.item import Selection
    from pipeline.runtime import console

    settings = load_settings()
    selection = Selection(
        stages=tuple(stage or ()),
        doubts=tuple(doubt or ()),
        key=key,
        span=span(since, until, now()),
    )
    found = console.run(
        listing.list_cases(
            settings, topic_reader(settings), selection, limit=limit, resolved=resolved
        )
    )
    if json:
        console.as_json(found)
        return
    for sentence in found.unreadable:
        console.note(sentence)
    if found.unreadable_count > len(found.unreadable):
        console.note(f"{found.unreadable_count:,} records are no cases.")
    if found.lines:
        console.table(listing.HEADINGS, listing.rows(found))
    console.note(listing.summary(found))


@app.command("show")
def show_case(
    *,
    place: APlace,
    full: Annotated[bool, typer.Option("--full", help="All of it, however large.")] = False,
    file: Annotated[
        Path | None, typer.Option(help="Write the event's own file there, to look at it.")
    ] = None,
    json: Json = False,
) -> None:
    """Show one case: the event, the doubts, both answers side by side."""
    from pipeline.config import load_settings
    from pipeline.kafka.topics import TopicNames
    from pipeline.operators.arguments import parse_place
    from pipeline.operators.desk import marks_of, topic_reader
    from pipeline.operators.review import listing as showing
    from pipeline.operators.review.listing import find
    from pipeline.runtime import console

    settings, where = load_settings(), parse_place(place)
    names, read = TopicNames(settings.topics), topic_reader(settings)

    async def look() -> None:
        marks = await marks_of(read, names.review, names.resolved)
        case = await find(read, names.review, where)
        if file is not None:
            console.note(f"{showing.save_file(case, file):,} bytes written to {file}")
        if json:
            console.as_json(showing.document_of(case, marks))
            return
        for line in showing.lines_of(case, marks, limit=None if full else showing.SHOWN):
            console.line(line)

    console.run(look())


@app.command("resolve")
def resolve_case(
    *,
    place: APlace,
    result: Annotated[
        str | None, typer.Option(help="What is right, as JSON; @FILE reads it from a file.")
    ] = None,
    accept: Annotated[Accepted | None, typer.Option(help="Whose answer is right.")] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Mend a field of it; may be repeated."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Add a line to this file, for `pipeline evaluate`.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Publish another verdict after an earlier one.")
    ] = False,
    json: Json = False,
) -> None:
    """Publish a person's verdict as the event's result, under its key, once."""
    import random

    from pipeline.config import load_settings
    from pipeline.kafka.topics import TopicNames
    from pipeline.model.errors import UsageError
    from pipeline.model.records import Tier, now
    from pipeline.operators.arguments import parse_place
    from pipeline.operators.desk import desk_for, topic_reader
    from pipeline.operators.review import resolve, verdict
    from pipeline.operators.review.resolve import LabelledFile
    from pipeline.runtime import console

    if (result is None) == (accept is None):
        raise UsageError("Say what is right: either --result, or --accept haiku|sonnet.")
    settings, where = load_settings(), parse_place(place)
    names = TopicNames(settings.topics)
    decided = verdict.Verdict(
        given=None if result is None else verdict.parse_result(_text_of(result)),
        accepted=None if accept is None else Tier(accept.value),
        changes=verdict.parse_changes(change or ()),
    )

    async def settle() -> resolve.Resolved:
        decision = await resolve.decide(settings, topic_reader(settings), where, decided)
        return await resolve.resolve(
            settings,
            decision,
            lambda: desk_for(settings, names.review, names.resolved, tell=console.note),
            now(),
            jitter=random.random,
            again=again,
            labels=None if labels is None else LabelledFile(labels),
        )

    done = console.run(settle())
    if json:
        console.as_json(done)
    else:
        console.line(f"{done.place}: published to {done.topic}")


def _text_of(argument: str) -> str:
    """The argument itself, or what is in the file that it names after an `@`."""
    from pipeline.model.errors import UsageError

    if not argument.startswith("@"):
        return argument
    try:
        return Path(argument[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{argument[1:]} cannot be read ({error}): name another.") from None
