"""What the settings of every stage have."""

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from pipeline.settings.labels import Label
from pipeline.settings.thresholds import SecondOpinionSettings, SonnetThresholds, Thresholds
from pipeline.settings.units import Bytes, Count, Dollars, Ordering, Section, Share


class StageSettings(Section):
    """What every stage has."""

    ordering: Ordering = Field("key", description="what runs one at a time, in order")
    max_event_bytes: Bytes = Field(8 << 20, description="larger events are dead letters")
    max_text_chars: Count = Field(200_000, description="longer texts are dead letters")
    thresholds: Thresholds = Field(
        default_factory=Thresholds, description="what sends Haiku's answer to Sonnet"
    )
    sonnet_thresholds: SonnetThresholds = Field(
        default_factory=SonnetThresholds, description="what sends Sonnet's answer to review"
    )
    label_thresholds: dict[str, Thresholds] = Field(
        default_factory=dict,
        description="by label: what is different from `thresholds` where Haiku chose it",
    )
    sonnet_label_thresholds: dict[str, Thresholds] = Field(
        default_factory=dict,
        description="by label: what is different from `sonnet_thresholds` where Sonnet chose it",
    )
    second_opinion: SecondOpinionSettings = Field(default_factory=SecondOpinionSettings)
    audit_share: Share = Field(
        0.01, description="share of the keys whose events go to Sonnet whatever Haiku says"
    )
    answer_cache: bool = Field(True, description="reuse the answer to an identical question")
    events_per_request: Annotated[int, Field(ge=1, le=100)] = Field(
        1, description="small events that share one request to Haiku; evaluate before raising it"
    )
    linger_ms: Annotated[int, Field(ge=1, le=10_000)] = Field(
        50, description="milliseconds an event waits for others to share a request with"
    )
    budget_usd_per_hour: Dollars | None = None
    budget_usd_per_day: Dollars | None = None

    def deciding_labels(self) -> Sequence[Label]:
        """The labels of which an answer of this stage is one; empty where it has none."""
        return ()

    @model_validator(mode="after")
    def _thresholds_are_of_labels(self) -> Self:
        names = [label.name for label in self.deciding_labels()]
        known = {name.casefold() for name in names}
        for label in (*self.label_thresholds, *self.sonnet_label_thresholds):
            if label.casefold() not in known:
                there_are = f"there are {', '.join(names)}" if names else "this stage has none"
                raise ValueError(f"thresholds for a label {label!r}: {there_are}")
        return self
