"""The whole tree of settings, where it is read from, and what is refused.

Stages of one's own are found by an entry point, or named in `stage_modules`, before the tables are
read, so that theirs are held to their own models like any other; so are further stages of a kind,
by the tables that have one. A stage of one's own is a class with a `name`, a `settings_model`, and
the methods of `pipeline.stages.api.Stage`; docs/STAGES.md shows one.
"""

import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from importlib.resources.abc import Traversable
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, ClassVar, Self, TypeVar

import orjson
from pydantic import BeforeValidator, Field, ValidationError, create_model, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from pipeline.config.desk import DeskSettings
from pipeline.config.inputs import RegistrySettings
from pipeline.config.notifications import NotificationSettings
from pipeline.config.stages import (
    OwnStage,
    StageSettings,
    StagesSettings,
    stages_of_kinds,
    why_no_name,
)
from pipeline.config.tables import (
    BackfillSettings,
    ClaudeSettings,
    DecodingSettings,
    Delivery,
    EscalationSettings,
    HttpSettings,
    KafkaSettings,
    LogSettings,
    ModelSettings,
    OperatorSettings,
    PrivacySettings,
    StreamSettings,
    TenantsSettings,
    TopicSettings,
    TracingSettings,
    TrustSettings,
    setting,
)
from pipeline.config.thresholds import ThresholdTable
from pipeline.config.topic_names import TopicNames
from pipeline.model.errors import UsageError

STAGES_GROUP = "haiku_pipeline.stages"  # the entry points of installed packages that are looked for
_REFERENCE = re.compile(r"[\w.]+:\w+")
INSTEAD = {
    "claude.answer_cache_entries": "it is always 10,000",
    "claude.answer_cache_path": "set claude.state_dir, the directory of answers.sqlite3",
    "claude.backoff_first": "it is 0.5 s, or claude.backoff_max if that is less",
    "claude.breaker_failures": "it is always 5",
    "claude.breaker_open": "it is always 5 s",
    "claude.budget_path": "what was spent is in the topic budget, behind topics.prefix",
    "claude.connect_timeout": "it is always 5 s",
    "claude.prompt_cache_ttl": "set claude.prompt_cache to it",
    "backfill.batch_bytes": "it is always 100 MB",
    "backfill.prompt_cache_ttl": "it is always 1h, unless claude.prompt_cache is off",
    "escalation.window": "it is always 300 s",
    "kafka.connect_timeout": "it is always 10 s",
    "kafka.heartbeat_interval": "it is a twentieth of kafka.session_timeout",
    "kafka.max_poll_interval": "it is always 120 s",
    "kafka.partition_fetch_max_bytes": "it is a quarter of kafka.fetch_max_bytes",
    "stages.<stage>.answer_cache": "set claude.answer_cache, of all stages",
    "stages.<stage>.decode_at_once": "set files.decoders, of all stages of a process",
    "stages.<stage>.label_thresholds": "set thresholds.stages.<stage>.labels",
    "stages.<stage>.linger_ms": "it is always 50",
    "stages.<stage>.max_event_bytes": "set stages.<stage>.max_text_chars, which it follows from",
    "stages.<stage>.s3.region": "set AWS_DEFAULT_REGION in the environment",
    "stages.<stage>.scope": "set escalation.scope, of all stages",
    "stages.<stage>.second_opinion": "set escalation.second_opinion.<stage> to what was `spares`",
    "stages.<stage>.sonnet_label_thresholds": "set thresholds.stages.<stage>.labels.<label>.sonnet",
    "stages.<stage>.sonnet_thresholds": "set thresholds.stages.<stage>.sonnet",
    "stages.<stage>.thresholds": "set thresholds.stages.<stage>",
    "stages.requests.long_request_tokens": "it is always 50,000",
    "stream.commit_count": "it is always 500",
    "stream.dead_letter_window": "it is always 200",
    "topics.backfills": "it is always backfills, behind topics.prefix",
    "topics.replayed": "it is always dead-letters.replayed, behind topics.prefix",
    "topics.resolved": "it is always review.resolved, behind topics.prefix",
    "tracing.service_name": "set OTEL_SERVICE_NAME in the environment",
}
"""Names that were settings once: they are refused with what to do instead, and not taken for the
new ones, since it would have to be explained for ever which of two names wins."""


FILE = Path("pipeline.toml")
PROMOTED = Path("promoted")
"""The folder of what was promoted: settings of one stage in each file, which win over `FILE`."""
_ID_ALONE = re.compile(r"pipeline_models__[a-z]+(?:__fallback)?")


class _Variables(EnvSettingsSource):
    """Variables, with a model's id in place of its table as the table's `model`."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        found = super()._load_env_vars()
        ids = {
            name: value
            for name, value in found.items()
            if value and not value.startswith("{") and _ID_ALONE.fullmatch(name)
        }
        tables = {f"{name}__model": value for name, value in ids.items()}
        return {**tables, **{name: found[name] for name in found.keys() - ids.keys()}}


class _Toml(TomlConfigSettingsSource):
    """A file, with a model's id in place of its table as the table's `model`."""

    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        try:
            return super()._read_file(file_path)
        except TOMLDecodeError as error:
            raise UsageError(f"{file_path} is not TOML: {error}.") from error

    def __call__(self) -> dict[str, Any]:
        return _with_tables(super().__call__())


class _Given(InitSettingsSource):
    """What code gives, with the same."""

    def __call__(self) -> dict[str, Any]:
        return _with_tables(super().__call__())


def _with_tables(given: dict[str, Any]) -> dict[str, Any]:
    """So that what sets the model and what sets the rest of its table can come from two sources."""
    models = given.get("models")
    if not isinstance(models, dict):
        return given
    return {**given, "models": {name: _table(tier) for name, tier in models.items()}}


def _table(endpoint: object) -> object:
    match endpoint:
        case str():
            return {"model": endpoint}
        case {"fallback": str() as model, **others}:
            return {**others, "fallback": {"model": model}}
    return endpoint


def files_of_settings() -> list[Path]:
    """The files in the current folder that settings are read from; of two the later one wins."""
    return [FILE, *sorted(PROMOTED.glob("*.toml"))]


class _Read(BaseSettings):
    """Where settings are read from: `read_from`, or the files of the current folder."""

    read_from: ClassVar[Sequence[Path] | None] = None
    model_config = SettingsConfigDict(
        env_prefix="PIPELINE_", env_nested_delimiter="__", extra="forbid"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is given
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        given = init_settings.init_kwargs if isinstance(init_settings, InitSettingsSource) else {}
        files = files_of_settings() if cls.read_from is None else cls.read_from
        toml = [_Toml(settings_cls, file) for file in reversed(files)]
        return _Given(settings_cls, given), _Variables(settings_cls), *toml


ReadT = TypeVar("ReadT", bound=_Read)


class Settings(_Read):
    """The whole tree: what is about everything, and a table for each part of the pipeline."""

    delivery: Delivery = setting("exactly_once", "`at_least_once` for brokers without transactions")
    enabled: list[str] = setting(
        ["tickets", "invoices", "images", "escalations"],
        "stages that `pipeline run` serves when none is named",
    )
    stage_modules: list[str] = setting(
        [],
        "stages of one's own, as 'package.module:Class', beside those that installed "
        "packages offer",
    )
    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    registry: RegistrySettings = RegistrySettings()
    operators: OperatorSettings = OperatorSettings()
    http: HttpSettings = HttpSettings()
    desk: DeskSettings = DeskSettings()
    models: ModelSettings = ModelSettings()
    stream: StreamSettings = StreamSettings()
    tenants: TenantsSettings = TenantsSettings()
    claude: ClaudeSettings = ClaudeSettings()
    backfill: BackfillSettings = BackfillSettings()
    files: DecodingSettings = DecodingSettings()
    stages: StagesSettings = StagesSettings()
    thresholds: ThresholdTable = ThresholdTable()
    escalation: EscalationSettings = EscalationSettings()
    privacy: PrivacySettings = PrivacySettings()
    trust: TrustSettings = TrustSettings()
    notifications: NotificationSettings = NotificationSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()

    @property
    def has_budget(self) -> bool:
        """Whether anything limits what is spent."""
        return self.tenants.are_limited or any(
            amount is not None
            for amount in (
                self.claude.budget_usd_per_hour,
                self.claude.budget_usd_per_day,
                *(stage.budget_usd_per_hour for stage in self.stages.by_name().values()),
                *(stage.budget_usd_per_day for stage in self.stages.by_name().values()),
            )
        )

    @model_validator(mode="after")
    def _limits_of_tenants_have_tenants(self) -> Self:
        if self.tenants.are_limited and self.stream.tenant_from is None:
            raise ValueError(
                "tenants has limits, and stream.tenant_from does not say whose what is"
            )
        return self

    @model_validator(mode="after")
    def _records_do_not_go_round(self) -> Self:
        stages = self.stages.by_name()
        named = (
            (each.input.topics, each.input.pattern, each.output.topic, each.output.flat_topic)
            for each in stages.values()
        )
        if any(map(any, named)):
            try:
                TopicNames(self.topics, stages).check()
            except UsageError as error:
                raise ValueError(str(error).removesuffix(".")) from error
        return self

    @model_validator(mode="after")
    def _overrides_are_of_stages_and_labels(self) -> Self:
        stages = self.stages.by_name()
        named = (*self.thresholds.stages, *self.escalation.second_opinion, *self.privacy.stages)
        for name in named:
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


def _parsed(table: object) -> object:
    """A table that one variable holds as a whole, which is JSON there."""
    return orjson.loads(table) if isinstance(table, str) else table


Table = Annotated[Any, BeforeValidator(_parsed)]


class _Modules(_Read):
    """What has to be known before the rest can be read: whose tables there are."""

    model_config = SettingsConfigDict(extra="ignore")

    stage_modules: list[str] = Field(default_factory=list)
    stages: dict[str, Table] = Field(default_factory=dict)


def load_settings(
    read_from: Sequence[Path] | None = None,
    /,
    **given: Any,  # noqa: ANN401 - a table or a value of any setting
) -> Settings:
    """Read the settings, with the stages that they name or make; what is `given` counts first.

    Files are those of the current folder, or of `read_from`, of which the later ones win.

    Raises:
        UsageError: It names each setting that is wrong.
    """
    try:
        found = _from(_Modules, read_from)(**given)
        own = find_stages(found.stage_modules)
        own += stages_of_kinds(found.stages, own)
        tables = StagesSettings.extended_by(own)
        if tables is StagesSettings:
            return _from(Settings, read_from)(**given)
        stages: Any = (tables, Field(default_factory=tables))
        extended = create_model(Settings.__name__, __base__=Settings, stages=stages)
        return _from(extended, read_from)(**given)
    except SettingsError as error:
        # A list or a table in a variable, which has to be JSON.
        raise UsageError(f"The settings are wrong: {error}, which must be JSON there.") from error
    except ValidationError as error:
        faults = "; ".join(
            _sentence(fault) for fault in error.errors(include_input=False, include_url=False)
        )
        raise UsageError(f"The settings are wrong: {faults}.") from error


def _from(model: type[ReadT], files: Sequence[Path] | None) -> type[ReadT]:
    """The same settings, read from other files."""
    return model if files is None else type(model.__name__, (model,), {"read_from": files})


def _sentence(fault: ErrorDetails) -> str:
    path = [str(step) for step in fault["loc"]]
    name = ".".join(path) or "settings"
    if fault["type"] == "extra_forbidden" and (instead := instead_of(path)) is not None:
        return f"{name} is not a setting any more: {instead}"
    return f"{name}: {fault['msg'].removeprefix('Value error, ')}"


def instead_of(path: Sequence[str]) -> str | None:
    """What to do instead of setting this, in half a sentence; None where it never was a setting."""
    found = INSTEAD.get(".".join(path))
    if found is None and path[0] == "stages" and len(path) > 1:
        found = INSTEAD.get(".".join(("stages", "<stage>", *path[2:])))
        return None if found is None else found.replace("<stage>", path[1])
    return found


def find_stages(references: Sequence[str]) -> tuple[OwnStage, ...]:
    """Import the stages that are named, as `package.module:Class`, and those of installed packages.

    The current folder is searched last. `UsageError` if one cannot be imported, is no stage, or has
    another's name.
    """
    if references and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    if bad := [each for each in references if not _REFERENCE.fullmatch(each)]:
        raise UsageError(
            f"stage_modules: {bad[0]!r} is no stage: write it as 'package.module:Class'."
        )
    entries = [(each, EntryPoint(each, each, STAGES_GROUP)) for each in references]
    installed = entry_points(group=STAGES_GROUP)
    for entry in sorted(installed, key=lambda entry: (entry.name, entry.value)):
        package = f" of {entry.dist.name} {entry.dist.version}" if entry.dist else ""
        entries.append((f"{entry.value}{package}", entry))
    found: dict[str, OwnStage] = {}
    for origin, entry in entries:
        stage = _checked(origin, entry)
        known = found.setdefault(stage.name, stage)
        if known.build is not stage.build:
            raise UsageError(
                f"There are two stages {stage.name!r}, {known.origin} and {origin}: rename one."
            )
    return tuple(found.values())


def _checked(origin: str, entry: EntryPoint) -> OwnStage:
    importlib.invalidate_caches()
    try:
        stage = entry.load()
    except Exception as error:
        raise UsageError(
            f"The stage {origin} cannot be imported ({type(error).__name__}: {error}): "
            "fix it, or do not name or install it."
        ) from error
    name, model = getattr(stage, "name", None), getattr(stage, "settings_model", None)
    if not isinstance(name, str):
        raise UsageError(f"The stage {origin} needs a `name`, which is a text, not {name!r}.")
    if not isinstance(model, type) or not issubclass(model, StageSettings):
        raise UsageError(f"The stage {origin} needs a `settings_model` that extends StageSettings.")
    if name not in StagesSettings.model_fields and (wrong := why_no_name(name)) is not None:
        raise UsageError(f"The stage {origin}: {wrong}.")
    return OwnStage(name, model, stage, origin)
