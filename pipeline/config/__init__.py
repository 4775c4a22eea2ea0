"""Every setting: its default, its unit, its meaning.

The environment (`PIPELINE_KAFKA__BOOTSTRAP_SERVERS=...`) wins over `pipeline.toml`, which wins
over the defaults below. `ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL` keep the meaning that the
SDK gives them and are read by the SDK alone.
"""

from pipeline.config.claude import BackfillSettings, ClaudeSettings, ModelSettings, TokenPrices
from pipeline.config.infrastructure import (
    DecodingSettings,
    HttpSettings,
    KafkaSettings,
    LogSettings,
    StreamSettings,
    TopicSettings,
    TracingSettings,
)
from pipeline.config.labels import MOST_AT_ONCE, Extracting, ExtraField, Label, Labels, Scoped
from pipeline.config.loading import Settings, load_settings
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
from pipeline.config.thresholds import (
    EscalationSettings,
    SecondOpinionSettings,
    SonnetThresholds,
    Thresholds,
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
    "Scoped",
    "SecondOpinionSettings",
    "Seconds",
    "Section",
    "Settings",
    "Share",
    "SonnetThresholds",
    "StageSettings",
    "StagesSettings",
    "StreamSettings",
    "TextSettings",
    "Thresholds",
    "TicketSettings",
    "TokenPrices",
    "TopicSettings",
    "TracingSettings",
    "load_settings",
]
