import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest
import structlog
from pydantic import BaseModel, ValidationError

from pipeline.config import LogSettings
from pipeline.model.errors import PipelineError
from pipeline.observe.logging import EVENT, EventContext, configure_logging

PAYLOAD = "my card 4111 was charged twice"
KEY = "sk-ant-api03-abcdef"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def lines(stream: io.StringIO) -> Callable[[], list[dict[str, object]]]:
    configure_logging(LogSettings(level="debug", format="json"), stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_level_time_and_names(
    lines: Callable[[], list[dict[str, object]]],
) -> None:
    structlog.get_logger("pipeline.test").info("committed", stage="tickets", records=3)
    line = lines()[0]
    assert line["event"] == "committed"
    assert line["stage"] == "tickets"
    assert line["records"] == 3
    assert line["level"] == "info"
    assert line["logger"] == "pipeline.test"
    assert str(line["timestamp"]).endswith("Z")


def test_the_standard_librarys_loggers_write_the_same_way(
    lines: Callable[[], list[dict[str, object]]],
) -> None:
    logging.getLogger("aiokafka").warning("Heartbeat failed for %s", "pipeline.tickets")
    assert lines()[0]["event"] == "Heartbeat failed for pipeline.tickets"


def test_libraries_that_log_payloads_are_kept_above_debug(
    lines: Callable[[], list[dict[str, object]]],
) -> None:
    for name in ("anthropic", "anthropic._base_client", "aiokafka.conn", "httpx2"):
        logging.getLogger(name).debug("Request options: %s", PAYLOAD)
    assert lines() == []


def test_the_level_holds(stream: io.StringIO) -> None:
    configure_logging(LogSettings(level="warning", format="json"), stream)
    structlog.get_logger("pipeline.test").info("committed")
    logging.getLogger("other").info("committed")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("name", ["api_key", "Authorization", "sasl_password", "auth_token"])
def test_what_is_named_like_a_secret_is_hidden(
    lines: Callable[[], list[dict[str, object]]], name: str
) -> None:
    structlog.get_logger("pipeline.test").info("connected", **{name: "hunter2"})
    assert lines()[0][name] == "***"


def test_keys_inside_a_text_are_hidden(lines: Callable[[], list[dict[str, object]]]) -> None:
    logging.getLogger("other").error("401 for key %s", KEY)
    structlog.get_logger("pipeline.test").error("rejected", detail=f"Bearer {KEY}")
    assert KEY not in json.dumps(lines())


def test_an_exception_is_its_type_and_frames_without_what_it_quotes(
    lines: Callable[[], list[dict[str, object]]],
) -> None:
    by_amount: dict[str, int] = {}
    try:
        by_amount[PAYLOAD]
    except KeyError:
        structlog.get_logger("pipeline.test").exception("failed")
    text = str(lines()[0]["exception"])
    assert "KeyError" in text
    assert "test_logging.py" in text
    assert PAYLOAD not in text


def test_a_validation_error_says_where_but_not_what(
    lines: Callable[[], list[dict[str, object]]],
) -> None:
    class Model(BaseModel):
        amount: int

    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"amount": PAYLOAD})
    structlog.get_logger("pipeline.test").error("failed", exc_info=caught.value)
    text = str(lines()[0]["exception"])
    assert "amount (int_parsing)" in text
    assert PAYLOAD not in text


def test_the_pipelines_own_errors_keep_their_sentence_and_their_cause(
    lines: Callable[[], list[dict[str, object]]],
) -> None:
    error = PipelineError("No broker answers at 127.0.0.1:1.")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    group = ExceptionGroup("tasks", [error])
    structlog.get_logger("pipeline.test").error("failed", exc_info=group)
    text = str(lines()[0]["exception"])
    assert "No broker answers at 127.0.0.1:1." in text
    assert "ConnectionRefusedError" in text


def test_lines_about_an_event_carry_its_id_and_trace(
    lines: Callable[[], list[dict[str, object]]],
) -> None:
    log = structlog.get_logger("pipeline.test")
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    headers = (("traceparent", f"00-{trace_id}-b7ad6b7169203331-01".encode()),)
    context = EventContext(headers)
    before = EVENT.set(context)
    log.debug("unread")
    context.event_id = "T-1"
    log.debug("handled")
    EVENT.set(EventContext([("traceparent", b"not one")], event_id="T-2"))
    log.debug("handled")
    EVENT.set(EventContext(headers, "of the trace that begins here"))
    log.debug("traced")
    EVENT.reset(before)
    log.debug("idle")
    unread, first, second, traced, last = lines()
    assert "event_id" not in unread
    assert traced["trace_id"] == "of the trace that begins here"
    assert (first["event_id"], first["trace_id"]) == ("T-1", trace_id)
    assert second["event_id"] == "T-2"
    assert "trace_id" not in second
    assert "event_id" not in last


def test_the_console_format_is_one_readable_line(stream: io.StringIO) -> None:
    configure_logging(LogSettings(format="console"), stream)
    structlog.get_logger("pipeline.test").info("committed", stage="tickets")
    assert "committed" in stream.getvalue()
    assert "stage=tickets" in stream.getvalue()


def test_nothing_from_outside_commands_the_terminal_or_makes_a_line_of_its_own() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(format="console"), stream)
    evil = "\x1b]0;owned\x07\x9b31m\u202e\r\n2026-11-22 forged line\u2028"
    structlog.get_logger("pipeline.x").warning(evil, because=evil, listed=[evil])
    logging.getLogger("another.library").warning("%s", evil)
    structlog.get_logger("pipeline.x").error("failed", exc_info=PipelineError(evil))
    logged = stream.getvalue()
    assert all(char.isprintable() or char == "\n" for char in logged)
    assert not any(line.startswith("2026-11-22 forged") for line in logged.splitlines())
    assert r"\u001b]0;owned" in logged
