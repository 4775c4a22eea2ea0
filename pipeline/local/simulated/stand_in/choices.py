"""Choices between given values: scales, codes, yes or no, and at last labels by similarity."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from pipeline.local.simulated.stand_in.business import Document
from pipeline.local.simulated.stand_in.content import CUES, LANGUAGES, Content
from pipeline.local.simulated.stand_in.label_scores import Choice
from pipeline.local.simulated.stand_in.schema import Ask, Found
from pipeline.local.simulated.stand_in.vocabulary import concepts, is_stop_word, stem, words

Chooser = Callable[[Sequence[str], str], Choice]
"""Chooses one of some names; the second is what the schema says of them."""
_URGENCY_STEPS = (
    {"low", "minor", "trivial", "niedrig", "gering", "p4", "p3"},
    {"normal", "medium", "moderate", "mittel", "standard", "p2"},
    {"high", "major", "hoch", "important", "p1"},
    {"urgent", "critical", "emergency", "dringend", "blocker", "p0", "highest"},
)
_LEGIBILITY_STEPS = (
    {"unreadable", "illegible", "none", "bad", "unusable"},
    {"partial", "partly", "fair", "medium", "poor", "low", "blurry", "acceptable"},
    {"good", "clear", "legible", "readable", "high", "excellent", "sharp"},
)
_LEGIBILITY = re.compile(r" (?:legib\w*|readab\w*|quality|sharpness) ")
_WELL_READ, _PARTLY_READ = 0.75, 0.5
_SHOUTED = re.compile(r"\b[A-Z]{4,}\b")
_URGENCY = (("urgent", 2.0), ("serious", 1.3), ("trouble", 0.6), ("calm", -1.2))
_HIGH_URGENCY = 1.9
_DEFECTS = {
    "dark": {"dark", "underexposed"},
    "blurred": {"blurred", "blurry", "blur", "unsharp", "focus"},
    "low_resolution": {"lowres", "pixelated", "small", "resolution"},
}
_YES, _NO = {"yes", "true", "ja", "oui", "sí"}, {"no", "false", "nein", "non"}
_NOTHING_SAID = 0.7
"""How sure it is that the content does not say something."""
_FLAGS = (
    ("moderation unsafe harmful offensive abusive toxic nsfw explicit",
     ("violence", "adult", "hate", "selfharm", "drugs"), 2),
    ("spam advertising advertisement junk", ("spam",), 2),
    ("creative creativity", ("creative",), 1),
)  # fmt: skip
"""Words of a flag's name, what the content must be about, and how many words must say so."""
_STEERS = re.compile(r" (?:injection|instructions?|manipulat\w*|jailbreak) ")
_IS_URGENT = re.compile(r" (?:urgent|emergency|critical) ")
_IS_SIGNED = re.compile(r" (?:signed|signature) ")
_SIGNATURE = re.compile(r"\bsigned\b|\bsignature\b|/s/", re.IGNORECASE)
_VERBS = frozenset({"is", "has", "needs", "need", "contains", "asks", "requires", "should", "can"})


def choose(ask: Ask, content: Content, document: Document, chooser: Chooser) -> Found:
    options = ask.options or ()
    if len(options) == 1:
        return Found(options[0])
    texts = [option for option in options if isinstance(option, str)]
    if len(texts) != len(options):
        return Found(None if ask.nullable else options[0], 0.4)
    # An empty text among the values stands for what the content does not say.
    names = [name for name in texts if name]
    found = _by_rule(ask, names, content, document)
    if found is None:
        choice = chooser(names, str(ask.schema.get("description", "")))
        found = Found(
            choice.label, choice.confidence, choice.evidence, choice.runner_up, choice.rival
        )
        if len(names) < len(texts) and not choice.evidence:
            return Found("", _NOTHING_SAID)
    return found


def _by_rule(ask: Ask, names: Sequence[str], content: Content, document: Document) -> Found | None:
    by_name = {name.lower(): name for name in names}
    scales = [_urgency_step, _legibility_step]
    for scale in reversed(scales) if _LEGIBILITY.search(ask.words) else scales:
        if found := scale(tuple(names), content):
            return found
    if {"positive", "negative"} <= by_name.keys():
        text = content.text.lower()
        balance = len(CUES["pleased"].findall(text)) - len(CUES["displeased"].findall(text))
        mood = "positive" if balance > 0 else "negative" if balance < 0 else "neutral"
        return Found(by_name.get(mood, names[0]), min(0.95, 0.6 + 0.1 * abs(balance)))
    codes = {c: by_name[f] for c, full in LANGUAGES.items() for f in (c, full) if f in by_name}
    if len(codes) * 2 > len(names):
        code, sure = content.language
        rest = next((name for name in names if name not in codes.values()), names[0])
        return Found(codes.get(code or "", rest), sure)
    if all(re.fullmatch("[A-Z]{3}", name) for name in names):
        code, sure = document.currency
        return Found(code, sure) if code in names else Found(names[0], 0.3)
    yes, no = (next((by_name[w] for w in by_name if w in words), None) for words in (_YES, _NO))
    if yes is None or no is None:
        return None
    flag = decide(ask, content)
    return Found(yes if flag.value else no, flag.certainty, flag.evidence)


def choose_many(ask: Ask, content: Content) -> list[str]:
    """Those of the values that hold: the defects of an image."""
    options = [option for option in ask.options or () if isinstance(option, str)]
    return [
        option
        for option in options
        if any(
            defect == option or _DEFECTS[defect] & set(option.lower().split("_"))
            for defect in content.defects
        )
    ]


@lru_cache(maxsize=1000)
def _steps(labels: tuple[str, ...], scale: str) -> dict[str, int]:
    """The labels that are steps of a scale; empty where fewer than two are."""
    steps = _URGENCY_STEPS if scale == "urgency" else _LEGIBILITY_STEPS
    known = {
        label: step
        for label in labels
        for step, names in enumerate(steps)
        if label.lower() in names or (scale != "urgency" and names & set(label.lower().split("_")))
    }
    return known if len(known) > 1 else {}


def _urgency(content: Content) -> float:
    """0 not at all, 1 normal, 2 high, 3 urgent; between where it is between."""
    text = f"{content.title}\n{content.body}"[:20_000]
    lowered = text.lower()
    total = 0.8 + sum(w * min(2, len(set(CUES[cue].findall(lowered)))) for cue, w in _URGENCY)
    total += 0.5 * (len(_SHOUTED.findall(text)) > 2) + 0.3 * (text.count("!") > 1)  # noqa: PLR2004
    return min(3.0, max(0.0, total))


def _urgency_step(labels: tuple[str, ...], content: Content) -> Found | None:
    known = _steps(labels, "urgency")
    if not known:
        return None
    level = _urgency(content)
    label = min(known, key=lambda name: abs(known[name] - level))
    return Found(label, max(0.75, 0.95 - abs(known[label] - level) * 0.4))


def _legibility_step(labels: tuple[str, ...], content: Content) -> Found | None:
    known = _steps(labels, "legibility")
    share = content.legibility if content.text else 0.0
    wanted = 2 if share >= _WELL_READ else 1 if share >= _PARTLY_READ else 0
    return Found(min(known, key=lambda n: abs(known[n] - wanted)), 0.9) if known else None


def decide(ask: Ask, content: Content) -> Found:
    if _STEERS.search(ask.words):
        return Found(content.steers, 0.8)
    if _IS_URGENT.search(ask.words):
        return Found(_urgency(content) >= _HIGH_URGENCY, 0.7)
    if _IS_SIGNED.search(ask.words):
        return Found(_SIGNATURE.search(content.text) is not None, 0.6)
    found = words(content.text)[:3000]
    for names, topics, least in _FLAGS:
        if not set(names.split()).isdisjoint(ask.words.split()):
            hits = frozenset(w for w in found if not set(topics).isdisjoint(concepts(w)))
            return Found(len(hits) >= least, 0.85, hits)
    named = {word for word in words(ask.words) if not is_stop_word(word)} - _VERBS
    present = {meaning for word in found for meaning in (stem(word), *concepts(word))}
    holds = bool(named) and all(present & {stem(word), *concepts(word)} for word in named)
    return Found(holds, 0.85)
