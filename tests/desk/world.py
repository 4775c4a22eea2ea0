"""A desk over the broker in memory, with cases that wait."""

import asyncio
import base64
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from pipeline.config import AccessSettings, DeskSettings, Settings
from pipeline.desk.access import Access, Person, Role
from pipeline.desk.access.ways import Visitor, WayIn
from pipeline.desk.dead_letters import DeadLettersView
from pipeline.desk.kafka import Kafka, RecordWriter
from pipeline.desk.lookup import LookUpView
from pipeline.desk.review import ReviewView
from pipeline.desk.routes import View
from pipeline.desk.sample import SampleView
from pipeline.desk.server import application
from pipeline.kafka.topics import TopicNames
from pipeline.model.records import Doubt
from pipeline.observe.web import listening
from pipeline.operators.audit import AuditedCommand
from pipeline.operators.handled import IdempotentPublisher
from pipeline.stream.protocols import TopicPartition
from pipeline.stream.records import Outgoing
from pipeline.testing import MemoryBroker, MemoryBrokers, MemoryTopicReader
from tests.operators.review.items import outgoing, review

SAMPLES = Path("samples")
SETTINGS = Settings(desk=DeskSettings(port=0))
INVOICE: Mapping[str, Any] = {
    "invoice_number": "SGP-5190", "issue_date": "2026-11-05", "due_date": None,
    "vendor": "Müller GmbH", "buyer": "Rohde KG", "currency": "EUR",
    "line_items": [
        {"description": "Paper", "quantity": "10", "unit_price": "4.00", "amount": "40.00"},
        {"description": "Ink", "quantity": "1", "unit_price": "60.00", "amount": "60.00"},
    ],
    "allowances": "0", "charges": "0", "net": "100.00", "tax": "19.00", "gross": "119.00",
    "prepaid": "0", "withheld": None, "due": "119.00", "legibility": "legible", "missing": [],
    "fields": {},
}  # fmt: skip
IMAGE: Mapping[str, Any] = {
    "document_type": "receipt", "description": "A till receipt.", "legibility": "partly",
    "defects": ["blurred"], "needs_moderation": False, "runner_up": "invoice", "fields": {},
}  # fmt: skip
DOUBT = Doubt(code="totals_differ", detail="The lines add up to 100.00, not to 90.00.")


def file_of(path: Path, media_type: str) -> dict[str, str]:
    return {"media_type": media_type, "data": base64.b64encode(path.read_bytes()).decode()}


class ByHost:
    """Takes a person by the name under which they ask for the desk."""

    def __init__(self, **people: Role) -> None:
        self.people = people
        self.key = secrets.token_hex()

    def visitor(self, request: web.Request) -> Visitor | None:
        name = request.host.partition(".")[0]
        role = self.people.get(name)
        return None if role is None else Visitor(name, role, self.key + name)


class OneOf:
    """Whoever asks is this person."""

    def __init__(self, name: str = "ada", role: Role = Role.OPERATOR) -> None:
        self.person: Person | None = Person(name, role)
        self.key = secrets.token_hex()

    def visitor(self, request: web.Request) -> Visitor | None:
        who = self.person
        return None if who is None else Visitor(who.name, who.role, self.key + who.name)


class MemoryWriter:
    """Publishes to the broker of a desk, unless that refuses."""

    def __init__(self, desk: "Desk") -> None:
        self._desk = desk

    async def write(self, record: Outgoing) -> None:
        if self._desk.writing_fails is not None:
            raise self._desk.writing_fails
        self._desk.broker.write([record])

    async def flush(self) -> None:
        pass


class Desk:
    """A desk and the broker behind it; `processes` of several share a broker."""

    def __init__(
        self,
        *,
        access: WayIn | None = None,
        undo_seconds: float = 0.0,
        broker: MemoryBroker | None = None,
        process: str = "desk",
        settings: Settings = SETTINGS,
    ) -> None:
        self.settings, self.names = settings, TopicNames.under(settings)
        self.access = Access(AccessSettings(), access or OneOf())
        self.process = process
        self.broker = broker or MemoryBroker(max_message_bytes=16 << 20)
        if broker is None:
            for topic in (*self.names.of(settings.enabled),):
                self.broker.create_topic(topic)
        self.read = MemoryTopicReader(self.broker)
        self.count = 0
        kafka = Kafka(self.read, self._existing, self._partitions, self._publisher, self._writer)
        self.view = ReviewView(settings, kafka, undo_seconds=undo_seconds)
        others = (SampleView, DeadLettersView, LookUpView)
        self.views: Sequence[View] = (self.view, *(each(settings, kafka) for each in others))
        self.writing_fails: Exception | None = None
        self.publishing_fails: Exception | None = None

    async def _partitions(self, topics: Sequence[str]) -> Sequence[TopicPartition]:
        return [each for topic in topics for each in self.broker.partitions_of(topic)]

    async def _existing(self) -> Sequence[str]:
        return self.names.of(self.settings.enabled)

    def _publisher(self, topic: str, marks: str, command: AuditedCommand) -> IdempotentPublisher:
        if self.publishing_fails is not None:
            raise self.publishing_fails
        self.count += 1
        return IdempotentPublisher(
            topic, marks, command, group="pipeline.desk",
            name=f"{self.process}-{self.count}",
            brokers=MemoryBrokers(self.broker, process=self.process),
            read=self.read, clock=lambda: datetime.now(UTC),
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def _writer(self) -> AsyncIterator[RecordWriter]:
        yield MemoryWriter(self)

    def wait_for(self, number: int = 0, **changes: object) -> None:
        """Have one more case wait."""
        record = outgoing(review(number, **changes), key=b"key-%d" % number)
        self.broker.publish("review", record.value, key=record.key, headers=record.headers)

    def invoice(self, number: int = 0, **changes: object) -> None:
        """Have an invoice wait, a PDF file."""
        other = {**INVOICE, "gross": "191.00", "due": "191.00"}
        event = {"id": f"I-{number}",
                 "file": file_of(SAMPLES / "invoices/I-3009.pdf", "application/pdf")}  # fmt: skip
        fields = {"stage": "invoices", "event_id": f"I-{number}", "event": event,
                  "haiku_result": other, "sonnet_result": dict(INVOICE), "doubts": [DOUBT],
                  "haiku_doubts": 1}  # fmt: skip
        self.wait_for(number, **{**fields, **changes})

    def image(self, number: int = 0, **changes: object) -> None:
        """Have an image wait."""
        event = {"id": f"D-{number}", "file": file_of(SAMPLES / "images/D-4003.jpg", "image/jpeg")}
        fields = {"stage": "images", "event_id": f"D-{number}", "event": event,
                  "haiku_result": {**IMAGE, "document_type": "invoice", "runner_up": None},
                  "sonnet_result": dict(IMAGE)}  # fmt: skip
        self.wait_for(number, **{**fields, **changes})

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Serve it; yields the address."""

        def failed() -> None:
            raise AssertionError("the desk ended")

        app = application(self.views, self.access)
        async with contextlib.AsyncExitStack() as stack:
            for view in self.views:
                await stack.enter_async_context(view.running(failed=failed))
            listener = listening(app, ("127.0.0.1", 0), table="desk")
            address = await stack.enter_async_context(listener)
            async with asyncio.timeout(60):
                await self.view.reader.loaded.wait()
            yield address

    def published(self, topic: str) -> list[dict[str, Any]]:
        """The values on a topic, as a committed reader sees them."""
        return [
            orjson.loads(entry.record.value or b"null")
            for entries in self.broker.committed_records(topic).values()
            for entry in entries
            if entry.record is not None
        ]


class Client:
    """A browser without a page."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session, self._address = session, address
        self.token = ""

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        async with self._session.get(self._address + path, headers=headers) as answer:
            kind = answer.content_type
            body = await answer.read()
            return answer.status, orjson.loads(body) if kind == "application/json" else body

    async def post(self, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        if not self.token:
            _, session = await self.get("/api/session")
            self.token = session.get("csrf", "")
        sent = {"X-CSRF-Token": self.token, **headers}
        address = self._address + path
        async with self._session.post(address, json=body or {}, headers=sent) as answer:
            return answer.status, orjson.loads(await answer.read())

    async def until(self, path: str, condition: Callable[[Any], bool]) -> Any:  # noqa: ANN401 - JSON
        """Ask again until the answer is as wanted; returns it."""
        async with asyncio.timeout(60):
            while True:
                _, found = await self.get(path)
                if condition(found):
                    return found
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def client(desk: Desk) -> AsyncIterator[Client]:
    """A client of a desk that is served meanwhile."""
    async with desk.served() as address, aiohttp.ClientSession() as session:
        yield Client(session, address)
