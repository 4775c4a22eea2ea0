"""What goes on until it is done or stopped: `run`, `desk`, `backfill`, `local` and `demo`."""

from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from pipeline.cli.options import Json, KeyField, OptionalPath, Strings

if TYPE_CHECKING:
    from pipeline.local.screen import Summary

_SHORT = 0.1


def run(
    stages: Annotated[Strings, Argument(help="Which; those of `enabled` if none.")] = None,
    workers: Annotated[int, Option("--workers", min=1, help="Processes, restarted on exit.")] = 1,
    json: Annotated[bool, Option("--json", help="Say in JSON where the dashboard is.")] = False,
) -> None:
    """Consume, ask, publish: the pipeline itself, until stopped."""
    from pipeline.cli.terminal import console, load_settings
    from pipeline.observe.dashboard import Running
    from pipeline.observe.logging import configure_logging
    from pipeline.operators.inspection import chosen
    from pipeline.runtime.process import collect_seldom
    from pipeline.workers.fleet import ends_within, serve

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

    collect_seldom()
    code = console.run_until_stopped(
        lambda stop: serve(settings, served, stop, workers=workers, announce=announce),
        ends_within=ends_within(settings, workers),
    )
    raise typer.Exit(code)


def desk(
    *, json: Annotated[bool, Option("--json", help="Say in JSON where it is.")] = False
) -> None:
    """Serve the page on which people settle review items, until stopped."""
    import asyncio

    from pipeline.cli.terminal import console, load_settings
    from pipeline.desk.server import serve
    from pipeline.observe.logging import configure_logging
    from pipeline.runtime.process import MARGIN
    from pipeline.stages.files.decoding import decoders_of_this_process

    settings = load_settings()
    configure_logging(settings.log)

    async def work(stop: asyncio.Event) -> None:
        with decoders_of_this_process.limited(settings.files):
            async with serve(settings, note=console.note, failed=stop.set) as address:
                if json:
                    console.as_json({"desk": address})
                else:
                    console.note(f"The desk is at {address}; Ctrl-C ends it.")
                await stop.wait()

    console.run_until_stopped(work, ends_within=MARGIN)


def backfill(
    stage: Annotated[str, Argument(help="Whose events: tickets, invoices, images, ...")],
    file: Annotated[
        OptionalPath, Argument(help="JSON Lines, a file or a folder; the stage's topic if none.")
    ] = None,
    *,
    key_field: KeyField = "id",
    topic: Annotated[
        str | None, Option(help="Whose backlog, of those that the stage reads, if several.")
    ] = None,
    normal_lane: Annotated[
        bool,
        Option(
            "--normal-lane",
            help="Ask at full price what was claimed and is in no batch, or in one that is lost.",
        ),
    ] = False,
    http: Annotated[bool, Option("--http", help="Serve the dashboard and /metrics.")] = False,
    json: Json = False,
) -> None:
    """Enrich a topic's backlog, or a file, through message batches at half the price.

    It may be stopped or killed at any time: started again it goes on where it was.
    """
    from pipeline.backfill.attempt import Wish
    from pipeline.backfill.attempt import backfill as do
    from pipeline.backfill.progress import document_of, on_terminal, sentence
    from pipeline.cli.terminal import console, load_settings, output
    from pipeline.observe.logging import configure_logging

    settings = load_settings()
    configure_logging(settings.log)
    with console.progress(f"Backfilling {stage}") as bar:
        watch = on_terminal(bar, console.note)
        wish = Wish(stage, file, topic, key_field, normal_lane)
        report = console.run_until_stopped(lambda stop: do(settings, wish, watch, stop, http=http))
    output(document_of(report), [sentence(report)], json=json)
    if not report.done:
        raise typer.Exit(console.FAILED)


def local(
    *,
    command: Annotated[
        Strings,
        Argument(help="After --: a command to run with the environment set; both end together."),
    ] = None,
    kafka_port: Annotated[int, Option(min=0, max=65535, help="0: a free one.")] = 0,
    api_port: Annotated[int, Option(min=0, max=65535, help="0: a free one.")] = 0,
    broker: Annotated[str, Option(help="noida, or kafka (needs Java 17+ and mvn).")] = "noida",
    fault: Annotated[
        Strings, Option(help="What goes wrong in the API, e.g. overloaded:0.1; repeatable.")
    ] = None,
    encoder: Annotated[
        bool,
        Option("--encoder", help="Simulated answers choose labels by meaning (extra `encoder`)."),
    ] = False,
    env_file: Annotated[
        OptionalPath,
        Option(help="Write the variables there while it runs, to be read with `. PATH`."),
    ] = None,
) -> None:
    """Run the embedded broker and the simulated API, for a command or until stopped."""
    from pipeline.cli.terminal import console, load_settings
    from pipeline.local.environment import local_environment, serve
    from pipeline.stages.checks.scope import require_encoder

    if encoder:
        require_encoder()
    settings = load_settings()
    environment = local_environment(
        settings,
        broker=broker,
        kafka_port=kafka_port,
        api_port=api_port,
        faults=fault or (),
        api_options=["--encoder"] if encoder else (),
    )
    code = console.run_until_stopped(
        lambda stop: serve(
            environment, stop, console.line, command=command or (), env_file=env_file
        )
    )
    raise typer.Exit(code)


def demo(
    *,
    real: Annotated[
        bool, Option("--real", help="Ask the real API; needs ANTHROPIC_API_KEY, costs money.")
    ] = False,
    keep: Annotated[bool, Option("--keep", help="Keep it running until stopped.")] = False,
    short: Annotated[bool, Option("--short", help="A tenth of the day.")] = False,
    svg: Annotated[OptionalPath, Option(help="Draw the last screen to this file, too.")] = None,
    json: Json = False,
) -> None:
    """Show a day of events on this machine: what became of each, and what it cost."""
    import asyncio

    from pipeline.cli.terminal import console, load_settings
    from pipeline.local.demo import demo as show_day
    from pipeline.local.screen import Screen, next_steps, screenshot

    settings = load_settings()

    async def present(stop: asyncio.Event) -> "Summary":
        """Show the day on standard error, and what it came to on standard output."""

        def report(summary: "Summary") -> None:
            screen.close()
            if json:
                console.as_json(summary.as_json())
            else:
                console.terminal().print(summary)
            if svg is not None:
                screenshot(screen, summary, svg)
            console.note(next_steps(summary, still_running=keep))

        lingering = asyncio.Event()

        async def linger(summary: "Summary") -> None:
            lingering.set()
            report(summary)
            await stop.wait()

        share, last = _SHORT if short else 1.0, linger if keep else None
        with Screen() as screen:
            working = asyncio.create_task(
                show_day(settings, screen, real=real, share=share, linger=last)
            )
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not working.done() and not lingering.is_set():
                working.cancel()
                await asyncio.wait([working])
                raise console.Interrupted("Stopped before the demo was done.")
            summary = await working
        if not keep:
            report(summary)
        return summary

    if not console.run_until_stopped(present).ok:
        raise typer.Exit(console.FAILED)
