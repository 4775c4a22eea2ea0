"""Who proves what to the brokers and for how long, and what managed services take of it.

What services take is from their documentation of 2026; none of them was reached from here. They are
recognised by the names of their hosts. docs/BROKERS.md has what to paste for each.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

from pipeline.config import KafkaSettings, Settings
from pipeline.doctor.examination import Finding, OutOfReach, Site, failed, ok, warning
from pipeline.kafka.connection import session_seconds
from pipeline.kafka.sasl import account, token_provider
from pipeline.kafka.sessions import RENEW_AFTER
from pipeline.model.errors import PipelineError
from pipeline.runtime.tokens import CredentialsUnavailable

_SHORT_SESSION = 60.0
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_EVENT_HUBS_REQUEST = 1_046_528
"""Bytes of the largest request that Event Hubs takes."""
_EVENT_HUBS_IDLE = 240.0
"""Seconds after which Azure drops a connection without a word."""
_MIB = 1 << 20


async def check_authentication(site: Site) -> AsyncIterator[Finding]:
    """Finds no token or one that is not good for long, a secret that goes without TLS; says how the
    account is proven, and when brokers want it proven again.
    """
    kafka = site.settings.kafka
    if not kafka.security_protocol.startswith("SASL_"):
        proven = "by a client certificate" if kafka.ssl_cert_file else "by nothing"
        yield ok(f"Brokers learn who this is {proven} ({kafka.security_protocol}).")
        return
    if kafka.sasl_mechanism in {"OAUTHBEARER", "AWS_MSK_IAM"}:
        async for finding in _of_token(kafka):
            yield finding
    else:
        yield ok(f"The account is proven by {kafka.sasl_mechanism}, as {account(kafka)}.")
    if site.connected is None or isinstance(await site.connected, PipelineError):
        raise OutOfReach
    session = await session_seconds(kafka)
    if session is None:
        yield ok("The brokers never ask for it again while a connection lasts.")
    elif session < _SHORT_SESSION:
        yield warning(
            f"The brokers end a session after {session:.0f} s.",
            why=f"Each connection proves it again after {RENEW_AFTER:.0%} of that, which on a busy "
            "machine may come too late; the connection is then made again.",
            advice="Have tokens last for some minutes, and connections.max.reauth.ms be no less.",
        )
    else:
        yield ok(
            f"The brokers end a session after {session:.0f} s; each connection proves it again "
            f"after {RENEW_AFTER:.0%} of that."
        )


async def _of_token(kafka: KafkaSettings) -> AsyncIterator[Finding]:
    try:
        tokens = token_provider(kafka).tokens
        await tokens.current()
    except CredentialsUnavailable as error:
        yield failed(
            f"There is no token for {kafka.sasl_mechanism}: {error}",
            why="Brokers let nobody in without one.",
            advice="Fix [kafka] in the settings, or what it names.",
        )
        raise OutOfReach from error
    endpoint = urlsplit(kafka.oauth.token_endpoint or "")
    if kafka.sasl_mechanism == "AWS_MSK_IAM":
        yield ok(f"AWS credentials sign a token for MSK, good for {tokens.left:.0f} s.")
    elif tokens.left <= 0:
        yield warning(
            f"{endpoint.netloc} does not say how long its tokens are good.",
            why="So one is fetched for each connection.",
            advice="Have it say so (expires_in).",
        )
    else:
        yield ok(
            f"{endpoint.netloc} gives {account(kafka)} a token for OAUTHBEARER, good for "
            f"{tokens.left:.0f} s."
        )
    if endpoint.scheme == "http" and endpoint.hostname not in _LOOPBACK:
        yield warning(
            "The client's secret goes over the network as it is (kafka.oauth.token_endpoint is "
            "http).",
            why="Anyone who sees the connection has it.",
            advice="Use https, with kafka.oauth.ca_file if the CA is one of your own.",
        )


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    hosts: str  # a regular expression that their names end with
    judge: Callable[[Settings, re.Match[str]], Iterator[Finding]]


def _event_hubs(settings: Settings, _: re.Match[str]) -> Iterator[Finding]:
    kafka = settings.kafka
    yield from _wants(kafka, "Event Hubs", "PLAIN", "OAUTHBEARER")
    if kafka.sasl_mechanism == "PLAIN" and kafka.sasl_username != "$ConnectionString":
        yield failed(
            f"kafka.sasl_username is {kafka.sasl_username}.",
            why="Event Hubs takes the connection string as a password, and one name beside it.",
            advice="Set it to $ConnectionString, and kafka.sasl_password to the string.",
        )
    if kafka.compression not in {"none", "gzip"}:
        yield failed(
            f"kafka.compression is {kafka.compression}.",
            why="Event Hubs takes gzip alone, and refuses what is published.",
            advice='Set it to "gzip", or to "none".',
        )
    if settings.topics.max_message_bytes > _EVENT_HUBS_REQUEST:
        yield warning(
            f"topics.max_message_bytes is {settings.topics.max_message_bytes:,}.",
            why=f"Event Hubs closes a connection on a request above {_EVENT_HUBS_REQUEST:,} bytes, "
            "but for tiers with large messages.",
            advice="Set it to 1000000, and keep files outside of events (claim-checks).",
        )
    if kafka.connection_max_idle >= _EVENT_HUBS_IDLE:
        yield warning(
            f"kafka.connection_max_idle is {kafka.connection_max_idle:g} s.",
            why=f"Azure drops idle connections after {_EVENT_HUBS_IDLE:g} s without a word, and "
            "the next request on one waits in vain.",
            advice="Set it to 180.",
        )


def _confluent_cloud(settings: Settings, _: re.Match[str]) -> Iterator[Finding]:
    kafka = settings.kafka
    yield from _wants(kafka, "Confluent Cloud", "PLAIN", "OAUTHBEARER")
    if kafka.sasl_mechanism == "OAUTHBEARER" and "logicalCluster" not in kafka.oauth.extensions:
        yield warning(
            "kafka.oauth.extensions has no logicalCluster.",
            why="Confluent Cloud lets a token in for a cluster that is named beside it; only some "
            "private links do without.",
            advice='Set extensions = {logicalCluster = "lkc-...", identityPoolId = "pool-..."}.',
        )
    yield from _smaller(settings, "Confluent Cloud", 8 * _MIB, "dedicated clusters take 20 MiB")


def _msk_serverless(settings: Settings, host: re.Match[str]) -> Iterator[Finding]:
    yield from _wants(settings.kafka, "MSK Serverless", "AWS_MSK_IAM")
    yield from _in_region(settings.kafka, host)
    yield from _smaller(settings, "MSK Serverless", 8 * _MIB, "that is its limit")


_MSK_PORTS: Mapping[str, tuple[str, str | None]] = MappingProxyType(
    {
        **dict.fromkeys(("9092",), ("PLAINTEXT", None)),
        **dict.fromkeys(("9094", "9194"), ("SSL", None)),
        **dict.fromkeys(("9096", "9196"), ("SASL_SSL", "SCRAM-SHA-512")),
        **dict.fromkeys(("9098", "9198"), ("SASL_SSL", "AWS_MSK_IAM")),
    }
)
"""What MSK speaks on a port; the second of two is the public one."""


def _msk(settings: Settings, host: re.Match[str]) -> Iterator[Finding]:
    kafka = settings.kafka
    if host["port"] in _MSK_PORTS:
        protocol, mechanism = _MSK_PORTS[host["port"]]
        set_to = (kafka.security_protocol, kafka.sasl_mechanism if mechanism else None)
        if set_to != (protocol, mechanism):
            wanted = f'security_protocol = "{protocol}"'
            wanted += f', sasl_mechanism = "{mechanism}"' if mechanism else ""
            yield failed(
                f"Port {host['port']} of MSK does not speak {' with '.join(filter(None, set_to))}.",
                why="MSK has a port for each way in.",
                advice=f"Set {wanted}; or use another port: 9092 PLAINTEXT, 9094 SSL, 9096 SCRAM, "
                "9098 IAM.",
            )
    yield from _in_region(kafka, host)


def _redpanda_cloud(settings: Settings, _: re.Match[str]) -> Iterator[Finding]:
    yield from _wants(
        settings.kafka, "Redpanda Cloud", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"
    )


SERVICES = (
    Service(
        "Event Hubs",
        r"\.servicebus\.(windows\.net|chinacloudapi\.cn|usgovcloudapi\.net)",
        _event_hubs,
    ),
    Service("Confluent Cloud", r"\.confluent\.cloud", _confluent_cloud),
    Service(
        "MSK Serverless",
        r"\.kafka-serverless\.(?P<region>[\w-]+)\.amazonaws\.com",
        _msk_serverless,
    ),
    Service("MSK", r"\.kafka\.(?P<region>[\w-]+)\.amazonaws\.com(\.cn)?", _msk),
    Service("Redpanda Cloud", r"\.cloud\.redpanda\.com", _redpanda_cloud),
)


def check_service(site: Site) -> Iterator[Finding]:
    """Finds settings that the managed service whose host names are set does not take."""
    first = site.settings.kafka.bootstrap_servers.partition(",")[0].strip()
    for service in SERVICES:
        matched = re.search(rf"{service.hosts}(:(?P<port>\d+))?$", first)
        if matched is not None:
            found = list(service.judge(site.settings, matched))
            yield from found or [ok(f"By its documentation, {service.name} takes the settings.")]
            return


def _wants(kafka: KafkaSettings, service: str, *mechanisms: str) -> Iterator[Finding]:
    if kafka.security_protocol != "SASL_SSL" or kafka.sasl_mechanism not in mechanisms:
        speaks: str = kafka.security_protocol
        speaks += f" with {kafka.sasl_mechanism}" if speaks.startswith("SASL") else ""
        yield failed(
            f"{service} does not speak {speaks}.",
            why="Nothing is let in that way.",
            advice=f"Set security_protocol to SASL_SSL and sasl_mechanism to "
            f"{' or '.join(mechanisms)}; docs/BROKERS.md has what to paste.",
        )


def _in_region(kafka: KafkaSettings, host: re.Match[str]) -> Iterator[Finding]:
    if kafka.aws_region is not None and kafka.aws_region != host["region"]:
        yield failed(
            f"kafka.aws_region is {kafka.aws_region}, and the brokers are in {host['region']}.",
            why="A signature is good in one region alone.",
            advice=f"Set it to {host['region']}.",
        )


def _smaller(settings: Settings, service: str, most: int, but: str) -> Iterator[Finding]:
    if settings.topics.max_message_bytes > most:
        yield warning(
            f"topics.max_message_bytes is {settings.topics.max_message_bytes / _MIB:g} MiB.",
            why=f"{service} takes records of {most / _MIB:g} MiB ({but}).",
            advice=f"Set it to {most}; larger files stay outside of events (claim-checks).",
        )
