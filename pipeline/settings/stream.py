"""How events move."""

from typing import Annotated

from pydantic import Field

from pipeline.settings.units import Bytes, Count, Seconds, Section, Share


class StreamSettings(Section):
    """How events move. Each number is for one process."""

    max_unfinished: Annotated[int, Field(ge=1, le=1000)] = Field(
        1000, description="unfinished events a partition; above 1,000 the ledger may not fit"
    )
    max_in_flight: Count = Field(512, description="events being worked on, all partitions, a stage")
    max_in_flight_bytes: Bytes = Field(256 << 20, description="payload of those events")
    commit_interval: Seconds = Field(
        0.02, description="seconds at least between two commits of a partition"
    )
    commit_count: Count = Field(500, description="results a partition after which it commits early")
    drain_budget: Seconds = Field(
        5, description="seconds that running calls get on revocation or stop before they are left"
    )
    transaction_timeout: Seconds = Field(60, description="seconds until brokers abort one")
    stuck_after: Seconds = Field(
        180, description="seconds assigned without progress or poll, after which the process ends"
    )
    dead_letter_window: Count = Field(
        200, description="keys, those seen last, that the ratio is taken of"
    )
    dead_letter_ratio: Share = Field(
        0.5,
        description="share of these keys, with dead letters by a fault of ours or after good ends, "
        "above which intake stops; 1 for never",
    )
