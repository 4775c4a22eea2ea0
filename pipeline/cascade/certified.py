"""Certificates while the pipeline runs: what each answer is worth, and what an alarm changes.

A process reads the file once, at its start, and compares it with its settings; each answer's record
says whether it was made as the certificate says. It follows the topic `trust`: labels of published
answers move the bounds and, where they show that what was certified no longer holds, raise an
alarm. That is a record in the same topic, so that all replicas and later starts agree: while it is
in force, thresholds fall back. Only a person ends it.

What they fall back to: where other thresholds than the certified ones are in force, the certified
ones, since what is not certified is the first suspect. Where the certified ones are in force, the
stricter ones of the certificate, which send the least sure fifth of the answers to the second tier.
Everything is not sent there: that costs a multiple, for as long as nobody looks, and nobody knows
that the second tier is right under what has changed. Nothing may not be: more is published than the
certificate permits. Sonnet's thresholds become no stricter: behind it is people's time.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import Literal

import structlog

from pipeline.cascade.policy import Policy, in_force
from pipeline.config import Settings
from pipeline.model.errors import PipelineError
from pipeline.model.observer import Observer
from pipeline.model.records import (
    CertificateMark,
    CertificateState,
    Provenance,
    Tier,
    now,
)
from pipeline.stream.records import Headers, Outgoing
from pipeline.trust.certificate_file import (
    CertificateFile,
    Reason,
    StageCertificate,
    answered_otherwise,
    differences,
    differing_thresholds,
    read_certificates,
)
from pipeline.trust.live import (
    Acknowledged,
    Alarm,
    StageWatch,
    acknowledged_key,
    alarm_key,
)
from pipeline.trust.records import AnswerLabel, SampledAnswer

TrustRecord = SampledAnswer | AnswerLabel | Alarm | Acknowledged
Follow = Callable[[], AbstractAsyncContextManager[AsyncIterator[TrustRecord]]]
"""Every record of the topic `trust` from its beginning, then what comes; it does not end."""
Publish = Callable[[Outgoing], Awaitable[object]]
Notify = Callable[[Alarm], Awaitable[None]]
FallsBackTo = Literal["certified", "stricter"]
QUIET_SECONDS = 1.0
"""Without a record: then all that was in the topic has been read, and labels are counted."""
RETRY_SECONDS = 5.0
_AT_ONCE = 20
"""Labels that are counted without a pause: each takes up to a millisecond."""
_MARKS = 1_000
_HEADERS: Headers = (("content-type", b"application/json"),)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StageState:
    """What is known of a stage before anything is asked, for a page or a person."""

    state: CertificateState
    id: str
    because: tuple[Reason, ...]
    detail: str


def stage_state(
    certificate: StageCertificate | None, settings: Settings, policy: Policy, stage: str
) -> StageState:
    """Compare a certificate with what the stage would run with."""
    if certificate is None:
        return StageState("none", "", (), "nothing is certified of it")
    mine = in_force(settings, policy, stage)
    because = differences(certificate.depends_on, mine)
    if not because:
        return StageState("certified", certificate.id, (), "")
    phrases = []
    if "settings" in because:
        phrases.append("settings, or the version, are others than the certified ones")
    if "thresholds" in because:
        phrases += differing_thresholds(certificate.depends_on.thresholds, mine.thresholds)
    return StageState("stale", certificate.id, because, "; ".join(phrases))


@dataclass(eq=False)
class Certified:
    """The certificates of a process: marks for records, and the fallback of its `policy`.

    `policy` is the one that decides in this process; its entries are replaced while an alarm is in
    force, between two decisions.
    """

    file: CertificateFile
    settings: Settings
    policy: Policy
    stages: tuple[str, ...]
    _: KW_ONLY
    observer: Observer
    clock: Callable[[], datetime] = now
    _set: Policy = field(init=False)
    _states: dict[str, StageState] = field(default_factory=dict, init=False)
    _alarms: dict[str, Alarm] = field(default_factory=dict, init=False)
    _acknowledged: dict[str, int] = field(default_factory=dict, init=False)
    _marks: dict[tuple[str, Tier, str, str, str], CertificateMark] = field(
        default_factory=dict, init=False
    )
    _watches: dict[str, StageWatch] = field(default_factory=dict, init=False)

    @classmethod
    def from_settings(
        cls, settings: Settings, policy: Policy, stages: tuple[str, ...], *, observer: Observer
    ) -> "Certified | None":
        """Read the file that the settings name; None where they name none.

        Raises:
            UsageError: There is no such file, or it is no certificate.
        """
        if settings.trust.certificate is None:
            return None
        file = read_certificates(settings.trust.certificate)
        return cls(file, settings, policy, stages, observer=observer)

    def __post_init__(self) -> None:
        self._set = Policy(self.policy)
        for stage in self.stages:
            certificate = self.file.of(stage)
            self._states[stage] = stage_state(certificate, self.settings, self._set, stage)
        self._watches = self._new_watches()

    def _new_watches(self) -> dict[str, StageWatch]:
        certificates = {stage: self.file.of(stage) for stage in self.stages}
        length = self.settings.trust.run_length
        return {
            stage: StageWatch(stage, certificate, run_length=length)
            for stage, certificate in certificates.items()
            if certificate is not None
        }

    def take_up(self, settings: Settings, policy: Policy) -> None:
        """Take up other settings: from here on `policy` decides, and an alarm holds for it, too."""
        self.settings, self.policy, self._set = settings, policy, Policy(policy)
        for stage in self.stages:
            self._states[stage] = stage_state(self.file.of(stage), settings, self._set, stage)
            if stage in self._alarms:
                self._fall_back(stage)
            self._report_state(stage)

    def begin(self) -> None:
        """Report what is certified, once at the start."""
        for stage in self.stages:
            self._report_state(stage)
            certificate, state = self.file.of(stage), self._states[stage]
            say = log.warning if state.state == "stale" else log.info
            say("certificate", stage=stage, state=state.state, id=state.id, because=state.detail)
            self.observer.alarmed(stage, because=None)
            if certificate is not None:
                lower, upper = certificate.reference.bounds_of_sonnet
                self.observer.certified_share(stage, lower=lower, upper=upper)

    def mark(self, stage: str, tier: Tier, model: str, made: Provenance) -> CertificateMark:
        """What the record of an answer says of it."""
        key = stage, tier, model, made.provider, made.prompt
        found = self._marks.get(key)
        if found is None:
            if len(self._marks) >= _MARKS:
                self._marks.clear()
            found = self._marks[key] = self._mark(stage, tier, model, made)
        self.observer.certified(stage, tier, found.state)
        return found

    def _mark(self, stage: str, tier: Tier, model: str, made: Provenance) -> CertificateMark:
        certificate = self.file.of(stage) if stage in self._states else None
        if certificate is None or tier.value not in certificate.held:
            return CertificateMark(state="none", id="" if certificate is None else certificate.id)
        because = list(self._state_now(stage).because)
        because += answered_otherwise(
            certificate.depends_on, tier, provider=made.provider, model=model, prompt=made.prompt
        )
        return CertificateMark(
            state="stale" if because else "certified", id=certificate.id, because=list(because)
        )

    def _state_now(self, stage: str) -> StageState:
        """The state at the start, and what an alarm made of it."""
        state = self._states[stage]
        if stage not in self._alarms:
            return state
        # The thresholds that fell back are the certified ones, or stricter than those.
        rest = (each for each in state.because if each != "thresholds")
        return StageState("stale", state.id, ("alarm", *rest), "an alarm is in force")

    # Alarms.

    def falls_back_to(self, stage: str) -> FallsBackTo:
        """Which thresholds of the certificate hold while an alarm of the stage is in force."""
        return "certified" if "thresholds" in self._states[stage].because else "stricter"

    def take(self, record: TrustRecord) -> None:
        """Take in a record of the topic; labels count at the next `settle`."""
        watch = self._watches.get(record.stage)
        if watch is None:
            return
        if isinstance(record, SampledAnswer):
            watch.answer(record)
        elif isinstance(record, AnswerLabel):
            watch.label(record)
        elif isinstance(record, Alarm):
            if record.number > self._acknowledged.get(record.stage, 0):
                self._raise(record)
        else:
            known = self._acknowledged.get(record.stage, 0)
            self._acknowledged[record.stage] = max(known, record.number)
            watch.acknowledged(record.at)
            alarm = self._alarms.get(record.stage)
            if alarm is not None and alarm.number <= record.number:
                self._end(record)

    def settle(self) -> bool:
        """Count some labels and report what they say; returns whether more are left."""
        is_more = False
        for watch in self._watches.values():
            is_more |= watch.settle(_AT_ONCE)
        if not is_more:
            for stage, watch in self._watches.items():
                for each in watch.shown():
                    self.observer.labelled(
                        stage,
                        each.scope,
                        each.label,
                        labels=each.labels,
                        upper=each.upper,
                        level=each.level,
                    )
                self.observer.distant(stage, watch.distances)
        return is_more

    def due(self) -> Iterator[Alarm]:
        """Alarms that labels call for and that are not in force yet."""
        for stage, watch in self._watches.items():
            if stage not in self._alarms:
                number = self._acknowledged.get(stage, 0) + 1
                if (alarm := watch.alarm(number, self.clock())) is not None:
                    yield alarm

    def _raise(self, alarm: Alarm) -> None:
        stage = alarm.stage
        if stage in self._alarms and self._alarms[stage].number >= alarm.number:
            return  # another replica saw it as well
        self._alarms[stage] = alarm
        to = self._fall_back(stage)
        because = (
            f"{alarm.errors} of {alarm.labels} labelled answers ({alarm.scope}) are wrong, and "
            f"{alarm.risk:.1%} were certified: thresholds fell back to the {to} ones"
        )
        log.error(
            "certificate_alarm",
            stage=stage,
            number=alarm.number,
            because=because,
            todo=f"find the cause, then `pipeline trust acknowledge {stage}`",
        )
        self.observer.alarmed(stage, because=because)
        self._report_state(stage)

    def _fall_back(self, stage: str) -> FallsBackTo:
        certificate = self._watches[stage].certificate
        to = self.falls_back_to(stage)
        thresholds = (
            certificate.depends_on.thresholds if to == "certified" else certificate.stricter
        )
        # A score is among the settings: it stays where it is the one that was certified.
        with_score = "settings" not in self._states[stage].because
        for tier in Tier:
            self.policy[stage, tier] = self._set[stage, tier].falling_back_to(
                thresholds[tier], with_score=with_score
            )
        return to

    def _end(self, by: Acknowledged) -> None:
        del self._alarms[by.stage]
        for tier in Tier:
            self.policy[by.stage, tier] = self._set[by.stage, tier]
        log.warning("certificate_alarm_ended", stage=by.stage, person=by.person, number=by.number)
        self.observer.alarmed(by.stage, because=None)
        self._report_state(by.stage)

    def _report_state(self, stage: str) -> None:
        self._marks.clear()
        state = self._state_now(stage)
        self.observer.certificate(stage, state.state, id=state.id, because=state.detail)

    async def watch(self, follow: Follow, publish: Publish, topic: str, notify: Notify) -> None:
        """Follow the topic, count labels and raise alarms, until cancelled.

        While brokers do not answer, or the topic is not there, everything else goes on: it is tried
        again, and the log says so.
        """
        while True:
            # The topic is read from its beginning, so nothing may count twice.
            self._watches = self._new_watches()
            try:
                async with follow() as records:
                    await self._watch(records, publish, topic, notify)
            except* PipelineError as errors:
                because = "; ".join(map(str, errors.exceptions))
                log.warning("trust_not_followed", because=because)
            await asyncio.sleep(RETRY_SECONDS)

    async def _watch(
        self, records: AsyncIterator[TrustRecord], publish: Publish, topic: str, notify: Notify
    ) -> None:
        queue: asyncio.Queue[TrustRecord] = asyncio.Queue(maxsize=1_000)

        async def read() -> None:
            async for record in records:
                await queue.put(record)

        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read())
            started, is_caught_up = self.clock(), False
            while not (reading.done() and queue.empty()):
                record = None
                with suppress(TimeoutError):
                    async with asyncio.timeout(QUIET_SECONDS):
                        record = await queue.get()
                if record is not None:
                    self.take(record)
                    # What was in the topic before may come in any order: all of it comes first.
                    is_caught_up |= _at(record) >= started
                    if not is_caught_up:
                        continue
                is_caught_up = True
                while self.settle():  # noqa: ASYNC110 - nothing is waited for: others get a turn
                    await asyncio.sleep(0)
                for alarm in list(self.due()):
                    # Written first: what is in force in one process is in force in all.
                    await publish(outgoing(topic, alarm))
                    self._raise(alarm)
                    await notify(alarm)


def outgoing(topic: str, record: Alarm | Acknowledged) -> Outgoing:
    """The record under its key."""
    key = (alarm_key if isinstance(record, Alarm) else acknowledged_key)(record.stage)
    return Outgoing(topic, key, record.model_dump_json(by_alias=True).encode(), _HEADERS)


def _at(record: TrustRecord) -> datetime:
    return record.published_at if isinstance(record, SampledAnswer) else record.at
