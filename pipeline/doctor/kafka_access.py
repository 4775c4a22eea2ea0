"""The brokers: can they be reached, who may do what the pipeline does there, and who else may?

What is in the pipeline's own topics is taken for its own: an escalation is asked about and paid
for, a mark says that a dead letter was replayed. So publishers of raw events should not be able to
write one, although each bad record costs no more than itself.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import DescribeAclsRequest

from pipeline.config import KafkaSettings, Settings
from pipeline.doctor.examination import Finding, OutOfReach, Site, failed, ok, warning
from pipeline.kafka.brokers import delivery_in_force
from pipeline.kafka.cluster import BrokerAt, Cluster, conflicts
from pipeline.kafka.connection import (
    BrokerUnreachable,
    NoProof,
    NotPermitted,
    TlsMismatch,
    WrongCredentials,
    bare_client,
    check_connection,
)
from pipeline.kafka.sasl import account
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import PipelineError, UsageError
from pipeline.operators.inspection import topic_names

_SCHEME = re.compile(r"(\w+)://")
_REFUSED = "The brokers refuse what is not granted, for ever: those partitions stand still."
_TABLE = "docs/OPERATIONS.md#permissions-in-kafka says who needs what"
_ANSWER_WITHIN = 10.0
_TOPIC, _ANY, _LITERAL, _PREFIXED, _WRITE, _ALL, _ALLOW = 2, 1, 3, 4, 4, 2, 3
"""Kafka's own numbers."""


async def check_brokers(site: Site) -> AsyncIterator[Finding]:
    """Finds a wrong address, a name that does not resolve, nobody listening, TLS spoken to a plain
    port and the reverse, a CA that is not trusted, a certificate for another host, a wrong
    mechanism, user or password, certificate files that cannot be used.
    """
    kafka = site.settings.kafka
    if _SCHEME.search(kafka.bootstrap_servers) is not None:
        yield failed(
            f"kafka.bootstrap_servers is {kafka.bootstrap_servers}, with a scheme.",
            why="It is taken for a part of the host's name, so no broker is found.",
            advice="Set it to host:port, comma-separated; what is spoken there is "
            "kafka.security_protocol.",
        )
        return
    if site.connected is None:
        raise OutOfReach
    found = await asyncio.shield(site.connected)
    if isinstance(found, PipelineError):
        why, advice = _why_and_advice(found, kafka)
        yield failed(str(found), why=why, advice=advice)
        return
    yield ok(f"A broker answers at {found}.")
    if kafka.security_protocol == "SASL_PLAINTEXT" and kafka.sasl_mechanism == "PLAIN":
        yield warning(
            "The password goes over the network as it is (SASL_PLAINTEXT with PLAIN).",
            why="Anyone who sees the connection has it.",
            advice="Use SASL_SSL, or a SCRAM mechanism.",
        )


def _why_and_advice(error: PipelineError, kafka: KafkaSettings) -> tuple[str, str]:
    advice = "Fix [kafka] in the settings."
    match error:
        case NoProof():
            return "No broker was asked: without that it lets nobody in.", advice
        case WrongCredentials():
            advice = "Compare the protocol, the mechanism and the account under [kafka] with what "
            advice += "the brokers' administrator gave you."
            return "A broker is there and does not let this user in.", advice
        case TlsMismatch():
            host = kafka.bootstrap_servers.partition(",")[0]
            return (
                "A broker is there, and both sides do not agree on how to speak, or on trust.",
                f"See what the port speaks: `openssl s_client -connect {host}`.",
            )
        case UsageError():
            return "No connection is tried with settings that contradict each other.", advice
        case BrokerUnreachable():
            advice = (
                "Try it by hand from this very machine or container: 127.0.0.1 in a container is "
                "the container. Without any broker: `pipeline local`."
            )
    return "Nothing can be consumed or published.", advice


async def check_listeners(site: Site) -> AsyncIterator[Finding]:
    """Finds brokers that advertise an address that is not reached from here."""
    cluster, kafka = await site.cluster(), site.settings.kafka
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(_reach(kafka, broker)) for broker in cluster.brokers]
    found = [finding for each in tries if (finding := each.result()) is not None]
    for finding in found or [ok(f"All {len(tries)} brokers are reached where they say.")]:
        yield finding


async def _reach(kafka: KafkaSettings, broker: BrokerAt) -> Finding | None:
    host = f"[{broker.host}]" if ":" in broker.host else broker.host
    there = kafka.model_copy(update={"bootstrap_servers": f"{host}:{broker.port}"})
    try:
        await check_connection(there)
    except PipelineError as error:
        return failed(
            f"Broker {broker.node} says that clients reach it at {broker}, and from here they do "
            f"not: {error}",
            why="The first answer comes from the address that is set; everything after it is "
            "asked of the addresses that the brokers name.",
            advice="Set advertised.listeners on the broker to an address that this machine "
            "resolves and reaches, with a listener of its own for clients outside of its network; "
            "or run the pipeline where that address holds.",
        )
    return None


def operations_needed(
    settings: Settings, existing: Collection[str] = ()
) -> Mapping[str, frozenset[str]]:
    """What has to be allowed on each topic; of patterns, on those that exist. Pure."""
    names = TopicNames.under(settings)
    read = (names.read_by(stage).among(existing) for stage in settings.enabled)
    sources = {name for topics in read for name in topics}
    # Publishers write the first; `pipeline dead-letters` and `review`, the others.
    raw = (name for name in sources if not names.is_written(name))
    others = {*raw, names.audit, *names.compacted}
    needed = {}
    for name in topic_names(settings, None, existing):
        operations = set() if name in others else {"Write"}
        needed[name] = frozenset(operations | ({"Read"} if name in sources else set()))
    if settings.trust.certificate is not None:
        needed[names.trust] = frozenset({"Read", "Write"})
    if settings.has_budget:
        needed[names.budget] = frozenset({"Read", "Write"})
    return needed


def check_permissions(site: Site, cluster: Cluster) -> Iterator[Finding]:
    """Finds an ACL that is missing for a topic or a consumer group."""
    user = _user(site.settings)
    found = list(_of_topics(site.settings, cluster, user))
    found += [
        failed(
            f"{user} may not use the consumer group {group.name}.",
            why=_REFUSED,
            advice=_grant(user, "Read", "group", group.name),
        )
        for group in cluster.groups.values()
        if group.is_forbidden or (group.may is not None and "Read" not in group.may)
    ]
    is_known = any(topic.may is not None for topic in cluster.topics.values())
    yield from found or [
        ok(
            f"The brokers allow {user} what it needs on topics and groups."
            if is_known
            else "These brokers do not say what is allowed.",
        )
    ]


def _user(settings: Settings) -> str:
    return account(settings.kafka)


def _of_topics(settings: Settings, cluster: Cluster, user: str) -> Iterator[Finding]:
    needed = operations_needed(settings, cluster.topics)
    # What the pipeline only names, such as the marks of operators, it need not see.
    hidden = sorted(name for name in cluster.forbidden if needed.get(name))
    if hidden:
        operations = " --operation ".join(sorted(needed[hidden[0]]))
        yield failed(
            f"{user} may not see {', '.join(hidden)}.",
            why=f"The brokers do not even say whether they exist. {_REFUSED}",
            advice=_grant(user, operations, "topic", hidden[0]),
        )
    for name, operations_of in needed.items():
        topic = cluster.topics.get(name)
        if topic is None or topic.may is None:
            continue
        for operation in sorted(operations_of - topic.may):
            yield failed(
                f"{user} may not {operation} {name}.",
                why=_REFUSED,
                advice=_grant(user, operation, "topic", name),
            )


def _grant(user: str, operation: str, kind: str, name: str) -> str:
    return (
        f"`kafka-acls.sh --add --allow-principal User:{user} --operation {operation} "
        f"--{kind} {name}`."
    )


async def check_limits(site: Site) -> AsyncIterator[Finding]:
    """Finds transaction.max.timeout.ms, session time-outs or offset.metadata.max.bytes of the
    brokers below ours.
    """
    for conflict in conflicts((await site.cluster()).configs, site.settings):
        yield failed(
            conflict,
            why="The brokers refuse a member, a commit or a transaction that asks for more.",
            advice="Change the setting, or theirs.",
        )


async def check_delivery(site: Site) -> AsyncIterator[Finding]:
    """Finds brokers without transactions; transactions that are not permitted."""
    await site.cluster()
    settings = site.settings
    permit = (
        f"`kafka-acls.sh --add --allow-principal User:{_user(settings)} --operation Write "
        f"--operation Describe --transactional-id {settings.kafka.group_prefix} "
        "--resource-pattern-type prefixed`."
    )
    try:
        delivery = await delivery_in_force(settings)
    except PipelineError as error:
        yield failed(
            str(error),
            why="A weaker guarantee is never an accident, so `pipeline run` does not start.",
            advice=permit
            if isinstance(error, NotPermitted)
            else "Look at the brokers, or set `delivery` to at_least_once.",
        )
        return
    if delivery.mode == settings.delivery:
        yield ok(f"{delivery.mode}: {delivery.because}")
    else:
        yield warning(
            f"{settings.delivery} is set, and {delivery.mode} would be in force: "
            f"{delivery.because}",
            why="After a crash or a rebalance readers may see an event twice.",
            advice=f"{permit} Or set `delivery` to at_least_once, and let readers cope.",
        )


@dataclass(frozen=True, slots=True)
class Grant:
    """An entry of Kafka's access control list that allows or denies writing to topics."""

    principal: str  # e.g. `User:shop`; `User:*` for everybody
    topic: str  # the name, or `*`
    is_prefix: bool  # whether `topic` is what names begin with
    is_allowed: bool

    def is_about(self, topic: str) -> bool:
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
    names = TopicNames.under(settings)
    stages = (stage for stage in settings.enabled if stage != "escalations")
    results = (topic for stage in stages for topic in names.results_of(stage))
    shared = (names.escalations, names.review, names.dead_letters, names.audit, names.trust)
    return (*shared, *names.compacted, *results)


def judged(settings: Settings, grants: Sequence[Grant]) -> Iterator[Finding]:
    """What the access control list comes to. Pure."""
    names = TopicNames.under(settings)
    stages = [stage for stage in settings.enabled if stage != "escalations"]
    raw = [topic for stage in stages for topic in names.read_by(stage).topics]
    publishers = set().union(*(writers(topic, grants) for topic in raw))
    for principal in sorted(publishers - {f"User:{account(settings.kafka)}"}):
        reached = [topic for topic in guarded(settings) if principal in writers(topic, grants)]
        if reached:
            yield warning(
                f"{principal} may write raw events, and {', '.join(reached)}, too.",
                why="What is there is taken for the pipeline's own, and asked about and paid for.",
                advice="Unless it is an account of an operator's command, take it away with "
                f"`kafka-acls.sh --remove`; {_TABLE}.",
            )


async def check_writers(site: Site) -> AsyncIterator[Finding]:
    """Finds accounts of publishers that may write to the pipeline's own topics, where the brokers
    show their ACLs; else it says which to look at.
    """
    await site.cluster()
    try:
        grants = await grants_on_topics(site.settings.kafka)
    except (PipelineError, KafkaError, TimeoutError):
        grants = None
    found = [] if grants is None else judged(site.settings, grants)
    for finding in found:
        yield finding
    if grants is None:
        yield ok(
            "These brokers do not say here who may write to which topic. Where others reach them, "
            f"publishers must not be able to write to {', '.join(guarded(site.settings))}; "
            f"{_TABLE}."
        )


async def grants_on_topics(kafka: KafkaSettings) -> list[Grant] | None:
    """None where it is not known what is granted, or nothing is held to it."""
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
