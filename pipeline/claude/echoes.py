"""Errors say what is wrong, and some repeat what was asked: that part is left out. Pure.

What is said here of a failure is shown on the page, in the log and to `/readyz`, where no event's
content belongs.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache

from pipeline.claude.failures import Blocked, Failure, Reject, Retry
from pipeline.questions import Part, Text

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
