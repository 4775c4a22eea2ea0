"""What a person sees of an event's file: pictures that are drawn in the decoders, page by page.

The file's own bytes never leave this process; what a browser gets was made here.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from aiohttp import web
from pydantic import JsonValue, ValidationError

from pipeline.config import FileSettings, StageSettings
from pipeline.desk.routes import answer, number, picture
from pipeline.model.errors import InvalidEvent, UsageError
from pipeline.model.questions import Image, Text
from pipeline.stages.files.raw_events import FileEvent, Files

EDGES = (1000, 1600, 2400)
"""Pixels of the long edge that a picture may have: a phone, a screen, and to look closely."""
_MOST_BYTES = 32 << 20
_TEXT_CHARS = 200_000
_UNREADABLE = "This file cannot be shown"


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
    _kept: OrderedDict[tuple[Hashable, int, int], PageView] = field(
        default_factory=OrderedDict, init=False
    )
    _files: dict[str, Files] = field(default_factory=dict, init=False)

    async def view(
        self,
        name: Hashable,
        stage: str,
        event: Mapping[str, JsonValue],
        *,
        page: int,
        long_edge: int,
    ) -> PageView:
        """One page of the file of an event, which has a name of its own.

        Raises:
            UsageError: The event has no file, or it is not drawn so large.
            InvalidEvent: The file cannot be shown.
            Unavailable: Where the file is cannot be reached, or no decoder can be started.
        """
        if long_edge not in EDGES:
            raise UsageError(f"Pages are drawn with {', '.join(map(str, EDGES))} pixels.")
        kept_as = (name, page, long_edge)
        if kept_as in self._kept:
            self._kept.move_to_end(kept_as)
            return self._kept[kept_as]
        file = file_event(event)
        if file is None:
            raise UsageError("This event has no file.")
        files = self._files_of(stage)
        found = _page_view(await asyncio.to_thread(files.view, file, page, long_edge))
        self._kept[kept_as] = found
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

    async def file(
        self, name: Hashable, stage: str, event: Mapping[str, JsonValue], *, long_edge: int
    ) -> web.Response:
        """How many pages the file of an event has, or its text; or why it cannot be shown."""
        try:
            found = await self.view(name, stage, event, page=1, long_edge=long_edge)
        except InvalidEvent as error:
            return answer({"pages": 0, "text": None, "problem": f"{_UNREADABLE}: {error.detail}"})
        return answer({"pages": found.pages, "text": found.text, "problem": None})

    async def page(
        self,
        name: Hashable,
        stage: str,
        event: Mapping[str, JsonValue],
        *,
        page: int,
        long_edge: int,
    ) -> web.Response:
        """The picture of a page."""
        try:
            found = await self.view(name, stage, event, page=page, long_edge=long_edge)
        except InvalidEvent as error:
            raise UsageError(f"{_UNREADABLE}: {error.detail}") from None
        if found.text is not None:
            raise UsageError("This file is shown as text.")
        return picture(found.data, found.media_type)


def edge_of(request: web.Request) -> int:
    """The pixels that a request asks for."""
    return number(request.query.get("edge"), EDGES[1], most=max(EDGES))


def file_event(event: Mapping[str, JsonValue]) -> FileEvent | None:
    """The part of an event that is about its file; None where it has none."""
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
