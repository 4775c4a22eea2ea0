"""Estimates of what a prompt and an answer count.

The tokenizer is not public. Text is counted at 2.5 bytes a token, which the model pages give
as a rule of thumb for the models of 2026 (1M tokens are about 2.5M characters of English);
images as documented. The overheads of messages, schemas and PDF pages are not published:
those here are plausible, not measured.
"""

import math

from pipeline.local.simulated.models import Model

BYTES_PER_TOKEN = 2.5
MESSAGE_OVERHEAD = 4
SCHEMA_OVERHEAD = 60
TOOLS_OVERHEAD = {False: 286, True: 406}
"""Documented for Haiku 5.5: without and with a forced tool."""
PDF_PAGE_TOKENS = 1500
"""A page is read as an image beside its text."""
_PATCH = 28


def text_tokens(text: str) -> int:
    """Tokens of a text."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return math.ceil(size / BYTES_PER_TOKEN)


def text_within(text: str, tokens: int) -> str:
    """The longest beginning of a text that does not count more than `tokens`."""
    size = math.floor(tokens * BYTES_PER_TOKEN)
    return text.encode("utf-8", "surrogatepass")[:size].decode("utf-8", "ignore")


def image_tokens(width: int, height: int, model: Model) -> int:
    """Tokens of an image, after the scaling that the model applies."""
    scale = min(1.0, model.image_edge / max(width, height))
    patches = math.ceil(width * scale / _PATCH) * math.ceil(height * scale / _PATCH)
    return max(1, min(patches, model.image_tokens))


def pdf_tokens(text: str, pages: int) -> int:
    """Tokens of a PDF file: its text and a picture of each page."""
    return text_tokens(text) + pages * PDF_PAGE_TOKENS
