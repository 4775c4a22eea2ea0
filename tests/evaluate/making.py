"""Labelled cases, as tests need them."""

from decimal import Decimal

from pipeline.evaluate.strategies import Case, TierOutcome
from pipeline.model.questions import Signal
from pipeline.model.records import Usage


def outcome(
    right: bool,
    *,
    confidence: float | None = 0.9,
    usd: str | None = "0.001",
    seconds: float = 1.0,
    gave_up: bool = False,
    model: str = "claude-haiku-5-5",
    signals: tuple[Signal, ...] = (),
    label: str = "billing",
) -> TierOutcome:
    """An answer; with a confidence of None there was none."""
    stated = (
        (Signal("malformed", 1.0, "no JSON"),)
        if confidence is None
        else (Signal("low_confidence", round(1 - confidence, 6), "stated"),)
    )
    unclear = (Signal("unclear", 1.0, "says so"),) if gave_up and confidence is not None else ()
    return TierOutcome(
        right=right,
        fields={"intent": right},
        said=None if confidence is None else label,
        gave_up=gave_up or confidence is None,
        confidence=confidence,
        signals=(*stated, *unclear, *signals),
        usage=Usage(calls=1, cost_usd=None if usd is None else Decimal(usd)),
        seconds=seconds,
        model=model,
        result=None if confidence is None else {"intent": label},
    )


def case(
    name: str,
    haiku: TierOutcome,
    sonnet: TierOutcome,
    *,
    label: str | None = "billing",
    oos: bool = False,
) -> Case:
    """A case; out of scope it has no label."""
    truth = {} if oos or label is None else {"intent": label}
    return Case(name, name, None if oos else label, oos, dict(truth), haiku, sonnet)
