from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.calls import CompletedCall, InFlightCall, ModelRequest
from pipeline.claude.response_cache import CACHE_SCHEMA, CachedAnswer, DiskCache, ResponseCache
from pipeline.config import EndpointSettings
from pipeline.model.observer import Observer
from pipeline.model.questions import Response
from pipeline.model.records import Usage
from pipeline.runtime.database import Database
from tests.claude.questions import Labelled, about

ANSWER = Labelled(label="billing", confidence=0.9, unclear=False)
WRITTEN = ANSWER.model_dump_json().encode()
CACHED = CachedAnswer(b'{"label":"billing"}', "claude-haiku-5-5", 100.0)


class Cache:
    """A cache over a model that always answers, and how often it was asked."""

    def __init__(self, most: int, ttl: float = 60) -> None:
        self.now = datetime(2026, 11, 22, 12, tzinfo=UTC)
        self.calls = 0
        self.cache = ResponseCache(
            call=self.call, observer=Observer(), now=lambda: self.now, most=most, ttl=ttl
        )

    async def call(self, request: ModelRequest, in_flight: InFlightCall) -> CompletedCall:
        self.calls += 1
        response = Response(ANSWER, "claude-haiku-5-5", Usage(calls=1), 0.1)
        return CompletedCall(response, WRITTEN, request)

    async def is_kept(self, body: bytes) -> bool:
        """Ask, and say whether that took no call."""
        before = self.calls
        request: Any = SimpleNamespace(
            body=body,
            question=about("x"),
            limiter=SimpleNamespace(model="claude-haiku-5-5"),
            response=Response,
            endpoint=SimpleNamespace(settings=EndpointSettings(model="claude-haiku-5-5")),
        )
        response = await self.cache.ask(request)
        assert response.answer == ANSWER
        return self.calls == before


async def test_an_answer_is_found_until_it_is_too_old() -> None:
    kept = Cache(most=10)
    assert not await kept.is_kept(b"a")
    kept.now += timedelta(seconds=60)
    assert await kept.is_kept(b"a")
    kept.now += timedelta(seconds=1)
    assert not await kept.is_kept(b"a")
    assert await kept.is_kept(b"a")


async def test_the_least_recently_used_goes_first() -> None:
    kept = Cache(most=2)
    for body, is_known in (b"a", False), (b"b", False), (b"a", True), (b"c", False), (b"a", True):
        assert await kept.is_kept(body) is is_known
    assert not await kept.is_kept(b"b")


@given(st.lists(st.binary(max_size=1), max_size=30), st.integers(0, 5))
async def test_memory_is_bounded_whatever_comes(keys: list[bytes], most: int) -> None:
    kept = Cache(most=most)
    recent: list[bytes] = []
    for key in keys:
        assert await kept.is_kept(key) is (key in recent)
        recent = [*(each for each in recent if each != key), key][-most:] if most else []


def file_at(path: Path) -> Database:
    return Database(path / "answers.sqlite3", CACHE_SCHEMA, setting="claude.state_dir")


async def test_an_answer_on_disk_survives_a_restart(tmp_path: Path) -> None:
    async with file_at(tmp_path) as database:
        before = DiskCache(database, most=10, ttl=60)
        before.put(b"a", CACHED)
        assert await before.get(b"a", 100.0) == CACHED
        await before.save(100.0)
    async with file_at(tmp_path) as database:
        after = DiskCache(database, most=10, ttl=60)
        assert await after.get(b"a", 150.0) == CACHED
        assert await after.get(b"b", 150.0) is None


async def test_answers_on_disk_are_bounded_in_age_and_number(tmp_path: Path) -> None:
    async with file_at(tmp_path) as database:
        kept = DiskCache(database, most=2, ttl=60)
        for number in range(4):
            kept.put(bytes([number]), CachedAnswer(b"{}", "m", 100.0 + number))
        await kept.save(100.0)
        found = [await kept.get(bytes([number]), 100.0) is not None for number in range(4)]
        assert found == [False, False, True, True]
        assert await kept.get(bytes([3]), 163.5) is None
