"""Can the brokers be reached, by the addresses that are set and by those that they name?"""

import asyncio
import re
from collections.abc import Iterable, Iterator

from pipeline.doctor.check import OutOfReach, Site
from pipeline.doctor.finding import Finding, failed, ok, warning
from pipeline.errors import PipelineError, WrongUse
from pipeline.settings import KafkaSettings
from pipeline.stream.cluster import BrokerAt, Cluster
from pipeline.stream.connection import check_connection
from pipeline.stream.connection_errors import (
    BrokerUnreachable,
    TlsMismatch,
    WrongCredentials,
)

_SCHEME = re.compile(r"(\w+)://")


async def check_brokers(site: Site) -> Iterable[Finding]:
    """Be let in by one of the brokers that are set."""
    kafka = site.settings.kafka
    scheme = _SCHEME.search(kafka.bootstrap_servers)
    if scheme is not None:
        return [
            failed(
                "brokers",
                f"kafka.bootstrap_servers is {kafka.bootstrap_servers}, with a scheme.",
                why="It is taken for a part of the host's name, so no broker is found.",
                advice="Set it to host:port, comma-separated; what is spoken there is "
                "kafka.security_protocol.",
            )
        ]
    if site.connected is None:
        raise OutOfReach
    found = await asyncio.shield(site.connected)
    if isinstance(found, PipelineError):
        return [failed("brokers", str(found), why=_why(found), advice=_advice(found, kafka))]
    return [ok("brokers", f"A broker answers at {found}."), *_in_clear(kafka)]


def _why(error: PipelineError) -> str:
    match error:
        case WrongCredentials():
            return "A broker is there and does not let this user in."
        case TlsMismatch():
            return "A broker is there, and both sides do not agree on how to speak, or on trust."
        case WrongUse():
            return "No connection is tried with settings that contradict each other."
        case _:
            return "Nothing can be consumed or published."


def _advice(error: PipelineError, kafka: KafkaSettings) -> str:
    match error:
        case WrongCredentials():
            return (
                "Compare kafka.sasl_mechanism, kafka.sasl_username and kafka.sasl_password "
                "(PIPELINE_KAFKA__SASL_PASSWORD) with what the brokers' administrator gave you."
            )
        case TlsMismatch():
            host = kafka.bootstrap_servers.partition(",")[0]
            return f"See what the port speaks: `openssl s_client -connect {host}`."
        case BrokerUnreachable():
            return (
                "Try it by hand from this very machine or container: 127.0.0.1 in a container is "
                "the container. Without any broker: `pipeline local`."
            )
        case _:
            return "Mend [kafka] in the settings."


def _in_clear(kafka: KafkaSettings) -> Iterator[Finding]:
    if kafka.security_protocol == "SASL_PLAINTEXT" and kafka.sasl_mechanism == "PLAIN":
        yield warning(
            "brokers",
            "The password goes over the network as it is (SASL_PLAINTEXT with PLAIN).",
            why="Whoever sees the connection has it.",
            advice="Use SASL_SSL, or a SCRAM mechanism.",
        )


async def check_listeners(site: Site) -> Iterable[Finding]:
    """Reach every broker where it says it is reached: clients go there after the first answer."""
    cluster = await site.cluster()
    async with asyncio.TaskGroup() as group:
        tries = [
            group.create_task(_reach(site.settings.kafka, broker)) for broker in cluster.brokers
        ]
    unreachable = [finding for each in tries if (finding := each.result()) is not None]
    return unreachable or [
        ok("listeners", f"All {len(cluster.brokers)} brokers are reached where they say.")
    ]


async def _reach(kafka: KafkaSettings, broker: BrokerAt) -> Finding | None:
    host = f"[{broker.host}]" if ":" in broker.host else broker.host
    there = kafka.model_copy(update={"bootstrap_servers": f"{host}:{broker.port}"})
    try:
        await check_connection(there)
    except PipelineError as error:
        return failed(
            "listeners",
            f"Broker {broker.node} says that clients reach it at {broker}, and from here they do "
            f"not: {error}",
            why="The first answer comes from the address that is set; everything after it is "
            "asked of the addresses that the brokers name.",
            advice="Set advertised.listeners on the broker to an address that this machine "
            "resolves and reaches, with a listener of its own for clients outside of its network; "
            "or run the pipeline where that address holds.",
        )
    return None


def check_groups(site: Site, cluster: Cluster) -> Iterator[Finding]:
    """Groups that somebody else uses, and that have more members than partitions."""
    found = list(_strangers(site, cluster))
    yield from found or [ok("groups", "Nobody else is in the consumer groups.")]


def _strangers(site: Site, cluster: Cluster) -> Iterator[Finding]:
    ours = site.settings.kafka.client_id
    for group in cluster.groups.values():
        others = [
            member
            for member in group.members
            if not member.client_id.startswith(ours)
            or (member.topics and not member.topics <= set(cluster.topics))
        ]
        if others or group.kind not in {"", "consumer"}:
            who = ", ".join(sorted({f"{each.client_id} ({each.host})" for each in others}))
            yield failed(
                "groups",
                f"Group {group.name} is used by something else: {who or group.kind}.",
                why="Partitions that go to the other are not processed here, and its commits "
                "overwrite ours: events are lost or done twice.",
                advice="Set kafka.group_prefix to one that is yours alone.",
            )
