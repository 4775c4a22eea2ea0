"""What is asked about an event in a batch, and its outcome from what the batch answered.

The outcome is made by the normal lane's own processor, with an asker that looks into the batch
first: so judging, escalation, repetition and dead letters are those of the normal lane, and what
the batch left open is simply asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from pipeline.backfill.job import Job, Tally, custom_id
from pipeline.cascade.haiku import HaikuProcessor
from pipeline.cascade.judge import CascadePolicy
from pipeline.cascade.policy import Policy
from pipeline.cascade.publishing import UnpublishableHandler
from pipeline.cascade.reading import AnyStage, Reading, read_aside
from pipeline.claude.message_batches import BatchRequest, NotAnswered, Succeeded
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import AnswerError, FileUnavailable, InvalidEvent
from pipeline.model.observer import Observer
from pipeline.model.questions import AnswerT, Asker, Question, Response, first_questions
from pipeline.model.records import Tier, added
from pipeline.stream.records import Disposition, Outcome, Received

Result = Succeeded | NotAnswered
Results = Mapping[str, Result]
"""By custom id."""


class Lane(Protocol):
    """Questions as requests of a batch, and back; `pipeline.claude.message_batches.BatchLane`."""

    def request(self, question: Question[AnswerT], tier: Tier, custom_id: str) -> BatchRequest:
        """The request that asks a question."""
        ...

    def reply(
        self, question: Question[AnswerT], tier: Tier, result: Succeeded
    ) -> Response[AnswerT]:
        """The reply to a question.

        Raises:
            AnswerError: The answer is no use.
        """
        ...


@dataclass(slots=True)
class Spent:
    """What the answers about one event cost, and whether the batch had none."""

    batch_usd: Decimal | None = Decimal(0)
    normal_usd: Decimal | None = Decimal(0)
    was_returned: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """An event that came to an end, and what the end is."""

    received: Received
    outcome: Outcome
    spent: Spent

    def tally(self) -> Tally:
        """The same as numbers."""
        end = self.outcome.end
        return Tally(
            enriched=end is Disposition.ENRICHED,
            escalated=end is Disposition.ESCALATED,
            dead_letters=end is Disposition.DEAD_LETTER,
            returned=self.spent.was_returned,
            batch_usd=self.spent.batch_usd,
            normal_usd=self.spent.normal_usd,
        )


@dataclass(slots=True)
class BatchFirst:
    """An asker that answers from a batch, each answer once, and asks where it has none.

    Args:
        lane: Reads the batch's answers.
        normal: The normal lane.
        prefix: Of the batch's custom ids.
        offset: Of the event.
        results: Of the batch.
    """

    lane: Lane
    normal: Asker
    prefix: str
    offset: int
    results: Results
    spent: Spent = field(default_factory=Spent)
    _used: set[str] = field(default_factory=set)

    async def ask(
        self, question: Question[AnswerT], tier: Tier, *, max_output_tokens: int | None = None
    ) -> Response[AnswerT]:
        """Answer from the batch if this very question was asked there.

        Raises:
            AnswerError: The answer is no use.
        """
        name = custom_id(self.prefix, self.offset, question.digest)
        result = self.results.get(name)
        is_new, is_first = name not in self._used, not self._used
        self._used.add(name)
        if isinstance(result, Succeeded) and is_new:
            return self._from_batch(question, tier, result)
        # Repetitions, second opinions and later steps were never in the batch.
        self.spent.was_returned |= isinstance(result, NotAnswered) or (result is None and is_first)
        try:
            reply = await self.normal.ask(question, tier, max_output_tokens=max_output_tokens)
        except AnswerError as error:
            self.spent.normal_usd = added(self.spent.normal_usd, error.usage.cost_usd)
            raise
        self.spent.normal_usd = added(self.spent.normal_usd, reply.usage.cost_usd)
        return reply

    def _from_batch(
        self, question: Question[AnswerT], tier: Tier, result: Succeeded
    ) -> Response[AnswerT]:
        try:
            reply = self.lane.reply(question, tier, result)
        except AnswerError as error:
            self.spent.batch_usd = added(self.spent.batch_usd, error.usage.cost_usd)
            raise
        self.spent.batch_usd = added(self.spent.batch_usd, reply.usage.cost_usd)
        return reply


class Asking:
    """Asks about the events of one stage.

    Args:
        stage: What is asked.
        lane: Makes requests and reads answers.
        normal: The normal lane, for what a batch leaves open.
        policy: Which signals are doubts.
        topics: Where outcomes go.
        clock: The time, aware.
        observer: Told how each event ended.
        reading: Builds the questions; by the default settings if None.
    """

    def __init__(
        self,
        stage: AnyStage,
        lane: Lane,
        normal: Asker,
        policy: Policy,
        topics: TopicNames,
        *,
        clock: Callable[[], datetime],
        observer: Observer,
        reading: Reading | None = None,
    ) -> None:
        self._stage = stage
        self._lane = lane
        self._normal = normal
        self._policy = policy
        self._topics = topics
        self._clock = clock
        self._observer = observer
        self._reading = reading or Reading()
        self._smaller = UnpublishableHandler(
            stage.name, topics.dead_letters, clock=clock, observer=observer
        )

    async def requests(self, received: Received, prefix: str) -> list[BatchRequest]:
        """The requests about an event; none where it will be a dead letter, or has no file."""
        if received.unread is not None:
            return []
        try:
            event = await read_aside(self._stage, received)
            inquiry = await self._reading.ask_about(self._stage, event)
        except (InvalidEvent, FileUnavailable):
            return []
        named = {
            custom_id(prefix, received.offset, each.digest): each
            for each in first_questions(inquiry)
        }
        return [self._lane.request(question, Tier.HAIKU, name) for name, question in named.items()]

    async def settle(self, received: Received, job: Job, results: Results) -> Settled:
        """Bring an event to its end."""
        if received.unread is not None:
            small = self._smaller(received, None, received.unread.because)
            if small is not None:
                return Settled(received, small, Spent())
        asker = BatchFirst(self._lane, self._normal, job.prefix, received.offset, results)
        processor = HaikuProcessor(
            self._stage,
            CascadePolicy(asker, self._policy, Tier.HAIKU, self._reading),
            self._topics,
            clock=self._clock,
            observer=self._observer,
        )
        # It was taken when it was claimed, however often it is read.
        outcome = await processor(replace(received, received_at=job.claimed_at))
        return Settled(received, outcome, asker.spent)

    def smaller(self, settled: Settled, why: str) -> Settled:
        """The same with the next smaller outcome, where the brokers do not take this one.

        Args:
            settled: Returned as it is where nothing is smaller.
            why: A sentence for a person.
        """
        outcome = self._smaller(settled.received, settled.outcome, why)
        return settled if outcome is None else replace(settled, outcome=outcome)


def is_of(result: Result, job: Job) -> bool:
    """Whether a result belongs to a batch."""
    return result.custom_id.startswith(job.prefix)
