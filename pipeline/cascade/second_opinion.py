"""A second opinion of the first tier, where its answer is neither sure nor hopeless.

Models give no probabilities and take no temperature, so the same question would get the same
answer. Asked in other words, with the labels in another order, an answer that was luck tends to
change. What that is worth is measured by `pipeline evaluate`; whether it can pay at all follows
from the prices.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal

from pipeline.model.questions import Signal
from pipeline.model.records import Doubt

CODE = "second_opinion"
LIFTED = frozenset({"low_confidence", "runner_up_close"})
"""What an answer says of itself in numbers: an agreement is worth more than these."""
_USUAL_SHARE = Decimal("0.2")
"""Escalated, of all events; for asking whether a cascade is cheaper than Sonnet alone."""
_CENT = Decimal("0.01")
ABOVE, BELOW = 0.5, 0.85
"""The grey band: stated confidences from here to less than there. Above it hardly an answer is
doubted for its confidence; below it an answer goes on at once."""


def is_wanted(*, confidence: float, doubts: Iterable[Doubt]) -> bool:
    """Whether a second opinion could change what becomes of an answer.

    Args:
        confidence: As the answer states it.
        doubts: Of the answer. Where one of them would stay, it goes on whatever is said twice.
    """
    is_grey = ABOVE <= confidence < BELOW
    return is_grey and all(doubt.code in LIFTED for doubt in doubts)


def weighed(signals: Iterable[Signal], differences: Collection[str]) -> tuple[Signal, ...]:
    """The signals against a first answer, once there is a second one.

    Args:
        signals: Against the first.
        differences: The deciding fields in which the second one is different; with none the two
            agree, and what the first said of itself in numbers counts no more.
    """
    if differences:
        detail = f"A second answer disagrees: {', '.join(differences)}."
        return (*signals, Signal(CODE, 1.0, detail))
    return tuple(signal for signal in signals if signal.code not in LIFTED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether second opinions pay, and why, in a sentence."""

    pays: bool
    because: str


def cascade_cost(ratio: Decimal, *, calls: int, escalated: Decimal) -> Decimal:
    """What a cascade costs, as a multiple of asking the second model about every event.

    Args:
        ratio: Price of a call to the first model, as a multiple of one to the second.
        calls: To the first model, an event.
        escalated: Share of the events that the second model is asked about, too.
    """
    return calls * ratio + escalated


def whether_it_pays(ratio: Decimal | None, spares: float) -> Verdict:
    """Compare what a second opinion costs with what it saves, at the prices of the day.

    Args:
        ratio: As in `cascade_cost`; None where a price is not known.
        spares: The share of the second opinions that spare a call to the second model.
    """
    if ratio is None:
        return Verdict(pays=False, because="the price of a model is not known")
    twice = cascade_cost(ratio, calls=2, escalated=_USUAL_SHARE)
    if twice >= 1:
        return Verdict(
            pays=False,
            because=f"asking the first model twice and the second about every fifth event costs "
            f"{_rounded(twice)} of asking the second alone",
        )
    comparison = (
        f"it costs {_rounded(ratio)} of a call to the second model and is expected to spare "
        f"{_rounded(Decimal(str(spares)))} of one"
    )
    return Verdict(pays=ratio < Decimal(str(spares)), because=comparison)


def _rounded(number: Decimal) -> Decimal:
    return number.quantize(_CENT)
