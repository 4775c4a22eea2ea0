"""One evaluation, from a labelled file to everything that can be said about it.

Both tiers are asked about every event, in the way they are asked in production.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from pipeline.cascade.deciding import CascadePolicy, ask_tier, known_or_query, read_from, unanswered
from pipeline.cascade.policy import Policy, StagePolicy, policy_of
from pipeline.cascade.reading import (
    NOT_ASKED,
    AnyStage,
    Reading,
    of_stage,
    stages_by_tier,
)
from pipeline.claude.gateway import Gateway
from pipeline.config import Settings, StageSettings, StageThresholds
from pipeline.evaluate.comparison import Scoring, letters
from pipeline.evaluate.labelled_events import Columns, Labelled, LabelledFile, read_labelled
from pipeline.evaluate.measures import Measures, measure
from pipeline.evaluate.proposal import Aim
from pipeline.evaluate.recording import (
    SCHEMA,
    Baseline,
    Counts,
    Fingerprint,
    Manner,
    Origin,
    Recording,
    read_earlier,
)
from pipeline.evaluate.strategies import Case, Strategy, TierOutcome
from pipeline.model.errors import FileUnavailable, InvalidEvent, UsageError
from pipeline.model.questions import Asker, KnownResult, Query, first_questions
from pipeline.model.records import Tier
from pipeline.runtime.database import Database
from pipeline.stages.api import RawEvent, encoder_for, label_of, stage_named
from pipeline.stages.checks.injection import steers
from pipeline.stages.files.decoding import decoders_of_this_process

Askers = Callable[[Settings], AbstractAsyncContextManager[Asker]]
"""Makes the asker, by settings; `Gateway` is the real one."""
GATEWAYS: Askers = partial(Gateway, steers=steers)
OnAnswer = Callable[[int], None]  # called after each answer, with a 1
AT_ONCE = 64  # events that are asked about at the same time, unless the gateway wants more
TIERS = 2
_NAMED = 10
_BETWEEN = re.compile(r",(?=\s*[\w.]+=)")  # a comma before the next name, none within a value
_ROOTS = frozenset({"stages", "models", "claude", "escalation", "privacy"})


@dataclass(frozen=True, slots=True)
class Wanted:
    stage: str
    file: Path  # labelled events
    columns: Columns  # where things are in a line of it
    aim: Aim  # what is to be certified
    compare: tuple[str, ...]  # other settings, each as `variant` takes them
    answers: Path  # the file in which answers are kept
    place: str  # where the models are: `simulated`, or the address of the API
    recorded: bool = False  # use recorded answers only, and ask no model
    baseline: Path | None = None  # the JSON file of an earlier evaluation


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that would become a dead letter, and so is in no table."""

    id: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same events under other settings."""

    changes: str  # as they were given
    strategies: tuple[Strategy, ...]  # Haiku alone, Sonnet alone, the cascade
    differing: int  # events of which one of the two has Haiku's answer right, and one wrong


@dataclass(frozen=True, slots=True)
class Evaluation:
    stage: str
    file: str  # the name of the labelled file
    at: datetime
    lines: int  # labelled events in the file; each is measured or a dead letter
    dead_letters: tuple[DeadLetter, ...]  # those that the stage, or the API, did not take
    origin: Origin  # where the answers came from
    scoring: Scoring
    policies: Mapping[Tier, StagePolicy]  # what is a doubt in either tier
    measures: Measures
    fingerprint: Fingerprint  # what the figures depend on
    comparisons: tuple[Comparison, ...] = ()  # the same under other settings
    remarks: tuple[str, ...] = ()  # what casts doubt on the figures
    baseline: Baseline | None = None  # an earlier evaluation, where one was given

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        return (self.measures.haiku, self.measures.sonnet, self.measures.cascade)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What can be known before a model is asked."""

    labelled: LabelledFile
    variants: tuple[Settings, ...]  # the other settings to compare with
    earlier: Mapping[str, Any] | None  # an earlier evaluation; None where none was given

    @property
    def answers(self) -> int:
        """How many answers it takes, of both tiers and under all settings."""
        return TIERS * len(self.labelled.events) * (1 + len(self.variants))


def prepare(settings: Settings, wanted: Wanted) -> Prepared:
    """Read the file and the settings to compare; `UsageError` if one is not what it should be."""
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
    on_answer: OnAnswer,
    askers: Askers = GATEWAYS,
) -> Evaluation:
    """Ask what is not on record yet, and work out the rest; `prepared` is of the same settings.

    Raises:
        UsageError: The file of answers cannot be used.
        NotRecorded: An answer is missing and no model is to be asked.
    """
    labelled, counts = prepared.labelled, Counts()
    scoring = labelled.scoring

    async def run(settings: Settings) -> Evaluation:
        stages = stages_by_tier(settings, encoder_for(settings))
        policy = policy_of(settings, stages[Tier.HAIKU])
        manners = Manner.of_tiers(settings, wanted.stage, wanted.place)
        async with AsyncExitStack() as stack:
            stack.enter_context(decoders_of_this_process.limited(settings.files))
            inner: Asker | None = None
            if not wanted.recorded:
                # Each answer is paid for once, and at its price: the recording is the only cache.
                uncached = settings.claude.model_copy(update={"answer_cache": "off"})
                inner = await stack.enter_async_context(
                    askers(settings.model_copy(update={"claude": uncached}))
                )
            recording = Recording(database, inner, manners, counts)
            stack.push_async_callback(recording.save)
            gateway = inner if isinstance(inner, Gateway) else None
            reading = Reading(masking=settings.privacy.masking())
            asking = _Asking(
                {tier: each[wanted.stage] for tier, each in stages.items()},
                policy,
                scoring,
                recording,
                gateway,
                on_answer,
                reading,
            )
            cases, dead = await asking.cases(labelled.events)
        policies = {tier: policy[wanted.stage, tier] for tier in Tier}
        return Evaluation(
            stage=wanted.stage,
            file=wanted.file.name,
            at=at,
            lines=len(labelled.events),
            dead_letters=tuple(dead),
            origin=Origin.of((), counts),
            scoring=scoring,
            policies=policies,
            measures=measure(
                cases,
                policies,
                fields=[each.field for each in scoring.truths],
                aim=wanted.aim,
            ),
            fingerprint=Fingerprint.of(
                settings,
                wanted.stage,
                [each for query in asking.queries for each in first_questions(query)],
                [scoring.deciding, [[each.field, each.key] for each in scoring.truths]],
            ),
        )

    async with Database(wanted.answers, SCHEMA, setting="--answers") as database:
        base = await run(settings)
        others = [await run(other) for other in prepared.variants]
    models = [
        outcome.model
        for each in (base, *others)
        for trace in each.measures.traces
        for outcome in (trace.case.haiku, trace.case.sonnet)
        if outcome.model != NOT_ASKED
    ]
    before = {each.case.id: each.case.haiku.right for each in base.measures.traces}
    return replace(
        base,
        origin=Origin.of(models, counts),
        comparisons=tuple(
            Comparison(
                changes,
                other.strategies,
                sum(
                    each.case.haiku.right != before.get(each.case.id)
                    for each in other.measures.traces
                ),
            )
            for changes, other in zip(wanted.compare, others, strict=True)
        ),
        remarks=tuple(
            _remarks(settings, wanted.stage, labelled, [each.case for each in base.measures.traces])
        ),
        baseline=None
        if wanted.baseline is None or prepared.earlier is None
        else Baseline.of(wanted.baseline.name, prepared.earlier, base.fingerprint),
    )


@dataclass(frozen=True, slots=True)
class _Asking:
    """Asks both tiers about labelled events; `queries` is what Haiku was asked."""

    stages: Mapping[Tier, AnyStage]
    policy: Policy
    scoring: Scoring
    recording: Recording
    gateway: Gateway | None
    on_answer: OnAnswer
    reading: Reading
    queries: list[Query[Any]] = field(default_factory=list)

    async def cases(self, events: Sequence[Labelled]) -> tuple[list[Case], list[DeadLetter]]:
        """Ask about all of them; each is in exactly one of the two lists, in the given order."""
        first = await self._ask_all(events, Tier.HAIKU)
        usable = [event for event in events if not isinstance(first[event.id], DeadLetter)]
        second = await self._ask_all(usable, Tier.SONNET)
        cases, dead = [], []
        for event in events:
            haiku, sonnet = first[event.id], second.get(event.id)
            if isinstance(haiku, DeadLetter):
                dead.append(haiku)
            elif isinstance(sonnet, DeadLetter):
                dead.append(sonnet)
            elif sonnet is not None:
                label = event.truth.get(self.scoring.label) if self.scoring.label else None
                named = None if label is None else str(label)
                cases.append(
                    Case(event.id, event.key, named, event.out_of_scope, event.truth, haiku, sonnet)
                )
        return cases, dead

    async def _ask_all(
        self, events: Sequence[Labelled], tier: Tier
    ) -> dict[str, TierOutcome | DeadLetter]:
        at_once = AT_ONCE
        if self.gateway is not None:
            at_once = max(AT_ONCE, self.gateway.at_once(self.stages[tier].name, tier))
        room = asyncio.Semaphore(at_once)

        async def one(event: Labelled) -> TierOutcome | DeadLetter:
            async with room:
                outcome = await self._ask(event, tier)
            self.on_answer(1)
            return outcome

        async with asyncio.TaskGroup() as group:
            tasks = {event.id: group.create_task(one(event)) for event in events}
        return {event_id: task.result() for event_id, task in tasks.items()}

    async def _ask(self, labelled: Labelled, tier: Tier) -> TierOutcome | DeadLetter:
        stage = self.stages[tier]
        headers = {name: value for name, value in labelled.headers if value is not None}
        try:
            event: RawEvent = of_stage(
                stage.name, stage.parse, labelled.value, key=None, headers=headers
            )
            own = self.policy[stage.name, tier]
            try:
                about, against = await known_or_query(self.reading, own, tier, stage, event)
            except FileUnavailable as failure:
                found = unanswered(failure)
            else:
                if isinstance(about, KnownResult):
                    found = read_from(about)
                else:
                    if tier is Tier.HAIKU:
                        self.queries.append(about)
                    cascade = CascadePolicy(self.recording.session(), self.policy, tier)
                    found = await ask_tier(cascade.asker, tier, stage, event, about)
                    found = replace(found, signals=(*found.signals, *against))
                    found = await cascade.second_opinion(stage, event, found)
        except InvalidEvent as invalid:
            return DeadLetter(labelled.id, invalid.reason.value, invalid.detail)
        answer = found.answer
        result = found.published(stage, event)
        fields = self.scoring.compare(labelled.truth, result or {})
        if result is None:
            # Nothing is not a right answer, even where there is nothing to be found.
            fields = dict.fromkeys(fields, False)
        return TierOutcome(
            right=not labelled.out_of_scope and self.scoring.is_right(fields),
            fields=fields,
            said=None if answer is None else label_of(stage, answer),
            gave_up=result is None or (answer is not None and answer.unclear),
            confidence=None if answer is None else answer.stated_confidence,
            signals=found.signals,
            usage=found.usage,
            seconds=found.seconds,
            model=found.model,
            result=result,
        )


def _remarks(
    settings: Settings, stage: str, labelled: LabelledFile, measured: Sequence[Case]
) -> Iterator[str]:
    if not measured:
        yield "No event could be measured."
    if settings.stages.by_name().get(stage, StageSettings()).score is not None:
        yield (
            "A score is in force: what is proposed for low_confidence, and what other thresholds "
            "of it would come to, is said of the thresholds without it."
        )
    if read := sum(case.haiku.model == NOT_ASKED for case in measured):
        yield (
            f"{read} of {len(measured)} events were read from their own data: where this says what "
            "the first model answered, that is counted for them, at no cost."
        )
    own: StageSettings = settings.stages.by_name().get(stage, StageSettings())
    known = [name for each in own.deciding_labels() for name in (each.name, each.queue) if name]
    label = labelled.scoring.label
    if not known or label is None:
        return
    folded = {letters(name) for name in known}
    truths = {str(event.truth[label]) for event in labelled.events if label in event.truth}
    if strange := sorted(truth for truth in truths if letters(truth) not in folded):
        yield (
            f"{len(strange)} true labels are none of the stage's, so no answer can be right there: "
            f"{', '.join(strange[:_NAMED])}{', ...' if len(strange) > _NAMED else ''}. "
            f"The stage's are {', '.join(dict.fromkeys(known[:_NAMED]))}"
            f"{', ...' if len(known) > _NAMED else ''}."
        )


def variant(settings: Settings, stage: str, changes: str) -> Settings:
    """The settings with some of them changed.

    Changes are comma-separated, e.g. `events_per_request=8` or
    `models.haiku=claude-haiku-4-5,thresholds.low_confidence=0.2`. Where a name does not begin with
    a table, the stage's own is meant. `UsageError` if there is no such setting or value.
    """
    changed = settings
    for change in _BETWEEN.split(changes):
        name, equals, text = change.strip().partition("=")
        if not equals:
            raise UsageError(f"{change!r} is not NAME=VALUE: write it as events_per_request=8.")
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            value = text
        path = name.split(".")
        if path[0] == "thresholds" and path[1:]:
            table = changed.thresholds
            own = table.stages.get(stage, StageThresholds())
            stages = {**table.stages, stage: _with(own, path[1:], value, name)}
            changed = changed.model_copy(
                update={"thresholds": table.model_copy(update={"stages": stages})}
            )
            continue
        if path[0] == "models" and len(path) == 2 and isinstance(value, str):  # noqa: PLR2004
            # At the provider that is set, with all that belongs to it.
            path.append("model")
        if path[0] not in _ROOTS:
            path = ["stages", stage, *path]
        changed = _with(changed, path, value, name)
    return changed


def _with(section: Any, path: Sequence[str], value: object, name: str) -> Any:  # noqa: ANN401 - any table of settings
    first, *rest = path
    if not isinstance(section, BaseModel) or first not in type(section).model_fields:
        raise UsageError(f"There is no setting {name!r}: docs/SETTINGS.md lists them.")
    if rest:
        new = _with(getattr(section, first), rest, value, name)
        return section.model_copy(update={first: new})
    # Those that are set: an override says nothing of the others.
    known = {each: getattr(section, each) for each in section.model_fields_set}
    try:
        return type(section).model_validate({**known, first: value})
    except ValidationError as error:
        why = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise UsageError(f"{name} cannot be {value!r}: {why}.") from error
