"""Answers that were paid for, kept in a file with what they cost: a second run asks nothing.

It stands where a model would be asked, so whatever asks (in steps, for a second opinion) finds
its answers here without knowing. The key is which model was asked, how, and what, to the byte.

Also where the answers of a run came from, and what a calibration depends on: when any of it
changes, what was measured does not hold any more.
"""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from pipeline.cascade.policy import Policy
from pipeline.config import Settings, StageSettings
from pipeline.model.errors import (
    AnswerError,
    Malformed,
    PipelineError,
    Refused,
    TruncatedResponse,
    UsageError,
)
from pipeline.model.questions import AnswerT, Asker, Question, Response, Signal
from pipeline.model.records import Tier, Usage, is_simulated
from pipeline.runtime.database import Database

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
_FAILURES: Mapping[str, type[AnswerError]] = {
    "refused": Refused, "cut_off": TruncatedResponse, "malformed": Malformed,
}  # fmt: skip
"""What is kept of calls that gave no answer. A request that the API rejects is tried again."""
_Row = tuple[str, bytes, str, bytes, float, bytes]
"""Model, answer or what was wrong with it, kind of failure, usage, seconds, signals."""
_SIGNALS = TypeAdapter(tuple[Signal, ...])
_NO_SIGNALS = b"[]"
_SHOWN = 16  # characters of a digest in a fingerprint


class NotRecorded(PipelineError):
    """An answer is needed that is not on record, and no model is to be asked."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a tier is asked, as far as it can change an answer."""

    place: str  # where: `simulated`, or the address of the API
    model: str
    effort: str  # sent with the request
    together: int  # events that share a request
    masked: str = ""  # what is masked in the content, empty where nothing is

    @classmethod
    def of_tiers(cls, settings: Settings, stage: str, place: str) -> Mapping[Tier, "Manner"]:
        """How a stage's events are asked about at a place by some settings."""
        claude, models = settings.claude, settings.models
        own = settings.stages.by_name().get(stage, StageSettings())
        masked = str(settings.privacy.masking().rules(stage))
        return {
            Tier.HAIKU: cls(
                place, models.haiku.name, claude.haiku_effort, own.events_per_request, masked
            ),
            # What Haiku left open is asked of Sonnet by itself.
            Tier.SONNET: cls(place, models.sonnet.name, claude.sonnet_effort, 1, masked),
        }


@dataclass(slots=True)
class Counts:
    asked: int = 0
    recorded: int = 0


@dataclass(slots=True)
class Recording:
    database: Database  # open, with `SCHEMA`
    inner: Asker | None  # asked for what is not recorded; None where no model is to be asked
    manners: Mapping[Tier, Manner]  # how each tier is asked
    counts: Counts
    # What is paid for stays here until it is written, even if a caller is cancelled meanwhile.
    _unsaved: dict[str, _Row] = field(default_factory=dict)

    def session(self) -> "Session":
        """An asker for one event: it may ask the same question again, and is answered again."""
        return Session(self)

    def key(self, question: Question[Any], tier: Tier, limit: int, attempt: int) -> str:
        manner = self.manners[tier]
        how = [tier, manner.place, manner.model, manner.effort, manner.together]
        if manner.masked:
            how.append(manner.masked)
            # What a field's values hide is not in the question's digest.
            how += [value.text for value in question.personal]
        schema = dict(question.answer_schema)
        return digest_of([*how, question.digest, schema, limit, attempt])

    async def answer(
        self, key: str, question: Question[AnswerT], tier: Tier, limit: int
    ) -> Response[AnswerT]:
        """Give the recorded answer, or ask and record.

        Raises:
            AnswerError: The answer is no use, now or when it was recorded.
            NotRecorded: It would have to be asked for, and no model is to be asked.
        """

        def look(connection: sqlite3.Connection) -> _Row | None:
            row: _Row | None = connection.execute(
                "SELECT model, answer, failure, usage, seconds, coalesce(signals, ?)"
                " FROM answers LEFT JOIN signals USING (question) WHERE question = ?",
                (_NO_SIGNALS, key),
            ).fetchone()
            return row

        found = await self.database.run(look)
        if found is not None and (recorded := _replay(found, question)) is not None:
            self.counts.recorded += 1
            return recorded
        if self.inner is None:
            raise NotRecorded(
                f"An answer of {tier} for {question.stage} is not recorded: run it without "
                "--recorded."
            )
        try:
            asked = await self.inner.ask(question, tier, max_output_tokens=limit)
        except AnswerError as error:
            self.counts.asked += 1
            kind = next((name for name, each in _FAILURES.items() if type(error) is each), None)
            if kind is not None:
                spent = (error.usage.model_dump_json().encode(), error.seconds)
                self._unsaved[key] = (error.model, error.detail.encode(), kind, *spent, _NO_SIGNALS)
                await self.save()
            raise
        self.counts.asked += 1
        answer = asked.answer.model_dump_json().encode()
        spent = (asked.usage.model_dump_json().encode(), asked.seconds)
        self._unsaved[key] = (asked.model, answer, "", *spent, _SIGNALS.dump_json(asked.signals))
        await self.save()
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

        await self.database.run(write)
        for key in rows:
            self._unsaved.pop(key, None)


@dataclass(frozen=True, slots=True)
class Session:
    """Asks for one event, as a `pipeline.model.questions.Asker`."""

    recording: Recording
    attempts: Counter[str] = field(default_factory=Counter)

    async def ask(
        self, question: Question[AnswerT], tier: Tier, *, max_output_tokens: int | None = None
    ) -> Response[AnswerT]:
        limit = max_output_tokens or question.max_output_tokens
        first = self.recording.key(question, tier, limit, 0)
        attempt = self.attempts[first]
        self.attempts[first] += 1
        key = first if attempt == 0 else self.recording.key(question, tier, limit, attempt)
        return await self.recording.answer(key, question, tier, limit)


def _replay(row: _Row, question: Question[AnswerT]) -> Response[AnswerT] | None:
    """The recorded answer or `AnswerError`; None where it no longer answers this question."""
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


def digest_of(document: object) -> str:
    """Hex digest of JSON, in which the order of keys counts: it is that of a model's answer."""
    return hashlib.blake2b(orjson.dumps(document), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the answers came from; it stands on every page."""

    word: str  # `live`, `recorded` or `stand-in`
    sentence: str  # the same for a reader who does not know the words
    asked: int  # answers that were asked for in this run
    recorded: int  # answers that an earlier run had asked for
    models: tuple[str, ...]  # that answered, as they name themselves

    @classmethod
    def of(cls, models: Iterable[str], counts: Counts) -> "Origin":
        """Say where answers came from; one stand-in among the models makes all of it one."""
        named = tuple(sorted(set(models)))
        came = f"{counts.asked:,} answers were asked for now, {counts.recorded:,} were on record."
        if any(is_simulated(model) for model in named):
            word = "stand-in"
            sentence = (
                "A simulated API answered by local rules, not a model: these figures say nothing "
                f"about how accurate Haiku or Sonnet are. {came}"
            )
        else:
            word = "live" if counts.asked else "recorded"
            earlier = "" if counts.asked else " in an earlier run"
            sentence = f"Answered by {' and '.join(named)}{earlier}. {came}"
        return cls(word, sentence, counts.asked, counts.recorded, named)


_MEANINGS = {
    "haiku": "the first model",
    "sonnet": "the second model",
    "prompt": "the prompt",
    "labels": "the stage's labels",
    "events_per_request": "the number of events in a request",
    "truth": "what counts as right",
    "thresholds": "the thresholds",
}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a calibration depends on."""

    haiku: str  # the first model and how it is asked
    sonnet: str  # the same of the second
    prompt: str  # digest of instructions and answer schema
    labels: str  # digest of the stage's own settings: labels, fields, what they mean
    events_per_request: int  # as set
    truth: str  # digest of the compared fields
    thresholds: str  # digest of those of both tiers, but for the next
    low_confidence: float  # Haiku's, in force

    @classmethod
    def of(
        cls, settings: Settings, stage: str, questions: Iterable[Question[Any]], truth: object
    ) -> "Fingerprint":
        """Of what the stage asks first about each event, and of what counts as right."""
        own: StageSettings = settings.stages.by_name().get(stage, StageSettings())
        masked = str(settings.privacy.masking().rules(stage))
        prompts = {
            digest_of([each.instructions, dict(each.answer_schema), *filter(None, [masked])])
            for each in questions
        }
        common = {*StageSettings.model_fields, "max_event_bytes"}
        policy = Policy.from_settings(settings)
        first, second = policy[stage, Tier.HAIKU], policy[stage, Tier.SONNET]
        thresholds = [
            first.thresholds.model_dump(exclude={"low_confidence"}),
            second.thresholds.model_dump(),
            *(
                {label: changes.model_dump(exclude_unset=True) for label, changes in by.items()}
                for by in (first.of_label, second.of_label)
            ),
        ]
        if first.score is not None:
            thresholds += [{"score": first.score.digest, "max_risk": first.max_risk}]
        return cls(
            haiku=f"{settings.models.haiku.name}, effort {settings.claude.haiku_effort}",
            sonnet=f"{settings.models.sonnet.name}, effort {settings.claude.sonnet_effort}",
            prompt=digest_of(sorted(prompts))[:_SHOWN],
            labels=digest_of(own.model_dump(mode="json", exclude=common))[:_SHOWN],
            events_per_request=own.events_per_request,
            truth=digest_of(truth)[:_SHOWN],
            thresholds=digest_of(thresholds)[:_SHOWN],
            low_confidence=first.thresholds.low_confidence,
        )


@dataclass(frozen=True, slots=True)
class Baseline:
    """An earlier evaluation, beside the present one."""

    file: str
    at: str  # when it was made
    changed: tuple[str, ...]  # in words; empty where its thresholds still hold
    accuracy: float  # of its cascade

    @classmethod
    def of(cls, file: str, earlier: Mapping[str, Any], now: Fingerprint) -> "Baseline":
        """Compare with an earlier evaluation."""
        rows = earlier.get("ways") or []
        accuracy = next((row["accuracy"] for row in rows if row.get("way") == "Cascade"), 0.0)
        then, today = earlier["fingerprint"], asdict(now)
        changed = [said for name, said in _MEANINGS.items() if then.get(name) != today[name]]
        # What it was proposed for is not what it was measured with.
        chosen = (earlier.get("proposal") or {}).get("chosen") or {}
        judged = {then.get("low_confidence"), chosen.get("threshold")}
        if now.low_confidence not in judged and _MEANINGS["thresholds"] not in changed:
            changed.append(_MEANINGS["thresholds"])
        return cls(file, str(earlier.get("at", "")), tuple(changed), accuracy)

    @property
    def warning(self) -> str | None:
        if not self.changed:
            return None
        return (
            f"The calibration in {self.file} is stale: {', '.join(self.changed)} changed since. "
            "Thresholds that it proposed hold no longer; take those of this evaluation."
        )


def read_earlier(path: Path) -> Mapping[str, Any]:
    """Read the JSON file of an evaluation; `UsageError` where it is not one."""
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}): name an evaluation's file.") from error
    if not isinstance(document, dict) or not isinstance(document.get("fingerprint"), dict):
        raise UsageError(f"{path} is not the JSON file of an evaluation: name one.")
    return document
