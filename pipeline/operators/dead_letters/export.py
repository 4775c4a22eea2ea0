"""Takes dead letters out of Kafka: as JSON Lines, or as files in a folder."""

from collections.abc import Callable
from pathlib import Path

import orjson

from pipeline.config import Settings
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import UsageError
from pipeline.operators.dead_letters.listing import document_of, letters
from pipeline.operators.dead_letters.record import DeadLetterRecord, Selection
from pipeline.operators.desk import marks_of
from pipeline.operators.handled import HandledIndex
from pipeline.stages.files.media import sniff

Take = Callable[[DeadLetterRecord, HandledIndex], None]
"""Does something with each dead letter that is taken out."""


async def export(
    settings: Settings, read: TopicReader, selection: Selection, take: Take, *, limit: int | None
) -> int:
    """Hand on the dead letters that are meant, those of one partition in order.

    Returns:
        How many there were.

    Raises:
        PipelineError: The brokers cannot be reached, or have no such topic.
    """
    names = TopicNames(settings.topics)
    marks = await marks_of(read, names.dead_letters, names.replayed)
    taken = 0
    async with letters(read, names.dead_letters, selection) as found:
        async for letter in found:
            take(letter, marks)
            taken += 1
            if taken == limit:
                break
    return taken


def as_line(letter: DeadLetterRecord, marks: HandledIndex) -> bytes:
    """A line of JSON: all there is, bytes in base64."""
    return orjson.dumps(document_of(letter, marks))


class Folder:
    """Writes each dead letter as its bare value, and what is known of it beside as JSON.

    Args:
        path: The folder; made where it is missing.

    Raises:
        UsageError: It cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be a folder ({error.strerror}): name another."
            ) from None

    def __call__(self, letter: DeadLetterRecord, marks: HandledIndex) -> None:
        """Write one.

        Raises:
            UsageError: It cannot be written.
        """
        record = letter.record
        # Nothing in the names comes from the record itself.
        stem = f"{record.partition}-{record.offset}"
        about = {k: v for k, v in document_of(letter, marks).items() if k != "value"}
        try:
            (self._path / f"{stem}{_suffix(record.value)}").write_bytes(record.value or b"")
            (self._path / f"{stem}.about.json").write_bytes(
                orjson.dumps(about, option=orjson.OPT_INDENT_2)
            )
        except OSError as error:
            raise UsageError(
                f"{self._path} cannot be written to ({error.strerror}): name another folder."
            ) from None


def _suffix(value: bytes | None) -> str:
    """By what the value is, whatever a header says."""
    found = sniff(value or b"")
    if found is not None:
        return "." + found.rsplit("/", 1)[1]
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return ".bin"
    return ".txt"
