"""The variables that make settings of Kafka."""

import pytest
from pydantic import SecretStr

from pipeline.config import KafkaSettings, OauthSettings, load_settings
from pipeline.local.environment import kafka_variables


def test_variables_make_the_same_settings_again_tables_and_secrets_included(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kafka = KafkaSettings(
        security_protocol="SASL_SSL",
        sasl_mechanism="OAUTHBEARER",
        sasl_password=SecretStr("s3cret"),
        oauth=OauthSettings(
            token_endpoint="https://127.0.0.1/token",
            client_secret=SecretStr("of the client"),
            extensions={"logicalCluster": "lkc-1"},
        ),
    )
    for name, value in kafka_variables(kafka).items():
        monkeypatch.setenv(name, value)
    assert load_settings().kafka == kafka


def test_the_protocol_is_always_among_them() -> None:
    assert kafka_variables(KafkaSettings()) == {"PIPELINE_KAFKA__SECURITY_PROTOCOL": "PLAINTEXT"}
