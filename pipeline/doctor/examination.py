"""All checks, in the order in which their faults should be mended."""

from collections.abc import AsyncIterator

from pipeline.doctor.brokers import check_brokers
from pipeline.doctor.finding import Finding, failed, ok
from pipeline.doctor.models import check_address, check_model_names, check_models
from pipeline.doctor.ports import check_port
from pipeline.doctor.sizes import check_sizes
from pipeline.errors import WrongUse
from pipeline.settings import load_settings


async def examine() -> AsyncIterator[Finding]:
    """Look at everything, as far as what comes before allows."""
    try:
        settings = load_settings()
    except WrongUse as error:
        yield failed("settings", str(error))
        return
    yield ok("settings", "They can be read.")
    for finding in check_sizes(settings):
        yield finding
    yield check_port(settings.http)
    async for finding in check_brokers(settings):
        yield finding
    yield check_address()
    for finding in [*check_model_names(settings), *await check_models(settings)]:
        yield finding
