"""Errors say what is wrong, and some repeat what was asked: that part is left out. Pure.

A failure is shown on the page, in the log and to `/readyz`, where no event's content belongs. An
error about many events at once does not say which one it repeats; in thousands of
events all ordinary words occur, and any few in a row by chance. So what is left of such a text are
the words that errors are made of.
"""

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from functools import cache
from math import inf

from pipeline.claude.failures import Failure
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
    """The same failure, without what its text repeats of the content that was asked about."""
    return replace(failure, detail=without_echoes(failure.detail, parts))


def without_echoes(text: str, parts: Iterable[Part]) -> str:
    """`text` with `[...]` in place of each run of words that the content has, too.

    One word alone counts where it looks like a name, a number or an address.
    """
    texts = [part.text for part in parts if isinstance(part, Text)]
    # Without the punctuation around words, which quoting changes.
    content = " ".join(word.strip(_AROUND) for each in texts for word in each.split())
    if not content.strip():
        return text
    known, content = frozenset(content.split()), f" {content} "

    @cache
    def occurs(run: str) -> bool:
        # A large content is searched once for each run of known words.
        last = run.rpartition(" ")[2]
        return (not last or last in known) and f" {run} " in content

    words = _VALUE.sub("= ", _beginning(text)).split()
    bare = [word.strip(_AROUND) for word in words]
    shown: list[str] = []
    at = 0
    while at < len(words):
        end, run = at, bare[at]
        while end < len(words) and run and occurs(run):
            end += 1
            run = " ".join(bare[at : end + 1])
        if _is_echo(bare[at:end]):
            shown.append(HIDDEN)
            at = end
        else:
            shown.append(words[at])
            at += 1
    return " ".join(shown)


def _beginning(text: str) -> str:
    """As much of a text as is shown, in whole words: half a word is not recognised."""
    return text if len(text) <= _LONGEST else text[:_LONGEST].rpartition(" ")[0]


def _is_echo(run: Sequence[str]) -> bool:
    if len(run) > 1:
        return len(" ".join(run)) >= _LEAST_RUN
    return any(len(word) >= _LEAST_WORD and not (word.isalpha() and word.islower()) for word in run)


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
    words = {word.strip(".") for word in _WORD.split(_beginning(text))[::2]}
    return {word for word in words if word and word.lower() not in _OWN_WORDS}


def words_of(parts: Iterable[Part]) -> set[str]:
    texts = (part.text for part in parts if isinstance(part, Text))
    return {word.strip(".") for text in texts for word in _WORD.split(text)[::2]}


def without_words(text: str, hidden: Set[str]) -> str:
    """`text` with `[...]` in place of those words, or of several in a row."""
    if not hidden:
        return text
    # Words at even places, what stands between them at odd ones.
    pieces = _WORD.split(_beginning(text))
    shown, shown_to, last = "", 0, -inf
    for at in range(0, len(pieces), 2):
        if pieces[at].strip(".") in hidden:
            if at - last > _NEAR:
                shown += "".join(pieces[shown_to:at]) + HIDDEN
            last, shown_to = at, at + 1
    return shown + "".join(pieces[shown_to:])
