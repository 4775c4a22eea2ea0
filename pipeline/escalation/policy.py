"""When an answer is not good enough: pure arithmetic over signals and thresholds."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from pipeline.escalation.failures import FAILURES
from pipeline.events import Doubt, Tier
from pipeline.settings import SonnetThresholds, StagesSettings, Thresholds
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


class Policy:
    """The thresholds of each stage and tier, applied.

    Args:
        thresholds: By stage and tier. What is not there has the defaults.
    """

    def __init__(self, thresholds: Mapping[tuple[str, Tier], Thresholds]) -> None:
        self._thresholds = MappingProxyType(dict(thresholds))

    @classmethod
    def from_settings(cls, settings: StagesSettings) -> "Policy":
        """Take what is set for each stage."""
        return cls(
            {
                (name, tier): chosen
                for name in type(settings).model_fields
                for tier, chosen in (
                    (Tier.HAIKU, getattr(settings, name).thresholds),
                    (Tier.SONNET, getattr(settings, name).sonnet_thresholds),
                )
            }
        )

    def doubts(self, stage: str, tier: Tier, signals: Iterable[Signal]) -> tuple[Doubt, ...]:
        """Why an answer of this tier is not accepted; empty where it is."""
        return doubts_of(signals, self._thresholds.get((stage, tier), _DEFAULTS[tier]))


_CODES = frozenset(Thresholds.model_fields) - {"other"}
_DEFAULTS = MappingProxyType({Tier.HAIKU: Thresholds(), Tier.SONNET: SonnetThresholds()})
