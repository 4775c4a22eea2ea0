"""What a stage would make of records: what it reads, passes over, or refuses. Nothing is asked."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import zip_longest
from typing import Any, Literal, cast, get_args

import orjson

from pipeline.cascade.reading import AnyStage, adapter_of, input_record, of_stage
from pipeline.config import Settings
from pipeline.config.inputs import InputFormat, mapped_fields
from pipeline.inputs.adapter import Adapted, Adapter, PassedOver
from pipeline.inputs.records import NotAnEvent
from pipeline.model.errors import InvalidEvent, Unavailable, UsageError
from pipeline.model.json_bytes import RawJson
from pipeline.model.printable import printable
from pipeline.operators.mapping_proposal import Proposal, propose
from pipeline.operators.samples import Sampled, format_of, in_format
from pipeline.stages.api import RawEvent, stage_named
from pipeline.stages.files.decoding import decoders_of_this_process
from pipeline.stages.files.raw_events import to_json_object
from pipeline.stream.records import Received

End = Literal["read", "passed_over", "dead_letter"]
HEADINGS = ("In the record", "What the stage reads")
_SHOWN = 70
"""Characters of a value."""
_ROWS = 40
_STEPS = 6


@dataclass(frozen=True, slots=True)
class Preview:
    """What one record comes to.

    Attributes:
        came: What is in it, by path, as far as its format can be read.
        fields: What the stage reads.
        missing: Fields of the stage that it does not have.
        extra: What would go to the result's `source.extra`.
        because: Why it is passed over or refused; of what is read, what may still go wrong.
    """

    place: str
    end: End
    came: Mapping[str, Any] = field(repr=False)
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)
    missing: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    because: str | None = None


@dataclass(frozen=True, slots=True)
class MappingReport:
    """What comes of a sample, and a mapping proposed for it, where that was wanted.

    `hint` is what to set first, where records cannot be read as they are.
    """

    stage: str
    previews: tuple[Preview, ...]
    proposal: Proposal | None = None
    hint: str | None = None

    def count(self, end: End) -> int:
        return sum(each.end == end for each in self.previews)


async def preview(
    settings: Settings, stage_name: str, sampled: Sequence[Sampled], *, proposed: bool
) -> MappingReport:
    """What the stage would make of each record, and a proposal, where one is `proposed`.

    Raises:
        UsageError: There is no such stage, or its settings cannot be.
        Unavailable: The schema registry does not answer.
    """
    stage = stage_named(settings.stages, stage_name)
    adapter = adapter_of(settings, stage)
    other = _other_format(settings, stage_name, sampled) if proposed else None
    reader, hint = adapter, None
    if other is not None:
        try:
            reader = adapter_of(in_format(settings, stage_name, other), stage)
        except UsageError as error:
            hint = f'The records seem to be of input.format = "{other}". {error}'
    documents: list[Mapping[str, Any]] = []
    previews: list[Preview] = []
    with decoders_of_this_process.limited(settings.files):
        for each in sampled:
            came = await _fields(reader, each.record)
            if came is not None:
                documents.append(came)
            previews += await _previews(stage, adapter, each, came or {})
    found = propose(stage_name, stage.raw_model, documents) if proposed and documents else None
    if found is not None and other is not None:
        found = replace(found, format=other)
    return MappingReport(stage_name, tuple(previews), found, hint)


def _other_format(settings: Settings, stage: str, sampled: Sequence[Sampled]) -> InputFormat | None:
    """The format that the records seem to have, where they are taken for JSON."""
    given = settings.stages.by_name()[stage].input
    seems = format_of([each.record for each in sampled])
    if given.format != "json" or given.envelope is not None or seems in {None, "json", "file"}:
        return None
    return cast("InputFormat", seems)


async def _fields(adapter: Adapter | None, received: Received) -> Mapping[str, Any] | None:
    """What is in a record before it is mapped; None where it cannot be read, or is a deletion."""
    if adapter is not None and adapter.format is not None:
        try:
            document = await adapter.format.read(input_record(received))
        except (InvalidEvent, NotAnEvent):
            return None
        return None if document is None else document.fields
    try:
        value = orjson.loads(received.value or b"")
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


async def _previews(
    stage: AnyStage, adapter: Adapter | None, sampled: Sampled, came: Mapping[str, Any]
) -> Sequence[Preview]:
    """Of the event in a record, or of each, where it holds several."""
    shown = dict(_flat(came))
    received = sampled.record
    try:
        adapted: Adapted | PassedOver
        if received.is_tombstone:
            adapted = PassedOver("It is a tombstone.")
        elif adapter is None:
            adapted = Adapted(received.value or b"", input_record(received).headers)
        else:
            adapted = await adapter.read(input_record(received))
    except InvalidEvent as invalid:
        return [_refused(sampled.place, shown, invalid)]
    if isinstance(adapted, PassedOver):
        return [Preview(sampled.place, "passed_over", shown, because=adapted.because)]
    if not adapted.parts:
        return [await _preview(stage, sampled.place, received.key, adapted, shown)]
    places = (f"{sampled.place}#{n}, {name}" for n, (name, _) in enumerate(adapted.parts, 1))
    return [
        await _preview(stage, place, received.key, replace(adapted, value=value), shown)
        for place, (_, value) in zip(places, adapted.parts, strict=True)
    ]


def _refused(place: str, shown: Mapping[str, Any], invalid: InvalidEvent) -> Preview:
    because = f"{invalid.reason.value}: {invalid.detail}"
    return Preview(place, "dead_letter", shown, because=because)


async def _preview(
    stage: AnyStage, place: str, key: bytes | None, adapted: Adapted, shown: Mapping[str, Any]
) -> Preview:
    try:
        event: RawEvent = of_stage(
            stage.name, stage.parse, adapted.value, key=key, headers=adapted.headers
        )
        because = await _question_fails(stage, event)
    except InvalidEvent as invalid:
        return _refused(place, shown, invalid)
    known = stage.raw_model.model_fields
    values = to_json_object(event)
    return Preview(
        place,
        "read",
        shown,
        dict(_flat({name: values[name] for name in known if values.get(name) is not None})),
        tuple(name for name in known if getattr(event, name) is None),
        dict(_flat({name: _read(value) for name, value in event.unknown_fields.items()})),
        because,
    )


async def _question_fails(stage: AnyStage, event: RawEvent) -> str | None:
    """Build what would be asked, which looks into files; returns what cannot be looked at now."""
    ask = partial(of_stage, stage.name, stage.question, event)
    try:
        await asyncio.to_thread(ask)
    except Unavailable as error:
        return f"Its file cannot be had at present: {error}"
    return None


def _read(value: Any) -> Any:  # noqa: ANN401
    return value.read() if isinstance(value, RawJson) else value


def _flat(value: Any, path: str = "", steps: int = _STEPS) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """What is in a value by path, lists as they are."""
    if isinstance(value, Mapping) and value and steps:
        for name, item in value.items():
            yield from _flat(item, f"{path}.{name}" if path else str(name), steps - 1)
    elif path:
        yield path, value if not isinstance(value, bytes) else f"{len(value):,} bytes"


def sources(settings: Settings, stage: str) -> Mapping[str, str]:
    """By which expressions the fields of a stage are found."""
    own = settings.stages.by_name()[stage]
    return {
        each.name: ", ".join(expression.text for _, expression in each.parts)
        for each in mapped_fields(own.map)
    }


def rows(shown: Preview, by: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """A record beside what the stage reads of it, under `HEADINGS`."""
    left = [f"{path}: {_text(value)}" for path, value in shown.came.items()]
    right = [
        f"{path} = {_text(value)}" + (f"  ({by[path]})" if path in by else "")
        for path, value in shown.fields.items()
    ]
    right += [f"{name}: missing" for name in shown.missing]
    right += [f"source.extra.{path} = {_text(value)}" for path, value in shown.extra.items()]
    if len(left) > _ROWS:
        left = [*left[:_ROWS], f"... {len(left) - _ROWS} more"]
    if len(right) > _ROWS:
        right = [*right[:_ROWS], f"... {len(right) - _ROWS} more"]
    yield from zip_longest(left, right, fillvalue="")


def _text(value: Any) -> str:  # noqa: ANN401
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return printable(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def sentence(report: MappingReport) -> str:
    read, over, dead = map(report.count, get_args(End))
    return (
        f"Of {len(report.previews):,} events {read:,} would be asked about, {over:,} passed over, "
        f"{dead:,} dead letters."
    )


def document(report: MappingReport) -> dict[str, Any]:
    """The same for a program."""
    proposal = report.proposal
    return {
        "stage": report.stage,
        "hint": report.hint,
        "records": [
            {
                "place": each.place,
                "end": each.end,
                "because": each.because,
                "fields": each.fields,
                "missing": each.missing,
                "extra": each.extra,
                "came": each.came,
            }
            for each in report.previews
        ],
        "proposal": None if proposal is None else {
            "toml": proposal.toml(),
            "missing": proposal.missing,
            "fields": [
                {"field": each.field, "sureness": each.sureness, "because": each.because}
                for each in proposal.fields
            ],
        },
    }  # fmt: skip
