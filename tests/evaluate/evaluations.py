"""Whole evaluations of a handful of events, without an API."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from pipeline.config import Settings
from pipeline.evaluate.evaluation import Evaluation, Wanted, evaluate, prepare
from pipeline.evaluate.labelled_events import Columns
from pipeline.evaluate.proposal import Aim
from pipeline.model.questions import Question, Text
from pipeline.model.records import Tier
from pipeline.testing.fakes import FakeAsker

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class World:
    """Tickets, what is true of them, and models that answer as a test says.

    Args:
        folder: Where files go.
        rows: Lines of the labelled file.
        answers: What each tier says about a body; a mapping of what differs from a sure answer.
    """

    folder: Path
    rows: list[dict[str, Any]]
    answers: Callable[[str, Tier], Mapping[str, Any]]
    model: str = "claude-haiku-5-5"
    asked: list[str] = field(default_factory=list)

    def reply(self, question: Question[Any], tier: Tier) -> Any:  # noqa: ANN401 - the question's own
        body = next(part.text for part in question.parts if isinstance(part, Text))
        self.asked.append(f"{tier}: {body}")
        said = {
            "quote": body[:20],
            "intent": "billing",
            "runner_up": None,
            "several_matters": False,
            "priority": "normal",
            "language": "en",
            "summary": "A summary.",
            "confidence": 0.95,
            "unclear": False,
        } | dict(self.answers(body, tier))
        return question.answer_model.model_validate(said)

    def wanted(self, **changes: Any) -> Wanted:  # noqa: ANN401 - whatever Wanted has
        file = self.folder / "labels.jsonl"
        file.write_bytes(b"\n".join(orjson.dumps(row) for row in self.rows))
        given: dict[str, Any] = {
            "stage": "tickets",
            "file": file,
            "columns": Columns(),
            "aim": Aim(0.95),
            "compare": (),
            "answers": self.folder / "answers.sqlite3",
            "place": "here",
        }
        return Wanted(**(given | changes))

    async def evaluate(self, settings: Settings | None = None, **changes: Any) -> Evaluation:  # noqa: ANN401
        chosen, wanted = settings or Settings(), self.wanted(**changes)
        asker = FakeAsker(self.reply, model=lambda _: self.model)
        return await evaluate(
            chosen,
            wanted,
            prepare(chosen, wanted),
            at=NOON,
            on_answer=lambda _: None,
            askers=lambda _: nullcontext(asker),
        )
