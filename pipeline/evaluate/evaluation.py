"""One evaluation, from a labelled file to everything that can be said about it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.cascade.policies import policy_of, steers
from pipeline.cascade.reading import AnyStage
from pipeline.claude.gateway import Gateway
from pipeline.config import Settings, StageSettings
from pipeline.evaluate.asking import DeadLetter, Interview, Told
from pipeline.evaluate.comparison import letters
from pipeline.evaluate.labels import Columns, LabelledFile, Scoring, read_labelled
from pipeline.evaluate.measures import Measures, Policies, measure
from pipeline.evaluate.origin import Baseline, Origin, baseline, origin_of, read_earlier
from pipeline.evaluate.recording import (
    SCHEMA,
    Counts,
    Fingerprint,
    Manner,
    NobodyToAsk,
    Recording,
    fingerprint,
)
from pipeline.evaluate.strategies import Case, Strategy, variant
from pipeline.model.questions import Asker, first_questions
from pipeline.model.records import Tier
from pipeline.runtime.database import Database
from pipeline.stages.api import build_stages, encoder_for, stage_named
from pipeline.stages.files.decoding import decoders_of_this_process

Askers = Callable[[Settings], AbstractAsyncContextManager[Asker]]
"""Makes who is asked, by settings; `Gateway` is the real one."""
_GATEWAYS: Askers = partial(Gateway, steers=steers)
TIERS = 2
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be evaluated, and how.

    Args:
        stage: Its name.
        file: Labelled events.
        columns: Where things are in a line of it.
        target: The share of accepted answers that shall be right.
        candidates: Thresholds that may be tried for it.
        compare: Other settings, each as `pipeline.evaluate.strategies` takes them.
        answers: The file in which answers are kept.
        place: Who answers: `simulated`, or the address of the API.
        recorded: Use recorded answers only, and ask nobody.
        baseline: The JSON file of an earlier evaluation.
    """

    stage: str
    file: Path
    columns: Columns
    target: float
    candidates: int
    compare: tuple[str, ...]
    answers: Path
    place: str
    recorded: bool = False
    baseline: Path | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same events under other settings.

    Args:
        changes: As they were given.
        haiku: The first model alone.
        sonnet: The second model alone.
        cascade: Both.
        differing: Events whose answer by the first model is right here and wrong there, or the
            other way round.
    """

    changes: str
    haiku: Strategy
    sonnet: Strategy
    cascade: Strategy
    differing: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of it.

    Args:
        stage: Its name.
        file: The labelled file's.
        at: When.
        lines: Labelled events in the file; each is measured or a dead letter.
        dead_letters: Those that the stage, or the API, did not take.
        origin: Who answered.
        scoring: What was compared.
        policies: In force.
        measures: The figures.
        comparisons: The same under other settings.
        fingerprint: What the figures depend on.
        remarks: What casts doubt on the figures.
        baseline: An earlier evaluation beside this one; None where none was given.
    """

    stage: str
    file: str
    at: datetime
    lines: int
    dead_letters: tuple[DeadLetter, ...]
    origin: Origin
    scoring: Scoring
    policies: Policies
    measures: Measures
    comparisons: tuple[Comparison, ...]
    fingerprint: Fingerprint
    remarks: tuple[str, ...] = ()
    baseline: Baseline | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    """What one set of settings came to."""

    cases: tuple[Case, ...]
    dead: tuple[DeadLetter, ...]
    measures: Measures
    fingerprint: Fingerprint
    counts: Counts


@dataclass(frozen=True, slots=True)
class Prepared:
    """What can be known before anything is asked.

    Args:
        labelled: The file, read.
        variants: The other settings to compare with.
        earlier: An earlier evaluation; None where none was given.
    """

    labelled: LabelledFile
    variants: tuple[Settings, ...]
    earlier: Mapping[str, Any] | None

    @property
    def answers(self) -> int:
        """How many answers it takes, of both tiers and under all settings."""
        return TIERS * len(self.labelled.events) * (1 + len(self.variants))


def prepare(settings: Settings, wanted: Wanted) -> Prepared:
    """Read the file and the settings to compare.

    Raises:
        UsageError: The file or a setting is not what it should be.
    """
    stage = stage_named(settings.stages, wanted.stage)
    labelled = read_labelled(wanted.file, stage, wanted.columns)
    variants = tuple(variant(settings, wanted.stage, changes) for changes in wanted.compare)
    earlier = None if wanted.baseline is None else read_earlier(wanted.baseline)
    return Prepared(labelled, variants, earlier)


async def evaluate(
    settings: Settings,
    wanted: Wanted,
    prepared: Prepared,
    *,
    at: datetime,
    on_answer: Told,
    askers: Askers = _GATEWAYS,
) -> Evaluation:
    """Ask what is not on record yet, and work out the rest.

    Args:
        settings: In force.
        wanted: What to do.
        prepared: Of the same settings.
        at: The time, aware.
        on_answer: Told of each answer, with a 1.
        askers: Makes who is asked.

    Raises:
        UsageError: The file of answers cannot be used.
        NotRecorded: An answer is missing and nobody is to be asked.
    """
    labelled = prepared.labelled
    async with Database(wanted.answers, SCHEMA, setting="--answers") as database:
        running = _Running(wanted, labelled, database, on_answer, askers)
        base = await running.with_settings(settings)
        others = [await running.with_settings(other) for other in prepared.variants]
    runs = [base, *others]
    counts = Counts(sum(run.counts.asked for run in runs), sum(run.counts.recorded for run in runs))
    models = [
        outcome.model for run in runs for case in run.cases for outcome in (case.haiku, case.sonnet)
    ]
    return Evaluation(
        stage=wanted.stage,
        file=wanted.file.name,
        at=at,
        lines=len(labelled.events),
        dead_letters=base.dead,
        origin=origin_of(models, counts),
        scoring=labelled.scoring,
        policies=policies_of(settings, wanted.stage),
        measures=base.measures,
        comparisons=tuple(
            _compared(changes, base, other)
            for changes, other in zip(wanted.compare, others, strict=True)
        ),
        fingerprint=base.fingerprint,
        remarks=tuple(_remarks(settings, wanted.stage, labelled, base)),
        baseline=None
        if wanted.baseline is None or prepared.earlier is None
        else baseline(wanted.baseline.name, prepared.earlier, base.fingerprint),
    )


def policies_of(settings: Settings, stage: str) -> Policies:
    """What is set for a stage."""
    policy = policy_of(settings, build_stages(settings.stages))
    return Policies(policy.of(stage, Tier.HAIKU), policy.of(stage, Tier.SONNET))


@dataclass(frozen=True, slots=True)
class _Running:
    """The parts that all settings have in common."""

    wanted: Wanted
    labelled: LabelledFile
    database: Database
    on_answer: Told
    askers: Askers

    async def with_settings(self, settings: Settings) -> _Run:
        """Ask both tiers about every event under these settings, and measure."""
        wanted, scoring = self.wanted, self.labelled.scoring
        # Each answer is to be paid for once, and at its price: the recording is the only cache.
        claude = settings.claude.model_copy(update={"answer_cache": "off"})
        asking = settings.model_copy(update={"claude": claude})
        stages = build_stages(settings.stages, encoder_for(settings))
        stage: AnyStage = stages[wanted.stage]
        async with AsyncExitStack() as stack:
            stack.enter_context(decoders_of_this_process.limited(settings.files))
            inner: Asker = NobodyToAsk()
            if not wanted.recorded:
                inner = await stack.enter_async_context(self.askers(asking))
            recording = Recording(self.database, inner, _manners(settings, wanted))
            stack.push_async_callback(recording.save)
            gateway = inner if isinstance(inner, Gateway) else None
            interview = Interview(stage, policy_of(settings, stages), scoring, recording, gateway)
            cases, dead = await interview.cases(self.labelled.events, self.on_answer)
        return _Run(
            cases=tuple(cases),
            dead=tuple(dead),
            measures=measure(
                cases,
                policies_of(settings, wanted.stage),
                fields=[each.field for each in scoring.truths],
                target=wanted.target,
                candidates=wanted.candidates,
            ),
            fingerprint=fingerprint(
                settings,
                wanted.stage,
                [each for inquiry in interview.inquiries for each in first_questions(inquiry)],
                [scoring.deciding, [[each.field, each.key] for each in scoring.truths]],
            ),
            counts=recording.counts,
        )


def _remarks(settings: Settings, stage: str, labelled: LabelledFile, run: _Run) -> Iterator[str]:
    if not run.cases:
        yield "No event could be measured."
    own: StageSettings = settings.stages.by_name().get(stage, StageSettings())
    known = [name for each in own.deciding_labels() for name in (each.name, each.queue) if name]
    field = labelled.scoring.label
    if not known or field is None:
        return
    folded = {letters(name) for name in known}
    truths = {str(event.truth[field]) for event in labelled.events if field in event.truth}
    if strange := sorted(truth for truth in truths if letters(truth) not in folded):
        yield (
            f"{len(strange)} true labels are none of the stage's, so no answer can be right there: "
            f"{', '.join(strange[:_NAMED])}{', ...' if len(strange) > _NAMED else ''}. "
            f"The stage's are {', '.join(dict.fromkeys(known[:_NAMED]))}"
            f"{', ...' if len(known) > _NAMED else ''}."
        )


def _manners(settings: Settings, wanted: Wanted) -> dict[Tier, Manner]:
    claude, models = settings.claude, settings.models
    own: StageSettings = settings.stages.by_name().get(wanted.stage, StageSettings())
    return {
        Tier.HAIKU: Manner(wanted.place, models.haiku, claude.haiku_effort, own.events_per_request),
        # What Haiku left open is asked of Sonnet by itself.
        Tier.SONNET: Manner(wanted.place, models.sonnet, claude.sonnet_effort, 1),
    }


def _compared(changes: str, base: _Run, other: _Run) -> Comparison:
    before: dict[str, bool] = {case.id: case.haiku.right for case in base.cases}
    return Comparison(
        changes,
        other.measures.haiku,
        other.measures.sonnet,
        other.measures.cascade,
        sum(case.haiku.right != before.get(case.id) for case in other.cases),
    )
