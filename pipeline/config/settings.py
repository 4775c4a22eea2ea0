"""The whole tree of settings, and where it is read from."""

from tomllib import TOMLDecodeError
from typing import Self

from pydantic import Field, ValidationError, create_model, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from pipeline.config.renamed import instead_of
from pipeline.config.stages import StagesSettings, find_stages
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
    TopicSettings,
    TracingSettings,
)
from pipeline.config.thresholds import ThresholdTable
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
    """The whole tree: what is about everything, and a table for each part of the pipeline."""

    delivery: Delivery = Field(
        "exactly_once", description="`at_least_once` for brokers without transactions"
    )
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
    thresholds: ThresholdTable = Field(default_factory=ThresholdTable)
    escalation: EscalationSettings = Field(default_factory=EscalationSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    tracing: TracingSettings = Field(default_factory=TracingSettings)

    @model_validator(mode="after")
    def _overrides_are_of_stages_and_labels(self) -> Self:
        stages = self.stages.by_name()
        for name in (*self.thresholds.stages, *self.escalation.second_opinion):
            if name not in stages:
                raise ValueError(f"there is no stage {name!r}; there are {', '.join(stages)}")
        for name, own in self.thresholds.stages.items():
            labels = [label.name for label in stages[name].deciding_labels()]
            known = {label.casefold() for label in labels}
            for label in own.labels:
                if label.casefold() not in known:
                    there_are = f"there are {', '.join(labels)}" if labels else "it has none"
                    raise ValueError(f"{name} has no label {label!r}: {there_are}")
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
            _sentence(fault) for fault in error.errors(include_input=False, include_url=False)
        )
        raise UsageError(f"The settings are wrong: {faults}.") from error


def _sentence(fault: ErrorDetails) -> str:
    path = [str(step) for step in fault["loc"]]
    name = ".".join(path) or "settings"
    if fault["type"] == "extra_forbidden" and (instead := instead_of(path)) is not None:
        return f"{name} is not a setting any more: {instead}"
    return f"{name}: {fault['msg'].removeprefix('Value error, ')}"


def _tree(stages: type[StagesSettings]) -> type[Settings]:
    if stages is StagesSettings:
        return Settings
    return create_model(
        Settings.__name__, __base__=Settings, stages=(stages, Field(default_factory=stages))
    )
