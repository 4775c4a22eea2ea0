"""Where fuzzing begins: the project's own samples, sound and broken, and a plain event a stage."""

from pipeline.local.day import items_of, read_manifest, samples_folder
from tests.fuzz.mutation import RawRecord
from tests.stages.raw_events import RAW

_LARGEST = 400_000
"""Bytes of a record to begin with: larger ones make few mutations a second."""


def corpus() -> list[RawRecord]:
    """All of them, in a fixed order."""
    folder = samples_folder()
    records = [RawRecord(stage, value, b"key", ()) for stage, value in RAW.items()]
    records += [
        RawRecord(sample.stage, item.value, item.key, tuple((n, v or b"") for n, v in item.headers))
        for sample in read_manifest(folder)
        for item in items_of(folder, sample)
    ]
    return [record for record in records if len(record.value) <= _LARGEST]
