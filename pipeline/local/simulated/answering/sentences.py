"""Sentences that say most, and passages that are quoted as they stand."""

import math
import re
from collections import Counter
from collections.abc import Iterable

from pipeline.local.simulated.answering.content import Content
from pipeline.local.simulated.answering.words import is_stop_word, stem, words

_TO_THE_MODEL = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instruction|prompt|rule|above|previous)"
    r"|\b(?:system prompt|you are now|as an ai|new instructions?)\b"
    r"|\b(?:classif(?:y|ied)|mark|label|set)\b.{0,30}\bas\b.{0,40}\b(?:priority|urgent|category)"
    r"|\bignorier\w*\b.{0,40}\b(?:anweisung|regel)|\bignore[zr]?\b.{0,40}\b(?:consigne|instrucci)",
    re.IGNORECASE | re.DOTALL,
)
_GREETING = re.compile(
    r"^\W*(?:hi|hello|hey|dear|good (?:morning|day|afternoon|evening)|hallo|guten (?:tag|morgen)|"
    r"sehr geehrte\w*|bonjour|madame|hola|buenos días|estimad\w+|thanks?|thank you|danke|merci|"
    r"gracias|regards|kind regards|best|mit freundlichen grüßen|viele grüße|cordialement|saludos)"
    r"\b[^.!?]{0,40}[.!,]?$",
    re.IGNORECASE,
)
_Weighed = list[tuple[str, dict[str, float]]]
_SUMMARY_CHARACTERS = 240
_QUOTE_CHARACTERS = 160
_MOST_SENTENCES = 200


def speaks_to_the_model(text: str) -> bool:
    """Whether a text looks like an instruction to whoever reads it for someone else."""
    return bool(_TO_THE_MODEL.search(text))


def ranked(content: Content, *, about: Iterable[str] = ()) -> list[str]:
    """Sentences, the most informative first.

    Args:
        content: Where they stand.
        about: Words that count double.
    """
    wanted = {stem(word) for word in about}
    scored: list[tuple[float, int, str]] = []
    for position, (sentence, weights) in enumerate(_weighed(content)):
        if not weights:
            continue
        weight = sum(weights.values()) + sum(weights[word] for word in weights.keys() & wanted)
        scored.append((-weight / math.sqrt(len(weights) + 4), position, sentence))
    return [sentence for _, _, sentence in sorted(scored)]


def _weighed(content: Content) -> _Weighed:
    """Sentences with the weight of each of their words; made once for a content."""
    known: _Weighed | None = content.memo.get("sentences")
    if known is not None:
        return known
    sentences = [s for s in content.sentences if not _GREETING.match(s)] or list(content.sentences)
    stems = [
        {stem(word) for word in words(sentence) if not is_stop_word(word)}
        for sentence in sentences[:_MOST_SENTENCES]
    ]
    counts = Counter(word for found in stems for word in found)
    title = {stem(word) for word in words(content.title)}
    weighed: _Weighed = []
    for position, (sentence, found) in enumerate(zip(sentences, stems, strict=False)):
        factor = 1.25 if position == 0 else 1.0
        if speaks_to_the_model(sentence):
            factor *= 0.1
        weighed.append(
            (
                sentence,
                {w: factor * (1 + math.log(counts[w])) * (1 + (w in title)) for w in found},
            )
        )
    content.memo["sentences"] = weighed
    return weighed


def summary(content: Content, count: int = 1) -> str:
    """The best sentences in their own order; empty where there is none."""
    best = ranked(content)[: max(1, count)]
    chosen = [sentence for sentence in content.sentences if sentence in best][: max(1, count)]
    text = " ".join(re.sub(r"\s+", " ", sentence) for sentence in chosen) or content.title
    return shorten(text, _SUMMARY_CHARACTERS * max(1, count))


def quote(content: Content, about: Iterable[str] = ()) -> str:
    """A passage that stands in the content letter by letter; empty where there is none."""
    best = ranked(content, about=about)
    if best:
        return _literal_start(best[0])
    return _literal_start(content.lines[0].strip()) if content.lines else ""


def shorten(text: str, characters: int) -> str:
    """At most that many characters, cut between words."""
    if len(text) <= characters:
        return text
    return text[: characters - 1].rsplit(" ", 1)[0].rstrip(" ,;:") + "…"


def _literal_start(text: str) -> str:
    if len(text) <= _QUOTE_CHARACTERS:
        return text
    return text[:_QUOTE_CHARACTERS].rsplit(" ", 1)[0]
