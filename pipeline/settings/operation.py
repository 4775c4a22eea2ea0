"""What operators look at: the HTTP port and the log."""

from typing import Literal

from pydantic import Field

from pipeline.settings.units import Section


class HttpSettings(Section):
    """The one port: dashboard, metrics, health."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535, description="0: a free one")


class LogSettings(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, JSON elsewhere"
    )
