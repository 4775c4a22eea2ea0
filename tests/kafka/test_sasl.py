"""Which options each mechanism comes to, and what is missing for it."""

import asyncio
import base64
import hmac
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from pydantic import SecretStr

from pipeline.config import KafkaSettings
from pipeline.kafka.connection import NoProof, WrongCredentials, client_options, explain_connecting
from pipeline.kafka.sasl import ProofUnavailable, TokenProvider, account, msk_signer
from pipeline.model.errors import UsageError
from pipeline.runtime.tokens import CredentialsUnavailable, Tokens

OAUTH = {"token_endpoint": "http://127.0.0.1/token", "client_id": "ada", "client_secret": "s3cret"}


def kafka(mechanism: str, **more: Any) -> KafkaSettings:  # noqa: ANN401
    return KafkaSettings.model_validate(
        {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": mechanism, **more}
    )


async def test_all_clients_of_a_process_share_the_tokens_of_the_same_settings() -> None:
    first = client_options(kafka("OAUTHBEARER", oauth=OAUTH))
    again = client_options(kafka("OAUTHBEARER", oauth=OAUTH))
    other = client_options(kafka("OAUTHBEARER", oauth=OAUTH | {"scope": "another"}))
    assert first["sasl_oauth_token_provider"] is again["sasl_oauth_token_provider"]
    assert first["sasl_oauth_token_provider"] is not other["sasl_oauth_token_provider"]
    assert "s3cret" not in repr(first)


def test_another_event_loop_has_tokens_of_its_own() -> None:
    async def provider() -> object:
        return client_options(kafka("OAUTHBEARER", oauth=OAUTH))["sasl_oauth_token_provider"]

    assert asyncio.run(provider()) is not asyncio.run(provider())


@pytest.mark.parametrize(
    ("mechanism", "more", "says"),
    [
        ("OAUTHBEARER", {}, "kafka.oauth.token_endpoint"),
        ("PLAIN", {"oauth": OAUTH}, "kafka.sasl_username"),
        ("AWS_MSK_IAM", {}, "kafka.aws_region"),
    ],
)
async def test_what_a_mechanism_cannot_do_without_is_named(
    mechanism: str, more: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aws_msk_iam_sasl_signer")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match=says):
        client_options(kafka(mechanism, **more))


@pytest.mark.parametrize(
    ("mechanism", "module", "extra"),
    [("AWS_MSK_IAM", "aws_msk_iam_sasl_signer", "msk"), ("GSSAPI", "gssapi", "gssapi")],
)
def test_an_extra_that_is_missing_is_named(
    mechanism: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"pip install 'haiku-pipeline\[{extra}\]'"):
        client_options(kafka(mechanism, aws_region="eu-central-1"))


def test_extensions_must_be_named_as_the_protocol_allows() -> None:
    with pytest.raises(ValueError, match="extensions"):
        kafka("OAUTHBEARER", oauth=OAUTH | {"extensions": {"logical\x01cluster": "lkc-1"}})
    with pytest.raises(ValueError, match="extensions"):
        kafka("OAUTHBEARER", oauth=OAUTH | {"extensions": {"auth": "Bearer x"}})
    with pytest.raises(ValueError, match="extensions"):
        kafka("OAUTHBEARER", oauth=OAUTH | {"extensions": {"logicalCluster": "a\x01b=c"}})


def test_brokers_know_a_client_by_what_its_mechanism_proves() -> None:
    assert account(kafka("OAUTHBEARER", oauth=OAUTH)) == "ada"
    assert account(kafka("PLAIN", sasl_username="bob")) == "bob"
    assert account(KafkaSettings()) == "this client"


class GivenToken(Tokens):
    """Tokens that are made here."""

    def __init__(self, *tokens: str) -> None:
        self._made = iter(tokens)
        super().__init__(self._next)

    async def _next(self) -> tuple[str, float]:
        token = next(self._made, None)
        if token is None:
            raise CredentialsUnavailable("No token.", transient=True)
        return token, 0.0


def connection_with(provider: TokenProvider) -> AIOKafkaConnection:
    return AIOKafkaConnection(
        "127.0.0.1",
        1,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="OAUTHBEARER",
        sasl_oauth_token_provider=provider,
    )


async def test_token_and_extensions_go_as_rfc_7628_says() -> None:
    extensions = {"logicalCluster": "lkc-1", "identityPoolId": "pool-2"}
    authenticator = connection_with(
        TokenProvider(GivenToken("abc"), extensions)
    ).authenticator_oauth()
    assert await authenticator.step(None) == (
        b"n,,\x01auth=Bearer abc\x01logicalCluster=lkc-1\x01identityPoolId=pool-2\x01\x01",
        True,
    )
    assert await authenticator.step(b"") is None


async def test_a_broker_that_refuses_a_token_is_asked_to_say_so() -> None:
    authenticator = connection_with(TokenProvider(GivenToken("abc"), {})).authenticator_oauth()
    await authenticator.step(None)
    assert await authenticator.step(b'{"status":"invalid_token"}') == (b"\x01", True)


@pytest.mark.parametrize(("age", "shown"), [(20.0, "first"), (40.0, "second")])
async def test_a_token_that_is_refused_is_fetched_again_unless_it_is_new(
    age: float, shown: str
) -> None:
    now = [1000.0]
    made = iter(["first", "second"])

    async def fetch() -> tuple[str, float]:
        return next(made), now[0] + 3600

    provider = TokenProvider(Tokens(fetch, now=lambda: now[0]), {})
    authenticator = connection_with(provider).authenticator_oauth()
    await authenticator.step(None)
    now[0] += age
    await authenticator.step(b'{"status":"invalid_token"}')
    assert await provider.token() == shown


async def test_a_token_that_is_not_there_is_an_error_that_clients_try_again() -> None:
    provider = TokenProvider(GivenToken(), {})
    with pytest.raises(ProofUnavailable) as missing:
        await provider.token()
    assert missing.value.retriable
    failure = explain_connecting(missing.value, kafka("OAUTHBEARER", oauth=OAUTH), "kafka:9093")
    assert type(failure) is NoProof
    assert str(failure) == "No token."


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file of AWS credentials, and nothing else where boto3 looks."""
    pytest.importorskip("aws_msk_iam_sasl_signer")
    file = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return file


def test_without_aws_credentials_there_is_a_sentence(aws: Path) -> None:
    with pytest.raises(CredentialsUnavailable, match="boto3 finds no AWS credentials"):
        msk_signer(kafka("AWS_MSK_IAM", aws_region="eu-central-1"))()


@pytest.mark.parametrize("session_token", ["", "token/of+the=session"])
def test_the_token_for_msk_is_a_url_that_aws_would_accept(aws: Path, session_token: str) -> None:
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    key, secret = "AKIAEXAMPLE", "secret/of+the=key"
    lines = {"aws_access_key_id": key, "aws_secret_access_key": secret}
    lines |= {"aws_session_token": session_token} if session_token else {}
    aws.write_text("[default]\n" + "".join(f"{k}={v}\n" for k, v in lines.items()))
    token, expires = msk_signer(kafka("AWS_MSK_IAM", aws_region="eu-central-1"))()
    url = urlsplit(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    asked = dict(parse_qsl(url.query))
    assert url.hostname == "kafka.eu-central-1.amazonaws.com"
    assert asked["Action"] == "kafka-cluster:Connect"
    assert asked["X-Amz-Credential"].endswith("/eu-central-1/kafka-cluster/aws4_request")
    assert asked.get("X-Amz-Security-Token", "") == session_token
    assert asked["X-Amz-Expires"] == "900"
    assert secret not in token
    # What was signed, signed again by botocore's own arithmetic; the user agent is added after.
    signature = asked.pop("X-Amz-Signature")
    asked.pop("User-Agent")
    request = AWSRequest(method="GET", url=f"https://{url.hostname}/?{urlencode(asked)}")
    request.context["timestamp"] = asked["X-Amz-Date"]
    signer = SigV4QueryAuth(
        Credentials(key, secret, session_token or None), "kafka-cluster", "eu-central-1"
    )
    canonical = signer.canonical_request(request)
    expected = signer.signature(signer.string_to_sign(request, canonical), request)
    assert hmac.compare_digest(signature, expected)
    assert expires > 0


async def test_kerberos_without_a_ticket_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("gssapi")
    monkeypatch.setenv("KRB5CCNAME", str(tmp_path / "none"))
    monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "krb5.conf"))
    (tmp_path / "krb5.conf").write_text("[libdefaults]\ndefault_realm = EXAMPLE.TEST\n")
    settings = kafka("GSSAPI", kerberos_domain_name="broker.example.test")
    client = AIOKafkaClient(**client_options(settings))
    assert client._sasl_kerberos_service_name == "kafka"
    connection = AIOKafkaConnection(
        "127.0.0.1", 1, sasl_mechanism="GSSAPI", sasl_kerberos_domain_name="broker.example.test"
    )
    with pytest.raises(ProofUnavailable, match="no ticket for kafka@broker") as failed:
        await connection.authenticator_gssapi().step(None)
    assert type(explain_connecting(failed.value, settings, "kafka:9093")) is NoProof


@pytest.mark.parametrize(
    ("mechanism", "says"),
    [("OAUTHBEARER", "token of client 'ada'"), ("AWS_MSK_IAM", "kafka-cluster:Connect"),
     ("GSSAPI", "kafka.kerberos_service_name"), ("PLAIN", "user 'ada' (PLAIN)")],
)  # fmt: skip
def test_a_refusal_names_the_settings_of_its_mechanism(mechanism: str, says: str) -> None:
    from aiokafka.errors import SaslAuthenticationFailed

    settings = kafka(mechanism, oauth=OAUTH, sasl_username="ada", sasl_password=SecretStr("s3cret"))
    failure = explain_connecting(SaslAuthenticationFailed("no"), settings, "kafka:9093")
    assert type(failure) is WrongCredentials
    assert says in str(failure)
    assert "s3cret" not in str(failure)
