"""Which models are asked, and how.

How a backlog goes through message batches.
"""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.units import Count, Dollars, Seconds, Section


class ModelSettings(Section):
    """Which models the two tiers are."""

    haiku: str = "claude-haiku-5-5"
    sonnet: str = "claude-sonnet-5-5"


class TokenPrices(Section):
    """US dollars a million tokens."""

    input: Decimal
    output: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal
    cache_read: Decimal


class ClaudeSettings(Section):
    """How the models are asked. Each number is for one process."""

    concurrency: Count = Field(
        256,
        description="calls in flight, each model; beside those that hang or belong to an event in"
        " trouble while others are answered: at most three quarters as many, or 32",
    )
    connect_timeout: Seconds = 5
    call_timeout: Seconds = Field(60, description="seconds a call may take at most")
    haiku_effort: Literal["low", "medium", "high"] = "low"
    sonnet_effort: Literal["low", "medium", "high"] = "low"
    backoff_first: Seconds = Field(0.5, description="seconds before the first repetition")
    backoff_max: Seconds = Field(30, description="seconds between repetitions at most")
    attempts_per_event: Count = Field(
        8, description="failures while others are answered that make it the event's own trouble"
    )
    attempts_seconds: Seconds = Field(60, description="over which they must extend at least")
    breaker_failures: Count = Field(
        5, description="failures in a row that open a model's breaker, at least"
    )
    breaker_open: Seconds = Field(5, description="seconds before an open breaker probes")
    prompt_cache: bool = Field(True, description="mark the static prefix for the prompt cache")
    prompt_cache_ttl: Literal["5m", "1h"] = "5m"
    answer_cache: Literal["memory", "disk", "off"] = "memory"
    answer_cache_entries: Count = 10_000
    answer_cache_ttl: Seconds = Field(86_400, description="seconds an answer may be reused")
    answer_cache_path: Path = Path(".haiku-pipeline/answers.sqlite3")
    prices: dict[str, TokenPrices] = Field(
        default_factory=dict, description="by model id; replaces the built-in price"
    )
    budget_usd_per_hour: Dollars | None = None
    budget_usd_per_day: Dollars | None = None
    budget_path: Path = Field(
        Path(".haiku-pipeline/spend.sqlite3"), description="spend so far, kept over restarts"
    )


class BackfillSettings(Section):
    """How `pipeline backfill` cuts a backlog into batches, and how it waits for them."""

    batch_events: Annotated[int, Field(ge=1, le=100_000)] = Field(
        10_000, description="events a batch; the API takes 100,000 requests"
    )
    batch_bytes: Annotated[int, Field(ge=1, le=250_000_000)] = Field(
        100_000_000, description="a batch as it is sent, held in memory twice; the API takes 256 MB"
    )
    batches_at_once: Count = Field(
        10, description="batches that are handed in and not published; the API's queue has a limit"
    )
    poll_interval: Seconds = Field(30, description="seconds between looks at a batch")
    settle: Seconds = Field(
        120,
        description="seconds after which a batch that may have been handed in, and that the API "
        "does not list, counts as not handed in",
    )
    prompt_cache_ttl: Literal["5m", "1h"] = Field(
        "1h", description="of the static prefix: requests of a batch are answered over minutes"
    )
