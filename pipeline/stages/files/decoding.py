"""A few child processes that decode the files of all stages of a process.

A few bytes can hold gigabytes and hours of work, so files are decoded in children with limits
(`decoder_server`), by one pool a process. A decoder that breaks its limits ends, and only the file
that it had is refused.

Nothing that comes from a child is unpickled or evaluated: an attacker who took over a decoder could
say no more than what a reply can say. The children import this module too, so the settings are
imported only where a pool is made.
"""

import atexit
import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Any, Literal, get_args

import orjson

from pipeline.model.errors import InvalidEvent, Unavailable
from pipeline.model.questions import HIGH_RESOLUTION, Image, ImageType, Pdf, Text
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.media import PDF, PICTURE_TYPES, MediaType

if TYPE_CHECKING:
    from pipeline.config import DecodingSettings

Prepared = tuple[Image | Pdf | Text, ...]
"""What is sent of a file: one part, or several of an image that is cut."""
Pages = tuple[int, int]
"""The first and the last of some pages, counted from 1."""
REPLY_AT_MOST = 128 << 20
"""Bytes of a reply that are taken from a decoder; four times the largest request."""
READY = b"."
"""A decoder's first byte: its limits hold, it waits for a job."""
_LENGTH = struct.Struct(">I")
_LONGEST_HEADER = 1 << 20
"""Bytes. It names each part of a reply, of which a file of many pages has many."""
_TEXT = "text/plain"
_START_WITHIN = 60.0
"""Seconds for the server to import its libraries on a busy machine."""
_LARGE = 1 << 20
"""Bytes. Larger files leave one decoder to the smaller ones, of which few take more than a second,
whatever they hold: what takes until its limit is large."""
_GRACE = 5.0
"""Seconds after its limit within which a decoder has ended or answered."""
_END_WITHIN = 5.0
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "LANG", "LC_ALL", "TZ")
"""What the server gets of the environment; the rest may be secret."""


@dataclass(frozen=True, slots=True)
class FileLimits:
    """What one stage takes, pixels, pages and characters, and what is sent of an image.

    The latter is pixels of the long edge, and visual tokens.
    """

    max_image_pixels: int
    image_long_edge: int
    max_pdf_pages: int
    image_tokens: int = HIGH_RESOLUTION.tokens
    max_text_chars: int = 200_000


Purpose = Literal["send", "show_pages", "cut", "view"]
TEXT_LAYER = "text layer"
"""The name of the text of a PDF file to which XML is attached."""


@dataclass(frozen=True, slots=True)
class Job:
    """One file to check and prepare; `field` is where the event has it, for error messages.

    If `attached`, the XML files in a PDF file are wanted, too, and where there are some its text:
    it comes as a part of its own.

    It is made what is sent or, for a file of pages, what shows where documents begin in it, or a
    PDF file of each of the `pages`; or a picture of the first of them, for a person to look at.
    """

    data: bytes = dataclass_field(repr=False)
    media_type: MediaType
    field: str
    limits: FileLimits
    purpose: Purpose = "send"
    pages: tuple[Pages, ...] = ()
    attached: bool = False


Decode = Callable[[Job], Prepared]


def cannot_be_decoded(job: Job, why: str) -> InvalidEvent:
    reason = DeadLetterReason.UNSUPPORTED_MEDIA
    if job.media_type == PDF:
        reason = DeadLetterReason.BAD_PDF
    elif job.media_type in PICTURE_TYPES:
        reason = DeadLetterReason.BAD_IMAGE
    return InvalidEvent(reason, f"{job.field}: it cannot be decoded ({why}).")


class Channel:
    """One end of a socket between a process and a decoder: a header in JSON, then bytes."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._reader = end.makefile("rb")
        self.settimeout = end.settimeout

    def close(self) -> None:
        self._reader.close()
        self._end.close()

    def abort(self) -> None:
        """Let any thread that waits for the other side read the end."""
        with contextlib.suppress(OSError):  # it has ended already
            self._end.shutdown(socket.SHUT_RDWR)

    def send_job(self, job: Job) -> None:
        """Send a job; an OSError says that the other side is gone."""
        header = {"media_type": job.media_type, "field": job.field, "size": len(job.data)}
        what = {"purpose": job.purpose, "pages": job.pages, "attached": job.attached}
        self._send({**header, **what, "limits": asdict(job.limits)}, job.data)

    def receive_job(self) -> Job | None:
        header = self._receive()
        if header is None:
            return None
        data, limits = self._read(header["size"]), FileLimits(**header["limits"])
        pages = tuple((first, last) for first, last in header["pages"])
        what = header["purpose"], pages, header["attached"]
        return Job(data, header["media_type"], header["field"], limits, *what)

    def send_reply(self, job: Job, reply: Prepared | InvalidEvent, *, is_last: bool) -> None:
        """Send what came of a job; `is_last` where this decoder takes no other."""
        if isinstance(reply, InvalidEvent):
            refusal = {"reason": reply.reason, "detail": reply.detail}
            self._send({"is_last": is_last, "refused": refusal})
            return
        parts: list[dict[str, Any]] = []
        changed: list[bytes] = []
        for part in reply:
            data = part.text.encode() if isinstance(part, Text) else part.data
            sent = [] if data == job.data and not isinstance(part, Text) else [data]
            attached = part.attached if isinstance(part, Pdf) else ()
            parts.append({**_described(part), "size": len(data) if sent else None})
            changed += (*sent, *attached)
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
            is_last, refused = bool(header["is_last"]), header.get("refused")
            if refused is not None:
                reason = DeadLetterReason(refused["reason"])
                return InvalidEvent(reason, str(refused["detail"])), is_last
            sizes = [part["size"] for part in header["parts"]]
            read = [size for size in sizes if size is not None]
            read += (size for part in header["parts"] for size in part.get("attached", ()))
            if not sizes or min(read, default=0) < 0 or sum(read) > REPLY_AT_MOST:
                raise ValueError("a reply of no size that is taken")
            parts: list[Image | Pdf | Text] = []
            for part, size in zip(header["parts"], sizes, strict=True):
                data = job.data if size is None else self._read(size)
                attached = tuple(self._read(each) for each in part.get("attached", ()))
                parts.append(_part(part, data, attached))
            return tuple(parts), is_last
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
        if size > _LONGEST_HEADER:
            raise ValueError("a header of no size that is taken")
        return orjson.loads(self._read(size))

    def _read(self, size: int) -> bytes:
        data = self._reader.read(size)
        if len(data) < size:
            raise EOFError
        return data


def _described(part: Image | Pdf | Text) -> dict[str, Any]:
    match part:
        case Text(name, _):
            return {"media_type": _TEXT, "name": name}
        case Image(media_type, _, is_animated):
            return {"media_type": media_type, "is_animated": is_animated}
        case Pdf(_, attached):
            return {"media_type": PDF, "attached": [len(each) for each in attached]}


def _part(
    described: dict[str, Any], data: bytes, attached: tuple[bytes, ...]
) -> Image | Pdf | Text:
    media_type = described["media_type"]
    if media_type == _TEXT:
        return Text(str(described["name"]), data.decode())
    if media_type == PDF:
        return Pdf(data, attached)
    if media_type not in get_args(ImageType):
        raise ValueError("a part of no type that is sent")
    return Image(media_type, data, bool(described["is_animated"]))


class DecoderPool:
    """Decodes files in child processes that are limited in memory and time.

    Nothing is started before the first file. `decode()` may be called from any number of threads;
    waiting for a decoder does not count against a file's time.
    """

    def __init__(self, settings: "DecodingSettings") -> None:
        self._settings = settings
        self._turns = threading.BoundedSemaphore(settings.decoders)
        self._large = threading.BoundedSemaphore(max(1, settings.decoders - 1))
        self._lock = threading.Lock()
        self._idle: list[Channel] = []
        self._busy: set[Channel] = set()
        self._server: _Server | None = None
        self._is_closed = False

    def decode(self, job: Job) -> Prepared:
        """Check a file and make it what is sent; blocks until a decoder is free and has answered.

        Raises:
            InvalidEvent: The file breaks a limit, cannot be decoded, or ended two decoders.
            Unavailable: There is no decoder at present; the file is not at fault.
        """
        seconds, mib = self._settings.decode_seconds, self._settings.decode_memory_mib
        with self._large if len(job.data) > _LARGE else contextlib.nullcontext(), self._turns:
            reply = self._attempt(job, self._take())
            if isinstance(reply, float) and reply < seconds:
                # It may have been killed, and not because of the file.
                reply = self._attempt(job, self._start())
            if isinstance(reply, float):
                self._check_open()
        if isinstance(reply, InvalidEvent):
            raise reply
        if not isinstance(reply, float):
            return reply
        if reply >= seconds:
            detail = f"decoding it takes longer than files.decode_seconds, {seconds:g} s."
            raise InvalidEvent(DeadLetterReason.TOO_LARGE, f"{job.field}: {detail}")
        ends = f"it ended its decoder twice, which has {mib} MiB, files.decode_memory_mib"
        raise cannot_be_decoded(job, ends)

    def close(self) -> None:
        """End all decoders; what is being decoded ends as `Unavailable`."""
        with self._lock:
            self._is_closed = True
            server, self._server = self._server, None
            for channel in self._idle:
                channel.close()
            for channel in self._busy:
                channel.abort()
        if server is not None:
            server.close()

    def _attempt(self, job: Job, decoder: Channel) -> Prepared | InvalidEvent | float:
        """The reply, or the seconds after which the decoder ended without one."""
        began, is_last = time.monotonic(), True
        decoder.settimeout(self._settings.decode_seconds + _GRACE)
        try:
            decoder.send_job(job)
            reply, is_last = decoder.receive_reply(job)
        except (OSError, EOFError, ValueError):
            return time.monotonic() - began
        finally:
            with self._lock:
                self._busy.discard(decoder)
                if is_last or self._is_closed:
                    decoder.close()
                else:
                    self._idle.append(decoder)
        return reply

    def _take(self) -> Channel:
        with self._lock:
            self._check_open()
            if self._idle:
                self._busy.add(decoder := self._idle.pop())
                return decoder
        return self._start()

    def _start(self) -> Channel:
        with self._lock:
            self._check_open()
            if self._server is not None and self._server.process.poll() is not None:
                self._server.close()
                self._server = None
            if self._server is None:
                self._server = _Server(self._settings)
            server = self._server
        try:
            decoder = server.fork()
        except OSError as error:
            raise Unavailable(f"No decoder can be started: {error}.", scope="place") from error
        with self._lock:
            if self._is_closed:
                decoder.close()
            self._check_open()
            self._busy.add(decoder)
        return decoder

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("The decoders are closed: the process ends.")


class _Server:
    def __init__(self, settings: "DecodingSettings") -> None:
        self._control, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "pipeline.stages.files.decoder_server"]
        memory = settings.decode_memory_mib << 20
        limits = [str(theirs.fileno()), str(settings.decode_seconds), str(memory)]
        kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        paths = os.pathsep.join(filter(None, sys.path))
        # One arena: what libraries with threads reserve for each would count as mapped. And no
        # threads of numpy, which openpyxl imports where it is there: a fork would lose them.
        one = {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}
        env = {**kept, **one, "PYTHONPATH": paths}
        nothing = subprocess.DEVNULL
        try:
            self.process = subprocess.Popen(  # noqa: S603 - this interpreter, our module
                command + limits, pass_fds=[theirs.fileno()], stdin=nothing, stdout=nothing, env=env
            )
        except OSError as error:
            self._control.close()
            raise Unavailable(f"The decoders cannot be started: {error}.", scope="place") from error
        finally:
            theirs.close()
        atexit.register(self.close)

    def fork(self) -> Channel:
        """A decoder that waits for a job; an OSError says that none could be forked."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [b"."], [theirs.fileno()])
            ours.settimeout(_START_WITHIN)
            if ours.recv(1) != READY:
                raise ConnectionError("the process that starts them ended or has no memory left")
        except OSError:
            ours.close()
            raise
        return Channel(ours)

    def close(self) -> None:
        self._control.close()
        try:
            self.process.wait(_END_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        atexit.unregister(self.close)


class _OfThisProcess:
    """The pool that stages use which were given none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: DecoderPool | None = None

    def decode(self, job: Job) -> Prepared:
        """Decode in the pool that is set, or in one with default settings."""
        from pipeline.config import DecodingSettings  # noqa: PLC0415 - decoders do without

        with self._lock:
            if self._pool is None:
                self._pool = DecoderPool(DecodingSettings())
            pool = self._pool
        return pool.decode(job)

    @contextlib.contextmanager
    def limited(self, settings: "DecodingSettings") -> Iterator[None]:
        """Have the pool of this process made by these settings, and close it at the end."""
        pool = DecoderPool(settings)
        with self._lock:
            before, self._pool = self._pool, pool
        try:
            yield
        finally:
            with self._lock:
                self._pool = before
            pool.close()


decoders_of_this_process = _OfThisProcess()
"""One for all stages, third-party ones too, which are made of nothing but their settings."""
