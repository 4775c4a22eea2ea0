"""The boundary around the work on one event: a stage's code, which may be anybody's, and ours."""

import traceback
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import structlog

from pipeline.model.errors import InvalidEvent, Unavailable
from pipeline.model.records import DeadLetterReason

P = ParamSpec("P")
T = TypeVar("T")
log = structlog.get_logger(__name__)


def of_stage(stage: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what works on one event; whatever goes wrong in it costs that event, not the process.

    A poison event that ended the process would end it again after each restart. A fault that meets
    every event is caught by the limit on dead letters, which stops intake.

    That holds for more than `Exception`: a panic of a library in Rust is a `BaseException`, a
    library that parses may call `sys.exit()`, and nothing that is called here can be cancelled,
    as it never awaits. Only `KeyboardInterrupt` is a person's, who wants the process to end.

    Raises:
        InvalidEvent: As the function raised it, or with the reason `stage_failed`.
        Unavailable: As the function raised it; the event is not at fault.
    """
    try:
        return function(*args, **kwargs)
    except (InvalidEvent, Unavailable, KeyboardInterrupt):
        raise
    except BaseException as bug:
        # The message of the bug may quote the event, so only its type and its place are logged.
        place = traceback.extract_tb(bug.__traceback__)[-1]  # one frame at least: this one
        name = _name_of(function)
        log.error(  # noqa: TRY400
            "stage_failed",
            stage=stage,
            function=name,
            error=type(bug).__name__,
            place=f"{place.filename}:{place.lineno}",
        )
        short = name.rpartition(".")[-1]
        detail = f"The stage's {short}() failed with {type(bug).__name__}; see the log."
        raise InvalidEvent(DeadLetterReason.STAGE_FAILED, detail) from bug


def _name_of(function: Callable[..., object]) -> str:
    """Its qualified name; that of its class where it is an object that can be called."""
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__qualname__", type(function).__qualname__)
