"""`pipeline trust`."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from pipeline.cli.options import Json

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


@trust.command("fit")
def fit_score(
    stage: Annotated[str, Argument(help="Whose first answers they are.")],
    labels: Annotated[
        Path,
        Argument(help="Labelled answers as JSON Lines, or the JSON file of `pipeline evaluate`."),
    ],
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

    fitted, labelled = score_fitting.fit_score(load_settings(), stage, labels)
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
