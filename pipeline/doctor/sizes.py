"""Do the limits on sizes fit each other? Pure."""

from collections.abc import Iterator

from pipeline.doctor.finding import Finding, ok, warning
from pipeline.settings import Settings

_ABOUT = "sizes"
_BASE64 = 4 / 3
_ENVELOPE = 64 << 10
"""More than what an escalation record adds to the event: doubts, a result, the source."""


def check_sizes(settings: Settings) -> list[Finding]:
    """Hold what stages take against what topics take."""
    return list(_of_stages(settings)) or [ok(_ABOUT, "Topics take what stages take.")]


def _of_stages(settings: Settings) -> Iterator[Finding]:
    largest = settings.topics.max_message_bytes
    for name in settings.enabled:
        stage = settings.stages.of(name)
        if stage is None:
            continue
        if stage.max_event_bytes > largest:
            yield warning(
                _ABOUT,
                f"stages.{name}.max_event_bytes is {stage.max_event_bytes:,}, but topics take "
                f"{largest:,}: raise topics.max_message_bytes, or nobody can publish such events.",
            )
        elif stage.max_event_bytes * _BASE64 + _ENVELOPE > largest:
            yield warning(
                _ABOUT,
                f"The largest events of {name} cannot be escalated: a file of "
                f"{stage.max_event_bytes:,} bytes is a third larger in the JSON of an escalation, "
                f"and topics take {largest:,}: raise topics.max_message_bytes, or lower "
                f"stages.{name}.max_event_bytes.",
            )
