"""One answer in the making: the facts first, then what the answer says about itself."""

import re
from collections.abc import Mapping
from typing import Any

from pipeline.local.simulated.answering import business, flags
from pipeline.local.simulated.answering.actions import find_in_action
from pipeline.local.simulated.answering.ask import Ask, Found
from pipeline.local.simulated.answering.choices import LabelSets, choose, choose_many
from pipeline.local.simulated.answering.code import find_in_source
from pipeline.local.simulated.answering.content import Content, Passage
from pipeline.local.simulated.answering.document import Document
from pipeline.local.simulated.answering.fields import find_text
from pipeline.local.simulated.answering.lists import list_texts
from pipeline.local.simulated.answering.plan import Plan
from pipeline.local.simulated.answering.sentences import quote, speaks_to_the_model
from pipeline.local.simulated.answering.skill import Skill
from pipeline.local.simulated.answering.source import find_definition
from pipeline.local.simulated.answering.tables import Position

_RUNNER_UP = re.compile(r" (?:runner|second|alternative|next best|other (?:label|choice)) ?")
_CONFIDENCE = re.compile(r" (?:confidence|certainty|probability|likelihood|sureness) ")
_UNCLEAR = re.compile(r" (?:unclear|ambiguous|uncertain|unsure|undecided) ")
_QUOTE = re.compile(r" (?:quote|evidence|excerpt|verbatim) ")
_MISSING = re.compile(r" (?:missing|absent|unread|not found|incomplete) ")
_ABOUT_ITSELF = re.compile("|".join(p.pattern for p in (_RUNNER_UP, _CONFIDENCE, _QUOTE, _MISSING)))
_IDENTITY = re.compile(r" (?:id|index|key|item|number|n) $")
_EMPTY: Mapping[str, Any] = {
    "string": "", "number": 0, "integer": 0, "boolean": False, "null": None,
}  # fmt: skip
_SINGLE = frozenset({"string", "number", "integer"})
_UNSURE = 0.45
_CLOSE = 0.85
_RIVAL = 0.75
_POSITION_NUMBERS = 2


class Reading:
    """One content, read for one schema.

    Args:
        prompt: What the asker says.
        content: What is to be read.
        skill: How well.
        labels: Label sets made ready.
    """

    def __init__(self, prompt: str, content: Content, skill: Skill, labels: LabelSets) -> None:
        self._prompt = prompt
        self._content = content
        self._skill = skill
        self._labels = labels
        self._document = Document(content.text, skill)
        self._definition = find_definition(content.source) if content.source else None
        self._used_document = False

    def find(self, plan: Plan) -> Found:
        """The value for a part of the schema; always a valid one."""
        if self._definition is not None and (found := find_in_source(plan, self._definition)):
            return self._or_empty(plan.ask, found)
        return self._find(plan)

    def _find(self, plan: Plan) -> Found:
        ask = plan.ask
        if ask.options is not None:
            return choose(ask, self._content, self._document, self._labels, self._prompt)
        match ask.kind:
            case "object":
                return self._object(plan)
            case "array":
                return self._array(plan)
            case "boolean":
                return flags.decide(ask, self._content)
            case kind if kind in _SINGLE:
                return self._or_empty(ask, self._value(ask))
            case _:
                return Found(None)

    def _value(self, ask: Ask) -> Found:
        found = business.find_in_document(ask, self._document)
        if found is not None:
            self._used_document = True
            return found
        if ask.kind == "string":
            return find_text(ask, self._content, self._document)
        return business.count_in(ask, self._document)

    def _or_empty(self, ask: Ask, found: Found) -> Found:
        if found.value is not None or ask.nullable:
            return found
        return Found(_EMPTY.get(ask.kind), found.certainty)

    def _object(self, plan: Plan) -> Found:
        facts = {
            part.ask.name: self.find(part)
            for part in plan.properties
            if not _is_about_itself(part.ask)
        }
        sure = self._certainty(facts)
        values = {}
        for part in plan.properties:
            name = part.ask.name
            found = facts[name] if name in facts else self._about_itself(part, facts, sure)
            values[name] = found.value
        return Found(values, sure)

    def _certainty(self, facts: Mapping[str, Found]) -> float:
        """How likely all of it is right: as its weakest choice, and as its fields on average."""
        if not self._content.text:
            return 0.05
        known = [found.certainty for found in facts.values() if found.certainty is not None]
        choices = [f.certainty for f in facts.values() if f.runner_up is not None and f.certainty]
        sure = min(min(choices, default=1.0), sum(known) / len(known) if known else 0.6)
        if self._used_document and not choices:
            adds_up = self._document.adds_up()
            sure *= {True: 1.08, False: 0.7, None: 0.97}[adds_up] * self._skill.trust
        sure *= 0.4 + 0.6 * self._content.legibility
        if speaks_to_the_model(self._content.text):
            sure *= 0.7
        return round(max(0.02, min(0.99, sure)), 2)

    def _about_itself(self, part: Plan, facts: Mapping[str, Found], sure: float) -> Found:
        ask = part.ask
        match ask.kind:
            case "boolean":
                several = flags.asks_for_several(ask)
                value: Any = any(f.rival > _RIVAL for f in facts.values())
                return Found(value if several else sure < _UNSURE)
            case "string" if _RUNNER_UP.search(ask.words):
                return Found(_runner_up(ask, facts))
            case "string" if _QUOTE.search(ask.words) and ask.options is None:
                return self._or_empty(ask, Found(self._quote(facts) or None))
            case "number" | "integer" if _CONFIDENCE.search(ask.words) and ask.options is None:
                percent = ask.kind == "integer" or "100" in ask.description
                return Found(round(sure * 100) if percent else sure)
            case "array" if _MISSING.search(ask.words) and _holds_texts(part):
                return Found(self._at_least(part, _missing(part, facts)))
            case _:
                return self.find(part)

    def _quote(self, facts: Mapping[str, Found]) -> str:
        if self._definition is not None:
            return self._definition.line
        amount = self._document.amount("gross") if self._used_document else None
        if amount is not None:
            return self._document.layout.texts[amount.line].strip()
        return quote(self._content, frozenset().union(*(f.evidence for f in facts.values())))

    def _array(self, plan: Plan) -> Found:
        items = plan.items
        if items is None:
            return Found([])
        if items.ask.options is not None:
            values: list[Any] = choose_many(items.ask, self._content)
        elif items.ask.kind == "object":
            values = self._objects(plan, items)
        elif items.ask.kind == "string":
            values = list(list_texts(plan.ask, self._content))
        else:
            values = []
        values = self._at_least(plan, values)
        return Found(values, self._document.positions_sure if values and items.properties else None)

    def _at_least(self, plan: Plan, values: list[Any]) -> list[Any]:
        """One value where the schema wants one."""
        if values or plan.items is None or not plan.ask.schema.get("minItems"):
            return values
        return [self.find(plan.items).value]

    def _objects(self, plan: Plan, items: Plan) -> list[Any]:
        by_id = self._by_id(items)
        if by_id:
            return by_id
        if sum(business.is_position_part(p.ask) for p in items.properties) >= _POSITION_NUMBERS:
            self._used_document = True
            return [self._position(items, position) for position in self._document.positions]
        texts = list_texts(plan.ask, self._content)
        return [self._action(items, text) for text in texts]

    def _by_id(self, items: Plan) -> list[Any]:
        """An answer for each of several contents that carry an id."""
        identity = next((p.ask for p in items.properties if _IDENTITY.search(p.ask.words)), None)
        if identity is None:
            return []
        answers = []
        for identifier, content in self._content.items().items():
            value = _as_identifier(identity, identifier)
            if value is not None:
                reading = Reading(self._prompt, content, self._skill, self._labels)
                answers.append(reading.answer(items) | {identity.name: value})
        return answers

    def _position(self, items: Plan, position: Position) -> dict[str, Any]:
        values = {}
        for part in items.properties:
            if part.ask.options is None and part.ask.kind in _SINGLE:
                found = Found(business.position_value(part.ask, position))
                values[part.ask.name] = self._or_empty(part.ask, found).value
            else:
                values[part.ask.name] = self._of(position.description).find(part).value
        return values

    def _action(self, items: Plan, sentence: str) -> dict[str, Any]:
        """What is said of one thing in a list of things: by its own sentence."""
        values = self._of(sentence).answer(items)
        for part in items.properties:
            found = find_in_action(part.ask, sentence) if part.ask.kind == "string" else None
            if found is not None and part.ask.options is None:
                values[part.ask.name] = self._or_empty(part.ask, found).value
        return values

    def _of(self, text: str) -> "Reading":
        content = Content((Passage("", text),))
        return Reading(self._prompt, content, self._skill, self._labels)

    def answer(self, plan: Plan) -> dict[str, Any]:
        """The value for an object."""
        return dict(self.find(plan).value)


def _is_about_itself(ask: Ask) -> bool:
    if "about_itself" not in ask.memo:
        ask.memo["about_itself"] = _speaks_of_the_answer(ask)
    return bool(ask.memo["about_itself"])


def _speaks_of_the_answer(ask: Ask) -> bool:
    if ask.kind == "boolean":
        return flags.asks_for_several(ask) or _UNCLEAR.search(ask.words) is not None
    return _ABOUT_ITSELF.search(ask.words) is not None


def _as_identifier(ask: Ask, identifier: str) -> str | int | None:
    """An id in the type that is asked for; None where it is not of that type."""
    if ask.options is not None:
        return identifier if identifier in ask.options else None
    if ask.kind == "string":
        return identifier
    return int(identifier) if ask.kind in {"integer", "number"} and identifier.isdecimal() else None


def _holds_texts(plan: Plan) -> bool:
    return plan.items is not None and plan.items.ask.kind == "string"


def _runner_up(ask: Ask, facts: Mapping[str, Found]) -> Any:  # noqa: ANN401 - any value of an enum
    options = ask.options
    for found in facts.values():
        if found.runner_up is None or (options is not None and found.runner_up not in options):
            continue
        close = found.certainty is not None and found.certainty < _CLOSE
        return found.runner_up if close or not ask.nullable else None
    if ask.nullable:
        return None
    return options[-1] if options else ""


def _missing(part: Plan, facts: Mapping[str, Found]) -> list[str]:
    options = None if part.items is None else part.items.ask.options
    return [
        name
        for name, found in facts.items()
        if found.value in (None, "", [])
        and not business.seldom_printed(name)
        and (options is None or name in options)
    ]
