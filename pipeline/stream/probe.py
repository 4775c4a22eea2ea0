"""Which delivery the brokers allow: asked of them, not assumed."""

import asyncio
from dataclasses import dataclass

from aiokafka.errors import KafkaError

from pipeline.settings import Delivery, Settings
from pipeline.stream.connection import check_connection, producer_client

_PROBE_WITHIN = 15.0
"""Seconds. A first transaction has to wait until its state topic is made."""


@dataclass(frozen=True, slots=True)
class DeliveryInForce:
    """The guarantee that holds, which may be less than the one that is set.

    Args:
        mode: What is in force.
        because: Why, in a sentence.
    """

    mode: Delivery
    because: str


async def delivery_in_force(settings: Settings) -> DeliveryInForce:
    """Find out whether the brokers do transactions, if the settings ask for them.

    Raises:
        ConnectionFailed: No broker lets us in.
    """
    await check_connection(settings.kafka)
    if settings.delivery == "at_least_once":
        return DeliveryInForce("at_least_once", "the setting delivery says so.")
    refusal = await why_no_transactions(settings)
    if refusal is None:
        return DeliveryInForce("exactly_once", "the brokers take transactions.")
    return DeliveryInForce("at_least_once", f"the brokers take no transactions ({refusal}).")


async def why_no_transactions(settings: Settings) -> str | None:
    """Why no transactional producer can start; None where one can."""
    probe = f"{settings.kafka.group_prefix}probe"
    try:
        async with (
            asyncio.timeout(_PROBE_WITHIN),
            producer_client(settings.kafka, transactional_id=probe),
        ):
            return None
    except TimeoutError:
        return f"no transactional producer started within {_PROBE_WITHIN:g} s"
    except KafkaError as error:
        return f"{type(error).__name__}: {error}"
