"""`pipeline trust`."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from pipeline.cli.options import As, Json, OptionalPath, Strings

if TYPE_CHECKING:
    from pipeline.trust.certificates import Verdict
    from pipeline.trust.records import LabelledAnswer, SampledAnswer

trust = typer.Typer(
    no_args_is_help=True,
    help="What labels of published answers prove, how many it takes, and when it holds no longer.",
)
Verdicts = Annotated[
    OptionalPath,
    Argument(
        help='What `export` wrote, or JSON Lines: {"id": ..., "right": true}, "key" and "chance" '
        "if they differ. Else the labels in the topic are taken."
    ),
]
Stages = Annotated[Strings, Option("--stage", help="Whose answers; repeatable, all if none.")]


class OfTier(StrEnum):
    HAIKU = "haiku"
    SONNET = "sonnet"


class Origin(StrEnum):
    SAMPLE = "sample"
    REVIEW = "review"
    FEEDBACK = "feedback"


OneTier = Annotated[OfTier | None, Option("--tier", help="Who gave them; both if not said.")]
Origins = Annotated[
    list[Origin] | None, Option("--origin", help="Which labels; repeatable, all if none.")
]
Target = Annotated[float, Option(help="Share of the answers that shall be right.")]


def _verdicts(
    path: Path | None,
    stages: Sequence[str] | None,
    tier: OfTier | None,
    origins: Sequence[Origin] | None,
) -> "list[Verdict]":
    """Those of a file, or of the topic."""
    from pipeline.model.errors import UsageError
    from pipeline.trust.labelling import weighed
    from pipeline.trust.verdicts import read_verdicts

    chosen = [each.value for each in origins] if origins else None

    is_wanted = _chosen(stages, tier)
    if path is not None:
        found = read_verdicts(path, is_wanted=is_wanted, origins=chosen)
    else:
        found = weighed(_labelled(is_wanted), chosen)
    if not found:
        raise UsageError(
            "There are no labels of such answers: `pipeline review sample STAGE` makes some."
        )
    return found


def _chosen(stages: Sequence[str] | None, tier: OfTier | None) -> "Callable[[SampledAnswer], bool]":
    def is_wanted(answer: "SampledAnswer") -> bool:
        is_of_stage = not stages or answer.stage in stages
        return is_of_stage and (tier is None or answer.decided_by == tier.value)

    return is_wanted


def _labelled(is_wanted: "Callable[[SampledAnswer], bool]") -> "list[LabelledAnswer]":
    from pipeline.cli.terminal import console, load_settings
    from pipeline.kafka.topics import TopicNames
    from pipeline.operators.selection import topic_reader
    from pipeline.operators.trust_topic import labelled_answers

    settings = load_settings()
    topic = TopicNames.under(settings).trust
    return console.run(labelled_answers(topic_reader(settings), topic, is_wanted=is_wanted))


@trust.command("export")
def export_labels(
    file: Annotated[Path, Argument(help="What is written, as JSON Lines; - prints them.")],
    *,
    stage: Stages = None,
    tier: OneTier = None,
) -> None:
    """Write labelled answers to a file: {"answer": ..., "labels": [...]}, a line each."""
    from pipeline.cli.terminal import console
    from pipeline.operators.files import usable
    from pipeline.trust.verdicts import export_line

    lines = [export_line(each) for each in _labelled(_chosen(stage, tier))]
    if file == Path("-"):
        for line in lines:
            console.line(line.decode())
    else:
        with usable(file, "written", otherwise="name another."):
            file.write_bytes(b"".join(line + b"\n" for line in lines))
    console.note(f"{len(lines):,} labelled answers")


@trust.command("plan")
def plan_labels(
    *,
    target: Target = 0.95,
    right: Annotated[
        list[float] | None, Option(help="Share that may be right in truth; repeatable.")
    ] = None,
    chance: Annotated[float, Option(help="To certify, if that is so.")] = 0.8,
    json: Json = False,
) -> None:
    """Say how many labels of accepted answers it takes to certify that they are right so often."""
    from pipeline.cli.terminal import console
    from pipeline.trust.verdicts import plan

    found = plan(target, right or [0.99, 0.98], chance)
    if json:
        console.as_json(found)
        return
    console.table(
        ("Right in truth", "Labels"),
        [(f"{each.right:.1%}", "no number" if each.labels is None else str(each.labels))
         for each in found],
    )  # fmt: skip
    console.line(
        f"For {target:.1%} right at 95 % confidence with a chance of {chance:.0%}, looked at once. "
        "Draw the answers by lot, at most one of a key."
    )


@trust.command("certify")
def certify_verdicts(
    verdicts: Verdicts = None,
    *,
    stage: Stages = None,
    tier: OneTier = None,
    origin: Origins = None,
    target: Target = 0.95,
    out: Annotated[
        OptionalPath, Option(help="Certificate file: what `run` checks. It is extended.")
    ] = None,
    as_they_come: Annotated[
        bool, Option("--as-they-come", help="Their number was not set before the first.")
    ] = False,
    trial: Annotated[
        int | None, Option(min=1, help="Which trial on these answers it is, of several.")
    ] = None,
    json: Json = False,
) -> None:
    """Say whether verdicts prove that answers are right so often; exit 1 where they do not."""
    from pipeline.cli.terminal import console
    from pipeline.trust.verdicts import certify

    if out is not None:
        _certify_into(out, verdicts, stage or [], target, at_once=not as_they_come, json=json)
        return
    found = certify(
        _verdicts(verdicts, stage, tier, origin), target, at_once=not as_they_come, trial=trial
    )
    if json:
        console.as_json(found)
    else:
        of = found.finding
        bound = "" if found.upper is None else f", below {found.upper:.1%} in truth"
        console.line(
            f"{of.errors} of {of.labels} wrong, of {of.keys} keys: {of.estimate:.1%}{bound}. "
            f"{'Certified' if found.holds else 'Not certified'}: at least {target:.1%} right, with "
            f"{1 - found.alpha:.1%} confidence ({of.method})."
        )
    if not found.holds:
        raise typer.Exit(console.FAILED)


def _certify_into(
    out: Path, file: Path | None, stages: list[str], target: float, *, at_once: bool, json: bool
) -> None:
    from pipeline.cli.terminal import console, load_settings
    from pipeline.kafka.topics import TopicNames
    from pipeline.model.errors import UsageError
    from pipeline.model.records import now
    from pipeline.operators.certificates import certify_into, read_drawn, read_export
    from pipeline.operators.selection import topic_reader

    if not stages:
        raise UsageError("Say with --stage which stage the certificate is about.")
    settings = load_settings()
    if file is None:
        topic = TopicNames.under(settings).trust
        labelled = console.run(read_drawn(topic_reader(settings), topic, stages))
    else:
        topic, labelled = file.name, read_export(file)
    tried = certify_into(
        out, settings, labelled, stages, target=target, at_once=at_once, source=topic, at=now()
    )
    if json:
        console.as_json(tried)
    else:
        for each in tried:
            what = "not certified"
            if each.certificate is not None:
                what = f"certified: {', '.join(sorted(each.certificate.held))}"
            console.line(
                f"{each.stage}: {what}, at least {target:.1%} right at {1 - each.alpha:.2%} "
                f"confidence (trial {each.trial}, look {each.looks}); {each.errors} of "
                f"{each.labels} labels wrong."
            )
    if not all(each.holds for each in tried):
        raise typer.Exit(console.FAILED)


@trust.command("status")
def show_status(*, json: Json = False) -> None:
    """Say of each stage whether it is certified, stale and why; exit 1 where one is stale."""
    from pipeline.cli.terminal import console, load_settings
    from pipeline.kafka.topics import TopicNames
    from pipeline.model.errors import UsageError
    from pipeline.operators.certificates import read_alarms, status
    from pipeline.operators.selection import topic_reader
    from pipeline.trust.certificate_file import read_certificates

    settings = load_settings()
    if settings.trust.certificate is None:
        raise UsageError("trust.certificate is not set: no stage has a certificate.")
    file = read_certificates(settings.trust.certificate)
    topic = TopicNames.under(settings).trust
    found = status(settings, file, console.run(read_alarms(topic_reader(settings), topic)))
    if json:
        console.as_json(found)
    else:
        console.table(("Stage", "State", "Certified", "Why not"), [each.row() for each in found])
    if any(each.alarm is not None or each.state.state == "stale" for each in found):
        raise typer.Exit(console.FAILED)


@trust.command("acknowledge")
def acknowledge_alarm(
    stage: Annotated[str, Argument(help="Whose alarm is dealt with.")], *, person: As = None
) -> None:
    """End an alarm once its cause is dealt with: thresholds are those of the settings again."""
    from pipeline.cli.terminal import console, load_settings
    from pipeline.kafka.topics import TopicNames
    from pipeline.kafka.writer import Writer
    from pipeline.model.records import now
    from pipeline.operators.audit import AuditedCommand, person_named, selected
    from pipeline.operators.certificates import acknowledge
    from pipeline.operators.selection import topic_reader
    from pipeline.trust.live import Alarm

    settings = load_settings()
    names = TopicNames.under(settings)
    command = AuditedCommand(
        names.audit,
        person_named(person, settings.operators),
        "trust acknowledge",
        "acknowledged",
        selected(stage=stage),
    )

    async def work() -> Alarm:
        limit = settings.topics.max_message_bytes
        async with Writer(settings.kafka, max_record_bytes=limit) as to:
            return await acknowledge(
                topic_reader(settings), to.write, names.trust, stage, command, at=now()
            )

    alarm = console.run(work())
    console.line(
        f"Alarm {alarm.number} of {stage} is over: its thresholds are those of the settings again."
    )


@trust.command("watch")
def watch_verdicts(
    verdicts: Verdicts = None,
    *,
    stage: Stages = None,
    tier: OneTier = None,
    origin: Origins = None,
    target: Target = 0.95,
    run_length: Annotated[
        float, Option(help="Labels until a false alarm, on average, at least.")
    ] = 1000,
    json: Json = False,
) -> None:
    """Say whether verdicts, in their order, show that it holds no longer; exit 1 where they do."""
    from pipeline.cli.terminal import console
    from pipeline.trust.verdicts import watch

    found = watch(_verdicts(verdicts, stage, tier, origin), target, run_length)
    if json:
        console.as_json(found)
    elif found.alarm_at is None:
        console.line(
            f"No alarm: {found.errors} of {found.labels} wrong; the level is {found.level:.0%} of "
            "what an alarm takes."
        )
    else:
        console.line(
            f"Alarm at label {found.alarm_at}: fewer than {target:.1%} are right. "
            f"{found.errors} of all {found.labels} are wrong."
        )
    if found.alarm_at is not None:
        raise typer.Exit(console.FAILED)
