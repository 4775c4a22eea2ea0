"""How near a content is to labels in meaning, told by a sentence encoder."""

import re
from collections.abc import Sequence

from pipeline.local.simulated.answering.glossary import Entry
from pipeline.local.simulated.answering.words import spaced
from pipeline.stages.checks.scope import Encoder

_BETWEEN_EXAMPLES = re.compile(r"""["“”„«»|;\n]+|(?<=[.!?])\s+|\bexamples?:""", re.IGNORECASE)
_SHORTEST_EXAMPLE = 4
_MOST_EXAMPLES = 100
_NEAREST = 2
"""Examples of a label whose mean counts: one may be near by accident."""


class Nearness:
    """Labels as vectors, ready to be compared with many contents.

    Args:
        encoder: Makes the vectors; milliseconds each, and the API's event loop waits for them.
        labels: Their names.
        entries: What is said of each.
        with_examples: Whether what is said as an example counts beside name and description.
    """

    def __init__(
        self,
        encoder: Encoder,
        labels: Sequence[str],
        entries: Sequence[Entry],
        *,
        with_examples: bool,
    ) -> None:
        self._encoder = encoder
        self._meanings = encoder.encode([
            f"{spaced(label)}: {entry.description}"
            for label, entry in zip(labels, entries, strict=True)
        ])  # fmt: skip
        examples = [_examples(entry) if with_examples else [] for entry in entries]
        self._owners = [owner for owner, texts in enumerate(examples) for _ in texts]
        texts = [text for texts in examples for text in texts]
        self._examples = encoder.encode(texts) if texts else None

    def of(self, text: str) -> list[float]:
        """How near a text is to each label, in their order: 0 (not at all) to 1."""
        vector = self._encoder.encode([text])[0]
        near: list[float] = (self._meanings @ vector).clip(0, 1).tolist()
        if self._examples is not None:
            of_label: dict[int, list[float]] = {}
            cosines = (self._examples @ vector).clip(0, 1).tolist()
            for owner, cosine in zip(self._owners, cosines, strict=True):
                of_label.setdefault(owner, []).append(cosine)
            for owner, found in of_label.items():
                nearest = sorted(found)[-_NEAREST:]
                near[owner] = max(near[owner], sum(nearest) / len(nearest))
        return near


def _examples(entry: Entry) -> list[str]:
    found = (part.strip(" ,-") for part in _BETWEEN_EXAMPLES.split(entry.examples))
    return [part for part in found if len(part) >= _SHORTEST_EXAMPLE][:_MOST_EXAMPLES]
