"""The reading half of a stage whose raw records are JSON and nothing else."""

from collections.abc import Mapping
from typing import ClassVar, Generic, TypeVar

from pipeline.settings import StageSettings
from pipeline.stages.raw import check_text, read_event
from pipeline.stages.stage import RawEvent

RawT = TypeVar("RawT", bound=RawEvent)


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

    def parse(
        self,
        value: bytes,
        *,
        key: bytes | None,  # noqa: ARG002 - the id is in the event
        headers: Mapping[str, bytes],  # noqa: ARG002
    ) -> RawT:
        """Read a raw record; every text field is held to the limit of texts.

        Raises:
            Invalid: The record is not what this stage takes.
        """
        event = read_event(self.raw_model, value, max_bytes=self._limits.max_event_bytes)
        for field in self.raw_model.model_fields:
            text = getattr(event, field)
            if isinstance(text, str):
                check_text(field, text, self._limits.max_text_chars)
        return event
