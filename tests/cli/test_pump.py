import threading
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from pipeline.runtime.process import threaded_iter


async def test_everything_comes_in_order() -> None:
    assert [item async for item in threaded_iter(range(1000))] == list(range(1000))


async def test_what_the_source_raises_is_raised_after_what_came_before() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    items = threaded_iter(source())
    assert await anext(items) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        await anext(items)


async def test_a_source_is_not_read_far_ahead_and_not_after_the_end() -> None:
    taken = []
    ended = threading.Event()

    def source() -> Iterator[int]:
        try:
            for number in range(10_000):
                taken.append(number)
                yield number
        finally:
            ended.set()

    async with aclosing(threaded_iter(source())) as items:
        assert await anext(items) == 0
    assert ended.wait(5)
    assert len(taken) < 200
