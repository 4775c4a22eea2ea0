"""May this user do what the pipeline does?"""

from collections.abc import Iterable, Iterator, Mapping

from pipeline.doctor.check import Site
from pipeline.doctor.finding import Finding, failed, ok, warning
from pipeline.doctor.topics import read_topics, wanted
from pipeline.errors import PipelineError
from pipeline.settings import Settings
from pipeline.stream.cluster import Cluster
from pipeline.stream.connection_errors import NotPermitted
from pipeline.stream.probe import broker_limits, conflicts, delivery_in_force
from pipeline.stream.topics import TopicNames

_WHY = "The brokers refuse what is not granted, for ever: those partitions stand still."


def operations_needed(settings: Settings) -> Mapping[str, frozenset[str]]:
    """What has to be allowed on each topic. Pure."""
    sources = set(read_topics(settings).values())
    names = TopicNames(settings.topics)
    # Publishers write the first; `pipeline dead-letters` and `review`, the others.
    others = {*(names.raw(stage) for stage in settings.enabled), *names.compacted}
    needed = {}
    for name in wanted(settings):
        operations = {"Write"} if name not in others else set()
        if name in sources:
            operations.add("Read")
        needed[name] = frozenset(operations)
    return needed


def check_permissions(site: Site, cluster: Cluster) -> Iterator[Finding]:
    """What is missing on topics and groups, as the brokers tell."""
    user = site.settings.kafka.sasl_username or "this client"
    found = [*_of_topics(site.settings, cluster, user), *_of_groups(cluster, user)]
    told = any(topic.may is not None for topic in cluster.topics.values())
    yield from found or [
        ok(
            "permissions",
            f"The brokers allow {user} what it needs on topics and groups."
            if told
            else "These brokers do not tell what is allowed.",
        )
    ]


def _of_topics(settings: Settings, cluster: Cluster, user: str) -> Iterator[Finding]:
    needed = operations_needed(settings)
    # What the pipeline only names, such as the marks of desks, it need not see.
    hidden = sorted(name for name in cluster.forbidden if needed.get(name))
    if hidden:
        yield failed(
            "permissions",
            f"{user} may not see {', '.join(hidden)}.",
            why=f"The brokers do not even say whether they exist. {_WHY}",
            advice=_grant(
                user, " --operation ".join(sorted(needed[hidden[0]])), "topic", hidden[0]
            ),
        )
    for name, operations in needed.items():
        topic = cluster.topics.get(name)
        if topic is None or topic.may is None:
            continue
        for operation in sorted(operations - topic.may):
            yield failed(
                "permissions",
                f"{user} may not {operation} {name}.",
                why=_WHY,
                advice=_grant(user, operation, "topic", name),
            )


def _of_groups(cluster: Cluster, user: str) -> Iterator[Finding]:
    for group in cluster.groups.values():
        if group.is_forbidden or (group.may is not None and "Read" not in group.may):
            yield failed(
                "permissions",
                f"{user} may not use the consumer group {group.name}.",
                why=_WHY,
                advice=_grant(user, "Read", "group", group.name),
            )


def _grant(user: str, operation: str, kind: str, name: str) -> str:
    return (
        f"`kafka-acls.sh --add --allow-principal User:{user} --operation {operation} "
        f"--{kind} {name}`."
    )


async def check_limits(site: Site) -> Iterable[Finding]:
    """Look for settings that the brokers will not go along with."""
    await site.cluster()
    limits = await broker_limits(site.settings.kafka)
    return [
        failed(
            "limits",
            conflict,
            why="The brokers refuse a member, a commit or a transaction that asks for more.",
            advice="Change the setting, or theirs.",
        )
        for conflict in conflicts(limits, site.settings)
    ] or [ok("limits", "Sessions, transactions and commits are within the brokers' limits.")]


async def check_delivery(site: Site) -> Iterable[Finding]:
    """Find out which guarantee would be in force."""
    await site.cluster()
    settings = site.settings
    try:
        delivery = await delivery_in_force(settings)
    except PipelineError as error:
        return [
            failed(
                "delivery",
                str(error),
                why="A weaker guarantee is never an accident, so `pipeline run` does not start.",
                advice=_transactions(settings)
                if isinstance(error, NotPermitted)
                else "Look at the brokers, or set `delivery` to at_least_once.",
            )
        ]
    if delivery.mode == settings.delivery:
        return [ok("delivery", f"{delivery.mode}: {delivery.because}")]
    return [
        warning(
            "delivery",
            f"{settings.delivery} is set, and {delivery.mode} would be in force: "
            f"{delivery.because}",
            why="After a crash or a rebalance readers may see an event twice.",
            advice=f"{_transactions(settings)} Or set `delivery` to at_least_once, and let "
            "readers cope.",
        )
    ]


def _transactions(settings: Settings) -> str:
    user = settings.kafka.sasl_username or "this client"
    return (
        f"`kafka-acls.sh --add --allow-principal User:{user} --operation Write --operation "
        f"Describe --transactional-id {settings.kafka.group_prefix} --resource-pattern-type "
        "prefixed`."
    )
