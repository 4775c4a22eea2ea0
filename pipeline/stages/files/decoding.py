"""What a process asks of those that decode its files, and how it travels between them.

Files are decoded in child processes (`pipeline.stages.files.decoder_pool`): a few bytes can hold
gigabytes and hours of work. This module is what both sides know: the job, the reply, and how both
go through a socket. Nothing that comes from a child is unpickled or evaluated: whoever took over a
decoder could say no more than what a reply can say.
"""

import contextlib
import io
import socket
import struct
from dataclasses import asdict, dataclass
from dataclasses import field as dataclass_field
from typing import Any, Protocol, get_args

import orjson

from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import Image, ImageType, Pdf
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.media import PDF, MediaType

Prepared = tuple[Image | Pdf, ...]
"""What is sent of a file: one part, or several of an image that is cut."""
REPLY_AT_MOST = 128 << 20
"""Bytes of a reply that are taken from a decoder; four times the largest request."""
READY = b"."
"""A decoder's first byte: its limits hold, it waits for a job."""
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class FileLimits:
    """What one stage takes.

    Args:
        max_image_pixels: Of an image.
        image_long_edge: Pixels an image is scaled down to.
        max_pdf_pages: Of a PDF file.
    """

    max_image_pixels: int
    image_long_edge: int
    max_pdf_pages: int


@dataclass(frozen=True, slots=True)
class Job:
    """One file to check and prepare.

    Args:
        data: The file.
        media_type: What its first bytes say it is.
        field: Where the event has it, for error messages.
        limits: Those of the stage.
    """

    data: bytes = dataclass_field(repr=False)
    media_type: MediaType
    field: str
    limits: FileLimits


class Decoder(Protocol):
    """Checks files and makes them what is sent."""

    def decode(self, job: Job) -> Prepared:
        """Decode a file; blocks, so it is called from a thread.

        Raises:
            InvalidEvent: The file breaks a limit or cannot be decoded.
            Unavailable: There is no decoder at present; the file is not at fault.
        """
        ...


def needs_memory(job: Job, memory: int | None) -> InvalidEvent:
    """The file takes more memory than a decoder has."""
    limit = "there is" if memory is None else f"files.decode_memory_mib, {memory >> 20} MiB"
    return InvalidEvent(
        DeadLetterReason.TOO_LARGE, f"{job.field}: decoding it takes more memory than {limit}."
    )


def cannot_be_decoded(job: Job, why: str) -> InvalidEvent:
    """The file is damaged in a way that has no name of its own."""
    is_pdf = job.media_type == PDF
    reason = DeadLetterReason.BAD_PDF if is_pdf else DeadLetterReason.BAD_IMAGE
    return InvalidEvent(reason, f"{job.field}: it cannot be decoded ({why}).")


class Channel:
    """One end of a socket between a process and a decoder: a header in JSON, then bytes."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._reader = end.makefile("rb")

    def close(self) -> None:
        """Close it; the other side reads the end."""
        self._reader.close()
        self._end.close()

    def abort(self) -> None:
        """Have whoever waits for the other side, in any thread, read the end."""
        with contextlib.suppress(OSError):  # it has ended already
            self._end.shutdown(socket.SHUT_RDWR)

    def settimeout(self, seconds: float | None) -> None:
        """Seconds that sending or reading may wait for the other side."""
        self._end.settimeout(seconds)

    def send_job(self, job: Job) -> None:
        """Send a job.

        Raises:
            OSError: The other side is gone.
        """
        header = {
            "media_type": job.media_type,
            "field": job.field,
            "limits": asdict(job.limits),
            "size": len(job.data),
        }
        self._send(header, job.data)

    def receive_job(self) -> Job | None:
        """Wait for a job; None where there will be none."""
        header = self._receive()
        if header is None:
            return None
        data = self._read(header["size"])
        return Job(data, header["media_type"], header["field"], FileLimits(**header["limits"]))

    def send_reply(self, job: Job, reply: Prepared | InvalidEvent, *, is_last: bool) -> None:
        """Send what came of a job; `is_last` where this decoder takes no other."""
        if isinstance(reply, InvalidEvent):
            refusal = {"reason": reply.reason, "detail": reply.detail}
            self._send({"is_last": is_last, "refused": refusal})
            return
        same = [part.data == job.data for part in reply]
        parts = [
            {
                "media_type": part.media_type if isinstance(part, Image) else PDF,
                "size": None if is_same else len(part.data),
            }
            for part, is_same in zip(reply, same, strict=True)
        ]
        changed = [part.data for part, is_same in zip(reply, same, strict=True) if not is_same]
        self._send({"is_last": is_last, "parts": parts}, *changed)

    def receive_reply(self, job: Job) -> tuple[Prepared | InvalidEvent, bool]:
        """Wait for what came of a job, and whether the decoder takes no other.

        Raises:
            EOFError: The decoder ended.
            OSError: The same, or the time is up (TimeoutError).
            ValueError: What it sent is no reply.
        """
        header = self._receive()
        if header is None:
            raise EOFError
        try:
            refused = header.get("refused")
            if refused is not None:
                reason = DeadLetterReason(refused["reason"])
                return InvalidEvent(reason, str(refused["detail"])), bool(header["is_last"])
            sizes = [part["size"] for part in header["parts"]]
            read = [size for size in sizes if size is not None]
            if not sizes or min(read, default=0) < 0 or sum(read) > REPLY_AT_MOST:
                raise ValueError("a reply of no size that is taken")
            parts = tuple(
                _part(part["media_type"], job.data if size is None else self._read(size))
                for part, size in zip(header["parts"], sizes, strict=True)
            )
            return parts, bool(header["is_last"])
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("not a reply") from error

    def _send(self, header: dict[str, Any], *data: bytes) -> None:
        encoded = orjson.dumps(header)
        self._end.sendall(_LENGTH.pack(len(encoded)) + encoded)
        for chunk in data:
            self._end.sendall(chunk)

    def _receive(self) -> Any:  # noqa: ANN401 - JSON
        length = self._reader.read(_LENGTH.size)
        if len(length) < _LENGTH.size:
            return None
        (size,) = _LENGTH.unpack(length)
        if size > io.DEFAULT_BUFFER_SIZE:
            raise ValueError("a header of no size that is taken")
        return orjson.loads(self._read(size))

    def _read(self, size: int) -> bytes:
        data = self._reader.read(size)
        if len(data) < size:
            raise EOFError
        return data


def _part(media_type: str, data: bytes) -> Image | Pdf:
    if media_type == PDF:
        return Pdf(data)
    for known in get_args(ImageType):
        if media_type == known:
            return Image(known, data)
    raise ValueError("a part of no type that is sent")
