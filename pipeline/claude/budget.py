"""Budgets in US dollars for each hour and each day, for a stage and for all together.

An hour and a day are those of the clock, in UTC: a budget that is used up opens again when the
next one begins. Pure: the time comes in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

Span = Literal["hour", "day"]
SPANS: tuple[Span, ...] = ("hour", "day")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Caps:
    """How much may be spent; None: as much as it takes."""

    usd_per_hour: Decimal | None = None
    usd_per_day: Decimal | None = None

    def of(self, span: Span) -> Decimal | None:
        """The cap of one span."""
        return self.usd_per_hour if span == "hour" else self.usd_per_day

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self.usd_per_hour is not None or self.usd_per_day is not None


@dataclass(frozen=True, slots=True)
class UsedUp:
    """A budget that is used up.

    Args:
        until: When it opens again.
        because: A sentence for a person.
    """

    until: datetime
    because: str


def hour_of(moment: datetime) -> datetime:
    """When the hour began."""
    return moment.replace(minute=0, second=0, microsecond=0)


def day_of(moment: datetime) -> datetime:
    """When the day began."""
    return hour_of(moment).replace(hour=0)


def next_after(moment: datetime, span: Span) -> datetime:
    """When the next hour or day begins."""
    if span == "hour":
        return hour_of(moment) + timedelta(hours=1)
    return day_of(moment) + timedelta(days=1)


@dataclass(slots=True)
class _Windows:
    """What a stage has spent in the running hour and the running day."""

    hour_ends: datetime
    day_ends: datetime
    in_hour: Decimal = ZERO
    in_day: Decimal = ZERO

    def turn(self, now: datetime) -> None:
        if now >= self.hour_ends:
            self.hour_ends, self.in_hour = next_after(now, "hour"), ZERO
        if now >= self.day_ends:
            self.day_ends, self.in_day = next_after(now, "day"), ZERO

    def spent(self, span: Span) -> Decimal:
        return self.in_hour if span == "hour" else self.in_day


@dataclass(slots=True)
class Budget:
    """What was spent, and whether more may be.

    Args:
        overall: For all stages together.
        stages: For single stages, by name.
    """

    overall: Caps
    stages: Mapping[str, Caps]
    _spent: dict[str, _Windows] = field(default_factory=dict)

    @property
    def is_set(self) -> bool:
        """Whether there is any cap at all."""
        return bool(self.overall) or any(self.stages.values())

    def spend(self, stage: str, usd: Decimal, now: datetime) -> None:
        """Count what a call cost."""
        windows = self._windows(stage, now)
        windows.in_hour += usd
        windows.in_day += usd

    def correct(self, stage: str, *, in_hour: Decimal, in_day: Decimal, now: datetime) -> None:
        """Take over what is known to have been spent, for instance by other processes."""
        windows = self._windows(stage, now)
        windows.in_hour, windows.in_day = in_hour, in_day

    def spent(self, stage: str, span: Span, now: datetime) -> Decimal:
        """What a stage has spent in the running hour or day."""
        return self._windows(stage, now).spent(span)

    def known_stages(self) -> list[str]:
        """Stages that have spent anything since the start."""
        return list(self._spent)

    def used_up(self, stage: str, now: datetime) -> UsedUp | None:
        """Why a stage may not spend more, or None."""
        for span in SPANS:
            cap = self.overall.of(span)
            if cap is not None and self._total(span, now) >= cap:
                return _used_up("The budget", cap, span, now)
            own = self.stages.get(stage)
            cap = own.of(span) if own is not None else None
            if cap is not None and self.spent(stage, span, now) >= cap:
                return _used_up(f"The budget of {stage}", cap, span, now)
        return None

    def _total(self, span: Span, now: datetime) -> Decimal:
        return sum((self.spent(stage, span, now) for stage in self._spent), ZERO)

    def _windows(self, stage: str, now: datetime) -> _Windows:
        windows = self._spent.get(stage)
        if windows is None:
            ends = next_after(now, "hour"), next_after(now, "day")
            windows = self._spent[stage] = _Windows(*ends)
        windows.turn(now)
        return windows


def _used_up(whose: str, cap: Decimal, span: Span, now: datetime) -> UsedUp:
    until = next_after(now, span)
    because = (
        f"{whose} of {cap} US dollars for this {span} is used up; "
        f"it goes on at {until:%Y-%m-%d %H:%M} UTC."
    )
    return UsedUp(until, because)
