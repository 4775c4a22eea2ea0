"""TLS and SASL from settings, on a real Apache Kafka with both on."""

import asyncio
import gc
import logging

import pytest
from pydantic import SecretStr

from pipeline.config import KafkaSettings, TopicSettings
from pipeline.kafka.connection import (
    ConnectionFailed,
    NotPermitted,
    TlsMismatch,
    WrongCredentials,
    admin_client,
    check_connection,
)
from pipeline.kafka.offsets import lag_reader
from pipeline.kafka.reader import read_topics
from pipeline.kafka.topics import TopicMissing, Topics, TopicsFailed
from pipeline.kafka.writer import Writer
from pipeline.local.apache import GUEST, ApacheKafka
from pipeline.stream.records import Outgoing
from tests.brokers import FreshName

pytestmark = pytest.mark.kafka

SETTINGS = TopicSettings(partitions=1)


def changed(kafka: KafkaSettings, **changes: object) -> KafkaSettings:
    return KafkaSettings.model_validate(kafka.model_dump() | changes)


async def refusal(kafka: KafkaSettings) -> ConnectionFailed:
    with pytest.raises(ConnectionFailed) as refused:
        await check_connection(kafka)
    assert str(refused.value).endswith(".")
    return refused.value


async def test_a_wrong_password_is_reported_by_user_and_never_shown(
    secured_kafka: ApacheKafka, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        refused = await refusal(
            changed(secured_kafka.settings, sasl_password=SecretStr("not-the-password"))
        )
    assert isinstance(refused, WrongCredentials)
    assert "refused user 'pipeline' (SCRAM-SHA-512)" in str(refused)
    assert "kafka.sasl_password" in str(refused)
    assert "not-the-password" not in str(refused) + caplog.text


def test_nothing_of_a_refused_connection_is_left_open(secured_kafka: ApacheKafka) -> None:
    wrong = changed(secured_kafka.settings, sasl_password=SecretStr("not-the-password"))
    for _ in range(5):
        asyncio.run(refusal(wrong))
    # A socket that the loop left open would warn here, and a warning is an error.
    gc.collect()


async def test_a_user_who_is_not_known_is_reported(secured_kafka: ApacheKafka) -> None:
    refused = await refusal(changed(secured_kafka.settings, sasl_username="nobody"))
    assert isinstance(refused, WrongCredentials)
    assert "refused user 'nobody'" in str(refused)


async def test_a_mechanism_that_the_brokers_do_not_take_is_reported(
    secured_kafka: ApacheKafka,
) -> None:
    refused = await refusal(changed(secured_kafka.settings, sasl_mechanism="SCRAM-SHA-256"))
    assert isinstance(refused, WrongCredentials)
    assert "does not take SCRAM-SHA-256" in str(refused)


async def test_plain_text_where_there_is_tls_is_reported(secured_kafka: ApacheKafka) -> None:
    refused = await refusal(KafkaSettings(bootstrap_servers=secured_kafka.bootstrap_servers))
    assert isinstance(refused, TlsMismatch)
    assert "has TLS or asks for credentials" in str(refused)


async def test_credentials_without_tls_where_there_is_tls_are_reported(
    secured_kafka: ApacheKafka,
) -> None:
    refused = await refusal(
        changed(secured_kafka.settings, security_protocol="SASL_PLAINTEXT", ssl_ca_file=None)
    )
    assert isinstance(refused, TlsMismatch)


async def test_tls_without_credentials_where_they_are_wanted_is_reported(
    secured_kafka: ApacheKafka,
) -> None:
    refused = await refusal(
        changed(
            secured_kafka.settings,
            security_protocol="SSL",
            sasl_username=None,
            sasl_password=None,
        )
    )
    assert isinstance(refused, TlsMismatch)
    assert "kafka.security_protocol is SSL" in str(refused)


async def test_a_certificate_of_an_unknown_ca_is_reported(secured_kafka: ApacheKafka) -> None:
    refused = await refusal(changed(secured_kafka.settings, ssl_ca_file=None))
    assert isinstance(refused, TlsMismatch)
    assert "is not accepted" in str(refused)
    assert "kafka.ssl_ca_file" in str(refused)


async def test_tls_where_there_is_none_is_reported(apache_kafka: ApacheKafka) -> None:
    refused = await refusal(changed(apache_kafka.settings, security_protocol="SSL"))
    assert isinstance(refused, TlsMismatch)


async def test_credentials_where_none_are_taken_are_reported(apache_kafka: ApacheKafka) -> None:
    refused = await refusal(
        changed(
            apache_kafka.settings,
            security_protocol="SASL_PLAINTEXT",
            sasl_username="ada",
            sasl_password=SecretStr("s3cret"),
        )
    )
    assert isinstance(refused, WrongCredentials)
    assert "set kafka.security_protocol to PLAINTEXT" in str(refused)


async def test_a_user_without_rights_is_refused_with_what_is_not_allowed(
    secured_kafka: ApacheKafka, fresh_name: FreshName
) -> None:
    guest, name = secured_kafka.settings_of(GUEST), fresh_name("theirs")
    async with admin_client(secured_kafka.settings) as admin:
        await Topics(admin, SETTINGS).create([name])
    async with admin_client(guest) as admin:
        with pytest.raises(TopicsFailed, match="uthoriz"):
            await Topics(admin, SETTINGS).create([fresh_name("mine")])
    with pytest.raises(TopicMissing, match="may not see them"):
        async with read_topics(guest, [name]):
            pass
    with pytest.raises(NotPermitted, match="do not allow guest"):
        async with lag_reader(guest) as lags:
            await lags.sample(fresh_name("group"), [])


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_records_go_through_tls_and_sasl_and_no_secret_into_a_log(
    secured_kafka: ApacheKafka,
    fresh_name: FreshName,
    caplog: pytest.LogCaptureFixture,
    mechanism: str,
) -> None:
    kafka, name = changed(secured_kafka.settings, sasl_mechanism=mechanism), fresh_name("secured")
    with caplog.at_level(logging.DEBUG):
        async with admin_client(kafka) as admin:
            await Topics(admin, SETTINGS).create([name])
        async with Writer(kafka, max_record_bytes=1_000_000) as writer:
            await writer.write(Outgoing(name, b"key", b"the payload", ()))
        async with read_topics(kafka, [name]) as records:
            assert [record.value async for record in records] == [b"the payload"]
    assert kafka.sasl_password is not None
    assert kafka.sasl_password.get_secret_value() not in caplog.text
    assert "the payload" not in caplog.text
