"""Whether the models can be asked, and what the API says that they can do.

Nothing here costs more than a question of a few tokens, and mostly nothing at all.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from pipeline.claude.calls import Endpoint
from pipeline.claude.failures import failure_of
from pipeline.claude.model_facts import ModelFacts, facts_of
from pipeline.claude.providers import COUNT_TOKENS, credentials_of, model_at, request_head
from pipeline.claude.responses import HttpReply, NoReply
from pipeline.config import EndpointSettings

PROBE_SECONDS = 15.0
MODELS_ASKED_SECONDS = 86_400.0
"""How often the API is asked what its models can do and when they retire."""
MODELS_RETRY_SECONDS = 300.0
"""The same where it could not be asked."""
_OK, _NOT_FOUND = 200, 404


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a model can be asked; `described` is what the API says of it, if it says anything."""

    model: str
    ok: bool
    detail: str
    described: Mapping[str, Any] | None = None


async def probe(endpoint: Endpoint) -> Probe:
    """Ask for free what there is to ask for free, else the shortest question.

    Some gateways in front of the API have no models endpoint; counting tokens is free, too.
    """
    settings, traits, client = endpoint.settings, endpoint.provider, endpoint.client
    model, asked = settings.name, ""
    reply: HttpReply | NoReply | None = None
    described: Mapping[str, Any] | None = None
    hello = {"messages": [{"role": "user", "content": "Hello."}]}
    if traits.models_list:
        reply = await client.get(_about(endpoint), seconds=PROBE_SECONDS)
        if isinstance(reply, HttpReply) and reply.status == _OK:
            described = reply.document()
    if traits.count_route is not None and (reply is None or _is_missing(reply)):
        body = orjson.dumps({**request_head(settings, counting=True), **hello})
        counted = await client.post(COUNT_TOKENS, body, seconds=PROBE_SECONDS)
        if reply is None or (isinstance(counted, HttpReply) and counted.status == _OK):
            reply = counted
    if reply is None:
        body = orjson.dumps({**request_head(settings), "max_tokens": 1, **hello})
        reply = await client.send(body, seconds=PROBE_SECONDS)
        asked = ", which a question of a few tokens has shown: nothing is free to ask there"
    match reply:
        case HttpReply(200):
            return Probe(model, True, f"reachable, the key is accepted{asked}", described)
        case NoReply(why, detail) if why != "no_key":
            where = settings.base_url or (
                "ANTHROPIC_BASE_URL" if settings.provider == "anthropic" else "its settings"
            )
            hint = f"check the network and {where}"
            return Probe(model, ok=False, detail=f"The API cannot be reached ({detail}): {hint}.")
    failure = failure_of(reply, seconds=PROBE_SECONDS, credentials=credentials_of(settings))
    return Probe(model, ok=False, detail=failure.detail)


async def follow_models(
    endpoints: Collection[Endpoint], take: Callable[[EndpointSettings, ModelFacts], None]
) -> None:
    """Ask now and then, endlessly, what the models can do, and hand it to `take`."""
    while True:
        settled = True
        for each in endpoints:
            if not each.provider.models_list:
                continue
            reply = await each.client.get(_about(each), seconds=PROBE_SECONDS)
            settled &= isinstance(reply, HttpReply) and reply.status in {_OK, _NOT_FOUND}
            if isinstance(reply, HttpReply) and reply.status == _OK:
                take(each.settings, facts_of(each.settings.model, reply.document()))
        await asyncio.sleep(MODELS_ASKED_SECONDS if settled else MODELS_RETRY_SECONDS)


def _about(endpoint: Endpoint) -> str:
    return f"/v1/models/{quote(model_at(endpoint.settings), safe='')}"


def _is_missing(reply: HttpReply | NoReply) -> bool:
    return isinstance(reply, HttpReply) and reply.status == _NOT_FOUND
