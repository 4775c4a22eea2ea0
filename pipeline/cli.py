"""The commands, nothing else.

Each imports what it needs when it runs, so that `--help` and completion are quick.
"""
# ruff: noqa: PLC0415

import os
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
def demo(
    real: Annotated[
        bool, typer.Option("--real", help="Ask the real API; needs ANTHROPIC_API_KEY, costs money.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep all of it running afterwards, until stopped.")
    ] = False,
    json: Json = False,
) -> None:
    """Show the main job on this machine: samples in, enriched records out, all accounted for."""
    from pipeline import console
    from pipeline.local import presentation
    from pipeline.settings import load_settings

    settings = load_settings()
    summary = console.run_until_stopped(
        lambda stop: presentation.present(settings, stop, real=real, keep=keep, json=json)
    )
    if not summary.ok:
        raise typer.Exit(console.FAILED)


@app.command()
def run(
    stages: Annotated[
        list[str] | None, typer.Argument(help="Which; those of the setting `enabled` if none.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes, restarted when they die.")
    ] = 1,
    json: Annotated[
        bool, typer.Option("--json", help="Say in JSON where the dashboard is, once all is up.")
    ] = False,
) -> None:
    """Consume, ask, publish: the pipeline itself, until stopped."""
    from pipeline import console
    from pipeline.administration import chosen
    from pipeline.app import Running
    from pipeline.observe.logging import configure_logging
    from pipeline.settings import load_settings
    from pipeline.workers.fleet import serve

    settings = load_settings()
    configure_logging(settings.log)
    served = chosen(settings, stages)

    def announce(running: Running) -> None:
        if json:
            console.as_json({"dashboard": running.address, "delivery": running.delivery,
                             "because": running.why, "stages": served})  # fmt: skip
        else:
            console.note(f"{', '.join(served)}: {running.delivery.replace('_', ' ')}, because "
                         f"{running.why} The dashboard is at {running.address}")  # fmt: skip

    code = console.run_until_stopped(
        lambda stop: serve(settings, served, stop, workers=workers, announce=announce)
    )
    raise typer.Exit(code)


@app.command()
def local(
    kafka_port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
    api_port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
    broker: Annotated[
        str, typer.Option(help="noida (comes along) or kafka (needs Java 17+ and mvn).")
    ] = "noida",
    fault: Annotated[
        list[str] | None,
        typer.Option(help="What goes wrong in the API, e.g. overloaded:0.1; may be repeated."),
    ] = None,
) -> None:
    """Run only the embedded broker and the simulated API, until stopped."""
    from pipeline import console
    from pipeline.local.environment import serve
    from pipeline.settings import load_settings

    settings = load_settings()
    console.run_until_stopped(
        lambda stop: serve(
            settings,
            stop,
            console.line,
            broker=broker,
            kafka_port=kafka_port,
            api_port=api_port,
            faults=fault or (),
        )
    )


@app.command()
def publish(
    stage: Annotated[str, typer.Argument(help="Whose raw topic: tickets, invoices, images, ...")],
    paths: Annotated[
        list[Path], typer.Argument(help="JSON Lines, files, folders, or - for standard input.")
    ],
    key_field: Annotated[
        str, typer.Option(help="Field of a JSON event that becomes the record's key.")
    ] = "id",
    validate: Annotated[
        bool, typer.Option("--validate/--no-validate", help="Leave out what the stage cannot take.")
    ] = True,
    json: Json = False,
) -> None:
    """Put raw events on a stage's topic."""
    from pipeline import console
    from pipeline import publish as publishing
    from pipeline.settings import load_settings

    settings = load_settings()
    the_stage = publishing.stage_named(settings, stage)
    items = publishing.read_items(paths, key_field=key_field)
    with console.progress("Publishing", publishing.count_items(paths)) as done:
        result = console.run(
            publishing.publish(settings, the_stage, items, validate=validate, on_done=done)
        )
    for refusal in result.refusals:
        console.note(f"{refusal.place}: {refusal.reason}: {refusal.detail}")
    if json:
        console.as_json(result)
    else:
        console.line(f"{result.published} published to {result.topic}, {result.refused} refused")
    if result.refused:
        raise typer.Exit(console.FAILED)


@app.command()
def tail(
    name: Annotated[str, typer.Argument(help="A stage, for its results, or a topic.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until stopped.")] = False,
    new: Annotated[bool, typer.Option("--new", help="Begin with what comes from now on.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Records at most.")
    ] = None,
    pretty: Annotated[bool, typer.Option("--pretty", help="Indent.")] = False,
) -> None:
    """Print enriched records, or those of any topic, as JSON Lines."""
    from pipeline import console
    from pipeline import tail as tailing
    from pipeline.settings import load_settings

    settings = load_settings()
    reading = tailing.tail(
        settings,
        tailing.topic_of(settings, name),
        console.line,
        start="end" if new else "beginning",
        follow=follow or new,
        limit=limit,
        pretty=pretty,
    )
    console.run_endless(reading) if follow or new else console.run(reading)


@app.command()
def lag(
    stages: Annotated[
        list[str] | None, typer.Argument(help="Which; the enabled ones if none.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until stopped.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    json: Json = False,
) -> None:
    """Show how far each stage is behind, by topic and partition."""
    from pipeline import console
    from pipeline import lag as lagging
    from pipeline.settings import load_settings

    def show(found: list[lagging.StageLag]) -> None:
        if json:
            console.as_json(found)
            return
        if watch:
            console.clear()
        console.table(lagging.HEADINGS, lagging.rows(found))
        for note in lagging.notes(found):
            console.note(note)

    samples = lagging.lags(load_settings(), stages, interval=interval)
    if watch:
        console.run_endless(lagging.show_all(samples, show))
    else:
        console.run(lagging.show_once(samples, show))


topics = typer.Typer(no_args_is_help=True, help="Make, list and describe the topics.")
app.add_typer(topics, name="topics")
Stages = Annotated[
    list[str] | None, typer.Argument(help="Whose topics; those of the enabled stages if none.")
]


@topics.command("create")
def create_topics(stages: Stages = None, json: Json = False) -> None:
    """Make the topics that are missing; change none that exists."""
    from pipeline import console
    from pipeline.administration import create
    from pipeline.settings import load_settings

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
    from pipeline import console
    from pipeline.administration import describe
    from pipeline.settings import load_settings

    described = console.run(describe(load_settings(), stages))
    names = [name for name, state in described.items() if state is not None]
    if json:
        console.as_json(names)
    else:
        for name in names:
            console.line(name)


@topics.command("describe")
def describe_topics(stages: Stages = None, json: Json = False) -> None:
    """Describe the topics of the pipeline, the missing ones included."""
    from pipeline import console
    from pipeline.administration import describe
    from pipeline.settings import load_settings

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
def cost(
    *,
    events: Annotated[int, typer.Option(min=0, help="A month.")] = 100_000,
    input_tokens: Annotated[
        int, typer.Option(min=0, help="Of one event's prompt, the static part included.")
    ] = 2_000,
    static_tokens: Annotated[
        int, typer.Option(min=0, help="Of the part that is the same for every event.")
    ] = 1_800,
    output_tokens: Annotated[int, typer.Option(min=0, help="Of one answer.")] = 150,
    escalated: Annotated[
        float, typer.Option(min=0, max=1, help="Share that Sonnet answers, too.")
    ] = 0.1,
    cached: Annotated[
        bool, typer.Option("--cached/--uncached", help="Read the static part from the cache.")
    ] = True,
    batch: Annotated[bool, typer.Option("--batch", help="Through Message Batches.")] = False,
    events_per_request: Annotated[int, typer.Option(min=1, help="That share a request.")] = 1,
    published: Annotated[
        bool, typer.Option("--published", help="Check well-known published figures instead.")
    ] = False,
    json: Json = False,
) -> None:
    """Tell what a workload costs on each model and as a cascade, before it is run."""
    from pipeline import console, costs
    from pipeline.settings import load_settings

    settings = load_settings()
    if published:
        report = costs.of_published(settings)
    else:
        report = costs.of_workload(
            settings,
            events=events,
            input_tokens=input_tokens,
            static_tokens=static_tokens,
            output_tokens=output_tokens,
            escalated=escalated,
            cached=cached,
            batch=batch,
            events_per_request=events_per_request,
        )
    if json:
        console.as_json(report.rows)
        return
    console.table(report.headings, report.cells)
    for remark in report.remarks:
        console.line(remark)


@app.command()
def doctor(json: Json = False) -> None:
    """Look for what is wrong with this installation, and say what to do."""
    from pipeline import console
    from pipeline.doctor.examination import examine
    from pipeline.doctor.finding import Finding, Verdict

    async def look() -> list[Finding]:
        findings = []
        async for finding in examine():
            findings.append(finding)
            if not json:
                console.line(f"{finding.verdict.value:<8} {finding.about}: {finding.detail}")
        return findings

    findings = console.run(look())
    if json:
        console.as_json(findings)
    if any(finding.verdict is Verdict.FAILED for finding in findings):
        raise typer.Exit(console.FAILED)


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
    except BrokenPipeError:
        # Whoever reads has enough, as in `pipeline tail tickets | head`; the interpreter's own
        # flush at its end must not stumble over that again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last place where a fault can be put in words
        from pipeline import console

        sys.exit(console.report(error, debug=DEBUG in sys.argv))


if __name__ == "__main__":
    main()
