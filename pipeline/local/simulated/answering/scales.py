"""Choices that are steps of a scale rather than categories: urgency, mood, legibility."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from pipeline.local.simulated.answering.content import Content
from pipeline.local.simulated.answering.lexicon import read_cues

_LOW = ("low", "minor", "trivial", "niedrig", "gering", "p4", "p3")
_NORMAL = ("normal", "medium", "moderate", "mittel", "standard", "p2")
_HIGH = ("high", "major", "hoch", "important", "p1")
_URGENT = ("urgent", "critical", "emergency", "dringend", "blocker", "p0", "highest")
_STEPS = (_LOW, _NORMAL, _HIGH, _URGENT)
_CUES = read_cues("cues.txt")
_SHOUTED = re.compile(r"\b[A-Z]{4,}\b")
_URGENCY = (("urgent", 2.0), ("serious", 1.3), ("trouble", 0.6), ("calm", -1.2))
_LEGIBLE = ("good", "clear", "legible", "readable", "high", "excellent", "sharp")
_PARTLY = ("partial", "partly", "fair", "medium", "poor", "low", "blurry", "acceptable")
_ILLEGIBLE = ("unreadable", "illegible", "none", "bad", "unusable")
_WELL_READ, _PARTLY_READ = 0.82, 0.55


def urgency(content: Content) -> float:
    """0 not at all, 1 normal, 2 high, 3 urgent; between where it is between."""
    text = f"{content.title}\n{content.body}"[:20_000]
    lowered = text.lower()
    total = 0.8
    for cue, weight in _URGENCY:
        found = set(_CUES[cue].findall(lowered))
        total += weight * min(2, len(found))
    shouting = len(_SHOUTED.findall(text)) >= 3  # noqa: PLR2004
    total += 0.5 * shouting + 0.3 * (text.count("!") >= 2)  # noqa: PLR2004
    return min(3.0, max(0.0, total))


def step_of_urgency(labels: Sequence[str], content: Content) -> tuple[str, float] | None:
    """The label that fits the urgency, and how sure that is; None where they are no such scale."""
    known = _steps(tuple(labels))
    if len(known) < 2:  # noqa: PLR2004
        return None
    level = urgency(content)
    label = min(known, key=lambda name: abs(known[name] - level))
    return label, max(0.4, 0.95 - abs(known[label] - level) * 0.7)


def mood(labels: Sequence[str], content: Content) -> tuple[str, float] | None:
    """Of positive, neutral and negative; None where the labels are not those."""
    by_name = {label.lower(): label for label in labels}
    if not {"positive", "negative"} <= by_name.keys():
        return None
    text = content.text.lower()
    balance = len(_CUES["pleased"].findall(text)) - len(_CUES["displeased"].findall(text))
    name = "positive" if balance > 0 else "negative" if balance < 0 else "neutral"
    return by_name.get(name, labels[0]), min(0.95, 0.6 + 0.1 * abs(balance))


def legibility(labels: Sequence[str], content: Content) -> tuple[str, float] | None:
    """How well it could be read; None where the labels are no such scale."""
    by_step = _steps_of_legibility(tuple(labels))
    if len(by_step) < 2:  # noqa: PLR2004
        return None
    share = content.legibility if content.text else 0.0
    wanted = 2 if share >= _WELL_READ else 1 if share >= _PARTLY_READ else 0
    step = min(by_step, key=lambda known: abs(known - wanted))
    return by_step[step], 0.9


@lru_cache(maxsize=1000)
def _steps_of_legibility(labels: tuple[str, ...]) -> Mapping[int, str]:
    return {
        step: label
        for label in labels
        for step, names in enumerate((_ILLEGIBLE, _PARTLY, _LEGIBLE))
        if any(part in names for part in label.lower().split("_"))
    }


@lru_cache(maxsize=1000)
def _steps(labels: tuple[str, ...]) -> Mapping[str, int]:
    return {label: step for label in labels if (step := _step(label)) is not None}


def _step(label: str) -> int | None:
    name = label.lower().strip()
    for step, names in enumerate(_STEPS):
        if name in names:
            return step
    return None
