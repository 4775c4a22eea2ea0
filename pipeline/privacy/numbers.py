"""What numbers in texts have in common: where they begin, their groups, words beside them."""

import re
from dataclasses import dataclass

GAP = r"[ \-.\u00a0\u2009\u202f\u2010-\u2015\u2212\u3000]"
"""Between the digits of a number: blanks, points and dashes of many kinds, never a line's end."""
EDGE = r"[\d_A-Za-z\u00aa-\u1fff]"
"""No number begins after one of these, or ends before one; scripts without blanks are none."""
_RUN = re.compile(r"\d+")
_NUMBER = re.compile(rf"\d(?:(?:{GAP}|[()/]){{0,3}}\d){{5}}")
_WORD = re.compile(r"[^\W\d_]+")
_UNSPACED = "\u3000"
"""From here on are scripts that put no blanks between words."""


def number_starts(text: str) -> list[int]:
    """Where a run of digits begins that, with the groups after it, has six digits or more."""
    return [
        run.start()
        for run in _RUN.finditer(text)
        if run.end() - run.start() > 5 or _NUMBER.match(text, run.start())  # noqa: PLR2004
    ]


def digits_of(text: str) -> str:
    return "".join(str(int(char)) for char in text if char.isdecimal())


@dataclass(frozen=True, slots=True)
class Words:
    """Words of a meaning, in lower case: by their beginning, whole, or anywhere in a long run."""

    beginnings: tuple[str, ...] = ()
    whole: frozenset[str] = frozenset()
    anywhere: tuple[str, ...] = ()

    @classmethod
    def of(cls, words: str) -> "Words":
        """Of words between blanks: a point ends one that is meant as it stands."""
        every = words.split()
        unspaced = tuple(word for word in every if word[0] >= _UNSPACED)
        whole = frozenset(word[:-1] for word in every if word.endswith("."))
        beginnings = (word for word in every if word not in unspaced and not word.endswith("."))
        return cls(tuple(beginnings), whole, unspaced)

    def have(self, word: str) -> bool:
        return (
            word in self.whole
            or word.startswith(self.beginnings)
            or (not word.isascii() and any(each in word for each in self.anywhere))
        )


def words_before(text: str, end: int, chars: int) -> list[str]:
    """The words in so many characters before a place, the nearest first, in lower case."""
    return _words(text[max(0, end - chars) : end])[::-1]


def words_after(text: str, start: int, chars: int) -> list[str]:
    return _words(text[start : start + chars])


def _words(text: str) -> list[str]:
    return [match[0] for match in _WORD.finditer(text.lower())]
