"""Proposes a mapping for a sample of records: which of their fields a stage probably means. Pure.

Fields are weighed by their names, as webhooks, change events and rows of a CRM use them, and by
what is in them: how long the texts are, whether a value is of its own in each record, whether it is
a date or a file. A person reads the proposal before anything is asked.
"""

import base64
import binascii
import contextlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel

from pipeline.config.inputs import InputFormat
from pipeline.inputs.debezium import change_of
from pipeline.inputs.records import NotAnEvent
from pipeline.model.errors import InvalidEvent
from pipeline.model.expressions import MOST_CHARS
from pipeline.stages.files.media import sniff

Sureness = Literal["sure", "likely", "a guess"]
_MOST_LEAVES = 500
_MOST_DEPTH = 8
_LEAST = 0.3
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_ENTITIES = frozenset({
    "ticket", "case", "issue", "conversation", "item", "record", "event", "request", "webhook",
    "complaint", "claim", "detail", "doc", "document", "invoice", "order", "enquiry", "inquiry",
    "msg", "latest", "first",
})  # fmt: skip
"""Words of a name that say what the record is about, and not what the field is."""
_OTHERS = frozenset({
    "account", "agent", "app", "assignee", "author", "brand", "company", "contact", "creator",
    "customer", "department", "group", "org", "organization", "owner", "parent", "product",
    "requester", "responder", "sender", "source", "subdomain", "submitter", "subscription", "team",
    "tenant", "user", "workspace",
})  # fmt: skip
"""Whose an id is, where it is not the record's."""
_IDS = {
    "id": 1.0, "uuid": 0.95, "guid": 0.95, "key": 0.6, "number": 0.85, "no": 0.8, "nr": 0.8,
    "ref": 0.6, "reference": 0.7, "display_id": 0.7, "external_id": 0.6, "code": 0.3, "sys_id": 0.9,
}  # fmt: skip
_TEXTS = {
    "body": 1.0, "description": 1.0, "text": 0.95, "message": 0.9, "content": 0.85, "comment": 0.8,
    "question": 0.8, "query": 0.8, "details": 0.75, "note": 0.6, "notes": 0.6, "body_text": 1.0,
    "description_text": 1.05, "plain_body": 1.05, "body_plain": 1.05, "html_body": 0.8,
    "body_html": 0.8, "feedback": 0.8, "complaint": 0.9, "source": 0.3, "transcript": 0.9,
    "summary": 0.4, "prompt": 0.8, "long_description": 1.0, "memo": 0.5, "value": 0.3,
    "problem": 0.8, "wording": 0.8, "remarks": 0.6, "narrative": 0.8, "enquiry": 0.8,
    "inquiry": 0.8,
}  # fmt: skip
_SUBJECTS = {
    "subject": 1.0, "title": 0.95, "headline": 0.8, "summary": 0.7, "short_description": 0.9,
    "raw_subject": 0.8, "topic": 0.4, "name": 0.35,
}  # fmt: skip
_TIMES = {
    "created_at": 1.0, "created": 0.95, "created_date": 1.0, "created_on": 1.0, "create_date": 0.95,
    "createdate": 0.95, "date": 0.7, "time": 0.6, "timestamp": 0.8, "opened_at": 0.9,
    "received_at": 0.9, "submitted_at": 0.9, "sent_at": 0.85, "datetime": 0.8, "ts": 0.5,
}  # fmt: skip
_CUSTOMERS = {
    "customer_id": 1.0, "requester_id": 0.95, "contact_id": 0.9, "client_id": 0.8, "user_id": 0.7,
    "account_id": 0.5, "customer": 0.7, "customer_number": 0.9, "contact_email": 0.6,
    "customer_email": 0.6, "requester_email": 0.6, "from": 0.55,
}  # fmt: skip
_CUSTOMER_OBJECTS = frozenset({
    "account", "customer", "requester", "contact", "author", "client", "user",
})  # fmt: skip
_CHANNELS = {"channel": 1.0, "via": 0.8, "origin": 0.8, "source": 0.5, "medium": 0.6}
_LANGUAGES = {"language": 1.0, "lang": 0.9, "programming_language": 1.0}
_CODE = {"source": 1.0, "code": 0.95, "snippet": 0.8, "content": 0.5}
_FILES = {
    "data": 0.8, "content": 0.8, "file": 0.8, "attachment": 0.8, "base64": 1.0, "bytes": 0.8,
    "file_data": 0.95, "file_content": 0.95, "content_base64": 1.0, "pdf": 0.9, "image": 0.9,
    "scan": 0.9, "blob": 0.8, "payload": 0.5,
}  # fmt: skip
_MEDIA_TYPES = {
    "media_type": 1.0, "mime_type": 1.0, "content_type": 0.95, "mimetype": 1.0, "mime": 0.9,
    "type": 0.5,
}  # fmt: skip
_URIS = {"uri": 1.0, "url": 0.8, "link": 0.7, "location": 0.6, "path": 0.5, "href": 0.6}
Weigh = Callable[["Leaf"], tuple[float, str]]
"""How well a place is meant by a field, from 0 to 1, and why."""
_STATES = {
    "status": 1.0, "state": 0.95, "stage": 0.6, "phase": 0.6, "workflow_state": 0.9,
    "lifecycle": 0.6,
}  # fmt: skip
_UNTOUCHED = frozenset({
    "new", "open", "opened", "created", "received", "submitted", "unread", "unassigned", "to do",
    "todo", "untouched", "neu", "offen", "nuevo", "nuevo caso", "abierto", "nouveau", "ouvert",
    "nuovo", "aperto", "novo", "aberto", "nieuw",
})  # fmt: skip
"""What a state is called before anybody has dealt with a record."""
_STATE = re.compile(r"[\w .:-]{1,30}")
_STATES_OF, _FEWEST_RECORDS, _MOSTLY = 8, 5, 0.9
_SURE, _LIKELY = 0.8, 0.55
_WORDS_OF_A_TEXT = 4
_CHARS_OF_A_FILE = 64


@dataclass(frozen=True)
class Leaf:
    """A place in the records at which there is a single value.

    `path` are names; of the elements of a list they go on behind `[]`. `values` are those that are
    there, in records as many as `records`.
    """

    path: tuple[str, ...]
    values: tuple[Any, ...]
    records: int

    @property
    def expression(self) -> str:
        """JMESPath that finds it."""
        steps = (step if step == "[]" or _PLAIN_NAME.fullmatch(step) else json.dumps(step)
                 for step in self.path)  # fmt: skip
        return ".".join(steps).replace(".[]", "[]")

    @property
    def is_in_list(self) -> bool:
        return "[]" in self.path

    @property
    def presence(self) -> float:
        return min(1.0, len(self.values) / self.records)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        return tuple(value for value in self.values if isinstance(value, str))

    @cached_property
    def mean_chars(self) -> float:
        return sum(map(len, self.texts)) / len(self.texts) if self.texts else 0.0

    @cached_property
    def is_prose(self) -> float:
        """The share of texts of several words."""
        found = sum(len(text.split()) >= _WORDS_OF_A_TEXT for text in self.texts)
        return found / len(self.values) if self.values else 0.0

    @cached_property
    def own_share(self) -> float:
        """The share of values that are no other record's."""
        return len({str(value) for value in self.values}) / len(self.values) if self.values else 0.0

    @cached_property
    def words(self) -> tuple[str, ...]:
        return words_of(self.path[-1])

    def weight(self, names: Mapping[str, float]) -> float:
        """How well its name is one of these, by whole name, or less what says of what it is."""
        name = "_".join(self.words)
        if name in names:
            return names[name]
        around = {word for step in self.path[:-1] for word in words_of(step)}
        rest = "_".join(word for word in self.words if word not in around | _ENTITIES)
        if rest in names:
            return 0.95 * names[rest]
        return 0.5 * names.get(self.words[-1], 0.0) if self.words else 0.0

    def nearness(self, to: tuple[str, ...]) -> float:
        """How close to an object it stands: within it, around it, or apart from it."""
        parents = self.path[:-1]
        apart = 0 if to[: len(parents)] == parents or parents[: len(to)] == to else 2
        return max(0.5, 1.0 - 0.08 * (abs(len(to) - len(parents)) + apart))


def words_of(name: str) -> tuple[str, ...]:
    """`TicketSubject` and `ticket_subject` as words."""
    return tuple(word.lower() for word in _WORD.findall(name))


def leaves_of(records: Sequence[Mapping[str, Any]]) -> list[Leaf]:
    """Where there are single values, in the order in which they were found."""
    found: dict[tuple[str, ...], list[Any]] = {}
    for record in records:
        for path, value in _walk(record, ()):
            if path in found or len(found) < _MOST_LEAVES:
                found.setdefault(path, []).append(value)
    leaves = [Leaf(path, tuple(values), len(records)) for path, values in found.items()]
    return [leaf for leaf in leaves if len(leaf.expression) <= MOST_CHARS]


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401
    if len(path) > _MOST_DEPTH or value is None or value == "":
        return
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _walk(item, (*path, str(name)))
    elif isinstance(value, list):
        for item in value[:20]:
            if isinstance(item, Mapping):
                yield from _walk(item, (*path, "[]"))
    elif path:
        yield path, value


@dataclass(frozen=True, slots=True)
class Proposed:
    """Where a field of the stage probably is; `expression` as it is written in TOML.

    `leaf` is where that is in the records; None of a literal, or of the record's own time.
    """

    field: str
    expression: str
    weight: float
    because: str
    leaf: Leaf | None = None

    @property
    def sureness(self) -> Sureness:
        if self.weight >= _SURE:
            return "sure"
        return "likely" if self.weight >= _LIKELY else "a guess"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A mapping for a stage; `missing` are fields that it needs and nothing looks like.

    `envelope` is what is around the records, if anything is that the pipeline knows; `format` is
    theirs, where that has to be set, too.
    """

    stage: str
    fields: tuple[Proposed, ...]
    missing: tuple[str, ...]
    envelope: Literal["debezium"] | None = None
    where: str | None = None
    where_because: str = ""
    format: InputFormat | None = None

    def toml(self) -> str:
        """What is pasted into `pipeline.toml`, each line with how sure it is."""
        lines = []
        given = (("format", self.format), ("envelope", self.envelope))
        if any(value is not None for _, value in given):
            lines += [f"[stages.{self.stage}.input]"]
            lines += [f'{name} = "{value}"' for name, value in given if value is not None]
            lines += [""]
        if self.where is not None:
            filter_ = f"# where = {toml_text(self.where)}  # {self.where_because}"
            lines += [f"[stages.{self.stage}]", filter_, ""]
        lines.append(f"[stages.{self.stage}.map]")
        rows = [(f"{each.field} = {each.expression}", each) for each in self.fields]
        width = max((len(text) for text, _ in rows), default=0)
        lines += [f"{text:<{width}}  # {each.sureness}: {each.because}" for text, each in rows]
        lines += [f'# {name} = ""  # nothing looks like it' for name in self.missing]
        return "\n".join(lines)


def propose(stage: str, model: type[BaseModel], records: Sequence[Mapping[str, Any]]) -> Proposal:
    """Propose a mapping for records, of which there is one at least, as their format reads them.

    Debezium's envelope is recognised where it is still around them.
    """
    inner = _after_images(records)
    search, fields = _Search(leaves_of(inner or records)), model.model_fields
    leaves = tuple(search.free)
    content = _content(search, fields)
    near = () if content is None or content.leaf is None else content.leaf.path[:-1]
    search.take(search.best("id", lambda leaf: _as_id(leaf, near)))
    _beside(search, fields, content)
    order = ("id", "subject", "body", "text", "query")
    found = sorted(
        search.found,
        key=lambda each: order.index(each.field) if each.field in order else len(order),
    )
    known = {each.field.split(".")[0] for each in found}
    missing = [name for name, info in fields.items() if info.is_required() and name not in known]
    if content is None and "file" in fields:
        missing.append("file.data")
    envelope: Literal["debezium"] | None = "debezium" if inner else None
    filters = [each for each in (_state(leaves), _filter(content)) if each is not None]
    return Proposal(
        stage,
        tuple(found),
        tuple(missing),
        envelope,
        " && ".join(expression for expression, _ in filters) or None,
        "; ".join(because for _, because in filters),
    )


class _Search:
    """Finds the best place for one field after the other; each place is taken once."""

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        self.free = list(leaves)
        self.found: list[Proposed] = []

    def best(self, field: str, weigh: Weigh, *, lists: bool = False) -> Proposed | None:
        """The place that weighs most, where it weighs enough; of those in `lists`, too."""
        weighed = [(*weigh(leaf), leaf) for leaf in self.free if lists or not leaf.is_in_list]
        if not weighed:
            return None
        weight, because, leaf = max(weighed, key=lambda each: each[0])
        if weight < _LEAST:
            return None
        return Proposed(field, toml_text(leaf.expression), min(weight, 1.0), because, leaf)

    def take(self, proposed: Proposed | None) -> Proposed | None:
        if proposed is not None:
            self.found.append(proposed)
            self.free = [leaf for leaf in self.free if leaf is not proposed.leaf]
        return proposed


def _content(search: _Search, fields: Mapping[str, object]) -> Proposed | None:
    """What is asked about: a file, a text, or the place of a file."""
    if {"source", "language"} <= fields.keys():
        return search.take(search.best("source", _by_name(_CODE)))
    file = search.best("file.data", _as_file, lists=True) if "file" in fields else None
    if file is not None:
        file = _first_of_list(file)
        search.take(file)
        kind = search.best("file.media_type", _as_media_type, lists=True)
        search.take(_sniffed(file) if kind is None else _first_of_list(kind))
        return file
    if (name := text_field(fields)) is not None:
        text = search.best(name, _as_text, lists=True)
        if text is not None:
            return search.take(text)
    return search.take(search.best("uri", _as_uri)) if "uri" in fields else None


def text_field(fields: Mapping[str, object]) -> str | None:
    """The field of a stage that holds what is asked about, where that is text."""
    return next((name for name in ("body", "text", "query") if name in fields), None)


def _beside(search: _Search, fields: Mapping[str, object], content: Proposed | None) -> None:
    """The fields beside what is asked about."""
    near = () if content is None or content.leaf is None else content.leaf.path[:-1]
    subject = search.best("subject", lambda leaf: _as_subject(leaf, near))
    is_text = content is not None and content.field == text_field(fields)
    if "subject" in fields:
        search.take(subject)
    elif content is not None and is_text and subject is not None and subject.sureness == "sure":
        search.found[search.found.index(content)] = _joined(subject, content)
    if "created_at" in fields and search.take(search.best("created_at", _as_time)) is None:
        search.take(Proposed("created_at", '"$.timestamp"', 0.6, "the record's own time"))
    for field, names in (("channel", _CHANNELS), ("language", _LANGUAGES)):
        if field in fields:
            search.take(search.best(field, _by_name(names, most_values=20)))
    if "customer_id" in fields:
        search.take(search.best("customer_id", _as_customer))
    for name in fields.keys() - _WEIGHED:
        search.take(search.best(name, _by_name({"_".join(words_of(name)): 0.9})))


_WEIGHED = frozenset({
    "id", "body", "text", "query", "source", "subject", "created_at", "channel", "language",
    "customer_id", "file", "uri", "max_sentences",
})  # fmt: skip


def _after_images(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows in Debezium's envelopes, with or without their schemas; empty if they are none."""
    found = []
    for record in records:
        payload = record.get("payload") if "schema" in record else record
        if not isinstance(payload, Mapping) or not {"op", "after"} <= payload.keys():
            return []
        with contextlib.suppress(InvalidEvent, NotAnEvent):
            change = change_of(record)
            found += [] if change is None else [change.fields]
    return found


def _as_text(leaf: Leaf) -> tuple[float, str]:
    named = leaf.weight(_TEXTS)
    long = min(leaf.mean_chars / 200, 1.0)
    weight = (0.65 * named + 0.2 * leaf.is_prose + 0.15 * long) * (0.5 + 0.5 * leaf.presence)
    if not named:
        # Whatever it is called, the longest prose of a record is what it says.
        weight = leaf.is_prose * leaf.presence * (0.35 + 0.1 * long)
    if leaf.is_in_list:
        weight *= 0.85
    if not leaf.texts or _is_file(leaf):
        weight = 0.0
    about = f"texts of {leaf.mean_chars:,.0f} characters"
    return weight, f"named like it, {about}" if named else about


def _as_subject(leaf: Leaf, near: tuple[str, ...]) -> tuple[float, str]:
    is_short = bool(leaf.texts) and leaf.mean_chars < 250  # noqa: PLR2004
    weight = leaf.weight(_SUBJECTS) * (0.6 + 0.4 * leaf.presence) * is_short
    if _OTHERS & {word for step in leaf.path[:-1] for word in words_of(step)} - {"source"}:
        weight *= 0.2
    return weight * leaf.nearness(near), "named like it, short texts"


def _as_id(leaf: Leaf, near: tuple[str, ...]) -> tuple[float, str]:
    """An id of the record itself: of its own in each, near the text, and not somebody else's."""
    named = leaf.weight(_IDS)
    is_scalar = all(isinstance(value, str | int) for value in leaf.values)
    is_short = leaf.mean_chars <= 64  # noqa: PLR2004
    around = {word for step in leaf.path[:-1] for word in words_of(step)}
    is_others = bool(_OTHERS & {*leaf.words, *around})
    weight = named * leaf.presence * is_scalar * is_short * (0.15 if is_others else 1.0)
    weight *= leaf.nearness(near)
    if leaf.records > 1:
        weight *= leaf.own_share
        return weight, f"named like it, of its own in {leaf.own_share:.0%} of the records"
    return 0.9 * weight, "named like it; one record does not show whether it is of its own"


def _as_time(leaf: Leaf) -> tuple[float, str]:
    named = leaf.weight(_TIMES)
    dates = sum(_is_date(text) for text in leaf.texts) / len(leaf.values) if leaf.values else 0.0
    return (0.2 + 0.8 * named) * dates * leaf.presence * bool(named), "dates, named like it"


def _as_customer(leaf: Leaf) -> tuple[float, str]:
    weight = leaf.weight(_CUSTOMERS)
    if len(leaf.path) > 1 and leaf.path[-1] in {"id", "email", "number"}:
        of_customer = bool(_CUSTOMER_OBJECTS & {*words_of(leaf.path[-2])})
        weight = max(weight, 0.85 * of_customer * (1.0 if leaf.path[-1] == "id" else 0.7))
    return weight * (0.5 + 0.5 * leaf.presence), "named like it"


def _as_media_type(leaf: Leaf) -> tuple[float, str]:
    typed = all(re.fullmatch(r"[a-z]+/[\w.+-]+", text) for text in leaf.texts)
    return leaf.weight(_MEDIA_TYPES) * bool(leaf.texts) * typed * leaf.presence, "media types"


def _as_uri(leaf: Leaf) -> tuple[float, str]:
    places = sum(text.startswith(("s3://", "file://")) for text in leaf.texts)
    share = places / len(leaf.values) if leaf.values else 0.0
    return (0.6 + 0.4 * leaf.weight(_URIS)) * share, "places of files"


def _as_file(leaf: Leaf) -> tuple[float, str]:
    if not _is_file(leaf):
        return 0.0, ""
    return (0.75 + 0.25 * leaf.weight(_FILES)) * (0.5 + 0.5 * leaf.presence), "files in base64"


def _by_name(names: Mapping[str, float], *, most_values: int | None = None) -> Weigh:
    def weigh(leaf: Leaf) -> tuple[float, str]:
        weight = leaf.weight(names) * (0.5 + 0.5 * leaf.presence)
        if most_values is not None and (
            len({str(value) for value in leaf.values}) > most_values or leaf.is_prose
        ):
            weight *= 0.3
        return weight, "named like it"

    return weigh


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return bool(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d", text))
    return len(text) >= len("2026-01-01")


def _beginning(text: str) -> bytes | None:
    """The first bytes of a file in base64; None where it is not a file."""
    if len(text) < _CHARS_OF_A_FILE or " " in text[:_CHARS_OF_A_FILE]:
        return None
    try:
        return base64.b64decode(text[:_CHARS_OF_A_FILE], validate=True)
    except (binascii.Error, ValueError):
        return None


def _is_file(leaf: Leaf) -> bool:
    if leaf.values and all(isinstance(value, bytes) for value in leaf.values):
        return True
    begins = [_beginning(text) for text in leaf.texts]
    return bool(begins) and all(begin is not None and sniff(begin) for begin in begins)


def _first_of_list(file: Proposed) -> Proposed:
    """Of several files the first: an event has one."""
    if file.leaf is None or not file.leaf.is_in_list:
        return file
    because = f"{file.because}, the first of each list"
    expression = toml_text(file.leaf.expression.replace("[]", "[0]"))
    return Proposed(file.field, expression, 0.8 * file.weight, because, file.leaf)


def _sniffed(file: Proposed) -> Proposed | None:
    """The type of all files, as a literal, where nothing in the records says it."""
    values = () if file.leaf is None else file.leaf.values
    begins = [value if isinstance(value, bytes) else _beginning(str(value)) for value in values]
    kinds = {sniff(begin or b"") for begin in begins}
    if len(kinds) != 1 or (kind := kinds.pop()) is None:
        return None
    return Proposed("file.media_type", toml_text(f"'{kind}'"), 0.7, "what the files begin with")


def _joined(subject: Proposed, text: Proposed) -> Proposed:
    """A text with its subject before it, of a stage that has no field for that."""
    expression = f"[{subject.expression}, {text.expression}]"
    return Proposed(
        text.field, expression, min(subject.weight, text.weight), text.because, text.leaf
    )


def _filter(text: Proposed | None) -> tuple[str, str] | None:
    """What is true of records that have a text, where not all have one, and why to ask for it."""
    if text is None or text.leaf is None or text.leaf.presence >= 1 or text.leaf.is_in_list:
        return None
    because = "not every record has the text: without this the others become dead letters"
    return text.leaf.expression, because


def _state(leaves: Sequence[Leaf]) -> tuple[str, str] | None:
    """What is true of records that nobody has dealt with, where a field says that of most."""
    for leaf in sorted(leaves, key=lambda each: -each.weight(_STATES)):
        if leaf.weight(_STATES) < _LIKELY or leaf.is_in_list or leaf.records < _FEWEST_RECORDS:
            continue
        values = Counter(text for text in leaf.texts if _STATE.fullmatch(text))
        if values.total() < len(leaf.values) or leaf.presence < _MOSTLY or len(values) > _STATES_OF:
            continue
        state, times = values.most_common(1)[0]
        if state.casefold() in _UNTOUCHED and times >= leaf.records / 2:
            because = f"{times} of {leaf.records} records; the others are passed over"
            return f"{leaf.expression} == '{state}'", because
    return None


def toml_text(text: str) -> str:
    """A text as TOML writes it: like JSON, but that it has no pairs of surrogates, nor DEL bare."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
