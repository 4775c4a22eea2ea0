"""Answers as one model would: schemas and labels are prepared once, then content is read."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pipeline.local.simulated.answering.content import Content
from pipeline.local.simulated.answering.labels import LabelSet
from pipeline.local.simulated.answering.plan import Plan, plan_of
from pipeline.local.simulated.answering.reading import Reading
from pipeline.local.simulated.answering.sentences import summary
from pipeline.local.simulated.answering.skill import Skill
from pipeline.stages.checks.scope import Encoder

K = TypeVar("K")
V = TypeVar("V")


class Reader:
    """Answers as one model would.

    Args:
        skill: How well it reads.
        encoder: Compares contents with labels, where there is one.
        kept: Plans and label sets that are kept ready, each.
    """

    def __init__(self, skill: Skill, encoder: Encoder | None = None, kept: int = 500) -> None:
        self._encoder = encoder
        self._skill = skill
        self._kept = kept
        self._plans: OrderedDict[tuple[bytes, str], Plan] = OrderedDict()
        self._label_sets: OrderedDict[tuple[object, ...], LabelSet] = OrderedDict()

    def answer(self, schema: Mapping[str, Any], key: bytes, prompt: str, content: Content) -> Any:  # noqa: ANN401
        """A valid instance of a schema.

        Args:
            schema: What the answer must be.
            key: Equal for equal schemas.
            prompt: What the asker says.
            content: What is to be read.
        """
        said = f"{prompt}\n{content.said}" if content.said else prompt
        plan = _kept(self._plans, (key, said), lambda: plan_of(schema, said), self._kept)
        return Reading(said, content, self._skill, self._labels).find(plan).value

    def write(self, content: Content) -> str:
        """An answer in plain text, where no schema was given."""
        return summary(content, 3) or "There is nothing to read."

    def _labels(self, labels: Sequence[str], texts: Sequence[str]) -> LabelSet:
        key = (tuple(labels), tuple(texts))
        return _kept(
            self._label_sets,
            key,
            lambda: LabelSet(labels, texts, self._skill, self._encoder),
            self._kept,
        )


def _kept(store: OrderedDict[K, V], key: K, make: Callable[[], V], limit: int) -> V:
    """What is stored under a key, made where it is not there; the oldest makes room."""
    known = store.get(key)
    if known is None:
        known = store[key] = make()
        if len(store) > limit:
            store.popitem(last=False)
    return known
