"""What people do with events that neither model settled: list, show, resolve each once."""

import asyncio
import base64
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import to_json

from pipeline.cascade.publishing import NO_OUTPUTS, Outputs, dead_letter, publication
from pipeline.cascade.publishing import enriched as enriched_record
from pipeline.config import Settings
from pipeline.inputs.outputs import open_outputs
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.topics import TopicNames
from pipeline.kafka.writer import ProducerFenced
from pipeline.model.errors import InvalidEvent, PipelineError, UsageError
from pipeline.model.printable import on_one_line, printable, readable, shortened
from pipeline.model.records import (
    DeadLetterReason,
    Evidence,
    Review,
    Tier,
    Timing,
    Unusable,
    read_record,
)
from pipeline.operators.files import usable
from pipeline.operators.handled import Action, HandledIndex, IdempotentPublisher, read_handled
from pipeline.operators.listing import COLUMN, Listing, handled_cell
from pipeline.operators.sample_labels import label_record, review_label
from pipeline.operators.selection import Place, Span, place_of, record_at
from pipeline.stages.api import Stage, build_stages, label_of
from pipeline.stream.records import Outgoing, Received

AnyStage = Stage[Any, Any]
OpenPublisher = Callable[[], AbstractAsyncContextManager[IdempotentPublisher]]
"""Opens a publisher, which fences those that others have open."""
SHOWN = 2000  # characters of a text of the event, unless all are asked for
REASON_CHARS = 500
PUT_ASIDE = "A person put it aside: "
"""What `dlq-detail` begins with where a person sent an event to the dead letters."""
_EXAMPLES = 20
_DOUBTS = 10  # codes of an item that a table has room for
_NAME_SHOWN = 64
_ATTEMPTS = 9
_RETRY_FIRST = 0.1  # seconds before the second attempt, at most; each later one waits twice as long


class Unreadable(PipelineError):
    """A record in `review` that this version cannot read."""


class AlreadyResolved(PipelineError):
    """The item was resolved before."""


class NotAResult(UsageError):
    """A verdict is not what the stage publishes: `faults` has each field, by its path, and why."""

    def __init__(self, stage: str, faults: Sequence[tuple[str, str]]) -> None:
        said = "; ".join(f"{where}: {why}" for where, why in faults)
        super().__init__(f"This is not a result of {stage}: {said}.")
        self.faults = faults


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """What neither model could settle: the record as it is in the topic, and what is in it."""

    record: Received
    review: Review


def review_item_of(record: Received) -> ReviewItem:
    """Read a record of `review`; `Unreadable` if it is something else."""
    try:
        return ReviewItem(record, read_record(Review, record.value))
    except Unusable as error:
        raise Unreadable(
            f"The record {record.partition}:{record.offset} of {record.topic} is not a review item "
            f"that this version can read: {error}."
        ) from None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which items are meant; what is empty or None does not matter. One doubt is enough."""

    stages: Collection[str] = ()
    doubts: Collection[str] = ()
    key: str | None = None
    span: Span = field(default_factory=Span)

    def __contains__(self, item: ReviewItem) -> bool:
        codes = {doubt.code for doubt in item.review.doubts}
        return (
            (not self.stages or item.review.stage in self.stages)
            and (not self.doubts or not codes.isdisjoint(self.doubts))
            and (self.key is None or item.record.key == os.fsencode(self.key))
            and item.record.timestamp in self.span
        )


@dataclass(frozen=True, slots=True)
class Line:
    """An item in a list; without its event, which may be large."""

    place: str
    came_at: datetime
    stage: str
    event_id: str
    key: str  # in hexadecimal where it is not UTF-8
    doubts: Sequence[str]  # codes, each once
    answers: Sequence[str]  # tiers that gave a usable one
    resolved: int  # how often it was
    resolved_at: datetime | None
    forgotten: bool  # a person had its key forgotten: it is not resolved any more


class ReviewListing(Listing[Line]):
    what = "review items"
    headings = ("Place", "Came", "Stage", "Event", "Key", "Doubts", "Resolved")
    handled_as, codes_as = "resolved", "doubts"

    def __init__(self, limit: int, *, handled: bool | None) -> None:
        super().__init__(limit, handled=handled)
        self.unreadable_count = 0
        self.unreadable: list[str] = []

    def row(self, line: Line) -> Sequence[str]:
        return (
            line.place,
            f"{line.came_at:%Y-%m-%d %H:%M:%S}",
            printable(line.stage)[:COLUMN],
            printable(line.event_id)[:COLUMN],
            line.key[:COLUMN],
            printable(", ".join(line.doubts[:_DOUBTS]))[: _DOUBTS * COLUMN],
            handled_cell(line.resolved_at, is_forgotten=line.forgotten),
        )

    def remarks(self) -> Iterator[str]:
        yield from self.unreadable
        if self.unreadable_count > len(self.unreadable):
            yield f"{self.unreadable_count:,} records are not review items."

    def _sentence(self) -> str:
        return (
            f"{self.matching:,} review items, {self.matching - self.handled:,} of them open"
            f" ({self._counts()}).{self._left_out()}"
        )

    def document(self) -> dict[str, Any]:
        found = {"unreadable_count": self.unreadable_count, "unreadable": self.unreadable}
        return super().document() | found


async def list_items(
    settings: Settings,
    read: TopicReader,
    selection: Selection,
    *,
    limit: int,
    resolved: bool | None,
) -> ReviewListing:
    """Find items, of which `limit` are listed; with `resolved`, those that were, or were not."""
    names = TopicNames.under(settings)
    handled = await read_handled(read, names.review, names.resolved)
    listing = ReviewListing(limit, handled=resolved)
    async with read([names.review], start=selection.span.since or "beginning") as records:
        async for record in records:
            try:
                item = review_item_of(record)
            except Unreadable as error:
                listing.unreadable_count += 1
                if len(listing.unreadable) < _EXAMPLES:
                    listing.unreadable.append(str(error))
                continue
            if item in selection:
                line, place = line_of(item, handled), place_of(record)
                listing.add(line, line.came_at, place, times=line.resolved, codes=line.doubts)
    return listing


async def find(
    names: TopicNames, read: TopicReader, place: Place
) -> tuple[ReviewItem, HandledIndex]:
    """The item at a place, and what was resolved; `PipelineError` if it is not there."""
    handled = await read_handled(read, names.review, names.resolved)
    record = await record_at(read, names.review, place, what="review item", command="review")
    return review_item_of(record), handled


def line_of(item: ReviewItem, handled: HandledIndex) -> Line:
    record, review, entry = item.record, item.review, handled.of(item.record)
    answers = {"haiku": review.haiku_result, "sonnet": review.sonnet_result}
    return Line(
        place=str(place_of(record)),
        came_at=record.timestamp,
        stage=review.stage,
        event_id=review.event_id,
        key=on_one_line(record.key),
        doubts=tuple(dict.fromkeys(doubt.code for doubt in review.doubts)),
        answers=tuple(tier for tier, answer in answers.items() if answer is not None),
        resolved=0 if entry is None else entry.times,
        resolved_at=None if entry is None else entry.at,
        forgotten=entry is not None and entry.is_forgotten,
    )


def lines_of(
    item: ReviewItem, handled: HandledIndex, *, limit: int | None = SHOWN
) -> Iterator[str]:
    """All there is to say of an item, a text of its event cut after `limit` characters."""
    line, review = line_of(item, handled), item.review
    source, cost = review.source, review.usage.cost_usd
    price = "at an unknown price" if cost is None else f"${cost:f}"
    yield f"place      {line.place}"
    yield f"came       {line.came_at.isoformat()}"
    if line.resolved_at is not None:
        at = line.resolved_at.isoformat()
        yield f"forgotten  {at}" if line.forgotten else f"resolved   {at} ({line.resolved} times)"
    yield f"stage      {printable(review.stage)}"
    yield f"event      {printable(review.event_id)}"
    yield f"key        {on_one_line(item.record.key, SHOWN)}"
    yield f"from       {printable(source.topic)} {source.partition}:{source.offset}"
    yield f"asked      {printable(review.model)}, {review.usage.calls} calls, {price}"
    yield from ("", "event", *readable(review.event, limit=limit, depth=1))
    yield from ("", "doubts")
    for doubt in review.doubts:
        yield f"  {printable(doubt.code)}: {printable(doubt.detail)}"
    yield from ("", "answers (* where they differ)", *_answers(review))


def _answers(review: Review) -> Iterator[str]:
    """What both answered, field by field; a star marks where they differ."""
    given = {"haiku": review.haiku_result, "sonnet": review.sonnet_result}
    answers = {tier: result for tier, result in given.items() if result is not None}
    for tier in given:
        if tier not in answers:
            yield f"  {tier} gave no usable answer"
    for name in dict.fromkeys(name for result in answers.values() for name in result):
        cells = {tier: _cell(result, name) for tier, result in answers.items()}
        if len(set(cells.values())) == 1:
            yield f"  {printable(name)}: {next(iter(cells.values()))}"
            continue
        yield f"* {printable(name)}"
        for tier, cell in cells.items():
            yield f"    {tier + ':':<8}{cell}"


def _cell(result: Mapping[str, JsonValue], name: str) -> str:
    if name not in result:
        return "-"
    value = result[name]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(shortened(text, SHOWN))


def document_of(item: ReviewItem, handled: HandledIndex) -> dict[str, Any]:
    return asdict(line_of(item, handled)) | {
        "review": item.review.model_dump(mode="json", by_alias=True)
    }


def save_file(event: Mapping[str, Any], path: Path) -> int:
    """Write the file that an event brings, to look at it; returns its size in bytes."""
    file = event.get("file")
    data = file.get("data") if isinstance(file, dict) else None
    if not isinstance(data, str):
        raise UsageError("This event brings no file of its own: leave --file out.")
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError:
        raise UsageError(
            "The file of this event is not base64: look at the event itself."
        ) from None
    with usable(path, "written", otherwise="name another."):
        path.write_bytes(content)
    return len(content)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person decided: a whole result, or whose answer is right; and fields set on top."""

    right: Mapping[str, JsonValue] | Tier
    changes: Mapping[str, JsonValue] = field(default_factory=dict)


def parse_changes(texts: Sequence[str]) -> dict[str, JsonValue]:
    """Read each `FIELD=VALUE`; a value that is JSON is taken as that, any other as text."""
    changes: dict[str, JsonValue] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{text!r} is not FIELD=VALUE: write it as priority=high.")
        try:
            changes[name] = json.loads(value)
        except json.JSONDecodeError:
            changes[name] = value
    return changes


def parse_result(text: str) -> dict[str, JsonValue]:
    """Read a result; `UsageError` if it is not a JSON object."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"The result is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise UsageError("The result must be a JSON object with the fields of the stage's result.")
    return found


def result_of(verdict: Verdict, item: ReviewItem, stage: AnyStage, settings: Settings) -> BaseModel:
    """The result that a verdict means, held to what the stage publishes; else `UsageError`."""
    base: Mapping[str, JsonValue] | None
    if isinstance(verdict.right, Tier):
        answers = {Tier.HAIKU: item.review.haiku_result, Tier.SONNET: item.review.sonnet_result}
        base = answers[verdict.right]
        if base is None:
            tier = verdict.right.title()
            raise UsageError(f"{tier} gave no usable answer here: give one with --result.")
    else:
        base = verdict.right
    fields = {**base, **verdict.changes}
    try:
        result: BaseModel = stage.result_model.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        faults = [
            (".".join(str(step) for step in fault["loc"]), fault["msg"])
            for fault in error.errors(include_input=False, include_url=False)
        ]
        raise NotAResult(stage.name, faults) from None
    # The result's own model takes any label; the team's taxonomy does not.
    label = label_of(stage, result)
    section = getattr(settings.stages, stage.name, None)
    known = [each.name for each in section.deciding_labels()] if section is not None else []
    if known and label is not None and label not in known:
        raise UsageError(f"{label!r} is not a label of {stage.name}; there are {', '.join(known)}.")
    return result


def enriched(
    item: ReviewItem,
    stage: AnyStage,
    result: BaseModel,
    topics: TopicNames,
    now: datetime,
    *,
    outputs: Outputs = NO_OUTPUTS,
) -> tuple[Outgoing, ...]:
    """The records that say what a person decided, as results of the stage are published.

    Raises:
        InvalidEvent: The result cannot be published so.
    """
    review, haiku_result, event = item.review, None, None
    # The stage may have changed since: Haiku's answer is left out where it would not publish it any
    # more, and an event that another version of it read has no fields of its own.
    if review.haiku_result is not None:
        with suppress(ValidationError):
            haiku_result = stage.result_model.model_validate_json(json.dumps(review.haiku_result))
    with suppress(ValidationError):
        event = stage.raw_model.model_validate(review.event, strict=False)
    record = enriched_record(
        stage,
        event,
        result,
        event_id=review.event_id,
        decided_by="human",
        confidence=None,
        escalated=(review.doubts, haiku_result, review.haiku_provenance),
        model=review.model,
        usage=review.usage,
        source=review.source,
        timing=Timing(
            received_at=review.timing.received_at,
            enriched_at=now,
            model_seconds=review.timing.model_seconds,
        ),
        provenance=review.provenance,
        evidence=_evidence_kept(review, result),
    )
    return publication(item.record, record, topics, outputs).records


def _evidence_kept(review: Review, result: BaseModel) -> list[Evidence]:
    """What was read of Sonnet's answer, of those of its fields that are published as they were."""
    before, published = review.sonnet_result or {}, result.model_dump(mode="json", by_alias=True)
    same = {name for name, value in before.items() if published.get(name) == value}
    return [each for each in review.evidence if each.field.lstrip("/").partition("/")[0] in same]


def label_line(item: ReviewItem, stage: AnyStage, result: BaseModel) -> bytes:
    """The event as it is published, and what is true about it under `gold`."""
    event = item.review.event
    known = {name: event[name] for name in stage.raw_model.model_fields if name in event}
    # The parts of an event have its id, and each is an event of its own here, too.
    own = {"id": item.review.event_id, "gold": result.model_dump(mode="json", by_alias=True)}
    # Numbers of the event may be longer than any that orjson takes.
    return to_json(known | own)


class LabelledFile:
    """A file with a line for each event, by id; made where it is missing; raises `UsageError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with usable(path, "used", otherwise="name another."):
            path.touch()
            lines = path.read_bytes().splitlines()
        self._lines = [line for line in lines if line.strip()]
        for number, line in enumerate(self._lines, start=1):
            if _id_of(line) is None:
                raise UsageError(f"{path}:{number} is not a labelled event: name another file.")

    def put(self, line: bytes) -> None:
        """Add a line at the end, in the place of one about the same event; never seen half done."""
        event_id = _id_of(line)
        self._lines = [each for each in self._lines if _id_of(each) != event_id] + [line]
        beside = self._path.with_name(f".{self._path.name}.new")
        with usable(self._path, "written", otherwise="name another."):
            beside.write_bytes(b"".join(each + b"\n" for each in self._lines))
            beside.replace(self._path)


def _id_of(line: bytes) -> str | None:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return str(event["id"]) if isinstance(event, dict) and "id" in event else None


@dataclass(frozen=True, slots=True)
class Resolved:
    """What was published, and where to."""

    place: str
    topic: str
    event_id: str
    stage: str
    result: dict[str, Any]


async def resolve(
    settings: Settings,
    read: TopicReader,
    place: Place,
    verdict: Verdict,
    open_publisher: OpenPublisher,
    *,
    now: datetime,
    jitter: Callable[[], float],
    again: bool = False,
    labels: LabelledFile | None = None,
    labelled_by: str | None = None,
) -> Resolved:
    """Publish a verdict as the event's result, under its key, once; then add it to `labels`.

    With it goes a label by `labelled_by` to the topic `trust`; none if that is not given.

    Two people who resolve at the same moment fence each other; the later one tries again, after a
    pause that `jitter` (between 0 and 1) makes another one each time.

    Raises:
        UsageError: The verdict is not what the stage publishes.
        AlreadyResolved: It was resolved before, and `again` is not given.
        PipelineError: There is no such item, its stage is not known here, or the brokers do not
            take it.
    """
    names = TopicNames.under(settings)
    record = await record_at(read, names.review, place, what="review item", command="review")
    item = review_item_of(record)
    stages: Mapping[str, AnyStage] = build_stages(settings.stages)
    stage = stages.get(item.review.stage)
    if stage is None:
        name = item.review.stage[:_NAME_SHOWN]
        raise PipelineError(f"There is no stage {name!r} here; there are {', '.join(stages)}.")
    result = result_of(verdict, item, stage, settings)
    outputs = await open_outputs(
        {stage.name: stage}, settings.stages.by_name(), names.enriched, settings.registry
    )
    outgoing, *beside = enriched(item, stage, result, names, now, outputs=outputs)
    if labelled_by is not None:
        label = review_label(
            settings,
            stage,
            item.review,
            result.model_dump(mode="json", by_alias=True),
            key=item.record.key,
            person=labelled_by,
            at=now,
        )
        beside.append(label_record(names.trust, label))
    action = Action(item.record, outgoing, again, beside=tuple(beside))
    await _publish(action, open_publisher, jitter)
    if labels is not None:
        labels.put(label_line(item, stage, result))
    return Resolved(
        place=str(place),
        topic=outgoing.topic,
        event_id=item.review.event_id,
        stage=stage.name,
        result=result.model_dump(mode="json", by_alias=True),
    )


async def reject(
    settings: Settings,
    read: TopicReader,
    place: Place,
    reason: str,
    open_publisher: OpenPublisher,
    *,
    now: datetime,
    jitter: Callable[[], float],
) -> str:
    """Put an item's event aside as a dead letter, once, for a reason that a person gives.

    The letter is the raw record as it was published, while its topic has it; else, and of a part
    of a record, the event as it was read. Returns the topic of dead letters.

    Raises:
        UsageError: The reason is empty or too long.
        AlreadyResolved: It was resolved before.
        PipelineError: There is no such item, or the brokers do not take it.
    """
    if not 0 < len(reason := " ".join(reason.split())) <= REASON_CHARS:
        raise UsageError(f"A dead letter needs a reason, of at most {REASON_CHARS} characters.")
    names = TopicNames.under(settings)
    record = await record_at(read, names.review, place, what="review item", command="review")
    item = review_item_of(record)
    invalid = InvalidEvent(
        DeadLetterReason.INVALID_EVENT,
        f"{PUT_ASIDE}{printable(reason)}",
        attempts=item.review.usage.calls,
    )
    letter = dead_letter(
        await _raw_record(read, item),
        names.dead_letters,
        invalid,
        stage=item.review.stage,
        now=now,
    )
    [outgoing] = letter.records
    await _publish(Action(record, outgoing), open_publisher, jitter)
    return outgoing.topic


async def _raw_record(read: TopicReader, item: ReviewItem) -> Received:
    """The record that an item came from, or one that holds the event as it was read."""
    source = item.review.source
    if source.part is None:
        where = Place(source.partition, source.offset)
        with suppress(PipelineError):  # it has expired, or its topic is gone
            found = await record_at(read, source.topic, where, what="record", command="review")
            if found.timestamp == source.timestamp and found.value is not None:
                return found
    return replace(
        item.record,
        topic=source.topic,
        partition=source.partition,
        offset=source.offset,
        value=to_json(item.review.event),
        headers=(("content-type", b"application/json"),),
    )


async def _publish(
    action: Action, open_publisher: OpenPublisher, jitter: Callable[[], float]
) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            async with open_publisher() as publisher:
                done = await publisher.publish([action])
                entry = publisher.entry(action.record)
        except ProducerFenced:
            if attempt == _ATTEMPTS - 1:
                raise
            await asyncio.sleep(_RETRY_FIRST * 2**attempt * jitter())
            continue
        if done.done_before and entry is not None and entry.is_forgotten:
            raise AlreadyResolved(
                f"The key of the review item {place_of(action.record)} was forgotten "
                "(`pipeline forget`): nothing is published for it any more."
            )
        if done.done_before:
            raise AlreadyResolved(
                f"The review item {place_of(action.record)} was resolved before: nothing was "
                "published. With --again your verdict is published after the earlier one."
            )
        for _, because in done.refused:
            raise PipelineError(f"The verdict cannot be published: {because}")
        return
