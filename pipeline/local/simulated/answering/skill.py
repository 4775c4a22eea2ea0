"""How well a simulated model reads: the difference between Haiku and Sonnet."""

import hashlib
from collections.abc import Sequence
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

    def heard(self, words: Sequence[str]) -> list[str]:
        """The words that are seen."""
        if not self.overlooks or not words:
            return list(words)
        salt = hashlib.blake2b(" ".join(words).encode("utf-8", "replace"), digest_size=8).digest()
        limit = int(self.overlooks * 256)
        return [word for i, word in enumerate(words) if _byte(salt, i, word) >= limit]


def _byte(salt: bytes, i: int, word: str) -> int:
    return (salt[i % 8] * 31 + sum(word.encode("utf-8", "replace")) * 17 + i * 7) & 0xFF


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
