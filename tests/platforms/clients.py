"""The SDK's own clients, as its documentation makes them, for a platform that runs."""

import asyncio
import json
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import anthropic

from tests.platforms.azure import RESOURCE
from tests.platforms.running import HAIKU, Running

_Make = Callable[[Running, Mapping[str, Any]], Any]


def client_of(platform: Running, **options: Any) -> Any:  # noqa: ANN401 - six classes without a common one
    """One that makes each call once; `options` are of its constructor."""
    make: _Make = _CLIENTS.get(platform.name, _first_party)
    return make(platform, {"max_retries": 0, **options})


def _first_party(platform: Running, options: Mapping[str, Any]) -> anthropic.AsyncAnthropic:
    key = None if platform.key_file is None else platform.key_file.read_text()
    return anthropic.AsyncAnthropic(
        **{"base_url": platform.where["base_url"], "api_key": key, **options}
    )


def _aws(platform: Running, options: Mapping[str, Any]) -> Any:  # noqa: ANN401
    kind: Any = {
        "aws": anthropic.AsyncAnthropicAWS,
        "bedrock": anthropic.AsyncAnthropicBedrock,
        "bedrock-mantle": anthropic.AsyncAnthropicBedrockMantle,
    }[platform.name]
    given = {"base_url": platform.where["base_url"], "aws_region": platform.where["region"]}
    if platform.name == "aws":
        given["workspace_id"] = platform.where["workspace_id"]
    if platform.key_file is not None:
        given["api_key"] = platform.key_file.read_text()
    return kind(**{**given, **options})


def _vertex(platform: Running, options: Mapping[str, Any]) -> anthropic.AsyncAnthropicVertex:
    given = {
        "base_url": platform.where["base_url"],
        "region": platform.where["region"],
        "project_id": platform.where["project"],
    }
    return anthropic.AsyncAnthropicVertex(**{**given, **options})


def _google_cloud(platform: Running, options: Mapping[str, Any]) -> Any:  # noqa: ANN401
    kind: Any = anthropic.AsyncAnthropicGoogleCloud
    return kind(**{"base_url": platform.where["base_url"], **options})


def _foundry(platform: Running, options: Mapping[str, Any]) -> anthropic.AsyncAnthropicFoundry:
    def token() -> str:
        asked = f"{platform.environment['IDENTITY_ENDPOINT']}?resource={RESOURCE}"
        header = {"X-IDENTITY-HEADER": platform.environment["IDENTITY_HEADER"]}
        with urllib.request.urlopen(urllib.request.Request(asked, headers=header)) as reply:
            return str(json.load(reply)["access_token"])

    async def fetched() -> str:
        return await asyncio.to_thread(token)

    given: dict[str, Any] = {"base_url": platform.where["base_url"]}
    if platform.key_file is None:
        given["azure_ad_token_provider"] = fetched
    else:
        given["api_key"] = platform.key_file.read_text()
    return anthropic.AsyncAnthropicFoundry(**{**given, **options})


_CLIENTS: Mapping[str, _Make] = {
    "aws": _aws,
    "bedrock": _aws,
    "bedrock-mantle": _aws,
    "vertex": _vertex,
    "google-cloud": _google_cloud,
    "foundry": _foundry,
}


def asking(platform: Running, base: str = HAIKU, /, **changes: object) -> dict[str, Any]:
    """A plain request; an option that is set to None is left out."""
    request = {
        "model": platform.model(base),
        "max_tokens": 400,
        "thinking": {"type": "disabled"},
        "messages": [{"role": "user", "content": "My invoice is wrong."}],
        **changes,
    }
    return {name: value for name, value in request.items() if value is not None}
