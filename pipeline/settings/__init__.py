"""Every setting: its default, its unit, its meaning.

The environment (`PIPELINE_KAFKA__BOOTSTRAP_SERVERS=...`) wins over `pipeline.toml`, which wins
over the defaults below. `ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL` keep the meaning that the
SDK gives them and are read by the SDK alone.
"""

from pipeline.settings.backfill import BackfillSettings
from pipeline.settings.claude import ClaudeSettings, ModelSettings, TokenPrices
from pipeline.settings.fields import Extracting, ExtraField
from pipeline.settings.kafka import KafkaSettings, TopicSettings
from pipeline.settings.labels import MOST_AT_ONCE, Label, Labels, Scoped
from pipeline.settings.operation import DecodingSettings, HttpSettings, LogSettings, TracingSettings
from pipeline.settings.own import OwnStage
from pipeline.settings.stage import StageSettings
from pipeline.settings.stages import (
    Agent,
    CodeSettings,
    DocumentSettings,
    FileSettings,
    ImageSettings,
    InvoiceField,
    InvoiceSettings,
    RequestSettings,
    S3Settings,
    StagesSettings,
    TextSettings,
    TicketSettings,
)
from pipeline.settings.stream import StreamSettings
from pipeline.settings.thresholds import (
    EscalationSettings,
    SecondOpinionSettings,
    SonnetThresholds,
    Thresholds,
)
from pipeline.settings.tree import Settings, load_settings
from pipeline.settings.units import (
    Bytes,
    Count,
    Delivery,
    Dollars,
    Ordering,
    Seconds,
    Section,
    Share,
)

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
