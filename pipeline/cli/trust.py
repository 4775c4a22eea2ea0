"""`pipeline trust`."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from pipeline.cli.options import Json, OptionalPath
from pipeline.model.records import Tier

if TYPE_CHECKING:
    from pipeline.evaluate.judging import Judgements

trust = typer.Typer(
    no_args_is_help=True,
    help="What labels of published answers prove, how many it takes, and when it holds no longer.",
)
Verdicts = Annotated[
    Path,
    Argument(help='JSON Lines: {"id": ..., "right": true}, "key" and "chance" if they differ.'),
]
Target = Annotated[float, Option(help="Share of the answers that shall be right.")]


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
    verdicts: Verdicts,
    *,
    target: Target = 0.95,
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
    from pipeline.trust.verdicts import certify, read_verdicts

    found = certify(read_verdicts(verdicts), target, at_once=not as_they_come, trial=trial)
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


@trust.command("watch")
def watch_verdicts(
    verdicts: Verdicts,
    *,
    target: Target = 0.95,
    run_length: Annotated[
        float, Option(help="Labels until a false alarm, on average, at least.")
    ] = 1000,
    json: Json = False,
) -> None:
    """Say whether verdicts, in their order, show that it holds no longer; exit 1 where they do."""
    from pipeline.cli.terminal import console
    from pipeline.trust.verdicts import read_verdicts, watch

    found = watch(read_verdicts(verdicts), target, run_length)
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


@trust.command("judge")
def judge_pairs(
    pairs: Annotated[
        Path,
        Argument(help='JSON Lines: {"id", "source", "a", "b", "verdict": "a", "b" or "tie"}.'),
    ],
    *,
    tier: Annotated[Tier, Option(help="Who judges: the model that gave neither answer.")] = (
        Tier.SONNET
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
    from pipeline.model.records import is_simulated
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
            return await judge(gateway, tier, read, stage=about, rubric=by, on_answer=advance)

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
