"""`pipeline doctor`, `schemas`, `cost` and `version`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import Json


def doctor(json: Json = False) -> None:
    """Look for what is wrong with this installation, and say what to do."""
    from pipeline.doctor import CHECKS, Finding, Verdict, examine
    from pipeline.runtime import console

    def show(finding: Finding) -> None:
        if json:
            return
        console.line(f"{finding.verdict.value:<8} {finding.about}: {finding.detail}")
        for text in (finding.why, finding.advice):
            if text:
                console.line(f"{'':<8} {text}")

    findings = console.run(examine(show, CHECKS))
    if json:
        console.as_json(findings)
    if any(finding.verdict is Verdict.FAILED for finding in findings):
        raise typer.Exit(console.FAILED)


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
    from pipeline import schemas as contract
    from pipeline.config import load_settings
    from pipeline.stages.api import build_stages, stage_named

    settings = load_settings()
    if stage:
        chosen = contract.generate_some([stage_named(settings.stages, name) for name in stage])
        generated = {**contract.read(directory), **chosen}
    else:
        generated = contract.generate(tuple(build_stages(settings.stages).values()))
    if check:
        contract.check(directory, generated)
        return
    for name in contract.write(directory, generated):
        typer.echo(f"wrote {directory / name}")


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
    """Say what a workload costs on each model and as a cascade, before it is run."""
    from pipeline.claude import workloads as costs
    from pipeline.config import load_settings
    from pipeline.runtime import console

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


def version() -> None:
    """Print the version."""
    import pipeline

    typer.echo(pipeline.__version__)
