"""What was spent, kept in a file, so that a restart does not open a budget anew."""

import logging
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from pipeline.claude.budget import ZERO, Budget, Span, day_of, hour_of
from pipeline.claude.database import Database
from pipeline.claude.status import SpendStatus

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

    def closed_because(self, stage: str) -> str | None:
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
                closed_because=self.closed_because(stage),
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
