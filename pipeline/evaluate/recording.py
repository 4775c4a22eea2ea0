"""Answers that were paid for, kept in a file with what they cost: a second run asks nothing.

It stands where a model would be asked, so whatever asks (in steps, for a second opinion) finds
its answers here without knowing. The key is who was asked, how, and what, to the byte.

What a calibration depends on: when any of it changes, what was measured holds no longer.
"""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from pipeline.config import Settings, StageSettings
from pipeline.model.errors import AnswerError, Malformed, PipelineError, Refused, TruncatedResponse
from pipeline.model.questions import AnswerT, Asker, Question, Response, Signal
from pipeline.model.records import Tier, Usage
from pipeline.runtime.database import Database

_SHOWN = 16
_MEANINGS = {
    "haiku": "the first model",
    "sonnet": "the second model",
    "prompt": "the prompt",
    "labels": "the stage's labels",
    "events_per_request": "the number of events in a request",
    "truth": "what counts as right",
}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What was measured.

    Args:
        haiku: The first model and how it is asked.
        sonnet: The same of the second.
        prompt: Of instructions and answer schema.
        labels: Of the stage's own settings: labels, fields, what they mean.
        events_per_request: As set.
        truth: Of the compared fields.
    """

    haiku: str
    sonnet: str
    prompt: str
    labels: str
    events_per_request: int
    truth: str

    def changed_since(self, earlier: Mapping[str, Any]) -> list[str]:
        """What is not as it was, in words; empty where an earlier calibration still holds."""
        now = asdict(self)
        return [meaning for name, meaning in _MEANINGS.items() if earlier.get(name) != now[name]]


def fingerprint(
    settings: Settings, stage: str, questions: Iterable[Question[Any]], truth: object
) -> Fingerprint:
    """Take the fingerprint.

    Args:
        settings: In force.
        stage: Its name.
        questions: What the stage asks first about each event.
        truth: Which fields are compared, and which of them is the label.
    """
    own: StageSettings = settings.stages.by_name().get(stage, StageSettings())
    prompts = {
        digest_of([question.instructions, dict(question.answer_schema)]) for question in questions
    }
    common = {*StageSettings.model_fields, "max_event_bytes"}
    return Fingerprint(
        haiku=f"{settings.models.haiku}, effort {settings.claude.haiku_effort}",
        sonnet=f"{settings.models.sonnet}, effort {settings.claude.sonnet_effort}",
        prompt=digest_of(sorted(prompts))[:_SHOWN],
        labels=digest_of(own.model_dump(mode="json", exclude=common))[:_SHOWN],
        events_per_request=own.events_per_request,
        truth=digest_of(truth)[:_SHOWN],
    )


def digest_of(document: object) -> str:
    """Hex digest of anything that JSON can hold.

    The order of keys counts: a schema's is the order in which a model answers.
    """
    return hashlib.blake2b(orjson.dumps(document), digest_size=16).hexdigest()


SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    question TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    answer BLOB NOT NULL,
    failure TEXT NOT NULL,
    usage BLOB NOT NULL,
    seconds REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS signals (
    question TEXT PRIMARY KEY,
    signals BLOB NOT NULL
) WITHOUT ROWID;
"""
"""Signals have a table of their own, since files of earlier versions have none."""
_FAILURES: Mapping[str, type[AnswerError]] = MappingProxyType(
    {"refused": Refused, "cut_off": TruncatedResponse, "malformed": Malformed}
)
"""What is kept of calls that gave no answer. A request that the API rejects is tried again."""
_Row = tuple[str, bytes, str, bytes, float, bytes]
"""Model, answer or what was wrong with it, kind of failure, usage, seconds, signals."""
_SIGNALS = TypeAdapter(tuple[Signal, ...])
_NO_SIGNALS = b"[]"


class NotRecorded(PipelineError):
    """An answer is needed that nobody has asked for yet, and nobody is to be asked."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a tier is asked, as far as it can change an answer.

    Args:
        place: Where: `simulated`, or the address of the API.
        model: The model's id.
        effort: Sent with the request.
        together: Events that share a request.
    """

    place: str
    model: str
    effort: str
    together: int


@dataclass(slots=True)
class Counts:
    """Where the answers of a run came from."""

    asked: int = 0
    recorded: int = 0


class NobodyToAsk:
    """An asker for runs that may use recorded answers only."""

    async def ask(
        self,
        question: Question[AnswerT],
        tier: Tier,
        *,
        max_output_tokens: int | None = None,  # noqa: ARG002 - as every asker
    ) -> Response[AnswerT]:
        """Refuse.

        Raises:
            NotRecorded: Always.
        """
        raise NotRecorded(
            f"An answer of {tier} for {question.stage} is not recorded: run it without --recorded."
        )


class Recording:
    """The file, with an asker that fills it.

    Args:
        database: Open, with `SCHEMA`.
        inner: Asked for what is not recorded.
        manners: How each tier is asked.
    """

    def __init__(self, database: Database, inner: Asker, manners: Mapping[Tier, Manner]) -> None:
        self._database = database
        self._inner = inner
        self._manners = manners
        # What is paid for stays here until it is written, whoever is cancelled meanwhile.
        self._unsaved: dict[str, _Row] = {}
        self.counts = Counts()

    def session(self) -> "Session":
        """An asker for one event: it may ask the same question again, and is answered again."""
        return Session(self)

    async def answer(
        self, key: str, question: Question[AnswerT], tier: Tier, limit: int
    ) -> Response[AnswerT]:
        """Give the recorded answer, or ask and record.

        Raises:
            AnswerError: The answer is no use, now or when it was recorded.
            NotRecorded: It would have to be asked for, and nobody is there.
        """
        found = await self._database.run(lambda connection: _look(connection, key))
        if found is not None:
            reply = _replay(found, question)
            if reply is not None:
                self.counts.recorded += 1
                return reply
        try:
            asked = await self._inner.ask(question, tier, max_output_tokens=limit)
        except AnswerError as error:
            self.counts.asked += 1
            await self._keep_failure(key, error)
            raise
        self.counts.asked += 1
        answer, signals = asked.answer.model_dump_json().encode(), _SIGNALS.dump_json(asked.signals)
        await self._keep(key, asked.model, answer, "", asked.usage, asked.seconds, signals)
        return asked

    async def save(self) -> None:
        """Write down what is not written yet; to be called once more at the end."""
        rows = dict(self._unsaved)
        if not rows:
            return

        def write(connection: sqlite3.Connection) -> None:
            # The cursor must not leave this thread: dropped elsewhere it disturbs the next write.
            connection.executemany(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)",
                [(key, *row[:-1]) for key, row in rows.items()],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO signals VALUES (?, ?)",
                [(key, row[-1]) for key, row in rows.items()],
            )

        await self._database.run(write)
        for key in rows:
            self._unsaved.pop(key, None)

    def key(self, question: Question[Any], tier: Tier, limit: int, attempt: int) -> str:
        """What identifies a question put to a tier for the n-th time."""
        manner = self._manners[tier]
        return digest_of(
            [
                tier,
                manner.place,
                manner.model,
                manner.effort,
                manner.together,
                question.digest,
                dict(question.answer_schema),
                limit,
                attempt,
            ]
        )

    async def _keep_failure(self, key: str, error: AnswerError) -> None:
        why = next((name for name, kind in _FAILURES.items() if type(error) is kind), None)
        if why is not None:
            detail = error.detail.encode()
            await self._keep(key, error.model, detail, why, error.usage, error.seconds, _NO_SIGNALS)

    async def _keep(self, key: str, *row: Any) -> None:  # noqa: ANN401 - the columns of the table
        model, answer, failure, usage, seconds, signals = row
        spent = usage.model_dump_json().encode()
        self._unsaved[key] = (model, answer, failure, spent, seconds, signals)
        await self.save()


class Session:
    """Asks for one event.

    Args:
        recording: Where answers are.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._attempts: Counter[str] = Counter()

    async def ask(
        self, question: Question[AnswerT], tier: Tier, *, max_output_tokens: int | None = None
    ) -> Response[AnswerT]:
        """Ask, as `pipeline.model.questions.Asker` does.

        Raises:
            AnswerError: The answer is no use.
        """
        limit = max_output_tokens or question.max_output_tokens
        first = self._recording.key(question, tier, limit, 0)
        attempt = self._attempts[first]
        self._attempts[first] += 1
        key = first if attempt == 0 else self._recording.key(question, tier, limit, attempt)
        return await self._recording.answer(key, question, tier, limit)


def _look(connection: sqlite3.Connection, key: str) -> _Row | None:
    row: _Row | None = connection.execute(
        "SELECT model, answer, failure, usage, seconds, coalesce(signals, ?)"
        " FROM answers LEFT JOIN signals USING (question) WHERE question = ?",
        (_NO_SIGNALS, key),
    ).fetchone()
    return row


def _replay(row: _Row, question: Question[AnswerT]) -> Response[AnswerT] | None:
    """The recorded answer; None where it is none to this question any more.

    Raises:
        AnswerError: The call gave no usable answer when it was made.
    """
    model, answer, failure, spent, seconds, signals = row
    usage = Usage.model_validate(orjson.loads(spent))
    if failure:
        error = _FAILURES[failure]
        raise error(answer.decode(), usage=usage, model=model, seconds=seconds)
    try:
        read = question.answer_model.model_validate_json(answer)
    except ValidationError:
        # The stage's own checks have changed since, although its question has not.
        return None
    return Response(read, model, usage, seconds, signals=_SIGNALS.validate_json(signals))
