"""The process that decoders are forked from, and what a decoder does.

`python -m pipeline.stages.files.decoder_server DESCRIPTOR SECONDS BYTES` imports the libraries that
parse files, which no process that speaks to Kafka and the API has, and forks a decoder for each
socket that it is sent. It has one thread, no connection and none of the parent's environment, so a
fork is safe, cheap (3 to 10 ms instead of 0.5 s; 1 to 2 MiB of its own) and holds no secrets.

A decoder limits itself before it reads a byte of a file, and the kernel enforces it: RLIMIT_AS for
the address space, an interval timer whose signal ends it for the time. It ends with its parent.
"""

import contextlib
import ctypes
import gc
import os
import resource
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import cast

from PIL import Image as Pillow

from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import Pdf, Text
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.decoding import (
    READY,
    TEXT_LAYER,
    Channel,
    Job,
    Prepared,
    cannot_be_decoded,
)
from pipeline.stages.files.media import TEXT_TYPES, PictureType, TextType
from pipeline.stages.files.office import document_text
from pipeline.stages.files.pages import cut_pdf, draw_page, name_of, show_pages, text_layer
from pipeline.stages.files.pdfs import prepare_pdf
from pipeline.stages.files.pictures import (
    PictureFile,
    PictureLimits,
    claimed_size,
    prepare_image,
    reads_heic,
)
from pipeline.stages.files.tiffs import prepare_tiff

_WEBP_BYTES_A_PIXEL = 18
"""What libwebp and Pillow hold at once: three canvases and two copies, measured at 16 to 17.7.

WebP is looked at before Pillow opens it, because Pillow takes this memory to read its header.
"""
_EXTRAS = ("openpyxl", "striprtf.striprtf", "pypdfium2")
"""Shared by all decoders where they are installed, instead of imported by each."""
_PR_SET_PDEATHSIG = 1
_SPENT_SHARE = 4
"""A decoder is replaced once a quarter of its memory stays mapped after a job."""


def main(descriptor: int, seconds: float, memory: int) -> None:
    """Fork decoders until the socket closes; a job has `seconds`, a decoder `memory` in bytes."""
    # A terminal and a supervisor signal whole groups. The parent decides when this ends: it may
    # still have files to decode, and its end closes the socket.
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that the kernel forgets ended decoders
    Pillow.init()
    reads_heic()
    for extra in _EXTRAS:
        with contextlib.suppress(ImportError):
            import_module(extra)
    gc.collect()
    gc.freeze()  # what is shared stays shared
    with socket.socket(fileno=descriptor) as control:
        while True:
            _, ends, _, _ = socket.recv_fds(control, 1, 1)
            if not ends:
                return
            try:
                is_decoder = _fork()
            except OSError:
                # No process or memory for it: the parent reads that no decoder is ready.
                is_decoder = False
            if is_decoder:
                control.close()
                _decode(socket.socket(fileno=ends[0]), seconds, memory)
                os._exit(0)
            os.close(ends[0])


def _fork() -> bool:
    """Whether this is the child, which gets a signal when its parent ends."""
    parent = os.getpid()
    if os.fork():
        return False
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    return True


def _decode(end: socket.socket, seconds: float, memory: int) -> None:
    """Decode until the other side closes, or a job leaves this process too large."""
    at_start = _mapped()
    _confine(at_start, memory)
    end.sendall(READY)
    channel, is_last = Channel(end), False
    with contextlib.suppress(OSError, EOFError):  # the parent gave up
        while not is_last and (job := channel.receive_job()) is not None:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            reply: Prepared | InvalidEvent
            try:
                reply = prepare(job, memory=memory)
            except InvalidEvent as refusal:
                reply = refusal
                is_last = refusal.reason is DeadLetterReason.TOO_LARGE
            signal.setitimer(signal.ITIMER_REAL, 0)
            is_last = is_last or _mapped() - at_start > memory // _SPENT_SHARE
            channel.send_reply(job, reply, is_last=is_last)
            del job, reply


def _confine(at_start: int, memory: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):  # libraries print what they think of a file
        os.dup2(nowhere, standard)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold the file
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        # What the interpreter and the libraries map at start is no file's doing. Elsewhere the
        # kernel does not enforce this limit.
        resource.setrlimit(resource.RLIMIT_AS, (at_start + memory, at_start + memory))
        # Where memory runs out all the same, this ends before the process that it works for.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _mapped() -> int:
    """Bytes of address space; 0 where the kernel does not say."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()


def prepare(job: Job, *, memory: int | None = None) -> Prepared:
    """Check a file and make it what is sent; an InvalidEvent says what limit it breaks.

    `memory` is how many bytes this process may still take; None where nothing limits it.
    """
    try:
        if job.purpose == "send":
            return _prepared(job, memory)
        if job.purpose == "view":
            page = job.pages[0][0]
            return draw_page(_prepared(job, memory), page, job.limits.image_long_edge, job.field)
        return _of_pages(job, _prepared(job, memory))
    except InvalidEvent:
        raise
    except MemoryError:
        raise _needs_memory(job, memory) from None
    except Exception as error:
        # A library met what its authors did not think of. It may quote the file.
        raise cannot_be_decoded(job, type(error).__name__) from error


def _prepared(job: Job, memory: int | None) -> Prepared:
    limits = PictureLimits(
        job.limits.max_image_pixels, job.limits.image_long_edge, job.limits.image_tokens
    )
    max_pages, field = job.limits.max_pdf_pages, job.field
    match job.media_type:
        case "application/pdf":
            pdf = prepare_pdf(job.data, max_pages, field=field, attached=job.attached)
            text = text_layer(pdf.data) if pdf.attached else ""
            return (pdf, Text(TEXT_LAYER, text)) if text else (pdf,)
        case "image/tiff":
            return prepare_tiff(job.data, limits, max_pages, field=field)
        case "image/webp":
            _check_webp(job, memory)
    if job.media_type in TEXT_TYPES:
        text_type = cast("TextType", job.media_type)
        return (document_text(job.data, text_type, job.limits.max_text_chars, field=field),)
    return prepare_image(job.data, cast("PictureType", job.media_type), limits, field=field)


def _of_pages(job: Job, prepared: Prepared) -> Prepared:
    """The pages of the file, or the files of some of them; what is no PDF is one page."""
    pdf = prepared[0]
    if not isinstance(pdf, Pdf):
        return (Text(name_of(1), ""),)
    return tuple(cut_pdf(pdf.data, job.pages)) if job.purpose == "cut" else show_pages(pdf.data)


def _check_webp(job: Job, memory: int | None) -> None:
    width, height = claimed_size(PictureFile("image/webp", job.data))
    if memory is not None and width * height * _WEBP_BYTES_A_PIXEL > memory:
        raise _needs_memory(job, memory)


def _needs_memory(job: Job, memory: int | None) -> InvalidEvent:
    limit = "there is" if memory is None else f"files.decode_memory_mib, {memory >> 20} MiB"
    return InvalidEvent(
        DeadLetterReason.TOO_LARGE, f"{job.field}: decoding it takes more memory than {limit}."
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
