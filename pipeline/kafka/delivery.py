"""What the brokers can and allow: asked of them, not assumed."""

import asyncio
from dataclasses import dataclass

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NoError, for_code
from aiokafka.protocol.admin import ApiVersionRequest

from pipeline.config import Delivery, KafkaSettings, Settings
from pipeline.kafka.connection import (
    admin_client,
    bare_client,
    check_connection,
    patiently,
    producer_client,
)
from pipeline.kafka.errors import NotPermitted, RequestFailed
from pipeline.model.errors import PipelineError
from pipeline.stream.ledger import MAX_CHARACTERS

_PROBE_WITHIN = 30.0
"""Seconds. A first transaction has to wait until its state topic is made."""
_APIS_OF_TRANSACTIONS = {
    22: "InitProducerId",
    24: "AddPartitionsToTxn",
    25: "AddOffsetsToTxn",
    26: "EndTxn",
    28: "TxnOffsetCommit",
}


class ProbeFailed(PipelineError):
    """Whether the brokers take transactions could not be found out."""


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
        ProbeFailed: They should, and did not in time: a weaker guarantee is never an accident.
    """
    if settings.delivery == "at_least_once":
        await check_connection(settings.kafka)
        return DeliveryInForce("at_least_once", "the setting delivery says so.")
    refusal = await why_no_transactions(settings)
    if refusal is None:
        return DeliveryInForce("exactly_once", "the brokers take transactions.")
    return DeliveryInForce("at_least_once", f"the brokers take no transactions ({refusal}).")


async def why_no_transactions(settings: Settings) -> str | None:
    """Why no transactional producer can start; None where one can.

    It starts one under an id of its own, which disturbs no other.

    Raises:
        ConnectionFailed: No broker lets us in.
        ProbeFailed: The brokers offer transactions, and one did not start in time.
    """
    missing = await _missing_apis(settings.kafka)
    if missing:
        return f"they do not offer {', '.join(missing)}"
    try:
        async with (
            asyncio.timeout(_PROBE_WITHIN),
            producer_client(
                settings.kafka,
                transactional_id=f"{settings.kafka.group_prefix}probe",
                transaction_timeout_ms=round(settings.stream.transaction_timeout * 1000),
            ),
        ):
            return None
    except NotPermitted as error:
        return f"they do not allow them: {error}"
    except (TimeoutError, RequestFailed) as error:
        said = f"none within {_PROBE_WITHIN:g} s" if isinstance(error, TimeoutError) else str(error)
        raise ProbeFailed(
            f"The brokers offer transactions but did not start one ({said}): look at their topic "
            "__transaction_state, or set delivery to at_least_once."
        ) from error


async def _missing_apis(kafka: KafkaSettings) -> list[str]:
    async with bare_client(kafka) as client:
        response = await patiently(
            lambda: client.send(client.get_random_node(), ApiVersionRequest())
        )
        offered = {key for key, *_ in response.api_versions}
    return [name for key, name in _APIS_OF_TRANSACTIONS.items() if key not in offered]


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """What brokers allow, as far as they tell: None where they do not.

    Args:
        metadata_bytes: Of the metadata of a committed offset, where the ledger goes.
        transaction_seconds: The longest time-out of a transaction.
        session_seconds: The shortest and the longest session of a consumer.
    """

    metadata_bytes: int | None = None
    transaction_seconds: float | None = None
    session_seconds: tuple[float | None, float | None] = (None, None)


async def broker_limits(kafka: KafkaSettings) -> BrokerLimits:
    """Ask one broker for its limits.

    Raises:
        ConnectionFailed: No broker lets us in.
    """
    metadata, transaction, shortest, longest = names = (
        "offset.metadata.max.bytes",
        "transaction.max.timeout.ms",
        "group.min.session.timeout.ms",
        "group.max.session.timeout.ms",
    )
    async with admin_client(kafka) as admin:
        [broker, *_] = (await patiently(admin.describe_cluster))["brokers"]
        resource = ConfigResource(
            ConfigResourceType.BROKER, str(broker["node_id"]), dict.fromkeys(names)
        )
        [response] = await admin.describe_configs([resource])
    told = {
        name: int(value)
        for code, _, _, _, entries in response.resources
        for name, value, *_ in entries
        if for_code(code) is NoError and name in names and value is not None
    }
    seconds = {name: value / 1000 for name, value in told.items() if name != metadata}
    return BrokerLimits(
        metadata_bytes=told.get(metadata),
        transaction_seconds=seconds.get(transaction),
        session_seconds=(seconds.get(shortest), seconds.get(longest)),
    )


def conflicts(limits: BrokerLimits, settings: Settings) -> tuple[str, ...]:
    """Which settings the brokers will not go along with, and what to do. Pure."""
    found = []
    if limits.metadata_bytes is not None and limits.metadata_bytes < MAX_CHARACTERS:
        found.append(
            f"The brokers' offset.metadata.max.bytes is {limits.metadata_bytes} and the ledger may "
            f"need {MAX_CHARACTERS}: raise it, or lower stream.max_unfinished."
        )
    longest = limits.transaction_seconds
    if longest is not None and longest < settings.stream.transaction_timeout:
        found.append(
            f"The brokers' transaction.max.timeout.ms allows {longest:g} s and "
            f"stream.transaction_timeout is {settings.stream.transaction_timeout:g}: lower it."
        )
    low, high = limits.session_seconds
    session = settings.kafka.session_timeout
    if (low is not None and session < low) or (high is not None and session > high):
        found.append(
            f"The brokers allow sessions of {low or 0:g} to {high or session:g} s and "
            f"kafka.session_timeout is {session:g}: change it."
        )
    return tuple(found)
