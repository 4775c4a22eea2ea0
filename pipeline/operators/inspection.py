"""Topics as people look at them: what there is, how far each stage is behind, and the records."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson

from pipeline.cascade.reading import input_record, of_format
from pipeline.config import Settings
from pipeline.config.inputs import InputSettings
from pipeline.inputs.formats import open_format
from pipeline.inputs.records import SCHEMA_ID_HEADER, Format
from pipeline.kafka.connection import admin_client
from pipeline.kafka.offsets import GroupLag, PartitionLag, drain_seconds, lag_reader
from pipeline.kafka.reader import Start, read_topics
from pipeline.kafka.topics import ESCALATIONS, TopicNames, TopicReport, Topics, TopicState
from pipeline.model.errors import InvalidEvent, Unavailable, UsageError
from pipeline.model.printable import printable
from pipeline.stream.records import Received

LAG_HEADINGS = (
    *("Topic", "Partition", "End", "Committed"),
    *("Done above", "Lag", "Oldest", "Drained in"),
)
_INDENTED = 1 << 20  # bytes of a value up to which it is indented, which makes it much longer


def chosen(settings: Settings, stages: Sequence[str] | None) -> Sequence[str]:
    """These stages, the enabled ones if none is named; `UsageError` if there is no such stage."""
    known = [*settings.stages.by_name(), ESCALATIONS]
    wanted = stages or settings.enabled
    if unknown := [name for name in wanted if name not in known]:
        raise UsageError(f"There is no stage {', '.join(unknown)}; there are {', '.join(known)}.")
    return wanted


def topic_names(
    settings: Settings, stages: Sequence[str] | None, existing: Iterable[str] = ()
) -> tuple[str, ...]:
    """Of these stages; with those of the existing topics that a pattern of theirs matches."""
    return TopicNames.under(settings).of(chosen(settings, stages), existing)


def every_topic(settings: Settings, existing: Iterable[str] = ()) -> tuple[str, ...]:
    """Those of all stages that there are, enabled or not."""
    return topic_names(settings, [*settings.stages.by_name(), ESCALATIONS], existing)


async def create(settings: Settings, stages: Sequence[str] | None) -> list[TopicReport]:
    """Make those that are missing; a pattern makes none."""
    names = topic_names(settings, stages)
    async with admin_client(settings.kafka) as admin:
        made = Topics(admin, settings.topics, names=TopicNames.under(settings))
        return await made.create(names)


async def describe(
    settings: Settings, stages: Sequence[str] | None
) -> dict[str, TopicState | None]:
    """Describe the topics; None stands for those that do not exist."""
    async with admin_client(settings.kafka) as admin:
        topics = Topics(admin, settings.topics)
        names = topic_names(settings, stages, await topics.existing())
        found = await topics.describe(names)
    return {name: found.get(name) for name in names}


@dataclass(frozen=True, slots=True)
class StageLag:
    """How far a stage is behind: the age of its oldest event, and how long until nothing waits."""

    stage: str
    group: str
    at: datetime
    members: int
    lag: int
    oldest_seconds: float | None
    drain_seconds: float | None
    partitions: tuple[PartitionLag, ...]


async def lags(
    settings: Settings, stages: Sequence[str] | None, *, interval: float
) -> AsyncGenerator[list[StageLag], None]:
    """Sample the lag every `interval` seconds; the first sample knows no pace yet."""
    names = TopicNames.under(settings)
    wanted = chosen(settings, stages)
    earlier: dict[str, GroupLag] = {}
    async with lag_reader(settings.kafka) as reader:
        while True:
            found = []
            for stage in wanted:
                group = settings.kafka.group_prefix + stage
                now = await reader.sample(group, names.read_by(stage))
                drained = drain_seconds(earlier[stage], now) if stage in earlier else None
                earlier[stage] = now
                found.append(
                    StageLag(
                        *(stage, group, now.at, now.members, now.lag, now.oldest_seconds),
                        drain_seconds=drained,
                        partitions=now.partitions,
                    )
                )
            yield found
            await asyncio.sleep(interval)


async def show_lag(
    samples: AsyncGenerator[list[StageLag], None],
    show: Callable[[list[StageLag]], None],
    *,
    watch: bool,
) -> None:
    """Show every sample, or one: the second where something waits, since only two give the pace."""
    async with aclosing(samples):
        if watch:
            async for sample in samples:
                show(sample)
        sample = await anext(samples)
        if any(stage.lag for stage in sample):
            sample = await anext(samples)
        show(sample)


def lag_rows(found: Sequence[StageLag]) -> Iterator[Sequence[str]]:
    """The table, under `LAG_HEADINGS`: the partitions of a stage, then their sum."""
    for stage in found:
        for each in stage.partitions:
            yield (
                each.topic,
                str(each.partition),
                str(each.end),
                "-" if each.committed is None else str(each.committed),
                str(each.done_above),
                str(each.lag),
                "" if each.oldest is None else duration((stage.at - each.oldest).total_seconds()),
                "",
            )
        yield (
            f"{stage.stage}, {stage.members} consumers",
            *("", "", "", ""),
            str(stage.lag),
            duration(stage.oldest_seconds),
            duration(stage.drain_seconds),
        )


def lag_notes(found: Sequence[StageLag]) -> Iterator[str]:
    for stage in found:
        if stage.lag and not stage.members:
            yield f"{stage.stage}: nobody consumes; start it with `pipeline run {stage.stage}`."
        for each in stage.partitions:
            if each.fault is not None:
                yield f"{each.topic}, partition {each.partition}: {each.fault}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    seconds = max(0.0, seconds)
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def topic_of(settings: Settings, name: str) -> str:
    """The topic that is meant: of a stage its results, else the topic of that name."""
    names = TopicNames.under(settings)
    shared = {
        "escalations": names.escalations,
        "review": names.review,
        "dead-letters": names.dead_letters,
    }
    if name in settings.stages.by_name():
        return names.enriched(name)
    return shared.get(name, name)


async def tail(
    settings: Settings,
    topic: str,
    show: Callable[[str], None],
    *,
    start: Start = "beginning",
    follow: bool = False,
    limit: int | None = None,
    pretty: bool = False,
) -> None:
    """Show the records of a topic; what is framed for the schema registry, by its schema.

    What cannot be decoded is shown as it is, with why.
    """
    end: Literal["committed", "never"] = "never" if follow else "committed"
    left, framed = limit, _framed(settings)
    async with read_topics(settings.kafka, [topic], start=start, end=end) as records:
        async for record in records:
            document, why = await _unframed(framed, record)
            show(text_of(record, pretty=pretty, document=document, why=why))
            if left is not None:
                left -= 1
                if left == 0:
                    return


def _framed(settings: Settings) -> Format | None:
    """What reads records that a serializer of the schema registry's wrote, where one is set."""
    if settings.registry.url is None:
        return None
    try:
        return open_format(InputSettings(format="registry"), settings.registry)
    except UsageError:  # without the extra
        return None


async def _unframed(
    framed: Format | None, record: Received
) -> tuple[Mapping[str, Any] | None, str | None]:
    """What is in a record by its schema, or why that cannot be said; neither where it has none."""
    if record.unread is not None:
        return None, record.unread.because
    given = input_record(record)
    if not (record.value or b"").startswith(b"\0") and SCHEMA_ID_HEADER not in given.headers:
        return None, None
    if framed is None:
        why = "It seems to be framed for a schema registry: set registry.url, and install the extra"
        return None, f"{why} `registry`."
    try:
        found = await of_format(record.topic, framed.read, given)
    except (InvalidEvent, Unavailable) as error:
        return None, str(error)
    return None if found is None else found.fields, None


def text_of(
    record: Received,
    *,
    pretty: bool = False,
    document: Mapping[str, Any] | None = None,
    why: str | None = None,
) -> str:
    """A record as JSON: its value where that is all there is to it, else with key and headers.

    A `document` is what its value was read as, `why` says that it could not be read. What a
    terminal would take as a command is escaped, since the content is third-party.
    """
    try:
        shown = orjson.loads(record.value or b"") if document is None else document
    except orjson.JSONDecodeError:
        shown = _whole(record, _text(record.value))
        if why is not None:
            shown["unreadable"] = why
    else:
        if any(name.startswith("dlq-") for name, _ in record.headers):
            shown = _whole(record, shown)
    indent = 2 if pretty and len(record.value or b"") <= _INDENTED else None
    try:
        text = json.dumps(shown, ensure_ascii=False, indent=indent, default=_text)
    except RecursionError:  # what is nested deeper than that is shown as it is
        text = json.dumps(_whole(record, _text(record.value)), ensure_ascii=False, indent=indent)
    return printable(text, keep="\n")


def _whole(record: Received, value: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": _text(record.key),
        "headers": {name: _text(content) for name, content in record.headers},
        "value": value,
    }


def _text(content: bytes | None) -> str | dict[str, str] | None:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}
