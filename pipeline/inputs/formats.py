"""The format that a stage's records are in."""

from pipeline.config.inputs import InputSettings, RegistrySettings
from pipeline.inputs.records import Format
from pipeline.model.errors import UsageError


def open_format(settings: InputSettings, registry: RegistrySettings) -> Format | None:  # noqa: ARG001
    """What reads a stage's records; None for plain JSON, which the stage reads by itself.

    Raises:
        UsageError: There is no such format here.
    """
    if settings.format == "json" and settings.envelope is None:
        return None
    raise UsageError(f"There is no input format {settings.format!r} here.")
