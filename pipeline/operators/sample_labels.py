"""People label drawn answers, without seeing them first: what to ask whom, and what it comes to.

A terminal and a page in the browser do the same with it: take the worklist, show the event of each
task, ask for the fields that decide, compare, show the answer, publish the label.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from pydantic import JsonValue

from pipeline.cascade.reading import RawEvents, adapter_of, personal_texts
from pipeline.config import Settings
from pipeline.inputs.adapter import PassedOver
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import InvalidEvent, PipelineError
from pipeline.model.json_bytes import dumps
from pipeline.model.records import Review, Tier
from pipeline.operators.selection import NoSuchRecord, Place, record_at
from pipeline.operators.trust_topic import ANSWER, labelled_answers, parse, read_labels
from pipeline.privacy.masking import redacted
from pipeline.stages.api import RawEvent, Stage, differences, stage_named
from pipeline.stages.files.raw_events import to_json_object
from pipeline.stream.records import Headers, Outgoing
from pipeline.trust.labelling import Agreement, Choice, KeyCap, agreement, chance_to_label
from pipeline.trust.records import AnswerLabel, SampledAnswer, label_key
from pipeline.trust.sampling import Lottery, lottery_key

AnyStage = Stage[Any, Any]
Fields = Mapping[str, JsonValue]
LOOK_BACK = timedelta(days=28)
"""For answers to label, unless somebody says otherwise: their raw events have to be there still."""
_HELD = 2_000
"""Answers that are held at once; those that come first by lot."""
_HEADERS: Headers = (("content-type", b"application/json"),)


class EventGone(PipelineError):
    """The event of a drawn answer cannot be read any more, so the answer cannot be labelled."""


@dataclass(frozen=True, slots=True)
class Question:
    """A field that a person is asked for; `labels` are those that there are, empty for any text."""

    name: str
    labels: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """A drawn answer that is to be labelled, and the chance that it was to be, once drawn."""

    answer: SampledAnswer
    chance: float


@dataclass(frozen=True, slots=True)
class Worklist:
    """What a person may label: the first tasks, how many there are, and how far people agree.

    There may be more than are counted where there are very many. `labelled` is how many drawn
    answers of the stage people have labelled so far.
    """

    tasks: Sequence[Task]
    waiting: int
    agreement: Agreement
    labelled: int = 0


@dataclass(frozen=True, slots=True)
class ReadBack:
    """The event of a drawn answer, as it is in its raw topic."""

    event: RawEvent

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(dumps(to_json_object(self.event)))
        return found


@dataclass(eq=False)
class LabelDesk:
    """Everything about labelling the answers of one stage, but for showing and asking."""

    settings: Settings
    read: TopicReader
    stage: AnyStage
    _events: RawEvents = field(init=False)
    topics: TopicNames = field(init=False)
    _lottery: Lottery = field(init=False)

    def __post_init__(self) -> None:
        trust = self.settings.trust
        self._events = RawEvents(self.stage, adapter_of(self.settings, self.stage))
        self.topics = TopicNames.under(self.settings)
        self._lottery = Lottery(trust.sample_share, lottery_key(trust.key))

    @classmethod
    def of(cls, settings: Settings, read: TopicReader, stage: str) -> "LabelDesk":
        """The desk of a stage; raises `UsageError` where there is none of that name."""
        return cls(settings, read, stage_named(settings.stages, stage))

    async def worklist(self, person: str, *, since: datetime, limit: int) -> Worklist:
        """What a person may label of what was published `since`, at most `limit`, in their order.

        Raises:
            PipelineError: The topic is not there, or the brokers are not.
        """
        topic, key = self.topics.trust, self._lottery.key
        labels = await read_labels(self.read, topic)
        cap, found = KeyCap(self.settings.trust.per_key), dict[bytes, Choice]()
        async with self.read([topic]) as records:
            async for record in records:
                name = record.key or b""
                if not name.startswith(ANSWER):
                    continue
                found.pop(name, None)
                answer = parse(record)
                if (
                    not isinstance(answer, SampledAnswer)
                    or answer.stage != self.stage.name
                    or answer.published_at < since
                ):
                    continue
                cap.take(answer)
                choice = Choice(key, answer, self._chance(answer))
                if choice.is_for(person, labels.on(answer)):
                    found[name] = choice
                if len(found) > 2 * _HELD:
                    found = _first(found)
        capped = (
            replace(each, chance=each.chance * cap.factor(each.answer))
            for each in _first(found).values()
        )
        chosen = [each for each in capped if each.is_for(person, labels.on(each.answer))]
        both = await labelled_answers(self.read, topic, stages=[self.stage.name])
        tasks = [Task(each.answer, each.chance) for each in chosen[:limit]]
        labelled = sum(any(label.origin == "sample" for label in each.labels) for each in both)
        return Worklist(tasks, len(chosen), agreement(both), labelled)

    def _chance(self, answer: SampledAnswer) -> float:
        differ = None
        if answer.result is not None and answer.haiku_result is not None:
            found = _differences(self.stage, answer.haiku_result, answer.result)
            differ = None if found is None else bool(found)
        return chance_to_label(answer, is_contradicted=differ)

    async def event_of(self, answer: SampledAnswer) -> ReadBack:
        """Read back what an answer is about.

        Raises:
            EventGone: It is not in its topic any more, or cannot be read there.
            PipelineError: The topic is not there, or the brokers are not.
        """
        source = answer.source
        place = Place(source.partition, source.offset)
        try:
            record = await record_at(
                self.read, source.topic, place, what="event", command="review sample"
            )
            if record.timestamp != source.timestamp:
                raise EventGone(f"Another event is at {source.topic} {place} now.")
            case = await self._events.read(record)
        except NoSuchRecord as gone:
            raise EventGone(f"The event at {source.topic} {place} is not there any more.") from gone
        except InvalidEvent as invalid:
            raise EventGone(f"The event at {place} cannot be read: {invalid.detail}") from invalid
        if isinstance(case, PassedOver):
            raise EventGone(f"The settings leave out the event at {source.topic} {place} now.")
        if source.part is not None and case.given:
            return ReadBack(case.given[source.part.number - 1].event)
        return ReadBack(case.event)

    def questions(self, answer: SampledAnswer) -> Sequence[Question]:
        """What is asked before the answer is shown: the fields by which the stage compares.

        None where it compares none, or where the answer was not kept and is more than a label: then
        nothing could be compared.
        """
        names: Sequence[str] = getattr(self.stage, "deciding", ())
        if not names or self.result_of(answer) is None:
            return ()
        section = self.settings.stages.by_name().get(self.stage.name)
        labels = [] if section is None else [each.name for each in section.deciding_labels()]
        return [Question(names[0], labels), *map(Question, names[1:])]

    def result_of(self, answer: SampledAnswer) -> Fields | None:
        """What was published, as far as it was kept."""
        names: Sequence[str] = getattr(self.stage, "deciding", ())
        if answer.result is None and answer.label is not None and len(names) == 1:
            return {names[0]: answer.label}
        return answer.result

    def compare(self, answer: SampledAnswer, given: Mapping[str, str], event: ReadBack) -> "Blind":
        """Work out whether an answer is right from what a person gave, by field.

        `-` stands for nothing. What is masked in answers is in `given`, too.
        """
        result = self.result_of(answer) or {}
        typed: Fields = {name: _typed(text, result.get(name)) for name, text in given.items()}
        rules = self.settings.privacy.masking().rules(self.stage.name)
        personal = personal_texts(rules, event.event)
        typed = redacted(dict(typed), rules, personal, self._lottery.stand_in)
        differ = _differences(self.stage, result, {**result, **typed}) or ()
        return Blind(typed, tuple(name for name in differ if name in typed))

    def label(
        self,
        task: Task,
        person: str,
        blind: "Blind",
        *,
        is_right: bool,
        at: datetime,
    ) -> AnswerLabel:
        """The label of a task; `is_right` is what the person says once the answer was shown."""
        answer = task.answer
        is_kept = self.settings.trust.keep_answers and blind.given and not is_right
        return AnswerLabel(
            event_id=answer.event_id,
            part=answer.part,
            stage=answer.stage,
            right=is_right,
            wrong_fields=[] if is_right else [f"/{_pointer(name)}" for name in blind.differ],
            correction={**(answer.result or {}), **blind.given} if is_kept else None,
            person=person,
            origin="sample",
            chance=task.chance,
            whose=answer.whose,
            at=at,
        )

    def outgoing(self, label: AnswerLabel) -> Outgoing:
        return label_record(self.topics.trust, label)


@dataclass(frozen=True, slots=True)
class Blind:
    """What a person said before the answer was shown, and in which of it the answer differs."""

    given: Fields
    differ: tuple[str, ...]


def label_record(topic: str, label: AnswerLabel) -> Outgoing:
    """The record of a label, which replaces the same person's earlier one on the same answer."""
    value = label.model_dump_json(by_alias=True).encode()
    return Outgoing(topic, label_key(label), value, _HEADERS)


def review_label(
    settings: Settings,
    stage: AnyStage,
    review: Review,
    result: Mapping[str, JsonValue],
    *,
    key: bytes | None,
    person: str,
    at: datetime,
) -> AnswerLabel:
    """The label of what a person resolved: whether the last answer that was given is right.

    Nobody drew it, so it has no chance: what comes to people is what both tiers doubted.
    """
    answer = review.haiku_result if review.sonnet_result is None else review.sonnet_result
    differ = None if answer is None else _differences(stage, answer, result)
    same = answer == result if differ is None else not differ
    trust = settings.trust
    lottery = Lottery(trust.sample_share, lottery_key(trust.key))
    correction: dict[str, JsonValue] | None = None
    if trust.keep_answers:
        rules = settings.privacy.masking().rules(stage.name)
        event = stage.raw_model.model_construct(**review.event)
        personal = personal_texts(rules, event)
        correction = redacted(dict(result), rules, personal, lottery.stand_in)
    part = review.source.part
    return AnswerLabel(
        event_id=review.event_id,
        part=None if part is None or part.of == 1 else part.number,
        stage=stage.name,
        right=same,
        wrong_fields=[f"/{_pointer(name)}" for name in differ or ()],
        correction=correction,
        person=person,
        origin="review",
        chance=None,
        whose=lottery.whose(key, str(review.event.get("id", review.event_id))),
        at=at,
    )


def decided_by(answer: SampledAnswer) -> str:
    """Who gave an answer, for a person."""
    tier = "Haiku" if answer.decided_by is Tier.HAIKU else "Sonnet"
    return f"{tier} ({answer.model})"


def _first(found: Mapping[bytes, Choice]) -> dict[bytes, Choice]:
    ordered = sorted(found.items(), key=lambda item: item[1].order)
    return dict(ordered[:_HELD])


def _differences(stage: AnyStage, one: Fields, other: Fields) -> tuple[str, ...] | None:
    """As the stage compares; None where one of them has other fields than the stage has today."""
    try:
        return differences(stage, one, other)
    except KeyError:
        return None


def _typed(text: str, like: JsonValue) -> JsonValue:
    """What a person wrote, as the answer has such a value: as text, or else as JSON."""
    if text == "-":
        return None
    if isinstance(like, str):
        return text
    try:
        found: JsonValue = json.loads(text)
    except json.JSONDecodeError:
        return text
    return text if like is None and not isinstance(found, list | dict) else found


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
