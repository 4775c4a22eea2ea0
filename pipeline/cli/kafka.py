"""`pipeline topics`, `publish`, `tail`, `lookup` and `lag`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from pipeline.cli.options import Json, KeyField, Newest, Strings

if TYPE_CHECKING:
    from pipeline.operators.inspection import StageLag
    from pipeline.operators.lookup import Story

topics = typer.Typer(no_args_is_help=True, help="Make, list and describe the topics.")
Stages = Annotated[Strings, Argument(help="Whose topics; those of the enabled stages if none.")]


@topics.command("create")
def create_topics(stages: Stages = None, json: Json = False) -> None:
    """Make the topics that are missing; change none that exists."""
    from pipeline.cli.terminal import console, load_settings
    from pipeline.operators.inspection import create

    reports = console.run(create(load_settings(), stages))
    if json:
        console.as_json(reports)
        return
    for report in reports:
        console.line(f"{report.name}: {'made' if report.was_created else 'exists'}")
        for difference in report.differences:
            console.note(f"  {difference}")


@topics.command("list")
def list_topics(stages: Stages = None, json: Json = False) -> None:
    """List the topics of the pipeline that exist."""
    from pipeline.cli.terminal import console, load_settings, output
    from pipeline.operators.inspection import describe

    described = console.run(describe(load_settings(), stages))
    names = [name for name, state in described.items() if state is not None]
    output(names, names, json=json)


@topics.command("describe")
def describe_topics(stages: Stages = None, json: Json = False) -> None:
    """Describe the topics of the pipeline, the missing ones included."""
    from pipeline.cli.terminal import console, load_settings
    from pipeline.kafka.topics import period
    from pipeline.operators.inspection import describe

    described = console.run(describe(load_settings(), stages))
    if json:
        console.as_json(described)
        return
    rows = []
    for name, state in described.items():
        if state is None:
            rows.append((name, "missing", "", "", ""))
            continue
        largest = "?" if state.max_message_bytes is None else f"{state.max_message_bytes:,}"
        kept = "?" if state.retention is None else period(state.retention)
        rows.append((name, str(state.partitions), str(state.replication_factor), largest, kept))
    console.table(("Topic", "Partitions", "Replicas", "Largest record", "Kept for"), rows)


def publish(
    stage: Annotated[str, Argument(help="Whose raw topic: tickets, invoices, images, ...")],
    paths: Annotated[list[Path], Argument(help="JSON Lines, files, folders, or - for stdin.")],
    *,
    key_field: KeyField = "id",
    topic: Annotated[
        str | None, Option(help="Which of those that it reads; the first one if unset.")
    ] = None,
    validate: Annotated[
        bool, Option("--validate/--no-validate", help="Leave out what the stage cannot take.")
    ] = True,
    json: Json = False,
) -> None:
    """Put raw events on a stage's topic."""
    from pipeline.cli.terminal import console, load_settings, output
    from pipeline.observe.logging import configure_logging
    from pipeline.operators import publish as publishing
    from pipeline.stages.api import stage_named

    settings = load_settings()
    configure_logging(settings.log)
    the_stage = stage_named(settings.stages, stage)
    items = publishing.read_items(paths, key_field=key_field)
    with console.progress("Publishing", publishing.count_items(paths)) as done:
        result = console.run(
            publishing.publish(
                settings, the_stage, items, topic=topic, validate=validate, on_done=done
            )
        )
    for refusal in result.refusals:
        console.note(f"{refusal.place}: {refusal.reason}: {refusal.detail}")
    sentence = f"{result.published} published to {result.topic}, {result.refused} refused"
    output(result, [sentence], json=json)
    if result.refused:
        raise typer.Exit(console.FAILED)


def tail(
    name: Annotated[str, Argument(help="A stage, for its results, or a topic.")],
    follow: Annotated[bool, Option("--follow", "-f", help="Go on until stopped.")] = False,
    new: Annotated[bool, Option("--new", help="Begin with what comes from now on.")] = False,
    limit: Annotated[int | None, Option("--limit", "-n", min=1, help="Records at most.")] = None,
    pretty: Annotated[bool, Option("--pretty", help="Indent.")] = False,
) -> None:
    """Print enriched records, or those of any topic, as JSON Lines."""
    from pipeline.cli.terminal import console, load_settings
    from pipeline.operators import inspection

    settings = load_settings()
    reading = inspection.tail(
        settings,
        inspection.topic_of(settings, name),
        console.line,
        start="end" if new else "beginning",
        follow=follow or new,
        limit=limit,
        pretty=pretty,
    )
    console.run_endless(reading) if follow or new else console.run(reading)


def lookup(
    wanted: Annotated[
        str, Argument(metavar="ID", help="An event's id, its key, or TOPIC/PARTITION/OFFSET.")
    ],
    since: Annotated[
        str, Option("--since", help="How far back: 2026-11-22T10:00 (UTC), or 15m, 2h, 7d ago.")
    ] = "1d",
    limit: Newest = 100,
    json: Json = False,
) -> None:
    """Show what became of one event: its records in all topics, where it is, what it cost."""
    from pipeline.cli.terminal import console, load_settings
    from pipeline.kafka.connection import admin_client
    from pipeline.kafka.topics import Topics
    from pipeline.model.records import now
    from pipeline.operators.lookup import look_up
    from pipeline.operators.selection import moment, topic_reader

    settings, begin = load_settings(), moment(since, now())

    async def work() -> "Story":
        async with admin_client(settings.kafka) as admin:
            existing = await Topics(admin).existing()
        return await look_up(
            settings,
            topic_reader(settings),
            existing,
            wanted,
            since=begin,
            limit=limit,
            on_read=done,
        )

    with console.progress("Reading") as done:
        found = console.run(work())
    if json:
        console.as_json(found)
    else:
        for line in found.lines():
            console.line(line)
        for sentence in found.sentences():
            console.note(sentence)
    if not found.entries:
        raise typer.Exit(console.FAILED)


def lag(
    stages: Annotated[Strings, Argument(help="Which; the enabled ones if none.")] = None,
    watch: Annotated[bool, Option("--watch", "-w", help="Go on until stopped.")] = False,
    interval: Annotated[float, Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    json: Json = False,
) -> None:
    """Show how far each stage is behind, by topic and partition."""
    from pipeline.cli.terminal import console, load_settings
    from pipeline.operators import inspection

    def show(found: "list[StageLag]") -> None:
        if json:
            console.as_json(found)
            return
        if watch:
            console.clear()
        console.table(inspection.LAG_HEADINGS, inspection.lag_rows(found))
        for note in inspection.lag_notes(found):
            console.note(note)

    samples = inspection.lags(load_settings(), stages, interval=interval)
    showing = inspection.show_lag(samples, show, watch=watch)
    console.run_endless(showing) if watch else console.run(showing)
