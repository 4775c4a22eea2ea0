"""A desk as the settings want it, on real brokers."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from pipeline.clock import now
from pipeline.desk.desk import Desk
from pipeline.desk.marks import Marks
from pipeline.errors import PipelineError
from pipeline.settings import Settings
from pipeline.stream.connection import admin_client
from pipeline.stream.kafka.brokers import KafkaBrokers
from pipeline.stream.probe import delivery_in_force
from pipeline.stream.reader import Reading, reading
from pipeline.stream.topics import Topics, why_forgetful

GROUP = "desk"
"""The group of desks, after the prefix of groups: it names their transactional ids."""

_TRANSACTION_LIMIT = 15.0
"""Seconds until brokers abort a transaction. Where a command was killed in the middle of one,
readers of the topics that it wrote to wait for that."""


def reading_of(settings: Settings) -> Reading:
    """Reads topics of the brokers that are set."""
    return partial(reading, settings.kafka)


@asynccontextmanager
async def desk_for(
    settings: Settings, topic: str, marks: str, *, tell: Callable[[str], None]
) -> AsyncIterator[Desk]:
    """A desk that is open.

    Args:
        settings: How brokers are reached and topics are called.
        topic: Whose records are handled.
        marks: The topic of their marks.
        tell: Told where the brokers allow only a weaker guarantee.

    Raises:
        PipelineError: The brokers cannot be reached, a topic is missing, or the topic of marks
            would forget.
    """
    async with admin_client(settings.kafka) as admin:
        found = await Topics(admin, settings.topics).require([topic, marks])
    if (forgets := why_forgetful(found[marks])) is not None:
        raise PipelineError(forgets)
    delivery = await delivery_in_force(settings)
    if delivery.mode != "exactly_once":
        tell(
            f"At least once, because {delivery.because} What is cut off in the middle may be done "
            "twice."
        )
    limit = min(_TRANSACTION_LIMIT, settings.stream.transaction_timeout)
    stream = settings.stream.model_copy(update={"transaction_timeout": limit})
    brokers = KafkaBrokers(settings.kafka, stream, settings.topics, delivery.mode)
    async with Desk(
        topic,
        marks,
        group=settings.kafka.group_prefix + GROUP,
        name=secrets.token_hex(8),
        brokers=brokers,
        read=reading_of(settings),
        clock=now,
    ) as desk:
        yield desk


async def marks_of(read: Reading, topic: str, marks: str) -> Marks:
    """What was handled so far, without fencing anybody.

    Raises:
        PipelineError: The topic of marks is missing.
    """
    found = Marks(topic, marks)
    async with read([marks]) as records:
        async for record in records:
            found.read(record)
    found.warn()
    return found
