"""How well a simulated model reads: the difference between Haiku and Sonnet."""

import zlib
from collections.abc import Collection
from dataclasses import dataclass

from pipeline.local.simulated.models import Line


@dataclass(frozen=True, slots=True)
class Skill:
    """What a model makes of the same content.

    Args:
        reads_examples: Whether examples of labels count beside their names and descriptions.
        weighs_requests: Whether sentences that ask for something count more than others.
        overlooks: Share of the content's words that are not seen, the same for the same content.
        nerve: How sure it is of a label at a given margin: the intercept of the logistic.
        trust: Factor on the confidence in what was extracted.
        checks_sums: Whether amounts are checked against each other while reading.
    """

    reads_examples: bool
    weighs_requests: bool
    overlooks: float
    nerve: float
    trust: float
    checks_sums: bool

    def overlooked(self, words: Collection[str]) -> Collection[str]:
        """Those of the words that are not seen."""
        if not self.overlooks:
            return ()
        salt = zlib.crc32(" ".join(words).encode("utf-8", "replace"))
        limit = int(self.overlooks * 256)
        return {
            word
            for word in words
            if zlib.crc32(word.encode("utf-8", "replace"), salt) & 0xFF < limit
        }


HAIKU = Skill(
    reads_examples=False,
    weighs_requests=False,
    overlooks=0.12,
    nerve=2.2,
    trust=0.95,
    checks_sums=False,
)
SONNET = Skill(
    reads_examples=True,
    weighs_requests=True,
    overlooks=0.0,
    nerve=2.55,
    trust=1.0,
    checks_sums=True,
)
SKILLS: dict[Line, Skill] = {"haiku": HAIKU, "sonnet": SONNET, "opus": SONNET}
