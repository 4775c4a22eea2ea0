"""Prints records as JSON Lines: results by the name of their stage, anything by its topic."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import orjson

from pipeline.config import Settings
from pipeline.kafka.reader import Start, read_topics
from pipeline.kafka.topics import TopicNames
from pipeline.model.printable import printable
from pipeline.stages.api import build_stages
from pipeline.stream.records import Received

Print = Callable[[str], None]
_INDENTED = 1 << 20
"""Bytes of a value up to which it is indented: nested lists become many times longer by it."""


def topic_of(settings: Settings, name: str) -> str:
    """The topic that is meant: of a stage its results, else the topic of that name."""
    names = TopicNames(settings.topics)
    shared = {
        "escalations": names.escalations,
        "review": names.review,
        "dead-letters": names.dead_letters,
    }
    if name in build_stages(settings.stages):
        return names.enriched(name)
    return shared.get(name, name)


async def tail(
    settings: Settings,
    topic: str,
    show: Print,
    *,
    start: Start = "beginning",
    follow: bool = False,
    limit: int | None = None,
    pretty: bool = False,
) -> int:
    """Print the committed records of a topic.

    Args:
        settings: How the brokers are reached.
        topic: What to read.
        show: Gets the text of each record.
        start: Where to begin.
        follow: Go on for ever.
        limit: Records to print at most.
        pretty: Indent.

    Returns:
        How many records were printed.

    Raises:
        PipelineError: The brokers cannot be reached, or have no such topic.
    """
    printed = 0
    if limit == 0:
        return printed
    end: Literal["committed", "never"] = "never" if follow else "committed"
    async with read_topics(settings.kafka, [topic], start=start, end=end) as records:
        async for text in _texts(records, pretty=pretty):
            show(text)
            printed += 1
            if printed == limit:
                break
    return printed


def text_of(record: Received, *, pretty: bool = False) -> str:
    """A record as JSON: its value where that is all there is to it, else with key and headers.

    What a terminal would take as a command is escaped, since the content is anybody's.
    """
    is_json, value = _read(record.value)
    is_dead = any(name.startswith("dlq-") for name, _ in record.headers)
    document = value if is_json and not is_dead else _whole(record, value)
    indent = 2 if pretty and len(record.value or b"") <= _INDENTED else None
    try:
        text = json.dumps(document, ensure_ascii=False, indent=indent)
    except RecursionError:  # what is nested deeper than that is shown as it is
        text = json.dumps(_whole(record, _text(record.value)), ensure_ascii=False, indent=indent)
    return printable(text, keep="\n")


async def _texts(records: AsyncIterator[Received], *, pretty: bool) -> AsyncIterator[str]:
    async for record in records:
        yield text_of(record, pretty=pretty)


def _whole(record: Received, value: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": _text(record.key),
        "headers": {name: _text(content) for name, content in record.headers},
        "value": value,
    }


def _read(content: bytes | None) -> tuple[bool, Any]:
    try:
        return True, orjson.loads(content or b"")
    except orjson.JSONDecodeError:
        return False, _text(content)


def _text(content: bytes | None) -> str | dict[str, str] | None:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}
