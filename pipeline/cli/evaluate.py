"""`pipeline evaluate`."""

import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.config import Settings
    from pipeline.evaluate.evaluation import Evaluation, Prepared, Wanted


def evaluate(
    stage: Annotated[str, typer.Argument(help="Whose events they are.")],
    file: Annotated[Path, typer.Argument(help="JSON Lines: events, and what is true of them.")],
    *,
    text: Annotated[
        str | None,
        typer.Option(help="[FIELD=]KEY of the event's text, where it is not the stage's own name."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="[FIELD=]KEY of the true class of an event.")
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(help="[FIELD=]KEY of a further true value; may be repeated."),
    ] = None,
    gold: Annotated[
        str, typer.Option(help="KEY of the object that holds what is true, if there is one.")
    ] = "gold",
    oos: Annotated[str, typer.Option(help="KEY that is true of events of no class.")] = "oos",
    path: Annotated[
        str, typer.Option(help="KEY of the event's file, relative to the labelled one.")
    ] = "path",
    compare: Annotated[
        list[str] | None,
        typer.Option(help="Another setting to try, e.g. events_per_request=8; may be repeated."),
    ] = None,
    target_accuracy: Annotated[
        float, typer.Option(help="Share of accepted answers that shall be right.")
    ] = 0.95,
    candidates: Annotated[
        int, typer.Option(min=1, max=10, help="Thresholds that may be tried for it.")
    ] = 5,
    fail_under: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Exit 1 where fewer events end well with the cascade."),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="The JSON file of an earlier evaluation.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Where the report goes: this name with .html and with .json."),
    ] = None,
    answers: Annotated[
        Path, typer.Option(help="Where answers are kept: what is there is not asked again.")
    ] = Path(".haiku-pipeline/evaluated.sqlite3"),
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Ask nobody: fail where an answer is not kept.")
    ] = False,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Ask a simulated API, which says nothing of models.")
    ] = False,
    json: Json = False,
) -> None:
    """Measure a stage on labelled events: accuracy, cost, escalations; propose a threshold."""
    from pipeline.config import load_settings
    from pipeline.evaluate import report
    from pipeline.evaluate.evaluation import Wanted, prepare
    from pipeline.evaluate.labelled_events import Columns
    from pipeline.runtime import console

    settings = load_settings()
    wanted = Wanted(
        stage=stage,
        file=file,
        columns=Columns(text, gold, label, tuple(field or ()), oos, path),
        target=target_accuracy,
        candidates=candidates,
        compare=tuple(compare or ()),
        answers=answers,
        place=_place(simulated=simulated, recorded=recorded),
        recorded=recorded,
        baseline=baseline,
    )
    prepared = prepare(settings, wanted)
    with console.progress("Asking", prepared.answers) as advance:
        found = console.run(_evaluated(settings, wanted, prepared, advance, simulated=simulated))
    files = report.write(found, output or Path(f"evaluation-{stage}"))
    if json:
        console.as_json(report.document(found))
    else:
        console.table(report.HEADINGS, report.rows(found))
        for sentence in report.sentences(found):
            console.line(sentence)
        console.line(f"Written: {', '.join(str(each) for each in files)}.")
    for warning in report.warnings(found, fail_under):
        console.note(warning)
    if report.fails(found, fail_under):
        raise typer.Exit(console.FAILED)


async def _evaluated(
    settings: "Settings",
    wanted: "Wanted",
    prepared: "Prepared",
    advance: "Callable[[int], None]",
    *,
    simulated: bool,
) -> "Evaluation":
    """Evaluate, with a simulated API beside it where that is wanted."""
    from pipeline.evaluate.evaluation import evaluate as evaluation_of
    from pipeline.local.environment import PATIENCE_SECONDS, simulated_api
    from pipeline.model.records import now

    async with AsyncExitStack() as stack:
        if simulated and not wanted.recorded:
            await stack.enter_async_context(simulated_api())
            claude = settings.claude.model_copy(update={"call_timeout": PATIENCE_SECONDS})
            settings = settings.model_copy(update={"claude": claude})
        return await evaluation_of(settings, wanted, prepared, at=now(), on_answer=advance)


def _place(*, simulated: bool, recorded: bool) -> str:
    """Who answers, as the recording knows them.

    Raises:
        UsageError: Nobody can.
    """
    from pipeline.local.environment import API_KEY, BASE_URL
    from pipeline.model.errors import UsageError

    if simulated:
        return "simulated"
    address = os.environ.get(BASE_URL)
    if address is None and not os.environ.get(API_KEY) and not recorded:
        raise UsageError(
            f"There is nobody to ask: set {API_KEY}, or say --simulated for a simulated API, "
            "whose answers say nothing about the models."
        )
    return address or "https://api.anthropic.com"
