"""Has every check look, all at once, and tells what they found in order.

All checks, in the order in which their faults should be fixed.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from pipeline.config import Settings, load_settings
from pipeline.doctor import (
    brokers,
    permissions,
    sizes,
    topics,
)
from pipeline.doctor import (
    brokers as address,
)
from pipeline.doctor import (
    claude as key,
)
from pipeline.doctor import (
    claude as models,
)
from pipeline.doctor import (
    claude as prompts,
)
from pipeline.doctor import (
    installation as configuration,
)
from pipeline.doctor import (
    installation as machine,
)
from pipeline.doctor import (
    permissions as writers,
)
from pipeline.doctor.check import Check, Finding, OutOfReach, Site, failed, local, of_cluster
from pipeline.doctor.installation import unreadable
from pipeline.doctor.topics import wanted
from pipeline.kafka.cluster import Cluster, inspect
from pipeline.kafka.connection import check_connection
from pipeline.model.errors import PipelineError, UsageError

CHECKS = (
    Check(
        "settings",
        "a value that cannot be, a name in pipeline.toml that is no setting, a file that is no "
        "TOML, a variable PIPELINE_... that is meant as a setting and is none",
        local(configuration.check_settings),
    ),
    Check(
        "stages",
        "a stage in `enabled` that does not exist; escalations that nobody would read",
        local(configuration.check_stages),
    ),
    Check(
        "extras",
        "a package that a setting needs and that is not installed; the extra `local` missing",
        local(machine.check_extras),
    ),
    Check(
        "key",
        "no API key, an empty one, one with quotes or whitespace, an example's, an Admin key, one "
        "under another variable's name",
        local(key.check_key),
    ),
    Check(
        "address",
        "a base URL that is none, ends with /v1, was forgotten, or has no TLS",
        local(address.check_address),
    ),
    Check(
        "models",
        "a model that has retired or will, is not Claude's, is the same as the other; Haiku and "
        "Sonnet swapped",
        local(models.check_models),
    ),
    Check("prices", "a model whose price is not known", local(models.check_prices)),
    Check(
        "prompts",
        "a prompt that is too short for the prompt cache",
        local(prompts.check_prompts),
    ),
    Check(
        "opinions",
        "second opinions that are set and do not pay",
        local(prompts.check_opinions),
    ),
    Check(
        "sizes",
        "events that stages take and topics do not; that cannot be escalated; that fetches or "
        "memory are too small for",
        local(sizes.check_sizes),
    ),
    Check(
        "membership",
        "static membership with one id for several processes",
        local(configuration.check_members),
    ),
    Check(
        "port",
        "the HTTP port is taken, or shows records to others than this machine",
        local(machine.check_port),
    ),
    Check("files", "too low a limit on open files", local(machine.check_files)),
    Check(
        "paths",
        "a budget file or an answer cache that cannot be written",
        local(machine.check_paths),
    ),
    Check(
        "brokers",
        "a wrong address, a name that does not resolve, nobody listening, TLS spoken to a plain "
        "port and the reverse, a CA that is not trusted, a certificate for another host, a wrong "
        "mechanism, user or password, certificate files that cannot be used",
        brokers.check_brokers,
    ),
    Check(
        "listeners",
        "brokers that advertise an address that is not reached from here",
        brokers.check_listeners,
        seconds=45,
    ),
    Check(
        "topics",
        "a topic that does not exist, or is not what the settings say",
        topics.check_topics,
    ),
    Check(
        "permissions",
        "an ACL that is missing for a topic or a consumer group",
        of_cluster(permissions.check_permissions),
    ),
    Check(
        "writers",
        "accounts of publishers that may write to the pipeline's own topics, where the brokers "
        "show their ACLs; else it says which to look at",
        writers.check_writers,
    ),
    Check(
        "partitions",
        "fewer partitions than members; a single one",
        of_cluster(topics.check_partitions),
    ),
    Check(
        "replication",
        "a replication factor or min.insync.replicas that cannot be met; a single replica",
        of_cluster(topics.check_replication),
    ),
    Check(
        "broker-sizes",
        "max.message.bytes of a topic (which limits what is compressed), or the brokers' limit on "
        "requests, below what stages take; raw topics that take more than a dead letter may have",
        of_cluster(sizes.check_broker_sizes),
    ),
    Check(
        "cleaning",
        "compaction of a topic, which deletes events that are not processed; a short retention",
        of_cluster(topics.check_cleaning),
    ),
    Check(
        "groups",
        "a consumer group that something else uses",
        of_cluster(brokers.check_groups),
    ),
    Check(
        "progress",
        "a lag that retention will overtake, or has: records deleted before they were processed; "
        "commits of another program; records from the future; a group that has committed nothing "
        "on a topic with a past, and what its first start will do",
        topics.check_progress,
        seconds=45,
    ),
    Check(
        "limits",
        "transaction.max.timeout.ms, session time-outs or offset.metadata.max.bytes of the "
        "brokers below ours",
        permissions.check_limits,
    ),
    Check(
        "delivery",
        "brokers without transactions; transactions that are not permitted",
        permissions.check_delivery,
        seconds=75,
    ),
    Check("clock", "a clock that is wrong", address.check_clock),
    Check(
        "access",
        "an API key that is refused, a model that the key may not ask or the API does not know, "
        "no way to the API",
        models.check_access,
        seconds=75,
    ),
)


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
    except UsageError as error:
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
