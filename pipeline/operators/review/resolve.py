"""Makes a person's verdict the result of an event, once.

Verdicts as lines of a labelled file, as `pipeline evaluate` reads it.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic_core import to_json

from pipeline.config import Settings
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.topics import TopicNames
from pipeline.kafka.writer import ProducerFenced
from pipeline.model.errors import PipelineError, UsageError
from pipeline.operators.arguments import Place, place_of
from pipeline.operators.desk import Action, Desk
from pipeline.operators.review.item import ReviewItem
from pipeline.operators.review.listing import find
from pipeline.operators.review.verdict import Verdict, enriched, result_of
from pipeline.stages.api import Stage, build_stages


def label_line(case: ReviewItem, stage: Stage[Any, Any], result: BaseModel) -> bytes:
    """The event as it is published, and what is true about it under `gold`."""
    event = case.review.event
    known = {name: event[name] for name in stage.raw_model.model_fields if name in event}
    # Numbers of the event may be longer than any that orjson takes.
    return to_json(known | {"gold": result.model_dump(mode="json", by_alias=True)})


class LabelledFile:
    """A file with a line for each event, by id.

    Args:
        path: Where it is; made where it is missing.

    Raises:
        UsageError: It is no such file, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.touch()
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise UsageError(f"{path} cannot be used ({error.strerror}): name another.") from None
        self._lines = [line for line in lines if line.strip()]
        for number, line in enumerate(self._lines, start=1):
            if _id_of(line) is None:
                raise UsageError(f"{path}:{number} is no labelled event: name another file.")

    def put(self, line: bytes) -> None:
        """Add a line at the end; one about the same event gives way to it.

        The file is never seen half written.

        Raises:
            UsageError: It cannot be written.
        """
        event_id = _id_of(line)
        self._lines = [each for each in self._lines if _id_of(each) != event_id] + [line]
        beside = self._path.with_name(f".{self._path.name}.new")
        try:
            beside.write_bytes(b"".join(each + b"\n" for each in self._lines))
            beside.replace(self._path)
        except OSError as error:
            raise UsageError(f"{self._path} cannot be written ({error.strerror}).") from None


def _id_of(line: bytes) -> str | None:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return str(event["id"]) if isinstance(event, dict) and "id" in event else None


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

    case: ReviewItem
    stage: Stage[Any, Any]
    result: BaseModel


class AlreadyResolved(PipelineError):
    """Somebody has resolved the case before."""


async def decide(settings: Settings, read: TopicReader, place: Place, verdict: Verdict) -> Decision:
    """Hold a verdict against its case.

    Raises:
        UsageError: The verdict is not what the stage publishes.
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
    outgoing = enriched(case, stage, decision.result, TopicNames(settings.topics), now)
    await _publish(Action(case.record, outgoing, again), open_desk, jitter)
    if labels is not None:
        labels.put(label_line(case, stage, decision.result))
    return Resolved(
        place=str(place_of(case.record)),
        topic=outgoing.topic,
        event_id=case.review.event_id,
        stage=stage.name,
        result=decision.result.model_dump(mode="json", by_alias=True),
    )


async def _publish(action: Action, open_desk: OpenDesk, jitter: Callable[[], float]) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            async with open_desk() as desk:
                done = await desk.carry_out([action])
        except ProducerFenced:
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
