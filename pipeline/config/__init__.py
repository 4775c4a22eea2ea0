"""Every setting: its default, its unit, its meaning. docs/SETTINGS.md is written from here.

The environment (`PIPELINE_KAFKA__BOOTSTRAP_SERVERS=...`) wins over `pipeline.toml`, which wins
over the defaults. `ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL` keep the meaning that the SDK gives
them and are read by the SDK alone.

- `settings`: the whole tree, `load_settings()`, and what is refused.
- `tables`: the tables `[kafka]`, `[claude]` and so on. `stages`: `[stages.<stage>]`, and how stages
  of one's own are found. `labels`: what a team sets in them. `thresholds`: one table of thresholds
  with overrides by tier, stage and label.
- `units`: what a value may be. `renamed`: names that were settings once. `document`: the page.

Where a setting is found: by its path in `Settings`. Each component takes the table that it needs.
Imports `model`.
"""

from pipeline.config.labels import MOST_AT_ONCE, Extracting, ExtraField, Label, Labels
from pipeline.config.settings import Settings, load_settings
from pipeline.config.stages import (
    Agent,
    CodeSettings,
    DocumentSettings,
    FileSettings,
    ImageSettings,
    InvoiceField,
    InvoiceSettings,
    OwnStage,
    RequestSettings,
    S3Settings,
    StageSettings,
    StagesSettings,
    TextSettings,
    TicketSettings,
)
from pipeline.config.tables import (
    BackfillSettings,
    ClaudeSettings,
    DecodingSettings,
    EscalationSettings,
    HttpSettings,
    KafkaSettings,
    LogSettings,
    ModelSettings,
    StreamSettings,
    TokenPrices,
    TopicSettings,
    TracingSettings,
)
from pipeline.config.thresholds import (
    SonnetThresholds,
    StageThresholds,
    Thresholds,
    ThresholdTable,
    TierThresholds,
)
from pipeline.config.units import Bytes, Count, Delivery, Dollars, Ordering, Seconds, Section, Share

__all__ = [
    "MOST_AT_ONCE",
    "Agent",
    "BackfillSettings",
    "Bytes",
    "ClaudeSettings",
    "CodeSettings",
    "Count",
    "DecodingSettings",
    "Delivery",
    "DocumentSettings",
    "Dollars",
    "EscalationSettings",
    "ExtraField",
    "Extracting",
    "FileSettings",
    "HttpSettings",
    "ImageSettings",
    "InvoiceField",
    "InvoiceSettings",
    "KafkaSettings",
    "Label",
    "Labels",
    "LogSettings",
    "ModelSettings",
    "Ordering",
    "OwnStage",
    "RequestSettings",
    "S3Settings",
    "Seconds",
    "Section",
    "Settings",
    "Share",
    "SonnetThresholds",
    "StageSettings",
    "StageThresholds",
    "StagesSettings",
    "StreamSettings",
    "TextSettings",
    "ThresholdTable",
    "Thresholds",
    "TicketSettings",
    "TierThresholds",
    "TokenPrices",
    "TopicSettings",
    "TracingSettings",
    "load_settings",
]
