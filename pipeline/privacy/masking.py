"""Puts placeholders in the place of personal data, and originals into the answer again.

A placeholder is the kind and a number, `[EMAIL_1]`: within one event the same writing of a value
has the same one, and no number is used that the texts themselves have behind such a word. So
whatever looks like one of this event's placeholders in the answer is one, also in other brackets,
in another case, or without brackets as long as it has its underscore: "by phone 3 times" is none.
One that stands for nothing was made up by the model: it
is left as it is, and the answer is doubted, since it would be published in the place of a value
that nobody knows. Pure.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache, lru_cache, partial
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from pipeline.model.errors import NotMaskable
from pipeline.model.json_bytes import RawJson
from pipeline.model.questions import (
    AnswerT,
    AnswerT_co,
    MultiStepQuery,
    Part,
    Query,
    Question,
    Response,
    Signal,
    Text,
)
from pipeline.model.records import Usage
from pipeline.privacy.recognition import Found, Kind, merged, recognise

FilesRule = Literal["ask", "refuse"]
T = TypeVar("T")
NOTE = """\
## Placeholders
Personal data in the content may have been replaced by placeholders such as [EMAIL_1] or \
[PHONE_2]: in square brackets a kind and a number. The same placeholder stands for the same value \
throughout. Read a placeholder as the value it stands for: nothing is missing there, and it makes \
nothing unclear. Wherever you would write the value, in quotes and lists as well, write its \
placeholder exactly as it stands, with its brackets. Never guess a value, and use no placeholder \
that is not in the content.
"""
"""Ends the instructions wherever something may be masked, the same for every event of a stage."""
INVENTED = Signal("broken_form", 1.0, "The answer has a placeholder that stands for nothing.")
_MOST_VALUES = 1_000
"""Values of fields, then parts of them, that are looked for in the texts of one event."""
_UNSPACED = "\u2e80"
_SHORTEST_VALUE = 3
_LONGEST_NAME = 200
_NAME = re.compile(r"[^\W\d_]{3,}")
_NO_WORD = re.compile(r"[^A-Z0-9]+")
Key = tuple[str, int]
"""Of a placeholder: its word and its number."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is masked in the events of a stage: kinds wherever they stand, and fields whole."""

    kinds: frozenset[Kind] = frozenset()
    fields: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.kinds or self.fields)

    @property
    def words(self) -> frozenset[str]:
        """Those that placeholders begin with."""
        return frozenset(map(_word, (*self.kinds, *self.fields)))

    def __str__(self) -> str:
        return " ".join([*sorted(self.kinds), *(f"field:{name}" for name in sorted(self.fields))])


@dataclass(frozen=True, slots=True)
class Masked(Generic[AnswerT_co]):
    """A question as it is sent, and what its placeholders stand for.

    `words` are those that placeholders of its stage begin with, none where nothing is masked.
    """

    question: Question[AnswerT_co]
    originals: Mapping[Key, str] = field(default_factory=dict, repr=False)
    words: frozenset[str] = frozenset()

    def restored(self, response: Response[AnswerT]) -> Response[AnswerT]:
        """The response with originals in the place of placeholders, doubted if one was made up."""
        if not self.words:
            return response
        invented = False

        def original(match: re.Match[str]) -> str:
            nonlocal invented
            key = _key(match)
            found = self.originals.get(key)
            if found is not None:
                return found
            invented = invented or (match[0].startswith("[") and key not in self._of_the_text())
            return match[0]

        change = partial(_placeholders(self.words).sub, original)
        answer: AnswerT = _each_text(response.answer, change)
        signals = (*response.signals, INVENTED) if invented else response.signals
        return replace(response, answer=answer, signals=signals)

    def _of_the_text(self) -> frozenset[Key]:
        """What looks like placeholders in the event itself, or in the instructions."""
        instructions = self.question.instructions.removesuffix(NOTE)
        return _taken(self.words, instructions, _texts(self.question.parts))


@dataclass(frozen=True, slots=True)
class Masking:
    """Masks questions by the rules of their stages; `default` holds for stages without their own.

    Where something is masked and files are refused, no question with an image or PDF goes through.
    """

    default: Rules = Rules()
    stages: Mapping[str, Rules] = field(default_factory=dict)
    files: FilesRule = "ask"

    def rules(self, stage: str) -> Rules:
        return self.stages.get(stage, self.default)

    def explained(self, question: Question[AnswerT]) -> Question[AnswerT]:
        """The question with the instructions that are sent, its content as it is."""
        if not self.rules(question.stage):
            return question
        return replace(question, instructions=_explained(question.instructions))

    def masked(self, question: Question[AnswerT]) -> Masked[AnswerT]:
        """The question as it may be sent.

        Raises:
            NotMaskable: It has a file, and these are refused.
        """
        rules, parts = self.rules(question.stage), question.parts
        if not rules:
            return Masked(question)
        if self.files == "refuse" and any(not isinstance(part, Text) for part in parts):
            raise NotMaskable(
                "A file cannot be masked, and privacy.files is refuse: send the content as text, "
                "or set it to ask.",
                usage=Usage(),
                model="none",
                seconds=0.0,
            )
        texts, words = _texts(parts), rules.words
        found = recognise(texts, rules.kinds)
        if rules.fields:
            found = [
                [Found(0, len(part.text), part.name)]
                if isinstance(part, Text) and part.name in rules.fields and part.text
                else merged([*each, *_of_fields(part.text, question.personal)])
                if isinstance(part, Text)
                else []
                for part, each in zip(parts, found, strict=True)
            ]
        originals: dict[Key, str] = {}
        if any(found):
            taken = _taken(words, question.instructions, texts)
            parts, originals = _replaced(parts, found, taken)
        asked = replace(self.explained(question), parts=parts, personal=())
        return Masked(asked, originals, words)


def with_fields(query: Query[AnswerT], values: Sequence[Text]) -> Query[AnswerT]:
    """The query with what is masked of its event's fields, in every step."""
    if not values:
        return query
    if isinstance(query, Question):
        return replace(query, personal=tuple(values))

    def then(answers: Any) -> Any:  # noqa: ANN401 - further questions, or the answer
        step = query.then(answers)
        return with_fields(step, values) if isinstance(step, Question | MultiStepQuery) else step

    questions = tuple(replace(each, personal=tuple(values)) for each in query.questions)
    return MultiStepQuery(questions, then)


def values_of(name: str, value: object) -> Iterator[Text]:
    """The texts and numbers in a field, however deep, under the field's name."""
    match value:
        case str() | int() | float() if not isinstance(value, bool):
            yield Text(name, str(value).strip())
        case RawJson():
            yield from values_of(name, value.read())
        case list() | tuple():
            for each in value:
                yield from values_of(name, each)
        case dict():
            for each in value.values():
                yield from values_of(name, each)


def redacted(value: T, rules: Rules, personal: Sequence[Text], stand_in: Callable[[str], str]) -> T:
    """The same value with what the rules mask replaced for good in its texts.

    `personal` are the event's own values of the fields that are masked; `stand_in` makes what
    stands for a value, such as a keyed digest: equal values stay equal.
    """

    def change(text: str) -> str:
        [found] = recognise([text], rules.kinds)
        pieces, at = list[str](), 0
        for start, end, kind in merged([*found, *_of_fields(text, personal)]):
            pieces += (text[at:start], f"[{_word(kind)}:{stand_in(text[start:end])}]")
            at = end
        return "".join([*pieces, text[at:]])

    changed: T = _each_text(value, change) if rules else value
    return changed


def _of_fields(text: str, values: Iterable[Text]) -> Iterator[Found]:
    """Where values of fields stand in a text, without regard to case; names also by their parts.

    A part of a name is one only with a capital: many names are words as well.
    """
    lowered = _lower(text)
    sought: dict[tuple[str, bool], str] = {}
    for value in values:
        sought.setdefault((_lower(value.text), False), value.name)
    for value in values:
        for part in _NAME.findall(value.text[:_LONGEST_NAME]):
            if part[0].isupper():
                sought.setdefault((_lower(part), True), value.name)
    for (written, is_part), name in list(sought.items())[:_MOST_VALUES]:
        if len(written) < (_SHORTEST_VALUE if written.isascii() else _SHORTEST_VALUE - 1):
            continue
        at = lowered.find(written)
        while at >= 0:
            end = at + len(written)
            is_whole = not (_goes_on(text[at - 1 : at]) or _goes_on(text[end : end + 1]))
            if is_whole and not (is_part and not text[at].isupper()):
                yield Found(at, end, name)
            at = lowered.find(written, end)


def _lower(text: str) -> str:
    """In lower case, every character in its place."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def _goes_on(char: str) -> bool:
    """Whether a word goes on with it; scripts without blanks between words never do."""
    return char.isalnum() and char < _UNSPACED


def _replaced(
    parts: Sequence[Part], found: Sequence[Sequence[Found]], taken: frozenset[Key]
) -> tuple[tuple[Part, ...], dict[Key, str]]:
    originals: dict[Key, str] = {}
    keys: dict[tuple[str, str], Key] = {}
    used: defaultdict[str, int] = defaultdict(int)

    def placeholder(word: str, value: str) -> str:
        key = keys.get((word, value))
        if key is None:
            used[word] += 1
            while (word, used[word]) in taken:
                used[word] += 1
            key = keys[word, value] = (word, used[word])
            originals[key] = value
        return f"[{key[0]}_{key[1]}]"

    masked: list[Part] = []
    for part, places in zip(parts, found, strict=True):
        if isinstance(part, Text) and places:
            pieces, at = list[str](), 0
            for start, end, kind in places:
                pieces += (part.text[at:start], placeholder(_word(kind), part.text[start:end]))
                at = end
            pieces.append(part.text[at:])
            masked.append(Text(part.name, "".join(pieces)))
        else:
            masked.append(part)
    return tuple(masked), originals


def _texts(parts: Sequence[Part]) -> list[str]:
    return [part.text if isinstance(part, Text) else "" for part in parts]


@cache
def _word(kind: str) -> str:
    return _NO_WORD.sub("_", kind.upper()).strip("_") or "FIELD"


@lru_cache(maxsize=1024)
def _explained(instructions: str) -> str:
    return f"{instructions.rstrip()}\n\n{NOTE}"


@cache
def _alike_pattern(words: frozenset[str], gap: str = "[ _-]?") -> str:
    written = "|".join(word.replace("_", "[ _-]") for word in sorted(words, reverse=True))
    return f"({written}){gap}([0-9]{{1,6}})"


@cache
def _placeholders(words: frozenset[str]) -> re.Pattern[str]:
    """Finds placeholders, with their own or other brackets, without any, in any case."""
    within = _alike_pattern(words)
    forms = (
        rf"[\[<{{【] ?{within} ?[\]>}}】]",
        rf"\\\[{within}\\\]",
        rf"(?<![A-Za-z0-9]){_alike_pattern(words, '_')}(?!\w)",
    )
    return re.compile("|".join(forms), re.IGNORECASE | re.ASCII)


def _key(match: re.Match[str]) -> Key:
    word, number = (group for group in match.groups() if group is not None)
    return word.upper().replace(" ", "_").replace("-", "_"), int(number)


def _taken(words: frozenset[str], instructions: str, texts: Iterable[str]) -> frozenset[Key]:
    """What the texts of an event have that looks like placeholders; these numbers are not used."""
    # A label may be called `phone_1`, and is answered as it is called.
    return _alike(words, texts).union(_alike_in_instructions(words, instructions))


@lru_cache(maxsize=1024)
def _alike_in_instructions(words: frozenset[str], instructions: str) -> frozenset[Key]:
    return _alike(words, [instructions])


def _alike(words: frozenset[str], texts: Iterable[str]) -> frozenset[Key]:
    pattern = re.compile(_alike_pattern(words), re.IGNORECASE | re.ASCII)
    beginnings = {word.partition("_")[0].lower() for word in words}
    found: set[Key] = set()
    for text in texts:
        lowered = text.lower()
        # Most texts have none of the words, and looking for them is quick.
        if any(each in lowered for each in beginnings):
            found.update(map(_key, pattern.finditer(text)))
    return frozenset(found)


def _each_text(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 - any part of an answer
    """The same value with every text in it changed; the very object where nothing changes."""
    match value:
        case Enum():
            return value
        case str():
            return change(value)
        case BaseModel():
            changed = {
                name: new
                for name, old in vars(value).items()
                if (new := _each_text(old, change)) is not old and new != old
            }
            return value.model_copy(update=changed) if changed else value
        case list() | tuple():
            items = [_each_text(each, change) for each in value]
            return value if items == list(value) else type(value)(items)
        case dict():
            return {key: _each_text(each, change) for key, each in value.items()}
        case _:
            return value
