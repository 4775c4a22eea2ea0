"""Records as they come in, and what a format makes of them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from pipeline.inputs.records import Document, Format, InputRecord
from pipeline.model.errors import InvalidEvent

RECORD = InputRecord(
    topic="in",
    key=None,
    value=b"",
    headers={},
    timestamp=datetime(2026, 11, 30, 9, 30, tzinfo=UTC),
    partition=2,
    offset=7,
)


def record(
    value: Any,  # noqa: ANN401 - JSON, or bytes
    key: bytes | None = None,
    headers: Mapping[str, bytes] | None = None,
) -> InputRecord:
    content = value if isinstance(value, bytes | None) else orjson.dumps(value)
    return replace(RECORD, value=content, key=key, headers=headers or {})


async def read(format_: Format, each: InputRecord) -> Document:
    document = await format_.read(each)
    assert document is not None
    return document


async def refused(format_: Format, each: InputRecord) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        await format_.read(each)
    assert caught.value.detail.endswith(".")
    return caught.value
