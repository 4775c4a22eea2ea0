"""When an answer is not good enough: pure arithmetic over signals and thresholds."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pipeline.escalation.audit import audit_doubts
from pipeline.escalation.failures import FAILURES
from pipeline.escalation.opinion import is_wanted
from pipeline.events import Doubt, Tier
from pipeline.settings import (
    SecondOpinionSettings,
    SonnetThresholds,
    StageSettings,
    StagesSettings,
    Thresholds,
)
from pipeline.signals import Signal

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
        second_opinion: When the same tier is asked again; None where it never is.
    """

    thresholds: Thresholds
    of_label: Mapping[str, Thresholds] = field(default_factory=dict)
    audit_share: float = 0.0
    second_opinion: SecondOpinionSettings | None = None

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
        cls, settings: StagesSettings, *, second_opinions: Collection[str] = ()
    ) -> "Policy":
        """Take what is set for each stage.

        Args:
            settings: The stages'.
            second_opinions: The stages that shall have them: enabled, and worth their price.
        """
        return cls(
            {
                (name, tier): policy
                for name, stage in settings.by_name().items()
                for tier, policy in _policies_of(
                    stage, stage.second_opinion if name in second_opinions else None
                ).items()
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
        settings = self.of(stage, tier).second_opinion
        return settings is not None and is_wanted(settings, confidence=confidence, doubts=doubts)

    def of(self, stage: str, tier: Tier) -> StagePolicy:
        """What is set for a stage and tier, or else the defaults."""
        return self._stages.get((stage, tier), _DEFAULTS[tier])


def _policies_of(
    stage: StageSettings, second_opinion: SecondOpinionSettings | None
) -> Mapping[Tier, StagePolicy]:
    return {
        Tier.HAIKU: StagePolicy(
            stage.thresholds,
            _folded(stage.label_thresholds),
            stage.audit_share,
            second_opinion,
        ),
        Tier.SONNET: StagePolicy(stage.sonnet_thresholds, _folded(stage.sonnet_label_thresholds)),
    }


def _folded(of_label: Mapping[str, Thresholds]) -> Mapping[str, Thresholds]:
    return {label.casefold(): thresholds for label, thresholds in of_label.items()}


_CODES = frozenset(Thresholds.model_fields) - {"other"}
_DEFAULTS: Mapping[Tier, StagePolicy] = MappingProxyType(
    {Tier.HAIKU: StagePolicy(Thresholds()), Tier.SONNET: StagePolicy(SonnetThresholds())}
)
