"""The corpus fed through the stages' own code, and what came of it."""

import io
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pypdf import PdfReader

from pipeline.config import ImageSettings
from pipeline.model.errors import InvalidEvent
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.raw_events import FileEvent, Files, RawFile
from tests.corpus.made import Made


@dataclass(slots=True)
class Findings:
    """What came of the files.

    Args:
        fed: How many files, by the program that made them.
        refused: Why a file was refused, or counted wrongly, by its name.
    """

    fed: Counter[str] = field(default_factory=Counter)
    refused: dict[str, str] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "files": self.fed.total(),
            "refused": len(self.refused),
            "by_program": dict(sorted(self.fed.items())),
        }


def fault_of(made: Made) -> str | None:
    """What is wrong with what the stages make of a file that viewers open; None if nothing is."""
    event = FileEvent(id=made.name, file=RawFile(media_type=made.declared, data=made.data))
    if not made.name.endswith(".pdf"):
        return _refusal(event, most_pages=1)
    pages = made.pages or len(PdfReader(io.BytesIO(made.data)).pages)
    if refusal := _refusal(event, most_pages=pages):
        return refusal
    # How many pages were found shows in what a lower limit makes of it.
    if pages > 1 and _refusal(event, most_pages=pages - 1) is None:
        return f"fewer than its {pages} pages were found"
    return None


def _refusal(event: FileEvent, *, most_pages: int) -> str | None:
    try:
        _files(most_pages).open(event)
    except InvalidEvent as invalid:
        if invalid.reason is DeadLetterReason.TOO_LARGE:
            return f"{invalid.detail} (of {most_pages} pages at most)"
        return f"{invalid.reason}: {invalid.detail}"
    return None


@lru_cache
def _files(most_pages: int) -> Files:
    return Files(ImageSettings(max_pdf_pages=most_pages))
