"""Asking the API about a model without paying: for `doctor`."""

from pipeline.claude import failures
from pipeline.claude.client import Client
from pipeline.claude.failures import Blocked, Reject, Retry
from pipeline.claude.replies import HttpReply, NoReply
from pipeline.claude.requests import Style, Template, content_of
from pipeline.claude.status import Probe
from pipeline.questions import Text

PROBE_SECONDS = 15.0


async def probe_model(client: Client, model: str) -> Probe:
    """Find out whether the API is reachable, accepts the key and knows the model."""
    result = await client.get(f"/v1/models/{model}", seconds=PROBE_SECONDS)
    if isinstance(result, HttpReply) and result.status == 404:  # noqa: PLR2004
        # Some gateways in front of the API have no models endpoint; counting tokens is free, too.
        counted = await client.post(
            "/v1/messages/count_tokens", _question(model), seconds=PROBE_SECONDS
        )
        if isinstance(counted, HttpReply) and counted.status == 200:  # noqa: PLR2004
            result = counted
    match result:
        case HttpReply(200):
            return Probe(model, ok=True, detail="reachable, the key is accepted")
        case HttpReply(status, _, body):
            return Probe(model, ok=False, detail=_detail(status, result.headers, body))
        case NoReply("no_key", detail):
            return Probe(model, ok=False, detail=failures.no_credentials(detail).because)
        case NoReply(_, detail):
            hint = "check the network and ANTHROPIC_BASE_URL"
            return Probe(model, ok=False, detail=f"The API cannot be reached ({detail}): {hint}.")


def _detail(status: int, headers: dict[str, str], body: bytes) -> str:
    match failures.classify(status, headers, body):
        case Blocked(because):
            return because
        case Retry(_, detail) | Reject(detail):
            return detail


def _question(model: str) -> bytes:
    template = Template(Style(model, "low", None), "Answer.", {"type": "object", "properties": {}})
    return template.body_to_count(content_of((Text("body", "Hello."),)))
