"""Platforms that run for a test, and an environment in which their credentials are found."""

import functools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
from anthropic.lib.aws import _auth

from tests.platforms.clients import client_of
from tests.platforms.running import UNSET, Running, running


class Start(Protocol):
    """Runs a platform until the test ends: see `running`."""

    def __call__(self, name: str, **options: Any) -> Awaitable[Running]: ...  # noqa: ANN401


_shared_context = functools.cache(ssl.create_default_context)
"""Nothing here speaks TLS, and reading the certificates for each client takes most of the time."""


@pytest.fixture
async def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    monkeypatch.setattr(ssl, "create_default_context", _shared_context)
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    # The SDK keeps AWS's credentials for the process, and so those of another test.
    sessions: Any = _auth._get_session
    sessions.cache_clear()
    async with AsyncExitStack() as stack:

        async def begin(name: str, **options: Any) -> Running:  # noqa: ANN401
            platform = await stack.enter_async_context(running(name, tmp_path, **options))
            for variable, value in platform.environment.items():
                monkeypatch.setenv(variable, value)
            return platform

        yield begin


@pytest.fixture
async def client() -> AsyncIterator[Callable[..., Any]]:
    """Makes the SDK's clients, and closes them."""
    async with AsyncExitStack() as stack:

        def made(platform: Running, **options: Any) -> Any:  # noqa: ANN401
            new = client_of(platform, **options)
            stack.push_async_callback(new.close)
            return new

        yield made
