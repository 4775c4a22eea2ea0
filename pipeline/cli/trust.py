"""`pipeline trust`."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from pipeline.cli.options import As, Json, OptionalPath, Strings

if TYPE_CHECKING:
    from pipeline.evaluate.judging import Judgements
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
    from pipeline.trust.export import export_line

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
    from pipeline.operators.certificates import certify_into, read_drawn
    from pipeline.operators.selection import topic_reader
    from pipeline.trust.export import read_export

    if not stages:
        raise UsageError("Say with --stage which stage the certificate is about.")
    settings = load_settings()
    if file is None:
        topic = TopicNames.under(settings).trust
        labelled = console.run(read_drawn(topic_reader(settings), topic, stages))
    else:
        topic, labelled = file.name, list(read_export(file))
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


@trust.command("fit")
def fit_score(
    stage: Annotated[str, Argument(help="Whose first answers they are.")],
    labels: Annotated[
        OptionalPath,
        Argument(
            help="What `pipeline trust export` wrote, or the JSON file of `pipeline evaluate`; "
            "without one the topic `trust`."
        ),
    ] = None,
    *,
    out: Annotated[Path, Option(help="Where the score goes.")] = Path("score.json"),
    json: Json = False,
) -> None:
    """Fit a score of doubt to labels, and compare it with the thresholds; needs scikit-learn."""
    from importlib.util import find_spec

    from pipeline.cli.terminal import console, load_settings
    from pipeline.model.errors import UsageError

    if find_spec("sklearn") is None:
        raise UsageError("Fitting a score takes scikit-learn: install the extra `trust`.")
    from pipeline.operators import score_fitting

    settings = load_settings()
    if labels is None:
        answers = _labelled(_chosen([stage], None))
        labelled = score_fitting.of_topic(settings, stage, answers)
    else:
        labelled = score_fitting.of_file(settings, stage, labels)
    fitted = score_fitting.fit_score(settings, stage, labelled)
    score_fitting.write_score(fitted, out)
    if json:
        console.as_json(
            {
                "score": fitted.score.digest,
                "method": fitted.score.method,
                "threshold": fitted.score.whole.threshold,
                "whole": fitted.whole,
                "fields": fitted.fields,
                "left_out": {**labelled.left_out, **fitted.left_out},
            }
        )
        return
    console.table(
        ("Of", "Labels", "Wrong of accepted", "Rule escalates", "Score escalates", "Difference"),
        [
            (each.what, str(each.labels), f"{each.risk or 0:.1%}", f"{each.rule:.1%}",
             f"{each.score:.1%}", f"{100 * each.low:+.1f} to {100 * each.high:+.1f} points")
            for each in (fitted.whole, *fitted.fields)
        ],
    )  # fmt: skip
    console.line(
        "At equal risk, by cross-validation; the difference with 95 % confidence, keys drawn again."
    )
    for what, why in fitted.left_out.items():
        console.line(f"Without a score of its own: {what}. {why}")
    for why, count in labelled.left_out.items():
        console.line(f"Left out: {count} answers, {why}.")
    console.line(
        f"Written: {out} ({fitted.score.method}, {fitted.score.labels} labels). To use it: "
        f'[stages.{stage}] score = "{out}".'
    )


@trust.command("judge")
def judge_pairs(
    pairs: Annotated[
        Path,
        Argument(help='JSON Lines: {"id", "source", "a", "b", "verdict": "a", "b" or "tie"}.'),
    ],
    *,
    tier: Annotated[OfTier, Option(help="Who judges: the model that gave neither answer.")] = (
        OfTier.SONNET
    ),
    stage: Annotated[
        str | None, Option(help="Whose masking and budget hold, where it has its own.")
    ] = None,
    rubric: Annotated[OptionalPath, Option(help="File that says what is better.")] = None,
    simulated: Annotated[
        bool, Option("--simulated", help="Ask a simulated API, which says nothing of models.")
    ] = False,
    json: Json = False,
) -> None:
    """Have a model choose between answers, in both orders, and say how far people agree with it."""
    from pipeline.claude.gateway import Gateway
    from pipeline.cli.checks import place_of_models
    from pipeline.cli.terminal import console, load_settings
    from pipeline.evaluate.judging import RUBRIC, STAGE, judge, read_pairs
    from pipeline.local.environment import PATIENCE_SECONDS, simulated_api
    from pipeline.model.records import Tier, is_simulated
    from pipeline.operators.files import usable
    from pipeline.stages.api import stage_named

    settings, read = load_settings(), read_pairs(pairs)
    place_of_models(simulated=simulated, recorded=False)
    if stage is not None:
        stage_named(settings.stages, stage)
    by = RUBRIC
    if rubric is not None:
        with usable(rubric, "read", otherwise="name a file of text, or leave --rubric out."):
            by = rubric.read_bytes().decode("utf-8", "replace")

    async def ask(advance: console.Bar) -> "Judgements":
        async with AsyncExitStack() as stack:
            asked = settings
            if simulated:
                await stack.enter_async_context(simulated_api())
                claude = settings.claude.model_copy(update={"call_timeout": PATIENCE_SECONDS})
                asked = settings.model_copy(update={"claude": claude})
            gateway = await stack.enter_async_context(Gateway(asked))
            about = stage or STAGE
            who = Tier(tier.value)
            return await judge(gateway, who, read, stage=about, rubric=by, on_answer=advance)

    with console.progress("Asking", 2 * len(read)) as advance:
        found = console.run(ask(advance))
    if json:
        console.as_json(found)
        return
    of = found.agreement
    kappa = "no kappa, since one of them always chose the same"
    if of.kappa is not None and of.kappa_within is not None:
        low, high = of.kappa_within.low, of.kappa_within.high
        kappa = f"Cohen's kappa {of.kappa:.2f} ({low:.2f} to {high:.2f})"
    console.line(
        f"{found.model} chose as people did in {of.agreed} of {of.pairs} pairs: {of.share:.0%} "
        f"({of.share_within.low:.0%} to {of.share_within.high:.0%}), {kappa}; at 95 % confidence."
    )
    judged, usd = sum(found.choices.values()), found.usage.cost_usd
    if judged:
        said = ", ".join(f"{choice} {found.choices.get(choice, 0)}" for choice in ("a", "b", "tie"))
        console.line(f"Of the {judged} pairs that nobody judged it chose: {said}.")
    console.line(
        f"{found.inconsistent} pairs were judged otherwise in the other order, and count as ties; "
        f"{found.unanswered} were not answered and count nowhere. "
        f"It cost {'what is not known' if usd is None else f'${usd:.4f}'}."
    )
    if is_simulated(found.model):
        console.note("A stand-in judged: this says nothing about a model.")
