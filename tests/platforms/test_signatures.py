"""Signatures are verified as AWS does it: by computing them again from what arrived."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from multidict import CIMultiDict, CIMultiDictProxy

from tests.platforms.expiring import Credential, Expiring
from tests.platforms.http import Received
from tests.platforms.sigv4 import BadSignature, verify

SERVICE, REGION = "bedrock", "us-west-2"
PATH = "/model/us.anthropic.claude-haiku-4-5-20251001-v1:0/invoke"
BODY = b'{"max_tokens":1}'


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def signed(
    credential: Credential,
    *,
    path: str = PATH,
    query: str = "",
    service: str = SERVICE,
    region: str = REGION,
) -> Received:
    """A request that botocore has signed."""
    url = f"http://127.0.0.1:9{path}" + (f"?{query}" if query else "")
    request = AWSRequest(
        method="POST", url=url, data=BODY, headers={"host": "127.0.0.1:9", "x-part": "a  b"}
    )
    key = Credentials(credential.name, credential.secret, credential.token)
    SigV4Auth(key, service, region).add_auth(request)
    return Received("POST", path, query, _headers(dict(request.headers)), BODY)


def _headers(given: dict[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(given))


def changed(received: Received, name: str, value: str) -> Received:
    headers = received.headers.copy()
    headers[name] = value
    return replace(received, headers=CIMultiDictProxy(headers))


def refusal(received: Received, keys: Expiring, now: datetime | None = None) -> str:
    with pytest.raises(BadSignature) as caught:
        verify(received, keys, service=SERVICE, region=REGION, now=now)
    return caught.value.code


@pytest.mark.parametrize("path", [PATH, PATH.replace(":", "%3A"), "/a//b/../c d%20e", "/"])
@pytest.mark.parametrize("query", ["", "beta=true", "b=2&a=1&a=0"])
def test_what_botocore_signed_is_accepted(path: str, query: str) -> None:
    keys = Expiring("ASIA")
    credential = keys.current()
    received = signed(credential, path=path, query=query)
    assert verify(received, keys, service=SERVICE, region=REGION) is credential


def test_anything_that_was_signed_and_changed_on_the_way_is_noticed() -> None:
    keys = Expiring("ASIA")
    good = signed(keys.current())
    for other in (
        replace(good, body=BODY + b" "),
        replace(good, path=PATH + "x"),
        replace(good, query="beta=true"),
        replace(good, method="GET"),
        changed(good, "host", "elsewhere"),
        changed(good, "x-part", "b a"),
    ):
        assert refusal(other, keys) == "InvalidSignatureException"


def test_what_was_not_signed_may_change_on_the_way() -> None:
    keys = Expiring("ASIA")
    received = changed(signed(keys.current()), "user-agent", "a proxy")
    verify(received, keys, service=SERVICE, region=REGION)


def test_a_hash_of_the_body_that_is_another_bodys_does_not_hide_it() -> None:
    keys = Expiring("ASIA")
    received = changed(signed(keys.current()), "x-amz-content-sha256", "0" * 64)
    assert refusal(received, keys) == "InvalidSignatureException"


def test_a_signature_for_another_region_or_service_is_refused() -> None:
    keys = Expiring("ASIA")
    assert refusal(signed(keys.current(), region="eu-west-1"), keys) == "InvalidSignatureException"
    assert refusal(signed(keys.current(), service="sts"), keys) == "InvalidSignatureException"


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_clock_that_is_off_by_more_than_five_minutes_is_refused(minutes: int) -> None:
    keys = Expiring("ASIA")
    received = signed(keys.current())
    now = datetime.now(UTC) + timedelta(minutes=minutes)
    assert refusal(received, keys, now) == "InvalidSignatureException"


def test_a_session_that_has_expired_is_told_apart_from_one_that_never_was() -> None:
    clock = Clock()
    keys = Expiring("ASIA", life=60.0, clock=clock)
    received = signed(keys.current())
    clock.now += 60.0
    assert refusal(received, keys) == "ExpiredTokenException"
    assert refusal(signed(Expiring("ASIA").current()), keys) == "UnrecognizedClientException"


def test_a_key_with_the_token_of_another_session_is_refused() -> None:
    """As a signer makes it that reads key and token before and after a renewal."""
    keys = Expiring("ASIA")
    first = keys.current()
    keys.expire()
    second = keys.current()
    mixed = replace(second, token=first.token)
    assert refusal(signed(mixed), keys) == "UnrecognizedClientException"
    assert refusal(signed(replace(second, secret=first.secret)), keys) == (
        "InvalidSignatureException"
    )


def test_no_signature_and_half_a_signature_are_refused() -> None:
    keys = Expiring("ASIA")
    good = signed(keys.current())
    none = changed(good, "authorization", "")
    assert refusal(none, keys) == "MissingAuthenticationTokenException"
    half = good.headers["authorization"].partition(", SignedHeaders")[0]
    assert refusal(changed(good, "authorization", half), keys) == "IncompleteSignatureException"


def test_credentials_stay_the_same_until_most_of_their_life_is_over() -> None:
    clock = Clock()
    keys = Expiring("ASIA", life=60.0, overlap=0.25, clock=clock)
    first = keys.current()
    clock.now += 44.0
    assert keys.current() is first
    clock.now += 2.0
    second = keys.current()
    assert second is not first
    assert not first.expired(clock())
