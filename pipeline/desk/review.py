"""The view of review items: the queue, a case, and what a person decides."""

import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any, get_args

from aiohttp import web

from pipeline.config import Settings
from pipeline.desk.access import Person, Role, person
from pipeline.desk.case import document_of
from pipeline.desk.claims import Claims
from pipeline.desk.kafka import Kafka
from pipeline.desk.pages import EDGES, PageImages, edge_of
from pipeline.desk.queue import Order, QueueReader, ReviewQueue, Waiting, Wanted
from pipeline.desk.routes import Conflict, Route, answer, body_of, number
from pipeline.desk.verdicts import Given, Rejection, Verdicts
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import UsageError
from pipeline.model.records import Review, Tier, now
from pipeline.operators import review
from pipeline.operators.audit import AuditedCommand, selected
from pipeline.operators.review import AnyStage, ReviewItem, Verdict
from pipeline.operators.selection import (
    NoSuchRecord,
    Place,
    parse_place,
    record_at,
)
from pipeline.runtime.process import background_task
from pipeline.stages.api import build_stages

_PAGE = 50
_MOST_PAGE = 200
_KEPT, _KEPT_BYTES = 20, 64 << 20
"""Items that were opened last, so that their pages are drawn without reading them again."""


@dataclass(eq=False)
class ReviewView:
    """What people do with review items; `running` keeps the queue current and publishes."""

    settings: Settings
    kafka: Kafka
    _: KW_ONLY
    undo_seconds: float = 5.0
    clock: Callable[[], float] = time.monotonic
    name: str = field(default="review", init=False)
    title: str = field(default="Review", init=False)
    role: Role = field(default=Role.READER, init=False)

    def __post_init__(self) -> None:
        self._names = TopicNames.under(self.settings)
        self._stages: Mapping[str, AnyStage] = build_stages(self.settings.stages)
        self._sections = self.settings.stages.by_name()
        self._queue = ReviewQueue(self._names)
        self.reader = QueueReader(self._queue, self.kafka.read, self.kafka.partitions)
        self._claims = Claims(self.clock)
        self._pages = PageImages(self._sections)
        self._items = OrderedDict[Place, ReviewItem]()
        self.verdicts = Verdicts(
            self._publish, self.clock, settled=self._settled, undo_seconds=self.undo_seconds
        )

    def routes(self) -> Sequence[Route]:
        case = "/api/review/{place:[0-9]+:[0-9]+}"
        return (
            Route("GET", "/api/review", Role.READER, self._list),
            Route("GET", "/api/review/verdicts", Role.REVIEWER, self._list_verdicts),
            Route("POST", "/api/review/verdicts/{number:[0-9]+}/undo", Role.REVIEWER, self._undo),
            Route("GET", case, Role.READER, self._show),
            Route("GET", f"{case}/file", Role.READER, self._file),
            Route("GET", f"{case}/pages/{{page:[0-9]+}}", Role.READER, self._page),
            Route("POST", f"{case}/claim", Role.REVIEWER, self._claim),
            Route("POST", f"{case}/release", Role.REVIEWER, self._release),
            Route("POST", f"{case}/verdict", Role.REVIEWER, self._decide),
        )

    @asynccontextmanager
    async def running(self, *, failed: Callable[[], object]) -> AsyncIterator[None]:
        """Do what goes on beside requests; `failed` is called if that ends by a bug."""
        async with (
            background_task(self.reader.run(), ended=failed),
            self.verdicts.running(ended=failed),
        ):
            yield

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query
        order: Order = next(
            (each for each in get_args(Order) if each == query.get("order")), "oldest"
        )
        wanted = Wanted(query.getall("stage", []), query.getall("doubt", []), order)
        start = number(query.get("start"), 0, most=10**9)
        limit = number(query.get("limit"), _PAGE, most=_MOST_PAGE)
        found = self._queue.select(wanted, start=start, limit=limit, without=self.verdicts.places())
        owners = self._claims.owners()
        return answer({
            "loaded": self.reader.loaded.is_set(),
            "problem": self.reader.problem,
            "waiting": len(self._queue),
            "matching": found.matching,
            "left_out": self._queue.left_out,
            "unreadable": self._queue.unreadable,
            "stages": found.stages,
            "doubts": dict(found.doubts.most_common(_PAGE)),
            "now": now(),
            "cases": [_line(entry, owners.get(entry.place)) for entry in found.entries],
        })  # fmt: skip

    async def _show(self, request: web.Request) -> web.Response:
        place = _place(request)
        item = await self._item(place)
        stage = self._stages.get(item.review.stage)
        document = document_of(item, stage, self._sections.get(item.review.stage))
        document["claimed_by"] = self._claims.owner(place)
        document["edges"] = EDGES
        return answer(document)

    async def _file(self, request: web.Request) -> web.Response:
        place, review = await self._reviewed(request)
        return await self._pages.file(place, review.stage, review.event, long_edge=edge_of(request))

    async def _page(self, request: web.Request) -> web.Response:
        place, review = await self._reviewed(request)
        page = int(request.match_info["page"][:9])
        return await self._pages.page(
            place, review.stage, review.event, page=page, long_edge=edge_of(request)
        )

    async def _reviewed(self, request: web.Request) -> tuple[Place, Review]:
        place = _place(request)
        return place, (await self._item(place)).review

    async def _claim(self, request: web.Request) -> web.Response:
        place, who = _place(request), person(request)
        if self._queue.at(place) is None or place in self.verdicts.places():
            raise Conflict("This case is settled, or is being settled: take another one.")
        self._claims.take(place, who.name)
        return answer({"claimed_by": who.name, "seconds": self._claims.seconds})

    async def _release(self, request: web.Request) -> web.Response:
        self._claims.release(_place(request), person(request).name)
        return answer({})

    async def _decide(self, request: web.Request) -> web.Response:
        place, who, given = _place(request), person(request), await body_of(request)
        self._claims.check(place, who.name)
        verdict = _verdict(given)
        item = await self._item(place)
        if isinstance(verdict, Verdict):
            stage = self._stages.get(item.review.stage)
            if stage is None:
                raise UsageError("The stage of this case is not known here.")
            review.result_of(verdict, item, stage, self.settings)
        if self._queue.at(place) is None:
            raise Conflict("This case is settled: take another one.")
        found = self.verdicts.give(place, item.review.event_id, who, verdict)
        self._claims.release(place, who.name)
        return answer(self._said(found), status=202)

    async def _undo(self, request: web.Request) -> web.Response:
        number, who = int(request.match_info["number"][:9]), person(request)
        undone = self.verdicts.undo(number, who)
        self._claims.take(undone.place, who.name)
        return answer(self._said(undone))

    async def _list_verdicts(self, request: web.Request) -> web.Response:
        return answer([self._said(each) for each in self.verdicts.of(person(request))[:_PAGE]])

    def _said(self, given: Given) -> Mapping[str, Any]:
        return {
            "number": given.number,
            "place": str(given.place),
            "event_id": given.event_id,
            "state": given.state,
            "message": given.message,
            "seconds_left": max(0.0, given.due - self.clock()),
        }

    async def _item(self, place: Place) -> ReviewItem:
        """The item at a place, from among those opened last or from its topic."""
        if place in self._items:
            self._items.move_to_end(place)
            return self._items[place]
        try:
            record = await record_at(
                self.kafka.read, self._names.review, place, what="review item", command="review"
            )
        except NoSuchRecord:
            self._queue.remove(place)
            raise
        found = self._items[place] = review.review_item_of(record)
        sizes = [len(each.record.value or b"") for each in self._items.values()]
        while len(sizes) > 1 and (len(sizes) > _KEPT or sum(sizes) > _KEPT_BYTES):
            self._items.popitem(last=False)
            del sizes[0]
        return found

    async def _publish(self, place: Place, by: Person, verdict: Verdict | Rejection) -> str:
        is_rejection = isinstance(verdict, Rejection)
        command = AuditedCommand(
            self._names.audit,
            by.name,
            "desk review",
            "rejected" if is_rejection else "resolved",
            selected(place=[str(place)]),
        )
        publisher = partial(self.kafka.publisher, self._names.review, self._names.resolved, command)
        settings, read, at = self.settings, self.kafka.read, now()
        if isinstance(verdict, Rejection):
            return await review.reject(
                settings, read, place, verdict.reason, publisher, now=at, jitter=random.random
            )
        done = await review.resolve(
            settings, read, place, verdict, publisher, now=at, jitter=random.random
        )
        return done.topic

    def _settled(self, place: Place) -> None:
        self._queue.remove(place)
        self._items.pop(place, None)


def _line(entry: Waiting, owner: str | None) -> Mapping[str, Any]:
    return {
        "place": str(entry.place),
        "stage": entry.stage,
        "event_id": entry.event_id,
        "came_at": entry.came_at,
        "value": None if entry.value is None else f"{entry.value:f}",
        "currency": entry.currency,
        "doubts": entry.doubts,
        "claimed_by": owner,
    }


def _verdict(given: Mapping[str, Any]) -> Verdict | Rejection:
    """What a person decided; `UsageError` if it is none of `accept`, `result`, `dead_letter`."""
    match given:
        case {"accept": "haiku" | "sonnet" as tier, **others} if not others:
            return Verdict(Tier(tier))
        case {"result": dict() as result, **others} if not others:
            return Verdict(result)
        case {"dead_letter": str() as reason, **others} if not others:
            if 0 < len(reason.strip()) <= review.REASON_CHARS:
                return Rejection(reason)
            raise UsageError(f"Say why, in at most {review.REASON_CHARS} characters.")
    raise UsageError("A verdict is one of accept (haiku or sonnet), result, dead_letter.")


def _place(request: web.Request) -> Place:
    return parse_place(request.match_info["place"])
