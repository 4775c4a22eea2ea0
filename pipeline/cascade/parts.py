"""One record that holds several documents: each part is asked about, decided and published alone.

The parts came with the event, or its stage finds them in the file (`Splitter`): one question says
where each begins. Where its answer is doubted the event is doubted as a whole, and goes on to
Sonnet, which says where documents begin and answers what they are; what Sonnet doubts goes to
people, as one. Else each part is an event with its own pages: it may be enriched, escalated, or go
to review while others do not.

All records of an event are one outcome, so they are committed together or not at all. A part that
is a dead letter makes the whole event one: of a dead letter nothing was published, so that what
comes of it after a replay is there once. The first part carries what the boundaries cost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pipeline.cascade.reading import Case
from pipeline.model.errors import InvalidEvent
from pipeline.model.records import Usage
from pipeline.stages.files.raw_events import to_json_object
from pipeline.stages.files.splitting import EventPart, Splitter
from pipeline.stream.records import Disposition, Outcome

T = TypeVar("T")
_ASKED_AT_ONCE = 8
"""Parts of one event: each holds its pages in memory."""
_WORST_LAST = (
    Disposition.ENRICHED,
    Disposition.ESCALATED,
    Disposition.REVIEW,
    Disposition.DEAD_LETTER,
)


def splitter_of(case: Case) -> Splitter | None:
    """What finds the parts of this case; None where it is one, was split before, or never is."""
    if case.given or case.source.part is not None:
        return None
    splitter: Splitter | None = getattr(case.stage, "splitter", None)
    return splitter


def case_of(case: Case, found: EventPart) -> Case:
    """The case of one part, which knows its own pages only, and costs that nobody else counts."""
    part = replace(
        case,
        event=found.event,
        source=case.source.model_copy(update={"part": found.part}),
        earlier=None,
        given=(),
    )
    if case.escalation is None:
        return part
    own: dict[str, Any] = {"event": to_json_object(found.event), "haiku_result": None}
    if found.part.number > 1:
        own |= {"usage": Usage(), "model_seconds": 0.0}
    return replace(part, escalation=case.escalation.model_copy(update=own))


async def of_each(cases: Sequence[Case], handle: Callable[[Case], Awaitable[T]]) -> list[T]:
    """What comes of each part, in their order, a few at a time.

    Raises:
        InvalidEvent: As of the first part that raised it; the others are given up.
    """
    turns = asyncio.Semaphore(_ASKED_AT_ONCE)

    async def handled(case: Case) -> T:
        async with turns:
            return await handle(case)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(handled(case)) for case in cases]
    except BaseExceptionGroup as errors:
        # Whatever else a handler raises ends the process, so that comes first.
        _, others = errors.split(InvalidEvent)
        error: BaseException = others or errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
    return [task.result() for task in tasks]


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """One outcome of all parts, which counts as the worst of theirs."""
    if len(outcomes) == 1:
        return outcomes[0]
    end = max((each.end for each in outcomes), key=_WORST_LAST.index)
    return Outcome(end, tuple(record for each in outcomes for record in each.records))
