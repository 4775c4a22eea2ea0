"""Finds a field by what its name, or else its description, says that it is."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal

from pipeline.local.simulated.stand_in.business import Document, Position
from pipeline.local.simulated.stand_in.content import CUES, LANGUAGES, Content, shorten, tidied
from pipeline.local.simulated.stand_in.numbers_and_dates import (
    PRINTED_DATE,
    Number,
    find_dates,
    find_numbers,
)
from pipeline.local.simulated.stand_in.schema import Ask, Found
from pipeline.local.simulated.stand_in.vocabulary import is_stop_word, words

_DATES = {
    "due_date": "due|payable|deadline|pay by|expiry|expires|faellig",
    "delivery_date": "delivery|delivered|service|shipped|supply|period",
}
_PARTIES = {
    "vendor": "vendor|seller|supplier|merchant|issuer|store|shop|sender|payee|provider",
    "buyer": "buyer|customer|client|recipient|bill to|purchaser|debtor|payer",
}
_IDENTIFIERS = {
    "tax_id": "vat|tax|gst|ust|iva|tva",
    "order_number": "order|po|purchase",
    "customer_number": "customer|client|account|member",
    "invoice_number": "invoice|document|receipt|bill|doc|rechnung",
}
_AMOUNTS = {
    "prepaid": "prepaid|pre paid|advance|deposit|already paid|down payment|paid",
    "allowances": "allowances?|discounts?|rebates?|deductions?",
    "charges": "charges?|shipping|freight|fees?|surcharges?|handling|postage",
    "withheld": "withheld|withholding|retention|retained",
    "line_total": "lines? total|sum of lines|items total",
    "due": "due|payable|outstanding|balance|to pay|owed",
    "net": "net|subtotal|sub total|before tax|excluding|excl|taxable|without tax",
    "gross": "with tax|including|incl|gross|grand",
    "tax": "tax|taxes|vat|gst",
}
_POSITION_PARTS = {
    "unit_price": "unit|each|per|single|price|rate",
    "amount": "amount|total|sum|net|gross|cost|value|subtotal",
    "quantity": "quantity|qty|count|units|hours|number|pieces|menge",
}
SELDOM = frozenset({"prepaid", "allowances", "charges", "withheld", "due_date", "due"})
"""What a complete document may well lack."""
_IS_DATE = re.compile(r" (?:date|deadline|day|dated|issued on|due on) ")
_IS_IDENTIFIER = re.compile(r" (?:number|no|nr|id|reference|ref|num) ")
_IS_AMOUNT = re.compile(rf" (?:{'|'.join(_AMOUNTS.values())}|total|amount|sum|price|cost|value) ")
_NO_MONEY = re.compile(r"\bname\b|\bdate\b|\bsentence\b", re.IGNORECASE)
_ZERO_IF_NONE = re.compile(r"\b0 (?:if|where|when|for) (?:none|nothing|there|not)", re.IGNORECASE)
_VERBATIM = re.compile(
    r"as (?:it|they) stands?|letter for letter|as (?:printed|written)|verbatim|exactly",
    re.IGNORECASE,
)
_PHONE = re.compile(r"(?<![\w.])\+?\(?\d(?:[\d ()-]|(?<! )/(?! )){5,}\d(?![\w-])")
_OTHER_NUMBER = re.compile(
    r"(?:ref\w*|order|invoice|pedido|rechnung|amount|betrag|iban\b.*|no|nr|#)[\s.:#]*$",
    re.IGNORECASE,
)
_NAME = r"[A-ZÀ-Ý][\w'’-]+"
_SPEAKER = re.compile(rf"^({_NAME}(?: {_NAME})?): *")
_DOER = re.compile(
    rf"\b(?!(?:I|It|We|He|She|They|You|This|That|The|There)\b)({_NAME}(?: {_NAME})?) "
    r"(?:will|shall|must|has to|needs to|agreed to|takes|writes|calls|sends|soll|muss|wird|"
    r"übernimmt|organisiert|doit|devra|va|debe)\b"
)
_DUE = re.compile(
    r"\b(?:by|until|before|on|bis(?: zum)?|avant(?: le)?|antes del?)\s+((?:next |the )?(?:"
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day|today|tomorrow|(?:end|ende|mitte) (?:of )?[a-zä]+|"
    r"(?:mon|diens|donners|frei)tag|mittwoch|morgen|demain|\w+di|mañana|"
    r"\d{1,2}\.?(?:st|nd|rd|th)? (?:de )?[a-zà-ÿ]{3,}(?: (?:de )?\d{4})?))",
    re.IGNORECASE,
)
_MOST, _POINTS, _POINT_CHARACTERS, _TASK_CHARACTERS = 20, 5, 200, 120


def _role(roles: dict[str, str], text: str) -> str | None:
    return next((role for role, names in roles.items() if re.search(f" (?:{names}) ", text)), None)


def _as_asked(ask: Ask, value: Decimal) -> str | float | int:
    if ask.kind == "integer":
        return int(value)
    return float(value) if ask.kind == "number" else format(value, "f")


def find_in_document(ask: Ask, document: Document) -> Found | None:
    """A property that business documents have; None where it is no such property."""
    if ask.kind == "string":
        is_date = str(ask.schema.get("format")).startswith("date") or _IS_DATE.search(ask.words)
        if is_date or "YYYY-MM-DD" in ask.description:
            role = _role(_DATES, ask.words) or "issue_date"
            day, sure = document.date(role)
            time = "T00:00:00Z" if ask.schema.get("format") == "date-time" else ""
            missing = None if role in SELDOM else sure
            return Found(f"{day.isoformat()}{time}", sure) if day else Found(None, missing)
        if " currency " in ask.words:
            return Found(*document.currency)
        if _IS_IDENTIFIER.search(ask.words):
            return _identifier(ask, document)
        if party := _role(_PARTIES, ask.words):
            return Found(*document.party(party))
        if _NO_MONEY.search(ask.description.split(".")[0]):
            return None
    return _amount(ask, document) if _IS_AMOUNT.search(ask.words) else None


def _identifier(ask: Ask, document: Document) -> Found:
    if role := _role(_IDENTIFIERS, ask.words):
        return Found(*document.identifier(role))
    noun = _IS_IDENTIFIER.sub(" ", ask.words).strip()
    variants = [f"{noun} {end}" for end in ("number", "no", "nr", "id", "#")] if noun else []
    value = document.named([ask.words, *variants])
    value = value or (document.identifier_after(re.escape(noun)) if noun else None)
    return Found(value, 0.7 if value else 0.4)


def _amount(ask: Ask, document: Document) -> Found:
    # `total` alone says nothing; its description may.
    role = _role(_AMOUNTS, ask.words) or _role(_AMOUNTS, ask.described) or "gross"
    amount = document.amount(role)
    if amount is None:
        none = _ZERO_IF_NONE.search(ask.description) and document.amount("gross") is not None
        zero = _as_asked(ask, Decimal(0)) if none else None
        return Found(zero, None if role in SELDOM else 0.4)
    value = amount.number.value
    value = abs(value) if role in {"allowances", "prepaid", "charges"} else value
    return Found(_as_asked(ask, value), 0.9 if amount.fit > 0.4 else 0.6)  # noqa: PLR2004


def is_position_part(ask: Ask) -> bool:
    return _role(_POSITION_PARTS, ask.words) is not None


def find_in_position(position: Position, ask: Ask) -> Found:
    role = _role(_POSITION_PARTS, ask.words)
    if role is None:
        return Found(position.description or None if ask.kind == "string" else None)
    number: Number | None = getattr(position, role)
    if number is None:
        return Found(None)
    return Found(_as_asked(ask, number.value.normalize() if role == "quantity" else number.value))


def count_in(ask: Ask, document: Document) -> Found:
    """A number that stands beside the words of the property's name."""
    numbers = find_numbers(document.named([ask.words]) or "", comma=document.comma)
    return next((Found(_as_asked(ask, n.value), 0.7) for n in numbers), Found(None, 0.4))


def find_in_action(sentence: str, ask: Ask) -> Found | None:
    """What a sentence says is to be done, by whom or by when; None for any other property."""
    if re.search(r" (?:task|action|todo|step|what) ", ask.words):
        return Found(shorten(_SPEAKER.sub("", sentence).strip(), _TASK_CHARACTERS))
    is_owner = re.search(r" (?:owner|assignee|responsible|who|person) ", ask.words)
    if not is_owner and not re.search(r" (?:due|deadline|when|until) ", ask.words):
        return None
    match = (
        _SPEAKER.match(sentence) or _DOER.search(sentence) if is_owner else _DUE.search(sentence)
    )
    return Found(match[1] if match else None)


def _everywhere(pattern: str) -> Callable[[Ask, Content], list[str]]:
    return lambda _, content: re.findall(pattern, content.text)


def _phones(_: Ask, content: Content) -> list[str]:
    text = content.text
    dates = [match.span() for match in PRINTED_DATE.finditer(text)]
    return [
        match.group().strip()
        for match in _PHONE.finditer(text)
        if sum(map(str.isdigit, match.group())) > 6  # noqa: PLR2004
        and not any(begin < match.end() and match.start() < end for begin, end in dates)
        and not _OTHER_NUMBER.search(text[max(0, match.start() - 16) : match.start()])
    ]


def _dates(ask: Ask, content: Content) -> list[str]:
    if _VERBATIM.search(ask.description):
        return [match.group().strip() for match in PRINTED_DATE.finditer(content.text)]
    return [day.isoformat() for day in find_dates(content.text)]


def _actions(_: Ask, content: Content) -> list[str]:
    found = (s for s in content.sentences if CUES["action"].search(s.lower()))
    return [shorten(sentence, _POINT_CHARACTERS) for sentence in found]


def _points(_: Ask, content: Content) -> list[str]:
    best = content.ranked()[:_POINTS]
    return [shorten(s, _POINT_CHARACTERS) for s in content.sentences if s in best]


def _topics(_: Ask, content: Content) -> list[str]:
    said = (w for w in words(content.text) if len(w) > 3 and not is_stop_word(w))  # noqa: PLR2004
    return [word for word, _ in Counter(said).most_common(_POINTS)]


def _languages(ask: Ask, content: Content) -> list[str]:
    code, _ = content.language
    named = "name" in ask.words or re.search(r"\b(English|German)\b", ask.description)
    as_name = named and not re.search(r"639|\bcode\b|\ben\b", ask.description)
    return [] if code is None else [LANGUAGES.get(code, code).capitalize() if as_name else code]


def _summary(ask: Ask, content: Content) -> list[str]:
    count = re.search(r"\b(two|three|four|five) sentences\b", ask.description)
    wanted = ("two", "three", "four", "five").index(count[1]) + 2 if count else 1
    return [content.summary(content.number("sentence") or wanted)]


_KINDS: Sequence[tuple[str, Callable[[Ask, Content], list[str]]]] = (
    ("cleaned|clean|tidied|tidy|normali[sz]ed|corrected", lambda _, c: [tidied(c.body)]),
    ("languages?|lang|sprache|locale", _languages),
    ("quote|evidence|excerpt|verbatim|citation|passage", lambda _, c: [c.quote()]),
    ("title|headline|subject", lambda _, c: [c.title or shorten(c.summary(), 80)]),
    ("e ?mails?|mails?|mail addresses", _everywhere(r"[\w.+-]+ ?@ ?[\w-]+(?:\.[\w-]+)+")),
    ("ibans?", _everywhere(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")),
    ("urls?|uri|websites?|links?", _everywhere(r"https?://[^\s<>\"']+|www\.[^\s<>\"']+")),
    ("phones?|phone numbers|telephones?|tel|mobile|fax", _phones),
    ("dates|deadlines|days", _dates),
    ("actions?|action items|todos|tasks|next steps", _actions),
    ("names|people|persons|companies|entities|parties", _everywhere(rf"\b{_NAME}(?: {_NAME})+")),
    ("tags|keywords|topics|themes", _topics),
    ("quotes|excerpts|passages|(?:key )?points|facts|highlights|findings|takeaways", _points),
    (
        "summary|description|abstract|gist|explanation|reason|comment|note|why|content|about|topic",
        _summary,
    ),
)


def list_texts(ask: Ask, content: Content) -> list[str]:
    for names, find in _KINDS:
        if re.search(rf" (?:{names}) ", ask.words):
            return list(dict.fromkeys(found.strip() for found in find(ask, content)))[:_MOST]
    return []


def find_text(ask: Ask, content: Content, document: Document) -> Found:
    """The value of a text property; its value is None where nothing was found."""
    for said in (ask.words, None, ask.described):
        if said is None:
            if (named := document.named([ask.words])) is not None:
                return Found(named, 0.7)
            continue
        for names, find in _KINDS:
            if re.search(rf" (?:{names}) ", said):
                found = find(ask, content)
                sure = content.language[1] if find is _languages else None
                return Found(found[0], sure) if found else Found(None, 0.5)
    return Found(None, 0.4)
