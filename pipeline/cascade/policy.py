"""When an answer is not good enough: pure arithmetic over signals and thresholds.

WHO answers: doubts, thresholds, tiers, calibration.

What an answer says of itself. Worth something, and never enough alone.

The random sample that the second tier answers whatever the first one said.

It is what tells, from day to day, how often an answer that was trusted is wrong: everything else
that the second tier sees was doubted already. Chosen by a hash, so that an event that is handled
again after a restart is chosen again, and that it can be told from the records who was.

Calls that gave no usable answer: whether to repeat them, and the signal that they are.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

from pipeline.cascade.second_opinion import is_wanted
from pipeline.config import Settings, SonnetThresholds, StageThresholds, Thresholds
from pipeline.model.errors import (
    AnswerError,
    FileUnavailable,
    Malformed,
    NoRoom,
    Refused,
    TruncatedResponse,
    Unanswered,
)
from pipeline.model.questions import Signal
from pipeline.model.records import Doubt, Tier

CODE = "audit"
_BITS = 64


def is_audited(stage: str, key: bytes, share: float) -> bool:
    """Whether what has this key is in the sample.

    Args:
        stage: Each has a sample of its own: a customer audited here is not one audited there.
        key: The record's key; the event's id where it has none.
        share: Of all keys, 0 to 1.
    """
    digest = hashlib.blake2b(key, digest_size=_BITS // 8, person=b"audit", salt=_salt(stage))
    return int.from_bytes(digest.digest(), "big") < int(share * 2**_BITS)


def audit_doubts(stage: str, key: bytes, share: float) -> tuple[Doubt, ...]:
    """The doubt that sends what is in the sample on; empty where it is not."""
    if not is_audited(stage, key, share):
        return ()
    return (Doubt(code=CODE, detail="Chosen at random, whatever the answer was."),)


def _salt(stage: str) -> bytes:
    return hashlib.blake2b(stage.encode(), digest_size=hashlib.blake2b.SALT_SIZE).digest()


TROUBLES = frozenset({"call_failed", "file_unavailable"})
"""The codes of events that failed again and again while others did not."""
FAILURES = frozenset({"refused", "cut_off", "malformed"}) | TROUBLES
"""The codes of an answer that never came."""
MAX_ATTEMPTS = 2
LARGEST_LIMIT = 20_000
"""Output tokens. Above about 21,000 a request needs streaming."""


def limit_for_repetition(failure: AnswerError, *, attempt: int, limit: int) -> int | None:
    """Decide whether the same question is worth another call to the same model.

    Args:
        failure: What the last call came to.
        attempt: Calls made so far, from 1.
        limit: Output tokens that the last call was allowed.

    Returns:
        The output limit of the next call; None where there is to be none. An answer that was cut
        off gets twice the room, once, unless the context itself was full. A malformed one is asked
        for once more. A refusal is final: the same request would be refused again. What was tried
        again and again already is, too.
    """
    if attempt >= MAX_ATTEMPTS:
        return None
    match failure:
        case NoRoom():
            return None
        case TruncatedResponse() if limit < LARGEST_LIMIT:
            return min(2 * limit, LARGEST_LIMIT)
        case Malformed():
            return limit
        case _:
            return None


def signal_of(failure: AnswerError) -> Signal:
    """The signal that there is no answer, and why."""
    match failure:
        case Refused():
            return Signal("refused", 1.0, failure.detail)
        case TruncatedResponse():
            return Signal("cut_off", 1.0, failure.detail)
        case Unanswered():
            return Signal("call_failed", 1.0, failure.detail)
        case FileUnavailable():
            return Signal("file_unavailable", 1.0, failure.detail)
        case _:
            return Signal("malformed", 1.0, failure.detail)


DEFAULT_THRESHOLD = 0.5
"""For a code that has no threshold of its own."""


def doubts_of(signals: Iterable[Signal], thresholds: Thresholds) -> tuple[Doubt, ...]:
    """Tell which signals count: strongest first, in an order that depends on nothing else.

    A signal counts where its strength is above 0 and reaches its threshold. A failure to answer
    always counts: there is nothing that could be accepted.
    """
    counting = {
        signal
        for signal in signals
        if signal.code in FAILURES or 0 < signal.strength >= threshold_of(signal.code, thresholds)
    }
    ordered = sorted(counting, key=lambda signal: (-signal.strength, signal.code, signal.detail))
    return tuple(Doubt(code=signal.code, detail=signal.detail) for signal in ordered)


def threshold_of(code: str, thresholds: Thresholds) -> float:
    """The strength from which a signal of this code counts."""
    own: float | None = thresholds.other.get(code)
    if own is not None:
        return own
    return getattr(thresholds, code) if code in _CODES else DEFAULT_THRESHOLD


@dataclass(frozen=True, slots=True)
class StagePolicy:
    """When one tier's answers of one stage are doubted.

    Args:
        thresholds: Of every answer.
        of_label: By label, without regard to case: what is different where it was chosen.
        audit_share: Of the keys, that are doubted whatever the answer is.
        second_opinion: Whether the same tier is asked again where its answer is unsure.
    """

    thresholds: Thresholds
    of_label: Mapping[str, Thresholds] = field(default_factory=dict)
    audit_share: float = 0.0
    second_opinion: bool = False

    def thresholds_of(self, label: str | None) -> Thresholds:
        """The thresholds of an answer that chose this label."""
        own = self.of_label.get(label.casefold()) if label is not None else None
        return self.thresholds if own is None else self.thresholds.changed_by(own)


class Policy:
    """When the answers of each stage and tier are doubted.

    Args:
        stages: By stage and tier. What is not there has the default thresholds of its tier.
    """

    def __init__(self, stages: Mapping[tuple[str, Tier], StagePolicy]) -> None:
        self._stages = MappingProxyType(dict(stages))

    @classmethod
    def from_settings(
        cls, settings: Settings, *, second_opinions: Collection[str] = ()
    ) -> "Policy":
        """Take what is set for each stage.

        Args:
            settings: All of them.
            second_opinions: The stages that shall have them: set, and worth their price.
        """
        return cls(
            {
                (name, tier): policy
                for name in settings.stages.by_name()
                for tier, policy in _policies_of(name, settings, name in second_opinions).items()
            }
        )

    def doubts(
        self, stage: str, tier: Tier, signals: Iterable[Signal], *, label: str | None = None
    ) -> tuple[Doubt, ...]:
        """Why an answer of this tier is not accepted; empty where it is.

        Args:
            stage: Whose answer it is.
            tier: Who gave it.
            signals: What speaks against it.
            label: That it chose, where the stage has labels.
        """
        return doubts_of(signals, self.of(stage, tier).thresholds_of(label))

    def audit(self, stage: str, tier: Tier, key: bytes) -> tuple[Doubt, ...]:
        """The doubt of what is to be looked at by the next tier whatever this one said."""
        return audit_doubts(stage, key, self.of(stage, tier).audit_share)

    def wants_second_opinion(
        self, stage: str, tier: Tier, *, confidence: float, doubts: Iterable[Doubt]
    ) -> bool:
        """Whether the same tier shall be asked again, in other words.

        Args:
            stage: Whose answer it is.
            tier: Who gave it.
            confidence: As the answer states it.
            doubts: Of the answer.
        """
        return self.of(stage, tier).second_opinion and is_wanted(
            confidence=confidence, doubts=doubts
        )

    def of(self, stage: str, tier: Tier) -> StagePolicy:
        """What is set for a stage and tier, or else the defaults."""
        return self._stages.get((stage, tier), _DEFAULTS[tier])


def _policies_of(name: str, settings: Settings, second_opinion: bool) -> Mapping[Tier, StagePolicy]:
    table, stage = settings.thresholds, settings.stages.by_name()[name]
    own = table.stages.get(name, StageThresholds())
    of_label = {label.casefold(): changes for label, changes in own.labels.items()}
    haiku, sonnet = (
        StagePolicy(
            table.of(tier).changed_by(own.of(tier)),
            {label: changes.of(tier) for label, changes in of_label.items()},
        )
        for tier in (Tier.HAIKU, Tier.SONNET)
    )
    return {
        Tier.HAIKU: replace(haiku, audit_share=stage.audit_share, second_opinion=second_opinion),
        Tier.SONNET: sonnet,
    }


_CODES = frozenset(Thresholds.model_fields) - {"other"}
_DEFAULTS: Mapping[Tier, StagePolicy] = MappingProxyType(
    {Tier.HAIKU: StagePolicy(Thresholds()), Tier.SONNET: StagePolicy(SonnetThresholds())}
)
_DECIMALS = 6
"""So that a confidence of 0.8 reaches a threshold of 0.2 in binary fractions, too."""


class Statement(Protocol):
    """The part of an answer in which the model judges it."""

    @property
    def confidence(self) -> float:
        """How likely the answer is right, from 0 to 1."""
        ...

    @property
    def unclear(self) -> bool:
        """Whether a careful person could not settle it."""
        ...


def statement_signals(answer: Statement) -> tuple[Signal, ...]:
    """Weigh the stated confidence and `unclear`.

    A schema cannot hold a model to a range. A confidence outside 0 to 1 was stated on some other
    scale, so it says nothing, which is the strongest signal.
    """
    confidence = answer.confidence
    if 0 <= confidence <= 1:
        strength = round(1 - confidence, _DECIMALS)
        doubt = Signal("low_confidence", strength, f"Stated confidence: {confidence:.2f}.")
    else:
        doubt = Signal("low_confidence", 1.0, f"Stated confidence: {confidence:g}, of 0 to 1.")
    unclear = Signal("unclear", 1.0, "The model says that the content does not settle it.")
    return (doubt, unclear) if answer.unclear else (doubt,)
