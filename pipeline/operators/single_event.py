"""One event, asked as `pipeline run` asks, without Kafka: `pipeline ask`.

It goes through the same processor, policy and gateway, so what is shown is what happens; only what
would be published is returned instead.
"""

import asyncio
import mimetypes
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import orjson

from pipeline.cascade.deciding import CascadePolicy, Decision
from pipeline.cascade.policy import policy_of
from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import (
    AnyStage,
    Case,
    Escalations,
    RawEvents,
    Reader,
    Reading,
    adapter_of,
    stages_by_tier,
)
from pipeline.claude.failures import Bounds
from pipeline.claude.gateway import Gateway
from pipeline.claude.responses import Client, HttpReply, NoReply
from pipeline.config import Settings
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import PipelineError, UsageError
from pipeline.model.observer import Observer
from pipeline.model.records import Tier, now
from pipeline.operators.mapping_proposal import text_field
from pipeline.operators.publish import read_items
from pipeline.operators.samples import decoded, is_object
from pipeline.stages.api import encoder_for
from pipeline.stages.checks.injection import steers
from pipeline.stages.files.decoding import decoders_of_this_process
from pipeline.stream.records import Disposition, Headers, Outcome, Outgoing, Received

TierChoice = Literal["haiku", "sonnet", "both"]
PATIENCE_SECONDS = 20.0
"""That a model may not be asked, for whatever reason, before that is taken for the result."""
_LOOK_SECONDS = 0.2
_WORST_LAST = (Disposition.ENRICHED, Disposition.REVIEW, Disposition.DEAD_LETTER)
_SHOWN_DATA = 60
"""Characters of a file in a request that are kept."""


class NotAsked(PipelineError):
    """The models cannot be asked at present."""


@dataclass(frozen=True, slots=True)
class GivenEvent:
    """An event as a record; where it `is_own` it has the stage's own fields, without a mapping."""

    value: bytes = field(repr=False)
    headers: Headers = field(repr=False)
    key: bytes | None = None
    is_own: bool = False


@dataclass(slots=True)
class SentRequest:
    """A request to a model: the body as it was sent, and the response."""

    body: Mapping[str, Any] = field(repr=False)
    status: int | None = None
    response: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class TierReport:
    """What one tier was asked, said, and what was decided.

    There is a decision for each event of the record; none where the tier was not asked.
    """

    tier: Tier
    requests: tuple[SentRequest, ...]
    decisions: tuple[Decision[Any], ...]
    outcome: Outcome

    @property
    def decision(self) -> Decision[Any] | None:
        return self.decisions[-1] if self.decisions else None


@dataclass(frozen=True, slots=True)
class EventReport:
    """An event from end to end; `end` is where it would end with the tiers that were asked.

    After the first of `tiers` come those of what it escalated, in its order.
    """

    stage: str
    end: Disposition
    tiers: tuple[TierReport, ...]

    @property
    def records(self) -> list[dict[str, Any]]:
        """What would be published last, of each part where the event has several."""
        if self.end is Disposition.DEAD_LETTER:
            return []
        first, *others = self.tiers
        later = iter(others)
        found: list[Outgoing] = []
        for each in first.outcome.records:
            is_asked_on = _is_escalation(each, first) and others
            found += next(later).outcome.records if is_asked_on else (each,)
        return [orjson.loads(each.value or b"null") for each in found if each.value is not None]

    @property
    def record(self) -> dict[str, Any] | None:
        """The first of them; None where nothing would be published."""
        return next(iter(self.records), None)

    @property
    def dead_letter(self) -> dict[str, str] | None:
        """Why it would become a dead letter: `reason` and `detail`."""
        for each in self.tiers:
            if each.outcome.end is Disposition.DEAD_LETTER:
                headers = dict(each.outcome.records[0].headers)
                return {
                    name: (headers[f"dlq-{name}"] or b"").decode() for name in ("reason", "detail")
                }
        return None


def _is_escalation(record: Outgoing, report: TierReport) -> bool:
    kind = dict(record.headers).get("ce_type")
    return report.tier is Tier.HAIKU and kind == b"haiku-pipeline.escalation"


def given_event(stage: AnyStage, text: str | None, file: Path | None) -> GivenEvent:
    """Make an event of a text or a file: JSON as it is, anything else as the stage's content.

    Raises:
        UsageError: The file cannot be read, or the stage takes no such thing.
    """
    if file is not None:
        item = next(read_items([file]), None)
        if item is None:
            raise UsageError(f"There is nothing in {file}: name another.")
        is_json = ("content-type", b"application/json") in item.headers
        if is_json or not _is_text(item.value, stage, file):
            return GivenEvent(item.value, item.headers, None if is_json else item.key)
        text = item.value.decode()
    given = (text or "").strip()
    if not given:
        raise UsageError("There is no event: give a text, a file, or - for standard input.")
    if given.startswith("{"):
        return GivenEvent(given.encode(), (("content-type", b"application/json"),))
    fields = stage.raw_model.model_fields
    event = {"id": "asked" if file is None else file.name}
    name = _content_field(stage)
    if file is not None and "language" in fields:
        guessed = mimetypes.guess_type(file.name)[0] or ""
        event["language"] = guessed.rpartition("x-")[2] or file.suffix.lstrip(".") or "text"
    event |= {} if name is None else {name: given}
    if missing := [
        each for each, info in fields.items() if info.is_required() and each not in event
    ]:
        raise UsageError(
            f"{stage.name} needs {', '.join(missing)}, too: give the event as JSON, or a file."
        )
    if name is None:
        raise UsageError(f"{stage.name} takes files and no text: name one with --file.")
    return GivenEvent(orjson.dumps(event), (), is_own=True)


def _content_field(stage: AnyStage) -> str | None:
    """The field that holds what is asked about, where that is text."""
    fields = stage.raw_model.model_fields
    return "source" if "source" in fields else text_field(fields)


def _is_text(value: bytes, stage: AnyStage, file: Path) -> bool:
    """Whether a file is to be asked about as a text: the stage's own files are not."""
    if _content_field(stage) is None:
        return False
    if file.suffix.lower() in {".eml", ".msg"} or b"\0" in value[:1024]:
        return False
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


async def ask_about(
    settings: Settings,
    stage_name: str,
    given: GivenEvent,
    tiers: TierChoice,
    *,
    client: Client | None = None,
) -> EventReport:
    """Ask about an event; with both tiers Sonnet is asked where Haiku's answer is doubted.

    The `client` sends the requests, the official SDK if None.

    Raises:
        NotAsked: The models cannot be asked: no key, an outage, a budget that is used up.
        UsageError: A setting cannot be.
    """
    claude = settings.claude.model_copy(update={"answer_cache": "off"})
    settings = settings.model_copy(update={"claude": claude})
    stages = stages_by_tier(settings, encoder_for(settings))
    policy = policy_of(settings, stages[Tier.HAIKU])
    names = TopicNames.under(settings)
    sent: list[SentRequest] = []
    async with AsyncExitStack() as stack:
        stack.enter_context(decoders_of_this_process.limited(settings.files))
        gateway = await stack.enter_async_context(
            Gateway(
                settings,
                client=client,
                steers=steers,
                wrap=lambda sending: _Watched(sending, sent),
            )
        )

        async def ask(tier: Tier, reader: Reader, received: Received) -> TierReport:
            sent.clear()
            cascade = _WatchedPolicy(gateway, policy, tier, reading)
            processor = Processor(reader, cascade, names, clock=now, observer=Observer())
            outcome = await _patiently(
                processor(received), partial(_why_not, gateway, stage_name, tier, reading)
            )
            return TierReport(tier, tuple(sent), tuple(cascade.decisions), outcome)

        reading = Reading(Bounds.of(settings.claude), masking=settings.privacy.masking())
        first = Tier.SONNET if tiers == "sonnet" else Tier.HAIKU
        stage = stages[first][stage_name]
        # What a registry's record is decoded to is a JSON object, and is given as that.
        as_given = decoded(settings, stage_name) if is_object(given.value) else settings
        adapter = None if given.is_own else adapter_of(as_given, stage)
        received = _received(names.tried_on(stage_name), given)
        reports = [await ask(first, RawEvents(stage, adapter, reading), received)]
        end = reports[0].outcome.end
        if end is Disposition.ESCALATED and tiers == "sonnet":
            end = Disposition.REVIEW
        if end is Disposition.ESCALATED and tiers == "both":
            for each in reports[0].outcome.records:
                if _is_escalation(each, reports[0]):
                    again = replace(
                        received,
                        topic=each.topic,
                        key=each.key,
                        value=each.value,
                        headers=each.headers,
                    )
                    reports.append(await ask(Tier.SONNET, Escalations(stages[Tier.SONNET]), again))
            end = max((each.outcome.end for each in reports[1:]), key=_WORST_LAST.index)
    return EventReport(stage_name, end, tuple(reports))


def _received(topic: str, given: GivenEvent) -> Received:
    at = now()
    return Received(topic, 0, 0, given.key, given.value, given.headers, at, at)


def _why_not(gateway: Gateway, stage: str, tier: Tier, reading: Reading) -> str | None:
    """Why nothing is asked at present, if that is so."""
    if reading.waiting:
        return "The event waits for its file, or for the schema registry, which does not answer."
    reason = gateway.paused_reason(stage, tier)
    return None if reason is None else f"{tier.value.capitalize()} cannot be asked: {reason}"


async def _patiently(
    handling: Coroutine[Any, Any, Outcome], why_not: Callable[[], str | None]
) -> Outcome:
    """The outcome; raises `NotAsked` where that could not go on for a while."""
    task = asyncio.create_task(handling)
    clock = asyncio.get_running_loop().time
    since: float | None = None
    try:
        while not (await asyncio.wait({task}, timeout=_LOOK_SECONDS))[0]:
            reason = why_not()
            since = None if reason is None else since or clock()
            if reason is not None and since is not None and clock() - since > PATIENCE_SECONDS:
                raise NotAsked(reason)
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


@dataclass(eq=False)
class _WatchedPolicy(CascadePolicy):
    """The same policy; keeps what it decided."""

    decisions: list[Decision[Any]] = field(default_factory=list)

    async def decide_case(
        self, case: Case, *, tenant: str = ""
    ) -> list[tuple[Case, Decision[Any]]]:
        decided = await super().decide_case(case, tenant=tenant)
        self.decisions = [decision for _, decision in decided]
        return decided


class _Watched:
    """The same client; keeps what it sent, and what came back."""

    def __init__(self, client: Client, sent: list[SentRequest]) -> None:
        self._client = client
        self._sent = sent
        self.get = client.get

    async def send(self, body: bytes, *, seconds: float) -> HttpReply | NoReply:
        request = SentRequest(without_files(orjson.loads(body)))
        self._sent.append(request)
        reply = await self._client.send(body, seconds=seconds)
        if isinstance(reply, HttpReply):
            request.status, request.response = reply.status, reply.document()
        return reply

    async def post(self, path: str, body: bytes, *, seconds: float) -> HttpReply | NoReply:
        return await self._client.post(path, body, seconds=seconds)

    def lines(
        self, path: str, *, seconds: float
    ) -> AsyncGenerator[str | HttpReply | NoReply, None]:
        return self._client.lines(path, seconds=seconds)


def without_files(value: Any) -> Any:  # noqa: ANN401 - JSON
    """A request with the beginning of each file alone."""
    match value:
        case {"type": "base64", "data": str(data), **others}:
            kept = data if len(data) <= _SHOWN_DATA else f"{data[:_SHOWN_DATA]}..."
            return {"type": "base64", **others, "data": f"{kept} ({len(data):,} characters)"}
        case dict():
            return {name: without_files(item) for name, item in value.items()}
        case list():
            return [without_files(item) for item in value]
    return value


def document(report: EventReport) -> dict[str, Any]:
    """The report for a program; US dollars as decimal strings, null where a price is not known."""
    return {
        "stage": report.stage,
        "end": report.end.value,
        "dead_letter": report.dead_letter,
        "tiers": [_tier_document(each) for each in report.tiers],
        "record": report.record,
        "records": report.records,
    }


def _tier_document(report: TierReport) -> dict[str, Any]:
    requests = [
        {"body": each.body, "status": each.status, "response": each.response}
        for each in report.requests
    ]
    found: dict[str, Any] = {"tier": report.tier.value, "requests": requests}
    decisions = [_decision_document(each) for each in report.decisions]
    match decisions:
        case [only]:
            return found | only
        case []:
            return found
    return found | {"parts": decisions}


def _decision_document(decision: Decision[Any]) -> dict[str, Any]:
    answer = decision.answer
    return {
        "model": decision.model,
        "answer": None if answer is None else answer.model_dump(mode="json", by_alias=True),
        "signals": [
            {"code": each.code, "strength": each.strength, "detail": each.detail}
            for each in decision.signals
        ],
        "doubts": [each.model_dump(mode="json", by_alias=True) for each in decision.doubts],
        "usage": decision.usage.model_dump(mode="json", by_alias=True),
        "seconds": round(decision.seconds, 3),
    }
