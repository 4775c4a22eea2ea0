"""Every setting: its default, its unit, its meaning. docs/SETTINGS.md is written from here.

The environment (`PIPELINE_KAFKA__BOOTSTRAP_SERVERS=...`) wins over `promoted/*.toml`, these over
`pipeline.toml`, and that over the defaults. `ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL` keep the
meaning that the SDK gives them and are read by the SDK alone.

- `settings`: the whole tree, `load_settings()`, what is refused, and stages of one's own.
- `tables`: what values may be; `[kafka]`, `[claude]` and so on. `stages`: `[stages.<stage>]`.
- `topic_names`: which topics these come to, which stage reads and writes which.
- `live`: which of them may change while a process runs, and noticing it.
- `thresholds`: one table with overrides by tier, stage and label. `document`: the page.

Each component takes the table that it needs. Imports `model`, and of `privacy` what can be masked.
"""

from pipeline.config.desk import AccessSettings, DeskSettings
from pipeline.config.settings import Settings, load_settings
from pipeline.config.stages import (
    KINDS,
    MOST_AT_ONCE,
    Agent,
    ClassifySettings,
    CodeSettings,
    DocumentSettings,
    Extracting,
    ExtractSettings,
    ExtraField,
    FileSettings,
    ImageSettings,
    InvoiceField,
    InvoiceSettings,
    Label,
    Labels,
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
    Bytes,
    ClaudeSettings,
    Count,
    DecodingSettings,
    Delivery,
    EndpointSettings,
    EscalationSettings,
    HttpSettings,
    KafkaSettings,
    LogSettings,
    ModelSettings,
    OauthSettings,
    OperatorSettings,
    Ordering,
    PrivacySettings,
    Provider,
    Seconds,
    Section,
    Share,
    StagePrivacySettings,
    StreamSettings,
    TenantLimitSettings,
    TenantsSettings,
    TierSettings,
    TokenPrices,
    TopicSettings,
    TracingSettings,
    TrustSettings,
)
from pipeline.config.thresholds import SonnetThresholds, StageThresholds, Thresholds

__all__ = [
    "KINDS", "MOST_AT_ONCE", "AccessSettings", "Agent", "BackfillSettings", "Bytes",
    "ClassifySettings", "ClaudeSettings", "CodeSettings", "Count", "DecodingSettings",
    "Delivery", "DeskSettings", "DocumentSettings", "EndpointSettings", "EscalationSettings",
    "ExtraField", "ExtractSettings", "Extracting", "FileSettings", "HttpSettings",
    "ImageSettings", "InvoiceField", "InvoiceSettings", "KafkaSettings", "Label", "Labels",
    "LogSettings", "ModelSettings", "OauthSettings", "OperatorSettings", "Ordering", "OwnStage",
    "PrivacySettings", "Provider", "RequestSettings", "S3Settings", "Seconds", "Section",
    "Settings", "Share", "SonnetThresholds", "StagePrivacySettings", "StageSettings",
    "StageThresholds", "StagesSettings", "StreamSettings", "TenantLimitSettings",
    "TenantsSettings", "TextSettings", "Thresholds", "TicketSettings", "TierSettings",
    "TokenPrices", "TopicSettings", "TracingSettings", "TrustSettings", "load_settings",
]  # fmt: skip
