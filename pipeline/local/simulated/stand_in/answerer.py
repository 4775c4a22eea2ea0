"""Answers as one model would: the facts first, then what the answer says about itself."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import orjson

from pipeline.local.simulated.media_limits import Media
from pipeline.local.simulated.message import MessageRequest
from pipeline.local.simulated.served_models import Line
from pipeline.local.simulated.stand_in import fields
from pipeline.local.simulated.stand_in.business import Document, first_pages
from pipeline.local.simulated.stand_in.content import (
    SOURCES,
    Content,
    Passage,
    read_content,
    shorten,
)
from pipeline.local.simulated.stand_in.file_text import FileReader
from pipeline.local.simulated.stand_in.label_scores import SKILLS, LabelSet, Skill
from pipeline.local.simulated.stand_in.schema import Ask, Found, ask_of
from pipeline.local.simulated.stand_in.source_code import find_definition, find_in_source
from pipeline.local.simulated.stand_in.vocabulary import Phrases, listed
from pipeline.stages.checks.scope import Encoder

_ITSELF, _FLAGS = Phrases(listed("itself")), Phrases(listed("flag"))
_PAGE, _TITLE_CHARACTERS = re.compile(r" page "), 60
_IDENTITY = re.compile(r" (?:id|index|key|item|number|n) $")
_EMPTY = {"string": "", "number": 0, "integer": 0, "boolean": False, "null": None}
_SINGLE, _NUMBERS = frozenset({"string", "number", "integer"}), frozenset({"number", "integer"})
_UNSURE, _CLOSE, _RIVAL = 0.45, 0.72, 0.75
_KEPT_SCHEMAS, _KEPT_ANSWERS = 500, 5000


class Answerer:
    """Answers requests of all models; the same request is read once."""

    def __init__(self, files: FileReader, encoder: Encoder | None = None) -> None:
        self._files = files
        self._answers: dict[tuple[Line, str], Any] = {}
        self._readers = {line: Reader(skill, encoder) for line, skill in SKILLS.items()}

    async def answer(self, request: MessageRequest) -> Any:  # noqa: ANN401 - any JSON value or text
        """The answer: a text, or a value of the request's schema."""
        key = (request.model.line, request.digest)
        if key not in self._answers:
            texts = [part for part in request.content if isinstance(part, str)]
            read = [await self._files.read(p) for p in request.content if isinstance(p, Media)]
            content = read_content(texts, read)
            if request.schema is None:
                answer: Any = content.summary(3) or "There is nothing to read."
            else:
                reader = self._readers[request.model.line]
                answer = reader.answer(request.schema_json, request.instructions, content)
            if len(self._answers) >= _KEPT_ANSWERS:
                del self._answers[next(iter(self._answers))]
            self._answers[key] = answer
        return self._answers[key]


@lru_cache(maxsize=_KEPT_SCHEMAS)
def _ask_of(schema: bytes, said: str) -> Ask:
    root = orjson.loads(schema)
    return ask_of(root, root, said)


class Reader:
    """Answers as one model would; schemas and labels are prepared once."""

    def __init__(self, skill: Skill, encoder: Encoder | None = None) -> None:
        self.skill = skill

        @lru_cache(maxsize=_KEPT_SCHEMAS)
        def labels(names: tuple[str, ...], texts: tuple[str, ...]) -> LabelSet:
            return LabelSet(names, texts, skill, encoder)

        self.labels = labels

    def answer(self, schema: bytes, prompt: str, content: Content) -> Any:  # noqa: ANN401
        """A valid instance of a schema, which is given as JSON."""
        said = f"{prompt}\n{content.said}" if content.said else prompt
        return _Reading(self, said, content).find(_ask_of(schema, said)).value


class _Reading:
    def __init__(self, reader: Reader, prompt: str, content: Content) -> None:
        self._reader = reader
        self._prompt = prompt
        self._content = content
        self._document = Document(content.text, reader.skill)
        self._definition = find_definition(content.named(SOURCES))
        self._used_document = False

    def find(self, ask: Ask) -> Found:
        found = self._definition and find_in_source(ask, self._definition)
        if found:
            return _or_empty(ask, found)
        if ask.options is not None:
            return fields.choose(ask, self._content, self._choose)
        if ask.kind == "object":
            return self._object(ask)
        if ask.kind == "array" and ask.items is not None:
            return self._by_page(ask.items) or self._entries(ask, ask.items)
        if ask.kind == "boolean":
            return fields.decide(ask, self._content)
        if ask.kind in _SINGLE:
            found = fields.find_in_document(ask, self._document)
            self._used_document |= found is not None
            if found is None and ask.kind == "string":
                found = fields.find_text(ask, self._content, self._document)
        return _or_empty(ask, found or Found(None))

    def _entries(self, ask: Ask, items: Ask) -> Found:
        values = self._list(ask, items)
        at_least = ask.schema.get("minItems") and not values
        return Found([self.find(items).value] if at_least else values)

    def _choose(self, names: Sequence[str], description: str) -> Found:
        """The label that fits best; the description and the prompt say what the labels mean."""
        labels = self._reader.labels(tuple(names), (description, self._prompt))
        return labels.choose(self._content.text, title=self._content.title)

    def _object(self, ask: Ask) -> Found:
        facts = {p.name: self.find(p) for p in ask.properties if _about_itself(p) is None}
        sure = self._certainty(facts)
        values = {
            part.name: facts[part.name].value
            if part.name in facts
            else self._say_of_itself(part, facts, sure)
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

    def _say_of_itself(self, ask: Ask, facts: Mapping[str, Found], sure: float) -> Any:  # noqa: ANN401
        value: Any = None
        match _about_itself(ask), ask.kind:
            case "several", _:
                value = any(found.rival > _RIVAL for found in facts.values())
            case "unclear", _:
                value = sure < _UNSURE
            case "runner_up", "string":
                return _runner_up(ask, facts)
            case "quote", "string" if ask.options is None:
                value = self._quote(facts)
            case "confidence", "number" | "integer" if not ask.options:
                percent = ask.kind == "integer" or "100" in ask.description
                value = round(sure * 100) if percent else sure
            case "missing", "array" if ask.items is not None and ask.items.kind == "string":
                absent = (name for name, found in facts.items() if found.value in (None, "", []))
                options = ask.items.options or facts
                value = [n for n in absent if n not in fields.SELDOM and n in options] or None
        return self.find(ask).value if value is None else value

    def _quote(self, facts: Mapping[str, Found]) -> str:
        if self._definition is not None:
            return self._definition.line
        amount = self._document.amount("gross") if self._used_document else None
        if amount is not None:
            return amount.text
        return self._content.quote(frozenset().union(*(f.evidence for f in facts.values())))

    def _list(self, ask: Ask, items: Ask) -> list[Any]:
        if items.kind == "string" and items.options is None:
            return list(fields.list_texts(ask, self._content))
        if items.kind != "object" or items.options is not None:
            return []
        if by_id := self._by_id(items):
            return by_id
        if fields.has_position(items):
            self._used_document = True
            rows = self._document.positions
            found = [(row.description, partial(fields.find_in_position, row)) for row in rows]
        else:
            texts = fields.list_texts(ask, self._content)
            found = [(text, partial(fields.find_in_action, text)) for text in texts]
        return [self._entry(items, text, known) for text, known in found]

    def _by_page(self, items: Ask) -> Found | None:
        """An entry for each document of several, where pages are shown and one is asked for."""
        numbers = (part for part in items.properties if part.kind == "integer")
        page = next((part for part in numbers if _PAGE.search(part.words)), None)
        pages = self._content.pages()
        if page is None or not pages:
            return None
        entries = []
        firsts = first_pages(pages, self._reader.skill)
        for first, sure in firsts.items():
            content = Content((Passage("", pages[first]),))
            reading = _Reading(self._reader, self._prompt, content)
            entry = {
                part.name: sure
                if _about_itself(part) == "confidence"
                else shorten(next(iter(pages[first].splitlines()), ""), _TITLE_CHARACTERS)
                if part.kind == "string"
                else reading.find(part).value
                for part in items.properties
            }
            entries.append(entry | {page.name: first})
        return Found(entries, min(firsts.values()))

    def _by_id(self, items: Ask) -> list[Any]:
        """An answer for each of several contents that carry an id."""
        named = (part for part in items.properties if _IDENTITY.search(part.words))
        if (identity := next(named, None)) is None:
            return []
        answers = []
        for text, content in self._content.items().items():
            is_number = identity.kind in _NUMBERS and text.isdecimal()
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
            values[part.name] = (_or_empty(part, found) if found else reading.find(part)).value
        return values


def _or_empty(ask: Ask, found: Found) -> Found:
    if found.value is not None or ask.nullable:
        return found
    return found._replace(value=_EMPTY.get(ask.kind))


def _about_itself(ask: Ask) -> str | None:
    """What a part of an answer says of the answer; None where it says something of the content."""
    return (_FLAGS if ask.kind == "boolean" else _ITSELF).first(ask.words)


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
