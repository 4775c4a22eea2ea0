"""What people do with certificates: issue them, see whether they hold, end an alarm.

Also what a process needs of Kafka to watch them: the whole topic `trust`, alarms included.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import aiohttp
import structlog
from aiokafka.errors import KafkaError

from pipeline.cascade.certified import StageState, TrustRecord, outgoing, stage_state
from pipeline.cascade.policy import Policy, in_force, settings_digest
from pipeline.config import KafkaSettings, Settings
from pipeline.kafka.connection import explain
from pipeline.kafka.reader import TopicReader, read_topics
from pipeline.model.errors import UsageError
from pipeline.model.records import AuditOutcome, Unusable, read_record
from pipeline.operators.audit import AuditedCommand
from pipeline.operators.trust_topic import ANSWER, labelled_answers, parse
from pipeline.stream.records import Outgoing, Received
from pipeline.trust.certificate_file import CertificateFile, StageCertificate, read_certificates
from pipeline.trust.issuing import Wish, issue
from pipeline.trust.live import Acknowledged, Alarm
from pipeline.trust.records import LabelledAnswer, SampledAnswer

log = structlog.get_logger(__name__)
NOTIFY_SECONDS = 10.0
MOST_DRAWN = 20_000
"""Drawn answers without a label that a certificate's reference is made of: the newest."""
_ALARM, _ACKNOWLEDGED = b"alarm/", b"acknowledged/"


async def read_drawn(read: TopicReader, topic: str, stages: Iterable[str]) -> list[LabelledAnswer]:
    """All labelled answers of the topic, and the newest ones that have no label.

    Raises:
        PipelineError: There is no such topic, or the brokers do not answer.
    """
    chosen = frozenset(stages)
    labelled = await labelled_answers(read, topic, stages=chosen)
    known = {(each.answer.stage, each.answer.event_id) for each in labelled}
    drawn: deque[LabelledAnswer] = deque(maxlen=MOST_DRAWN)
    async with read([topic]) as records:
        async for record in records:
            answer = parse(record) if (record.key or b"").startswith(ANSWER) else None
            if not isinstance(answer, SampledAnswer) or answer.stage not in chosen:
                continue
            if (answer.stage, answer.event_id) not in known:
                slim = answer.model_copy(update={"result": None, "haiku_result": None})
                drawn.append(LabelledAnswer(slim, ()))
    return [*labelled, *drawn]


@dataclass(frozen=True, slots=True)
class Tried:
    """What an attempt to certify a stage came to."""

    stage: str
    holds: bool
    trial: int
    looks: int
    alpha: float
    labels: int
    errors: int
    certificate: StageCertificate | None


def certify_into(
    path: Path,
    settings: Settings,
    labelled: Sequence[LabelledAnswer],
    stages: Sequence[str],
    *,
    target: float,
    at_once: bool,
    source: str,
    at: datetime,
) -> list[Tried]:
    """Try to certify some stages, and write the outcome into the file, the ledger in any case.

    Raises:
        UsageError: There is no such stage, the file is no certificate file or cannot be written, or
            no labelled answer of a stage can be counted.
    """
    known = settings.stages.by_name()
    if unknown := [stage for stage in stages if stage not in known]:
        raise UsageError(f"There is no stage {unknown[0]}; there are {', '.join(known)}.")
    file, policy = read_certificates(path, may_be_missing=True), Policy.from_settings(settings)
    issued, tried = dict(file.stages), []
    for stage in stages:
        wish = Wish(
            stage,
            target,
            in_force(settings, policy, stage),
            settings_digest(settings, stage),
            at_once,
            source,
            at,
        )
        found = issued[stage] = issue(wish, labelled, issued.get(stage))
        last = found.trials[-1]
        tried.append(
            Tried(
                stage,
                last.holds,
                last.number,
                last.looks,
                last.alpha,
                last.labels,
                last.errors,
                found.certificate if last.holds else None,
            )
        )
    _write(path, CertificateFile(schema_=file.schema_, stages=issued))
    return tried


def _write(path: Path, file: CertificateFile) -> None:
    """Whole or not at all: a process may be reading it."""
    content = file.model_dump_json(by_alias=True, indent=2).encode() + b"\n"
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as part:
            part.write(content)
        Path(part.name).chmod(0o644)
        Path(part.name).replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}): name another.") from error


# What is in force.


@dataclass(frozen=True, slots=True)
class Alarms:
    """By stage, the last alarm and up to which number alarms are acknowledged."""

    raised: Mapping[str, Alarm]
    acknowledged: Mapping[str, int]

    def in_force(self, stage: str) -> Alarm | None:
        alarm = self.raised.get(stage)
        is_over = alarm is None or alarm.number <= self.acknowledged.get(stage, 0)
        return None if is_over else alarm


async def read_alarms(read: TopicReader, topic: str) -> Alarms:
    """The alarms of all stages; raises `PipelineError` without the topic or the brokers."""
    raised: dict[str, Alarm] = {}
    acknowledged: dict[str, int] = {}
    async with read([topic]) as records:
        async for record in records:
            found = _parse_alarm(record)
            if isinstance(found, Alarm):
                before = raised.get(found.stage)
                if before is None or before.number <= found.number:
                    raised[found.stage] = found
            elif found is not None:
                before_that = acknowledged.get(found.stage, 0)
                acknowledged[found.stage] = max(before_that, found.number)
    return Alarms(raised, acknowledged)


@dataclass(frozen=True, slots=True)
class StageStatus:
    """What `pipeline trust status` says of a stage."""

    stage: str
    state: StageState
    certificate: StageCertificate | None
    alarm: Alarm | None

    def row(self) -> Sequence[str]:
        """Stage, state, what is certified, and why not."""
        certified = ""
        if self.certificate is not None:
            held = ", ".join(sorted(self.certificate.held))
            certified = f"{self.certificate.target:.1%} right: {held}"
        state, why = self.state.state, self.state.detail
        if self.alarm is not None:
            alarm = self.alarm
            state = "stale"
            why = (
                f"alarm {alarm.number} of {alarm.at:%Y-%m-%d %H:%M}: {alarm.errors} of "
                f"{alarm.labels} labels wrong ({alarm.scope})"
            )
        return self.stage, state, certified, why


def status(settings: Settings, file: CertificateFile, alarms: Alarms) -> list[StageStatus]:
    """Of each stage that is enabled or in the file."""
    policy, known = Policy.from_settings(settings), settings.stages.by_name()
    names = [each for each in dict.fromkeys([*settings.enabled, *file.stages]) if each in known]
    return [
        StageStatus(
            name,
            stage_state(file.of(name), settings, policy, name),
            file.of(name),
            alarms.in_force(name),
        )
        for name in names
    ]


async def acknowledge(
    read: TopicReader,
    publish: Callable[[Outgoing], Awaitable[object]],
    topic: str,
    stage: str,
    command: AuditedCommand,
    *,
    at: datetime,
) -> Alarm:
    """End the alarm of a stage: its thresholds are those of the settings again.

    Raises:
        UsageError: None is in force.
        PipelineError: The brokers do not answer.
    """
    alarm = (await read_alarms(read, topic)).in_force(stage)
    if alarm is None:
        raise UsageError(f"No alarm of {stage} is in force: see `pipeline trust status`.")
    record = Acknowledged(
        schema_="trust.acknowledged/1",
        stage=stage,
        number=alarm.number,
        person=command.person,
        at=at,
    )
    await publish(command.entry(1, at=at, about=topic, outcome=AuditOutcome.BEGUN))
    await publish(outgoing(topic, record))
    await publish(command.entry(1, at=at, about=topic))
    return alarm


# What a process follows.


@asynccontextmanager
async def follow_all(kafka: KafkaSettings, topic: str) -> AsyncIterator[AsyncIterator[TrustRecord]]:
    """Answers, labels and alarms: what the topic holds, then what comes; it does not end.

    Raises:
        PipelineError: There is no such topic, or the brokers do not answer.
    """

    async def parsed(records: AsyncIterator[Received]) -> AsyncIterator[TrustRecord]:
        try:
            async for record in records:
                found = _parse_alarm(record) or parse(record)
                if found is not None:
                    yield found
        except KafkaError as error:
            raise explain(error, kafka) from error

    async with read_topics(kafka, [topic], end="never") as records:
        yield parsed(records)


def _parse_alarm(record: Received) -> Alarm | Acknowledged | None:
    key = record.key or b""
    if record.value is None or not key.startswith((_ALARM, _ACKNOWLEDGED)):
        return None
    try:
        if key.startswith(_ALARM):
            return read_record(Alarm, record.value)
        return read_record(Acknowledged, record.value)
    except Unusable as error:
        log.warning("trust_record_unreadable", offset=record.offset, because=str(error))
        return None


async def notify_of(alarm: Alarm, *, url: str | None) -> None:
    """Post the alarm to the address in the settings, if any; that it failed is only logged."""
    if url is None:
        return
    timeout = aiohttp.ClientTimeout(total=NOTIFY_SECONDS)
    body: dict[str, Any] = alarm.model_dump(mode="json", by_alias=True)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, json=body) as response,
        ):
            response.raise_for_status()
    except (aiohttp.ClientError, TimeoutError) as error:
        log.warning("alarm_not_notified", stage=alarm.stage, because=type(error).__name__)
