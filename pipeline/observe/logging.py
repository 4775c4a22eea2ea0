"""The log: structured, on standard error, without payloads and without secrets.

An event shows up in it only at debug level, as its id and its trace id, never as its content.
"""

import logging
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TextIO

import structlog
from pydantic import ValidationError

from pipeline.config import LogSettings
from pipeline.model.errors import PipelineError
from pipeline.model.printable import printable

# Below warning these write whole requests and records.
_TALKATIVE = ("aiohttp", "aiokafka", "anthropic", "asyncio", "httpcore2", "httpx2")

# These warn of faults of an event's file, which becomes a dead letter with the reason in it.
_EVENTS_FAULTS = ("PIL", "pypdf")
_SECRET_NAME = re.compile(r"api_?key|authorization|password|secret|token$", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"sk-ant-[\w-]+|(?<=Bearer )\S+", re.IGNORECASE)
_HIDDEN = "***"
_TRACE_ID = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
Event = MutableMapping[str, Any]


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Set up structlog and standard logging alike, to one format and stream (standard error)."""
    stream = stream or sys.stderr
    console = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_event,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        plain_exception,
        hide_secrets,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    # JSON escapes by itself what a terminal would obey.
    renderers: list[structlog.typing.Processor] = (
        [
            printable_values,
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
        if console
        else [structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in _EVENTS_FAULTS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


@dataclass(slots=True)
class EventContext:
    """The event at hand, for the lines that are logged about it; its id once that is known."""

    headers: Iterable[tuple[str, bytes | None]]
    trace_id: str | None = None
    event_id: str | None = None


EVENT: ContextVar[EventContext | None] = ContextVar("event", default=None)
"""While it is set, everything that is logged carries the event's ids: that costs only then."""


def add_event(_: object, __: str, event: Event) -> Event:
    context = EVENT.get()
    if context is not None:
        trace_id = context.trace_id or _publishers_trace(context.headers)
        for name, value in (("event_id", context.event_id), ("trace_id", trace_id)):
            if value is not None:
                event.setdefault(name, value)
    return event


def _publishers_trace(headers: Iterable[tuple[str, bytes | None]]) -> str | None:
    for name, value in headers:
        if name == "traceparent" and (trace := _TRACE_ID.fullmatch(value or b"")):
            return trace[1].decode()
    return None


def hide_secrets(_: object, __: str, event: Event) -> Event:
    """Mask what is named like a secret, and keys that slipped into a text."""
    for name, value in event.items():
        if _SECRET_NAME.search(name):
            event[name] = _HIDDEN
        elif isinstance(value, str):
            event[name] = _SECRET_VALUE.sub(_HIDDEN, value)
    return event


def printable_values(_: object, __: str, event: Event) -> Event:
    """Escape in every text what a terminal would take as a command, or a reader as another line."""
    for name, value in list(event.items()):
        if isinstance(value, str):
            # An exception has lines of its own; those of its messages are escaped before.
            event[name] = printable(value, keep="\n" if name == "exception" else "")
        if not name.isprintable():
            event[printable(name)] = event.pop(name)
    return event


def plain_exception(_: object, __: str, event: Event) -> Event:
    """Write an exception as its type and its frames.

    Messages of foreign exceptions may quote a payload, so only those of the pipeline's own errors,
    which never do, are kept; a validation error keeps what failed where.
    """
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = "\n".join(_describe(error))
    return event


def _describe(error: BaseException) -> Iterator[str]:
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _describe(cause)
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
    yield f"{type(error).__qualname__}{_message(error)}"
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _describe(each)


def _message(error: BaseException) -> str:
    match error:
        case ValidationError():
            faults = error.errors(include_input=False, include_url=False, include_context=False)
            places = (".".join(map(str, fault["loc"])) + f" ({fault['type']})" for fault in faults)
            return f": {', '.join(places)}"
        case PipelineError() | OSError():
            return f": {printable(str(error))}"
        case _:
            return ""
