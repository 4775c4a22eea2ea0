from collections.abc import AsyncIterator

import pytest_asyncio

from tests.browser.chromium import Chromium, chromium


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Chromium]:
    """One browser for the tests of a module; each opens tabs of its own."""
    async with chromium() as running:
        yield running
