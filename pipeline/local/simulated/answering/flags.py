"""Yes or no: whether the content is what a property's name and description say."""

import re
from collections.abc import Callable, Mapping, Sequence

from pipeline.local.simulated.answering.ask import Ask, Found
from pipeline.local.simulated.answering.content import Content
from pipeline.local.simulated.answering.scales import urgency
from pipeline.local.simulated.answering.sentences import speaks_to_the_model
from pipeline.local.simulated.answering.words import concepts, is_stop_word, words

_HARM = ("violence", "adult", "hate", "selfharm", "drugs")
_SEVERAL = re.compile(r" (?:several|multiple|two|mixed|more than one) ")
_SIGNATURE = re.compile(r"\bsigned\b|\bsignature\b|/s/", re.IGNORECASE)
_HIGH = 1.9
_ENOUGH = 0.34


def decide(ask: Ask, content: Content) -> Found:
    """Answer a yes-or-no property."""
    if "flag" not in ask.memo:
        ask.memo["flag"] = next((a for pattern, a in _ANSWERS if pattern.search(ask.words)), None)
    answer: Callable[[Content], Found] | None = ask.memo["flag"]
    return _similar(ask, content) if answer is None else answer(content)


def asks_for_several(ask: Ask) -> bool:
    """Whether a property says that more than one label applies."""
    return ask.kind == "boolean" and _SEVERAL.search(ask.words) is not None


def _about(content: Content, topics: tuple[str, ...], *, least: int) -> Found:
    hits = {
        word
        for word in words(content.text)[:3000]
        if any(concept in topics for concept in concepts(word))
    }
    return Found(len(hits) >= least, 0.85, frozenset(hits))


def _similar(ask: Ask, content: Content) -> Found:
    """Whether enough of what the name says occurs."""
    named = {word for word in words(ask.words) if not is_stop_word(word) and word not in _VERBS}
    if not named:
        return Found(False, 0.5)
    found = _present(content)
    hits = [word for word in named if found.keys() & _meanings(word)]
    return Found(len(hits) / len(named) > _ENOUGH and len(hits) == len(named), 0.6)


_ANSWERS: Sequence[tuple[re.Pattern[str], Callable[[Content], Found]]] = (
    (
        re.compile(r" (?:moderation|unsafe|harmful|offensive|abusive|toxic|nsfw|explicit) "),
        lambda content: _about(content, _HARM, least=2),
    ),
    (
        re.compile(r" (?:injection|instructions?|manipulat\w*|jailbreak) "),
        lambda content: Found(speaks_to_the_model(content.text), 0.8),
    ),
    (
        re.compile(r" (?:urgent|emergency|critical) "),
        lambda content: Found(urgency(content) >= _HIGH, 0.7),
    ),
    (
        re.compile(r" (?:spam|advertis\w*|junk) "),
        lambda content: _about(content, ("spam",), least=2),
    ),
    (
        re.compile(r" (?:creative|creativity) "),
        lambda content: _about(content, ("creative",), least=1),
    ),
    (
        re.compile(r" (?:signed|signature) "),
        lambda content: Found(_SIGNATURE.search(content.text) is not None, 0.6),
    ),
)
_VERBS = frozenset({"is", "has", "needs", "need", "contains", "asks", "requires", "should", "can"})


def _present(content: Content) -> Mapping[str, None]:
    return dict.fromkeys(
        meaning for word in words(content.text)[:3000] for meaning in _meanings(word)
    )


def _meanings(word: str) -> set[str]:
    return {word, *(f"={concept}" for concept in concepts(word))}
