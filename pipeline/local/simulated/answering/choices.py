"""Choices between given values: scales, codes, yes or no, and at last labels by similarity."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from pipeline.local.simulated.answering import scales
from pipeline.local.simulated.answering.ask import Ask, Found
from pipeline.local.simulated.answering.content import Content
from pipeline.local.simulated.answering.document import Document
from pipeline.local.simulated.answering.flags import decide
from pipeline.local.simulated.answering.labels import LabelSet
from pipeline.local.simulated.answering.language import NAMES, detect_language

LabelSets = Callable[[Sequence[str], Sequence[str]], LabelSet]
_LEGIBILITY = re.compile(r" (?:legib\w*|readab\w*|quality|sharpness) ")
_DEFECT_WORDS = {
    "dark": ("dark", "underexposed"),
    "blurred": ("blurred", "blurry", "blur", "unsharp", "focus"),
    "low_resolution": ("low resolution", "lowres", "pixelated", "small", "resolution"),
}
_YES = ("yes", "true", "ja", "oui", "sí")
_NO = ("no", "false", "nein", "non")
_CODES = 3
_NOTHING_SAID = 0.7
"""How sure it is that the content does not say something."""


def choose(ask: Ask, content: Content, document: Document, labels: LabelSets, prompt: str) -> Found:
    """One of the values that a property may take."""
    options = ask.options or ()
    if len(options) == 1:
        return Found(options[0])
    texts = [option for option in options if isinstance(option, str)]
    if len(texts) != len(options):
        return Found(None if ask.nullable else options[0], 0.4)
    # An empty text among the values stands for what the content does not say.
    names = [name for name in texts if name]
    found = (
        _by_scale(ask, names, content)
        or _by_code(names, content, document)
        or _yes_or_no(ask, names, content)
        or _by_similarity(ask, names, content, labels, prompt)
    )
    is_guess = found.value not in {*_YES, *_NO} and not found.evidence
    return Found("", _NOTHING_SAID) if is_guess and len(names) < len(texts) else found


def choose_many(ask: Ask, content: Content) -> list[str]:
    """Those of the values that hold, for a list of them."""
    return [
        option for option in ask.options or () if isinstance(option, str) and has(content, option)
    ]


def has(content: Content, name: str) -> bool:
    """Whether an image has the defect of that name."""
    spaced = name.lower().replace("_", " ")
    return any(
        any(
            word in spaced.split() or word == spaced
            for word in _DEFECT_WORDS.get(defect, (defect,))
        )
        for defect in content.defects
    )


def _by_scale(ask: Ask, names: Sequence[str], content: Content) -> Found | None:
    order = [scales.step_of_urgency, scales.mood, scales.legibility]
    if _LEGIBILITY.search(ask.words):
        order.reverse()
    for scale in order:
        if step := scale(names, content):
            return Found(step[0], step[1])
    return None


def _by_code(names: Sequence[str], content: Content, document: Document) -> Found | None:
    languages = _languages(tuple(names))
    if languages:
        code, sure = detect_language(content.text)
        rest = next((name for name in names if name not in languages.values()), names[0])
        return Found(languages.get(code or "", rest), sure)
    if all(len(name) == _CODES and name.isupper() for name in names):
        code, sure = document.currency
        return Found(code if code in names else names[0], sure if code in names else 0.3)
    return None


@lru_cache(maxsize=1000)
def _languages(names: tuple[str, ...]) -> Mapping[str, str]:
    """Language codes to names; empty where most of the names are no languages."""
    by_name = {name.lower(): name for name in names}
    found = {
        code: by_name[form]
        for code, full in NAMES.items()
        for form in (code, full)
        if form in by_name
    }
    return found if len(found) * 2 > len(names) else {}


def _yes_or_no(ask: Ask, names: Sequence[str], content: Content) -> Found | None:
    by_name = {name.lower(): name for name in names}
    yes = next((by_name[word] for word in _YES if word in by_name), None)
    no = next((by_name[word] for word in _NO if word in by_name), None)
    if yes is None or no is None:
        return None
    found = decide(ask, content)
    return Found(yes if found.value else no, found.certainty, found.evidence)


def _by_similarity(
    ask: Ask, names: Sequence[str], content: Content, labels: LabelSets, prompt: str
) -> Found:
    texts = [text for text in (str(ask.schema.get("description", "")), prompt) if text]
    known = labels(names, texts)
    requests = content.requests if known.weighs_requests else ""
    choice = known.choose(content.text, first=content.title, requests=requests)
    return Found(choice.label, choice.confidence, choice.evidence, choice.runner_up, choice.rival)
