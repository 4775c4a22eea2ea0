"""Which format a stage's records come in, by its settings."""

from pipeline.config.inputs import InputSettings, RegistrySettings
from pipeline.inputs.records import Format
from pipeline.model.errors import UsageError


def open_format(settings: InputSettings, registry: RegistrySettings) -> Format | None:
    """What reads a stage's records; None where they are JSON as the stage takes it.

    Raises:
        UsageError: It needs settings or packages that are not there.
    """
    inner = _inner(settings, registry)
    # Imported where it is needed, since most stages need none of it.
    match settings.envelope:
        case "cloudevents":
            from pipeline.inputs.cloudevents import CloudEvents  # noqa: PLC0415

            return CloudEvents(inner, attachments=settings.attachments)
        case "debezium":
            from pipeline.inputs.debezium import Debezium  # noqa: PLC0415

            return Debezium(inner)
    return inner


def _inner(settings: InputSettings, registry: RegistrySettings) -> Format | None:
    match settings.format:
        case "registry":
            try:
                from pipeline.inputs.framing import Framed  # noqa: PLC0415
            except ImportError as error:
                raise UsageError(
                    'input.format = "registry" needs the extra `registry`: pip install '
                    "'haiku-pipeline[registry]'."
                ) from error
            return Framed(registry, message_indexes=settings.message_indexes)
        case "email":
            from pipeline.inputs.mail import Mail  # noqa: PLC0415

            return Mail(settings.attachments)
        case "text":
            from pipeline.inputs.plain_text import PlainText  # noqa: PLC0415

            return PlainText()
    return None
