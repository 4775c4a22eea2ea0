"""What a calibration depends on: when any of it changes, what was measured holds no longer."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from pipeline.questions import Question
from pipeline.settings import Settings, StageSettings

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
    common = set(StageSettings.model_fields)
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
