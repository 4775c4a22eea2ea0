"""Can the brokers be reached, by the addresses that are set and by those that they name?

Where do requests go, and is the clock there ours?
"""

import asyncio
import re
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

import aiohttp

from pipeline.config import KafkaSettings
from pipeline.doctor.check import Finding, OutOfReach, Site, failed, ok, warning
from pipeline.kafka.cluster import BrokerAt, Cluster
from pipeline.kafka.connection import (
    BrokerUnreachable,
    TlsMismatch,
    WrongCredentials,
    check_connection,
)
from pipeline.model.errors import PipelineError, UsageError

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
        case UsageError():
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


BASE_URL = "ANTHROPIC_BASE_URL"
PUBLIC = "https://api.anthropic.com"
_SKEW = 5.0
"""Seconds; dates of HTTP have whole ones, and the answer takes its time."""
_WITHIN = 10.0
_CREDENTIALS = re.compile("//[^/?#]*@")


def check_address(site: Site) -> Iterator[Finding]:
    """A forgotten or mistyped variable sends requests to the wrong place."""
    where = site.environment.get(BASE_URL)
    if where is None:
        yield ok("address", "Requests go to the API of Anthropic.")
        return
    url = _split(where.strip())
    where = _CREDENTIALS.sub("//***@", where)
    advice = f"Set {BASE_URL} to scheme, host and port alone, or unset it for {PUBLIC}."
    if where != where.strip() or url is None:
        yield failed(
            "address",
            f"{BASE_URL} is {where!r}, which is no address.",
            why="No call could be made.",
            advice=advice,
        )
    elif url.path.rstrip("/").endswith(("/v1", "/messages")):
        yield failed(
            "address",
            f"{BASE_URL} ends with {url.path}.",
            why="The SDK adds /v1/messages itself, so every call would get a 404.",
            advice=advice,
        )
    elif url.scheme == "http" and not _is_here(url.hostname or ""):
        yield warning(
            "address",
            f"Requests go to {where}, as {BASE_URL} says, without TLS.",
            why="The key and the content of events can be read on the way.",
            advice="Use https, unless the network is yours alone.",
        )
    else:
        yield ok("address", f"Requests go to {where}, as {BASE_URL} says.")


def _split(where: str) -> SplitResult | None:
    """The parts of an address that can be called; None if it cannot."""
    try:
        url = urlsplit(where)
        # A port is looked at only when it is asked for.
        is_address = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        return None
    return url if is_address else None


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def check_clock(site: Site) -> Iterable[Finding]:
    """Compare our clock with the API's, which dates its answers; no key is sent."""
    url = site.environment.get(BASE_URL, PUBLIC).strip()
    try:
        async with (
            asyncio.timeout(_WITHIN),
            aiohttp.ClientSession(trust_env=True) as session,
            session.get(f"{url.rstrip('/')}/v1/models") as answer,
        ):
            date = answer.headers.get("date", "")
        ahead = site.now() - parsedate_to_datetime(date).timestamp()
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return [ok("clock", "It was not compared: nothing at the API's address tells the time.")]
    if abs(ahead) <= _SKEW:
        return [ok("clock", "It agrees with the API's.")]
    return [
        warning(
            "clock",
            f"The clock here is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} "
            "the API's.",
            why="Ages of events, budgets of the hour and the day, and waits until a given time "
            "are wrong by that; TLS fails where it is a lot.",
            advice="Set the clock: `timedatectl set-ntp true`, or the host's, for a container.",
        )
    ]
