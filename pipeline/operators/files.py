"""Files that a person names: one that cannot be used ends the command with a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.model.errors import UsageError


@contextmanager
def usable(file: Path | str, how: str, *, otherwise: str) -> Iterator[None]:
    """Raise `UsageError` where a file cannot be used, e.g. `how="read"`, and what to do then."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{file} cannot be {how} ({error.strerror}): {otherwise}") from error
