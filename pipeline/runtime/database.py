"""A small SQLite file, off the event loop; several processes of one machine may share it."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pipeline.model.errors import UsageError

T = TypeVar("T")
_PRIVATE = 0o600
BUSY_SECONDS = 5.0
"""How long to wait for another process that writes."""


class Database:
    """One connection to the file, on a thread of its own; it is created where it does not exist.

    `schema` creates what is missing; `setting` is where the path comes from, for the error's
    sentence.
    """

    def __init__(self, path: Path, schema: str, *, setting: str) -> None:
        self._path = path
        self._schema = schema
        self._setting = setting
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"sqlite-{path.stem}")
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        """Open the file.

        Raises:
            UsageError: It cannot be opened or written.
        """
        loop = asyncio.get_running_loop()
        try:
            self._connection = await loop.run_in_executor(self._thread, self._open)
        except (sqlite3.Error, OSError) as error:
            self._thread.shutdown(wait=False)
            raise UsageError(
                f"{self._path} cannot be used ({error}): "
                f"set {self._setting} to a file that can be written."
            ) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
            self._connection = None
        self._thread.shutdown(wait=False)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with the connection, in one transaction.

        Raises:
            sqlite3.Error: It did not work, and nothing was changed.
        """
        connection = self._connection
        if connection is None:
            raise RuntimeError("the database is not open")

        def in_transaction() -> T:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, in_transaction)

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _keep_private(self._path)
        connection = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # What the last moment before a power failure wrote may be lost, the file never.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(self._schema)
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def _keep_private(path: Path) -> None:
    """Create the file for its owner alone, whatever the umask; SQLite makes those beside it alike.

    One that an earlier version left open to others is closed to them.
    """
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, _PRIVATE))
    for each in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))):
        if each.exists() and each.stat().st_uid == os.geteuid():
            each.chmod(_PRIVATE)
