"""`pipeline local` and `pipeline demo`: all of it on this machine."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import Json

if TYPE_CHECKING:
    from pipeline.config import Settings
    from pipeline.local.screen import Summary

_SHORT = 0.1


def local(
    *,
    command: Annotated[
        list[str] | None,
        typer.Argument(
            help="After --: a command to run with the environment set; both end together."
        ),
    ] = None,
    kafka_port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
    api_port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
    broker: Annotated[
        str, typer.Option(help="noida (comes along) or kafka (needs Java 17+ and mvn).")
    ] = "noida",
    fault: Annotated[
        list[str] | None,
        typer.Option(help="What goes wrong in the API, e.g. overloaded:0.1; may be repeated."),
    ] = None,
    encoder: Annotated[
        bool,
        typer.Option(
            "--encoder", help="Simulated answers choose labels by meaning (extra `encoder`)."
        ),
    ] = False,
    env_file: Annotated[
        Path | None,
        typer.Option(help="Write the variables there while it runs, to be read with `. PATH`."),
    ] = None,
) -> None:
    """Run the embedded broker and the simulated API, for a command or until stopped."""
    from pipeline.config import load_settings
    from pipeline.local.environment import local_environment, serve
    from pipeline.runtime import console
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
        bool, typer.Option("--real", help="Ask the real API; needs ANTHROPIC_API_KEY, costs money.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep all of it running afterwards, until stopped.")
    ] = False,
    short: Annotated[bool, typer.Option("--short", help="A tenth of the day.")] = False,
    svg: Annotated[
        Path | None, typer.Option(help="Draw the last screen to this file, too.")
    ] = None,
    json: Json = False,
) -> None:
    """Show a day of events on this machine: what became of each, and what it cost."""
    from pipeline.config import load_settings
    from pipeline.runtime import console

    settings = load_settings()
    summary = console.run_until_stopped(
        lambda stop: _present(settings, stop, real=real, keep=keep, short=short, svg=svg, json=json)
    )
    if not summary.ok:
        raise typer.Exit(console.FAILED)


async def _present(
    settings: "Settings",
    stop: asyncio.Event,
    *,
    real: bool,
    keep: bool,
    short: bool,
    svg: Path | None,
    json: bool,
) -> "Summary":
    """Show the demo on standard error, and what it came to on standard output.

    Raises:
        PipelineError: Something could not be started.
        Interrupted: It was stopped before there was a summary.
    """
    from pipeline.local.demo import demo as show_day
    from pipeline.local.screen import Screen, next_steps, screenshot, terminal
    from pipeline.runtime import console

    def report(summary: "Summary") -> None:
        screen.close()
        if json:
            console.as_json(summary.as_json())
        else:
            terminal().print(summary)
        if svg is not None:
            screenshot(screen, summary, svg)

    lingering = asyncio.Event()

    async def linger(summary: "Summary") -> None:
        lingering.set()
        report(summary)
        console.note(next_steps(summary, still_running=True))
        await stop.wait()

    with Screen() as screen:
        working = asyncio.create_task(
            show_day(
                settings,
                screen,
                real=real,
                share=_SHORT if short else 1.0,
                linger=linger if keep else None,
            )
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
        console.note(next_steps(summary, still_running=False))
    return summary
