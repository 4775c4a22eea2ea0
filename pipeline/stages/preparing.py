"""The work of a decoder: a file is checked and made what is sent.

Only decoders import this module, and with it the libraries that parse files: a process that
speaks to Kafka and the API never has them.
"""

from pipeline.errors import Invalid
from pipeline.events import DeadLetterReason
from pipeline.stages.decoding import Job, Prepared, cannot_be_decoded, needs_memory
from pipeline.stages.media import PDF
from pipeline.stages.pdfs import prepare_pdf
from pipeline.stages.pictures import PictureLimits, prepare_image

_WEBP_BYTES_A_PIXEL = 18
"""What libwebp and Pillow hold at once: three canvases and two copies, measured at 16 to 17.7.

WebP is looked at before Pillow opens it, because Pillow takes this memory to read its header.
"""


class DirectDecoder:
    """Decodes in the calling process, without a limit on memory and time: for tests."""

    def decode(self, job: Job) -> Prepared:
        """Decode a file; see `Decoder`."""
        return prepare(job)


def prepare(job: Job, *, memory: int | None = None) -> Prepared:
    """Check a file and make it what is sent.

    Args:
        job: The file.
        memory: Bytes that this process may still take; None where nothing says.

    Raises:
        Invalid: The file breaks a limit or cannot be decoded.
    """
    try:
        if job.media_type == PDF:
            return (prepare_pdf(job.data, job.limits.max_pdf_pages, field=job.field),)
        _check_webp(job, memory)
        limits = PictureLimits(job.limits.max_image_pixels, job.limits.image_long_edge)
        return (prepare_image(job.data, job.media_type, limits, field=job.field),)
    except Invalid:
        raise
    except MemoryError:
        raise needs_memory(job, memory) from None
    except Exception as error:
        # A library met what its authors did not think of. It may quote the file.
        raise cannot_be_decoded(job, type(error).__name__) from error


def _check_webp(job: Job, memory: int | None) -> None:
    pixels = _webp_pixels(job.data)
    if pixels > (most := job.limits.max_image_pixels):
        raise Invalid(DeadLetterReason.TOO_LARGE, f"{job.field}: has more than {most:,} pixels.")
    if memory is not None and pixels * _WEBP_BYTES_A_PIXEL > memory:
        raise needs_memory(job, memory)


def _webp_pixels(data: bytes) -> int:
    """Pixels of the canvas by the header of a WebP file; 0 where it is none that is known."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:  # noqa: PLR2004
        return 0
    match data[12:16]:
        case b"VP8X":
            sides = data[24:27], data[27:30]
            width, height = (1 + int.from_bytes(side, "little") for side in sides)
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            sides = data[26:28], data[28:30]
            width, height = (int.from_bytes(side, "little") & 0x3FFF for side in sides)
        case _:
            return 0
    return width * height
