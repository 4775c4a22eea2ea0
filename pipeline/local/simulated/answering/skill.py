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
        overlooks: Share of the content's words that are not seen, the same for the same content.
        temperature: Of the softmax over labels: higher is less sure.
        trust: Factor on every confidence.
        slips: Share of close decisions between two candidates that go to the wrong one.
    """

    reads_examples: bool
    overlooks: float
    temperature: float
    trust: float
    slips: float

    def heard(self, words: Sequence[str]) -> list[str]:
        """The words that are seen."""
        if not self.overlooks or not words:
            return list(words)
        salt = hashlib.blake2b(" ".join(words).encode("utf-8", "replace"), digest_size=8).digest()
        limit = int(self.overlooks * 256)
        return [word for i, word in enumerate(words) if _byte(salt, i, word) >= limit]


def _byte(salt: bytes, i: int, word: str) -> int:
    return (salt[i % 8] * 31 + sum(word.encode("utf-8", "replace")) * 17 + i * 7) & 0xFF


HAIKU = Skill(reads_examples=False, overlooks=0.12, temperature=0.28, trust=0.95, slips=0.5)
SONNET = Skill(reads_examples=True, overlooks=0.0, temperature=0.18, trust=1.0, slips=0.0)
SKILLS: dict[Line, Skill] = {"haiku": HAIKU, "sonnet": SONNET, "opus": SONNET}
