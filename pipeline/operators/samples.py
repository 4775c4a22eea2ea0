"""Samples of records: from a file that a person has, or the latest of a topic."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from pipeline.config import KafkaSettings
from pipeline.kafka.reader import read_latest
from pipeline.model.errors import UsageError
from pipeline.model.json_bytes import dumps
from pipeline.model.records import now
from pipeline.operators.files import usable
from pipeline.operators.publish import Item, read_items
from pipeline.stream.records import Received

_LARGEST_FILE = 256 << 20
_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson", ".eml"})


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


def is_file(source: str) -> bool:
    """Whether a file is meant, and not a topic; `UsageError` if it is missing."""
    path = Path(source)
    if path.exists():
        return True
    if "/" in source or path.suffix.lower() in _SUFFIXES:
        raise UsageError(f"There is no file {source}.")
    return False


def sample_of_file(path: Path, topic: str, limit: int) -> Iterator[Sampled]:
    """The first records of a file: of JSON Lines, of a JSON array, or the file is one itself."""
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
    with usable(path, "read", otherwise="name a file that can."):
        if not path.is_file():
            raise UsageError(f"{path} is not a file.")
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
