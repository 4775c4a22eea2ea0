"""How events come in: records to cases, cases to questions, and the files that these wait for.

Whatever a stage's code does wrong costs one event (`of_stage`); what may take milliseconds is done
outside the event loop.
"""

import asyncio
import contextvars
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from pipeline.claude.failures import Attempts, Bounds, Peers
from pipeline.claude.model_facts import known
from pipeline.config import ClaudeSettings, Settings
from pipeline.inputs.adapter import Adapter, PassedOver
from pipeline.inputs.formats import open_format
from pipeline.inputs.mapping import FieldMapping
from pipeline.inputs.records import InputRecord, NotAnEvent
from pipeline.kafka.topics import ESCALATIONS
from pipeline.model.errors import FileUnavailable, InvalidEvent, Unavailable, UsageError
from pipeline.model.json_bytes import RawJson
from pipeline.model.printable import printable, shortened
from pipeline.model.questions import KnownResult, Query, Question, Text
from pipeline.model.records import (
    DeadLetterReason,
    Escalation,
    Source,
    SourcePart,
    Tier,
    Unusable,
    Usage,
    read_record,
)
from pipeline.privacy.masking import Masking, Rules, values_of, with_fields
from pipeline.runtime.process import UnwaitedExecutor
from pipeline.stages.api import Answer, RawEvent, Stage, build_stages
from pipeline.stages.checks.scope import Encoder
from pipeline.stages.files.raw_events import check_texts, fields_of_record
from pipeline.stages.files.splitting import Boundaries, EventPart, Splitter
from pipeline.stream.records import Received

P = ParamSpec("P")
T = TypeVar("T")
MadeT = TypeVar("MadeT")
AnyStage = Stage[Any, Any]
RETRY_SECONDS = 5.0
"""Before a file that could not be reached is asked for again."""
QUIET_SECONDS = 3600.0
"""That a file is asked for alone, so that nothing else says whose trouble it is."""
NOT_ASKED = "none"
"""In place of a model, where there was nothing to ask about."""
LARGE_BYTES = 100_000
"""Of a record; smaller ones are read within a few milliseconds, whatever they hold."""
LONG_CHARS = 3_000
"""Of an event's texts, what is not ASCII counted threefold: shorter ones are checked within
milliseconds, whatever they hold."""
_FILES_AT_ONCE = 256
REPLAYED_FOR = "replayed-for"
"""The header of a replayed record whose topic several stages read: the one that could not handle
it. The others have."""
_NAME_SHOWN = 64
"""Characters of a name that a record brings, in what is said about it."""
log = structlog.get_logger(__name__)


def of_stage(stage: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what works on one event; whatever goes wrong in it costs that event, not the process.

    A poison event that ended the process would end it again after each restart. A fault that meets
    every event is caught by the limit on dead letters, which stops intake.

    That holds for more than `Exception`: a panic of a library in Rust is a `BaseException`, a
    library that parses may call `sys.exit()`, and nothing that is called here can be cancelled,
    as it never awaits. Only `KeyboardInterrupt` is a person's, who wants the process to end.

    Raises:
        InvalidEvent: As the function raised it, or with the reason `stage_failed`.
        Unavailable: As the function raised it; the event is not at fault.
    """
    try:
        return function(*args, **kwargs)
    except (InvalidEvent, Unavailable, KeyboardInterrupt):
        raise
    except BaseException as bug:
        raise _failure(stage, function, bug) from bug


def _failure(stage: str, function: Callable[..., object], bug: BaseException) -> InvalidEvent:
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__qualname__", type(function).__qualname__)
    # The message of the bug may quote the event, so only its type and its place are logged.
    place = traceback.extract_tb(bug.__traceback__)[-1]  # one frame at least: the caller's
    where = {"function": name, "place": f"{place.filename}:{place.lineno}"}
    log.error("stage_failed", stage=stage, error=type(bug).__name__, **where)
    short = name.rpartition(".")[-1]
    detail = f"The stage's {short}() failed with {type(bug).__name__}; see the log."
    return InvalidEvent(DeadLetterReason.STAGE_FAILED, detail)


def stages_by_tier(
    settings: Settings, encoder: Encoder | None = None
) -> Mapping[Tier, Mapping[str, AnyStage]]:
    """Every stage, by name, that sends images as large as the model of a tier sees them.

    Raises:
        UsageError: A class of your own is not a stage.
    """
    seen = {tier: known(settings.models.of(tier).model).images for tier in Tier}
    built = {
        limits: build_stages(settings.stages.seen_by(limits), encoder)
        for limits in dict.fromkeys(seen.values())
    }
    return {tier: built[limits] for tier, limits in seen.items()}


def is_for_another(received: Received, stage: str) -> bool:
    """Whether a record was replayed for another stage than this one, which has handled it."""
    wanted = next((value for name, value in received.headers if name == REPLAYED_FOR), None)
    return wanted is not None and wanted != stage.encode()


def input_record(received: Received) -> InputRecord:
    """What formats and expressions see of a record."""
    return InputRecord(
        received.topic,
        received.key,
        received.value,
        {name: content for name, content in received.headers if content is not None},
        received.timestamp,
        received.partition,
        received.offset,
    )


def adapter_of(settings: Settings, stage: AnyStage) -> Adapter | None:
    """What makes the records of a stage's topics those that it parses.

    None where nothing is set about them: the stage parses what comes.

    Raises:
        UsageError: A setting of its input or its mapping cannot be.
    """
    own = settings.stages.by_name().get(stage.name)
    if own is None:
        return None
    if own.input.attachments == "each" and "file" not in stage.raw_model.model_fields:
        raise UsageError(
            f"stages.{stage.name}.input.attachments: {stage.name} takes no files; set `together`, "
            "which appends what is attached as text, or `ignore`."
        )
    format_ = open_format(own.input, settings.registry)
    mapping = None
    if own.map or own.where is not None or own.pass_through is not None:
        mapping = FieldMapping(stage.name, own, stage.raw_model)
    if format_ is None and mapping is None:
        return None
    most = own.largest_event
    if format_ is not None:
        # A mail, for one, is larger than what a stage reads of it.
        most = max(most, settings.topics.max_message_bytes)
    fields = partial(_json_fields, stage.raw_model, most)
    return Adapter(fields, most, format_, mapping)


def _json_fields(
    model: type[RawEvent], max_bytes: int, value: bytes, headers: Mapping[str, bytes]
) -> Mapping[str, RawJson] | None:
    return fields_of_record(model, value, headers, max_bytes=max_bytes)


def is_long(event: RawEvent) -> bool:
    length = 0
    for value in vars(event).values():
        if isinstance(value, str):
            length += len(value) if value.isascii() else 3 * len(value)
    return length > LONG_CHARS


@dataclass(frozen=True, slots=True)
class Case:
    """One event, read; `escalation` is None at the first tier.

    `earlier` is Haiku's answer, None where there is none, or none that the stage publishes today.
    `given` are the parts of an event that came in parts: each is asked about, and not the event.
    """

    received: Received
    stage: AnyStage
    event: RawEvent
    source: Source
    received_at: datetime
    escalation: Escalation | None = None
    earlier: BaseModel | None = None
    given: tuple[EventPart, ...] = ()

    @property
    def event_id(self) -> str:
        """Of what is published: the publisher's own id, with the number of a part of several."""
        part = self.source.part
        return self.event.id if part is None or part.of == 1 else f"{self.event.id}#{part.number}"


class RawEvents:
    """Reads a stage's raw records, through an `adapter` where they are not the stage's own.

    Where that has to ask a schema registry that does not answer, a record waits in `reading`.
    """

    def __init__(
        self,
        stage: AnyStage,
        adapter: Adapter | None = None,
        reading: "Reading | None" = None,
    ) -> None:
        self._stage = stage
        self._adapter = adapter
        self._reading = Reading() if reading is None and adapter is not None else reading
        self.name = stage.name

    async def read(self, received: Received) -> Case | PassedOver:
        """Read a record; raises `InvalidEvent`."""
        stage, value = self._stage, received.value or b""
        headers = {name: content for name, content in received.headers if content is not None}
        parts: Sequence[tuple[str, bytes]] = ()
        if self._adapter is not None and self._reading is not None:
            record = input_record(received)
            adapt = partial(of_format, self.name, self._adapter.read, record)
            adapted = await self._reading.until_available(adapt, self.name)
            if isinstance(adapted, PassedOver):
                return adapted
            value, headers, parts = adapted.value, dict(adapted.headers), adapted.parts

        def parsed(value: bytes) -> RawEvent:
            event: RawEvent = of_stage(
                stage.name, stage.parse, value, key=received.key, headers=headers
            )
            return event

        async def parsed_all(values: Sequence[bytes]) -> list[RawEvent]:
            parse: Callable[[], list[RawEvent]] = partial(list, map(parsed, values))
            is_small = sum(map(len, values)) < LARGE_BYTES
            return parse() if is_small else await asyncio.to_thread(parse)

        source = Source(
            topic=received.topic,
            partition=received.partition,
            offset=received.offset,
            timestamp=received.timestamp,
        )
        if not parts:
            [event] = await parsed_all([value])
            return Case(received, stage, event, source, received.received_at)
        events = await parsed_all([part for _, part in parts])
        given = tuple(
            EventPart(event, SourcePart(number=at, of=len(parts), name=name))
            for at, ((name, _), event) in enumerate(zip(parts, events, strict=True), start=1)
        )
        whole: RawEvent = given[0].event
        return Case(received, stage, whole, source, received.received_at, given=given)


async def of_format(
    stage: str, read: Callable[[InputRecord], Awaitable[T]], record: InputRecord
) -> T:
    """The same as `of_stage` of what reads a record's format, which may also be no event."""
    try:
        return await read(record)
    except (InvalidEvent, NotAnEvent, Unavailable):
        raise
    except Exception as bug:
        raise _failure(stage, read, bug) from bug


class Escalations:
    """Reads what was escalated by any stage, as strictly as if any client could have written it.

    An escalation of another stage than `stages` is a dead letter. The first tier held every text to
    its stage's `max_text_chars`, but a forged record was held to nothing.
    """

    name = ESCALATIONS

    def __init__(
        self, stages: Mapping[str, AnyStage], max_text_chars: Mapping[str, int] | None = None
    ) -> None:
        self._stages = stages
        self._max_text_chars = max_text_chars or {}

    async def read(self, received: Received) -> Case:
        if len(received.value or b"") < LARGE_BYTES:
            return of_stage(ESCALATIONS, self._read, received)
        return await asyncio.to_thread(of_stage, ESCALATIONS, self._read, received)

    def _read(self, received: Received) -> Case:
        try:
            escalation = read_record(Escalation, received.value)
        except Unusable as error:
            detail = f"This is not an escalation record: {error}."
            raise InvalidEvent(DeadLetterReason.INVALID_EVENT, detail) from error
        stage = self._stages.get(escalation.stage)
        if stage is None:
            name = printable(shortened(escalation.stage, _NAME_SHOWN))
            detail = f"There is no stage '{name}' here; enable it and replay."
            raise InvalidEvent(DeadLetterReason.INVALID_EVENT, detail)
        try:
            event: RawEvent = stage.raw_model.model_validate(escalation.event, strict=False)
        except ValidationError as error:
            detail = f"The event in it is not a {stage.name} event ({error.error_count()} faults)."
            raise InvalidEvent(DeadLetterReason.INVALID_EVENT, detail) from error
        if (limit := self._max_text_chars.get(stage.name)) is not None:
            check_texts(event, limit)
        source, at = escalation.source, escalation.received_at
        earlier = _earlier_answer(stage, escalation)
        return Case(received, stage, event, source, at, escalation, earlier)


def _earlier_answer(stage: AnyStage, escalation: Escalation) -> BaseModel | None:
    """Haiku's answer as the stage publishes it today.

    Another version of the stage may have given another one. The event is as good as before, so
    Sonnet is asked all the same; a person who reviews it sees the answer as it is in the record.
    """
    if escalation.haiku_result is None:
        return None
    try:
        return stage.result_model.model_validate(escalation.haiku_result, strict=False)
    except ValidationError as error:
        why = f"it is no result of this version of the stage ({error.error_count()} faults)"
        log.warning("earlier_answer_left_out", stage=stage.name, because=why)
        return None


Reader = RawEvents | Escalations


def published_result(
    stage: AnyStage, event: RawEvent, answer: Answer | None
) -> dict[str, Any] | None:
    """The result as it would have been published, or null where there was no usable answer."""
    if answer is None:
        return None
    result = of_stage(stage.name, stage.result, event, answer)
    return result.model_dump(mode="json", by_alias=True)


def personal_texts(rules: Rules, event: RawEvent) -> list[Text]:
    """What the event has in the fields that are masked."""
    if not rules.fields:
        return []
    values = {**event.unknown_fields, **vars(event)}
    return [text for name in sorted(rules.fields) for text in values_of(name, values.get(name))]


def file_threads() -> UnwaitedExecutor:
    """Threads that read files; shut down, they are left behind with what they read.

    They wait, for a decoder or for a store: were they those of `asyncio.to_thread`, everything
    that is quick would wait behind a slow file.
    """
    return UnwaitedExecutor(_FILES_AT_ONCE, thread_name_prefix="files")


@dataclass(eq=False)
class Reading:
    """Builds questions, and waits for the files that they are about.

    A store that cannot be reached is no event's fault: as long as no file of a place can be had,
    every event with a file there waits. A file that fails again and again while others of its place
    can be had is its event's trouble (`bounds`); so is one that fails for an hour where nothing
    else is asked for, and the place answers.

    Its questions bring along the values of fields that `masking` hides.
    """

    bounds: Bounds = field(default_factory=lambda: Bounds.of(ClaudeSettings()))
    _: KW_ONLY
    clock: Callable[[], float] = time.monotonic
    threads: Executor = field(default_factory=file_threads)
    masking: Masking = field(default_factory=Masking)
    waiting: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._peers: defaultdict[tuple[str, str], Peers] = defaultdict(Peers)
        self._failing: Counter[tuple[str, str]] = Counter()

    async def ask_about(
        self,
        stage: AnyStage,
        event: RawEvent,
        build: Callable[[Any], Query[Any]] | None = None,
    ) -> Query[Any]:
        """Build what is asked: the stage's question, or what `build` makes of the event.

        Raises:
            InvalidEvent: The event's file is not what it says it is.
            FileUnavailable: It could not be had, again and again, while others could.
        """
        query = await self.made_of(stage, event, build or stage.question)
        return with_fields(query, personal_texts(self.masking.rules(stage.name), event))

    async def read_or_ask(self, stage: AnyStage, event: RawEvent) -> KnownResult[Any] | Query[Any]:
        """What the event says itself, where the stage can read that; else what is asked about it.

        Raises:
            InvalidEvent: The event's file is not what it says it is.
            FileUnavailable: It could not be had, again and again, while others could.
        """
        # Asking whether the stage is `Structured` would take longer.
        read_or_ask = getattr(stage, "read_or_ask", None)
        found = await self.made_of(stage, event, read_or_ask or stage.question)
        if isinstance(found, KnownResult):
            return found
        return with_fields(found, personal_texts(self.masking.rules(stage.name), event))

    async def ask_where_documents_begin(
        self, stage: AnyStage, event: RawEvent, splitter: Splitter
    ) -> Question[Boundaries] | None:
        """Build that question; None where the event is one document. Raises as `ask_about`."""
        question = await self.made_of(stage, event, splitter.question)
        if question is None:
            return None
        return replace(
            question, personal=tuple(personal_texts(self.masking.rules(stage.name), event))
        )

    async def made_of(
        self, stage: AnyStage, event: RawEvent, make: Callable[[Any], MadeT]
    ) -> MadeT:
        """What is made of an event and its file, once that can be had; raises as `ask_about`."""
        call: Callable[[], MadeT] = partial(of_stage, stage.name, make, event)
        place = (stage.name, event.file_place)
        attempts: Attempts | None = None
        try:
            while True:
                try:
                    if stage.reads_files:
                        context, loop = contextvars.copy_context(), asyncio.get_running_loop()
                        made: MadeT = await loop.run_in_executor(self.threads, context.run, call)
                    else:
                        made = await asyncio.to_thread(call) if is_long(event) else call()
                except Unavailable as error:
                    if attempts is None:
                        peers = self._peers[place]
                        attempts = Attempts(peers, peers.answered, peers.failed)
                        self._failing[place] += 1
                        who = {"stage": stage.name, "event_id": event.id}
                        log.warning("file_awaited", **who, because=str(error))
                    self._count(attempts, error, place)
                else:
                    if attempts is None:
                        self._peers[place].answered += 1
                    return made
                await self._pause()
        finally:
            if attempts is not None:
                self._failing[place] -= 1

    async def until_available(self, attempt: Callable[[], Awaitable[T]], stage: str) -> T:
        """Attempt it, again for as long as what it needs cannot be reached."""
        is_first = True
        while True:
            try:
                return await attempt()
            except Unavailable as error:
                if is_first:
                    log.warning("record_awaits", stage=stage, because=str(error))
                is_first = False
            await self._pause()

    async def _pause(self) -> None:
        self.waiting += 1
        try:
            await asyncio.sleep(RETRY_SECONDS)
        finally:
            self.waiting -= 1

    def _count(self, attempts: Attempts, away: Unavailable, place: tuple[str, str]) -> None:
        """Count a failure.

        Raises:
            FileUnavailable: There were so many, while others could be had, or their place answered.
        """
        if away.scope == "place":
            return
        attempts.failed(self.clock(), str(away))
        if attempts.are_over(self.bounds):
            beside = "others were answered"
        elif away.scope != "file" or self._failing[place] > 1 or attempts.lasting < QUIET_SECONDS:
            return
        else:
            beside = "the place of the file answered"
        raise FileUnavailable(attempts.history(beside), usage=Usage(), model=NOT_ASKED, seconds=0.0)
