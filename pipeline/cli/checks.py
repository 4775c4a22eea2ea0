"""What looks and says: `pipeline` alone, `doctor`, `schemas`, `cost`, `evaluate`, `version`."""

import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from pipeline.cli.options import Json, OptionalPath, Strings

if TYPE_CHECKING:
    from pipeline.evaluate.evaluation import Evaluation
    from pipeline.evaluate.proposal import Aim


def doctor(json: Json = False) -> None:
    """Look for what is wrong with this installation, and say what to do."""
    from pipeline.cli.terminal import console
    from pipeline.doctor import CHECKS, Finding, Verdict, examine

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


def say_what_is_next(*, json: bool) -> None:
    """Say what was found here and what to do next: `pipeline` alone."""
    from pipeline.cli.terminal import console, load_settings
    from pipeline.operators.next_step import advise, look

    advice = advise(console.run(look(load_settings(), os.environ)))
    if json:
        console.as_json({"found": advice.found, "next": [each._asdict() for each in advice.next]})
        return
    for sentence in advice.found:
        console.line(console.plain(sentence))
    console.line("\nNext:")
    width = max(len(step.do) for step in advice.next)
    for step in advice.next:
        console.line(f"  {console.plain(step.do):<{width}}  {step.why}")
    console.line("\n`pipeline --help` lists all commands, `pipeline COMMAND --help` has examples.")


schemas = typer.Typer()


@schemas.callback(invoke_without_command=True)
def write_schemas(
    context: typer.Context,
    check: Annotated[bool, Option("--check", help="Only fail if the files are stale.")] = False,
    directory: Annotated[Path, Option(help="Where the files are.")] = Path("schemas"),
    stage: Annotated[
        Strings, Option("--stage", help="Only what this stage reads and writes; repeatable.")
    ] = None,
) -> None:
    """Write the JSON Schemas and the AsyncAPI document of all topics, or check them."""
    from pipeline import schemas as contract
    from pipeline.cli.terminal import load_settings
    from pipeline.stages.api import build_stages, stage_named

    if context.invoked_subcommand is not None:
        return
    settings = load_settings()
    if stage:
        chosen = contract.generate_some([stage_named(settings.stages, name) for name in stage])
        generated = {**contract.read(directory), **chosen}
    else:
        stages = tuple(build_stages(settings.stages).values())
        generated = contract.generate(stages, settings.stages.by_name())
    if check:
        contract.check(directory, generated)
        return
    for name in contract.write(directory, generated):
        typer.echo(f"wrote {directory / name}")


@schemas.command()
def register(
    *,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Only say what would be registered, and what cannot be.")
    ] = False,
    json: Json = False,
) -> None:
    """Register the schemas of results at the schema registry, if their subjects allow it."""
    from pipeline.cli.terminal import console, load_settings, output
    from pipeline.inputs.outputs import register, targets
    from pipeline.kafka.topics import TopicNames
    from pipeline.model.errors import UsageError
    from pipeline.stages.api import build_stages

    settings = load_settings()
    names, tables = TopicNames.under(settings), settings.stages.by_name()
    wanted = [
        target
        for name, stage in build_stages(settings.stages).items()
        if tables[name].output.format != "json"
        for target in targets(stage, tables[name], names.enriched(name))
    ]
    if not wanted:
        raise UsageError(
            "No stage has results in a registry's format: set stages.<stage>.output.format."
        )
    done = console.run(register(wanted, settings.registry, dry_run=dry_run))
    output(done, [each.sentence(dry_run=dry_run) for each in done], json=json)
    if any(each.change == "incompatible" for each in done):
        raise typer.Exit(console.FAILED)


def cost(
    *,
    events: Annotated[int, Option(min=0, help="A month.")] = 100_000,
    input_tokens: Annotated[int, Option(min=0, help="Of a prompt, static part included.")] = 2_000,
    static_tokens: Annotated[int, Option(min=0, help="Of what every prompt begins with.")] = 1_800,
    output_tokens: Annotated[int, Option(min=0, help="Of one answer.")] = 150,
    escalated: Annotated[float, Option(min=0, max=1, help="Share that Sonnet answers, too.")] = 0.1,
    cached: Annotated[bool, Option("--cached/--uncached", help="Cache the static part.")] = True,
    batch: Annotated[bool, Option("--batch", help="Through Message Batches.")] = False,
    events_per_request: Annotated[int, Option(min=1, help="That share a request.")] = 1,
    published: Annotated[bool, Option("--published", help="Check known figures instead.")] = False,
    image: Annotated[
        str | None, Option(help="WIDTHxHEIGHT: what such an image costs at each size instead.")
    ] = None,
    json: Json = False,
) -> None:
    """Say what a workload costs on each model and as a cascade, before it is run."""
    from pipeline.claude import workloads as costs
    from pipeline.cli.terminal import console, load_settings

    settings = load_settings()
    if published:
        report = costs.of_published(settings)
    elif image is not None:
        from pipeline.cascade.image_costs import of_image

        report = of_image(settings, image)
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


def evaluate(
    stage: Annotated[str, Argument(help="Whose events they are.")],
    file: Annotated[Path, Argument(help="JSON Lines: events, and what is true of them.")],
    *,
    text: Annotated[
        str | None,
        Option(help="[FIELD=]KEY of the event's text, where it is not the stage's own name."),
    ] = None,
    label: Annotated[str | None, Option(help="[FIELD=]KEY of the true class of an event.")] = None,
    field: Annotated[Strings, Option(help="[FIELD=]KEY of another true value; repeatable.")] = None,
    gold: Annotated[str, Option(help="KEY of the object that holds what is true.")] = "gold",
    oos: Annotated[str, Option(help="KEY that is true of events of no class.")] = "oos",
    path: Annotated[str, Option(help="KEY of its file, relative to the labelled one.")] = "path",
    compare: Annotated[
        Strings, Option(help="Another setting to try, e.g. events_per_request=8; repeatable.")
    ] = None,
    target_accuracy: Annotated[float, Option(help="Accuracy to aim at, of the accepted.")] = 0.95,
    preset_coverage: Annotated[
        float, Option(help="Share that the first threshold accepts, of what can be accepted.")
    ] = 0.5,
    trial: Annotated[
        int | None,
        Option(min=1, help="Which trial on these labels it is: each certifies less easily."),
    ] = None,
    key: Annotated[
        str | None, Option(help="KEY of whose event it is: answers of the same may be alike.")
    ] = None,
    fail_under: Annotated[
        float | None,
        Option(min=0, max=1, help="Exit 1 where fewer events end well with the cascade."),
    ] = None,
    baseline: Annotated[OptionalPath, Option(help="JSON file of an earlier evaluation.")] = None,
    output: Annotated[
        OptionalPath, Option(help="Where the report goes: this name with .html and with .json.")
    ] = None,
    answers: Annotated[
        Path, Option(help="Where answers are kept: what is there is not asked again.")
    ] = Path(".haiku-pipeline/evaluated.sqlite3"),
    recorded: Annotated[bool, Option("--recorded", help="Ask nobody; use what is kept.")] = False,
    simulated: Annotated[
        bool, Option("--simulated", help="Ask a simulated API, which says nothing of models.")
    ] = False,
    json: Json = False,
) -> None:
    """Measure a stage on labelled events: accuracy, cost, escalations; propose a threshold."""
    from pipeline.cli.terminal import console, load_settings
    from pipeline.evaluate import report
    from pipeline.evaluate.evaluation import Wanted, prepare
    from pipeline.evaluate.evaluation import evaluate as evaluation_of
    from pipeline.evaluate.labelled_events import Columns
    from pipeline.local.environment import PATIENCE_SECONDS, simulated_api
    from pipeline.model.records import now

    settings = load_settings()
    wanted = Wanted(
        stage=stage,
        file=file,
        columns=Columns(text, gold, label, tuple(field or ()), oos, path, key),
        aim=_aim(target_accuracy, preset_coverage, trial),
        compare=tuple(compare or ()),
        answers=answers,
        place=place_of_models(simulated=simulated, recorded=recorded),
        recorded=recorded,
        baseline=baseline,
    )
    prepared = prepare(settings, wanted)

    async def ask(advance: console.Bar) -> "Evaluation":
        async with AsyncExitStack() as stack:
            asked = settings
            if simulated and not recorded:
                await stack.enter_async_context(simulated_api())
                claude = settings.claude.model_copy(update={"call_timeout": PATIENCE_SECONDS})
                asked = settings.model_copy(update={"claude": claude})
            return await evaluation_of(asked, wanted, prepared, at=now(), on_answer=advance)

    with console.progress("Asking", prepared.answers) as advance:
        found = console.run(ask(advance))
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


def _aim(target: float, preset: float, trial: int | None) -> "Aim":
    from pipeline.evaluate.proposal import Aim
    from pipeline.model.errors import UsageError

    try:
        return Aim(target, preset, trial)
    except ValueError as error:
        raise UsageError(f"Nothing can be certified so: {error}.") from error


def place_of_models(*, simulated: bool, recorded: bool) -> str:
    """Who answers, as the recording knows them; `UsageError` if there is no API to ask."""
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
