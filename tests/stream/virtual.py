"""Tests in virtual time."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

from pipeline.testing import run_in_virtual_time

Params = ParamSpec("Params")


def virtual_time(test: Callable[Params, Coroutine[Any, Any, None]]) -> Callable[Params, None]:
    """Run an async test to its end without waiting for anything."""

    @wraps(test)
    def run(*args: Params.args, **kwargs: Params.kwargs) -> None:
        run_in_virtual_time(test(*args, **kwargs))

    return run
