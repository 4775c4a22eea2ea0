"""What operators look at: the HTTP port, the log and the traces; and what files may take."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.settings.units import Count, Seconds, Section, Share


class HttpSettings(Section):
    """The one port: dashboard, metrics, health."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535, description="0: a free one")
    names: list[str] = Field(
        default_factory=list,
        description="host names that requests may use, beside addresses, localhost and the "
        "machine's own: those of a proxy or a service; '*.example.com' for all below it",
    )
    recent_records: int = Field(
        20,
        ge=0,
        le=200,
        description="last records that the dashboard shows, with their results; 0: none, which "
        "keeps results off the port",
    )


class DecodingSettings(Section):
    """The child processes that decode files, for all stages of a process together."""

    decoders: Count = Field(2, description="files decoded at the same time")
    decode_seconds: Seconds = Field(
        20,
        description="a file may take, its wait for a decoder not counted; longer is a dead letter. "
        "The largest images take 1 to 2 s of a core",
    )
    decode_memory_mib: Annotated[int, Field(ge=64)] = Field(
        512, description="MiB that a file may take beyond what a decoder has at start"
    )


class LogSettings(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, JSON elsewhere"
    )


class TracingSettings(Section):
    """Traces of events, by OpenTelemetry (extra `otel`); off as long as no endpoint is set.

    What the exporter needs beside it, e.g. `OTEL_EXPORTER_OTLP_HEADERS`, is read by it alone.
    """

    endpoint: str | None = Field(
        None,
        pattern=r"^https?://",
        description="where spans go, by OTLP over HTTP, e.g. http://127.0.0.1:4318/v1/traces",
    )
    sample_ratio: Share = Field(
        1,
        description="share of the traces begun here that is recorded; publishers decide of theirs",
    )
    service_name: str = Field("haiku-pipeline", description="what spans say they come from")
