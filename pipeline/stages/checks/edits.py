"""Whether a text that was tidied up still says what it said: what was added, and what is lost.

Spelling may change, and abbreviations may be written out: a word that takes the place of one like
it is no other word. Pure.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from difflib import get_close_matches

from pipeline.model.questions import Signal
from pipeline.stages.checks.evidence import letters_and_digits, numbers_added
from pipeline.stages.checks.text_quality import WORDS, fold

CODE = "changed_text"
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u9fff가-힣"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W\d_{_UNSPACED}]+")
"""Where words have no blanks between them each character is compared."""
_APOSTROPHE = re.compile("['’`]")
_ADDRESS = re.compile(
    r"(?:https?://|www\.)[^\s<>\"]+|[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}", re.IGNORECASE
)
_OF_A_PROGRAM = re.compile(
    r"^[^\w\n]*(?:sent from|get outlook for|gesendet (?:von|mit)|von meinem \w+ gesendet"
    r"|envoyé (?:de|depuis)|enviado (?:desde|do)|inviato da)\b[^\n]*$",
    re.IGNORECASE | re.MULTILINE,
)
_NEGATIONS = frozenset(WORDS["negations"].split())
_MOST_COMPARED = 30
"""Words on either side; where more are different, the others count as changed."""
_LONGEST_COMPARED = 40
"""Characters of a word: comparing takes time by their square."""
_LIKE = 0.7
"""By `difflib`: two letters of five that changed places."""


def edit_signals(cleaned: str, source: str) -> Iterator[Signal]:
    """Compare a text with what it was made of, which is without markup.

    The strength of the first signal is the share of letters that is in words that were added, or
    in words that are lost, whichever is larger. The others are of what has to stay as it is.
    """
    source = _OF_A_PROGRAM.sub("", source)
    added, lost = _changed(_words(cleaned), _words(source))
    if strength := round(max(added, lost), 3):
        detail = f"Of the letters {added:.0%} were added and {lost:.0%} left out."
        yield Signal(CODE, strength, detail)
    if numbers := numbers_added(source, cleaned):
        yield Signal(CODE, 0.7, f"{len(numbers)} numbers of the text are lost.")
    kept = letters_and_digits(cleaned)
    gone = [each for each in _ADDRESS.findall(source) if letters_and_digits(each) not in kept]
    if gone:
        yield Signal(CODE, 0.8, f"{len(gone)} addresses of the text are lost.")
    if _negations(source) > _negations(cleaned):
        yield Signal(CODE, 0.9, "A negation of the text is lost.")


def _words(text: str) -> list[str]:
    return _WORD.findall(fold(_APOSTROPHE.sub("", text)))


def _changed(cleaned: list[str], source: list[str]) -> tuple[float, float]:
    now, before = Counter(cleaned), Counter(source)
    added = _elsewhere(now.keys() - before.keys(), "".join(source))
    lost = _elsewhere(before.keys() - now.keys(), "".join(cleaned))
    first_added, first_lost = added[:_MOST_COMPARED], lost[:_MOST_COMPARED]
    new = [word for word in first_added if not _takes_the_place(word, first_lost)]
    gone = [word for word in first_lost if not _takes_the_place(word, first_added)]
    new += added[_MOST_COMPARED:]
    gone += lost[_MOST_COMPARED:]
    return _share(set(new), now), _share(set(gone), before)


def _elsewhere(words: Collection[str], letters: str) -> list[str]:
    """Those that are not in the other text with other blanks either; in a fixed order."""
    return sorted(word for word in words if word not in letters)


def _takes_the_place(word: str, others: Collection[str]) -> bool:
    if len(word) > _LONGEST_COMPARED:
        return False
    others = [each for each in others if len(each) <= _LONGEST_COMPARED]
    return any(_abbreviates(word, each) or _abbreviates(each, word) for each in others) or bool(
        get_close_matches(word, others, n=1, cutoff=_LIKE)
    )


def _abbreviates(short: str, long: str) -> bool:
    """Whether letters of the long word in their order make the short one, from the first on."""
    if len(short) >= len(long) or short[:1] != long[:1]:
        return False
    letters = iter(long)
    return all(letter in letters for letter in short)


def _share(words: Collection[str], counted: Counter[str]) -> float:
    whole = sum(len(word) * count for word, count in counted.items())
    return sum(len(word) * counted[word] for word in words) / whole if whole else 0.0


def _negations(text: str) -> int:
    """How often it is negated; a repeated word counts once."""
    words = _words(text)
    return sum(
        word in _NEGATIONS and word != before
        for before, word in zip(["", *words], words, strict=False)
    )
