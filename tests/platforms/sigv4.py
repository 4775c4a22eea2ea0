"""Signatures of requests to AWS, recomputed with botocore's own signer."""

import hmac
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.platforms.expiring import Credential, Expiring
from tests.platforms.http import Received

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW = timedelta(minutes=5)
_MUST_BE_SIGNED = frozenset({"host", "x-amz-date"})


class BadSignature(Exception):
    """Why a signature is not good; `code` is AWS's name for it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def verify(
    received: Received, keys: Expiring, *, service: str, region: str, now: datetime | None = None
) -> Credential:
    """Whose the request is.

    Raises:
        BadSignature: It is not signed by anybody who may ask, or not as it came.
    """
    credential, scope, signed, signature = _read(received)
    date, asked_region, asked_service = scope
    if asked_region != region:
        raise BadSignature(
            "InvalidSignatureException", f"Credential should be scoped to a valid region: {region}"
        )
    if asked_service != service:
        raise BadSignature(
            "InvalidSignatureException", f"Credential should be scoped to service {service!r}"
        )
    stamp = received.headers.get("x-amz-date", "")
    _check_date(stamp, date, now or datetime.now(UTC))
    found = keys.find(credential)
    token = received.headers.get("x-amz-security-token")
    if found is None or token != found.token:
        raise BadSignature(
            "UnrecognizedClientException", "The security token included in the request is invalid."
        )
    if found.expired(keys.clock()):
        raise BadSignature(
            "ExpiredTokenException", "The security token included in the request is expired"
        )
    missing = (_MUST_BE_SIGNED | {"x-amz-security-token"}) - signed
    digest = sha256(received.body).hexdigest()
    other_body = received.headers.get("x-amz-content-sha256", digest) != digest
    if (
        missing
        or other_body
        or not hmac.compare_digest(
            signature, _signature(received, found, signed, stamp, service=service, region=region)
        )
    ):
        raise BadSignature(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided.",
        )
    return found


def _read(received: Received) -> tuple[str, tuple[str, str, str], frozenset[str], str]:
    algorithm, _, rest = received.headers.get("authorization", "").partition(" ")
    if algorithm != ALGORITHM:
        raise BadSignature("MissingAuthenticationTokenException", "Missing Authentication Token")
    parts = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
    try:
        key, date, region, service, end = parts["Credential"].split("/")
        signed = frozenset(parts["SignedHeaders"].split(";"))
        signature = parts["Signature"]
    except (KeyError, ValueError):
        end, key, date, region, service, signed, signature = *("",) * 5, frozenset(), ""
    if end != "aws4_request":
        raise BadSignature(
            "IncompleteSignatureException", "The Authorization header is not a whole signature."
        )
    return key, (date, region, service), signed, signature


def _check_date(stamp: str, date: str, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(stamp, SIGV4_TIMESTAMP).replace(tzinfo=UTC)
    except ValueError:
        raise BadSignature("IncompleteSignatureException", "X-Amz-Date is no date.") from None
    if not stamp.startswith(date) or abs(now - signed_at) > SKEW:
        raise BadSignature(
            "InvalidSignatureException",
            f"Signature expired: {stamp} is not within {SKEW} of {now.strftime(SIGV4_TIMESTAMP)}",
        )


def _signature(
    received: Received,
    credential: Credential,
    signed: frozenset[str],
    stamp: str,
    *,
    service: str,
    region: str,
) -> str:
    # Only what was signed: botocore would sign each header that it is given.
    headers = {name: ",".join(received.headers.getall(name, [])) for name in signed}
    host = received.headers.get("host", "")
    query = f"?{received.query}" if received.query else ""
    request = AWSRequest(
        method=received.method,
        url=f"http://{host}{received.path}{query}",
        headers=headers,
        data=received.body,
    )
    request.context["timestamp"] = stamp
    signer = SigV4Auth(
        Credentials(credential.name, credential.secret, credential.token), service, region
    )
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    signature: str = signer.signature(to_sign, request)
    return signature
