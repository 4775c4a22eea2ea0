"""Errors say what is wrong, and some repeat what was asked: that part is left out. Pure.

What is said here of a failure is shown on the page, in the log and to `/readyz`, where no event's
content belongs.

Errors about many events at once, of which it is not known which one they repeat. Pure.

In thousands of events all ordinary words occur, and any few in a row by chance. So what is left of
such a text, where an event has the same word, are the words that errors are made of.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import replace
from functools import cache

from pipeline.claude.failures import Blocked, Failure, Reject, Retry
from pipeline.model.questions import Part, Text

HIDDEN = "[...]"
_LEAST_RUN = 10
"""Characters of several words in a row that are taken for an echo."""
_LEAST_WORD = 4
"""Letters of a single word that is, if it looks like a name, a number or an address."""
_LONGEST = 1_000
"""Characters of a text that are looked at and shown: an error may repeat a whole document."""
_AROUND = "\"'`()[]{}<>.,;:!?"
_VALUE = re.compile(r"=(?=[\"'])")


def unechoed(failure: Failure, parts: Sequence[Part]) -> Failure:
    """The same failure, without what its text has in common with the content that was asked about.

    Args:
        failure: As it was classified.
        parts: Of the question.
    """
    return with_text(failure, lambda text: without_echoes(text, parts))


def with_text(failure: Failure, change: Callable[[str], str]) -> Failure:
    """The same failure in other words."""
    match failure:
        case Retry(detail=text) | Reject(detail=text):
            return replace(failure, detail=change(text))
        case Blocked(because=text):
            return replace(failure, because=change(text))


def without_echoes(text: str, parts: Iterable[Part]) -> str:
    """`text` with each run of words that the content has, too, in place of one `[...]`.

    One word alone counts where it looks like a name, a number or an address: ordinary words occur
    everywhere.
    """
    content = _content(parts)
    if not content.strip():
        return text
    words = _VALUE.sub("= ", beginning(text)).split()
    return " ".join(_kept(words, _occurs_in(content)))


def beginning(text: str) -> str:
    """As much of a text as is shown, in whole words: half a word is not recognised."""
    return text if len(text) <= _LONGEST else text[:_LONGEST].rpartition(" ")[0]


def _content(parts: Iterable[Part]) -> str:
    words = " ".join(
        " ".join(_word(word) for word in part.text.split())
        for part in parts
        if isinstance(part, Text)
    )
    return f" {words} "


def _occurs_in(content: str) -> Callable[[str], bool]:
    """Whether a run of words occurs; the content is searched once for each, and seldom."""
    known = frozenset(content.split())

    @cache
    def occurs(run: str) -> bool:
        last = run.rpartition(" ")[2]
        return (not last or last in known) and f" {run} " in content

    return occurs


def _kept(words: Sequence[str], occurs: Callable[[str], bool]) -> Iterator[str]:
    at = 0
    while at < len(words):
        length = _longest_run(words, at, occurs)
        if _is_echo([_word(word) for word in words[at : at + length]]):
            yield HIDDEN
            at += length
        else:
            yield words[at]
            at += 1


def _longest_run(words: Sequence[str], at: int, occurs: Callable[[str], bool]) -> int:
    length = 0
    run = ""
    for word in words[at:]:
        run = f"{run} {_word(word)}" if run else _word(word)
        if not run or not occurs(run):
            break
        length += 1
    return length


def _is_echo(run: Sequence[str]) -> bool:
    if len(run) > 1:
        return len(" ".join(run)) >= _LEAST_RUN
    return any(len(word) >= _LEAST_WORD and not (word.isalpha() and word.islower()) for word in run)


def _word(word: str) -> str:
    """A word without the punctuation around it, which quoting changes."""
    return word.strip(_AROUND)


_WORD = re.compile(r"((?:\\[nrt]|[\s\"'`()\[\]{}<>,;:=!?|/\\])+)")
"""What stands between words where each counts alone; a line's end may be escaped."""
_STATUSES = frozenset(str(number) for number in (*range(400, 430), *range(500, 512), 529))
_OWN_WORDS = _STATUSES | frozenset({
    "a", "access", "account", "after", "again", "all", "allowed", "allowlist", "an", "and",
    "answered", "any", "api", "are", "array", "as", "at", "authentication", "available", "balance",
    "batch", "be", "been", "below", "billing", "body", "both", "but", "by", "call", "can",
    "cannot", "characters", "claude", "code", "contact", "content", "context", "could", "credit",
    "credits", "currently", "custom", "data", "day", "different", "disabled", "do", "does",
    "duplicate", "during", "each", "either", "empty", "enabled", "enough", "error", "exactly",
    "exceed", "exceeded", "exceeds", "expected", "failed", "false", "field", "fields", "file",
    "files", "for", "found", "from", "given", "go", "has", "have", "help", "id", "image", "images",
    "in", "inactive", "input", "instead", "internal", "invalid", "is", "it", "its", "json", "key",
    "keys", "large", "later", "least", "length", "less", "letters", "limit", "limits", "list",
    "long", "low", "made", "match", "max", "maximum", "may", "message", "messages", "minimum",
    "minute", "missing", "model", "models", "more", "most", "must", "name", "need", "new", "no",
    "not", "nothing", "null", "number", "object", "of", "on", "one", "only", "or", "organization",
    "other", "our", "output", "overloaded", "page", "params", "payment", "permission", "plans",
    "please", "prompt", "provided", "purchase", "rate", "reached", "received", "reduce", "rejects",
    "request", "requested", "requests", "required", "response", "retry", "role", "says", "schema",
    "see", "server", "service", "should", "size", "slow", "some", "specified", "string", "support",
    "supported", "system", "take", "temporarily", "text", "than", "that", "the", "there", "this",
    "timeout", "to", "token", "tokens", "too", "tool", "tools", "true", "try", "type", "unable",
    "unavailable", "unexpected", "unique", "unknown", "upgrade", "usage", "use", "used", "user",
    "valid", "value", "values", "version", "was", "we", "were", "when", "which", "will", "with",
    "within", "workspace", "would", "you", "your",
})  # fmt: skip
"""What errors are made of: each by itself says nothing of an event."""
_NEAR = 8
"""Places from one hidden word to the next, between which nothing is shown either."""


def foreign_words(text: str) -> set[str]:
    """The words of `text` that an error is not made of, and so may come from what was asked."""
    words = {word.strip(".") for word in _WORD.split(beginning(text))[::2]}
    return {word for word in words if word and word.lower() not in _OWN_WORDS}


def words_of(parts: Iterable[Part]) -> set[str]:
    """The words of a content."""
    texts = (part.text for part in parts if isinstance(part, Text))
    return {word.strip(".") for text in texts for word in _WORD.split(text)[::2]}


def without_words(text: str, hidden: Set[str]) -> str:
    """`text` with `[...]` in place of those words, or of several in a row.

    Args:
        text: Of an error about so many contents that it is not known which it repeats, and that
            any words in a row occur in one of them by chance.
        hidden: See `foreign_words`.
    """
    if not hidden:
        return text
    # Words at even places, what stands between them at odd ones.
    pieces = _WORD.split(beginning(text))
    at = [n for n in range(0, len(pieces), 2) if pieces[n].strip(".") in hidden]
    shown, upto = "", 0
    for first, last in _runs(at):
        shown += "".join(pieces[upto:first]) + HIDDEN
        upto = last + 1
    return shown + "".join(pieces[upto:])


def _runs(places: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The first and the last of places that are near to each other."""
    first = last = None
    for place in places:
        if first is None or last is None:
            first = place
        elif place - last > _NEAR:
            yield first, last
            first = place
        last = place
    if first is not None and last is not None:
        yield first, last
