"""May this user do what the pipeline does?

Who may write to the topics that only the pipeline should write to?

What is in them is taken for the pipeline's own: an escalation is asked about and paid for, a mark
says that a dead letter was replayed, a result goes to consumers. Each bad record costs no more
than itself, and yet whoever may publish raw events should not be able to write one.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import DescribeAclsRequest

from pipeline.config import KafkaSettings, Settings
from pipeline.doctor.check import Finding, Site, failed, ok, warning
from pipeline.doctor.topics import read_topics, wanted
from pipeline.kafka.brokers import delivery_in_force
from pipeline.kafka.cluster import Cluster, broker_limits, conflicts
from pipeline.kafka.connection import NotPermitted, bare_client
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import PipelineError

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
    # What the pipeline only names, such as the topics of handled records, it need not see.
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


_TOPIC, _ANY, _LITERAL, _PREFIXED, _WRITE, _ALL, _ALLOW = 2, 1, 3, 4, 4, 2, 3
"""Kafka's own numbers."""
_ANSWER_WITHIN = 10.0
_TABLE = "docs/OPERATIONS.md#permissions-in-kafka says who needs what"


@dataclass(frozen=True, slots=True)
class Grant:
    """An entry of Kafka's access control list that allows or denies writing to topics.

    Args:
        principal: Whom, e.g. `User:shop`; `User:*` for everybody.
        topic: The name, or `*`, or what names begin with.
        is_prefix: Which of the two.
        is_allowed: Whether it allows it; else it denies it.
    """

    principal: str
    topic: str
    is_prefix: bool
    is_allowed: bool

    def is_about(self, topic: str) -> bool:
        """Whether it holds for a topic."""
        if self.is_prefix:
            return topic.startswith(self.topic)
        return self.topic in {topic, "*"}


def writers(topic: str, grants: Iterable[Grant]) -> set[str]:
    """The principals that may write to a topic. Pure."""
    about = [grant for grant in grants if grant.is_about(topic)]
    denied = {grant.principal for grant in about if not grant.is_allowed}
    if "User:*" in denied:
        return set()
    return {grant.principal for grant in about if grant.is_allowed} - denied


def guarded(settings: Settings) -> tuple[str, ...]:
    """The topics that publishers must not be able to write to."""
    names = TopicNames(settings.topics)
    results = (names.enriched(stage) for stage in settings.enabled if stage != "escalations")
    shared = (names.escalations, names.review, names.dead_letters)
    return (*shared, *names.compacted, *results)


def judged(settings: Settings, grants: Sequence[Grant]) -> Iterator[Finding]:
    """What the access control list comes to. Pure."""
    ours = f"User:{settings.kafka.sasl_username}"
    names = TopicNames(settings.topics)
    raw = [names.raw(stage) for stage in settings.enabled if stage != "escalations"]
    publishers = set().union(*(writers(topic, grants) for topic in raw)) - {ours}
    found = False
    for principal in sorted(publishers):
        reached = [topic for topic in guarded(settings) if principal in writers(topic, grants)]
        if reached:
            found = True
            yield warning(
                "writers",
                f"{principal} may write raw events, and {', '.join(reached)}, too.",
                why="What is there is taken for the pipeline's own, and asked about and paid for.",
                advice="Unless it is an account of an operator's command, take it away with "
                f"`kafka-acls.sh --remove`; {_TABLE}.",
            )
    if not found:
        yield ok("writers", "No publisher may write to the topics of the pipeline's own.")


async def check_writers(site: Site) -> Iterable[Finding]:
    """Look at the access control list, where the brokers show it."""
    await site.cluster()
    try:
        grants = await grants_on_topics(site.settings.kafka)
    except (PipelineError, KafkaError, TimeoutError):
        grants = None
    if grants is not None:
        return list(judged(site.settings, grants))
    return [
        ok(
            "writers",
            "These brokers do not say here who may write to which topic. Where others reach them, "
            f"publishers must not be able to write to {', '.join(guarded(site.settings))}; "
            f"{_TABLE}.",
        )
    ]


async def grants_on_topics(kafka: KafkaSettings) -> list[Grant] | None:
    """What is granted on topics; None where it is not known, or nothing is held to it."""
    request = DescribeAclsRequest(_TOPIC, None, _ANY, None, None, _ANY, _ANY)
    async with bare_client(kafka) as client, asyncio.timeout(_ANSWER_WITHIN):
        answer = await client.send(client.get_random_node(), request)
    if answer.error_code:
        return None
    return [
        Grant(principal, name, is_prefix=pattern == _PREFIXED, is_allowed=allowed == _ALLOW)
        for _, name, pattern, entries in answer.resources
        for principal, _, operation, allowed in entries
        if operation in {_WRITE, _ALL} and pattern in {_LITERAL, _PREFIXED}
    ]
