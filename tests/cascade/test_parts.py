"""One record that holds several documents: each becomes a record of its own, all or none."""

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from pipeline.backfill.outcomes import BatchStage
from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy
from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import Case, Escalations, RawEvents
from pipeline.config import TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import Rejected
from pipeline.model.observer import Observer
from pipeline.model.questions import KnownResult, Query, Question, Response, Signal, Text
from pipeline.model.records import Decider, SourcePart, Tier, Usage
from pipeline.stages.files.decoding import Pages, Prepared
from pipeline.stages.files.splitting import Beginning, Boundaries, EventPart, Splitter
from pipeline.stream.records import Disposition, Outcome, Received
from pipeline.testing import FakeAsker, Fault, MemoryBrokers
from tests.cascade.stand_ins import NOON, Note, NoteAnswer, NoteResult, NoteStage, received
from tests.stream.virtual import virtual_time
from tests.stream.workbench import Bench, until

ONE = Decimal("0.00002")
"""What each answer of the fake costs."""


class NotePages:
    """Notes of pages: a form feed ends each."""

    def show_pages(self, event: Note) -> Prepared:
        pages = enumerate(event.text.split("\f"), start=1)
        return tuple(Text(f"page {number}", page) for number, page in pages)

    def cut(self, event: Note, parts: Sequence[Pages]) -> Sequence[Note]:
        pages = event.text.split("\f")
        return [
            event.model_copy(update={"text": "\f".join(pages[first - 1 : last])})
            for first, last in parts
        ]


class StackStage(NoteStage):
    """Notes that are put together."""

    def __init__(self) -> None:
        self.splitter = Splitter(self.name, NotePages())


def answer(question: Question[Any], tier: Tier) -> BaseModel:
    """Notes begin with "#"; what is said in one is how it is answered."""
    text = "\f".join(part.text for part in question.parts if isinstance(part, Text))
    if question.answer_model is Boundaries:
        pages = [part.text for part in question.parts if isinstance(part, Text)]
        firsts = [at for at, page in enumerate(pages, start=1) if page.startswith("#")]
        if f"mixed up for {tier}" in text:
            firsts.reverse()
        sure = 0.3 if f"hardly to be cut by {tier}" in text else 0.95
        found = [Beginning(begins_with="#", first_page=at, confidence=sure) for at in firsts]
        return Boundaries(documents=found, confidence=0.95, unclear=False)
    if "refused by the API" in text:
        raise Rejected("too long", usage=Usage(), model="m", seconds=0.0)
    return NoteAnswer(mood=text[:20], confidence=0.95, unclear=f"unclear to {tier}" in text)


class Decided(Observer):
    def __init__(self) -> None:
        self.ends: list[str] = []
        self.dead: list[str] = []

    def decided(self, stage: str, tier: Decider, end: str, **_: object) -> None:
        self.ends.append(end)

    def dead_lettered(self, stage: str, reason: str) -> None:
        self.dead.append(reason)


def processor(
    tier: Tier,
    asker: FakeAsker | None = None,
    observer: Observer | None = None,
    stage: StackStage | None = None,
) -> Processor:
    stage = stage or StackStage()
    reader = RawEvents(stage) if tier is Tier.HAIKU else Escalations({"notes": stage})
    return Processor(
        reader,
        CascadePolicy(asker or FakeAsker(answer), Policy({}), tier),
        TopicNames(TopicSettings()),
        clock=lambda: NOON,
        observer=observer or Observer(),
    )


def note(*pages: str) -> dict[str, str]:
    return {"id": "n-1", "text": "\f".join(pages), "room": "blue"}


def values(outcome: Outcome) -> list[dict[str, Any]]:
    return [orjson.loads(record.value or b"") for record in outcome.records]


def escalated(outcome: Outcome, at: int = 0) -> Received:
    record = outcome.records[at]
    assert record.topic == "escalations"
    return received(record.value or b"", topic=record.topic, headers=record.headers)


async def test_each_document_becomes_a_record_of_its_own_in_one_outcome() -> None:
    observer = Decided()
    handle = processor(Tier.HAIKU, observer=observer)
    outcome = await handle(received(note("#a", "and on", "#b")))

    assert outcome.end is Disposition.ENRICHED
    assert {(each.topic, each.key) for each in outcome.records} == {
        ("notes.enriched", b"customer-7")
    }
    first, second = values(outcome)
    assert (first["event_id"], second["event_id"]) == ("n-1#1", "n-1#2")
    assert (first["result"], second["result"]) == ({"mood": "#a\fand on"}, {"mood": "#b"})
    assert first["source"]["part"] == {
        "number": 1, "of": 2, "first_page": 1, "last_page": 2, "name": None,
    }  # fmt: skip
    assert second["source"]["part"]["first_page"] == second["source"]["part"]["last_page"] == 3
    assert second["source"]["extra"] == {"room": "blue"}
    assert observer.ends == ["enriched", "enriched"]


async def test_the_first_part_carries_what_the_boundaries_cost() -> None:
    outcome = await processor(Tier.HAIKU)(received(note("#a", "#b", "#c")))
    assert [Decimal(value["usage"]["cost_usd"]) for value in values(outcome)] == [2 * ONE, ONE, ONE]


async def test_a_part_is_escalated_alone_with_its_own_pages() -> None:
    outcome = await processor(Tier.HAIKU)(received(note("#a", "#b unclear to haiku", "and on")))

    assert outcome.end is Disposition.ESCALATED
    assert [record.topic for record in outcome.records] == ["notes.enriched", "escalations"]
    escalation = values(outcome)[1]
    assert escalation["event"]["text"] == "#b unclear to haiku\fand on"
    assert (escalation["event"]["id"], escalation["event_id"]) == ("n-1", "n-1#2")

    asker = FakeAsker(answer)
    settled = await processor(Tier.SONNET, asker)(escalated(outcome, 1))
    [value] = values(settled)
    assert (value["event_id"], value["decided_by"]) == ("n-1#2", "sonnet")
    assert value["source"]["part"]["first_page"] == 2
    assert [asked.question.answer_model for asked in asker.asked] == [NoteAnswer]


async def test_a_part_that_sonnet_doubts_goes_to_people_alone() -> None:
    doubted = "#b unclear to haiku, unclear to sonnet"
    outcome = await processor(Tier.HAIKU)(received(note("#a", doubted)))
    reviewed = await processor(Tier.SONNET)(escalated(outcome, 1))
    assert reviewed.end is Disposition.REVIEW
    [value] = values(reviewed)
    assert value["event_id"] == "n-1#2"
    assert value["event"]["text"] == doubted


async def test_one_document_of_many_pages_keeps_its_id_and_is_not_asked_about_twice() -> None:
    outcome = await processor(Tier.HAIKU)(received(note("#a unclear to haiku", "and on")))
    [value] = values(outcome)
    assert value["event_id"] == "n-1"
    assert value["source"]["part"]["of"] == 1

    asker = FakeAsker(answer)
    [settled] = values(await processor(Tier.SONNET, asker)(escalated(outcome)))
    assert settled["event_id"] == "n-1"
    assert [asked.question.answer_model for asked in asker.asked] == [NoteAnswer]


class StructuredStack(StackStage):
    """Stacks that begin with `= ` are one note, and say themselves what it is."""

    def read_or_ask(self, event: Note) -> KnownResult[NoteAnswer] | Query[NoteAnswer]:
        if not event.text.startswith("= "):
            return self.question(event)
        against = (Signal("document_contradicts", 1.0, "Two."),) if "?" in event.text else ()
        return KnownResult(NoteResult(mood="read"), against, lambda: self.question(event))


async def test_a_document_that_says_itself_what_it_is_is_not_asked_where_it_begins() -> None:
    asker = FakeAsker(answer)
    handle = processor(Tier.HAIKU, asker, stage=StructuredStack())
    (value,) = values(await handle(received(note("= read", "#a", "#b"))))
    assert asker.asked == []
    assert (value["event_id"], value["decided_by"]) == ("n-1", "document")
    assert value["source"]["part"]["of"] == 1
    doubted = await handle(received(note("= read?", "#a", "#b")))
    assert asker.asked[0].question.answer_model is Boundaries
    assert len(values(await handle(received(note("#a", "#b"))))) == 2
    assert doubted.end is Disposition.ESCALATED


async def test_one_page_is_one_document() -> None:
    asker = FakeAsker(answer)
    [value] = values(await processor(Tier.HAIKU, asker)(received(note("#a"))))
    assert "part" not in value["source"]
    assert [asked.question.answer_model for asked in asker.asked] == [NoteAnswer]


@pytest.mark.parametrize(
    ("what", "code"),
    [("hardly to be cut by haiku", "low_confidence"), ("mixed up for haiku", "boundaries")],
)
async def test_where_boundaries_are_doubted_sonnet_finds_them_and_answers(
    what: str, code: str
) -> None:
    outcome = await processor(Tier.HAIKU)(received(note(f"#a {what}", "#b")))
    assert outcome.end is Disposition.ESCALATED
    [escalation] = values(outcome)
    assert escalation["event_id"] == "n-1"
    assert escalation["event"]["text"].count("\f") == 1
    assert escalation["haiku_result"] is None
    assert {doubt["code"] for doubt in escalation["doubts"]} == {code}
    assert all("Where documents begin" in doubt["detail"] for doubt in escalation["doubts"])

    settled = await processor(Tier.SONNET)(escalated(outcome))
    first, second = values(settled)
    assert [first["event_id"], second["event_id"]] == ["n-1#1", "n-1#2"]
    assert {first["decided_by"], second["decided_by"]} == {"sonnet"}
    costs = [Decimal(value["usage"]["cost_usd"]) for value in (first, second)]
    assert costs == [3 * ONE, ONE], "both boundaries and its own answer, and what the other cost"
    assert first["escalation"]["doubts"] == escalation["doubts"]


async def test_what_sonnet_cannot_cut_goes_to_people_whole() -> None:
    doubted = "#a hardly to be cut by haiku, mixed up for sonnet"
    outcome = await processor(Tier.HAIKU)(received(note(doubted, "#b")))
    reviewed = await processor(Tier.SONNET)(escalated(outcome))
    assert reviewed.end is Disposition.REVIEW
    [value] = values(reviewed)
    assert value["event_id"] == "n-1"
    assert value["event"]["text"] == f"{doubted}\f#b"


async def test_parts_of_an_event_that_sonnet_cut_have_their_own_pages_in_review() -> None:
    doubted = "#a hardly to be cut by haiku, unclear to sonnet"
    outcome = await processor(Tier.HAIKU)(received(note(doubted, "#b")))
    settled = await processor(Tier.SONNET)(escalated(outcome))
    assert settled.end is Disposition.REVIEW, "the worst end of its parts"
    review, enriched = values(settled)
    assert review["event"]["text"] == doubted
    assert review["event_id"] == "n-1#1"
    assert enriched["schema"] == "notes.enriched/1"


async def test_a_part_that_cannot_be_asked_makes_the_whole_a_dead_letter() -> None:
    observer = Decided()
    handle = processor(Tier.HAIKU, observer=observer)
    event = received(note("#a", "#b refused by the API", "#c"))
    outcome = await handle(event)
    assert outcome.end is Disposition.DEAD_LETTER
    [letter] = outcome.records
    assert letter.value == event.value
    assert (observer.ends, observer.dead) == ([], ["rejected_by_api"])


class MailReader:
    """Reads notes that come in parts: lines, each with a name."""

    name = "notes"

    async def read(self, record: Received) -> Case:
        case = await RawEvents(StackStage()).read(record)
        assert isinstance(case, Case)
        assert isinstance(case.event, Note)
        lines = case.event.text.split("\n")
        parts = tuple(
            EventPart(
                case.event.model_copy(update={"text": line.partition(":")[2]}),
                SourcePart(number=at, of=len(lines), name=line.partition(":")[0]),
            )
            for at, line in enumerate(lines, start=1)
        )
        return Case(record, case.stage, case.event, case.source, NOON, given=parts)


async def test_an_event_may_come_in_parts_which_are_not_looked_for() -> None:
    asker = FakeAsker(answer)
    handle = processor(Tier.HAIKU, asker)
    handle.reader = MailReader()  # type: ignore[assignment]
    outcome = await handle(received(note("a.pdf:#a\nb.pdf:#b unclear to haiku")))
    assert outcome.end is Disposition.ESCALATED
    first, second = values(outcome)
    assert (first["event_id"], first["source"]["part"]["name"]) == ("n-1#1", "a.pdf")
    assert (second["event_id"], second["event"]["text"]) == ("n-1#2", "#b unclear to haiku")
    assert [asked.question.answer_model for asked in asker.asked] == [NoteAnswer, NoteAnswer]


class Lane:
    """Makes no requests, and remembers what would be one."""

    def digest(self, question: Question[Any]) -> str:
        return question.digest

    def request(self, question: Question[Any], tier: Tier, name: str) -> Question[Any]:
        return question


async def test_a_backfill_asks_in_its_batch_where_documents_begin() -> None:
    stage = BatchStage(
        StackStage(),
        Lane(),  # type: ignore[arg-type]
        FakeAsker(answer),
        Policy({}),
        TopicNames(TopicSettings()),
        clock=lambda: NOON,
        observer=Observer(),
    )
    [question] = await stage.requests(received(note("#a", "#b")), "prefix")
    assert question.answer_model is Boundaries  # type: ignore[attr-defined]
    [question] = await stage.requests(received(note("#a")), "prefix")
    assert question.answer_model is NoteAnswer  # type: ignore[attr-defined]


# Through crashes: the parts of an event are committed together, once.


class CrashAt:
    """The process dies at its nth request to the brokers, before or after that took effect."""

    def __init__(self, number: int, *, is_after: bool) -> None:
        self.die: Callable[[], None] = lambda: None
        self._left = number
        self._is_after = is_after

    def next(self, process: str, request: str) -> Fault:
        self._left -= 1
        if self._left != 0:
            return Fault()
        if self._is_after:
            asyncio.get_running_loop().call_later(0.0005, self.die)
            return Fault(after=0.001)
        self.die()
        return Fault()


class SlowAsker(FakeAsker):
    async def ask(
        self, question: Question[Any], tier: Tier, *, max_output_tokens: int | None = None
    ) -> Response[Any]:
        await asyncio.sleep(0.02)
        return await super().ask(question, tier, max_output_tokens=max_output_tokens)


def _crash(number: int, *, is_after: bool) -> bool:
    has_crashed = [False]

    @virtual_time
    async def run() -> None:
        bench = Bench()
        for topic in ("notes.enriched", "escalations"):
            bench.broker.create_topic(topic)
        for at in range(4):
            pages = [f"#{at}-{part}" for part in range(at)] + [f"#{at}-last unclear to haiku"]
            event = {"id": f"n-{at}", "text": "\f".join(pages)}
            bench.broker.publish("in", orjson.dumps(event), key=b"%d" % (at % 2))
        faults, dead = CrashAt(number, is_after=is_after), asyncio.Event()
        options: dict[str, Any] = {"max_in_flight": 2, "commit_interval": 0.01}
        handler = processor(Tier.HAIKU, SlowAsker(answer))
        one = bench.engine(faults=faults, handler=handler, **options)
        brokers: MemoryBrokers = one.brokers

        def die() -> None:
            brokers.link.cut()
            dead.set()

        faults.die = die
        one.start()
        assert one.task is not None
        waits = [
            asyncio.create_task(dead.wait()),
            asyncio.create_task(until(lambda: bench.committed() == 4)),
        ]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        has_crashed[0] = dead.is_set()
        for wait in waits:
            wait.cancel()
        one.task.cancel()
        await asyncio.wait([one.task])
        two = bench.engine(process="two", handler=processor(Tier.HAIKU, SlowAsker(answer))).start()
        await until(lambda: bench.committed() == 4)
        await two.stop()
        found = [
            orjson.loads(entry.record.value or b"")["event_id"]
            for topic in ("notes.enriched", "escalations")
            for entries in bench.broker.committed_records(topic).values()
            for entry in entries
            if entry.record is not None
        ]
        expected = ["n-0", *(f"n-{at}#{part}" for at in (1, 2, 3) for part in range(1, at + 2))]
        assert sorted(found) == expected, f"crash at request {number}"

    run()
    return has_crashed[0]


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_through_a_crash_at_any_request_each_part_is_there_once(is_after: bool) -> None:
    number = 1
    while _crash(number, is_after=is_after):
        number += 1
    assert number > 15
