"""Puts raw events on a stage's topic: from JSON Lines, files, folders, or standard input."""

import mimetypes
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from pipeline.cascade.reading import adapter_of, of_stage
from pipeline.config import Settings
from pipeline.inputs.adapter import Adapter, PassedOver
from pipeline.inputs.records import InputRecord
from pipeline.kafka.topics import TopicNames
from pipeline.kafka.writer import Writer
from pipeline.model.errors import InvalidEvent, UsageError
from pipeline.model.records import now
from pipeline.operators.files import usable
from pipeline.runtime.process import threaded_iter
from pipeline.stages.api import Stage
from pipeline.stages.files.media import sniff
from pipeline.stream.records import Headers, Outgoing

STANDARD_INPUT = Path("-")
_LINES = frozenset({".jsonl", ".ndjson"})
_JSON: Headers = (("content-type", b"application/json"),)
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Item:
    """A record to publish; `place` is where it was found, e.g. `tickets.jsonl:12`."""

    place: str
    key: bytes | None
    value: bytes = field(repr=False)
    headers: Headers = _JSON


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event that the stage would not take, and so was not published."""

    place: str
    reason: str
    detail: str


@dataclass(slots=True)
class Published:
    """What came of publishing: confirmed records, refused events, and the first of these."""

    topic: str
    published: int = 0
    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)


async def publish(
    settings: Settings,
    stage: Stage[Any, Any],
    items: Iterable[Item],
    *,
    topic: str | None = None,
    validate: bool = True,
    on_done: Callable[[int], None] = lambda _: None,
) -> Published:
    """Publish events, of which there may be any number, on a topic that a stage reads.

    That is its first one, unless a `topic` is named; a UsageError says that it reads no such one.
    With `validate` those that the stage does not take are left out; `on_done` gets a 1 for each.
    """
    names = TopicNames.under(settings)
    if topic is None:
        topic = names.raw(stage.name)
    elif not names.read_by(stage.name).takes(topic):
        raise UsageError(f"{stage.name} does not read {topic}: {names.read_by(stage.name)}.")
    result = Published(topic)
    limit = settings.topics.max_message_bytes
    adapter = adapter_of(settings, stage) if validate else None
    async with (
        Writer(settings.kafka, max_record_bytes=limit, on_published=lambda _: on_done(1)) as writer,
        aclosing(threaded_iter(items)) as ahead,
    ):
        async for item in ahead:
            refusal = await _refusal(stage, adapter, topic, item) if validate else None
            if refusal is None:
                await writer.write(Outgoing(topic, item.key, item.value, item.headers))
                continue
            result.refused += 1
            if len(result.refusals) < _SHOWN:
                result.refusals.append(refusal)
            on_done(1)
        await writer.flush()
        result.published = writer.published
    return result


async def _refusal(
    stage: Stage[Any, Any], adapter: Adapter | None, topic: str, item: Item
) -> Refusal | None:
    if adapter is None:
        return refusal_of(stage, item)
    headers = {name: content for name, content in item.headers if content is not None}
    try:
        adapted = await adapter.read(InputRecord(topic, item.key, item.value, headers, now()))
    except InvalidEvent as invalid:
        return Refusal(item.place, invalid.reason.value, invalid.detail)
    if isinstance(adapted, PassedOver):
        return None
    return refusal_of(
        stage, replace(item, value=adapted.value, headers=tuple(adapted.headers.items()))
    )


def refusal_of(stage: Stage[Any, Any], item: Item) -> Refusal | None:
    """Why the stage would make a dead letter of an event; None where it takes it."""
    headers = {name: content for name, content in item.headers if content is not None}
    try:
        of_stage(stage.name, stage.parse, item.value, key=item.key, headers=headers)
    except InvalidEvent as invalid:
        return Refusal(item.place, invalid.reason.value, invalid.detail)
    return None


def read_items(paths: Sequence[Path], *, key_field: str = "id") -> Iterator[Item]:
    """Find the events of files, folders (with what is below them) and standard input (`-`).

    `.jsonl` holds an event a line and `.json` one event, whose `key_field` becomes the record's
    key; any other file is itself the event's content, with its name as the event's id.
    """
    for path in _files(paths):
        if path == STANDARD_INPUT:
            yield from _of_lines("standard input", sys.stdin.buffer, key_field)
        elif path.suffix.lower() in _LINES:
            with _opened(path) as lines:
                yield from _of_lines(str(path), lines, key_field)
        else:
            yield _of_file(path, key_field)


def count_items(paths: Sequence[Path]) -> int | None:
    """How many events `read_items` will find; None where only reading them says it."""
    total = 0
    for path in _files(paths):
        if path == STANDARD_INPUT:
            return None
        if path.suffix.lower() in _LINES:
            with _opened(path) as lines:
                total += sum(1 for line in lines if line.strip())
        else:
            total += 1
    return total


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Each file that is named, or is below a folder that is, but for hidden ones."""
    for path in paths:
        below = sorted(path.rglob("*")) if path.is_dir() else None
        visible = (each for each in below or () if each.is_file() and each.name[0] != ".")
        yield from [path] if below is None else visible


def _of_lines(place: str, lines: Iterable[bytes], key_field: str) -> Iterator[Item]:
    for number, line in enumerate(lines, start=1):
        if value := line.strip():
            yield Item(f"{place}:{number}", _key(value, key_field), value)


def _of_file(path: Path, key_field: str) -> Item:
    with _opened(path) as file:
        value = file.read()
    if path.suffix.lower() == ".json":
        return Item(str(path), _key(value, key_field), value)
    media_type = sniff(value) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    event_id = os.fsencode(path.stem)
    headers = (("content-type", media_type.encode()), ("event-id", event_id))
    return Item(str(path), event_id, value, headers)


def _key(value: bytes, key_field: str) -> bytes | None:
    try:
        event = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    key = event.get(key_field) if isinstance(event, dict) else None
    return str(key).encode() if isinstance(key, str | int) else None


def _opened(path: Path) -> BinaryIO:
    with usable(path, "read", otherwise="name a file that can."):
        return path.open("rb")
