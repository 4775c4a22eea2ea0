"""What becomes of a certified stage when what people write changes, in a pipeline in memory.

`python -m benchmarks.drift` runs two replicas of the tickets stage with a stand-in for the model
that knows ten labels by their words: it errs in 1.5 % of the events, and is a little less sure
then. Drawn answers are labelled, a certificate is issued, and then people begin to call one of the
ten things by another word: the stand-in takes it for another label. It counts the labels until both
replicas raise the alarm, says what the page, the metrics and the records show, and what the
thresholds that an alarm falls back to change. Time is simulated, the pipeline's code is its own.
Prints tables, the goals, and one JSON object as its last line.
"""

import asyncio
import random
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from prometheus_client import CollectorRegistry

from benchmarks.goals import Goal, Part, Table, at_least, at_most
from benchmarks.report import parser, show
from pipeline.cascade.certified import Certified, TrustRecord
from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy, in_force, settings_digest
from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import RawEvents
from pipeline.cascade.sampler import Sampler
from pipeline.config import Settings
from pipeline.kafka.topics import TopicNames
from pipeline.model.questions import Question
from pipeline.model.records import Tier
from pipeline.observe.dashboard import About, Health, Status
from pipeline.observe.metrics import Conditions, Metrics
from pipeline.stages.api import build_stages
from pipeline.stream.records import Disposition, Outgoing, Received
from pipeline.testing import FakeAsker, run_in_virtual_time
from pipeline.trust.certificate_file import CertificateFile, CertifiedStage
from pipeline.trust.issuing import Wish, issue
from pipeline.trust.live import Acknowledged, Alarm
from pipeline.trust.records import AnswerLabel, LabelledAnswer, SampledAnswer

WORDS = (
    "invoice", "parcel", "password", "refund", "outage",
    "upgrade", "address", "warranty", "voucher", "newsletter",
)  # fmt: skip
"""Labels, and the words by which people and the stand-in call them."""
RENAMED = "voucher"
USUAL_ERRORS = 0.015
TARGET = 0.95
WINDOW_LABELS = 400
CALM_LABELS = 200
AFTER_LABELS = 300
MOST_LABELS = 1_500
RUNS = 20
STATED = 250
"""Labels until the alarm, on average, where 11.5 % are wrong instead of 1.5 %."""
_START = datetime(2026, 11, 22, 8, tzinfo=UTC)


@dataclass(eq=False)
class Log:
    """The topic `trust` in memory: every replica reads all of it, in the same order."""

    records: list[TrustRecord] = field(default_factory=list)
    _readers: list["asyncio.Queue[TrustRecord]"] = field(default_factory=list)

    def add(self, record: TrustRecord) -> None:
        self.records.append(record)
        for reader in self._readers:
            reader.put_nowait(record)

    async def publish(self, record: Outgoing) -> None:
        """Take an alarm as it is written."""
        self.add(Alarm.model_validate_json(record.value or b""))

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[AsyncIterator[TrustRecord]]:
        """From the beginning, without an end."""
        queue: asyncio.Queue[TrustRecord] = asyncio.Queue()
        for record in self.records:
            queue.put_nowait(record)
        self._readers.append(queue)

        async def read() -> AsyncIterator[TrustRecord]:
            while True:
                yield await queue.get()

        yield read()


@dataclass(eq=False)
class World:
    """People who write tickets, a stand-in that answers them, and people who label."""

    seed: int
    renamed: bool = False
    now: datetime = _START
    number: int = 0
    _truth: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)  # noqa: S311 - repeatable, not secret

    def ticket(self) -> Received:
        """The next event, a minute after the one before."""
        self.number += 1
        self.now += timedelta(minutes=1)
        label = self._dice.choice(WORDS)
        event_id = f"T-{self.number}"
        self._truth[event_id] = label
        word = "thing" if self.renamed and label == RENAMED else label
        body = f"Hello, I am writing to you about my {word}, please look at it. {event_id}"
        value = orjson.dumps({"id": event_id, "body": body})
        key = f"customer-{self.number}".encode()
        return Received("tickets.raw", 0, self.number, key, value, (), self.now, self.now)

    def answer(self, question: Question[Any], _: Tier) -> Any:  # noqa: ANN401 - the stage's own model
        """What the stand-in says: sure of a word that it knows, less so where it errs."""
        text = question.parts[-1].text  # type: ignore[union-attr]
        known = next((word for word in WORDS if word in text), None)
        errs = known is None or self._dice.random() < USUAL_ERRORS
        others = [word for word in WORDS if word != known]
        sure = self._dice.uniform(0.72, 0.9) if errs else self._dice.uniform(0.8, 0.99)
        return question.answer_model.model_validate(
            {
                "quote": "I am writing to you",
                "intent": self._dice.choice(others) if errs else known,
                "runner_up": None,
                "several_matters": False,
                "priority": "normal",
                "language": "en",
                "summary": "A customer writes.",
                "unclear": False,
                "confidence": round(sure, 3),
            }
        )

    def label(self, answer: SampledAnswer) -> AnswerLabel:
        """What a person says of it."""
        right = answer.label == self._truth[answer.event_id]
        return AnswerLabel(
            event_id=answer.event_id,
            stage=answer.stage,
            right=right,
            person="ada",
            origin="sample",
            chance=1.0,
            at=self.now + timedelta(seconds=30),
        )


@dataclass(frozen=True, slots=True)
class Replica:
    processor: Processor
    certified: Certified | None


def settings() -> Settings:
    """Ten intents, each described by its word; every answer is drawn, so that runs are short."""
    intents = [{"name": word, "description": f"About the {word}."} for word in WORDS]
    return Settings.model_validate(
        {
            "stages": {"tickets": {"intents": intents, "audit_share": 0}},
            "trust": {"sample_share": 1},
        }
    )


def replica(world: World, own: Settings, file: CertificateFile | None, metrics: Metrics) -> Replica:
    """A process, as far as it decides about tickets."""
    policy = Policy.from_settings(own)
    certified = None
    if file is not None:
        certified = Certified(
            file, own, policy, ("tickets",), observer=metrics, clock=lambda: world.now
        )
        certified.begin()
    stage = build_stages(own.stages)["tickets"]
    handler = Processor(
        RawEvents(stage),
        CascadePolicy(FakeAsker(world.answer), policy, Tier.HAIKU),
        TopicNames.under(own),
        clock=lambda: world.now,
        observer=metrics,
        sampler=Sampler.from_settings(own),
        certified=certified,
    )
    return Replica(handler, certified)


@dataclass(slots=True)
class Outcome:
    """What a run came to. Shares of errors are of what Haiku's tier published."""

    false_alarms: int = 0
    labels_until_alarm: int = 0
    raised_by_both: bool = False
    page_says: str = ""
    metric: float = 0.0
    states: dict[str, set[str]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    escalated: dict[str, float] = field(default_factory=dict)
    ended: bool = False


@dataclass(eq=False)
class Run:
    """One run, from the first label to the acknowledged alarm."""

    seed: int
    window: int = WINDOW_LABELS
    calm: int = CALM_LABELS
    after: int = AFTER_LABELS

    async def work(self) -> Outcome:
        world, own, log, found = World(self.seed), settings(), Log(), Outcome()
        registry, conditions = CollectorRegistry(), Conditions()
        metrics = Metrics(registry, conditions)
        before = replica(world, own, None, metrics)
        labelled: list[LabelledAnswer] = []
        while len(labelled) < self.window:
            answer, _ = await self._one(world, before)
            if answer is not None:
                labelled.append(LabelledAnswer(answer, [world.label(answer)]))
        wish = Wish(
            "tickets",
            TARGET,
            in_force(own, Policy.from_settings(own), "tickets"),
            settings_digest(own, "tickets"),
            True,
            "memory",
            world.now,
        )
        issued: CertifiedStage = issue(wish, labelled, None)
        file = CertificateFile(stages={"tickets": issued})
        replicas = [replica(world, own, file, metrics) for _ in range(2)]
        async with asyncio.TaskGroup() as group:
            watching = [
                group.create_task(each.certified.watch(log.follow, log.publish, "trust", _quiet))
                for each in replicas
                if each.certified is not None
            ]
            await self._phases(world, replicas, log, found)
            about = About("", "exactly_once", ("tickets",))
            status = Status(about, registry, conditions, Health())
            await self._alarm_is_shown(status, registry, found)
            await self._phase(world, replicas, log, found, "after the alarm", labels=self.after)
            log.add(
                Acknowledged(
                    stage="tickets", number=1, person="ada", at=world.now + timedelta(hours=1)
                )
            )
            await asyncio.sleep(3)
            found.ended = not conditions.alarms
            for task in watching:
                task.cancel()
        return found

    async def _phases(
        self, world: World, replicas: list[Replica], log: Log, found: Outcome
    ) -> None:
        await self._phase(world, replicas, log, found, "before", labels=self.calm)
        found.false_alarms = sum(isinstance(each, Alarm) for each in log.records)
        world.renamed = True
        found.labels_until_alarm = await self._phase(
            world, replicas, log, found, "renamed", labels=MOST_LABELS, until_alarm=True
        )
        thresholds = [
            each.certified.policy["tickets", Tier.HAIKU].thresholds.low_confidence
            for each in replicas
            if each.certified is not None
        ]
        found.raised_by_both = len({*thresholds}) == 1 and thresholds[0] < 0.3  # noqa: PLR2004

    async def _alarm_is_shown(
        self, status: Status, registry: CollectorRegistry, found: Outcome
    ) -> None:
        [stage] = status.view()["stages"]
        found.page_says = str(stage["certificate"]["alarm"])
        value = registry.get_sample_value("pipeline_certificate_alarm", {"stage": "tickets"})
        found.metric = value or 0.0

    async def _phase(
        self,
        world: World,
        replicas: list[Replica],
        log: Log,
        found: Outcome,
        name: str,
        *,
        labels: int,
        until_alarm: bool = False,
    ) -> int:
        """Publish and label until so many labels are there; returns how many there were."""
        count = errors = events = escalated = 0
        states = found.states.setdefault(name, set())
        while count < labels:
            answer, state = await self._one(world, replicas[events % 2])
            events += 1
            if answer is None:
                escalated += 1
                continue
            verdict = world.label(answer)
            count += 1
            errors += not verdict.right
            states.add(state)
            log.add(answer)
            log.add(verdict)
            await asyncio.sleep(2)
            if until_alarm and any(isinstance(each, Alarm) for each in log.records):
                break
        found.errors[name] = errors / count
        found.escalated[name] = escalated / events
        return count

    async def _one(self, world: World, by: Replica) -> tuple[SampledAnswer | None, str]:
        """Handle an event: the drawn answer, and what its record says; nothing if escalated."""
        outcome = await by.processor(world.ticket())
        if outcome.end is not Disposition.ENRICHED:
            return None, ""
        result, drawn = outcome.records
        mark = orjson.loads(result.value or b"").get("certificate", {"state": ""})
        return SampledAnswer.model_validate_json(drawn.value or b""), mark["state"]


async def _quiet(_: Alarm) -> None:
    """Nobody has to be notified."""


def run(seed: int) -> Outcome:
    """One run, in simulated time."""
    return run_in_virtual_time(Run(seed).work())


def measure(runs: int) -> Part:
    """All of them."""
    found = [run(seed) for seed in range(1, runs + 1)]
    labels = [each.labels_until_alarm for each in found]
    phases = ("before", "renamed", "after the alarm")
    mean = {
        phase: (
            statistics.mean(each.errors[phase] for each in found),
            statistics.mean(each.escalated[phase] for each in found),
        )
        for phase in phases
    }
    share = sum(each.raised_by_both and bool(each.metric) and each.ended for each in found) / runs
    goals: list[Goal] = [
        at_most("labels until the alarm, mean", round(statistics.mean(labels)), STATED),
        at_most("false alarms before", sum(each.false_alarms for each in found), max(1, runs // 5)),
        at_least(
            "shown, agreed by both replicas, ended by a person", 100 * share, 100, " % of runs"
        ),
    ]
    return Part(
        name="drift",
        title="What people write changes: a certified stage",
        about=(
            f"{runs} runs in simulated time; a stand-in answers. {WINDOW_LABELS} labels certify "
            f"that {TARGET:.0%} are right, then one of ten labels is called by another word."
        ),
        tables=[
            Table(
                ("", "wrong of what Haiku published", "escalated"),
                [(phase, f"{mean[phase][0]:.1%}", f"{mean[phase][1]:.1%}") for phase in phases],
            ),
            Table(
                ("labels until the alarm", "median", "largest"),
                [
                    (
                        f"{statistics.mean(labels):.0f}",
                        f"{statistics.median(labels):.0f}",
                        f"{max(labels)}",
                    )
                ],
            ),
        ],
        goals=goals,
        data={"labels": labels, "phases": {phase: list(mean[phase]) for phase in phases}},
    )


def main() -> int:
    """The command line."""
    made = parser("drift", __doc__)
    made.add_argument("--runs", type=int, default=RUNS)
    part = measure(made.parse_args().runs)
    show(part)
    return 0 if part.ok else 1


if __name__ == "__main__":
    sys.exit(main())
