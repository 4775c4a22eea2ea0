"""Can the brokers be reached, are the topics there, and what delivery do they allow?"""

from collections.abc import AsyncIterator

from pipeline.administration import topic_names
from pipeline.doctor.finding import Finding, failed, ok, warning
from pipeline.errors import PipelineError, WrongUse
from pipeline.settings import Settings
from pipeline.stream.connection import admin_client, check_connection
from pipeline.stream.probe import broker_limits, conflicts, delivery_in_force
from pipeline.stream.topics import Topics, differences


async def check_brokers(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the brokers; what needs them is left out where they cannot be reached."""
    try:
        await check_connection(settings.kafka)
    except PipelineError as error:
        yield failed("brokers", str(error))
        return
    yield ok("brokers", f"A broker answers at {settings.kafka.bootstrap_servers}.")
    async for finding in check_topics(settings):
        yield finding
    async for finding in check_limits(settings):
        yield finding
    yield await check_delivery(settings)


async def check_topics(settings: Settings) -> AsyncIterator[Finding]:
    """Look for the topics of the enabled stages."""
    try:
        names = topic_names(settings, None)
        async with admin_client(settings.kafka) as admin:
            found = await Topics(admin, settings.topics).describe(names)
    except WrongUse as error:
        yield failed("topics", f"{error} Check `enabled` in the settings.")
        return
    except PipelineError as error:
        yield failed("topics", str(error))
        return
    missing = [name for name in names if name not in found]
    if missing:
        yield failed(
            "topics",
            f"These do not exist: {', '.join(missing)}. Make them with `pipeline topics create`, "
            "or check topics.prefix in the settings.",
        )
    for state in found.values():
        for difference in differences(state, settings.topics):
            yield warning("topics", difference)
    if not missing:
        yield ok("topics", f"All {len(names)} exist.")


async def check_limits(settings: Settings) -> AsyncIterator[Finding]:
    """Look for settings that the brokers will not go along with."""
    try:
        limits = await broker_limits(settings.kafka)
    except PipelineError as error:
        yield failed("limits", str(error))
        return
    for conflict in conflicts(limits, settings):
        yield failed("limits", conflict)


async def check_delivery(settings: Settings) -> Finding:
    """Find out which guarantee would be in force."""
    try:
        delivery = await delivery_in_force(settings)
    except PipelineError as error:
        return failed("delivery", str(error))
    if delivery.mode == settings.delivery:
        return ok("delivery", f"{delivery.mode}: {delivery.because}")
    return warning(
        "delivery",
        f"{settings.delivery} is set, but {delivery.mode} would be in force: {delivery.because} "
        "Allow transactions to this user, or set `delivery` to at_least_once.",
    )
