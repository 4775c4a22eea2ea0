"""A file that holds several documents: where each begins is asked, and each is an event of its own.

A stack of invoices goes through a scanner as one, and comes as one PDF or TIFF file. With
`split = true` a stage first asks on which pages documents begin, of pages that are shown small.
Then the file is cut there, and each part is an event, with its own pages in it and no others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

from pydantic import Field

from pipeline.model.questions import Part, Question, Signal, Text
from pipeline.model.records import SourcePart
from pipeline.stages.fields import asking
from pipeline.stages.files.decoding import Pages, Prepared

_ROLE = """\
You look through files that came out of a scanner or a fax machine, or that somebody put together. \
Such a file may hold several documents, one after another, on paper of all kinds. You say on which \
pages documents begin. What you answer is cut there, and each piece is handled alone, by somebody \
who sees nothing of the others."""
_PAGES = """\
Each page is a text with its name, `page 1`, `page 2` and so on: the beginning and the end of what \
is printed on it, or a note that the next picture shows it. Pictures are small; what you cannot \
read on them does not matter as long as you see what kind of page it is."""
_HOW_TO_CUT = """\
A document begins where another paper begins that somebody could have sent alone: an invoice, a \
receipt, a letter, a form, a contract. Look for a letterhead, a title, another number of the \
document, another sender or date, a page number that starts again at 1.
What belongs to a document stays with it: its further pages, even without a heading; tables that \
go on; annexes, terms and conditions, a delivery note or a payment slip that come with it; its \
back sides; blank pages, which belong to what stands before them.
Two documents of the same sender are two if each has its own number or total. A page number such \
as 2/3 or a carried-over sum goes on with the document before it. A file of one document is usual: \
then there is one beginning, page 1."""
_FIELDS = """\
- `documents`: each document in the order of the file.
  - `begins_with`: the few words on its first page, at most ten, that show that a document begins \
there; of a page without words what is seen.
  - `first_page`: the number of its first page. Of the first document it is 1, even if the file \
begins in the middle of it.
  - `confidence`: how likely it is that a document begins on this page and not on another."""
_MAX_OUTPUT_TOKENS = 8192
_CONTRADICTORY = "boundaries"


class Beginning(asking.Strict):
    """Where one document begins."""

    begins_with: str = Field(description="Words on its first page that show that it begins there.")
    first_page: int = Field(description="The number of its first page; pages count from 1.")
    confidence: float = Field(
        description="How likely it is that a document begins on this page, from 0 to 1.",
        allow_inf_nan=False,
    )


class Boundaries(asking.Answer):
    """What is asked of a file that may hold several documents."""

    documents: list[Beginning] = Field(description="Each document, in the order of the file.")


class PagedFiles(Protocol):
    """What a splitter needs of a stage's files."""

    def show_pages(self, event: Any) -> Prepared: ...  # noqa: ANN401
    def cut(self, event: Any, parts: Sequence[Pages]) -> Sequence[Any]: ...  # noqa: ANN401


@dataclass(frozen=True, slots=True)
class EventPart:
    """An event that is a part of another one, and which part of it."""

    event: Any
    part: SourcePart


@runtime_checkable
class Splitting(Protocol):
    """A stage that may find several documents in the file of one event."""

    @property
    def splitter(self) -> "Splitter | None":
        """What finds them; None where each event is one document."""


@dataclass(frozen=True, slots=True)
class Checks:
    """What speaks against an answer about a file of so many pages."""

    name: str
    pages: int

    def signals(self, event: object, answer: Boundaries) -> Sequence[Signal]:  # noqa: ARG002
        firsts = [each.first_page for each in answer.documents]
        found = [
            Signal(
                "low_confidence",
                1.0 if not 0 <= each.confidence <= 1 else round(1 - each.confidence, 6),
                f"Page {each.first_page}: stated confidence {each.confidence:.2f}.",
            )
            for each in answer.documents
        ]
        if not firsts or firsts[0] != 1:
            found.append(_contradicts("the first document does not begin on page 1"))
        if any(later <= earlier for earlier, later in pairwise(firsts)):
            found.append(_contradicts("the pages do not ascend"))
        if firsts and max(firsts) > self.pages:
            found.append(_contradicts(f"there are {self.pages} pages"))
        return found


def _contradicts(what: str) -> Signal:
    return Signal(_CONTRADICTORY, 1.0, f"It cannot be so: {what}.")


class Splitter:
    """Asks where documents begin in a stage's files, and makes events of them."""

    def __init__(self, stage: str, files: PagedFiles) -> None:
        self.name = stage
        self._files = files
        self._question = asking.question_for(
            stage,
            Boundaries,
            _ROLE,
            asking.Section("How pages are shown", _PAGES),
            asking.Section("What to answer", _FIELDS),
            asking.Section("Where to cut", _HOW_TO_CUT),
            max_output_tokens=_MAX_OUTPUT_TOKENS,
        )

    def question(self, event: Any) -> Question[Boundaries] | None:  # noqa: ANN401 - the stage's
        """Where documents begin in the event's file; None where it has one page, or none at all.

        Decodes the file, and raises what the stage's own question does.
        """
        shown: tuple[Part, ...] = self._files.show_pages(event)
        if _count(shown) < 2:  # noqa: PLR2004 - one page is one document
            return None
        return replace(self._question, parts=shown)

    def checks(self, question: Question[Boundaries]) -> Checks:
        """What is checked of the answer to it."""
        return Checks(self.name, _count(question.parts))

    def parts(
        self,
        event: Any,  # noqa: ANN401 - the stage's
        question: Question[Boundaries],
        answer: Boundaries,
    ) -> Sequence[EventPart]:
        """The event's parts, by an answer that nothing speaks against; may be slow."""
        firsts = [each.first_page for each in answer.documents]
        lasts = [first - 1 for first in firsts[1:]] + [_count(question.parts)]
        pages = list(zip(firsts, lasts, strict=True))
        whole = len(pages) == 1
        events = [event] if whole else self._files.cut(event, pages)
        return [
            EventPart(one, SourcePart(number=at, of=len(pages), first_page=first, last_page=last))
            for at, (one, (first, last)) in enumerate(zip(events, pages, strict=True), start=1)
        ]


def _count(shown: Sequence[Part]) -> int:
    return sum(isinstance(each, Text) for each in shown)
