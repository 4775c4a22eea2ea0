"""Finds a field by what its name, or else its description, says that it is.

Choices between given values are scales, codes, yes or no, and at last labels by similarity.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from pipeline.local.simulated.stand_in.business import PRINTED_DATE, Document, Position, find_dates
from pipeline.local.simulated.stand_in.content import CUES, Content, shorten, tidied
from pipeline.local.simulated.stand_in.schema import Ask, Found
from pipeline.local.simulated.stand_in.vocabulary import (
    STOP_WORDS,
    Phrases,
    concepts,
    listed,
    stem,
    words,
)

_DATES, _PARTIES, _IDENTIFIERS, _AMOUNTS, _PARTS, _ACTIONS, _TEXTS = (
    Phrases(listed(group))
    for group in ("date", "party", "identifier", "amount", "part", "action", "text")
)
SELDOM = frozenset({"prepaid", "allowances", "charges", "withheld", "due_date", "due"})
"""What a complete document may well lack."""
_IS_DATE = re.compile(r" (?:date|deadline|day|dated|issued on|due on) ")
_IS_IDENTIFIER = re.compile(r" (?:number|no|nr|id|reference|ref|num) ")
_IS_AMOUNT = re.compile(r" (?:total|amount|sum|price|cost|value) ")
_NO_MONEY = re.compile(r"\bname\b|\bdate\b|\bsentence\b", re.IGNORECASE)
_ZERO_IF_NONE = re.compile(r"\b0 (?:if|where|when|for) (?:none|nothing|there|not)", re.IGNORECASE)
_VERBATIM = re.compile(r"(?i)as (?:it|they) stands?|letter for letter|verbatim|exactly")
_PHONE = re.compile(r"(?<![\w.])\+?\(?\d(?:[\d ()-]|(?<! )/(?! )){5,}\d(?![\w-])")
_OTHER_NUMBER = re.compile(r"(?i)(?:ref\w*|order|invoice|amount|iban\b.*|no|nr|#)[\s.:#]*$")
_NAME = r"[A-ZÀ-Ý][\w'’-]+"
_SPEAKER = re.compile(rf"^({_NAME}(?: {_NAME})?): *")
_DOER = re.compile(
    rf"\b(?!(?:I|It|We|He|She|They|You|This|That|The|There)\b)({_NAME}(?: {_NAME})?) "
    r"(?:will|shall|must|has to|needs to|agreed to|soll|muss|wird|doit|devra|va|debe)\b"
)
_DUE = re.compile(
    r"(?i)\b(?:by|until|before|bis(?: zum)?|avant(?: le)?|antes del?)\s+((?:next |the )?(?:"
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day|today|tomorrow|end of [a-z]+|"
    r"\d{1,2}\.?(?:st|nd|rd|th)? (?:de )?[a-zà-ÿ]{3,}(?: (?:de )?\d{4})?))"
)
_MOST, _POINTS, _POINT_CHARACTERS, _TASK_CHARACTERS = 20, 5, 200, 120
Chooser = Callable[[Sequence[str], str], Found]
"""Chooses one of some names; the second is what the schema says of them."""
_URGENCY_STEPS, _LEGIBILITY_STEPS = (
    {name: int(step) for step, names in listed(scale).items() for name in names.split(", ")}
    for scale in ("urgency", "legibility")
)
_LEGIBILITY = re.compile(r" (?:legib\w*|readab\w*|quality|sharpness) ")
_URGENCY = (("urgent", 2.0), ("serious", 1.3), ("trouble", 0.6), ("calm", -1.2))
_YES_OR_NO = Phrases(listed("answer"))
_STEERS = re.compile(r" (?:injection|instructions?|manipulat\w*|jailbreak) ")


def _as_asked(ask: Ask, value: Decimal) -> str | float | int:
    if ask.kind == "integer":
        return int(value)
    return float(value) if ask.kind == "number" else format(value, "f")


def find_in_document(ask: Ask, document: Document) -> Found | None:
    """A property that business documents have; None where it is no such property."""
    if ask.kind == "string":
        is_date = str(ask.schema.get("format")).startswith("date") or _IS_DATE.search(ask.words)
        if is_date or "YYYY-MM-DD" in ask.description:
            role = _DATES.first(ask.words) or "issue_date"
            day, sure = document.date(role)
            time = "T00:00:00Z" if ask.schema.get("format") == "date-time" else ""
            missing = None if role in SELDOM else sure
            return Found(f"{day.isoformat()}{time}", sure) if day else Found(None, missing)
        if " currency " in ask.words:
            return Found(*document.currency)
        if _IS_IDENTIFIER.search(ask.words):
            return _identifier(ask, document)
        if party := _PARTIES.first(ask.words):
            return Found(*document.party(party))
        if _NO_MONEY.search(ask.description.split(".")[0]):
            return None
    is_amount = _AMOUNTS.first(ask.words) or _IS_AMOUNT.search(ask.words)
    return _amount(ask, document) if is_amount else None


def _amount(ask: Ask, document: Document) -> Found:
    # `total` alone says nothing; its description may.
    role = _AMOUNTS.first(ask.words) or _AMOUNTS.first(ask.described) or "gross"
    amount = document.amount(role)
    if amount is None:
        none = _ZERO_IF_NONE.search(ask.description) and document.amount("gross") is not None
        return Found(_as_asked(ask, Decimal(0)) if none else None, None if role in SELDOM else 0.4)
    value = amount.number.value
    value = abs(value) if role in {"allowances", "prepaid", "charges"} else value
    return Found(_as_asked(ask, value), 0.9 if amount.fit > 0.4 else 0.6)  # noqa: PLR2004


def _identifier(ask: Ask, document: Document) -> Found:
    if role := _IDENTIFIERS.first(ask.words):
        return Found(*document.identifier(role))
    noun = _IS_IDENTIFIER.sub(" ", ask.words).strip()
    variants = [f"{noun} {end}" for end in ("number", "no", "nr", "id", "#")] if noun else []
    value = document.named([ask.words, *variants])
    value = value or (document.identifier_after(re.escape(noun)) if noun else None)
    return Found(value, 0.7 if value else 0.4)


def has_position(items: Ask) -> bool:
    """Whether the parts of an entry are those of a position of a document."""
    return sum(_PARTS.first(part.words) is not None for part in items.properties) > 1


def find_in_position(position: Position, ask: Ask) -> Found | None:
    role = _PARTS.first(ask.words)
    if role is None:
        return Found(position.description or None if ask.kind == "string" else None)
    number = getattr(position, role)
    if number is None:
        return Found(None)
    return Found(_as_asked(ask, number.value.normalize() if role == "quantity" else number.value))


def find_in_action(sentence: str, ask: Ask) -> Found | None:
    """What a sentence says is to be done, by whom or by when; None for any other property."""
    match _ACTIONS.first(ask.words):
        case "task":
            return Found(shorten(_SPEAKER.sub("", sentence).strip(), _TASK_CHARACTERS))
        case "owner":
            found = _SPEAKER.match(sentence) or _DOER.search(sentence)
        case "due":
            found = _DUE.search(sentence)
        case _:
            return None
    return Found(found[1] if found else None)


def _phones(_: Ask, content: Content) -> list[str]:
    # Nothing in place of dates, and as many characters.
    text = PRINTED_DATE.sub(lambda match: "x" * len(match.group()), content.text)
    return [
        match.group().strip()
        for match in _PHONE.finditer(text)
        if sum(map(str.isdigit, match.group())) > 6  # noqa: PLR2004
        and not _OTHER_NUMBER.search(text[max(0, match.start() - 16) : match.start()])
    ]


def _everywhere(pattern: str) -> Callable[[Ask, Content], list[str]]:
    return lambda _, content: re.findall(pattern, content.text)


_FINDERS: Mapping[str, Callable[[Ask, Content], list[str]]] = {
    "cleaned": lambda _, content: [tidied(content.body)],
    "language": lambda _, content: [code] if (code := content.language[0]) else [],
    "quote": lambda _, content: [content.quote()],
    "title": lambda _, content: [content.title or shorten(content.summary(), 80)],
    "email": _everywhere(r"[\w.+-]+ ?@ ?[\w-]+(?:\.[\w-]+)+"),
    "iban": _everywhere(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
    "url": _everywhere(r"https?://[^\s<>\"']+|www\.[^\s<>\"']+"),
    "phone": _phones,
    "dates": lambda ask, content: (
        [match.group().strip() for match in PRINTED_DATE.finditer(content.text)]
        if _VERBATIM.search(ask.description)
        else [day.isoformat() for day in find_dates(content.text)]
    ),
    "actions": lambda _, content: [
        shorten(s, _POINT_CHARACTERS) for s in content.sentences if CUES["action"].search(s)
    ],
    "names": _everywhere(rf"\b{_NAME}(?: {_NAME})+"),
    "points": lambda _, content: [
        shorten(sentence, _POINT_CHARACTERS) for sentence in content.ranked()[:_POINTS]
    ],
    "summary": lambda _, content: [content.summary(content.number("sentence") or 1)],
}


def list_texts(ask: Ask, content: Content) -> list[str]:
    kind = _TEXTS.first(ask.words)
    found = _FINDERS[kind](ask, content) if kind else []
    return list(dict.fromkeys(text.strip() for text in found))[:_MOST]


def find_text(ask: Ask, content: Content, document: Document) -> Found:
    """The value of a text property; its value is None where nothing was found."""
    kind = _TEXTS.first(ask.words)
    if kind is None:
        if (named := document.named([ask.words])) is not None:
            return Found(named, 0.7)
        kind = _TEXTS.first(ask.described)
    found = _FINDERS[kind](ask, content) if kind else None
    if not found:
        return Found(None, 0.4 if found is None else 0.5)
    return Found(found[0], content.language[1] if kind == "language" else None)


def choose(ask: Ask, content: Content, chooser: Chooser) -> Found:
    options = ask.options or ()
    texts = [option for option in options if isinstance(option, str)]
    if len(options) == 1:
        return Found(options[0])
    if len(texts) != len(options):
        return Found(None if ask.nullable else options[0], 0.4)
    # An empty text among the values stands for what the content does not say.
    names = [name for name in texts if name]
    found = _by_rule(ask, names, content)
    if found is None:
        found = chooser(names, str(ask.schema.get("description", "")))
        if len(names) < len(texts) and not found.evidence:
            return Found("", 0.7)
    return found


def _by_rule(ask: Ask, names: Sequence[str], content: Content) -> Found | None:
    """Yes or no, or a step of a scale: urgency, or how well something can be read."""
    answers = {_YES_OR_NO.first(name): name for name in names}
    if {"yes", "no"} <= answers.keys():
        flag = decide(ask, content)
        return flag._replace(value=answers["yes" if flag.value else "no"])
    by_name = {name.lower(): name for name in names}
    urgency, legibility = (
        {by_name[name]: steps[name] for name in by_name if name in steps}
        for steps in (_URGENCY_STEPS, _LEGIBILITY_STEPS)
    )
    if len(urgency) > 1 and not _LEGIBILITY.search(ask.words):
        level = _urgency(content)
        label = min(urgency, key=lambda name: abs(urgency[name] - level))
        return Found(label, max(0.75, 0.95 - abs(urgency[label] - level) * 0.4))
    share = content.legibility if content.text else 0.0
    wanted = (share >= 0.5) + (share >= 0.75)  # noqa: PLR2004
    best = min(legibility, key=lambda name: abs(legibility[name] - wanted), default=None)
    return Found(best, 0.9) if len(legibility) > 1 else None


def _urgency(content: Content) -> float:
    """0 not at all, 1 normal, 2 high, 3 urgent; between where it is between."""
    text = f"{content.title}\n{content.body}"[:20_000]
    cues = ((weight, set(map(str.lower, CUES[cue].findall(text)))) for cue, weight in _URGENCY)
    total = 0.8 + sum(weight * min(2, len(found)) for weight, found in cues)
    total += 0.5 * (len(re.findall(r"\b[A-Z]{4,}\b", text)) > 2) + 0.3 * (text.count("!") > 1)  # noqa: PLR2004
    return min(3.0, max(0.0, total))


def decide(ask: Ask, content: Content) -> Found:
    if _STEERS.search(ask.words):
        return Found(content.steers, 0.8)
    present = {meaning for word in words(content.text)[:3000] for meaning in _meanings(word)}
    named = [_meanings(word) for word in words(ask.words) if word not in STOP_WORDS]
    return Found(bool(named) and all(map(present.intersection, named)), 0.85)


def _meanings(word: str) -> tuple[str, ...]:
    return (stem(word), *concepts(word))
