"""What a page shows of one review item, as JSON. Pure.

Everything in it is text: a browser is given neither markup of an event nor the bytes of its file.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from pydantic import JsonValue

from pipeline.config import StageSettings
from pipeline.desk.forms import form_of
from pipeline.model.printable import on_one_line
from pipeline.model.records import Evidence, Review
from pipeline.operators.review import AnyStage, ReviewItem
from pipeline.operators.selection import place_of

TEXT_CHARS = 100_000
"""Of each text of an event; what is left out is counted."""
_SHORT_CHARS = 120
_MOST_DETAILS = 100
_MOST_SPANS = 500
_LEAST_QUOTE = 3
"""Characters below which a value is found anywhere."""
_MAIL = ("from", "from_name", "to", "date", "subject")


@dataclass(frozen=True, slots=True)
class Span:
    """Where in a text a field was read from, in code points."""

    start: int
    end: int
    field: str  # JSON pointer into the result


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of a text, and the fields that were read from it."""

    text: str
    fields: Sequence[str] = ()


def document_of(
    item: ReviewItem, stage: AnyStage | None, section: StageSettings | None
) -> dict[str, Any]:
    """All that is shown of an item; its stage is None where it is not known here."""
    review, record = item.review, item.record
    cost = review.usage.cost_usd
    return {
        "place": str(place_of(record)),
        "stage": review.stage,
        "event_id": review.event_id,
        "key": on_one_line(record.key, _SHORT_CHARS),
        "came_at": record.timestamp.isoformat(),
        "source": review.source.model_dump(mode="json", exclude={"extra"}),
        "model": review.model,
        "calls": review.usage.calls,
        "cost_usd": None if cost is None else f"{cost:f}",
        "doubts": list(_doubts(review)),
        "answers": list(_answers(review, getattr(stage, "deciding", ()))),
        "has_answer": {
            "haiku": review.haiku_result is not None,
            "sonnet": review.sonnet_result is not None,
        },
        "event": event_of(
            review.event,
            results=[each for each in (review.sonnet_result, review.haiku_result) if each],
            evidence=getattr(review, "evidence", ()),
        ),
        "form": [] if stage is None else [asdict(each) for each in form_of(stage, section)],
        "result": review.sonnet_result or review.haiku_result or {},
    }


def _doubts(review: Review) -> Iterator[dict[str, Any]]:
    of_haiku = review.haiku_doubts
    for number, doubt in enumerate(review.doubts):
        by = None if of_haiku is None else "haiku" if number < of_haiku else "sonnet"
        yield {"code": doubt.code, "detail": doubt.detail, "by": by}


def _answers(review: Review, deciding: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Both answers, field by field; values as they are in the record."""
    haiku, sonnet = review.haiku_result, review.sonnet_result
    for name in dict.fromkeys([*(haiku or {}), *(sonnet or {})]):
        one, other = (haiku or {}).get(name), (sonnet or {}).get(name)
        if one == other == {}:
            continue
        yield {
            "name": name,
            "haiku": one,
            "sonnet": other,
            "differs": haiku is not None and sonnet is not None and one != other,
            "decides": name in deciding,
        }


def event_of(
    event: Mapping[str, JsonValue],
    *,
    results: Sequence[Mapping[str, JsonValue]] = (),
    evidence: Sequence[Evidence] = (),
) -> dict[str, Any]:
    """The event as people know it: its texts, what else it says, its file, the mail that it is.

    What answers took from it is marked, by their evidence or else where it stands letter for
    letter; without answers nothing is.
    """
    is_mail = isinstance(event.get("from"), str)
    texts: list[tuple[str, str]] = []
    details: list[tuple[str, JsonValue]] = []
    for name, value in event.items():
        if name in {"id", "file"} or value is None or (is_mail and name in _MAIL):
            continue
        # What there is to read, however short it is.
        if isinstance(value, str) and (name in _READ or len(value) > _SHORT_CHARS):
            texts.append((name, value))
        else:
            details.append((name, value))
    texts.sort(key=lambda each: each[0] != "subject")
    boxes, spans = _marks(evidence)
    return {
        "mail": {name: event.get(name) for name in _MAIL} if is_mail else None,
        "texts": [
            {
                "name": name,
                "pieces": [asdict(each) for each in pieces_of(text[:TEXT_CHARS], found)],
                "left_out": max(0, len(text) - TEXT_CHARS),
            }
            for name, text in texts
            for found in [spans.get(name) or quotes_in(text, results)]
        ],
        "details": [{"name": name, "value": _shown(value)} for name, value in details][
            :_MOST_DETAILS
        ],
        "file": _file(event),
        "boxes": boxes,
    }


_READ = frozenset({"body", "text", "query", "source", "subject"})


def _file(event: Mapping[str, JsonValue]) -> dict[str, Any] | None:
    file = event.get("file")
    if not isinstance(file, dict):
        uri = event.get("uri")
        return {"name": uri, "media_type": "", "bytes": None} if isinstance(uri, str) else None
    data, name = file.get("data"), file.get("name")
    return {
        "name": name if isinstance(name, str) else "",
        "media_type": str(file.get("media_type") or "")[:_SHORT_CHARS],
        "bytes": len(data) * 3 // 4 if isinstance(data, str) else None,
    }


def _shown(value: JsonValue) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
    return text[:TEXT_CHARS]


def _marks(
    evidence: Sequence[Evidence],
) -> tuple[list[dict[str, Any]], dict[str, list[Span]]]:
    """Where the record itself says that values were read: boxes on pages, and spans by text."""
    boxes: list[dict[str, Any]] = []
    spans: dict[str, list[Span]] = {}
    for each in evidence[:_MOST_SPANS]:
        if each.page is not None:
            boxes.append({"field": each.field, "page": each.page, "box": each.box})
        elif each.start is not None and each.end is not None and each.start < each.end:
            spans.setdefault(each.input, []).append(Span(each.start, each.end, each.field))
    return boxes, spans


def quotes_in(text: str, results: Sequence[Mapping[str, JsonValue]]) -> list[Span]:
    """Where values of the answers occur in a text, letter for letter; the first place of each."""
    found: dict[Span, None] = {}
    for result in results:
        for pointer, value in leaves(dict(result)):
            if len(value) >= _LEAST_QUOTE and (start := text.find(value)) >= 0:
                found[Span(start, start + len(value), pointer)] = None
            if len(found) == _MOST_SPANS:
                return list(found)
    return list(found)


def leaves(value: JsonValue, pointer: str = "") -> Iterator[tuple[str, str]]:
    """The strings in a result with their JSON pointers (RFC 6901)."""
    match value:
        case str():
            yield pointer, value
        case dict():
            for name, each in value.items():
                yield from leaves(each, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
        case list():
            for number, each in enumerate(value):
                yield from leaves(each, f"{pointer}/{number}")


def pieces_of(text: str, spans: Sequence[Span]) -> list[Piece]:
    """Cut a text at the edges of spans, which may overlap; the pieces are all of it."""
    within = [span for span in spans if span.start < len(text)]
    edges = sorted({0, len(text), *(span.start for span in within)} | {
        min(span.end, len(text)) for span in within
    })  # fmt: skip
    found = []
    for start, end in pairwise(edges):
        fields = [span.field for span in within if span.start < end and span.end > start]
        found.append(Piece(text[start:end], tuple(dict.fromkeys(fields))))
    return found
