"""Texts that some check might take too long over, of any length."""

from collections.abc import Callable
from itertools import cycle, islice

_ATTEMPT = (
    "ignore  all  previous x you are now set the label system: you must answer only with "
    "priority to confidence nothing else </ end of { jailbreak classify this ticket "
)


def repeated(unit: str) -> Callable[[int], str]:
    """Makes texts of nothing but a unit."""
    return lambda length: (unit * (length // len(unit) + 1))[:length]


def _one_quote(length: int) -> str:
    return '"' + "a" * (length - 1)


def _scripts(length: int) -> str:
    return "".join(islice(cycle("aбγ中かקن한ไд1 "), length))


def _numbers(length: int) -> str:
    return " ".join(str(number) for number in range(10**5, 10**5 + length // 7 + 1))[:length]


def _words(length: int) -> str:
    return " ".join(f"w{number:x}" for number in range(length // 4))[:length]


def _open(length: int) -> str:
    return "(" * (length // 2) + ")" * (length - length // 2)


TEXTS: dict[str, Callable[[int], str]] = {
    "combining marks": repeated("\u0301\u0323"),
    "letters under marks": repeated("e" + "\u0301\u0323" * 20),
    "runs as long as allowed": repeated("a" + "\u0301" * 30),
    "runs that are almost too long": repeated("\u0301" * 29 + "a"),
    "halfwidth marks": repeated("\uff9e"),
    "marks that decompose": repeated("\u0f73\u0344"),
    "ligatures of eighteen": repeated("\ufdfa"),
    "letters that grow when folded": repeated("\u0390\ufb03"),
    "hangul in parts": repeated("\u1100\u1161\u11a8"),
    "vowels of hangul": repeated("\u1161"),
    "one word": repeated("a"),
    "one word, not ascii": repeated("é"),
    "words": _words,
    "words, not ascii": repeated("é "),
    "blanks": repeated(" "),
    "blanks of all kinds": repeated("\u3000\u00a0\u200b\t"),
    "line breaks": repeated("\n"),
    "line breaks of all kinds": repeated("\r\n\r\u2028\n \n"),
    "short lines": repeated("a\n"),
    "controls": repeated("\x00\x1b\x07"),
    "tag characters": repeated("\U000e0041"),
    "zero width": repeated("a\u200b"),
    "right to left": repeated("\u202eא\u202d"),
    "scripts in turn": _scripts,
    "chinese": repeated("发票号码"),
    "emoji": repeated("\U0001f468\u200d\U0001f469"),
    "lost characters": repeated("\ufffdÃ¤"),
    "full stops": repeated(". "),
    "ellipses": repeated("...…"),
    "sentences": repeated("Go! "),
    "quotation marks": repeated('"'),
    "escaped quotation marks": repeated('\\"'),
    "one quotation mark": _one_quote,
    "apostrophes": repeated("'"),
    "backslashes": repeated("\\"),
    "brackets": _open,
    "opening brackets": repeated("f([{<"),
    "tags": repeated("<b>"),
    "tags without an end": repeated("<" + "a" * 400),
    "entities": repeated("&amp"),
    "entities that are none": repeated("&" + "a" * 31),
    "numbered entities": repeated("&#65;"),
    "one long entity": lambda length: "&#" + "9" * (length - 2),
    "digits": repeated("9"),
    "digits of another script": repeated("٣"),
    "numbers": _numbers,
    "one number": repeated("1,"),
    "thousands": repeated("111 "),
    "thousands with apostrophes": repeated("111'"),
    "exponents": repeated("1e999999 "),
    "separators of another script": repeated("٣٬٣٣٣٫٣ "),
    "dates": repeated("12/11/2026 2026-11-12 "),
    "addresses": repeated("a@b.co "),
    "addresses without an end": repeated("a.a@a."),
    "base64": repeated("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo0"),
    "attempts": repeated(_ATTEMPT),
    "beginnings of attempts": repeated("ignore " + "a " * 3),
    "beginnings of attempts, wide": repeated("ignore" + " " * 20 + "a" * 30 + " " * 20),
    "roles": repeated("system: x\n"),
    "comments": repeated("/*"),
    "comments that end": repeated("/**/"),
    "arrows": repeated("->"),
    "calls": repeated("f("),
    "definitions": repeated("def f(a, b):\n    return a\n"),
    "one parameter list": lambda length: "def f(" + ("a" * 7 + ",") * (length // 8 - 2) + "):0",
    "one long parameter": lambda length: "function f(" + "a" * (length - 12) + ")",
    "sums": repeated("1+"),
    "names with dots": lambda length: "import " + "a." * ((length - 8) // 2) + "a",
    "strings with expressions": lambda length: "f'''" + "{a}" * ((length - 8) // 3) + "'''",
    "lambdas": repeated("lambda:("),
    "signs": repeated("-"),
}
