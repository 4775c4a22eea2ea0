"""What a person sees of an event's file: pictures that are drawn in the decoders, page by page.

The file's own bytes never leave this process; what a browser gets was made here.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from pipeline.config import FileSettings, StageSettings
from pipeline.model.errors import UsageError
from pipeline.model.questions import Image, Text
from pipeline.operators.review import ReviewItem
from pipeline.operators.selection import Place, place_of
from pipeline.stages.files.raw_events import FileEvent, Files

EDGES = (1000, 1600, 2400)
"""Pixels of the long edge that a picture may have: a phone, a screen, and to look closely."""
_MOST_BYTES = 32 << 20
_TEXT_CHARS = 200_000


@dataclass(frozen=True, slots=True)
class PageView:
    """A picture of one page, and how many there are; or the text of a file that is text."""

    pages: int
    data: bytes = field(default=b"", repr=False)
    media_type: str = ""
    text: str | None = field(default=None, repr=False)


@dataclass(eq=False)
class PageImages:
    """Draws pages, and keeps those that were drawn last.

    Args:
        sections: The settings of stages, whose limits hold for their files.
        most_bytes: Of all that are kept.
    """

    sections: Mapping[str, StageSettings]
    most_bytes: int = _MOST_BYTES
    _kept: OrderedDict[tuple[Place, int, int], PageView] = field(
        default_factory=OrderedDict, init=False
    )
    _files: dict[str, Files] = field(default_factory=dict, init=False)

    async def view(self, item: ReviewItem, page: int, long_edge: int) -> PageView:
        """One page of an item's file.

        Raises:
            UsageError: The item has no file, or it is not drawn so large.
            InvalidEvent: The file cannot be shown.
            Unavailable: Where the file is cannot be reached, or no decoder can be started.
        """
        if long_edge not in EDGES:
            raise UsageError(f"Pages are drawn with {', '.join(map(str, EDGES))} pixels.")
        place = (place_of(item.record), page, long_edge)
        if place in self._kept:
            self._kept.move_to_end(place)
            return self._kept[place]
        event = file_event(item)
        if event is None:
            raise UsageError("This event has no file.")
        files = self._files_of(item.review.stage)
        found = _page_view(await asyncio.to_thread(files.view, event, page, long_edge))
        self._kept[place] = found
        while (
            sum(len(each.data or each.text or "") for each in self._kept.values()) > self.most_bytes
        ):
            self._kept.popitem(last=False)
        return found

    def _files_of(self, stage: str) -> Files:
        if stage not in self._files:
            section = self.sections.get(stage)
            limits = section if isinstance(section, FileSettings) else FileSettings()
            self._files[stage] = Files(limits, takes_xml=True)
        return self._files[stage]


def file_event(item: ReviewItem) -> FileEvent | None:
    """The part of an item's event that is about its file; None where it has none."""
    event = item.review.event
    fields = {name: event[name] for name in ("file", "uri") if event.get(name) is not None}
    try:
        return FileEvent.model_validate({"id": "event", **fields}, strict=False)
    except ValidationError:
        return None


def _page_view(found: bytes | tuple[object, ...]) -> PageView:
    if isinstance(found, bytes):
        return PageView(1, text=found.decode(errors="replace")[:_TEXT_CHARS])
    first, *others = found
    if others and isinstance(first, Text) and isinstance(others[0], Image):
        return PageView(int(first.text), others[0].data, others[0].media_type)
    text = "\n\n".join(part.text for part in found if isinstance(part, Text))
    return PageView(1, text=text[:_TEXT_CHARS])
