"""Has every check look, all at once, and tells what they found in order."""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from pipeline.doctor.check import Check, OutOfReach, Site
from pipeline.doctor.checks import CHECKS
from pipeline.doctor.configuration import unreadable
from pipeline.doctor.finding import Finding, failed
from pipeline.doctor.topics import wanted
from pipeline.errors import PipelineError, WrongUse
from pipeline.settings import Settings, load_settings
from pipeline.stream.cluster import Cluster
from pipeline.stream.connection import check_connection
from pipeline.stream.inspection import inspect


async def examine(
    show: Callable[[Finding], None],
    *,
    environment: Mapping[str, str] = os.environ,
    checks: Sequence[Check] = CHECKS,
) -> list[Finding]:
    """Look at everything, as far as it can be reached.

    Args:
        show: Told of each finding as soon as it is known and its turn has come.
        environment: Variables of this process.
        checks: In the order in which to tell.
    """
    try:
        settings = load_settings()
    except WrongUse as error:
        finding = unreadable(error)
        show(finding)
        return [finding]
    found: list[Finding] = []
    async with asyncio.TaskGroup() as group:
        connected = group.create_task(_connect(settings))
        inspected = group.create_task(_inspect(settings, connected))
        site = Site(settings, environment, connected, inspected)
        looks = [group.create_task(look(check, site)) for check in checks]
        for each in looks:
            for finding in await each:
                show(finding)
                found.append(finding)
    return found


async def look(check: Check, site: Site) -> Iterable[Finding]:
    """Have one check look; what it does not come to an end with in time is a finding, too."""
    try:
        async with asyncio.timeout(check.seconds):
            return await check.look(site)
    except OutOfReach:
        return []
    except TimeoutError:
        return [_undone(check, f"Nothing was found out within {check.seconds:g} s.")]
    except PipelineError as error:
        return [_undone(check, str(error))]


async def _connect(settings: Settings) -> str | PipelineError:
    try:
        return await check_connection(settings.kafka)
    except PipelineError as error:
        return error


async def _inspect(
    settings: Settings, connected: "asyncio.Task[str | PipelineError]"
) -> Cluster | PipelineError | None:
    if isinstance(await connected, PipelineError):
        return None
    groups = [settings.kafka.group_prefix + stage for stage in settings.enabled]
    try:
        return await inspect(settings.kafka, wanted(settings), groups)
    except PipelineError as error:
        return error


def _undone(check: Check, detail: str) -> Finding:
    return failed(
        check.name,
        detail,
        why=f"So it is not known whether there is {check.finds}.",
        advice="Look at the brokers and the network, and try again.",
    )
