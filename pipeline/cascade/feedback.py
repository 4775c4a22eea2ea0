"""Corrections that consumers publish become labels in the topic `trust`, each once.

A bad record is one dead letter, as everywhere. Nobody drew what is corrected by lot, so such a
label has no chance: it shows what is wrong, and not how much.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pipeline.cascade.publishing import dead_letter
from pipeline.config import Settings
from pipeline.config.topic_names import TopicNames
from pipeline.model.errors import InvalidEvent
from pipeline.model.observer import Observer
from pipeline.model.printable import printable, shortened
from pipeline.model.records import DeadLetterReason, Unusable, read_record
from pipeline.privacy.masking import Masking, redacted
from pipeline.stream.records import Disposition, Headers, Outcome, Outgoing, Received
from pipeline.trust.records import AnswerLabel, label_key
from pipeline.trust.sampling import Lottery, lottery_key

FEEDBACK = "feedback"
"""What the consumer of that topic is called, among stages; and who corrects, if nobody is named."""
_NAME_SHOWN = 64
_HEADERS: Headers = (("content-type", b"application/json"),)


class Correction(BaseModel):
    """A record of `feedback`; consumers may add fields.

    `stage` may be left out where one stage alone is served. A result that is given is right, so
    what was published was not, unless `right` says so.
    """

    model_config = ConfigDict(extra="ignore")

    event_id: str = Field(min_length=1)
    stage: str | None = None
    right: bool | None = None
    correction: dict[str, JsonValue] | None = None
    person: str = Field(FEEDBACK, min_length=1, max_length=100)


@dataclass(eq=False)
class FeedbackHandler:
    """The handler of the topic: one label, or one dead letter, for each record.

    Args:
        stages: Those that there are; `served` are those that records without a stage may mean.
        keep_answers: Whether corrections are kept, masked by `masking`.
    """

    topics: TopicNames
    stages: Collection[str]
    served: Collection[str]
    clock: Callable[[], datetime]
    observer: Observer
    lottery: Lottery
    keep_answers: bool = True
    masking: Masking = field(default_factory=Masking)

    @classmethod
    def from_settings(
        cls, settings: Settings, *, clock: Callable[[], datetime], observer: Observer
    ) -> "FeedbackHandler":
        names = settings.stages.by_name()
        return cls(
            TopicNames.under(settings),
            names,
            [name for name in settings.enabled if name in names],
            clock,
            observer,
            Lottery(settings.trust.sample_share, lottery_key(settings.trust.key)),
            settings.trust.keep_answers,
            settings.privacy.masking(),
        )

    async def __call__(self, received: Received) -> Outcome:
        try:
            label = self._label(received)
        except InvalidEvent as invalid:
            self.observer.dead_lettered(FEEDBACK, invalid.reason)
            topic = self.topics.dead_letters
            return dead_letter(received, topic, invalid, stage=FEEDBACK, now=self.clock())
        value = label.model_dump_json(by_alias=True).encode()
        record = Outgoing(self.topics.trust, label_key(label), value, _HEADERS)
        return Outcome(Disposition.PASSED_OVER, (record,))

    def _label(self, received: Received) -> AnswerLabel:
        try:
            given = read_record(Correction, received.value)
        except Unusable as error:
            detail = f"This is no correction: {error}."
            raise InvalidEvent(DeadLetterReason.INVALID_EVENT, detail) from error
        if given.right is None and given.correction is None:
            raise _invalid("It says neither `right` nor what the result should be.")
        stage = given.stage
        if stage is None:
            if len(self.served) != 1:
                raise _invalid("It has to say the `stage`, since there are several.")
            [stage] = self.served
        elif stage not in self.stages:
            raise _invalid(f"There is no stage '{printable(shortened(stage, _NAME_SHOWN))}' here.")
        rules, correction = self.masking.rules(stage), None
        # Which values stood in masked fields only the event knows, and it is not here.
        if self.keep_answers and given.correction is not None and not rules.fields:
            correction = redacted(given.correction, rules, (), self.lottery.stand_in)
        return AnswerLabel(
            event_id=given.event_id,
            stage=stage,
            right=bool(given.right),
            correction=correction,
            person=given.person,
            origin="feedback",
            chance=None,
            whose="" if received.key is None else self.lottery.whose(received.key, given.event_id),
            at=received.timestamp,
        )


def _invalid(detail: str) -> InvalidEvent:
    return InvalidEvent(DeadLetterReason.INVALID_EVENT, detail)
