import pytest

from pipeline.config import KafkaSettings, Settings, StreamSettings
from pipeline.kafka import brokers
from pipeline.kafka.brokers import ProbeFailed, delivery_in_force, why_no_transactions
from pipeline.kafka.cluster import conflicts, inspect
from pipeline.kafka.connection import BrokerUnreachable
from pipeline.local.apache import GUEST, ApacheKafka
from pipeline.local.broker import LocalBroker


def limits(metadata_bytes: int, transaction: int, shortest: int, longest: int) -> dict[str, str]:
    """What a broker says of its limits; times in seconds."""
    return {
        "offset.metadata.max.bytes": str(metadata_bytes),
        "transaction.max.timeout.ms": str(transaction * 1000),
        "group.min.session.timeout.ms": str(shortest * 1000),
        "group.max.session.timeout.ms": str(longest * 1000),
    }


def test_limits_that_are_too_narrow_are_reported_with_the_setting() -> None:
    metadata, transaction, session = conflicts(limits(1024, 30, 30, 300), Settings())
    assert "offset.metadata.max.bytes is 1024" in metadata
    assert "stream.transaction_timeout is 60: lower it" in transaction
    assert "30 to 300 s and kafka.session_timeout is 10" in session


@pytest.mark.parametrize("configs", [{}, limits(4096, 60, 6, 1800), limits(9999, 900, 10, 10)])
def test_limits_that_suffice_or_are_unknown_conflict_with_nothing(configs: dict[str, str]) -> None:
    assert conflicts(configs, Settings()) == ()


async def test_brokers_without_transactions_get_the_weaker_delivery_with_the_reason(
    embedded_broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(brokers._APIS_OF_TRANSACTIONS, 9999, "TxnOffsetCommit")
    in_force = await delivery_in_force(Settings(kafka=embedded_broker.settings))
    assert in_force.mode == "at_least_once"
    assert "do not offer TxnOffsetCommit" in in_force.because


async def test_a_probe_that_hangs_is_an_error_and_not_a_weaker_delivery(
    embedded_broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brokers, "_PROBE_WITHIN", 0.0)
    with pytest.raises(ProbeFailed, match="did not start one"):
        await delivery_in_force(Settings(kafka=embedded_broker.settings))


async def test_brokers_that_cannot_be_reached_are_an_error() -> None:
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(BrokerUnreachable):
        await delivery_in_force(settings)


async def test_brokers_with_transactions_get_the_delivery_that_is_set(
    any_broker: LocalBroker,
) -> None:
    settings = Settings(kafka=any_broker.settings)
    assert (await delivery_in_force(settings)).mode == "exactly_once"
    settings.delivery = "at_least_once"
    assert (await delivery_in_force(settings)).mode == "at_least_once"


async def test_the_limits_of_any_broker_suffice_for_the_defaults(any_broker: LocalBroker) -> None:
    seen = await inspect(any_broker.settings, [], [])
    assert conflicts(seen.configs, Settings()) == ()


@pytest.mark.kafka
async def test_a_transaction_longer_than_the_brokers_allow_is_refused_and_predicted(
    apache_kafka: ApacheKafka,
) -> None:
    settings = Settings(
        kafka=apache_kafka.settings, stream=StreamSettings(transaction_timeout=3600)
    )
    configs = (await inspect(apache_kafka.settings, [], [])).configs
    assert limits(4096, 900, 6, 1800).items() <= configs.items()
    assert "allows 900 s" in conflicts(configs, settings)[0]
    with pytest.raises(ProbeFailed, match="Timeout"):
        await why_no_transactions(settings)


@pytest.mark.kafka
async def test_a_user_who_may_not_use_transactions_gets_the_weaker_delivery(
    secured_kafka: ApacheKafka,
) -> None:
    in_force = await delivery_in_force(Settings(kafka=secured_kafka.settings_of(GUEST)))
    assert in_force.mode == "at_least_once"
    assert "do not allow guest" in in_force.because
