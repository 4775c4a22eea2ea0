"""Values that stand beside or below their label: numbers, names, dates, references."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.local.simulated.answering.layout import Cell, Layout
from pipeline.local.simulated.answering.lexicon import Cues, pattern_of

LABELS = Cues("labels.txt")
_IDENTIFIER = re.compile(
    r"(?<![\w])#?\s?([A-Z]{0,6}[\s-]?[A-Z0-9][\w./-]*\d[\w./-]*)", re.IGNORECASE
)
_BEFORE_DIGITS = frozenset({
    "invoice_number", "order_number", "customer_number", "tax_id", "issue_date", "due_date",
    "delivery_date", "reference",
})  # fmt: skip
_SHORT = 5
_NUMBER_WORD = r"(?:no|nr|number|nummer|num|numéro|número|n°|nº|#|id)"
_AFTER_LABEL = re.compile(r"^\s*(?:\.|no\.?|nr\.?|n°|nº|number|#)?\s*[:#.=]*\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A value with its label.

    Args:
        meaning: A section of `data/labels.txt`.
        label: The label as printed.
        value: What stands beside or below it.
        cell: Where the label stands.
        beside: Whether the value stands in the same line.
    """

    meaning: str
    label: str
    value: str
    cell: Cell
    beside: bool


class Labels:
    """The labelled values of a document.

    Args:
        layout: The document.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    @cached_property
    def _all(self) -> Sequence[Labelled]:
        return [found for cell in self._layout for found in self._of_cell(cell)]

    def of(self, meaning: str) -> Iterator[Labelled]:
        """Those with a meaning, in order."""
        return (found for found in self._all if found.meaning == meaning)

    def named(self, names: Sequence[str]) -> Iterator[str]:
        """Values beside or below any of these words."""
        pattern = pattern_of(list(names))
        for cell in self._layout:
            match = pattern.match(cell.text)
            if match is None:
                continue
            for value, _ in self._values(cell, match.end()):
                yield value

    def _of_cell(self, cell: Cell) -> Iterator[Labelled]:
        meaning = LABELS.exactly(cell.text)
        if meaning is not None:
            end = len(cell.text)
        else:
            found = LABELS.find(cell.text[:60])
            if found is None or found[1].start() > 0:
                found = self._before_colon(cell)
            if found is None:
                return
            meaning, end = found[0], found[1].end()
            # `Invoice no 123` is a label and its value, `Customer care` is neither.
            apart = cell.text[end : end + 1] in {":", ".", "#", ""}
            if not apart and (meaning not in _BEFORE_DIGITS or end <= _SHORT):
                return
        for value, beside in self._values(cell, end):
            yield Labelled(meaning, cell.text[:end], value, cell, beside)

    def _before_colon(self, cell: Cell) -> tuple[str, re.Match[str]] | None:
        head, colon, _ = cell.text.partition(":")
        found = LABELS.find(head) if colon else None
        # Most of what stands before the colon has to be the label.
        return None if found is None or len(found[1].group()) * 2 < len(head.strip()) else found

    def _values(self, cell: Cell, end: int) -> Iterator[tuple[str, bool]]:
        rest = cell.text[end:]
        colon = re.match(r"[^:]{0,20}:", rest)
        rest = rest[colon.end() :].strip() if colon else _AFTER_LABEL.sub("", rest)
        if rest:
            yield rest, True
            return
        right = self._layout.right_of(cell)
        if right is not None:
            value = right.text.lstrip(": ").strip()
            if value:
                yield value, True
            elif (further := self._layout.right_of(right)) is not None:
                yield further.text, True
        for below in self._layout.below(cell):
            yield below.text, False


def identifier_after(nouns: Sequence[str], text: str) -> str | None:
    """A number that follows one of the nouns in running text: `Invoice (copy) No. 123`."""
    either = "|".join(re.escape(noun) for noun in nouns)
    pattern = rf"(?:{either})\w*[^\n]{{0,12}}?\b{_NUMBER_WORD}(?!\w)[\s.:#]*([^\n]{{1,40}})"
    for match in re.finditer(pattern, text, re.IGNORECASE):
        if (value := identifier_in(match[1])) is not None:
            return value
    titled = re.search(rf"^\s*(?:{either})\s+(\S*\d\S*)\s*$", text, re.IGNORECASE | re.MULTILINE)
    return None if titled is None else identifier_in(titled[1])


def identifier_in(value: str) -> str | None:
    """A number of a document in a text: it has a digit, and is no date and no amount."""
    for match in _IDENTIFIER.finditer(value):
        token = match[1].strip().strip(".,;")
        if re.fullmatch(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d+[.,]\d{2}", token):
            continue
        if not re.search(r"[1-9]", token):
            continue
        head, _, tail = token.rpartition(" ")
        return tail if head and not re.fullmatch(r"[A-Z]{1,4}", head) else token
    return None
