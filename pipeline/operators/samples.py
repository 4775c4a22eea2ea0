"""Samples of records: from a file that a person has, or the latest of a topic."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import orjson

from pipeline.config import KafkaSettings, Settings
from pipeline.config.inputs import InputFormat
from pipeline.inputs.records import SCHEMA_ID_HEADER
from pipeline.kafka.reader import read_latest
from pipeline.model.errors import UsageError
from pipeline.model.json_bytes import dumps
from pipeline.model.records import now
from pipeline.operators.files import usable
from pipeline.operators.publish import Item, read_items
from pipeline.stages.files.media import HTML, sniff
from pipeline.stream.records import Received

_LARGEST_FILE = 256 << 20
_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson", ".eml"})
_MAIL = re.compile(rb"(?im)\A(?:[\w-]+:[^\n]*\n(?:[ \t][^\n]*\n)*)*?(?:from|subject|received):")
_FRAME_BYTES = 5
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_LOOKED_AT = 4096
SampledFormat = Literal["json", "registry", "email", "text", "file"]


@dataclass(frozen=True, slots=True)
class Sampled:
    """A record, and where it was found: `tickets.jsonl:12`, or `topic 0:17`."""

    place: str
    record: Received = field(repr=False)


async def sample(kafka: KafkaSettings, source: str, topic: str, limit: int) -> list[Sampled]:
    """The first records of a file, or the latest of a topic; `topic` is where a file's belong.

    Raises:
        UsageError: There is no such file, or nothing in it.
        PipelineError: There is no such topic, or the brokers cannot be reached.
    """
    if is_file(source):
        found = await asyncio.to_thread(lambda: list(sample_of_file(Path(source), topic, limit)))
    else:
        records = await read_latest(kafka, [source], limit)
        found = [Sampled(f"{each.topic} {each.partition}:{each.offset}", each) for each in records]
    if not found:
        raise UsageError(f"There are no records in {source}: name another file or topic.")
    return found


def format_of(records: Sequence[Received]) -> SampledFormat | None:
    """The format that most of the records are in, by their first bytes; None where none is known.

    A `file` is a record that is nothing else, which a stage reads as it is.
    """
    found = Counter(map(_format_of, records))
    [(most, count)] = found.most_common(1)
    return most if 2 * count > len(records) else None


def _format_of(record: Received) -> SampledFormat | None:
    value = record.value or b""
    if any(name == SCHEMA_ID_HEADER for name, _ in record.headers):
        return "registry"
    if value.lstrip()[:1] in {b"{", b"["}:
        return "json"
    if value[:1] in {b"\x00", b"\x01"} and len(value) > _FRAME_BYTES:
        return "registry"
    begin = value[:_LOOKED_AT]
    if _MAIL.match(begin.replace(b"\r\n", b"\n")) is not None:
        return "email"
    if begin.startswith(b"<?xml") or sniff(value) not in {None, HTML}:
        return "file"
    return None if _NO_TEXT.search(begin) else "text"


def decoded(settings: Settings, stage: str) -> Settings:
    """The settings for records of a stage as a person has them: decoded, without a registry."""
    is_framed = settings.stages.by_name()[stage].input.format == "registry"
    return in_format(settings, stage, "json") if is_framed else settings


def in_format(settings: Settings, stage: str, name: InputFormat) -> Settings:
    """The settings where the records of a stage are in another format."""
    own = settings.stages.by_name()[stage]
    other = own.model_copy(update={"input": own.input.model_copy(update={"format": name})})
    stages = settings.stages.model_copy(update={stage: other})
    return settings.model_copy(update={"stages": stages})


def is_object(value: bytes | None) -> bool:
    """Whether it begins as an object of JSON does."""
    return (value or b"").lstrip()[:1] == b"{"


def is_file(source: str) -> bool:
    """Whether a file is meant, and not a topic; `UsageError` if it is missing."""
    path = Path(source)
    if path.exists():
        return True
    if "/" in source or path.suffix.lower() in _SUFFIXES:
        raise UsageError(f"There is no file {source}: name another, or a topic.")
    return False


def sample_of_file(path: Path, topic: str, limit: int) -> Iterator[Sampled]:
    """The first records of JSON Lines or a JSON array; else a file, or each of a folder, is one."""
    for at, item in enumerate(_items(path, limit)):
        record = Received(
            topic=topic,
            partition=0,
            offset=at,
            key=item.key,
            value=item.value,
            headers=item.headers,
            timestamp=now(),
            received_at=now(),
        )
        yield Sampled(item.place, record)


def _items(path: Path, limit: int) -> Sequence[Item]:
    if path.is_dir():
        return list(islice(read_items([path]), limit))
    with usable(path, "read", otherwise="name a file that can."):
        if not path.is_file():
            raise UsageError(f"{path} is not a file: name one.")
        if path.stat().st_size > _LARGEST_FILE:
            raise UsageError(f"{path} is larger than a sample needs to be: cut a part out of it.")
        content = path.read_bytes()
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        lines = [(at, line.strip()) for at, line in enumerate(content.splitlines(), 1)]
        lines = [(at, line) for at, line in lines if line]
        if lines and lines[0][1].startswith(b"{"):
            return [Item(f"{path}:{at}", None, line) for at, line in lines[:limit]]
        return list(read_items([path]))[:limit]
    each = document if isinstance(document, list) else [document]
    return [
        Item(f"{path}[{at}]" if isinstance(document, list) else str(path), None, dumps(value))
        for at, value in enumerate(each[:limit])
    ]
