"""Makes a person's verdict the result of an event, once."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from pipeline.desk.desk import Action, Desk, TakenOver
from pipeline.desk.place import Place, place_of
from pipeline.errors import PipelineError
from pipeline.review.case import Case
from pipeline.review.labels import LabelledFile, label_line
from pipeline.review.listing import find
from pipeline.review.verdict import Verdict, enriched, result_of
from pipeline.settings import Settings
from pipeline.stages.registry import build_stages
from pipeline.stages.stage import Stage
from pipeline.stream.reader import Reading
from pipeline.stream.topics import TopicNames

OpenDesk = Callable[[], AbstractAsyncContextManager[Desk]]
"""Opens a desk, which ends what others have open."""

_NAME_SHOWN = 64
_ATTEMPTS = 9
_RETRY_FIRST = 0.1
"""Seconds before the second attempt, at most; each further one waits up to twice as long."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What was published.

    Args:
        place: Of the case.
        topic: Where to.
        result: What.
    """

    place: str
    topic: str
    event_id: str
    stage: str
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be published, and why it may be.

    Args:
        case: What was to be decided.
        stage: Whose event it is.
        result: The verdict, valid.
    """

    case: Case
    stage: Stage[Any, Any]
    result: BaseModel


class AlreadyResolved(PipelineError):
    """Somebody has resolved the case before."""


async def decide(settings: Settings, read: Reading, place: Place, verdict: Verdict) -> Decision:
    """Hold a verdict against its case.

    Raises:
        WrongUse: The verdict is not what the stage publishes.
        PipelineError: There is no such case, or its stage is not known here.
    """
    case = await find(read, TopicNames(settings.topics).review, place)
    stages: Mapping[str, Stage[Any, Any]] = build_stages(settings.stages)
    stage = stages.get(case.review.stage)
    if stage is None:
        name = case.review.stage[:_NAME_SHOWN]
        raise PipelineError(f"There is no stage {name!r} here; there are {', '.join(stages)}.")
    return Decision(case, stage, result_of(verdict, case, stage, settings))


async def resolve(
    settings: Settings,
    decision: Decision,
    open_desk: OpenDesk,
    now: datetime,
    *,
    jitter: Callable[[], float],
    again: bool = False,
    labels: LabelledFile | None = None,
) -> Resolved:
    """Publish a decision as the event's result, under its key.

    Args:
        settings: How topics are called.
        decision: What.
        open_desk: Two people who resolve at the same moment end each other's desk; whoever was
            late tries again.
        now: When it was decided.
        jitter: Between 0 and 1, another each time: those who met shall not meet again.
        again: Replace an earlier verdict.
        labels: Gets a line, once the verdict is published.

    Raises:
        AlreadyResolved: It was resolved before, and `again` is not given.
        PipelineError: The brokers do not take it.
    """
    case, stage = decision.case, decision.stage
    topic = TopicNames(settings.topics).enriched(stage.name)
    outgoing = enriched(case, stage, decision.result, topic, now)
    await _publish(Action(case.record, outgoing, again), open_desk, jitter)
    if labels is not None:
        labels.put(label_line(case, stage, decision.result))
    return Resolved(
        place=str(place_of(case.record)),
        topic=topic,
        event_id=case.review.event_id,
        stage=stage.name,
        result=decision.result.model_dump(mode="json", by_alias=True),
    )


async def _publish(action: Action, open_desk: OpenDesk, jitter: Callable[[], float]) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            async with open_desk() as desk:
                done = await desk.carry_out([action])
        except TakenOver:
            if attempt == _ATTEMPTS - 1:
                raise
            await asyncio.sleep(_RETRY_FIRST * 2**attempt * jitter())
            continue
        if done.done_before:
            raise AlreadyResolved(
                f"The case {place_of(action.record)} was resolved before: nothing was published. "
                "With --again your verdict is published after the earlier one."
            )
        for _, because in done.refused:
            raise PipelineError(f"The verdict cannot be published: {because}")
        return
