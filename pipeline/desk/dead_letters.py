"""The view of dead letters: which there are and why, their bytes as text, and putting them back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import orjson
import structlog
from aiohttp import web
from aiokafka.errors import KafkaError

from pipeline.config import Settings
from pipeline.desk.access import Person, Role, person
from pipeline.desk.kafka import Kafka
from pipeline.desk.routes import Conflict, Route, answer, attachment, body_of, number
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import PipelineError, UsageError
from pipeline.model.printable import on_one_line, printable
from pipeline.model.records import now
from pipeline.operators import dead_letters
from pipeline.operators.audit import AuditedCommand, selected
from pipeline.operators.dead_letters import SHOWN, ReplayRequest, Selection
from pipeline.operators.handled import read_handled
from pipeline.operators.selection import parse_place, span
from pipeline.runtime.process import background_task

log = structlog.get_logger(__name__)
_LINES = 200
_MOST_LINES = 1000
_RATE, _MOST_RATE = 50.0, 1000.0
_EXPORTED = 10_000
_SELECTED = 1000
"""Places that one replay may name; more are meant by a filter."""
_FILTERS = ("stage", "reason", "topic", "key", "since", "until")


@dataclass(slots=True)
class Replay:
    """One that a person asked for, and what has come of it."""

    by: Person
    request: ReplayRequest
    given: Mapping[str, Any]
    done: int = 0
    result: dead_letters.Replayed | None = None
    problem: str | None = None

    def document(self) -> Mapping[str, Any]:
        """For the page; it is running as long as there is neither a result nor a problem."""
        return {
            "by": self.by.name,
            "done": self.done,
            "result": None if self.result is None else outcome(self.result),
            "problem": self.problem,
        }

    @property
    def is_running(self) -> bool:
        return self.result is None and self.problem is None


def outcome(result: dead_letters.Replayed) -> Mapping[str, Any]:
    """What was put back, or would be, as a document and as a sentence."""
    return {
        "replayed": result.replayed,
        "done_before": result.done_before,
        "refused": result.refused,
        "refusals": result.refusals,
        "sentence": result.sentence(),
    }


@dataclass(eq=False)
class DeadLettersView:
    """What people do with dead letters; `running` puts them back, one replay after the other."""

    settings: Settings
    kafka: Kafka
    _: KW_ONLY
    name: str = field(default="dead-letters", init=False)
    title: str = field(default="Dead letters", init=False)
    role: Role = field(default=Role.READER, init=False)

    def __post_init__(self) -> None:
        self._names = TopicNames.under(self.settings)
        # Reading a topic from its beginning is work: one does it at a time.
        self._reading = asyncio.Lock()
        self._asked = asyncio.Event()
        self._replay: Replay | None = None

    def routes(self) -> tuple[Route, ...]:
        root = "/api/dead-letters"
        return (
            Route("GET", root, Role.READER, self._list),
            Route("GET", f"{root}/export", Role.READER, self._export),
            Route("GET", f"{root}/replay", Role.READER, self._progress),
            Route("GET", f"{root}/{{place:[0-9]+:[0-9]+}}", Role.READER, self._show),
            Route("POST", f"{root}/rehearsal", Role.OPERATOR, self._rehearse),
            Route("POST", f"{root}/replay", Role.OPERATOR, self._ask),
        )

    @asynccontextmanager
    async def running(self, *, failed: Callable[[], object]) -> AsyncIterator[None]:
        """Put back what is asked for as long as this is entered.

        What is under way at the end is cut off between two transactions: what was put back is
        marked, and the rest can be asked for again.
        """
        async with background_task(self._put_back(), ended=failed):
            yield

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query
        wanted = {"open": False, "replayed": True}.get(query.get("state", ""))
        limit = number(query.get("limit"), _LINES, most=_MOST_LINES)
        chosen = _selection({name: query.getall(name, []) for name in _FILTERS})
        async with self._reading:
            found = await dead_letters.list_dead_letters(
                self.settings, self.kafka.read, chosen, limit=limit, replayed=wanted
            )
        return answer({
            "now": now(),
            "matching": found.matching,
            "replayed": found.handled,
            "reasons": found.codes,
            "lines": [_line(each) for each in reversed(found.lines)],
        })  # fmt: skip

    async def _show(self, request: web.Request) -> web.Response:
        place = parse_place(request.match_info["place"])
        letter, handled = await dead_letters.find(self._names, self.kafka.read, place)
        about = dead_letters.line_of(letter, handled)
        return answer({
            **_line(about),
            "detail": printable(about.detail),
            "attempts": about.attempts,
            "version": printable(about.version),
            "replayed_from": about.replayed_from and printable(about.replayed_from),
            "original": letter.original and printable(letter.original),
            "headers": [
                [printable(name), on_one_line(content, SHOWN)]
                for name, content in letter.own_headers
            ],
            "value": "\n".join(dead_letters.value_lines(letter.record.value, SHOWN)),
        })  # fmt: skip

    async def _export(self, request: web.Request) -> web.StreamResponse:
        """JSON Lines, bytes in base64, as `pipeline dead-letters export` prints them."""
        given = {name: request.query.getall(name, []) for name in (*_FILTERS, "place")}
        chosen, read = _selection(given), self.kafka.read
        handled = await read_handled(read, self._names.dead_letters, self._names.replayed)
        response = attachment("dead-letters.jsonl", "application/x-ndjson")
        await response.prepare(request)
        taken = 0
        async with aclosing(dead_letters.select(read, self._names.dead_letters, chosen)) as found:
            async for letter in found:
                document = dead_letters.document_of(letter, handled)
                await response.write(orjson.dumps(document) + b"\n")
                if (taken := taken + 1) == _EXPORTED:
                    break
        await response.write_eof()
        return response

    async def _rehearse(self, request: web.Request) -> web.Response:
        asked = _replay_request(await body_of(request))
        async with self._reading:
            found = await dead_letters.replay(self.settings, self.kafka.read, asked, None)
        return answer(outcome(found))

    async def _ask(self, request: web.Request) -> web.Response:
        given = await body_of(request)
        asked = _replay_request(given)
        if self._replay is not None and self._replay.is_running:
            raise Conflict(
                f"A replay of {self._replay.by.name} is under way: wait until it is over."
            )
        self._replay = Replay(person(request), asked, given)
        self._asked.set()
        return answer(self._replay.document(), status=202)

    async def _progress(self, _: web.Request) -> web.Response:
        last = self._replay
        return answer({"replay": None if last is None else last.document()})

    async def _put_back(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            if (asked := self._replay) is None:
                continue
            try:
                asked.result = await self._replay_now(asked)
            except (PipelineError, KafkaError) as error:
                log.warning("dead_letters_not_replayed", because=str(error))
                asked.problem = str(error)

    async def _replay_now(self, asked: Replay) -> dead_letters.Replayed:
        given = dict(asked.given)
        command = AuditedCommand(
            self._names.audit,
            asked.by.name,
            "desk dead letters",
            "replayed",
            selected(next(iter(_texts(given.pop("key", []))), None), **given),
        )

        def count(more: int) -> None:
            asked.done += more

        topic, marks = self._names.dead_letters, self._names.replayed
        async with self.kafka.publisher(topic, marks, command) as publisher:
            return await dead_letters.replay(
                self.settings, self.kafka.read, asked.request, publisher, on_done=count
            )


def _line(line: dead_letters.Line) -> Mapping[str, Any]:
    topic, partition, offset = line.source
    return {
        "place": line.place,
        "died_at": line.died_at,
        "stage": printable(line.stage),
        "reason": printable(line.reason),
        "source": printable(f"{topic} {partition}:{offset}") if topic else "",
        "key": line.key,
        "size": line.size,
        "replayed": line.replayed,
        "replayed_at": line.replayed_at,
        "forgotten": line.forgotten,
    }


def _selection(given: Mapping[str, Any]) -> Selection:
    """Which are meant, by the options of the command; `UsageError` where one cannot be read."""
    names = {name: _texts(given.get(name, [])) for name in (*_FILTERS, "place")}
    if len(names["place"]) > _SELECTED:
        raise UsageError(f"Choose at most {_SELECTED:,}, or say by a filter which are meant.")
    key, since, until = (next(iter(names[name]), None) for name in ("key", "since", "until"))
    return Selection(
        [parse_place(each) for each in names["place"]],
        names["stage"],
        names["reason"],
        names["topic"],
        key=key,
        span=span(since, until, now()),
    )


def _texts(given: object) -> list[str]:
    """One text or several, without empty ones, which mean that it does not matter."""
    found = given if isinstance(given, list) else [given]
    texts = [each for each in found if isinstance(each, str)]
    if len(texts) < len(found):
        raise UsageError("What a filter is given is one text, or a list of texts.")
    return [each for each in texts if each]


def _replay_request(given: Mapping[str, Any]) -> ReplayRequest:
    options = {*_FILTERS, "place", "rate", "again"}
    if unknown := sorted(given.keys() - options):
        raise UsageError(f"{printable(unknown[0][:40])!r} is no option of a replay.")
    rate, again = given.get("rate", _RATE), given.get("again", False)
    is_number = isinstance(rate, int | float) and not isinstance(rate, bool)
    if not is_number or not 0.1 <= rate <= _MOST_RATE:  # noqa: PLR2004 - as the command has it
        raise UsageError(f"The rate is a number from 0.1 to {_MOST_RATE:,.0f} a second.")
    if not isinstance(again, bool):
        raise UsageError("Again is true or false.")
    if not any(_texts(given.get(name, [])) for name in (*_FILTERS, "place")):
        raise UsageError("Say which are to be put back: choose some, or set a filter.")
    return ReplayRequest(_selection(given), rate=float(rate), again=again)
