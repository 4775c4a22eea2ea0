"""The work of a decoder: a file is checked and made what is sent.

Only decoders import this module, and with it the libraries that parse files: a process that
speaks to Kafka and the API never has them.
"""

from pipeline.model.errors import InvalidEvent
from pipeline.stages.files.decoding import Job, Prepared, cannot_be_decoded, needs_memory
from pipeline.stages.files.media import PDF
from pipeline.stages.files.pdfs import prepare_pdf
from pipeline.stages.files.picture_files import PictureFile, claimed_size
from pipeline.stages.files.pictures import PictureLimits, prepare_image

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
        InvalidEvent: The file breaks a limit or cannot be decoded.
    """
    try:
        if job.media_type == PDF:
            return (prepare_pdf(job.data, job.limits.max_pdf_pages, field=job.field),)
        if job.media_type == "image/webp":
            _check_webp(PictureFile(job.media_type, job.data), job, memory)
        limits = PictureLimits(job.limits.max_image_pixels, job.limits.image_long_edge)
        return prepare_image(job.data, job.media_type, limits, field=job.field)
    except InvalidEvent:
        raise
    except MemoryError:
        raise needs_memory(job, memory) from None
    except Exception as error:
        # A library met what its authors did not think of. It may quote the file.
        raise cannot_be_decoded(job, type(error).__name__) from error


def _check_webp(file: PictureFile, job: Job, memory: int | None) -> None:
    width, height = claimed_size(file)
    if memory is not None and width * height * _WEBP_BYTES_A_PIXEL > memory:
        raise needs_memory(job, memory)
