from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.response_cache import CACHE_SCHEMA, CachedAnswer, DiskCache, MemoryCache
from pipeline.runtime.database import Database

CACHED = CachedAnswer(b'{"label":"billing"}', "claude-haiku-5-5", 100.0)


def test_an_answer_is_found_until_it_is_too_old() -> None:
    kept = MemoryCache(most=10, ttl=60)
    kept.put(b"a", CACHED)
    assert kept.get(b"a", now=160.0) == CACHED
    assert kept.get(b"a", now=161.0) is None
    assert len(kept) == 0


def test_the_least_recently_used_goes_first() -> None:
    kept = MemoryCache(most=2, ttl=60)
    kept.put(b"a", CACHED)
    kept.put(b"b", CACHED)
    kept.get(b"a", 100.0)
    kept.put(b"c", CACHED)
    assert kept.get(b"a", 100.0) is not None
    assert kept.get(b"b", 100.0) is None


@given(st.lists(st.binary(max_size=3), max_size=50), st.integers(0, 5))
def test_memory_is_bounded_whatever_comes(keys: list[bytes], most: int) -> None:
    kept = MemoryCache(most=most, ttl=60)
    for key in keys:
        kept.put(key, CACHED)
        assert len(kept) <= most


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
