"""What a writer counts as published, with a producer that answers as a test wants."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pipeline.config import KafkaSettings
from pipeline.kafka import writer
from pipeline.kafka.writer import WriteFailed, Writer
from pipeline.stream.records import Outgoing

RECORD = Outgoing("topic", b"key", b"value", ())

Answer = Callable[["asyncio.Future[object]"], object]


class Producer:
    """Answers every record in one way."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def send(self, *record: object, headers: object) -> "asyncio.Future[object]":
        confirmed: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._answer(confirmed)
        return confirmed


class AnyTopic:
    """Every topic exists."""

    def __init__(self, admin: object) -> None:
        pass

    async def require(self, topics: object) -> None:
        pass


@pytest.fixture
def answers_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    """Have writers use a producer that answers like that."""

    def use(answer: Answer) -> None:
        @asynccontextmanager
        async def client(*_: object, **__: object) -> AsyncIterator[Any]:
            yield Producer(answer)

        monkeypatch.setattr(writer, "producer_client", client)
        monkeypatch.setattr(writer, "admin_client", client)
        monkeypatch.setattr(writer, "Topics", AnyTopic)

    return use


async def test_a_confirmed_record_is_published(answers_with: Callable[[Answer], None]) -> None:
    answers_with(lambda confirmed: confirmed.set_result(None))
    seen: list[Outgoing] = []
    async with Writer(KafkaSettings(), max_record_bytes=1000, on_published=seen.append) as open_:
        await open_.write(RECORD)
    assert (open_.published, seen) == (1, [RECORD])


@pytest.mark.parametrize(
    "answer",
    [
        lambda confirmed: confirmed.set_exception(AssertionError("of the client's own")),
        lambda confirmed: confirmed.cancel(),
    ],
    ids=["the client's own fault", "given up"],
)
async def test_a_record_that_nobody_confirmed_is_not_published(
    answers_with: Callable[[Answer], None], answer: Answer
) -> None:
    answers_with(answer)
    seen: list[Outgoing] = []
    one = Writer(KafkaSettings(), max_record_bytes=1000, on_published=seen.append)
    with pytest.raises(WriteFailed, match="was not confirmed"):
        async with one:
            await one.write(RECORD)
    assert (one.published, seen) == (0, [])
