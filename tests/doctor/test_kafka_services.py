"""What managed services do not take, by the names of their hosts; and how the account is proven."""

import asyncio
from typing import Any

import pytest

from pipeline.doctor import kafka_services
from pipeline.doctor.examination import OutOfReach, Site, Verdict, findings
from pipeline.doctor.installation import check_extras
from pipeline.doctor.kafka_services import check_authentication, check_service
from pipeline.model.errors import PipelineError
from tests.doctor.sites import fine, reported, site
from tests.kafka.issuer import CLIENT, SCOPE, SECRET, TokenServer

FAILED, WARNING = Verdict.FAILED, Verdict.WARNING
EVENT_HUBS = {
    "bootstrap_servers": "ours.servicebus.windows.net:9093",
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "PLAIN",
    "sasl_username": "$ConnectionString",
    "sasl_password": "Endpoint=sb://ours",
    "compression": "gzip",
    "connection_max_idle": 180,
}
CONFLUENT = {
    "bootstrap_servers": "pkc-1.eu-central-1.aws.confluent.cloud:9092",
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "OAUTHBEARER",
    "oauth": {"extensions": {"logicalCluster": "lkc-1", "identityPoolId": "pool-1"}},
}
SERVERLESS = {
    "bootstrap_servers": "boot-1.c1.kafka-serverless.eu-west-1.amazonaws.com:9098",
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "AWS_MSK_IAM",
}
MSK = {
    "bootstrap_servers": "b-1.ours.x1.c2.kafka.eu-west-1.amazonaws.com:9096,b-2.ours:9096",
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "SCRAM-SHA-512",
}
REDPANDA = {
    "bootstrap_servers": "x.any.eu-central-1.mpx.prd.cloud.redpanda.com:9092",
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "SCRAM-SHA-256",
}


def at(kafka: dict[str, Any], *, max_message_bytes: int = 1_000_000, **changes: object) -> Site:
    return site(kafka=kafka | changes, topics={"max_message_bytes": max_message_bytes})


@pytest.mark.parametrize("service", [EVENT_HUBS, CONFLUENT, SERVERLESS, MSK, REDPANDA])
def test_what_a_service_takes_is_fine(service: dict[str, Any]) -> None:
    found = list(check_service(at(service)))
    fine(found)
    assert len(found) == 1


@pytest.mark.parametrize(
    "host", ["kafka-1:9092", "127.0.0.1:9092", "confluent.cloud.example:9092", "kafka"]
)
def test_brokers_of_nobody_known_are_left_alone(host: str) -> None:
    assert not list(check_service(site(kafka={"bootstrap_servers": host})))


@pytest.mark.parametrize(
    ("service", "changes", "verdict", "words"),
    [
        (EVENT_HUBS, {"compression": "lz4"}, FAILED, ["kafka.compression is lz4", '"gzip"']),
        (EVENT_HUBS, {"sasl_username": "ada"}, FAILED, ["sasl_username", "$ConnectionString"]),
        (EVENT_HUBS, {"connection_max_idle": 540}, WARNING, ["connection_max_idle", "180"]),
        (EVENT_HUBS, {"sasl_mechanism": "SCRAM-SHA-512"}, FAILED, ["SCRAM-SHA-512", "PLAIN"]),
        (CONFLUENT, {"security_protocol": "PLAINTEXT"}, FAILED, ["PLAINTEXT", "SASL_SSL"]),
        (CONFLUENT, {"oauth": {}}, WARNING, ["logicalCluster", "identityPoolId"]),
        (SERVERLESS, {"sasl_mechanism": "PLAIN"}, FAILED, ["PLAIN", "AWS_MSK_IAM"]),
        (SERVERLESS, {"aws_region": "us-east-1"}, FAILED, ["us-east-1", "eu-west-1"]),
        (MSK, {"sasl_mechanism": "SCRAM-SHA-256"}, FAILED, ["Port 9096", "SCRAM-SHA-512"]),
        (MSK, {"security_protocol": "SSL"}, FAILED, ["Port 9096", "9094 SSL"]),
        (REDPANDA, {"sasl_mechanism": "AWS_MSK_IAM"}, FAILED, ["AWS_MSK_IAM", "SCRAM-SHA-256"]),
    ],
)
def test_what_a_service_does_not_take_is_said_with_what_to_set(
    service: dict[str, Any], changes: dict[str, Any], verdict: Verdict, words: list[str]
) -> None:
    reported(check_service(at(service, **changes)), verdict, *words)


@pytest.mark.parametrize("service", [EVENT_HUBS, CONFLUENT, SERVERLESS])
def test_records_that_are_larger_than_a_service_takes_are_said(service: dict[str, Any]) -> None:
    found = check_service(at(service, max_message_bytes=16 << 20))
    reported(found, WARNING, "topics.max_message_bytes is 16", "claim-checks")


@pytest.mark.parametrize(("mechanism", "extra"), [("AWS_MSK_IAM", "msk"), ("GSSAPI", "gssapi")])
def test_a_mechanism_whose_extra_is_missing_is_reported(
    mechanism: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.doctor.installation.is_installed", lambda _: False)
    proven = {"security_protocol": "SASL_SSL", "sasl_mechanism": mechanism}
    reported(check_extras(site(kafka=proven)), FAILED, mechanism, f"haiku-pipeline[{extra}]")


def by_token(url: str, *, answers: bool = True, **changes: object) -> Site:
    oauth = {"token_endpoint": url, "client_id": CLIENT, "client_secret": SECRET, "scope": SCOPE}
    kafka = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "OAUTHBEARER",
        "oauth": oauth | changes,
    }
    made = site(kafka=kafka)

    async def connected() -> str | PipelineError:
        return "kafka:9093" if answers else PipelineError("nobody there")

    return Site(made.settings, {}, asyncio.ensure_future(connected()))


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> dict[str, float | None]:
    """What brokers say of sessions."""
    said: dict[str, float | None] = {"seconds": 3600.0}

    async def session_seconds(_: object) -> float | None:
        return said["seconds"]

    monkeypatch.setattr(kafka_services, "session_seconds", session_seconds)
    return said


async def test_mechanism_token_and_session_are_said(session: dict[str, float | None]) -> None:
    async with TokenServer() as server:
        found = await findings(check_authentication(by_token(server.url)))
    fine(found)
    token, lasts = (each.detail for each in found)
    assert token.endswith("gives pipeline a token for OAUTHBEARER, good for 3600 s.")
    assert lasts == (
        "The brokers end a session after 3600 s; each connection proves it again after 55% of that."
    )


async def test_a_token_that_cannot_be_had_fails_without_asking_brokers(
    session: dict[str, float | None],
) -> None:
    async with TokenServer() as server:
        checked = check_authentication(by_token(server.url, client_secret="wrong"))
        finding = await anext(aiter(checked))
        with pytest.raises(OutOfReach):
            await anext(aiter(checked))
    reported([finding], FAILED, "There is no token for OAUTHBEARER", "invalid_client")


async def test_tokens_without_an_end_and_sessions_that_end_soon_are_warned_of(
    session: dict[str, float | None],
) -> None:
    session["seconds"] = 10.0
    async with TokenServer(without_life=True) as server:
        found = await findings(check_authentication(by_token(server.url)))
    reported(found, WARNING, "does not say how long its tokens are good", "expires_in")
    reported(found, WARNING, "end a session after 10 s", "connections.max.reauth.ms")


async def test_brokers_that_do_not_answer_are_reported_elsewhere(
    session: dict[str, float | None],
) -> None:
    async with TokenServer() as server:
        with pytest.raises(OutOfReach):
            await findings(check_authentication(by_token(server.url, answers=False)))


async def test_who_proves_nothing_is_said() -> None:
    (found,) = await findings(check_authentication(site()))
    assert found.detail == "Brokers learn who this is by nothing (PLAINTEXT)."
