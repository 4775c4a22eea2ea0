"""How a backlog goes through message batches."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.settings.units import Count, Seconds, Section


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
