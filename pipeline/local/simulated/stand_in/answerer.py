"""Answers as one model would: the facts first, then what the answer says about itself."""

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, TypeVar

from pipeline.local.simulated.media_limits import Media
from pipeline.local.simulated.message import MessageRequest
from pipeline.local.simulated.served_models import Line
from pipeline.local.simulated.stand_in import fields
from pipeline.local.simulated.stand_in.business import Document
from pipeline.local.simulated.stand_in.choices import choose, choose_many, decide
from pipeline.local.simulated.stand_in.content import Content, Passage, read_content
from pipeline.local.simulated.stand_in.file_text import FileReader
from pipeline.local.simulated.stand_in.label_scores import SKILLS, Choice, LabelSet, Skill
from pipeline.local.simulated.stand_in.schema import Ask, Found, ask_of
from pipeline.local.simulated.stand_in.source_code import find_definition, find_in_source
from pipeline.stages.checks.scope import Encoder

_RUNNER_UP = re.compile(r" (?:runner|second|alternative|next best|other (?:label|choice)) ?")
_CONFIDENCE = re.compile(r" (?:confidence|certainty|probability|likelihood|sureness) ")
_UNCLEAR = re.compile(r" (?:unclear|ambiguous|uncertain|unsure|undecided) ")
_SEVERAL = re.compile(r" (?:several|multiple|two|mixed|more than one) ")
_QUOTE = re.compile(r" (?:quote|evidence|excerpt|verbatim) ")
_MISSING = re.compile(r" (?:missing|absent|unread|not found|incomplete) ")
_IDENTITY = re.compile(r" (?:id|index|key|item|number|n) $")
_EMPTY = {"string": "", "number": 0, "integer": 0, "boolean": False, "null": None}
_SINGLE = frozenset({"string", "number", "integer"})
_UNSURE, _CLOSE, _RIVAL = 0.45, 0.72, 0.75
_KEPT_SCHEMAS, _KEPT_ANSWERS = 500, 5000
T = TypeVar("T")


class Answerer:
    """Answers requests of all models; the same request is read once."""

    def __init__(self, files: FileReader, encoder: Encoder | None = None) -> None:
        self._files = files
        self._answers: OrderedDict[tuple[Line, str], Any] = OrderedDict()
        self._readers = {line: Reader(skill, encoder) for line, skill in SKILLS.items()}

    async def answer(self, request: MessageRequest) -> Any:  # noqa: ANN401 - any JSON value or text
        """The answer: a text, or a value of the request's schema."""
        key = (request.model.line, request.digest)
        if key not in self._answers:
            texts = [part for part in request.content if isinstance(part, str)]
            read = [await self._files.read(p) for p in request.content if isinstance(p, Media)]
            content = read_content(texts, read)
            reader = self._readers[request.model.line]
            if request.schema is None:
                answer = content.summary(3) or "There is nothing to read."
            else:
                schema, about = request.schema, request.instructions
                answer = reader.answer(schema, request.schema_key, about, content)
            _keep(self._answers, key, answer, _KEPT_ANSWERS)
        return self._answers[key]


def _keep(store: OrderedDict[Any, T], key: Hashable, value: T, limit: int) -> T:
    store[key] = value
    if len(store) > limit:
        store.popitem(last=False)
    return value


class Reader:
    """Answers as one model would; schemas and labels are prepared once."""

    def __init__(self, skill: Skill, encoder: Encoder | None = None) -> None:
        self.skill = skill
        self._encoder = encoder
        self._asks: OrderedDict[Hashable, Ask] = OrderedDict()
        self._label_sets: OrderedDict[Hashable, LabelSet] = OrderedDict()

    def answer(self, schema: Mapping[str, Any], key: bytes, prompt: str, content: Content) -> Any:  # noqa: ANN401
        """A valid instance of a schema."""
        said = f"{prompt}\n{content.said}" if content.said else prompt
        ask = self._asks.get((key, said))
        if ask is None:
            ask = _keep(self._asks, (key, said), ask_of(schema, schema, said), _KEPT_SCHEMAS)
        return _Reading(self, said, content).find(ask).value

    def choose(self, names: tuple[str, ...], texts: tuple[str, ...], content: Content) -> Choice:
        """The label that fits a content best; the texts say what the labels mean."""
        known = self._label_sets.get((names, texts))
        if known is None:
            made = LabelSet(names, texts, self.skill, self._encoder)
            known = _keep(self._label_sets, (names, texts), made, _KEPT_SCHEMAS)
        return known.choose(
            content.text, title=content.title, requests=content.requests, acts=content.acts
        )


class _Reading:
    def __init__(self, reader: Reader, prompt: str, content: Content) -> None:
        self._reader = reader
        self._prompt = prompt
        self._content = content
        self._document = Document(content.text, reader.skill)
        self._definition = find_definition(content.source) if content.source else None
        self._used_document = False

    def find(self, ask: Ask) -> Found:
        of_source = self._definition and find_in_source(ask, self._definition)
        if of_source:
            return self._or_empty(ask, of_source)
        if ask.options is not None:
            return choose(ask, self._content, self._document, self._choose)
        if ask.kind == "object":
            return self._object(ask)
        if ask.kind == "array" and ask.items is not None:
            values = self._list(ask, ask.items) or self._at_least(ask)
            sure = self._document.positions_sure if values and ask.items.properties else None
            return Found(values, sure)
        if ask.kind == "boolean":
            return decide(ask, self._content)
        return self._or_empty(ask, self._single(ask)) if ask.kind in _SINGLE else Found(None)

    def _choose(self, names: Sequence[str], description: str) -> Choice:
        texts = tuple(text for text in (description, self._prompt) if text)
        return self._reader.choose(tuple(names), texts, self._content)

    def _single(self, ask: Ask) -> Found:
        found = fields.find_in_document(ask, self._document)
        if found is not None:
            self._used_document = True
            return found
        if ask.kind == "string":
            return fields.find_text(ask, self._content, self._document)
        return fields.count_in(ask, self._document)

    def _or_empty(self, ask: Ask, found: Found) -> Found:
        if found.value is not None or ask.nullable:
            return found
        return Found(_EMPTY.get(ask.kind), found.certainty)

    def _object(self, ask: Ask) -> Found:
        facts = {
            p.name: self.find(p) for p in ask.properties if not _is_about_itself(p.words, p.kind)
        }
        sure = self._certainty(facts)
        values = {
            part.name: (facts.get(part.name) or self._about_itself(part, facts, sure)).value
            for part in ask.properties
        }
        return Found(values, sure)

    def _certainty(self, facts: Mapping[str, Found]) -> float:
        """How likely all of it is right: as its weakest choice, and as its fields on average."""
        if not self._content.text:
            return 0.05
        known = [found.certainty for found in facts.values() if found.certainty is not None]
        choices = [f.certainty for f in facts.values() if f.runner_up is not None and f.certainty]
        sure = min(min(choices, default=1.0), sum(known) / len(known) if known else 0.6)
        if self._used_document and not choices:
            adds_up = {True: 1.08, False: 0.7, None: 0.97}[self._document.adds_up()]
            sure *= adds_up * self._reader.skill.trust
        sure *= 0.4 + 0.6 * self._content.legibility
        sure *= 0.7 if self._content.steers else 1.0
        return round(max(0.02, min(0.99, sure)), 2)

    def _about_itself(self, ask: Ask, facts: Mapping[str, Found], sure: float) -> Found:
        value: Any
        if ask.kind == "boolean":
            rivals = any(found.rival > _RIVAL for found in facts.values())
            value = rivals if _SEVERAL.search(ask.words) else sure < _UNSURE
        elif ask.kind == "string" and _RUNNER_UP.search(ask.words):
            value = _runner_up(ask, facts)
        elif ask.kind == "string" and _QUOTE.search(ask.words) and ask.options is None:
            value = self._quote(facts)
        elif (
            ask.kind in {"number", "integer"} and _CONFIDENCE.search(ask.words) and not ask.options
        ):
            percent = ask.kind == "integer" or "100" in ask.description
            value = round(sure * 100) if percent else sure
        elif ask.items is not None and ask.items.kind == "string" and _MISSING.search(ask.words):
            options = ask.items.options or facts
            absent = (name for name, found in facts.items() if found.value in (None, "", []))
            missing = [name for name in absent if name not in fields.SELDOM and name in options]
            value = missing or self._at_least(ask)
        else:
            return self.find(ask)
        return Found(value)

    def _quote(self, facts: Mapping[str, Found]) -> str:
        if self._definition is not None:
            return self._definition.line
        amount = self._document.amount("gross") if self._used_document else None
        if amount is not None:
            return self._document.line_of(amount)
        return self._content.quote(frozenset().union(*(f.evidence for f in facts.values())))

    def _at_least(self, ask: Ask) -> list[Any]:
        wanted = ask.items is not None and ask.schema.get("minItems")
        return [self.find(ask.items).value] if wanted and ask.items is not None else []

    def _list(self, ask: Ask, items: Ask) -> list[Any]:
        if items.options is not None:
            return list(choose_many(items, self._content))
        if items.kind == "string":
            return list(fields.list_texts(ask, self._content))
        if items.kind != "object":
            return []
        if by_id := self._by_id(items):
            return by_id
        if sum(map(fields.is_position_part, items.properties)) > 1:
            self._used_document = True
            return [
                self._entry(items, p.description, partial(fields.find_in_position, p))
                for p in self._document.positions
            ]
        return [
            self._entry(items, text, partial(fields.find_in_action, text))
            for text in fields.list_texts(ask, self._content)
        ]

    def _by_id(self, items: Ask) -> list[Any]:
        """An answer for each of several contents that carry an id."""
        identity = next((p for p in items.properties if _IDENTITY.search(p.words)), None)
        if identity is None:
            return []
        answers = []
        for text, content in self._content.items().items():
            is_number = identity.kind in {"integer", "number"} and text.isdecimal()
            value = int(text) if is_number else text if identity.kind == "string" else None
            if value is not None and (identity.options is None or value in identity.options):
                answer = _Reading(self._reader, self._prompt, content).find(items).value
                answers.append(answer | {identity.name: value})
        return answers

    def _entry(self, items: Ask, text: str, known: Callable[[Ask], Found | None]) -> dict[str, Any]:
        reading = _Reading(self._reader, self._prompt, Content((Passage("", text),)))
        values = {}
        for part in items.properties:
            found = known(part) if part.options is None and part.kind in _SINGLE else None
            found = reading.find(part) if found is None else self._or_empty(part, found)
            values[part.name] = found.value
        return values


@lru_cache(maxsize=1000)
def _is_about_itself(words: str, kind: str) -> bool:
    of_flags, of_others = (_SEVERAL, _UNCLEAR), (_RUNNER_UP, _CONFIDENCE, _QUOTE, _MISSING)
    return any(p.search(words) for p in (of_flags if kind == "boolean" else of_others))


def _runner_up(ask: Ask, facts: Mapping[str, Found]) -> Any:  # noqa: ANN401 - any value of an enum
    options = ask.options
    for found in facts.values():
        if found.runner_up is None or (options is not None and found.runner_up not in options):
            continue
        close = (found.certainty or 0.0) < _CLOSE or found.rival > _RIVAL
        return found.runner_up if close or not ask.nullable else None
    if ask.nullable:
        return None
    return options[-1] if options else ""
