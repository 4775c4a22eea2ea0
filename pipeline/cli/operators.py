"""`pipeline dead-letters`, `pipeline review`, `pipeline forget` and `pipeline audit`."""

from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from pipeline.cli.options import APlace, As, Json, Key, Newest, OptionalPath, Since, Strings, Until

if TYPE_CHECKING:
    from pipeline.config import Settings
    from pipeline.kafka.reader import TopicReader
    from pipeline.kafka.topics import TopicNames
    from pipeline.operators.dead_letters import DeadLetterRecord, Replayed, Selection
    from pipeline.operators.forget import Forgotten
    from pipeline.operators.listing import Listing

dead_letters = typer.Typer(
    no_args_is_help=True, help="Look at dead letters, replay them, take them out."
)
review = typer.Typer(
    no_args_is_help=True, help="Look at what neither model could settle, and settle it."
)
audit = typer.Typer(no_args_is_help=True, help="Who changed what with a command.")
Full = Annotated[bool, Option("--full", help="All of it, however large.")]
Places = Annotated[Strings, Argument(help="PARTITION:OFFSET, as `list` prints them; all if none.")]
Stages = Annotated[Strings, Option("--stage", help="Who could not handle it; repeatable.")]
Reasons = Annotated[Strings, Option("--reason", help="Such as invalid_event; repeatable.")]
Topics = Annotated[Strings, Option("--topic", help="Where it came from; repeatable.")]


class Accepted(StrEnum):
    HAIKU = "haiku"
    SONNET = "sonnet"


@dead_letters.command("list")
def list_dead_letters(
    *,
    stage: Stages = None,
    reason: Reasons = None,
    topic: Topics = None,
    key: Key = None,
    since: Since = None,
    until: Until = None,
    limit: Newest = 100,
    replayed: Annotated[
        bool | None, Option("--replayed/--open", help="Only those that were, or were not.")
    ] = None,
    json: Json = False,
) -> None:
    """List dead letters, the newest last."""
    from pipeline.cli.terminal import console
    from pipeline.operators import dead_letters

    settings, _, read = _opened()
    chosen = _selection(None, stage, reason, topic, key=key, since=since, until=until)
    work = dead_letters.list_dead_letters(settings, read, chosen, limit=limit, replayed=replayed)
    _print_listing(console.run(work), json=json)


@dead_letters.command("show")
def show_dead_letter(place: APlace, full: Full = False, json: Json = False) -> None:
    """Show one dead letter: why it is here, its headers, its value as text or in hexadecimal."""
    from pipeline.cli.terminal import console, output
    from pipeline.operators.dead_letters import SHOWN, document_of, find, lines_of
    from pipeline.operators.selection import parse_place

    (_, names, read), where = _opened(), parse_place(place)
    found = console.run(find(names, read, where))
    output(document_of(*found), lines_of(*found, limit=None if full else SHOWN), json=json)


@dead_letters.command("replay")
def replay_dead_letters(
    *,
    places: Places = None,
    stage: Stages = None,
    reason: Reasons = None,
    topic: Topics = None,
    key: Key = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int | None, Option("--limit", "-n", min=1, help="The first ones.")] = None,
    rate: Annotated[float, Option(min=0.1, help="A second, at most.")] = 50,
    dry_run: Annotated[bool, Option("--dry-run", help="Only say what would go where.")] = False,
    again: Annotated[bool, Option("--again", help="Those too that were replayed before.")] = False,
    everything: Annotated[bool, Option("--all", help="Where nothing else says which.")] = False,
    person: As = None,
    json: Json = False,
) -> None:
    """Put dead letters back on their topics, with their keys and headers, each once."""
    from pipeline.cli.terminal import console, output
    from pipeline.model.errors import UsageError
    from pipeline.operators.audit import AuditedCommand, person_named, selected
    from pipeline.operators.dead_letters import ReplayRequest, replay
    from pipeline.operators.handled import open_publisher

    if not ((places or stage or reason or topic or key or since or until) or limit or everything):
        raise UsageError(
            "Say which: PARTITION:OFFSET, --reason, --stage, --topic, --key, --since, --until, "
            "--limit, or --all."
        )
    settings, names, read = _opened()
    selection = _selection(places, stage, reason, topic, key=key, since=since, until=until)
    request = ReplayRequest(selection, rate=rate, limit=limit, again=again)
    command = AuditedCommand(
        names.audit,
        person_named(person, settings.operators),
        "dead-letters replay",
        "replayed",
        selected(
            key,
            place=places,
            stage=stage,
            reason=reason,
            topic=topic,
            since=selection.span.since,
            until=selection.span.until,
            limit=limit,
            again=again,
            all=everything,
        ),
    )

    async def put_back() -> "Replayed":
        if dry_run:
            return await replay(settings, read, request, None, on_done=done)
        async with open_publisher(
            settings, names.dead_letters, names.replayed, command, note=console.note
        ) as publisher:
            return await replay(settings, read, request, publisher, on_done=done)

    with console.progress("Rehearsing" if dry_run else "Replaying", limit) as done:
        result = console.run(put_back())
    for refusal in result.refusals:
        console.note(f"{refusal.place}: {refusal.because}")
    output(result, [result.sentence()], json=json)
    if result.refused:
        raise typer.Exit(console.FAILED)


@dead_letters.command("export")
def export_dead_letters(
    *,
    places: Places = None,
    stage: Stages = None,
    reason: Reasons = None,
    topic: Topics = None,
    key: Key = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int | None, Option("--limit", "-n", min=1, help="At most.")] = None,
    files: Annotated[
        OptionalPath,
        Option(help="A folder: each value as a file, with what is known of it beside it."),
    ] = None,
) -> None:
    """Print dead letters as JSON Lines, bytes in base64; or write them as files."""
    from pipeline.cli.terminal import console
    from pipeline.operators.dead_letters import export, folder

    def print_line(document: Mapping[str, Any], _: "DeadLetterRecord") -> None:
        console.as_json(document)

    settings, _, read = _opened()
    selection = _selection(places, stage, reason, topic, key=key, since=since, until=until)
    take = print_line if files is None else folder(files)
    taken = console.run(export(settings, read, selection, take, limit=limit))
    console.note(f"{taken:,} dead letters{'' if files is None else f' written to {files}'}")


def _opened() -> "tuple[Settings, TopicNames, TopicReader]":
    """The settings, what the topics are called by them, and what reads these."""
    from pipeline.cli.terminal import load_settings
    from pipeline.kafka.topics import TopicNames
    from pipeline.operators.selection import topic_reader

    settings = load_settings()
    return settings, TopicNames.under(settings), topic_reader(settings)


def _selection(
    places: Strings,
    stages: Strings,
    reasons: Strings,
    topics: Strings,
    *,
    key: str | None,
    since: str | None,
    until: str | None,
) -> "Selection":
    from pipeline.model.records import now
    from pipeline.operators.dead_letters import Selection
    from pipeline.operators.selection import parse_place, span

    return Selection(
        places=frozenset(map(parse_place, places or ())),
        stages=stages or (),
        reasons=reasons or (),
        topics=topics or (),
        key=key,
        span=span(since, until, now()),
    )


def _print_listing(found: "Listing[Any]", *, json: bool) -> None:
    from pipeline.cli.terminal import console

    if json:
        console.as_json(found.document())
        return
    for remark in found.remarks():
        console.note(remark)
    if found.lines:
        console.table(found.headings, map(found.row, found.lines))
    console.note(found.summary())


@review.command("list")
def list_review_items(
    *,
    stage: Annotated[Strings, Option("--stage", help="Whose events; repeatable.")] = None,
    doubt: Annotated[Strings, Option("--doubt", help="Such as arithmetic; repeatable.")] = None,
    key: Key = None,
    since: Since = None,
    until: Until = None,
    limit: Newest = 100,
    resolved: Annotated[
        bool | None, Option("--resolved/--open", help="Only those that were, or were not.")
    ] = None,
    json: Json = False,
) -> None:
    """List review items, the newest last."""
    from pipeline.cli.terminal import console
    from pipeline.model.records import now
    from pipeline.operators.review import Selection, list_items
    from pipeline.operators.selection import span

    settings, _, read = _opened()
    chosen = Selection(stage or (), doubt or (), key, span(since, until, now()))
    work = list_items(settings, read, chosen, limit=limit, resolved=resolved)
    _print_listing(console.run(work), json=json)


@review.command("show")
def show_review_item(
    *,
    place: APlace,
    full: Full = False,
    file: Annotated[OptionalPath, Option(help="Write the event's own file there.")] = None,
    json: Json = False,
) -> None:
    """Show one review item: the event, the doubts, both answers side by side."""
    from pipeline.cli.terminal import console, output
    from pipeline.operators.review import SHOWN, document_of, find, lines_of, save_file
    from pipeline.operators.selection import parse_place

    (_, names, read), where = _opened(), parse_place(place)
    found = console.run(find(names, read, where))
    if file is not None:
        console.note(f"{save_file(found[0].review.event, file):,} bytes written to {file}")
    output(document_of(*found), lines_of(*found, limit=None if full else SHOWN), json=json)


@review.command("resolve")
def resolve_review_item(
    *,
    place: APlace,
    result: Annotated[str | None, Option(help="What is right: JSON, or @FILE with it.")] = None,
    accept: Annotated[Accepted | None, Option(help="Whose answer is right.")] = None,
    change: Annotated[
        Strings, Option("--set", metavar="FIELD=VALUE", help="Correct a field; repeatable.")
    ] = None,
    labels: Annotated[OptionalPath, Option(help="Labelled file that gets a line, too.")] = None,
    again: Annotated[bool, Option("--again", help="Publish it after an earlier one, too.")] = False,
    person: As = None,
    json: Json = False,
) -> None:
    """Publish a person's verdict as the event's result, under its key, once."""
    import random

    from pipeline.cli.terminal import console, output
    from pipeline.kafka.connection import admin_client
    from pipeline.kafka.topics import Topics
    from pipeline.model.errors import UsageError
    from pipeline.model.records import Tier, now
    from pipeline.operators import review
    from pipeline.operators.audit import AuditedCommand, person_named, selected
    from pipeline.operators.handled import open_publisher
    from pipeline.operators.selection import parse_place

    if (result is None) == (accept is None):
        raise UsageError("Say what is right: either --result, or --accept haiku|sonnet.")
    (settings, names, read), where = _opened(), parse_place(place)
    if result is not None and result.startswith("@"):
        try:
            result = Path(result[1:]).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{result[1:]} cannot be read ({error}): name another.") from None
    command = AuditedCommand(
        names.audit,
        person_named(person, settings.operators),
        "review resolve",
        "resolved",
        selected(place=place, again=again),
    )
    right = review.parse_result(result or "") if accept is None else Tier(accept.value)
    beside = None if labels is None else review.LabelledFile(labels)

    async def work() -> "review.Resolved":
        async with admin_client(settings.kafka) as admin:
            has_labels = names.trust in await Topics(admin).existing()
        return await review.resolve(
            settings,
            read,
            where,
            review.Verdict(right, review.parse_changes(change or ())),
            lambda: open_publisher(
                settings, names.review, names.resolved, command, note=console.note
            ),
            now=now(),
            jitter=random.random,
            again=again,
            labels=beside,
            labelled_by=command.person if has_labels else None,
        )

    done = console.run(work())
    output(done, [f"{done.place}: published to {done.topic}"], json=json)


def forget(
    *,
    key: Annotated[str, Argument(help="The records' key: a customer, a vendor, a document.")],
    topic: Annotated[
        Strings, Option("--topic", help="Only there; repeatable. Else all that hold events.")
    ] = None,
    execute: Annotated[
        bool, Option("--execute/--dry-run", help="Do it, or only say what would be done.")
    ] = False,
    person: As = None,
    json: Json = False,
) -> None:
    """Remove what can be removed of a record key, and say what remains until when."""
    from pipeline.cli.terminal import console
    from pipeline.kafka.connection import admin_client
    from pipeline.kafka.topics import Topics
    from pipeline.model.records import now
    from pipeline.operators import forget as forgetting
    from pipeline.operators.audit import AuditedCommand, person_named, selected
    from pipeline.operators.handled import open_publisher
    from pipeline.operators.inspection import every_topic

    settings, names, read = _opened()
    command = None
    if execute:
        name = person_named(person, settings.operators)
        command = AuditedCommand(
            names.audit, name, "forget", "forgotten", selected(key, topic=topic)
        )

    async def work() -> "Forgotten":
        async with admin_client(settings.kafka) as admin:
            topics = Topics(admin, settings.topics)
            states = await topics.describe(every_topic(settings, await topics.existing()))
        return await forgetting.forget(
            settings,
            read,
            states,
            key,
            None
            if command is None
            else partial(open_publisher, settings, command=command, note=console.note),
            now=now(),
            topics=topic or (),
            on_read=done,
        )

    with console.progress("Reading") as done:
        result = console.run(work())
    if json:
        console.as_json(result)
    else:
        if result.remains:
            console.table(forgetting.HEADINGS, [each.row() for each in result.remains])
        for sentence in result.sentences():
            console.note(sentence)
    if result.refused:
        raise typer.Exit(console.FAILED)


@audit.command("list")
def list_commands(
    *, since: Since = None, until: Until = None, limit: Newest = 100, json: Json = False
) -> None:
    """List the commands that changed something, the newest last."""
    from pipeline.cli.terminal import console
    from pipeline.model.records import now
    from pipeline.operators.audit import HEADINGS, list_audit
    from pipeline.operators.selection import span

    _, names, read = _opened()
    found = console.run(list_audit(read, names.audit, span(since, until, now()), limit=limit))
    if json:
        console.as_json(found.document())
        return
    if found.lines:
        console.table(HEADINGS, [line.row() for line in found.lines])
    console.note(found.summary())
