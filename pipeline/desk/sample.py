"""The view of drawn answers: a person says what is right before they see what was published.

Nothing of an answer leaves this process before its question is answered, so that a label is the
person's own word.
"""

import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web

from pipeline.config import Settings
from pipeline.desk.access import Person, Role, person
from pipeline.desk.case import event_of
from pipeline.desk.kafka import Kafka
from pipeline.desk.pages import EDGES, PageImages, edge_of
from pipeline.desk.routes import Conflict, Route, answer, body_of, nothing_beside
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import UsageError
from pipeline.model.records import now
from pipeline.operators.audit import AuditedCommand, selected
from pipeline.operators.sample_labels import (
    LOOK_BACK,
    Blind,
    EventGone,
    LabelDesk,
    ReadBack,
    Task,
    Worklist,
    decided_by,
)
from pipeline.stages.api import build_stages
from pipeline.trust.records import answer_key
from pipeline.trust.verdicts import plan

_AHEAD = 50
"""Tasks that are taken from the topic at once, for one person."""
_GONE_AT_ONCE = 20
"""Tasks in a row whose events are gone, after which a person is asked whether to go on."""
_TARGET, _RIGHT, _CHANCE = 0.95, 0.98, 0.8
"""What the planned number of labels is for, as `pipeline trust plan` says it first."""
_CHARACTERS = 10_000


@dataclass(eq=False)
class Turn:
    """A drawn answer that a person has in hand; its name says nothing of it."""

    desk: LabelDesk
    task: Task
    event: ReadBack
    name: str = field(default_factory=lambda: secrets.token_hex(8))
    blind: Blind | None = None
    is_sent: bool = False

    @property
    def document(self) -> Mapping[str, Any]:
        """What is shown before the question is answered."""
        section = self.desk.settings.stages.by_name().get(self.desk.stage.name)
        labels = () if section is None else section.deciding_labels()
        meaning = {label.name: label.description for label in labels}
        return {
            "name": self.name,
            "stage": self.desk.stage.name,
            "event": event_of(self.event.document),
            "edges": EDGES,
            "questions": [
                {
                    "name": each.name,
                    "labels": [
                        {"value": label, "description": meaning.get(label, "")}
                        for label in each.labels
                    ],
                }
                for each in self.desk.questions(self.task.answer)
            ],
        }

    def revealed(self, blind: Blind) -> Mapping[str, Any]:
        """The answer, once the question is."""
        drawn = self.task.answer
        result = self.desk.result_of(drawn) or {}
        return {
            "by": decided_by(drawn),
            "differ": blind.differ,
            "said": bool(blind.given),
            "answer": [
                {
                    "name": name,
                    "value": value,
                    "given": blind.given.get(name),
                    "is_given": name in blind.given,
                    "differs": name in blind.differ,
                }
                for name, value in result.items()
            ],
        }


@dataclass(eq=False)
class _Work:
    """What was found for one person in one stage."""

    found: Worklist
    tasks: deque[Task]
    done: int = 0


@dataclass(eq=False)
class SampleView:
    """What people do with drawn answers; each has one in hand at most."""

    settings: Settings
    kafka: Kafka
    _: KW_ONLY
    name: str = field(default="sample", init=False)
    title: str = field(default="Sample", init=False)
    role: Role = field(default=Role.REVIEWER, init=False)

    def __post_init__(self) -> None:
        self._names = TopicNames.under(self.settings)
        self._desks = {
            name: LabelDesk(self.settings, self.kafka.read, stage)
            for name, stage in build_stages(self.settings.stages).items()
        }
        self._pages = PageImages(self.settings.stages.by_name())
        self._work: dict[tuple[str, str], _Work] = {}
        self._turns: dict[str, Turn] = {}
        self._shown: dict[tuple[str, bytes, datetime], Blind] = {}

    def routes(self) -> Sequence[Route]:
        turn = "/api/sample/{turn:[0-9a-f]{16}}"
        return (
            Route("GET", "/api/sample", Role.REVIEWER, self._stages),
            Route("POST", "/api/sample/next", Role.REVIEWER, self._next),
            Route("GET", f"{turn}/file", Role.REVIEWER, self._file),
            Route("GET", f"{turn}/pages/{{page:[0-9]+}}", Role.REVIEWER, self._page),
            Route("POST", f"{turn}/given", Role.REVIEWER, self._answered),
            Route("POST", f"{turn}/verdict", Role.REVIEWER, self._decide),
        )

    running = staticmethod(nothing_beside)

    async def _stages(self, _: web.Request) -> web.Response:
        [planned] = plan(_TARGET, [_RIGHT], _CHANCE)
        return answer({
            "stages": list(self._desks),
            "target": _TARGET,
            "right": _RIGHT,
            "needed": planned.labels,
        })  # fmt: skip

    async def _next(self, request: web.Request) -> web.Response:
        """Another answer of a stage for this person; the one in hand is put back."""
        who, stage = person(request), str((await body_of(request)).get("stage"))
        if (desk := self._desks.get(stage)) is None:
            raise UsageError("There is no such stage here.")
        self._turns.pop(who.name, None)
        work = self._work.get((who.name, stage))
        if work is None or not work.tasks:
            found = await desk.worklist(who.name, since=now() - LOOK_BACK, limit=_AHEAD)
            work = self._work[who.name, stage] = _Work(found, deque(found.tasks))
        turn, gone = None, 0
        while turn is None and work.tasks and gone < _GONE_AT_ONCE:
            task = work.tasks.popleft()
            try:
                event = await desk.event_of(task.answer)
                turn = Turn(desk, task, event, blind=self._shown.get(_known(who, task)))
            except EventGone:
                gone += 1
        if turn is not None:
            self._turns[who.name] = turn
        agreed = work.found.agreement
        return answer({
            "turn": None if turn is None else turn.document,
            "gone": gone,
            "waiting": max(0, work.found.waiting - work.done),
            "labelled": work.found.labelled + work.done,
            **asdict(agreed),
        })  # fmt: skip

    async def _file(self, request: web.Request) -> web.Response:
        turn = self._turn(request)
        return await self._pages.file(
            turn.name, turn.desk.stage.name, turn.event.document, long_edge=edge_of(request)
        )

    async def _page(self, request: web.Request) -> web.Response:
        turn, page = self._turn(request), int(request.match_info["page"][:9])
        stage, document = turn.desk.stage.name, turn.event.document
        return await self._pages.page(
            turn.name, stage, document, page=page, long_edge=edge_of(request)
        )

    async def _answered(self, request: web.Request) -> web.Response:
        """What the person says is right; only the first word counts, and then the answer shows."""
        turn, body = self._turn(request), await body_of(request)
        if turn.blind is None:
            asked = {each.name for each in turn.desk.questions(turn.task.answer)}
            turn.blind = turn.desk.compare(
                turn.task.answer, _given(body.get("given"), asked), turn.event
            )
            self._shown[_known(person(request), turn.task)] = turn.blind
        return answer(turn.revealed(turn.blind))

    async def _decide(self, request: web.Request) -> web.Response:
        """Publish the label. Sent again it is the same one, which replaces itself in the topic."""
        turn, who, body = self._turn(request), person(request), await body_of(request)
        is_right = body.get("right")
        if not isinstance(is_right, bool):
            raise UsageError("A verdict is right: true, or false.")
        if turn.blind is None:
            raise Conflict("Say first what is right: the answer is shown after that.")
        if turn.is_sent:
            raise Conflict("This label is being published: take the next answer.")
        turn.is_sent = True
        try:
            await self._publish(turn, who, turn.blind, is_right=is_right)
        except BaseException:
            turn.is_sent = False
            raise
        self._shown.pop(_known(who, turn.task), None)
        if self._turns.get(who.name) is turn:
            del self._turns[who.name]
        if (work := self._work.get((who.name, turn.desk.stage.name))) is not None:
            work.done += 1
        return answer({})

    async def _publish(self, turn: Turn, who: Person, blind: Blind, *, is_right: bool) -> None:
        at, stage = now(), turn.desk.stage.name
        label = turn.desk.label(turn.task, who.name, blind, is_right=is_right, at=at)
        command = AuditedCommand(
            self._names.audit, who.name, "desk sample", "labelled", selected(stage=[stage])
        )
        async with self.kafka.writer() as writer:
            await writer.write(turn.desk.outgoing(label))
            await writer.write(command.entry(1, at=at, about=self._names.trust))
            await writer.flush()

    def _turn(self, request: web.Request) -> Turn:
        turn = self._turns.get(person(request).name)
        if turn is None or turn.name != request.match_info["turn"]:
            raise Conflict("This answer is not in your hands any more: take the next one.")
        return turn


def _known(who: Person, task: Task) -> tuple[str, bytes, datetime]:
    """Under what it is kept that a person has seen an answer, until they label it."""
    of = task.answer
    return who.name, answer_key(of.stage, of.event_id, of.part), of.published_at


def _given(found: object, asked: set[str]) -> Mapping[str, str]:
    """What was said of the fields that are asked for; empty texts say nothing."""
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise UsageError("What is given is a text for each field.")
    if any(len(each) > _CHARACTERS for each in found.values()):
        raise UsageError(f"A text has at most {_CHARACTERS:,} characters.")
    return {name: text.strip() for name, text in found.items() if name in asked and text.strip()}
