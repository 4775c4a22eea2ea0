"""`pipeline trust compare`, `promote` and `rollback`: other settings, tried and taken."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from pipeline.cli.options import As, Json, OptionalPath, Since
from pipeline.cli.trust import trust

if TYPE_CHECKING:
    from pipeline.config import Settings
    from pipeline.evaluate.shadow import Difference, ShadowReport

Stage = Annotated[str, Argument(help="Whose settings they are.")]
Candidate = Annotated[Path, Argument(help="Other settings of the stage, as in pipeline.toml.")]


@trust.command("compare")
def compare_settings(
    stage: Stage,
    candidate: Candidate,
    *,
    events: Annotated[int, Option(min=1, help="How many to ask about, at most.")] = 200,
    share: Annotated[float, Option(help="Of the events, drawn by lot.")] = 1.0,
    since: Since = None,
    follow: Annotated[
        bool, Option("--follow", help="Events that come from now on, until there are enough.")
    ] = False,
    recorded: Annotated[
        OptionalPath, Option(help="Events from a file, as `publish` takes it; no Kafka.")
    ] = None,
    changed: Annotated[
        OptionalPath, Option(help="Where to write events whose answers differ, to be judged.")
    ] = None,
    output: Annotated[OptionalPath, Option(help="Where to write what `promote` needs.")] = None,
    answers: Annotated[
        Path, Option(help="Where answers are kept: what is there is not asked again.")
    ] = Path(".haiku-pipeline/evaluated.sqlite3"),
    simulated: Annotated[
        bool, Option("--simulated", help="Ask a simulated API, which says nothing of models.")
    ] = False,
    json: Json = False,
) -> None:
    """Ask about real events by other settings, beside those in force; nothing is published.

    Questions that both ask alike are paid for once. The events are the stage's latest, or those
    since a time.
    """
    from pipeline.cli.checks import place_of_models
    from pipeline.cli.terminal import console, load_settings
    from pipeline.evaluate import blind_verdicts, shadow
    from pipeline.evaluate.promotion import candidate_settings
    from pipeline.local.environment import simulated_api

    in_force, other = load_settings(), candidate_settings(stage, candidate)
    place = place_of_models(simulated=simulated, recorded=False)
    records = shadow.drawn_events(
        in_force, stage, share=share, most=events, since=since, follow=follow, file=recorded
    )

    async def ask(advance: console.Bar) -> "ShadowReport":
        async with AsyncExitStack() as stack:
            before, after = in_force, other
            if simulated:
                await stack.enter_async_context(simulated_api())
                before, after = _patient(before), _patient(after)
            return await shadow.compare(
                before, after, stage, records, place=place, answers=answers, on_pair=advance
            )

    with console.progress("Asking", events) as advance:
        found = console.run(ask(advance))
    if changed is not None:
        _write(changed, blind_verdicts.to_be_judged(found))
    document = blind_verdicts.document(found, candidate)
    if output is not None:
        from pipeline.model.json_bytes import dumps

        _write(output, dumps(document))
    if json:
        console.as_json({**document, "figures": _figures(found)})
        return
    rows = [
        (name, *(f"{each:.4g}" for each in (d.before, d.after)),
         f"{d.interval.value:+.4g} ({d.interval.low:+.4g} to {d.interval.high:+.4g})")
        for name, d in _figures(found).items()
    ]  # fmt: skip
    console.table(("Of an event", "In force", "Candidate", "Difference (95 %)"), rows)
    for (before, after), count in sorted(found.ends.items()):
        if before != after:
            console.line(f"{count} from {before} to {after}.")
    console.line(
        f"{len(found.changed)} of {len(found.pairs)} events would be published otherwise; "
        f"{found.counts.asked} answers were asked for, {found.counts.recorded} were on record."
    )


def _patient(settings: "Settings") -> "Settings":
    from pipeline.local.environment import PATIENCE_SECONDS

    claude = settings.claude.model_copy(update={"call_timeout": PATIENCE_SECONDS})
    return settings.model_copy(update={"claude": claude})


def _figures(found: "ShadowReport") -> dict[str, "Difference"]:
    from pipeline.evaluate.shadow import cost

    named = {
        "share escalated": found.share(lambda each: each.is_escalated),
        "share left to people": found.share(lambda each: each.end == "review"),
        "share in dead letters": found.share(lambda each: each.end == "dead_letter"),
        "US dollars": found.mean(cost),
        "seconds in calls": found.mean(lambda each: each.seconds),
    }
    return {name: each for name, each in named.items() if each is not None}


@trust.command("promote")
def promote_candidate(
    stage: Stage,
    candidate: Candidate,
    *,
    comparison: Annotated[OptionalPath, Option(help="What `compare --output` wrote.")] = None,
    verdicts: Annotated[
        OptionalPath, Option(help="What `compare --changed` wrote, judged.")
    ] = None,
    margin: Annotated[
        float, Option(help="Share of the events that may be wrong beyond those in force.")
    ] = 0.01,
    trial: Annotated[int, Option(min=1, help="Which candidate it is that these labels try.")] = 1,
    unproven: Annotated[
        str | None, Option(metavar="REASON", help="Promote without proof; goes on record.")
    ] = None,
    person: As = None,
) -> None:
    """Put a candidate in force where it is shown to be no worse; exit 1 where it is not shown.

    Running processes take it up within seconds. It becomes promoted/STAGE.toml; `rollback` takes it
    back. Who did it is in the topic of audit.
    """
    from pipeline.cli.terminal import console, load_settings
    from pipeline.evaluate.blind_verdicts import prove
    from pipeline.evaluate.promotion import candidate_settings, promote
    from pipeline.model.errors import UsageError

    candidate_settings(stage, candidate)
    why = unproven
    if why is None:
        if comparison is None or verdicts is None:
            raise UsageError(
                "Name the --comparison and the --verdicts on it, or say why there are none with "
                "--unproven REASON."
            )
        proof = prove(stage, candidate, comparison, verdicts, margin, trial=trial)
        of = proof.finding
        why = (
            f"{of.worse} of {of.events} events got worse and {of.better} better "
            f"({proof.missing} of them not judged): p = {of.p_value:.2g} against "
            f"{proof.alpha:.2g} that more than {margin:.1%} do"
        )
        if not proof.holds:
            console.line(f"Not shown to be no worse: {why}. Compare more events, or judge more.")
            raise typer.Exit(console.FAILED)
    settings = load_settings()
    console.run(_audit(settings, stage, person, "promote", why))
    for later in promote(stage, candidate):
        console.note(later)
    console.line(f"In force: promoted/{stage}.toml. {why[:1].upper()}{why[1:]}.")


@trust.command("rollback")
def rollback_candidate(stage: Stage, person: As = None) -> None:
    """Put in force again what was before the last promotion of a stage."""
    from pipeline.cli.terminal import console, load_settings
    from pipeline.evaluate.promotion import check_rollback, rollback

    check_rollback(stage)
    console.run(_audit(load_settings(), stage, person, "rollback", "a person asked for it"))
    rollback(stage)
    console.line(f"In force again: what was before the last promotion of {stage}.")


async def _audit(
    settings: "Settings", stage: str, person: str | None, command: str, why: str
) -> None:
    from pipeline.kafka.topics import TopicNames
    from pipeline.kafka.writer import Writer
    from pipeline.model.records import now
    from pipeline.operators.audit import AuditedCommand, person_named, selected

    topics = TopicNames.under(settings)
    entry = AuditedCommand(
        topics.audit,
        person_named(person, settings.operators),
        f"trust {command}",
        "changed",
        selected(stage=stage, because=why),
    )
    async with Writer(settings.kafka, max_record_bytes=settings.topics.max_message_bytes) as to:
        await to.write(entry.entry(1, at=now(), about=""))


def _write(path: Path, content: bytes) -> None:
    from pipeline.operators.files import usable

    with usable(path, "written", otherwise="name another."):
        path.write_bytes(content)
