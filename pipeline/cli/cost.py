"""`pipeline cost`."""

from typing import Annotated

import typer

from pipeline.cli.options import Json


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
