"""What the log says of an event, and when."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from pipeline.cascade.processor import Handling
from pipeline.config import LogSettings
from pipeline.observe.logging import EVENT, configure_logging
from pipeline.stream.records import Disposition, Outcome, Received
from tests.cascade.stand_ins import received

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield io.StringIO()
    root.handlers[:], root.level = before
    structlog.reset_defaults()


async def handle_one(level: str, stream: io.StringIO) -> list[dict[str, object]]:
    configure_logging(LogSettings.model_validate({"level": level, "format": "json"}), stream)

    async def handler(_: Received) -> Outcome:
        context = EVENT.get()
        assert context is not None
        context.event_id = "N-1"
        return Outcome(Disposition.REVIEW, ())

    headers = (("traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode()),)
    await Handling("notes", handler)(received({"text": "Ada Lovelace"}, headers=headers))
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_an_event_has_one_line_at_debug_level_with_its_id_and_trace(
    stream: io.StringIO,
) -> None:
    (line,) = await handle_one("debug", stream)
    assert (line["event"], line["level"]) == ("event_handled", "debug")
    assert (line["event_id"], line["trace_id"]) == ("N-1", TRACE)
    assert (line["stage"], line["end"], line["offset"]) == ("notes", "review", 42)
    assert "Ada" not in stream.getvalue()
    assert "customer-7" not in stream.getvalue()


async def test_above_debug_level_an_event_has_no_line(stream: io.StringIO) -> None:
    assert await handle_one("info", stream) == []
