"""What is in a file is whole after its process was killed while it wrote."""

import asyncio
import os
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from pipeline.claude.response_cache import CACHE_SCHEMA, DiskCache
from pipeline.runtime.database import Database

MOST = 300
WRITER = """
import asyncio, sys, time
from pathlib import Path
from pipeline.claude.response_cache import CACHE_SCHEMA, CachedAnswer, DiskCache
from pipeline.runtime.database import Database

async def main(folder):
    async with Database(folder / "answers.sqlite3", CACHE_SCHEMA, setting="a") as database:
        file = DiskCache(database, most=MOST, ttl=3600)
        for number in range(1_000_000):
            for part in range(20):
                key = b"%d" % (20 * number + part)
                file.put(key, CachedAnswer(b'{"n":%d}' % number, "m", time.time()))
            await file.save(time.time())
            print(number, flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


async def killed_while_writing(folder: Path) -> int:
    """Have a process write, kill it after a while, and return the last round that it finished."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        WRITER.replace("MOST", str(MOST)),
        str(folder),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        for _ in range(25):
            received = await process.stdout.readline()
        process.kill()
        received = (await process.stdout.read()) or received
        await process.wait()
    return int(received.split()[-1])


async def test_a_kill_in_the_middle_of_writing_leaves_a_file_that_holds_what_was_saved(
    tmp_path: Path,
) -> None:
    last = await killed_while_writing(tmp_path)

    with sqlite3.connect(tmp_path / "answers.sqlite3") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    async with Database(tmp_path / "answers.sqlite3", CACHE_SCHEMA, setting="a") as database:
        kept = DiskCache(database, most=MOST, ttl=3600)
        found = await kept.get(b"%d" % (20 * last), time.time())
        assert found is not None
        assert found.json == b'{"n":%d}' % last
        number = await database.run(lambda c: c.execute("SELECT count(*) FROM answers").fetchone())
        assert number == (MOST,)


def modes_in(folder: Path) -> dict[str, int]:
    return {each.name: each.stat().st_mode & 0o777 for each in folder.iterdir()}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
async def test_a_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "answers.sqlite3"
    before = os.umask(umask)
    try:
        async with Database(path, CACHE_SCHEMA, setting="a") as database:
            await database.run(lambda c: c.execute("DELETE FROM answers"))
            modes = modes_in(tmp_path)
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(
        ("answers.sqlite3", "answers.sqlite3-wal", "answers.sqlite3-shm"), 0o600
    )


async def test_a_file_that_was_open_to_others_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite3"
    path.touch(mode=0o644)
    async with Database(path, CACHE_SCHEMA, setting="a"):
        assert path.stat().st_mode & 0o777 == 0o600
