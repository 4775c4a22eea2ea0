"""What calls cost, and what may be spent.

Prices: a dated table, exact arithmetic, and no guess for what is not in it. Budgets: in US dollars
for each hour and day of the clock, in UTC, for a stage and for all together. What was spent is kept
in a file, so that a restart does not open a budget again.
"""

import logging
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Literal

from pipeline.claude.request_body import base_id, undated
from pipeline.config import TokenPrices
from pipeline.runtime.database import Database

log = logging.getLogger(__name__)
ZERO = Decimal(0)
PRICES_AS_OF = date(2026, 10, 10)
"""When the public price page was read."""
BATCH_FACTOR = Decimal("0.5")
US_ONLY_FACTOR = Decimal("1.1")
"""Everything costs that much more where `inference_geo` is `us`."""
_MILLIONTH = -6


@dataclass(frozen=True, slots=True)
class Tokens:
    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0

    @property
    def prompt(self) -> int:
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars a million tokens; prompts of more than `long_above` pay `long_rates` for all."""

    rates: TokenPrices
    long_above: int = 0
    long_rates: TokenPrices | None = None


def _rates(input_: str, output: str, write_5m: str, write_1h: str, read: str) -> TokenPrices:
    return TokenPrices(
        input=Decimal(input_),
        output=Decimal(output),
        cache_write_5m=Decimal(write_5m),
        cache_write_1h=Decimal(write_1h),
        cache_read=Decimal(read),
    )


_HAIKU_4_5 = Price(_rates("1", "5", "1.25", "2", "0.10"))
PRICES: Mapping[str, Price] = MappingProxyType(
    {
        "claude-haiku-5-5": Price(
            _rates("0.10", "0.50", "0.125", "0.20", "0.01"),
            long_above=100_000,
            long_rates=_rates("0.50", "2.50", "0.625", "1.00", "0.05"),
        ),
        "claude-sonnet-5-5": Price(_rates("2", "10", "2.50", "4", "0.10")),
        "claude-opus-5-5": Price(_rates("4", "20", "5", "8", "0.20")),
        "claude-sonnet-5": Price(_rates("2", "10", "2.50", "4", "0.20")),
        "claude-haiku-4-5": _HAIKU_4_5,
        "claude-haiku-4-5-20251001": _HAIKU_4_5,
    }
)


class PriceTable:
    """The built-in prices; each override replaces that of its model altogether."""

    def __init__(self, overrides: Mapping[str, TokenPrices] | None = None) -> None:
        own = {base_id(model): Price(rates) for model, rates in (overrides or {}).items()}
        self._prices: dict[str, Price] = {**PRICES, **own}

    def price(self, model: str) -> Price | None:
        prices = self._prices
        return prices.get(model) or prices.get(base_id(model)) or prices.get(undated(model))

    def cost(
        self, model: str, tokens: Tokens, *, batch: bool = False, us_only: bool = False
    ) -> Decimal | None:
        """What a single request costs in US dollars, or None where the price is not known."""
        price = self._prices.get(model) or self.price(model)
        if price is None:
            return None
        rates = price.rates
        if price.long_rates is not None and tokens.prompt > price.long_above:
            rates = price.long_rates
        millionths = (
            rates.input * tokens.input
            + rates.cache_read * tokens.cache_read
            + rates.cache_write_5m * tokens.cache_write_5m
            + rates.cache_write_1h * tokens.cache_write_1h
            + rates.output * tokens.output
        )
        if batch:
            millionths *= BATCH_FACTOR
        if us_only:
            millionths *= US_ONLY_FACTOR
        return millionths.scaleb(_MILLIONTH).normalize()

    def at_most(
        self, model: str, tokens: Tokens, *, batch: bool = False, us_only: bool = False
    ) -> Decimal:
        """What one request costs; where its price is not known, on the most expensive model.

        A budget must not stay open because nobody knows what is spent.
        """
        models = self._prices if self.price(model) is None else (model,)
        costs = (self.cost(each, tokens, batch=batch, us_only=us_only) for each in models)
        return max(cost for cost in costs if cost is not None)


Span = Literal["hour", "day"]
SPANS: tuple[Span, ...] = ("hour", "day")
Caps = Mapping[Span, Decimal | None]
_ALL = ""
_KEPT = timedelta(days=40)
_NOTHING_PASSED, _HOUR = timedelta(0), timedelta(hours=1)
_PICO = Decimal(10) ** 12
"""Amounts are stored as whole millionths of a millionth of a dollar: sums stay exact."""
BUDGET_SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (
    hour TEXT NOT NULL,
    stage TEXT NOT NULL,
    picodollars INTEGER NOT NULL,
    PRIMARY KEY (hour, stage)
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class UsedUp:
    until: datetime
    because: str


class Budget:
    """What was spent, and whether more may be; `now` is aware, in UTC."""

    def __init__(
        self, overall: Caps, stages: Mapping[str, Caps], *, now: Callable[[], datetime]
    ) -> None:
        self._caps = {_ALL: overall, **stages}
        self._now = now
        self.is_limited = any(
            cap is not None for caps in self._caps.values() for cap in caps.values()
        )
        self._database: Database | None = None
        self._began = _begins(now())
        self._spent: dict[Span, dict[str, Decimal]] = {span: {} for span in SPANS}
        self._unsaved: dict[tuple[datetime, str], Decimal] = {}

    def add(self, stage: str, usd: Decimal) -> None:
        if not usd:
            return
        for spent in self._running().values():
            for whose in (stage, _ALL):
                spent[whose] = spent.get(whose, ZERO) + usd
        if self._database is not None:
            key = (self._began["hour"], stage)
            self._unsaved[key] = self._unsaved.get(key, ZERO) + usd

    def spent(self, stage: str, span: Span) -> Decimal:
        return self._running()[span].get(stage, ZERO)

    def used_up(self, stage: str) -> UsedUp | None:
        for span, spent in self._running().items():
            for whose, name in (_ALL, "The budget"), (stage, f"The budget of {stage}"):
                cap = self._caps.get(whose, {}).get(span)
                if cap is not None and spent.get(whose, ZERO) >= cap:
                    until = self._began[span] + timedelta(**{f"{span}s": 1})
                    because = (
                        f"{name} of {cap} US dollars for this {span} is used up; "
                        f"it goes on at {until:%Y-%m-%d %H:%M} UTC."
                    )
                    return UsedUp(until, because)
        return None

    def wait(self, stage: str) -> float:
        """Seconds until a stage may spend again; 0 now."""
        used_up = self.used_up(stage)
        return 0.0 if used_up is None else (used_up.until - self._now()).total_seconds()

    async def keep_in(self, database: Database) -> None:
        """From now on, in a file that other processes may share, opened with `BUDGET_SCHEMA`."""
        self._database = database
        await self.save()

    async def save(self) -> list[str]:
        """Write down what was spent, and learn what other processes spent; returns the stages."""
        if self._database is not None:
            unsaved, self._unsaved = self._unsaved, {}
            now = self._now()
            try:
                totals = await self._database.run(lambda file: _save(file, unsaved, now))
            except sqlite3.Error as error:
                log.warning("the spending of %d stages is not saved yet: %s", len(unsaved), error)
                for key, usd in unsaved.items():
                    self._unsaved[key] = self._unsaved.get(key, ZERO) + usd
            else:
                self._take_over(totals)
        return sorted(self._spent["day"].keys() - {_ALL})

    def _running(self) -> dict[Span, dict[str, Decimal]]:
        now = self._now()
        if not _NOTHING_PASSED <= now - self._began["hour"] < _HOUR:
            begins = _begins(now)
            for span, begin in begins.items():
                if begin != self._began[span]:
                    self._spent[span] = dict.fromkeys(self._spent[span], ZERO)
            self._began = begins
        return self._spent

    def _take_over(self, totals: Mapping[str, Mapping[Span, Decimal]]) -> None:
        for span, spent in self._running().items():
            begin = self._began[span]
            spent.update({stage: known[span] for stage, known in totals.items()})
            # What was spent while the file was being written is not in the totals.
            for (at, stage), usd in self._unsaved.items():
                if at >= begin and stage in totals:
                    spent[stage] += usd
            spent[_ALL] = sum((usd for stage, usd in spent.items() if stage != _ALL), ZERO)


def _begins(now: datetime) -> dict[Span, datetime]:
    hour = now.replace(minute=0, second=0, microsecond=0)
    return {"hour": hour, "day": hour.replace(hour=0)}


def _save(
    file: sqlite3.Connection, unsaved: Mapping[tuple[datetime, str], Decimal], now: datetime
) -> dict[str, dict[Span, Decimal]]:
    """Add to the file; returns the totals of all processes that share it, by stage."""
    file.executemany(
        "INSERT INTO spent VALUES (?, ?, ?) ON CONFLICT (hour, stage)"
        " DO UPDATE SET picodollars = picodollars + excluded.picodollars",
        [(_text(hour), stage, int(usd * _PICO)) for (hour, stage), usd in unsaved.items()],
    )
    file.execute("DELETE FROM spent WHERE hour < ?", (_text(now - _KEPT),))
    begins = _begins(now)
    rows = file.execute(
        "SELECT stage, sum(picodollars) FILTER (WHERE hour = ?), sum(picodollars)"
        " FROM spent WHERE hour >= ? GROUP BY stage",
        (_text(begins["hour"]), _text(begins["day"])),
    )
    return {
        stage: {"hour": Decimal(in_hour or 0) / _PICO, "day": Decimal(in_day) / _PICO}
        for stage, in_hour, in_day in rows
    }


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H")
