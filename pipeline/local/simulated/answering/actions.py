"""One sentence as something to be done: what, by whom, by when."""

import re
from collections.abc import Callable, Sequence

from pipeline.local.simulated.answering.ask import Ask, Found
from pipeline.local.simulated.answering.sentences import shorten

_TASK_CHARACTERS = 120
_SPEAKER = re.compile(r"^(?P<who>[A-ZÀ-Ý][\w'’-]+(?: [A-ZÀ-Ý][\w'’-]+)?): *")
_DOER = re.compile(
    r"\b(?P<who>(?:(?:Mr|Ms|Mrs|Dr|Frau|Herr|Mme|M)\.? )?[A-ZÀ-Ý][\w'’-]+(?: [A-ZÀ-Ý][\w'’-]+)?) "
    r"(?:will|shall|must|has to|needs to|agreed to|takes|writes|calls|sends|soll|muss|wird|"
    r"übernimmt|organisiert|doit|devra|va|debe)\b"
)
_DAY = (
    r"(?:next |this |the |kommenden |nächsten )?"
    r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day|today|tomorrow|tonight|end of [a-z]+|"
    r"montag|dienstag|mittwoch|donnerstag|freitag|heute|morgen|mitte [a-zä]+|ende [a-zä]+|"
    r"demain|lundi|mardi|mercredi|jeudi|vendredi|mañana|lunes|viernes|"
    r"\d{1,2}\.?(?:st|nd|rd|th)? (?:de )?[a-zà-ÿ]{3,}(?: (?:de )?\d{4})?)"
)
_DUE = re.compile(
    r"\b(?:by|until|before|on|no later than|bis(?: zum)?|avant(?: le)?|antes del?)\s+"
    rf"(?P<due>{_DAY})"
    rf"|\b(?P<now>today|tomorrow|tonight|heute|demain|mañana)\b",
    re.IGNORECASE,
)
_NOT_A_DOER = frozenset(
    {"I", "It", "We", "He", "She", "They", "You", "This", "That", "The", "There"}
)


def find_in_action(ask: Ask, sentence: str) -> Found | None:
    """The value of a text property of an action; None where the property is none of its parts."""
    find = next((find for pattern, find in _PARTS if pattern.search(ask.words)), None)
    return None if find is None else Found(find(sentence) or None)


def _task(sentence: str) -> str:
    return shorten(_SPEAKER.sub("", sentence).strip(), _TASK_CHARACTERS)


def _owner(sentence: str) -> str | None:
    match = _SPEAKER.match(sentence) or _DOER.search(sentence)
    return None if match is None or match["who"] in _NOT_A_DOER else match["who"]


def _due(sentence: str) -> str | None:
    match = _DUE.search(sentence)
    return None if match is None else match["due"] or match["now"]


_PARTS: Sequence[tuple[re.Pattern[str], Callable[[str], str | None]]] = (
    (re.compile(r" (?:task|action|todo|step|what) "), _task),
    (re.compile(r" (?:owner|assignee|responsible|who|person) "), _owner),
    (re.compile(r" (?:due|deadline|when|until) "), _due),
)
