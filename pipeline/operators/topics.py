"""The stages and topics of the pipeline, as an administrator sees them."""

from collections.abc import Sequence

from pipeline.config import Settings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.topics import ESCALATIONS, TopicNames, TopicReport, Topics, TopicState
from pipeline.model.errors import UsageError
from pipeline.stages.api import build_stages


def chosen(settings: Settings, stages: Sequence[str] | None) -> Sequence[str]:
    """These stages; the enabled ones if none is named.

    Raises:
        UsageError: There is no such stage.
    """
    known = [*build_stages(settings.stages), ESCALATIONS]
    wanted = stages or settings.enabled
    if unknown := [name for name in wanted if name not in known]:
        raise UsageError(f"There is no stage {', '.join(unknown)}; there are {', '.join(known)}.")
    return wanted


def topic_names(settings: Settings, stages: Sequence[str] | None) -> tuple[str, ...]:
    """The topics that these stages read or write.

    Raises:
        UsageError: There is no such stage.
    """
    return TopicNames(settings.topics).of(chosen(settings, stages))


async def create(settings: Settings, stages: Sequence[str] | None) -> list[TopicReport]:
    """Make the topics that are missing.

    Raises:
        PipelineError: The brokers cannot be reached, or refuse.
    """
    names = topic_names(settings, stages)
    async with admin_client(settings.kafka) as admin:
        return await Topics(admin, settings.topics).create(names)


async def describe(
    settings: Settings, stages: Sequence[str] | None
) -> dict[str, TopicState | None]:
    """Describe the topics; None stands for those that do not exist.

    Raises:
        PipelineError: The brokers cannot be reached.
    """
    names = topic_names(settings, stages)
    async with admin_client(settings.kafka) as admin:
        found = await Topics(admin, settings.topics).describe(names)
    return {name: found.get(name) for name in names}
