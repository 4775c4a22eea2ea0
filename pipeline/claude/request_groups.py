"""Several small events of one stage in one request: how they are put, and what comes back for each.

The request limit and the static part of the prompt then count once for all. What it does to the
quality of answers only an evaluation on one's own data can say. An event whose answer is missing,
invalid or doubtful is asked again alone: the worst that a joint request can do is to cost more.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Any

from pydantic import BaseModel, JsonValue, ValidationError

from pipeline.claude.calls import Caller, CompletedCall, InFlightCall, ModelRequest
from pipeline.claude.failover import LeavesEndpoint
from pipeline.claude.failures import Bounds
from pipeline.claude.prompts import Prompt, Prompts
from pipeline.claude.request_body import Content, absent_key, content_of
from pipeline.claude.responses import AnswerModelError, EnumMismatch, Found, checked, dumps
from pipeline.model.errors import AnswerError
from pipeline.model.questions import AnswerT, Part, Question, Text
from pipeline.model.records import Tier, Usage

LARGEST_TEXT = 8_000
"""Longer events go alone: they gain little and may drown others."""
LINGER_SECONDS = 0.05
"""How long an event waits for others to share a request with; a call takes many times that."""
BOUNDS = Bounds(attempts=2, seconds=0)
"""When a request fails while others are answered, it is for one of its events: all go alone."""
_PICO = Decimal(10) ** -12
_MARKER = re.compile(r"</?\s{0,5}(?:event|data)\b", re.IGNORECASE)
"""What looks like the marker of an event, whatever its key: a key that is not the message's is
ignored, but one event must not even try to begin another."""
Steers = Callable[[Sequence[Part]], bool]
"""Whether an event may be meant to steer the model, and the answers to its neighbours."""


class JointItem(BaseModel):
    """The answer to one event; validated later, so that one bad item does not spoil the others."""

    id: int
    answer: JsonValue


class JointAnswer(BaseModel):
    answers: list[JointItem]


def may_join(parts: Sequence[Part]) -> bool:
    """Whether an event may share a request: text alone, not much of it, and no marker in it."""
    texts = [part.text for part in parts if isinstance(part, Text)]
    return (
        len(texts) == len(parts)
        and sum(map(len, texts)) <= LARGEST_TEXT
        and not any(_MARKER.search(text) for text in texts)
    )


def joint_content(events: Sequence[Sequence[Part]]) -> Content:
    texts = [part.text for parts in events for part in parts if isinstance(part, Text)]
    key = absent_key(texts)
    content: Content = []
    for number, parts in enumerate(events, start=1):
        content.append({"type": "text", "text": f'<event-{key} id="{number}">'})
        content += content_of(parts, key)
        content.append({"type": "text", "text": f"</event-{key}>"})
    return content


def read_items(answer: JointAnswer, count: int) -> list[JsonValue | None]:
    """The answer to each event; None where there is none, or several that differ."""
    found: dict[int, JsonValue] = {}
    differ: set[int] = set()
    for item in answer.answers:
        if found.setdefault(item.id, item.answer) != item.answer:
            differ.add(item.id)
    return [None if number in differ else found.get(number) for number in range(1, count + 1)]


def read_item(
    item: JsonValue | None, answer_model: type[AnswerT], schema: Mapping[str, JsonValue]
) -> tuple[AnswerT, bytes] | None:
    """One event's answer, validated, and its JSON; None where it is no use or unclear."""
    if not isinstance(item, dict):
        return None
    try:
        answer, as_json = checked(Found(item, dumps(item)), answer_model, schema)
    except (AnswerModelError, EnumMismatch, ValidationError):
        return None
    return None if getattr(answer, "unclear", False) else (answer, as_json)


def shares(usage: Usage, weights: Sequence[int]) -> list[Usage]:
    """Split what a request cost among its events; the parts add up to the whole.

    Input is split by weight, all else evenly; calls count for the first event.
    """
    even = [1] * len(weights)
    inputs = _split(usage.input_tokens, weights)
    reads = _split(usage.cache_read_tokens, even)
    writes = _split(usage.cache_write_tokens, even)
    outputs = _split(usage.output_tokens, even)
    costs: Sequence[Decimal | None] = [None] * len(weights)
    if usage.cost_usd is not None:
        pico = _split(int(usage.cost_usd / _PICO), weights)
        costs = [(part * _PICO).normalize() for part in pico]
    return [
        Usage(
            calls=usage.calls if index == 0 else 0,
            unanswered=usage.unanswered if index == 0 else 0,
            input_tokens=inputs[index],
            cache_read_tokens=reads[index],
            cache_write_tokens=writes[index],
            output_tokens=outputs[index],
            cost_usd=costs[index],
        )
        for index in range(len(weights))
    ]


def _split(total: int, weights: Sequence[int]) -> list[int]:
    """In whole parts, in proportion to the weights, that add up to the total."""
    bounds = [total * upto // sum(weights) for upto in accumulate(weights, initial=0)]
    return [end - begin for begin, end in pairwise(bounds)]


@dataclass(slots=True, eq=False)
class _Item:
    request: ModelRequest
    in_flight: InFlightCall
    is_wanted: bool = True


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a request brought for one of its events: an answer, or only its share of the cost.

    `leaves`: it is to be asked elsewhere.
    """

    completed: CompletedCall | None
    usage: Usage
    seconds: float
    leaves: bool = False


@dataclass(slots=True, eq=False)
class _Group:
    items: list[_Item] = field(default_factory=list)
    is_full: asyncio.Event = field(default_factory=asyncio.Event)
    asked: "asyncio.Task[dict[_Item, _Outcome]] | None" = None


_Shared = tuple[Prompt, str | None]
"""What those in a request have alike: the prompt, and the tenant where its spending is limited."""


@dataclass(slots=True)
class RequestGroups:
    """Makes calls like `Caller.call`, for several requests at once where they may share one.

    `sizes` are the most events in a request, by stage. What Haiku left open is the hard part: each
    event goes to Sonnet by itself.
    """

    caller: Caller
    prompts: Prompts
    sizes: Mapping[str, int]
    steers: Steers
    _open: dict[_Shared, _Group] = field(default_factory=dict)
    _tasks: "set[asyncio.Task[dict[_Item, _Outcome]]]" = field(default_factory=set)

    async def call(
        self, request: ModelRequest, in_flight: InFlightCall | None = None
    ) -> CompletedCall:
        question = request.question
        most = self.sizes.get(question.stage, 1) if request.tier is Tier.HAIKU else 1
        if (
            most == 1
            or request.max_output_tokens != question.max_output_tokens
            or not may_join(question.parts)
            or self.steers(question.parts)
        ):
            return await self.caller.call(request, in_flight)
        item = _Item(request, in_flight or InFlightCall())
        # What a request costs is paid from one account.
        shared = request.prompt, self.caller.budget.account(question.tenant)
        group = self._open.setdefault(shared, _Group())
        group.items.append(item)
        if group.asked is None:
            group.asked = asyncio.get_running_loop().create_task(self._ask(shared, group))
            self._tasks.add(group.asked)
            group.asked.add_done_callback(self._tasks.discard)
        if len(group.items) >= most:
            del self._open[shared]
            group.is_full.set()
        try:
            # Not the task itself: giving up one event leaves the others alone.
            outcome = (await asyncio.shield(group.asked))[item]
        finally:
            item.is_wanted = False
        if outcome.completed is not None:
            return outcome.completed
        if outcome.leaves:
            raise LeavesEndpoint(outcome.usage)
        try:
            alone = await self.caller.call(request, in_flight)
        except LeavesEndpoint as leaves:
            leaves.usage = outcome.usage + leaves.usage
            raise
        except AnswerError as error:
            error.usage = outcome.usage + error.usage
            error.seconds += outcome.seconds
            raise
        paid = alone.response
        usage, seconds = outcome.usage + paid.usage, outcome.seconds + paid.seconds
        return replace(alone, response=replace(paid, usage=usage, seconds=seconds))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _ask(self, shared: _Shared, group: _Group) -> dict[_Item, _Outcome]:
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await group.is_full.wait()
        if self._open.get(shared) is group:
            del self._open[shared]
        items = [item for item in group.items if item.is_wanted]
        if len(items) <= 1:
            return {item: _Outcome(None, Usage(), 0.0) for item in items}
        joint = self._joint_request(items)
        # From here on each is paid for, whether it is still wanted or not.
        for item in items:
            item.in_flight.sending = True
        answers: list[tuple[Any, bytes] | None] = [None] * len(items)
        model, leaves = "", False
        try:
            completed = await self.caller.call(joint)
        except LeavesEndpoint as error:
            usage, seconds, leaves = error.usage, 0.0, True
        except AnswerError as error:
            # Whatever is wrong, it may be wrong with one of them alone.
            usage, seconds = error.usage, error.seconds
        else:
            response = completed.response
            usage, seconds, model = response.usage, response.seconds, response.model
            # Where the whole is in doubt it is not known whose part of it is.
            if not response.signals:
                found = read_items(response.answer, len(items))
                answers = [
                    read_item(each, item.request.question.answer_model, item.request.prompt.enums)
                    for item, each in zip(items, found, strict=True)
                ]
        finally:
            for item in items:
                item.in_flight.sending = False
        split = shares(usage, [item.request.weight for item in items])
        return {
            item: _Outcome(
                CompletedCall(joint.response(read[0], model, share, seconds), read[1], item.request)
                if read
                else None,
                share,
                seconds,
                leaves,
            )
            for item, read, share in zip(items, answers, split, strict=True)
        }

    def _joint_request(self, items: Sequence[_Item]) -> ModelRequest:
        first = items[0].request
        endpoint = first.endpoint.settings
        prompt = self.prompts.of(first.question, first.tier, endpoint, joint=True)
        limit = sum(item.request.max_output_tokens for item in items)
        events = [item.request.question.parts for item in items]
        question: Question[Any] = replace(
            first.question,
            answer_model=JointAnswer,
            parts=tuple(part for parts in events for part in parts),
            max_output_tokens=limit,
        )
        return replace(
            first,
            question=question,
            prompt=prompt,
            body=prompt.template.body(joint_content(events), max_output_tokens=limit),
            weight=sum(item.request.weight for item in items),
            max_output_tokens=limit,
            bounds=BOUNDS,
        )
