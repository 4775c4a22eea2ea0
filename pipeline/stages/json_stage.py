"""The reading half of a stage whose raw records are JSON and nothing else."""

from collections.abc import Mapping
from typing import ClassVar, Generic, TypeVar

from pipeline.settings import StageSettings
from pipeline.stages.media import bare_type
from pipeline.stages.raw import CONTENT_TYPE, check_text, header_of, read_event
from pipeline.stages.stage import RawEvent

RawT = TypeVar("RawT", bound=RawEvent)

BYTES_PER_CHAR = 12
"""The most that JSON takes for one: a pair of escaped surrogates."""
OTHER_BYTES = 256 << 10
"""Of an event, beside its text: the fields that the stage does not know."""


class JsonStage(Generic[RawT]):
    """Reads a stage's raw records, within the stage's limits.

    A stage that extends it adds what it asks: `name`, `raw_model`, `result_model`, and the
    methods `question`, `signals` and `result` of `pipeline.stages.stage.Stage`.

    Args:
        settings: The stage's limits.
    """

    settings_model: ClassVar[type[StageSettings]] = StageSettings
    """What the stage's table of the settings may hold; of a stage of one's own."""

    raw_model: type[RawT]
    reads_files = False
    checks_slowly = False

    def __init__(self, settings: StageSettings) -> None:
        self._limits = settings
        # What no text of the allowed length can take is refused before it is read.
        room = settings.max_text_chars * BYTES_PER_CHAR + OTHER_BYTES
        self._max_bytes = min(settings.max_event_bytes, room)

    def parse(
        self,
        value: bytes,
        *,
        key: bytes | None,  # noqa: ARG002 - the id is in the event
        headers: Mapping[str, bytes],
    ) -> RawT:
        """Read a raw record; every text field is held to the limit of texts.

        Raises:
            Invalid: The record is not what this stage takes.
        """
        event = read_event(
            self.raw_model, value, max_bytes=self._max_bytes, content_type=_content_type(headers)
        )
        for field in self.raw_model.model_fields:
            text = getattr(event, field)
            if isinstance(text, str):
                check_text(field, text, self._limits.max_text_chars)
        return event


def _content_type(headers: Mapping[str, bytes]) -> str:
    declared = header_of(headers, CONTENT_TYPE)
    if declared is None or declared == b"application/json":
        return ""
    return bare_type(declared.decode("latin-1"))
