"""Budgets in US dollars for each hour and each day, for a stage and for all together.

An hour and a day are those of the clock, in UTC: a budget that is used up opens again when the
next one begins. Pure: the time comes in.

What was spent, kept in a file, so that a restart does not open a budget again.
"""

import logging
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from pipeline.claude.model_client import SpendStatus
from pipeline.runtime.database import Database

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


log = logging.getLogger(__name__)
KEPT = timedelta(days=40)
_PICO = Decimal(10) ** 12
"""Amounts are stored as whole millionths of a millionth of a dollar: sums stay exact."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (
    hour TEXT NOT NULL,
    stage TEXT NOT NULL,
    picodollars INTEGER NOT NULL,
    PRIMARY KEY (hour, stage)
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Total:
    """What a stage has spent, by all processes that share the file."""

    in_hour: Decimal
    in_day: Decimal


class Spending:
    """Counts what calls cost, and writes it down now and then.

    Args:
        budget: Judges.
        database: The file; None keeps nothing.
        now: The time, aware.
    """

    def __init__(
        self, budget: Budget, database: Database | None, *, now: Callable[[], datetime]
    ) -> None:
        self._budget = budget
        self.is_limited = budget.is_set
        """Whether there is any budget."""
        self._database = database
        self._now = now
        self._unsaved: dict[tuple[datetime, str], Decimal] = {}

    def spent(self, stage: str, span: Span) -> Decimal:
        """What a stage has spent in the running hour or day."""
        return self._budget.spent(stage, span, self._now())

    def add(self, stage: str, usd: Decimal | None) -> None:
        """Count what a call cost; what has no price cannot be counted."""
        if not usd:
            return
        now = self._now()
        self._budget.spend(stage, usd, now)
        if self._database is not None:
            key = (hour_of(now), stage)
            self._unsaved[key] = self._unsaved.get(key, ZERO) + usd

    def wait(self, stage: str) -> float:
        """Seconds until a stage may spend again; 0 now."""
        if not self.is_limited:
            return 0.0
        now = self._now()
        used_up = self._budget.used_up(stage, now)
        return 0.0 if used_up is None else (used_up.until - now).total_seconds()

    def paused_reason(self, stage: str) -> str | None:
        """Why a stage may not spend more, or None."""
        if not self.is_limited:
            return None
        used_up = self._budget.used_up(stage, self._now())
        return None if used_up is None else used_up.because

    def status(self) -> tuple[SpendStatus, ...]:
        """What each stage has spent."""
        now = self._now()
        return tuple(
            SpendStatus(
                stage=stage,
                usd_this_hour=format(self._budget.spent(stage, "hour", now), "f"),
                usd_today=format(self._budget.spent(stage, "day", now), "f"),
                paused_reason=self.paused_reason(stage),
            )
            for stage in sorted(self._budget.known_stages())
        )

    async def save(self) -> list[str]:
        """Write down what was spent, and learn what other processes spent.

        Returns:
            The stages whose spending may have changed: with an hour that ends it begins at 0.
        """
        if self._database is not None:
            unsaved, self._unsaved = self._unsaved, {}
            try:
                totals = await self._database.run(_save(unsaved, self._now()))
            except sqlite3.Error as error:
                log.warning("the spending of %d stages is not saved yet: %s", len(unsaved), error)
                for key, usd in unsaved.items():
                    self._unsaved[key] = self._unsaved.get(key, ZERO) + usd
            else:
                self._take_over(totals)
        return sorted(self._budget.known_stages())

    def _take_over(self, totals: Mapping[str, Total]) -> None:
        now = self._now()
        hour, day = hour_of(now), day_of(now)
        for stage, total in totals.items():
            # What was spent while the file was being written is not in the totals.
            since = {at: usd for (at, name), usd in self._unsaved.items() if name == stage}
            self._budget.correct(
                stage,
                in_hour=total.in_hour + since.get(hour, ZERO),
                in_day=total.in_day + sum((u for at, u in since.items() if at >= day), ZERO),
                now=now,
            )


def _save(
    unsaved: Mapping[tuple[datetime, str], Decimal], now: datetime
) -> Callable[[sqlite3.Connection], dict[str, Total]]:
    def work(connection: sqlite3.Connection) -> dict[str, Total]:
        connection.executemany(
            "INSERT INTO spent VALUES (?, ?, ?) ON CONFLICT (hour, stage)"
            " DO UPDATE SET picodollars = picodollars + excluded.picodollars",
            [(_text(hour), stage, int(usd * _PICO)) for (hour, stage), usd in unsaved.items()],
        )
        connection.execute("DELETE FROM spent WHERE hour < ?", (_text(now - KEPT),))
        rows = connection.execute(
            "SELECT stage, sum(picodollars) FILTER (WHERE hour = ?), sum(picodollars)"
            " FROM spent WHERE hour >= ? GROUP BY stage",
            (_text(hour_of(now)), _text(day_of(now))),
        )
        return {
            stage: Total(Decimal(in_hour or 0) / _PICO, Decimal(in_day) / _PICO)
            for stage, in_hour, in_day in rows
        }

    return work


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H")
