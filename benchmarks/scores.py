"""Escalations at equal risk: today's rule, and the score that is fitted to labels.

`python -m benchmarks.scores FOLDER` asks the simulated API about public labelled events:
intents and 77 labels in `tickets/clinc.jsonl` and `tickets/banking77.jsonl`, with the labels'
examples from `*.fewshot.jsonl`, and `invoices/receipts.jsonl`. The answers are a stand-in's: two
ways to doubt the same answers are compared, which says nothing of any model. Half of the events is
for fitting, or fewer of them, drawn again with each seed; the other half is judged. Prints tables,
the goals, and one JSON object as its last line. Answers are kept in `--answers`.
"""

import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import Any

from benchmarks.goals import Goal, Part, Table, at_least
from benchmarks.report import conclude, parser
from pipeline.cascade.policy import FAILURES
from pipeline.config import Settings
from pipeline.evaluate.evaluation import Wanted, evaluate, prepare
from pipeline.evaluate.labelled_events import Columns
from pipeline.evaluate.proposal import Aim
from pipeline.local.environment import PATIENCE_SECONDS, SimulatedApiProcess
from pipeline.model.errors import UsageError
from pipeline.model.records import Tier
from pipeline.trust.fitting import FEWEST, MANY, Example, Thresholds, at_equal_risk, fit
from pipeline.trust.score import Score, relevant, rule_doubt

DOCUMENT = Path(__file__).parents[1] / "docs" / "TRUST.md"
SEEDS = 10
FEW = 180
_NOT_WORSE = -1.0
"""Points that the score may escalate more than the rule with few labels."""
_FIELDS = ("vendor", "issue_date", "gross")
_LATENCY = ("--latency", "median=0.001,sigma=0.1")


@dataclass(frozen=True, slots=True)
class Set:
    """Labelled events, and how many points fewer shall be escalated with many labels."""

    name: str
    stage: str
    file: str
    columns: Columns
    fewshot: str | None = None
    points: float = 0.0


SETS = (
    Set("intents", "tickets", "tickets/clinc", Columns("text", label="label"), ".fewshot", 4.0),
    Set(
        "77 labels", "tickets", "tickets/banking77", Columns("text", label="label"), ".fewshot", 15
    ),
    Set("receipts", "invoices", "invoices/receipts", Columns()),
)


@dataclass(frozen=True, slots=True)
class Judged:
    """Shares of the events that were not fitted to; `carried` is at the file's own threshold."""

    rule: float
    score: float
    risk: float
    carried: float
    carried_risk: float

    @property
    def gain(self) -> float:
        """In points: how many fewer the score escalates."""
        return 100 * (self.rule - self.score)


def settings_for(data: Path, which: Set) -> Settings:
    """The labels of the set with their examples; else the settings as they come."""
    if which.fewshot is None:
        return Settings()
    labels: dict[str, dict[str, Any]] = {}
    for line in (data / f"{which.file}{which.fewshot}.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        name = re.sub(r"[^\w.-]", "_", row["label"])
        described = {"name": name, "description": f"About {name.replace('_', ' ')}."}
        labels.setdefault(name, {**described, "examples": []})["examples"].append(row["text"])
    return Settings.model_validate({"stages": {"tickets": {"intents": list(labels.values())}}})


async def answers_of(data: Path, which: Set, kept: Path) -> tuple[list[Example], Thresholds]:
    """What the first tier said of each event, and whether it is right; and the rule in force."""
    settings = settings_for(data, which)
    claude = settings.claude.model_copy(update={"call_timeout": PATIENCE_SECONDS})
    settings = settings.model_copy(update={"claude": claude})
    wanted = Wanted(
        which.stage, data / f"{which.file}.jsonl", which.columns, Aim(0.95), (), kept, "simulated"
    )
    async with SimulatedApiProcess(options=_LATENCY) as api:
        os.environ.update(ANTHROPIC_BASE_URL=api.base_url, ANTHROPIC_API_KEY="simulated")
        found = await evaluate(
            settings, wanted, prepare(settings, wanted), at=datetime.now(UTC), on_answer=_ignored
        )
    examples = [
        Example(
            each.case.key,
            each.case.haiku.signals,
            not each.case.haiku.right,
            {name: not right for name, right in each.case.haiku.fields.items()},
            each.case.haiku.said,
            failed=any(signal.code in FAILURES for signal in each.case.haiku.signals),
        )
        for each in found.measures.traces
    ]
    return examples, Thresholds(found.policies[Tier.HAIKU].thresholds_of(None))


def _ignored(_: int) -> None:
    """Progress is not shown."""


def halves(examples: Sequence[Example], seed: int) -> tuple[list[Example], list[Example]]:
    mixed = list(examples)
    random.Random(seed).shuffle(mixed)  # noqa: S311 - repeatable, not secret
    return mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]


def judged(
    score: Score | None, thresholds: Thresholds, test: Sequence[Example], name: str | None = None
) -> Judged:
    """The score against the rule on answers that it was not fitted to, of a field or the whole.

    Without a score of it the rule stays.
    """
    test = [each for each in test if name is None or name in each.wrong_fields]
    doubts = [
        rule_doubt(
            each.signals if name is None else relevant(each.signals, name),
            thresholds.of(each.label),
        )
        for each in test
    ]
    model = None
    if score is not None:
        model = score.whole if name is None else score.fields.get(name)
    if score is None or model is None:
        p, threshold = [float(doubt >= 1) for doubt in doubts], 1.0
    else:
        p = [1.0 if each.failed else score.p_wrong(each.signals, name) for each in test]
        threshold = model.threshold
    wrong = [each.wrong if name is None else each.wrong_fields[name] for each in test]
    keys = (each.key for each in test)
    rule, escalated, risk, _ = at_equal_risk(
        list(zip(p, doubts, wrong, repeat(1.0), keys, strict=False))
    )
    taken = [is_wrong for each, is_wrong in zip(p, wrong, strict=True) if each < threshold]
    carried_risk = sum(taken) / len(taken) if taken else 0.0
    return Judged(rule, escalated, risk or 0.0, 1 - len(taken) / len(test), carried_risk)


@dataclass(frozen=True, slots=True)
class Runs:
    """What was judged, a seed each; of `fitted` runs a score was written.

    `seconds` is what a look-up took, of the whole answer, on average; None where there was none.
    """

    judged: Sequence[Judged]
    fitted: int
    seconds: float | None = None


def measured(
    examples: Sequence[Example], thresholds: Thresholds, stage: str, labels: int, seeds: int
) -> Mapping[str, Runs]:
    """With so many labels, by what is judged: the whole answer, or a field."""
    scores: list[tuple[Score | None, list[Example]]] = []
    for seed in range(seeds):
        fitting, test = halves(examples, seed)
        try:
            fitted = fit(fitting[:labels], thresholds, stage=stage, asks="")
        except UsageError:
            scores.append((None, test))
        else:
            scores.append((fitted.score, test))
    named = {name for each in examples for name in each.wrong_fields}
    found = {
        "whole": Runs(
            [judged(score, thresholds, test) for score, test in scores],
            sum(score is not None for score, _ in scores),
            look_up_seconds(scores),
        )
    }
    for name in _FIELDS:
        if name in named:
            found[name] = Runs(
                [judged(score, thresholds, test, name) for score, test in scores],
                sum(score is not None and name in score.fields for score, _ in scores),
            )
    return found


def look_up_seconds(scores: Sequence[tuple[Score | None, Sequence[Example]]]) -> float | None:
    """Of the fastest seed, since others have the processor, too."""
    found = []
    for score, test in scores:
        if score is not None:
            begun = time.perf_counter()
            for each in test:
                score.p_wrong(each.signals)
            found.append((time.perf_counter() - begun) / len(test))
    return min(found, default=None)


async def measure(data: Path, seeds: int, kept: Path) -> Part:
    rows: list[tuple[str, ...]] = []
    goals: list[Goal] = []
    remarks: list[str] = []
    figures: dict[str, Any] = {}
    for which in SETS:
        if not (data / f"{which.file}.jsonl").exists():
            remarks.append(f"No {which.file}.jsonl: {which.name} are not measured.")
            continue
        examples, thresholds = await answers_of(data, which, kept)
        half = len(examples) // 2
        if half < FEWEST:
            remarks.append(
                f"{len(examples)} {which.name} are too few: a half is less than {FEWEST} labels."
            )
            continue
        for labels in sorted({min(FEW, half), min(MANY, half), half}):
            for name, runs in measured(examples, thresholds, which.stage, labels, seeds).items():
                each = runs.judged
                gain = statistics.mean(one.gain for one in each)
                worst = min(one.gain for one in each)
                what = which.name if name == "whole" else f"{which.name}: {name}"
                row = (what, str(labels), str(half), f"{runs.fitted} of {seeds}")
                look_up = "" if runs.seconds is None else f"{1e6 * runs.seconds:.0f} µs"
                rows.append((*row, *_shares(each), f"{gain:.1f}", f"{worst:.1f}", look_up))
                figures[f"{what}, {labels}"] = {"gain": gain, "worst": worst, "fitted": runs.fitted}
                title = f"{what}, {labels} labels: fewer escalated"
                if name in {"vendor", "issue_date"}:
                    goals.append(at_least(title, gain, 8.0, " points"))
                elif name == "whole" and labels >= MANY:
                    goals.append(at_least(title, gain, which.points, " points"))
                elif name == "whole":
                    goals.append(at_least(f"{title}, at worst", worst, _NOT_WORSE, " points"))
    return Part(
        name="scores",
        title="Escalations at equal risk",
        about=(
            "Answers of a stand-in, which say nothing of any model. A score is fitted to so many "
            f"labels, {seeds} times with other events, and judged by the other half; where it "
            "would be worse than the rule by cross-validation, none is written and the rule stays. "
            "Equal risk: of the accepted answers the same share is wrong as of those that the rule "
            "accepts; that point is found on the judged half. At its own threshold: with the one "
            "that was chosen while fitting, and the risk that comes of it."
        ),
        tables=[
            Table(
                ("events", "labels", "judged", "fitted", "rule escalates", "score escalates",
                 "wrong of accepted", "at its own threshold", "points fewer", "at worst",
                 "a look-up"),
                rows,
            )
        ],
        goals=goals,
        data=figures,
        remarks=remarks,
    )  # fmt: skip


def _shares(found: Sequence[Judged]) -> tuple[str, ...]:
    def mean(name: str) -> str:
        return f"{statistics.mean(getattr(each, name) for each in found):.1%}"

    at_own = f"{mean('carried')}, {mean('carried_risk')} wrong"
    return mean("rule"), mean("score"), mean("risk"), at_own


def main() -> int:
    made = parser("scores", __doc__, document=DOCUMENT)
    made.add_argument("data", type=Path, help="the folder of labelled events")
    made.add_argument("--seeds", type=int, default=SEEDS, help="how often it is drawn again")
    made.add_argument("--answers", type=Path, help="where answers are kept, to ask only once")
    given = made.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = given.answers or Path(folder) / "answers.sqlite3"
        work = measure(given.data, given.seeds, kept)
        return conclude(work, write=given.write, document=DOCUMENT)


if __name__ == "__main__":
    sys.exit(main())
