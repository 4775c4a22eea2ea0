"""Asking one tier about an event, and deciding whether its answer is accepted.

A stage asks and checks, the policy compares; an event that holds several documents is asked about
part by part.
"""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache, partial, reduce
from itertools import chain, islice
from operator import add
from typing import Any, Generic, Protocol, TypeVar

import structlog
from pydantic import BaseModel

from pipeline.cascade.parts import case_of, of_each, splitter_of
from pipeline.cascade.policy import (
    LIFTED,
    Policy,
    StagePolicy,
    audit_doubts,
    first_frame_signals,
    is_wanted,
    limit_for_repetition,
    signal_of,
    statement_signals,
    weighed,
)
from pipeline.cascade.reading import (
    NOT_ASKED,
    Case,
    Reading,
    is_long,
    of_stage,
    published_result,
)
from pipeline.model.errors import (
    AnswerError,
    FileUnavailable,
    InvalidEvent,
    NotMaskable,
    Rejected,
    StageFailed,
)
from pipeline.model.questions import (
    Asker,
    KnownResult,
    MultiStepQuery,
    Query,
    Question,
    Response,
    Signal,
)
from pipeline.model.records import (
    MOST_EVIDENCE,
    DeadLetterReason,
    Doubt,
    Evidence,
    Provenance,
    SourcePart,
    Tier,
    Usage,
)
from pipeline.stages.api import (
    Answer,
    RawEvent,
    Rewording,
    Stage,
    Structured,
    differences,
    label_of,
)
from pipeline.stages.files.splitting import EventPart, Splitter

RawT = TypeVar("RawT", bound=RawEvent)
AnswerT = TypeVar("AnswerT", bound=Answer)
RawT_contra = TypeVar("RawT_contra", bound=RawEvent, contravariant=True)
AnswerT_contra = TypeVar("AnswerT_contra", bound=Answer, contravariant=True)
_BOUNDARIES = "Where documents begin:"
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TierAnswer(Generic[AnswerT]):
    """What one tier said about an event, before it is decided whether that is good enough.

    No `answer` where no usable one came; `signals` then say why. `usage` and `seconds` are of all
    calls that were made, `model` is the one that was asked last. `prompts` are digests of what was
    answered, `provider` is where that was last; empty without an answer. `known` is the result
    where the event's own data gave it, and no model was asked.
    """

    answer: AnswerT | None
    signals: tuple[Signal, ...]
    usage: Usage
    model: str
    seconds: float
    prompts: frozenset[str] = frozenset()
    provider: str = ""
    known: BaseModel | None = None

    def published(self, stage: Stage[Any, Any], event: RawEvent) -> dict[str, Any] | None:
        """The result as it would be published, or null where there is none."""
        if self.known is not None:
            return self.known.model_dump(mode="json", by_alias=True)
        return published_result(stage, event, self.answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(TierAnswer[AnswerT]):
    """The same, decided: `doubts` is empty if, and only if, the answer is accepted."""

    doubts: tuple[Doubt, ...]
    provenance: Provenance
    evidence: tuple[Evidence, ...] = ()


@dataclass(eq=False)
class CascadePolicy:
    """Asks one tier and decides whether its answer is accepted."""

    asker: Asker
    policy: Policy
    tier: Tier
    reading: Reading = field(default_factory=Reading)

    async def decide_case(
        self, case: Case, *, tenant: str = ""
    ) -> list[tuple[Case, Decision[Any]]]:
        """Decide on a case, or on each of its parts, where it has several.

        Raises:
            InvalidEvent: As `decide`.
        """

        async def decide(part: Case) -> tuple[Case, Decision[Any]]:
            at = part.source.timestamp
            return part, await self.decide(part.stage, part.event, at=at, tenant=tenant)

        if case.given:
            return await of_each([case_of(case, part) for part in case.given], decide)
        splitter = splitter_of(case)
        if splitter is None:
            return [await decide(case)]
        known: KnownResult[Any] | None = None
        try:
            if self.tier is Tier.HAIKU:
                own = self.policy[case.stage.name, self.tier]
                known = await known_whole(self.reading, own, case.stage, case.event)
            if known is not None:
                one = case_of(case, EventPart(case.event, SourcePart(number=1, of=1)))
                at = case.source.timestamp
                return [(one, await self.decide(case.stage, case.event, at=at, known=known))]
            asked, parts = await self._find_parts(case, splitter, tenant)
        except FileUnavailable as failure:
            asked, parts = unanswered(failure), []
        if asked is not None and not parts:
            return [(case, self._decision(case.stage, asked))]
        first, *others = await of_each(parts, decide)
        if asked is None:
            return [first, *others]
        decision = replace(
            first[1], usage=asked.usage + first[1].usage, seconds=asked.seconds + first[1].seconds
        )
        return [(first[0], decision), *others]

    async def _find_parts(
        self, case: Case, splitter: Splitter, tenant: str
    ) -> tuple[TierAnswer[Any] | None, list[Case]]:
        """Ask where documents begin, if there may be several: the answer, and the parts.

        There are none where the answer is doubted; its signals say what they are about.
        """
        stage, event, reading = case.stage, case.event, self.reading
        question = await reading.ask_where_documents_begin(stage, event, splitter)
        if question is None:
            return None, [case]
        checks = splitter.checks(question)
        found = await ask_tier(self.asker, self.tier, checks, event, question, tenant=tenant)
        answer = found.answer
        if answer is None or self.policy[stage.name, self.tier].by_rule().doubts(found.signals):
            about = (replace(each, detail=f"{_BOUNDARIES} {each.detail}") for each in found.signals)
            return replace(found, answer=None, signals=tuple(about)), []
        cut = partial(splitter.parts, question=question, answer=answer)
        try:
            parts = await reading.made_of(stage, event, cut)
        except FileUnavailable as failure:
            return replace(found, answer=None, signals=(signal_of(failure),)), []
        return found, [case_of(case, part) for part in parts]

    async def decide(
        self,
        stage: Stage[RawT, AnswerT],
        event: RawT,
        *,
        at: datetime,
        tenant: str = "",
        known: KnownResult[AnswerT] | None = None,
    ) -> Decision[AnswerT]:
        """Ask and decide; `at`, the raw record's timestamp, draws the random sample.

        What the event says itself the first tier takes without asking, unless it is doubted: then
        it is asked about as any other, and what speaks against it does against the answer, too.
        With `known` that was found out before.

        Raises:
            InvalidEvent: The event's file is not what it says it is, the API takes no such request,
                or the stage failed over the answer.
        """
        own = self.policy[stage.name, self.tier]
        try:
            about, against = (
                (known, ())
                if known is not None
                else await known_or_query(self.reading, own, self.tier, stage, event)
            )
        except FileUnavailable as failure:
            found: TierAnswer[AnswerT] = unanswered(failure)
        else:
            if isinstance(about, KnownResult):
                found = read_from(about)
            else:
                found = await ask_tier(self.asker, self.tier, stage, event, about, tenant=tenant)
                found = replace(found, signals=(*found.signals, *against)) if against else found
        if own.second_opinion:
            found = await self.second_opinion(stage, event, found, tenant=tenant)
        sample = audit_doubts(stage.name, event.id, at, own.audit_share) if own.audit_share else ()
        decision = self._decision(stage, found, sample)
        # Who reviews an answer looks for its values first; what is escalated is asked again.
        is_sought = self.tier is Tier.SONNET if decision.doubts else own.evidence
        if is_sought and decision.answer is not None:
            masks = bool(self.reading.masking.rules(stage.name))
            evidence = await evidence_of(stage, event, decision.answer, masks=masks)
            return replace(decision, evidence=evidence)
        return decision

    def _decision(
        self,
        stage: Stage[RawT, AnswerT],
        found: TierAnswer[AnswerT],
        sample: tuple[Doubt, ...] = (),
    ) -> Decision[AnswerT]:
        own = self.policy[stage.name, self.tier]
        label = None if found.answer is None else label_of(stage, found.answer)
        policy = own if found.answer is not None else own.by_rule()
        return Decision(
            found.answer,
            found.signals,
            found.usage,
            found.model,
            found.seconds,
            known=found.known,
            doubts=policy.doubts(found.signals, label=label) + sample,
            provenance=provenance_of(found.provider, found.prompts, own.settings),
        )

    async def second_opinion(
        self,
        stage: Stage[RawT, AnswerT],
        event: RawT,
        first: TierAnswer[AnswerT],
        *,
        tenant: str = "",
    ) -> TierAnswer[AnswerT]:
        """The first answer, its signals weighed by a second one where the policy wants that."""
        own = self.policy[stage.name, self.tier]
        if not own.second_opinion or first.answer is None or not isinstance(stage, Rewording):
            return first
        # What would be left of them if the second one agreed.
        doubts = own.doubts(weighed(first.signals, ()), label=label_of(stage, first.answer))
        if not is_wanted(confidence=first.answer.confidence, doubts=doubts):
            return first
        try:
            query = await self.reading.ask_about(stage, event, stage.second_question)
            second = await ask_tier(self.asker, self.tier, stage, event, query, tenant=tenant)
        except (InvalidEvent, FileUnavailable) as failure:
            # The event is not at fault, since it was answered once.
            log.warning("no_second_opinion", stage=stage.name, because=failure.detail)
            return first
        signals = first.signals
        if second.answer is not None:
            differ = differences(stage, first.answer.model_dump(), second.answer.model_dump())
            against = own.doubts(weighed(second.signals, ()), label=label_of(stage, second.answer))
            # A second answer that is itself doubted confirms nothing.
            if differ or (differ is not None and all(doubt.code in LIFTED for doubt in against)):
                signals = weighed(first.signals, differ)
        return replace(
            first,
            signals=signals,
            usage=first.usage + second.usage,
            seconds=first.seconds + second.seconds,
            prompts=first.prompts | second.prompts,
        )


async def evidence_of(
    stage: Stage[Any, Any], event: RawEvent, answer: Answer, *, masks: bool = False
) -> tuple[Evidence, ...]:
    """Where the stage finds the values of an answer; nothing where it fails, which costs no event.

    Where the stage `masks` personal data, a passage is named by its place alone: it may hold what
    the result does not.
    """
    find = getattr(stage, "evidence", None)
    if find is None:
        return ()

    def found() -> tuple[Evidence, ...]:
        places = tuple(islice(of_stage(stage.name, find, event, answer), MOST_EVIDENCE))
        if not masks:
            return places
        values = frozenset(_texts_in(of_stage(stage.name, stage.result, event, answer)))
        return tuple(
            each if each.quote in values else each.model_copy(update={"quote": None})
            for each in places
        )

    try:
        is_slow = getattr(stage, "checks_slowly", False) or is_long(event)
        return await asyncio.to_thread(found) if is_slow else found()
    except InvalidEvent as failure:
        log.warning("no_evidence", stage=stage.name, because=failure.detail)
        return ()


def _texts_in(value: Any) -> Iterator[str]:  # noqa: ANN401 - any part of a result
    match value:
        case str():
            yield value
        case BaseModel():
            yield from _texts_in(dict(value))
        case dict():
            for each in value.values():
                yield from _texts_in(each)
        case list() | tuple():
            for each in value:
                yield from _texts_in(each)


async def known_or_query(
    reading: Reading, own: StagePolicy, tier: Tier, stage: Stage[RawT, AnswerT], event: RawT
) -> tuple[KnownResult[AnswerT] | Query[AnswerT], tuple[Signal, ...]]:
    """What the event says itself, where that is accepted; else what the tier is asked about it.

    In the second case also what speaks against any answer: that the event contradicts itself.

    Raises:
        InvalidEvent: The event's file is not what it says it is.
        FileUnavailable: It could not be had, again and again, while others could.
    """
    about = await reading.read_or_ask(stage, event)
    if not isinstance(about, KnownResult):
        return about, ()
    # The second tier is asked about what the first one sent on, such as the random sample.
    if tier is Tier.HAIKU and not own.by_rule().doubts(about.signals):
        return about, about.signals
    return await reading.ask_about(stage, event, lambda _: about.query()), about.signals


async def known_whole(
    reading: Reading, own: StagePolicy, stage: Stage[RawT, AnswerT], event: RawT
) -> KnownResult[AnswerT] | None:
    """What a file says itself, where that is accepted: then it is one document, of all its pages.

    Raises as `known_or_query`.
    """
    if not isinstance(stage, Structured):
        return None
    found = await reading.read_or_ask(stage, event)
    return found if isinstance(found, KnownResult) and not own.doubts(found.signals) else None


def read_from(known: KnownResult[Any]) -> TierAnswer[Any]:
    return TierAnswer(None, known.signals, Usage(), NOT_ASKED, 0.0, known=known.result)


class Checks(Protocol[RawT_contra, AnswerT_contra]):
    """What checks an answer: a stage, mostly."""

    @property
    def name(self) -> str:
        """The stage's name."""

    def signals(self, event: RawT_contra, answer: AnswerT_contra) -> Sequence[Signal]:
        """Everything that speaks against the answer, however weakly."""


async def ask_tier(
    asker: Asker,
    tier: Tier,
    stage: Checks[RawT, AnswerT],
    event: RawT,
    query: Query[AnswerT],
    *,
    tenant: str = "",
) -> TierAnswer[AnswerT]:
    """Ask one tier, in as many calls as it takes, and check its answer.

    Raises:
        InvalidEvent: The API takes no such request, or the stage failed over an answer.
    """
    calls: list[Response[Any] | AnswerError] = []
    while True:
        if isinstance(query, Question):
            made = [await _call(asker, tier, query, tenant)]
        else:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(_call(asker, tier, each, tenant)) for each in query.questions
                ]
            made = [task.result() for task in tasks]
        calls += chain(*made)
        ends = [attempts[-1] for attempts in made]
        if failures := [end for end in ends if isinstance(end, AnswerError)]:
            for failure in failures:
                if isinstance(failure, NotMaskable):
                    reason = DeadLetterReason.UNSUPPORTED_MEDIA
                    raise InvalidEvent(reason, failure.detail) from failure
                if isinstance(failure, Rejected):
                    reason = DeadLetterReason.REJECTED_BY_API
                    raise InvalidEvent(reason, failure.detail, attempts=len(calls)) from failure
                if isinstance(failure, StageFailed):
                    reason = DeadLetterReason.STAGE_FAILED
                    raise InvalidEvent(reason, failure.detail, attempts=len(calls)) from failure
            answer, signals = None, list(dict.fromkeys(map(signal_of, failures)))
            break
        answers = tuple(end.answer for end in ends if isinstance(end, Response))
        follows = answers[0]
        if not isinstance(query, Question):
            follows = of_stage(stage.name, query.then, answers)
        if isinstance(follows, Question | MultiStepQuery):
            query = follows
            continue
        answer = follows
        check = partial(of_stage, stage.name, stage.signals, event, answer)
        # Asking whether the stage is a `Checking` would take about as long as its checks.
        is_slow = getattr(stage, "checks_slowly", False) or is_long(event)
        checked = await asyncio.to_thread(check) if is_slow else check()
        signals = [
            signal for call in calls if isinstance(call, Response) for signal in call.signals
        ]
        signals += [*statement_signals(answer), *first_frame_signals(query), *checked]
        break
    usage = reduce(add, (call.usage for call in calls))
    seconds = sum(call.seconds for call in calls)
    answered = [call for call in calls if isinstance(call, Response) and answer is not None]
    return TierAnswer(
        answer,
        tuple(signals),
        usage,
        calls[-1].model,
        seconds,
        frozenset(response.prompt for response in answered),
        answered[-1].provider if answered else "",
    )


@lru_cache(maxsize=1024)
def provenance_of(provider: str, prompts: frozenset[str], settings: str) -> Provenance:
    """What produced an answer, of which there are as many as prompts, and not as many as events."""
    digest = "".join(prompts)
    if len(prompts) > 1:
        digest = hashlib.sha256("".join(sorted(prompts)).encode()).hexdigest()[:16]
    return Provenance(provider=provider, prompt=digest, settings=settings)


def unanswered(failure: AnswerError) -> TierAnswer[Any]:
    signals = (signal_of(failure),)
    return TierAnswer(None, signals, failure.usage, failure.model, failure.seconds)


async def _call(
    asker: Asker, tier: Tier, question: Question[Any], tenant: str
) -> list[Response[Any] | AnswerError]:
    if tenant:
        question = replace(question, tenant=tenant)
    failures: list[AnswerError] = []
    limit = question.max_output_tokens
    while True:
        try:
            return [*failures, await asker.ask(question, tier, max_output_tokens=limit)]
        except AnswerError as failure:
            failures.append(failure)
            next_limit = limit_for_repetition(failure, attempt=len(failures), limit=limit)
            if next_limit is None:
                return [*failures]
            limit = next_limit
