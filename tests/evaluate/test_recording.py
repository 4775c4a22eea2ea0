"""Answers are paid for once, and come back as they were."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.evaluate.recording import SCHEMA, Counts, Manner, NotRecorded, Recording
from pipeline.model.errors import AnswerError, Malformed, Refused, Rejected
from pipeline.model.questions import Asker, Question, Response, Signal, Text
from pipeline.model.records import Tier
from pipeline.runtime.database import Database
from tests.cascade.stand_ins import SPENT, Note, NoteAnswer, NoteStage, ScriptedAsker

HOW = Manner("simulated", "claude-haiku-5-5", "low", 1)
GLAD = NoteAnswer(mood="glad", confidence=0.9, unclear=False)
SAD = NoteAnswer(mood="sad", confidence=0.8, unclear=False)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(tmp_path / "answers.sqlite3", SCHEMA, setting="--answers") as opened:
        yield opened


def recording(database: Database, asker: Asker | None, **changes: object) -> Recording:
    how = replace(HOW, **changes)  # type: ignore[arg-type]
    return Recording(database, asker, {Tier.HAIKU: how, Tier.SONNET: how}, Counts())


def question(text: str = "all is well") -> Question[NoteAnswer]:
    return NoteStage().question(Note(id="n-1", text=text))


async def test_a_second_run_asks_nothing_and_gets_the_same(database: Database) -> None:
    first = recording(database, ScriptedAsker(GLAD))
    first_reply = await first.session().ask(question(), Tier.HAIKU)
    second = recording(database, None)
    again = await second.session().ask(question(), Tier.HAIKU)
    assert again == first_reply
    assert (first.counts.asked, first.counts.recorded) == (1, 0)
    assert (second.counts.asked, second.counts.recorded) == (0, 1)


class Doubting(ScriptedAsker):
    """Its answers can be read, with a doubt."""

    async def ask(self, *args: Any, **options: Any) -> Response[Any]:  # noqa: ANN401 - all of them
        doubt = Signal("broken_form", 1.0, "An object in the answer has a key twice.")
        return replace(await super().ask(*args, **options), signals=(doubt,))


async def test_what_was_doubtful_stays_so_when_it_is_recorded(database: Database) -> None:
    first_reply = await recording(database, Doubting(GLAD)).session().ask(question(), Tier.HAIKU)
    again = await recording(database, None).session().ask(question(), Tier.HAIKU)
    assert again == first_reply
    assert again.signals


async def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite3"
    async with Database(path, SCHEMA, setting="--answers") as opened:
        first_reply = (
            await recording(opened, ScriptedAsker(GLAD)).session().ask(question(), Tier.HAIKU)
        )
        await opened.run(lambda connection: connection.execute("DROP TABLE signals"))
    async with Database(path, SCHEMA, setting="--answers") as opened:
        again = await recording(opened, None).session().ask(question(), Tier.HAIKU)
    assert again == first_reply


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "claude-haiku-4-5"},
        {"effort": "high"},
        {"together": 8},
        {"place": "live"},
        {"masked": "email"},
    ],
)
async def test_another_manner_of_asking_is_another_question(
    database: Database, changes: dict[str, object]
) -> None:
    await recording(database, ScriptedAsker(GLAD)).session().ask(question(), Tier.HAIKU)
    other = recording(database, ScriptedAsker(SAD), **changes)
    assert (await other.session().ask(question(), Tier.HAIKU)).answer == SAD


async def test_another_content_prompt_schema_or_tier_is_another_question(
    database: Database,
) -> None:
    plain = question()
    others = [
        question("all is lost"),
        replace(plain, instructions="Say the mood, in one word."),
        replace(plain, answer_schema={**plain.answer_schema, "title": "Mood"}),
        replace(plain, parts=(Text("memo", "all is well"),)),
    ]
    await recording(database, ScriptedAsker(GLAD)).session().ask(plain, Tier.HAIKU)
    none = recording(database, None)
    for other in others:
        with pytest.raises(NotRecorded):
            await none.session().ask(other, Tier.HAIKU)
    with pytest.raises(NotRecorded):
        await none.session().ask(plain, Tier.SONNET)


@pytest.mark.parametrize("kind", [Malformed, Refused])
async def test_a_call_that_gave_no_answer_is_not_paid_again(
    database: Database, kind: type[AnswerError]
) -> None:
    error = kind("no use", usage=SPENT, model="model-haiku", seconds=0.5)
    with pytest.raises(kind):
        await recording(database, ScriptedAsker(error)).session().ask(question(), Tier.HAIKU)
    with pytest.raises(kind) as again:
        await recording(database, None).session().ask(question(), Tier.HAIKU)
    assert (again.value.usage, again.value.model, again.value.seconds) == (
        SPENT,
        "model-haiku",
        0.5,
    )


async def test_the_same_question_again_for_the_same_event_is_a_new_one(database: Database) -> None:
    error = Malformed("no JSON", usage=SPENT, model="model-haiku", seconds=0.5)
    session = recording(database, ScriptedAsker(error, GLAD)).session()
    with pytest.raises(Malformed):
        await session.ask(question(), Tier.HAIKU)
    assert (await session.ask(question(), Tier.HAIKU)).answer == GLAD
    replayed = recording(database, None).session()
    with pytest.raises(Malformed):
        await replayed.ask(question(), Tier.HAIKU)
    assert (await replayed.ask(question(), Tier.HAIKU)).answer == GLAD


async def test_what_the_api_rejects_is_tried_again(database: Database) -> None:
    error = Rejected("no such model", usage=SPENT, model="model-haiku", seconds=0.1)
    with pytest.raises(Rejected):
        await recording(database, ScriptedAsker(error)).session().ask(question(), Tier.HAIKU)
    fixed = recording(database, ScriptedAsker(GLAD))
    assert (await fixed.session().ask(question(), Tier.HAIKU)).answer == GLAD
