"""TLS and SASL from settings, on a real Apache Kafka with both on."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest
from pydantic import SecretStr

from pipeline.config import KafkaSettings, TopicSettings
from pipeline.kafka import sessions
from pipeline.kafka.connection import (
    ConnectionFailed,
    NoProof,
    NotPermitted,
    TlsMismatch,
    WrongCredentials,
    admin_client,
    check_connection,
    client_options,
)
from pipeline.kafka.offsets import lag_reader
from pipeline.kafka.reader import read_topics
from pipeline.kafka.sasl import token_provider
from pipeline.kafka.sessions import session_lifetime
from pipeline.kafka.topics import TopicMissing, Topics, TopicsFailed
from pipeline.kafka.writer import Writer
from pipeline.local.apache import GUEST, USER, ApacheKafka
from pipeline.stream.records import Outgoing
from tests.brokers import FreshName
from tests.kafka.certificates import Authority, Identity
from tests.kafka.issuer import CLIENT, SCOPE, SECRET, TokenKeys, TokenServer

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


def with_tokens(kafka: KafkaSettings, server: TokenServer) -> KafkaSettings:
    return changed(
        kafka,
        sasl_mechanism="OAUTHBEARER",
        sasl_username=None,
        sasl_password=None,
        oauth={
            "token_endpoint": server.url,
            "client_id": CLIENT,
            "client_secret": SecretStr(SECRET),
            "scope": SCOPE,
            "extensions": {"logicalCluster": "lkc-1", "identityPoolId": "pool-1"},
        },
    )


def signing(keys: TokenKeys, *, audience: str = "kafka") -> Callable[[str, float], str]:
    return lambda subject, life: keys.token(subject, life=life, audience=audience)


async def test_a_token_for_somebody_else_is_refused_and_the_settings_to_check_are_named(
    secured_kafka: ApacheKafka, token_keys: TokenKeys
) -> None:
    async with TokenServer(make=signing(token_keys, audience="another")) as server:
        refused = await refusal(with_tokens(secured_kafka.settings, server))
    assert isinstance(refused, WrongCredentials)
    assert "refused the token of client 'pipeline' (OAUTHBEARER)" in str(refused)
    assert "audience" in str(refused)


async def test_a_token_that_cannot_be_had_is_not_blamed_on_the_brokers(
    secured_kafka: ApacheKafka, token_keys: TokenKeys
) -> None:
    async with TokenServer(make=signing(token_keys), secret="rotated") as server:
        refused = await refusal(with_tokens(secured_kafka.settings, server))
    assert isinstance(refused, NoProof)
    assert "invalid_client" in str(refused)


async def test_a_client_without_a_certificate_is_told_to_bring_one(
    secured_kafka: ApacheKafka,
) -> None:
    refused = await refusal(
        KafkaSettings(
            bootstrap_servers=secured_kafka.servers_of("MUTUAL"),
            security_protocol="SSL",
            ssl_ca_file=secured_kafka.settings.ssl_ca_file,
        )
    )
    assert isinstance(refused, WrongCredentials)
    assert "set kafka.ssl_cert_file and kafka.ssl_key_file" in str(refused)


async def test_a_certificate_of_another_authority_is_refused(
    secured_kafka: ApacheKafka, tmp_path: Path
) -> None:
    theirs = Authority(tmp_path, "another").issue("pipeline")
    refused = await refusal(with_certificate(secured_kafka, theirs))
    assert isinstance(refused, WrongCredentials)
    assert f"refused the certificate {theirs.certificate}" in str(refused)


def with_certificate(kafka: ApacheKafka, identity: Identity, **more: object) -> KafkaSettings:
    return KafkaSettings.model_validate(
        {
            "bootstrap_servers": kafka.servers_of("MUTUAL"),
            "security_protocol": "SSL",
            "ssl_ca_file": kafka.settings.ssl_ca_file,
            "ssl_cert_file": identity.certificate,
            "ssl_key_file": identity.key,
            **more,
        }
    )


async def test_a_client_is_who_its_certificate_says_and_its_key_may_have_a_password(
    secured_kafka: ApacheKafka, client_authority: Authority, fresh_name: FreshName
) -> None:
    guest = client_authority.issue(GUEST, password="of the key")
    with_key = with_certificate(secured_kafka, guest, ssl_key_password=SecretStr("of the key"))
    async with admin_client(with_key) as admin:
        with pytest.raises(TopicsFailed, match="uthoriz"):
            await Topics(admin, SETTINGS).create([fresh_name("mine")])
    ours = with_certificate(secured_kafka, client_authority.issue(USER))
    await write_and_read(ours, fresh_name("mutual"))


async def test_records_go_through_tokens_and_neither_token_nor_secret_into_a_log(
    secured_kafka: ApacheKafka,
    token_keys: TokenKeys,
    fresh_name: FreshName,
    caplog: pytest.LogCaptureFixture,
) -> None:
    made: list[str] = []

    def make(subject: str, life: float) -> str:
        made.append(token_keys.token(subject, life=life))
        return made[-1]

    async with TokenServer(make=make) as server:
        with caplog.at_level(logging.DEBUG):
            await write_and_read(
                with_tokens(secured_kafka.settings, server), fresh_name("by-token")
            )
    assert len(made) == 1, "all clients use the same"
    assert made[0] not in caplog.text
    assert SECRET not in caplog.text


async def write_and_read(kafka: KafkaSettings, name: str) -> None:
    async with admin_client(kafka) as admin:
        await Topics(admin, SETTINGS).create([name])
    async with Writer(kafka, max_record_bytes=1_000_000) as writer:
        await writer.write(Outgoing(name, b"key", b"the payload", ()))
    async with read_topics(kafka, [name]) as records:
        assert [record.value async for record in records] == [b"the payload"]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_records_go_through_tls_and_sasl_and_no_secret_into_a_log(
    secured_kafka: ApacheKafka,
    fresh_name: FreshName,
    caplog: pytest.LogCaptureFixture,
    mechanism: str,
) -> None:
    kafka = changed(secured_kafka.settings, sasl_mechanism=mechanism)
    with caplog.at_level(logging.DEBUG):
        await write_and_read(kafka, fresh_name("secured"))
    assert kafka.sasl_password is not None
    assert kafka.sasl_password.get_secret_value() not in caplog.text
    assert "the payload" not in caplog.text


@asynccontextmanager
async def connected(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaClient]:
    client = AIOKafkaClient(**client_options(kafka))
    await client.bootstrap()
    try:
        yield client
    finally:
        await client.close()


async def test_a_connection_proves_again_who_it_is_before_its_session_ends(
    secured_kafka: ApacheKafka, token_keys: TokenKeys
) -> None:
    async with (
        TokenServer(make=signing(token_keys), life=60) as server,
        connected(with_tokens(secured_kafka.settings, server)) as client,
    ):
        [node] = [broker.nodeId for broker in client.cluster.brokers()]
        await client.send(node, MetadataRequest([]))
        [connection] = client._conns.values()
        assert session_lifetime(connection) == pytest.approx(60, abs=5)
        session = sessions._sessions[connection]
        session.renew_at = 0.0
        # Only one of them does it, and none is sent meanwhile.
        await asyncio.gather(*(client.send(node, MetadataRequest([])) for _ in range(5)))
        assert session.renew_at > 0.0
        assert client._conns == {(node, 0): connection}
        assert connection.connected()


async def test_who_became_somebody_else_is_refused_and_connects_anew(
    secured_kafka: ApacheKafka, token_keys: TokenKeys
) -> None:
    async with (
        TokenServer(make=signing(token_keys), life=60) as server,
        connected(with_tokens(secured_kafka.settings, server)) as client,
    ):
        [node] = [broker.nodeId for broker in client.cluster.brokers()]
        await client.send(node, MetadataRequest([]))
        [connection] = client._conns.values()
        sessions._sessions[connection].renew_at = 0.0
        server.subject = GUEST
        token_provider(with_tokens(secured_kafka.settings, server)).tokens.renew(unauthorized=True)
        with pytest.raises(KafkaConnectionError, match="not authenticated again"):
            await client.send(node, MetadataRequest([]))
        await client.send(node, MetadataRequest([]))
        assert not connection.connected()
