"""Fills a schema from content: the facts first, then what the answer says about itself."""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pipeline.local.simulated.answering import scales
from pipeline.local.simulated.answering.ask import Ask, Found
from pipeline.local.simulated.answering.content import Content
from pipeline.local.simulated.answering.fields import find_text
from pipeline.local.simulated.answering.labels import LabelSet
from pipeline.local.simulated.answering.plan import Plan, plan_of
from pipeline.local.simulated.answering.sentences import quote, speaks_to_the_model, summary
from pipeline.local.simulated.answering.skill import Skill

_RUNNER_UP = re.compile(r" (?:runner|second|alternative|next best|other (?:label|choice)) ?")
_CONFIDENCE = re.compile(r" (?:confidence|certainty|probability|likelihood|sureness) ")
_UNCLEAR = re.compile(r" (?:unclear|ambiguous|uncertain|unsure|undecided) ")
_QUOTE = re.compile(r" (?:quote|evidence|excerpt|verbatim) ")
_MISSING = re.compile(r" (?:missing|absent|unread|not found|incomplete) ")
_ABOUT_ITSELF = re.compile(
    "|".join(p.pattern for p in (_RUNNER_UP, _CONFIDENCE, _UNCLEAR, _QUOTE, _MISSING))
)
_UNSURE = 0.45
_EMPTY: Mapping[str, Any] = {
    "string": "", "number": 0, "integer": 0, "boolean": False, "array": [], "null": None,
}  # fmt: skip

LabelSets = Callable[[Sequence[str], Sequence[str]], LabelSet]


class Reader:
    """Answers as one model would.

    Args:
        skill: How well it reads.
        kept: Plans and label sets that are kept ready, each.
    """

    def __init__(self, skill: Skill, kept: int = 500) -> None:
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
        return _Reading(said, content, self._skill, self._labels).find(plan).value

    def write(self, content: Content) -> str:
        """An answer in plain text, where no schema was given."""
        return summary(content, 3) or "There is nothing to read."

    def _labels(self, labels: Sequence[str], texts: Sequence[str]) -> LabelSet:
        key = (tuple(labels), tuple(texts))
        return _kept(
            self._label_sets, key, lambda: LabelSet(labels, texts, self._skill), self._kept
        )


class _Reading:
    """One answer in the making."""

    def __init__(self, prompt: str, content: Content, skill: Skill, labels: LabelSets) -> None:
        self._prompt = prompt
        self._content = content
        self._skill = skill
        self._labels = labels

    def find(self, plan: Plan) -> Found:
        """The value for a part of the schema."""
        ask = plan.ask
        if ask.options is not None:
            return self._choose(ask, ask.options)
        match ask.kind:
            case "object":
                return self._object(plan)
            case "string":
                return self._or_empty(ask, find_text(ask, self._content))
            case _:
                return self._or_empty(ask, Found(None, 0.4))

    def _or_empty(self, ask: Ask, found: Found) -> Found:
        if found.value is not None or ask.nullable:
            return found
        return Found(_EMPTY.get(ask.kind), found.certainty)

    def _object(self, plan: Plan) -> Found:
        facts = {
            part.ask.name: self.find(part)
            for part in plan.properties
            if not _ABOUT_ITSELF.search(part.ask.words)
        }
        sure = self._certainty(facts)
        values = {}
        for part in plan.properties:
            name = part.ask.name
            found = facts[name] if name in facts else self._about_itself(part, facts, sure)
            values[name] = found.value
        return Found(values, sure)

    def _certainty(self, facts: Mapping[str, Found]) -> float:
        known = [found.certainty for found in facts.values() if found.certainty is not None]
        if not self._content.text:
            return 0.05
        choices = [f.certainty for f in facts.values() if f.runner_up is not None and f.certainty]
        worst = min(choices, default=1.0)
        mean = sum(known) / len(known) if known else 0.6
        sure = min(worst, mean) * (0.5 + 0.5 * self._content.legibility)
        if speaks_to_the_model(self._content.text):
            sure *= 0.7
        return round(max(0.02, min(0.99, sure)), 2)

    def _about_itself(self, part: Plan, facts: Mapping[str, Found], sure: float) -> Found:
        ask = part.ask
        if _CONFIDENCE.search(ask.words) and ask.kind in {"number", "integer"}:
            percent = ask.kind == "integer" or "100" in ask.description
            return Found(round(sure * 100) if percent else sure)
        if _UNCLEAR.search(ask.words) and ask.kind == "boolean":
            return Found(sure < _UNSURE)
        if _RUNNER_UP.search(ask.words):
            return Found(self._runner_up(ask, facts))
        if _QUOTE.search(ask.words) and ask.kind == "string":
            about = frozenset().union(*(found.evidence for found in facts.values()))
            return self._or_empty(ask, Found(quote(self._content, about) or None))
        if _MISSING.search(ask.words) and ask.kind == "array":
            return Found([name for name, found in facts.items() if found.value is None])
        return self.find(part)

    def _runner_up(self, ask: Ask, facts: Mapping[str, Found]) -> Any:  # noqa: ANN401
        options = ask.options
        for found in facts.values():
            if found.runner_up is None:
                continue
            if options is None or found.runner_up in options:
                close = found.certainty is not None and found.certainty < 0.9  # noqa: PLR2004
                return found.runner_up if close or not ask.nullable else None
        if ask.nullable:
            return None
        return options[-1] if options else ""

    def _choose(self, ask: Ask, options: Sequence[Any]) -> Found:
        if len(options) == 1:
            return Found(options[0])
        labels = [option for option in options if isinstance(option, str)]
        if len(labels) != len(options):
            return Found(None if ask.nullable else options[0], 0.4)
        content = self._content
        for scale in (scales.step_of_urgency, scales.mood, scales.legibility):
            if step := scale(labels, content):
                return Found(step[0], step[1])
        texts = [text for text in (str(ask.schema.get("description", "")), self._prompt) if text]
        choice = self._labels(labels, texts).choose(content.text, first=content.title)
        return Found(choice.label, choice.confidence, choice.evidence, choice.runner_up)


K = TypeVar("K")
V = TypeVar("V")


def _kept(store: OrderedDict[K, V], key: K, make: Callable[[], V], limit: int) -> V:
    """What is stored under a key, made where it is not there; the oldest makes room."""
    known = store.get(key)
    if known is None:
        known = store[key] = make()
        if len(store) > limit:
            store.popitem(last=False)
    return known
