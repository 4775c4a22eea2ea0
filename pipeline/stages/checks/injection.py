"""Signs that content speaks to the model that reads it, rather than to a person.

A list of phrases cannot keep an instruction out, and nothing depends on it doing so: content is
delimited as data and the answer can only be what the schema allows. What it does is send an
event that looks like an attempt to the stronger model, with the reason written down.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.model.questions import Part, Signal, Text
from pipeline.stages.checks.text_quality import TAGS, nfkc

_LONGEST_FLAG = 8
_SCANNED = 100_000
"""Characters, of both ends of a longer text: what is longer is doubted for its length anyway."""
_WINDOW = 4_000
"""Characters that are searched in one go: other threads wait for it."""
_LONGEST_SIGN = 1_000
"""Characters of the longest that a pattern finds, about."""
_FORMAT = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\u00ad]")
_HIDDEN_IN_WORD = re.compile("[A-Za-z][\u200b\u2060-\u2064][A-Za-z]|[\u202d\u202e]")
_TAG_CHARACTERS = re.compile(f"[{TAGS}]")
_TAG_SHIFT = 0xE0000


@dataclass(frozen=True, slots=True)
class _Sign:
    """A pattern, and what a text must contain for it to be worth searching: of each group, one.

    The words are looked for first because that is a hundred times faster than the pattern, and
    most content has none of them.
    """

    strength: float
    what: str
    words: tuple[tuple[str, ...], ...]
    pattern: re.Pattern[str]

    def is_in(self, text: str, lowered: str) -> bool:
        # Plain loops: this runs for every event, and generators would cost twice as much.
        for group in self.words:
            for word in group:
                if word in lowered:
                    break
            else:
                return False
        for at in range(0, len(text), _WINDOW):
            end = at + _WINDOW + _LONGEST_SIGN
            found = self.pattern.search(text, at, end)
            # What ends where the search does might go on, and then be something else.
            if found is not None and (found.end() < end or end >= len(text)):
                return True
        return False


def _sign(strength: float, what: str, words: Sequence[str], *patterns: str) -> _Sign:
    pattern = re.compile("|".join(patterns), re.IGNORECASE | re.MULTILINE)
    return _Sign(strength, what, tuple(tuple(group.split(",")) for group in words), pattern)


_FORGET_WORDS = (
    "ignor,disregard,forget,overrid,bypass,vergiss,vergessen,missachte,oubli,olvida,dimentica"
    ",negeer,vergeet,игнорируй,забудь"
)
_FORGET = (
    r"(?:ignore|disregard|forget|override|bypass|ignorier\w{0,20}|vergiss|vergessen sie"
    r"|missachte\w{0,20}|ignorez|oubliez?|ignora|olvida|ignorare|dimentica|negeer|vergeet|zignoruj|игнорируй\w{0,20}"
    r"|забудь\w{0,20})"
)
_EARLIER = (
    r"(?:previous|prior|above|preceding|earlier|foregoing|system|your|all|any|vorherigen?"
    r"|bisherigen?|obigen?|alle|précédentes|antérieures|anteriores|previas|precedenti"
    r"|vorige|eerdere|poprzednie|предыдущие|все)"
)
_INSTRUCTIONS = (
    r"(?:instructions?|prompts?|rules|guidelines|directives|anweisungen|vorgaben|regeln"
    r"|consignes|règles|instrucciones|reglas|indicaciones|istruzioni|regole|instruções|regras"
    r"|instructies|polecenia|instrukcje|инструкции|указания)"
)

# Bounded throughout: hostile input must not make a search quadratic.
_GAP = r"\W{1,20}(?:\w{1,30}\W{1,20}){0,3}?"
_SHORT_GAP = r"\W{1,20}(?:\w{1,30}\W{1,20}){0,1}?"
_TO_IGNORE = "asks to ignore instructions"
_MARKUP = "imitates the markup of a conversation with a model"
_END = "imitates the end of the content or a ready-made answer"
_TO_ANSWER = "tells a model what to answer"
_WORDS = "has words that are often part of an attempt to steer a model"
_SIGNS = (
    _sign(
        1.0,
        _TO_IGNORE,
        (_FORGET_WORDS,),
        rf"\b{_FORGET}\b{_GAP}{_EARLIER}{_SHORT_GAP}{_INSTRUCTIONS}\b",
        rf"\b{_FORGET}\b{_GAP}{_INSTRUCTIONS}{_SHORT_GAP}{_EARLIER}\b",
        r"\b(?:ignore|disregard|forget) (?:everything|anything|all)(?: that)?"
        r" (?:you (?:were|have been|know)|above|before|was said)\b",
    ),
    _sign(
        1.0,
        _TO_IGNORE,
        ("忽略,无视,忘记,無視,忘れて",),
        r"(?:忽略|无视|忘记|無視して|忘れて).{0,12}(?:指令|指示|提示|规则|ルール)",
        r"(?:以前|之前|上述|上記|これまで)の?.{0,6}(?:指令|指示|提示).{0,8}(?:忽略|无视|無視)",
    ),
    _sign(
        0.9,
        _MARKUP,
        ("<|,[inst],[/inst],<<sys,<</sys",),
        r"<\|(?:im_start|im_end|system|user|assistant|endoftext|eot_id|start_header_id)\|>",
        r"\[/?inst\]|<</?sys>>",
    ),
    _sign(
        0.9,
        _MARKUP,
        ("system,assistant,developer", ":"),
        r"^[ \t>#*]{0,8}(?:system|assistant|developer)(?: message| prompt)?[ \t*]{0,3}:[ \t*]{0,3}"
        r"(?:you|ignore|disregard|override|classify|answer|respond|reply|extract|return|output"
        r"|approve|always|never|new (?:task|instructions?))\b",
    ),
    _sign(
        0.8,
        _END,
        ("</,end of,{",),
        r"</\s{0,5}(?:data-\w{1,16}|event|ticket|content|instructions|user_input)\s{0,5}>",
        r"\bend of (?:the )?(?:event|content|ticket|input|data|user message)\b",
        r"\{\s{0,20}\"(?:intent|document_type|confidence|runner_up|quote)\"\s{0,5}:",
    ),
    _sign(
        0.8,
        _TO_ANSWER,
        ("you are,act as,behave as,du bist,sie sind,tu es,vous êtes,eres",),
        r"\b(?:you are|act as|behave as|du bist|sie sind|tu es|vous êtes|eres)\s{1,5}"
        r"(?:(?:now|jetzt|nun|ab jetzt|maintenant|ahora)\s{1,5})?(?:an?|ein|eine|une?|una)?\s{0,5}"
        r"(?:\w{1,30}\s{1,5}){0,3}(?:ai|ki|ia|language model|chatbot|unrestricted|jailbroken)\b",
        r"\b(?:you are|act as)\s{1,5}now\s{1,5}(?:\w{1,30}\s{1,5}){0,3}assistant\b",
    ),
    _sign(
        0.8,
        _TO_ANSWER,
        (
            "ai,llm,gpt,claude,language model,chatbot,classifier",
            "must,should,has to,have to,shall,please",
            "classif,answer,respond,output,return,label,approve",
        ),
        r"\b(?:ai|llm|gpt|claude|language model|chatbot|classifier)\b[^.\n]{0,40}\b(?:must|should"
        r"|has to|have to|shall|please)\b[^.\n]{0,40}\b(?:classif\w{1,20}|answer|respond|output"
        r"|return|label|approve)\b",
    ),
    _sign(
        0.8,
        _TO_ANSWER,
        ("classify,categori,label",),
        r"\b(?:classify|categori[sz]e|label)\s{1,5}(?:this|the)\s{1,5}(?:\w{1,30}\s{1,5})?"
        r"(?:ticket|message|e-?mail|document|image|request|event|invoice|text)\s{1,5}as\b",
    ),
    _sign(
        0.8,
        _TO_ANSWER,
        ("set,make,give,assign", "confidence,intent,label,legibility,field"),
        r"\b(?:set|make|give|assign)\s{1,5}(?:(?:the|its|your)\s{1,5})?"
        r"(?:confidence|intent|label|legibility)\s{1,5}(?:to|of|=)\s",
        r"\bset\s{1,5}(?:every|all|each)\b[^.\n]{0,30}\bfields?\s{1,5}to\b",
    ),
    _sign(
        0.8,
        _TO_ANSWER,
        ("answer,respond,reply,return,output", "nothing,with"),
        r"\b(?:answer|respond|reply|return|output)\b[^.\n]{0,40}\b(?:nothing\s{1,5}else"
        r"|with\s{1,5}(?:the\s{1,5})?(?:intent|label|json))\b",
    ),
    _sign(
        0.4,
        _WORDS,
        ("system prompt,jailbreak,prompt injection,human:,assistant:,set,only,exclusively,solely",),
        r"\b(?:system prompt|jailbreak|prompt injection)\b",
        r"^(?:human|assistant):",
        r"\bset\s{1,5}(?:(?:the|its|your)\s{1,5})?priority\s{1,5}(?:to|=)\s",
        r"\b(?:respond|reply|answer|output)\s{1,5}(?:only|exclusively|solely)\s{1,5}(?:with|in)\b",
    ),
)


def steers(parts: Sequence[Part]) -> bool:
    """Whether an event may be meant to steer the model: then it shares a request with no other.

    Any sign will do, since it costs no more than a request of its own.
    """
    return bool(injection_signals(*(part.text for part in parts if isinstance(part, Text))))


def injection_signals(*texts: str | None) -> list[Signal]:
    """At most one `suspected_injection` signal, of the strongest sign in the texts."""
    found: list[tuple[float, str]] = []
    for text in texts:
        if not text:
            continue
        plain = text if len(text) <= _SCANNED else text[: _SCANNED // 2] + text[-_SCANNED // 2 :]
        if not text.isascii():
            if len(hidden_message(text)) > _LONGEST_FLAG:
                found.append((1.0, "hides text in invisible characters"))
            if _HIDDEN_IN_WORD.search(text):
                found.append((0.7, "has invisible characters inside words"))
            plain = _FORMAT.sub("", nfkc(plain))[: 2 * _SCANNED]
        lowered = plain.lower()
        found += [(sign.strength, sign.what) for sign in _SIGNS if sign.is_in(plain, lowered)]
    if not found:
        return []
    strength, what = max(found)
    return [Signal("suspected_injection", strength, f"The content {what}.")]


def hidden_message(text: str) -> str:
    """Read what tag characters spell; a flag emoji spells at most six letters."""
    found = _TAG_CHARACTERS.findall(text)
    return "".join(chr(ord(char) - _TAG_SHIFT) for char in found).strip("\x00\x01\x7f")
