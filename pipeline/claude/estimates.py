"""What a request will take from the limits, learnt from those before it.

A limit is reserved before the call and settled after it, so an estimate need not be exact; a
good one keeps many calls at once from overdrawing it.
"""

from collections.abc import Sequence

from pipeline.claude.limits import Cost
from pipeline.questions import Image, Part, Pdf, Text

TOKENS_PER_BYTE = 0.4
"""Of the 2026 tokenizer, by the model pages: 1M tokens are about 2.5M characters of English."""
IMAGE_BYTES = 4000
"""The text that counts as much as an image scaled to 1568 pixels: about 1,600 tokens."""
PDF_PAGE_BYTES = 50_000
"""Of file, a page, as a rule of thumb."""
PAGE_TEXT_BYTES = 4000
FRAME_BYTES = 200
"""Markers, roles, and what structured output adds."""
FIRST_OUTPUT_TOKENS = 200
LEARNING_RATE = 0.05


def weigh(parts: Sequence[Part]) -> int:
    """The size of a question's content, as bytes of text that count as much."""
    total = FRAME_BYTES
    for part in parts:
        match part:
            case Text(_, text):
                total += len(text)
            case Image():
                total += IMAGE_BYTES
            case Pdf(data):
                total += PAGE_TEXT_BYTES * (1 + len(data) // PDF_PAGE_BYTES)
    return total


class Estimates:
    """What requests of one stage to one model take.

    Args:
        static_bytes: Of the request's static part, which is counted until it is seen cached.
    """

    def __init__(self, static_bytes: int) -> None:
        self._static_bytes = static_bytes
        self._counted_static = static_bytes
        self._tokens_per_byte = TOKENS_PER_BYTE
        self._output_tokens: float = FIRST_OUTPUT_TOKENS
        self._samples = 0

    def cost(self, weight: int, *, max_output_tokens: int) -> Cost:
        """The estimate for a question of that weight."""
        return Cost(
            input_tokens=(weight + self._counted_static) * self._tokens_per_byte,
            output_tokens=min(self._output_tokens, max_output_tokens),
        )

    def learn(self, weight: int, used: Cost, *, cached: bool) -> None:
        """Take an answer into account.

        Args:
            weight: Of the question.
            used: What was counted.
            cached: Whether the static part was read from the prompt cache, and so not counted.
        """
        self._samples += 1
        rate = max(LEARNING_RATE, 1 / self._samples)
        self._counted_static = 0 if cached else self._static_bytes
        seen = used.input_tokens / (weight + self._counted_static)
        self._tokens_per_byte += rate * (seen - self._tokens_per_byte)
        self._output_tokens += rate * (used.output_tokens - self._output_tokens)
