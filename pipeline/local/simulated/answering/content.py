"""The content of a request, apart from what the asker says about it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pipeline.local.simulated.answering.lexicon import read_cues

_WRAPPED = re.compile(
    r"<(?P<tag>[A-Za-z][\w.-]*)(?P<attributes>\s[^<>]*)?>\n?(?P<body>.*?)\n?</(?P=tag)>", re.DOTALL
)
_ATTRIBUTE = re.compile(r"([\w.-]+)\s*=\s*[\"']([^\"']*)[\"']")
_SENTENCE = re.compile(r"[^.!?\n。！？]+(?:[.!?。！？]+(?=\s|$)|[.!?](?=\S)[^.!?\n]*)*[.!?。！？]*")
_ASKS = read_cues("cues.txt")["asking"]
_IDENTIFIERS = ("id", "index", "key", "custom_id", "item", "n")
_TITLES = ("subject", "title", "betreff", "objet", "asunto")
_SOURCES = ("source", "code", "snippet")


@dataclass(frozen=True, slots=True)
class FileText:
    """What could be read of a file.

    Args:
        text: Lines from top to bottom; two blanks and more where a gap is.
        legibility: 0 to 1.
        defects: What is wrong with it as an image.
    """

    text: str
    legibility: float
    defects: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of content.

    Args:
        name: What the asker calls it: the tag around it.
        text: Its text.
        identifier: The id that the tag carries, if any.
    """

    name: str
    text: str
    identifier: str | None = None

    @property
    def is_number(self) -> bool:
        """Whether it is a named number and nothing else."""
        return bool(self.name) and self.text.strip().isdecimal()


@dataclass(frozen=True)
class Content:
    """What is to be read.

    Args:
        passages: The pieces, in order.
        legibility: 0 to 1: how well images could be read; 1 where there were none.
        defects: What is wrong with its images as images.
        said: What the asker says in the user turn, around the content.
        memo: What was worked out once, for whoever needs it again.
    """

    passages: tuple[Passage, ...]
    legibility: float = 1.0
    defects: frozenset[str] = frozenset()
    said: str = ""
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def text(self) -> str:
        """All of it that says something: a bare number is a parameter of the question."""
        said = [passage.text for passage in self.passages if not passage.is_number]
        return "\n".join(said).strip()

    @cached_property
    def source(self) -> str:
        """The source code in it, if a piece is called so."""
        return "\n".join(p.text for p in self.passages if p.name.lower() in _SOURCES)

    def number(self, about: str) -> int | None:
        """A bare number that the asker gives under a name with that word in it."""
        given = (p.text for p in self.passages if p.is_number and about in p.name.lower())
        return next((int(text) for text in given), None)

    @cached_property
    def title(self) -> str:
        """Its subject, if one is named so."""
        return " ".join(p.text for p in self.passages if p.name.lower() in _TITLES).strip()

    @cached_property
    def body(self) -> str:
        """All of it but the subject."""
        rest = [p.text for p in self.passages if p.name.lower() not in _TITLES and not p.is_number]
        return "\n".join(rest).strip() or self.text

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """Lines that are not empty, with their inner spacing."""
        return tuple(line.rstrip() for line in self.text.splitlines() if line.strip())

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """Sentences of the body, each as it stands there."""
        found = (match.group().strip() for match in _SENTENCE.finditer(self.body))
        return tuple(sentence for sentence in found if any(c.isalnum() for c in sentence))

    @cached_property
    def requests(self) -> str:
        """The sentences that ask for something."""
        return " ".join(sentence for sentence in self.sentences if asks(sentence))

    def items(self) -> dict[str, "Content"]:
        """Contents that carry an id of their own, where several were sent at once."""
        found: dict[str, list[Passage]] = {}
        for passage in self.passages:
            if passage.identifier is not None:
                found.setdefault(passage.identifier, []).append(passage)
        return {
            identifier: Content(
                tuple(inner for passage in passages for inner in split(passage.text)[0])
                or tuple(passages),
                self.legibility,
                self.defects,
            )
            for identifier, passages in found.items()
        }


def asks(sentence: str) -> bool:
    """Whether a sentence asks for something."""
    return "?" in sentence or "？" in sentence or _ASKS.search(sentence.lower()) is not None


def split(text: str) -> tuple[list[Passage], str]:
    """The pieces in tags, and what stands around them.

    A text that does not begin with a tag is one piece without a name: what looks like a tag
    inside somebody's text is part of that text.
    """
    passages: list[Passage] = []
    around: list[str] = []
    at = 0
    for match in _WRAPPED.finditer(text):
        around.append(text[at : match.start()])
        attributes = dict(_ATTRIBUTE.findall(match["attributes"] or ""))
        identifier = next((attributes[name] for name in _IDENTIFIERS if name in attributes), None)
        name = attributes.get("name") or match["tag"]
        # Only plain tags nest: an attribute says that what is inside is content as it stands.
        inner, said = split(match["body"]) if not match["attributes"] else ([], "")
        if inner and not said:
            passages += inner
        else:
            passages.append(Passage(name, match["body"], identifier))
        at = match.end()
    around.append(text[at:])
    return passages, "\n".join(part.strip() for part in around if part.strip())


def read_content(texts: Sequence[str], files: Sequence[FileText] = ()) -> Content:
    """Content from the texts of a user turn and from its files.

    Args:
        texts: The text blocks.
        files: What was read from the files.
    """
    # A tag may open in one block and close in another.
    text = "\n".join(texts)
    passages, said = split(text)
    if not passages and text.strip():
        passages, said = [Passage("", text)], ""
        if files:
            # Beside a file, text without any tag is what the asker says of it.
            passages, said = [], text
    passages += [Passage("file", file.text) for file in files]
    return Content(
        passages=tuple(passages),
        legibility=min((file.legibility for file in files), default=1.0),
        defects=frozenset().union(*(file.defects for file in files)),
        said=said,
    )
