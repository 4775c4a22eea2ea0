"""What is asked about an event in a batch, and what comes of the batch's answer.

The outcome is made by the normal lane's own processor, with an asker that looks into the batch
first: so judging, escalation, repetition and dead letters are those of the normal lane, and what
the batch left open is simply asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pipeline.backfill.journal import Job, Tally, custom_id
from pipeline.cascade.deciding import CascadePolicy, known_or_query, known_whole
from pipeline.cascade.parts import splitter_of
from pipeline.cascade.policy import Policy
from pipeline.cascade.processor import Processor
from pipeline.cascade.publishing import Outputs, UnpublishableHandler
from pipeline.cascade.reading import AnyStage, RawEvents, Reading, is_for_another
from pipeline.cascade.sampler import Sampler
from pipeline.claude.message_batches import BatchLane, BatchRequest, NotAnswered, Succeeded
from pipeline.inputs.adapter import Adapter, PassedOver
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import AnswerError, FileUnavailable, InvalidEvent, NotMaskable
from pipeline.model.observer import Observer
from pipeline.model.questions import (
    AnswerT,
    Asker,
    KnownResult,
    Query,
    Question,
    Response,
    first_questions,
)
from pipeline.model.records import Tier, Usage
from pipeline.stream.records import Disposition, Outcome, Received

Results = Mapping[str, Succeeded | NotAnswered]  # by custom id


@dataclass(slots=True)
class BatchFirst:
    """An asker that answers from a batch, each answer once, and asks where it has none."""

    lane: BatchLane  # reads the batch's answers
    normal: Asker
    prefix: str  # of the batch's custom ids
    offset: int  # of the event
    results: Results  # of the batch
    spent: Tally = field(default_factory=Tally)  # costs alone
    was_returned: bool = False
    _used: set[str] = field(default_factory=set)

    async def ask(
        self, question: Question[AnswerT], tier: Tier, *, max_output_tokens: int | None = None
    ) -> Response[AnswerT]:
        """Answer from the batch if this very question was asked there.

        Raises:
            AnswerError: The answer is no use, or nothing may be asked.
        """
        name = custom_id(self.prefix, self.offset, self.lane.digest(question))
        result = self.results.get(name)
        is_new, is_first = name not in self._used, not self._used
        self._used.add(name)
        in_batch = result if isinstance(result, Succeeded) and is_new else None
        if in_batch is None:
            # Repetitions, second opinions and later steps were never in the batch.
            self.was_returned |= isinstance(result, NotAnswered) or (result is None and is_first)
        usage = Usage()
        try:
            if in_batch is not None:
                response = self.lane.reply(question, tier, in_batch)
            else:
                response = await self.normal.ask(
                    question, tier, max_output_tokens=max_output_tokens
                )
            usage = response.usage
        except AnswerError as error:
            usage = error.usage
            raise
        finally:
            usd = usage.cost_usd
            self.spent += Tally(batch_usd=usd) if in_batch else Tally(normal_usd=usd)
        return response


Settled = tuple[Received, Outcome, Tally]  # an event, its end, and the same as numbers


@dataclass(slots=True)
class BatchStage:
    """One stage, asked about in batches."""

    stage: AnyStage
    lane: BatchLane  # makes requests and reads answers
    normal: Asker  # the normal lane, for what a batch leaves open
    policy: Policy  # which signals are doubts
    topics: TopicNames  # where outcomes go
    clock: Callable[[], datetime]  # the time, aware
    observer: Observer  # called with how each event ended
    reading: Reading = field(default_factory=Reading)  # builds the questions
    adapter: Adapter | None = None  # of records that are not the stage's own
    outputs: Outputs = field(default_factory=dict)  # in which form results are published
    sampler: Sampler | None = None  # draws answers
    _abridge: UnpublishableHandler = field(init=False)
    _raw_events: RawEvents = field(init=False)

    def __post_init__(self) -> None:
        self._abridge = UnpublishableHandler(
            self.stage.name,
            self.topics.dead_letters,
            clock=self.clock,
            observer=self.observer,
            trust=None if self.sampler is None else self.sampler.topic,
        )
        self._raw_events = RawEvents(self.stage, self.adapter, self.reading)

    async def requests(self, received: Received, prefix: str) -> list[BatchRequest]:
        """The requests about an event; none where it will be a dead letter, or has no file.

        Nor where its own data answer what would be asked.
        """
        if received.unread is not None or is_for_another(received, self.stage.name):
            return []
        try:
            case = await self._raw_events.read(received)
            # Of what is in parts each is asked about by itself, outside of batches.
            if isinstance(case, PassedOver) or case.given:
                return []
            splitter = splitter_of(case)
            query: Query[Any] | KnownResult[Any] | None = None
            own = self.policy[self.stage.name, Tier.HAIKU]
            if splitter is not None:
                if await known_whole(self.reading, own, self.stage, case.event) is not None:
                    return []
                query = await self.reading.ask_where_documents_begin(
                    self.stage, case.event, splitter
                )
            if query is None:
                query, _ = await known_or_query(
                    self.reading, own, Tier.HAIKU, self.stage, case.event
                )
            if isinstance(query, KnownResult):
                return []
            named = {
                custom_id(prefix, received.offset, self.lane.digest(each)): each
                for each in first_questions(query)
            }
        except (InvalidEvent, FileUnavailable, NotMaskable):
            return []
        return [self.lane.request(question, Tier.HAIKU, name) for name, question in named.items()]

    async def settle(self, received: Received, job: Job, results: Results) -> Settled:
        if received.unread is not None:
            small = self._abridge(received, None, received.unread.because)
            if small is not None:
                return received, small, _tally(small)
        asker = BatchFirst(self.lane, self.normal, job.prefix, received.offset, results)
        processor = Processor(
            self._raw_events,
            CascadePolicy(asker, self.policy, Tier.HAIKU, self.reading),
            self.topics,
            clock=self.clock,
            observer=self.observer,
            outputs=self.outputs,
            sampler=self.sampler,
        )
        # It was taken when it was claimed, however often it is read.
        outcome = await processor(replace(received, received_at=job.claimed_at))
        returned = Tally(returned=asker.was_returned)
        return received, outcome, _tally(outcome) + asker.spent + returned

    def abridged(self, settled: Settled, why: str) -> Settled:
        """The same with the next smaller outcome, or as it is where nothing is smaller."""
        received, outcome, tally = settled
        smaller = self._abridge(received, outcome, why)
        if smaller is None:
            return settled
        ended = _tally(smaller).model_dump(include={"enriched", "escalated", "dead_letters"})
        return received, smaller, tally.model_copy(update=ended)


def _tally(outcome: Outcome) -> Tally:
    return Tally(
        enriched=outcome.end is Disposition.ENRICHED,
        escalated=outcome.end is Disposition.ESCALATED,
        dead_letters=outcome.end is Disposition.DEAD_LETTER,
        passed_over=outcome.end is Disposition.PASSED_OVER,
    )
