"""All settings, and where they are read from."""

from tomllib import TOMLDecodeError
from typing import Self

from pydantic import Field, ValidationError, create_model, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from pipeline.config.claude import BackfillSettings, ClaudeSettings, ModelSettings
from pipeline.config.infrastructure import (
    DecodingSettings,
    HttpSettings,
    KafkaSettings,
    LogSettings,
    StreamSettings,
    TopicSettings,
    TracingSettings,
)
from pipeline.config.stages import StagesSettings, find_stages
from pipeline.config.thresholds import EscalationSettings
from pipeline.config.units import Delivery
from pipeline.model.errors import UsageError


class _Read(BaseSettings):
    """Where settings are read from."""

    model_config = SettingsConfigDict(
        env_prefix="PIPELINE_",
        env_nested_delimiter="__",
        toml_file="pipeline.toml",
        extra="forbid",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is given
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then `pipeline.toml`."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


class Settings(_Read):
    """The whole tree."""

    delivery: Delivery = "exactly_once"
    enabled: list[str] = Field(
        default_factory=lambda: ["tickets", "invoices", "images", "escalations"],
        description="stages that `pipeline run` serves when none is named",
    )
    stage_modules: list[str] = Field(
        default_factory=list,
        description="stages of one's own, as 'package.module:Class', beside those that installed "
        "packages offer",
    )
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    topics: TopicSettings = Field(default_factory=TopicSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    models: ModelSettings = Field(default_factory=ModelSettings)
    stream: StreamSettings = Field(default_factory=StreamSettings)
    claude: ClaudeSettings = Field(default_factory=ClaudeSettings)
    backfill: BackfillSettings = Field(default_factory=BackfillSettings)
    files: DecodingSettings = Field(default_factory=DecodingSettings)
    stages: StagesSettings = Field(default_factory=StagesSettings)
    escalation: EscalationSettings = Field(default_factory=EscalationSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    tracing: TracingSettings = Field(default_factory=TracingSettings)

    @model_validator(mode="after")
    def _heartbeats_fit_the_session(self) -> Self:
        if self.kafka.heartbeat_interval * 3 > self.kafka.session_timeout:
            raise ValueError("kafka.heartbeat_interval must be at most a third of session_timeout")
        return self


class _Modules(_Read):
    """What has to be known before the rest can be read: whose tables there are."""

    model_config = SettingsConfigDict(extra="ignore")

    stage_modules: list[str] = Field(default_factory=list)


def load_settings() -> Settings:
    """Read the settings from the environment and `pipeline.toml`, those of one's own stages too.

    Raises:
        UsageError: Naming each setting that is wrong, and why; or a stage that cannot be used.
    """
    try:
        own = find_stages(_Modules().stage_modules)
        return _tree(StagesSettings.extended_by(own))()
    except TOMLDecodeError as error:
        raise UsageError(f"pipeline.toml is not TOML: {error}.") from error
    except SettingsError as error:
        # A list or a table in a variable, which has to be JSON.
        raise UsageError(f"The settings are wrong: {error}, which must be JSON there.") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(step) for step in fault['loc']) or 'settings'}: "
            f"{fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise UsageError(f"The settings are wrong: {faults}.") from error


def _tree(stages: type[StagesSettings]) -> type[Settings]:
    if stages is StagesSettings:
        return Settings
    return create_model(
        Settings.__name__, __base__=Settings, stages=(stages, Field(default_factory=stages))
    )
