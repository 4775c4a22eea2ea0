"""What goes on in the background ends with what it serves, and the other way round."""

import asyncio

import pytest

from pipeline.runtime.process import background_task


async def test_work_is_done_until_it_is_left() -> None:
    begun, given_up = asyncio.Event(), asyncio.Event()
    stop = asyncio.Event()

    async def watch() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    async with background_task(watch(), ended=stop.set):
        await begun.wait()
    assert given_up.is_set()
    assert not stop.is_set()


async def test_work_that_fails_ends_what_relies_on_it_and_its_error_is_raised() -> None:
    stop, drained = asyncio.Event(), asyncio.Event()

    async def watch() -> None:
        raise LookupError("the offsets have another form")

    async def serve() -> None:
        async with background_task(watch(), ended=stop.set):
            await stop.wait()
            drained.set()

    with pytest.raises(LookupError, match="another form"):
        await serve()
    assert drained.is_set()


async def test_work_that_should_not_end_and_does_is_missed_at_once() -> None:
    stop = asyncio.Event()

    async def watch() -> None:
        return

    async with background_task(watch(), ended=stop.set):
        await stop.wait()


async def test_it_is_cancelled_with_what_it_serves() -> None:
    given_up = False

    async def watch() -> None:
        nonlocal given_up
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            given_up = True
            raise

    async def serve() -> None:
        async with background_task(watch(), ended=lambda: None):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await serve()
    assert given_up
