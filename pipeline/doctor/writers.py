"""Who may write to the topics that only the pipeline should write to?

What is in them is taken for the pipeline's own: an escalation is asked about and paid for, a mark
says that a dead letter was replayed, a result goes to consumers. Each bad record costs no more
than itself, and yet whoever may publish raw events should not be able to write one.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import DescribeAclsRequest

from pipeline.doctor.check import Site
from pipeline.doctor.finding import Finding, ok, warning
from pipeline.errors import PipelineError
from pipeline.settings import KafkaSettings, Settings
from pipeline.stream.connection import bare_client
from pipeline.stream.topics import TopicNames

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
