"""Where botocore finds credentials that are renewed, on this machine.

The endpoint of containers (ECS, EKS Pod Identity), the metadata service of instances (IMDSv2), and
STS for web identities (IRSA) and assumed roles, each under a path of one server. They hand out the
same credentials until those are about to expire.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from tests.platforms.expiring import Credential, Expiring
from tests.platforms.http import Received, Refused, Reply, Route
from tests.platforms.sigv4 import BadSignature, verify

ROLE = "pipeline"
ROLE_ARN = f"arn:aws:iam::111122223333:role/{ROLE}"
CONTAINER_TOKEN = "token-of-the-container"
WEB_IDENTITY = "token-of-the-service-account"
_IMDS_TOKEN = "token-of-the-instance"


class AwsCredentials:
    """Serves session credentials; `long_lived` are what may assume the role.

    Args:
        sessions: The credentials.
        region: Of STS.
    """

    def __init__(self, sessions: Expiring, region: str) -> None:
        self.sessions = sessions
        self.long_lived = Expiring("AKIA", life=10 * 365 * 86_400)
        self._region = region

    def routes(self) -> Sequence[Route]:
        role = f"/latest/meta-data/iam/security-credentials/({ROLE})?"
        return [
            Route("GET", "/container", self._container),
            Route("PUT", "/latest/api/token", self._imds_token),
            Route("GET", role, self._imds),
            Route("POST", "/sts/?", self._sts),
        ]

    async def _container(self, received: Received, _: re.Match[str]) -> Reply:
        if received.headers.get("authorization") != CONTAINER_TOKEN:
            raise _plain("container", 401)
        found = self.sessions.current()
        return Reply.of(200, {"RoleArn": ROLE_ARN, **_fields(found, "Token")})

    async def _imds_token(self, received: Received, _: re.Match[str]) -> Reply:
        if "x-aws-ec2-metadata-token-ttl-seconds" not in received.headers:
            raise _plain("imds", 400)
        return Reply(200, _IMDS_TOKEN.encode(), {"content-type": "text/plain"})

    async def _imds(self, received: Received, match: re.Match[str]) -> Reply:
        if received.headers.get("x-aws-ec2-metadata-token") != _IMDS_TOKEN:
            raise _plain("imds", 401)
        if match[1] is None:
            return Reply(200, ROLE.encode(), {"content-type": "text/plain"})
        found = self.sessions.current()
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        more = {"Code": "Success", "LastUpdated": at, "Type": "AWS-HMAC"}
        return Reply.of(200, {**more, **_fields(found, "Token")})

    async def _sts(self, received: Received, _: re.Match[str]) -> Reply:
        asked = {name: values[0] for name, values in parse_qs(received.body.decode()).items()}
        action = asked.get("Action", "")
        if asked.get("RoleArn") != ROLE_ARN:
            raise _sts_error("AccessDenied", 403)
        if action == "AssumeRoleWithWebIdentity":
            if asked.get("WebIdentityToken") != WEB_IDENTITY:
                raise _sts_error("InvalidIdentityToken", 400)
        elif action == "AssumeRole":
            try:
                verify(received, self.long_lived, service="sts", region=self._region)
            except BadSignature as error:
                raise _sts_error(error.code, 403) from error
        else:
            raise _sts_error("InvalidAction", 400)
        found = _fields(self.sessions.current(), "SessionToken")
        inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in found.items())
        body = (
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            f"<{action}Result><Credentials>{inner}</Credentials></{action}Result>"
            f"</{action}Response>"
        )
        return Reply(200, body.encode(), {"content-type": "text/xml"})


def _fields(found: Credential, token: str) -> dict[str, str]:
    expires = datetime.fromtimestamp(found.expires, UTC)
    return {
        "AccessKeyId": found.name,
        "SecretAccessKey": found.secret,
        token: found.token,
        "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _plain(code: str, status: int) -> Refused:
    return Refused(code, Reply(status, b"", {"content-type": "text/plain"}))


def _sts_error(code: str, status: int) -> Refused:
    body = (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{code}</Message></Error>"
        "</ErrorResponse>"
    )
    return Refused(code, Reply(status, body.encode(), {"content-type": "text/xml"}))
