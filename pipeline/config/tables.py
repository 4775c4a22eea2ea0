"""What values settings may have, and the tables that are not of a stage.

Each field is a setting: its default, its unit and its meaning are written to docs/SETTINGS.md.
"""

import os
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from pipeline.model.records import Tier
from pipeline.privacy.masking import FilesRule, Masking, Rules
from pipeline.privacy.recognition import Kind

T = TypeVar("T")
Seconds = Annotated[float, Field(gt=0, json_schema_extra={"unit": "seconds"})]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1, json_schema_extra={"unit": "bytes"})]
LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2}$")]
Dollars = Annotated[Decimal, Field(gt=0, json_schema_extra={"unit": "US dollars"})]
Delivery = Literal["exactly_once", "at_least_once"]
Ordering = Literal["key", "partition", "none"]


def setting(default: T, description: str, **limits: Any) -> T:  # noqa: ANN401 - as pydantic's
    """A setting with a default; `limits` are those of pydantic's `Field`."""
    field: T = Field(default, description=description, **limits)
    return field


class Section(BaseModel):
    """One table of the settings; a name that is not a setting is an error."""

    model_config = ConfigDict(extra="forbid")


class OauthSettings(Section):
    """Where tokens for OAUTHBEARER come from: an OpenID provider, by client credentials."""

    token_endpoint: str | None = setting(
        None, pattern=r"^https?://", description="URL that gives out tokens"
    )
    client_id: str | None = setting(None, "the client, as the provider knows it")
    client_secret: SecretStr | None = setting(None, "its secret")
    client_secret_file: Path | None = setting(
        None, "a file with the secret, read again for each token"
    )
    client_auth: Literal["basic", "post"] = setting(
        "basic", "how the secret is sent: in the header Authorization, or in the form"
    )
    scope: str | None = setting(None, "what tokens shall be good for; several with spaces between")
    parameters: dict[str, str] = setting({}, "further fields of the form, e.g. `audience`")
    extensions: dict[str, str] = setting(
        {}, "what goes to the brokers beside the token, e.g. `logicalCluster`, `identityPoolId`"
    )
    ca_file: Path | None = setting(
        None, "CA certificates for the provider's TLS; the system's if unset"
    )

    @field_validator("extensions")
    @classmethod
    def _fit_the_protocol(cls, extensions: dict[str, str]) -> dict[str, str]:
        """RFC 7628, section 3.1; `auth` is the token itself."""
        for name, value in extensions.items():
            if name == "auth" or not re.fullmatch("[A-Za-z]+", name):
                raise ValueError(f"extensions have names of letters, not {name!r}")
            if not re.fullmatch(r"[\x21-\x7e \t\r\n]+", value):
                raise ValueError(f"the value of {name} is empty, or has characters beyond ASCII")
        return extensions


class KafkaSettings(Section):
    """How the brokers are reached and how the consumer groups behave."""

    bootstrap_servers: str = setting("127.0.0.1:9092", "host:port, comma-separated")
    client_id: str = setting("haiku-pipeline", "what brokers log, and count quotas by")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = setting(
        "PLAINTEXT", "what the brokers' listener speaks"
    )
    sasl_mechanism: Literal[
        "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM", "GSSAPI"
    ] = setting(
        "SCRAM-SHA-512",
        "how the account is proven; `AWS_MSK_IAM` needs the extra `msk`, `GSSAPI` (Kerberos) the "
        "extra `gssapi`",
    )
    sasl_username: str | None = setting(None, "the account, for PLAIN and SCRAM")
    sasl_password: SecretStr | None = setting(None, "its password")
    oauth: OauthSettings = OauthSettings()
    aws_region: str | None = setting(
        None, "of the cluster, for AWS_MSK_IAM; unset: AWS_REGION or AWS_DEFAULT_REGION"
    )
    kerberos_service_name: str = setting("kafka", "of the brokers' principal, for GSSAPI")
    kerberos_domain_name: str | None = setting(
        None, "host in the brokers' principal, for GSSAPI; unset: the one that is connected to"
    )
    ssl_ca_file: Path | None = setting(None, "CA certificates; the system's if unset")
    ssl_cert_file: Path | None = setting(None, "client certificate, PEM")
    ssl_key_file: Path | None = setting(None, "client key, PEM")
    ssl_key_password: SecretStr | None = setting(None, "of the client key")
    ssl_check_hostname: bool = setting(
        True, "whether a broker's certificate must be for its host name"
    )
    group_prefix: str = setting("pipeline.", "the group of a stage is prefix + stage")
    group_instance_id: str | None = setting(
        None, "static membership: unique for each process, stable over its restarts"
    )
    request_timeout: Seconds = setting(30, "that a broker has to answer a request")
    connection_max_idle: Seconds = setting(
        540,
        "without a request, after which a connection is closed; less than what is between allows",
    )
    session_timeout: Seconds = setting(
        10, "without a heartbeat, after which a member counts as dead"
    )
    auto_offset_reset: Literal["earliest", "latest"] = setting(
        "earliest", "where a group begins that has committed nothing yet"
    )
    fetch_max_bytes: Bytes = setting(
        16 << 20, "of one fetch from one broker; a quarter of it from one partition"
    )
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = setting(
        "lz4", "of what is published"
    )
    idle_fetch_pause: float = setting(
        0,
        ge=0,
        json_schema_extra={"unit": "seconds"},
        description="without a fetch after one that brought nothing; 0 but for brokers "
        "that answer an idle fetch at once",
    )

    @property
    def heartbeat_interval(self) -> float:
        """Seconds; a member misses twenty before it counts as dead, where Kafka advises three.

        A rebalance takes as long: members learn of it by the answer to their next one.
        """
        return 0.05 * self.session_timeout

    @property
    def partition_fetch_max_bytes(self) -> int:
        """Of one fetch, each partition: four must fit, or one large backlog starves the others."""
        return max(1, self.fetch_max_bytes // 4)


class TopicSettings(Section):
    """Names and creation of topics."""

    prefix: str = setting("", "put before every topic, e.g. 'acme.'")
    escalations: str = setting("escalations", "what Haiku could not settle, for Sonnet")
    review: str = setting("review", "what Sonnet could not settle either, for people")
    dead_letters: str = setting("dead-letters", "records that cannot be handled")
    audit: str = setting("audit", "who changed what with a command")
    audit_retention: Seconds = setting(365 * 86_400, "for which that topic keeps its records")
    payload_retention: Seconds | None = setting(
        None,
        "for which topics that hold events (raw, escalations, review, dead letters) keep them; "
        "unset: the brokers' own default",
    )
    enriched_retention: Seconds | None = setting(
        None, "for which topics of results keep them; unset: the brokers' own default"
    )
    trust: str = setting("trust", "answers that were drawn by lot, and verdicts on them")
    trust_retention: Seconds = setting(
        365 * 86_400, "for which that topic keeps its records; it is compacted, too"
    )
    feedback: str | None = setting(
        None,
        "corrections that consumers publish; where it is set, processes that serve `escalations` "
        "make labels of them",
    )
    replayed: ClassVar[str] = "dead-letters.replayed"
    """Which dead letters were replayed; compacted. The pipeline's own, as the next two are."""
    resolved: ClassVar[str] = "review.resolved"
    """Which reviews a person has resolved; compacted."""
    backfills: ClassVar[str] = "backfills"
    """What became of each message batch of a backfill; compacted."""
    budget: ClassVar[str] = "budget"
    """What each process may have spent of each hour; compacted."""
    partitions: Count = setting(6, "of each topic that `pipeline topics create` makes")
    replication_factor: int = setting(-1, "-1: the brokers' own default")
    max_message_bytes: Bytes = setting(16 << 20, "the largest record a topic takes")


class OperatorSettings(Section):
    """Who gives commands that change something: it is kept in the topic `topics.audit`."""

    require_as: bool = setting(
        False, "whether they must say their name with --as; else that of the system's user will do"
    )


class StreamSettings(Section):
    """How events move. Each number is for one process."""

    max_unfinished: Annotated[int, Field(ge=1, le=1000)] = setting(
        1000, "unfinished events a partition; above 1,000 the ledger may not fit"
    )
    max_in_flight: Count = setting(512, "events being worked on, all partitions, a stage")
    max_in_flight_bytes: Bytes = setting(256 << 20, "payload of those events")
    commit_interval: Seconds = setting(
        0.2,
        "at least between two commits of a partition; half of it is what a result "
        "waits on average while they come all the time",
    )
    drain_budget: Seconds = setting(
        5, "that running calls get on revocation or stop before they are left"
    )
    transaction_timeout: Seconds = setting(60, "until brokers abort a transaction")
    stuck_after: Seconds = setting(
        180, "assigned without progress or poll, after which the process ends"
    )
    rollout_within: Seconds = setting(
        900,
        "that members of a group may ask the models different things, as in a rollout, before "
        "they are not ready",
    )
    tenant_from: str | None = setting(
        None,
        pattern=r"(?s)^((header|field):.+|key_prefix:.)$",
        description="what says whose an event is, 'header:NAME', 'field:NAME', a field of its "
        "JSON or of what `input` makes of it, or 'key_prefix:CHARACTER', the key up to that "
        "character: tenants then take turns, so that a flood of one does not hold up the others",
    )
    dead_letter_ratio: Share = setting(
        0.5,
        "share of the last 200 keys, with dead letters by a fault of ours or after "
        "good ends, above which intake stops; 1 for never",
    )


class TenantLimitSettings(Section):
    """What one tenant may spend, in all stages, and how much of the rate limits it may take."""

    budget_usd_per_hour: Dollars | None = setting(
        None, "what it may spend in an hour (UTC); above it, its events wait"
    )
    budget_usd_per_day: Dollars | None = setting(None, "what it may spend in a day (UTC)")
    rate_share: Annotated[float, Field(gt=0, le=1)] | None = setting(
        None, "of each rate limit of the API, at most, whether others need it or not"
    )

    @property
    def is_limited(self) -> bool:
        return any(
            limit is not None
            for limit in (self.budget_usd_per_hour, self.budget_usd_per_day, self.rate_share)
        )


class TenantsSettings(Section):
    """What tenants may spend; whose an event is, `stream.tenant_from` says."""

    each: TenantLimitSettings = Field(
        TenantLimitSettings(), description="the limits of each tenant that has none of its own"
    )
    named: dict[str, TenantLimitSettings] = setting(
        {}, "by tenant: its own limits, in place of all of those above"
    )

    @property
    def are_limited(self) -> bool:
        return any(limits.is_limited for limits in (self.each, *self.named.values()))


class HttpSettings(Section):
    """The one port: dashboard, metrics, health."""

    host: str = setting("127.0.0.1", "the address that is listened on; 0.0.0.0: all")
    port: int = setting(8080, "0: a free one", ge=0, le=65535)
    names: list[str] = setting(
        [],
        "host names that requests may use, beside addresses, localhost and the "
        "machine's own: those of a proxy or a service; '*.example.com' for all below it",
    )
    recent_records: int = setting(
        20,
        ge=0,
        le=200,
        description="last records that the dashboard shows, with their results; 0: none, which "
        "keeps results off the port",
    )


class DecodingSettings(Section):
    """The child processes that decode files, for all stages of a process together."""

    decoders: Count = setting(2, "files decoded at the same time")
    decode_seconds: Seconds = setting(
        20,
        "that a file may take, its wait for a decoder not counted; longer is a dead "
        "letter. The largest images take 1 to 2 s of a core",
    )
    decode_memory_mib: Annotated[int, Field(ge=64, json_schema_extra={"unit": "MiB"})] = setting(
        512, "that a file may take beyond what a decoder has at start"
    )


class LogSettings(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "the least that is logged"
    )
    format: Literal["auto", "json", "console"] = setting(
        "auto", "auto: console on a terminal, JSON elsewhere"
    )


class TracingSettings(Section):
    """Traces of events, by OpenTelemetry (extra `otel`); off as long as no endpoint is set.

    What the exporter needs beside it, e.g. `OTEL_EXPORTER_OTLP_HEADERS`, is read by it alone.
    """

    endpoint: str | None = setting(
        None,
        pattern=r"^https?://",
        description="where spans go, by OTLP over HTTP, e.g. http://127.0.0.1:4318/v1/traces",
    )
    sample_ratio: Share = setting(
        1,
        "share of the traces begun here that is recorded; publishers decide on theirs",
    )


Provider = Literal[
    "anthropic", "aws", "bedrock", "bedrock-mantle", "vertex", "google-cloud", "foundry"
]
_FITTING: Mapping[Provider, frozenset[str]] = MappingProxyType(
    {
        "anthropic": frozenset({"workspace_id", "inference_geo", "service_tier"}),
        "aws": frozenset({"region", "workspace_id", "inference_geo", "service_tier"}),
        "bedrock": frozenset({"region"}),
        "bedrock-mantle": frozenset({"region"}),
        "vertex": frozenset({"region", "project"}),
        "google-cloud": frozenset(
            {"region", "project", "workspace_id", "inference_geo", "service_tier"}
        ),
        "foundry": frozenset({"resource"}),
    }
)
"""What only some providers have to do with."""
AWS_REGION = ("AWS_REGION", "AWS_DEFAULT_REGION")
_NEEDED: Mapping[Provider, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "anthropic": {},
        "aws": {"region": AWS_REGION, "workspace_id": ("ANTHROPIC_AWS_WORKSPACE_ID",)},
        "bedrock": {"region": AWS_REGION},
        "bedrock-mantle": {"region": AWS_REGION},
        "vertex": {"region": ("CLOUD_ML_REGION",), "project": ("ANTHROPIC_VERTEX_PROJECT_ID",)},
        "google-cloud": {
            "project": ("ANTHROPIC_GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT"),
            "workspace_id": ("ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID",),
        },
        "foundry": {"resource": ("ANTHROPIC_FOUNDRY_RESOURCE", "ANTHROPIC_FOUNDRY_BASE_URL")},
    }
)
"""What a provider cannot do without, and the variables that its SDK client reads in its place."""
_IN_AN_ADDRESS: Mapping[Provider, frozenset[str]] = MappingProxyType(
    {"google-cloud": frozenset({"project", "workspace_id"}), "foundry": frozenset({"resource"})}
)
"""What serves to find the address alone, so that `base_url` takes its place."""


class EndpointSettings(Section):
    """One place where a model is asked: which model, at which provider, how it is reached."""

    model: str = Field(
        min_length=1,
        description="the model's id, as the Claude API has it or as the provider writes it",
        json_schema_extra={"without": "`claude-haiku-5-5`, `claude-sonnet-5-5`"},
    )
    provider: Provider = setting(
        "anthropic", "who serves it; what is below is refused where it does not fit"
    )
    base_url: str | None = setting(
        None,
        pattern=r"^https?://",
        description="address of a gateway, a proxy or the provider; unset: the provider's own",
    )
    key_file: Path | None = setting(
        None,
        "a file with the API key or bearer token, read again when it changes; unset: credentials "
        "come from where the provider's SDK looks for them",
    )
    region: str | None = setting(None, "of AWS or Google Cloud")
    project: str | None = setting(None, "of Google Cloud")
    resource: str | None = setting(None, "of Foundry: https://RESOURCE.services.ai.azure.com")
    workspace_id: str | None = setting(None, "Claude's, where a key may be for several")
    inference_geo: str | None = setting(
        None, "where the model runs, e.g. `us`, which is priced higher; unset: the workspace's"
    )
    service_tier: Literal["auto", "standard_only"] | None = setting(
        None, "whether capacity that was committed to may be used; unset: as the API does"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_an_id(cls, given: Any) -> Any:  # noqa: ANN401 - whatever is given
        return {"model": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _fits_its_provider(self) -> Self:
        fitting, needed = _FITTING[self.provider], _NEEDED[self.provider]
        for name in sorted(frozenset().union(*_FITTING.values()) - fitting):
            if getattr(self, name) is not None:
                takes = [each for each in get_args(Provider) if name in _FITTING[each]]
                raise ValueError(
                    f"{self.provider} has no {name}, which is of {', '.join(takes)}: leave it out, "
                    "or set the provider"
                )
        for name, variables in needed.items():
            by_address = self.base_url and name in _IN_AN_ADDRESS.get(self.provider, ())
            if (
                not by_address
                and not getattr(self, name)
                and not any(map(os.environ.get, variables))
            ):
                raise ValueError(
                    f"{self.provider} needs {name}: set it, or {' or '.join(variables)} in the "
                    "environment"
                )
        if self.resource and self.base_url:
            raise ValueError("resource and base_url are two addresses: leave one out")
        return self

    @property
    def known_region(self) -> str:
        """The region that is set, or that the SDK takes from the environment; empty without one."""
        variables = _NEEDED[self.provider].get("region", ())
        return self.region or next(filter(None, map(os.environ.get, variables)), "")

    @property
    def name(self) -> str:
        """As metrics and people see it: the model's id, behind any provider but Anthropic."""
        return self.model if self.provider == "anthropic" else f"{self.provider}/{self.model}"


class TierSettings(EndpointSettings):
    """Where the model of a tier is asked: `haiku` about every event, `sonnet` where it doubts.

    A model's id alone, as in `haiku = "claude-haiku-5-5"`, is short for a table with nothing else.
    """

    fallback: EndpointSettings | None = setting(
        None,
        "such a table, its `model` included, of the endpoint that is asked while this one cannot "
        "be",
    )


class ModelSettings(Section):
    """Which models the two tiers are, and where they are asked."""

    haiku: TierSettings = TierSettings(model="claude-haiku-5-5")
    sonnet: TierSettings = TierSettings(model="claude-sonnet-5-5")

    @model_validator(mode="before")
    @classmethod
    def _with_models(cls, given: Any) -> Any:  # noqa: ANN401 - whatever is given
        if not isinstance(given, dict):
            return given
        default = {name: field.default.model for name, field in cls.model_fields.items()}
        return {
            name: {"model": default[name], **tier}
            if name in default and isinstance(tier, dict)
            else tier
            for name, tier in given.items()
        }

    def of(self, tier: Tier) -> TierSettings:
        return self.haiku if tier is Tier.HAIKU else self.sonnet

    def places(self) -> Iterator[tuple[str, EndpointSettings]]:
        """Each place where a model is asked, by the name of its table."""
        for tier in Tier:
            first = self.of(tier)
            yield f"models.{tier}", first
            if first.fallback is not None:
                yield f"models.{tier}.fallback", first.fallback


class TokenPrices(Section):
    """US dollars a million tokens."""

    input: Decimal = Field(description="input that no cache has to do with")
    output: Decimal = Field(description="what the model answers")
    cache_write_5m: Decimal = Field(description="input that is cached for five minutes")
    cache_write_1h: Decimal = Field(description="input that is cached for an hour")
    cache_read: Decimal = Field(description="input that comes out of the cache")


class ClaudeSettings(Section):
    """How the models are asked. Each number is for one process."""

    concurrency: Count = setting(
        256,
        "calls in flight, each model; beside those that hang or belong to an event in"
        " trouble while others are answered: at most three quarters as many, or 32",
    )
    call_timeout: Seconds = setting(60, "that a call may take at most")
    haiku_effort: Literal["low", "medium", "high"] = setting(
        "low", "how much Haiku thinks about an answer: more is slower and costs more"
    )
    sonnet_effort: Literal["low", "medium", "high"] = setting(
        "low", "how much Sonnet thinks about an answer"
    )
    backoff_max: Seconds = setting(30, "between repetitions at most; the first comes after 0.5")
    attempts_per_event: Count = setting(
        8, "failures while others are answered that make it the event's own trouble"
    )
    attempts_seconds: Seconds = setting(60, "over which they must extend at least")
    prompt_cache: Literal["5m", "1h", "off"] = setting(
        "5m", "how long the API keeps the static prefix of a prompt after its last use"
    )
    answer_cache: Literal["memory", "disk", "off"] = setting(
        "memory", "where answers to identical questions are kept, to be reused"
    )
    answer_cache_ttl: Seconds = setting(86_400, "that an answer may be reused")
    prices: dict[str, TokenPrices] = setting({}, "by model id; replaces the built-in price")
    budget_usd_per_hour: Dollars | None = setting(
        None, "what all stages may spend in an hour (UTC); above it, intake waits"
    )
    budget_usd_per_day: Dollars | None = setting(None, "what all stages may spend in a day (UTC)")
    state_dir: Path = setting(
        Path(".haiku-pipeline"),
        "where a process keeps answers, if they are kept on disk",
    )

    @property
    def answers_path(self) -> Path:
        return self.state_dir / "answers.sqlite3"


class BackfillSettings(Section):
    """How `pipeline backfill` cuts a backlog into batches, and how it waits for them."""

    batch_events: Annotated[int, Field(ge=1, le=100_000)] = setting(
        10_000, "events a batch; the API takes 100,000 requests"
    )
    batches_at_once: Count = setting(
        10, "batches that are submitted and not published; the API's queue has a limit"
    )
    poll_interval: Seconds = setting(30, "between looks at a batch")
    settle: Seconds = setting(
        120,
        "after which a batch that may have been submitted, and that the API "
        "does not list, counts as not submitted",
    )


class StagePrivacySettings(Section):
    """What is masked in the events of one stage."""

    mask: list[Kind] | None = setting(None, "in place of `privacy.mask`")
    fields: list[str] = setting(
        [],
        "of its events, unknown ones too, whose values are masked wherever they stand in what is "
        "asked: names, customer ids",
    )


class PrivacySettings(Section):
    """What no model sees: it is masked before an event is asked about, and put back afterwards."""

    mask: list[Kind] = setting(
        [], "kinds of personal data that are masked in the events of every stage"
    )
    files: FilesRule = setting(
        "ask",
        "what becomes of images and PDF files, which cannot be masked, where a stage masks "
        "anything: `refuse` makes them dead letters",
    )
    stages: dict[str, StagePrivacySettings] = setting({}, "by stage: what is masked in its events")

    def masking(self) -> Masking:
        default = frozenset(self.mask)
        return Masking(
            Rules(default),
            {
                name: Rules(
                    default if own.mask is None else frozenset(own.mask), frozenset(own.fields)
                )
                for name, own in self.stages.items()
            },
            self.files,
        )


class TrustSettings(Section):
    """Which published answers are drawn by lot, so that people label a few of them."""

    sample_share: Share = setting(
        0.01, "of what is published as decided by a model, drawn for the topic `topics.trust`"
    )
    per_key: Count = setting(
        5,
        "drawn answers of one key and day (UTC) that are all given to be labelled; each further "
        "one has a smaller chance",
    )
    keep_answers: bool = setting(
        True,
        "whether what was published is kept in that topic, masked as in [privacy]; else the "
        "answer's label, confidence and signals alone",
    )
    key: SecretStr | None = setting(
        None,
        "of the hash that draws and that stands for record keys, the same in every process; unset: "
        "a fixed public one",
        min_length=16,
    )
    certificate: Path | None = setting(
        None,
        "the file of `pipeline trust certify --out`: each record says whether it was made as "
        "certified, and labels are watched; unset: neither",
    )
    run_length: float = setting(
        1000,
        "labels of a stage until a false alarm, on average, at least; alarms come the later for it",
        ge=10,
    )
    notify_url: str | None = setting(
        None, "where an alarm is posted to, as JSON", pattern=r"^https?://"
    )


class EscalationSettings(Section):
    """How much Sonnet is asked about at most, of all stages, and when Haiku is asked twice."""

    max_share: Share | None = setting(
        None,
        "of recent events (5 minutes), that Sonnet is asked about; what is above it "
        "waits in Kafka; no cap where not set",
    )
    per_minute: float = setting(
        10, "escalated events a process takes beyond the share, so that all drain", gt=0
    )
    scope: Literal["words", "encoder"] = setting(
        "words",
        "what measures how like the labels' examples a text of tickets, requests or texts "
        "is: the words they share, or a sentence encoder (the extra `encoder`)",
    )
    second_opinion: dict[str, Share] = setting(
        {},
        "by stage that asks Haiku again, in other words, where its first answer is "
        "unsure and it pays at the prices of the day: the share of second opinions that spare a "
        "call to Sonnet, as `pipeline evaluate` measures it; 0.3 where not set",
    )
