"""Who serves Claude, and in what that differs: one row a provider. Pure.

From the SDK's clients and the platforms' public pages as of November 2026; no cloud was reached.
What a row says is missing is replaced: see `answer_form`, `Gateway.probe`, `Gateway.batch_lane`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote

from pipeline.claude.model_facts import Traits
from pipeline.claude.model_ids import platform_id
from pipeline.config import EndpointSettings, Provider

MESSAGES = "/v1/messages"
COUNT_TOKENS = "/v1/messages/count_tokens"
_MIB = 1 << 20
Proof = Literal["key", "sigv4", "google", "entra"]
"""How a request is proven where no key is given: by what the SDK finds, by a signature, by a token
of Google's or of Microsoft's."""
AnswerForm = Literal["format", "tool", "prompt"]
"""How an answer gets its form: by the API, as the input of a tool, or because it is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTraits:
    """What is peculiar to a provider.

    Args:
        sdk: The class of the package `anthropic`.
        arguments: What it calls settings of an endpoint.
        key_argument: What it calls a key, and the attribute that holds it.
        key_variables: Where it looks for a key.
        renewing_argument: What it calls a function that gives the token for each request.
        proof: What it does without one.
        modules: What that needs; the extra of the same name as the provider brings them.
        credentials: What a person has to set, in words.
        version: `anthropic_version` in the body of a request, where the model is in its path.
        route: Of a request.
        count_route: Of counting tokens; None where that is missing.
        batches: Whether there are message batches; `models_list`: `GET /v1/models`.
        prompt_cache: Whether prompts can be cached.
        structured_outputs: Whether an answer schema can be sent for every model and deployment.
        rate_headers: Whether answers say what is left of the rate limits.
        largest_request: Bytes of a body.
    """

    sdk: str
    arguments: Mapping[str, str]
    key_argument: str | None = "api_key"
    key_variables: tuple[str, ...] = ()
    renewing_argument: str | None = None
    proof: Proof
    modules: tuple[str, ...] = ()
    credentials: str
    version: str | None = None
    route: str = MESSAGES
    count_route: str | None = COUNT_TOKENS
    batches: bool = False
    models_list: bool = False
    prompt_cache: bool = True
    structured_outputs: bool = False
    rate_headers: bool = False
    largest_request: int = 32 * _MIB


_AWS = MappingProxyType({"base_url": "base_url", "region": "aws_region"})
_BOTO = ("boto3", "botocore")
_AWS_CREDENTIALS = "AWS credentials, where boto3 looks for them,"
_GOOGLE_CREDENTIALS = (
    "Application Default Credentials (GOOGLE_APPLICATION_CREDENTIALS, or the machine's service "
    "account)"
)
_BEDROCK_KEY = f"{_AWS_CREDENTIALS} or AWS_BEARER_TOKEN_BEDROCK"
_IN_PROJECT = "/projects/{project}/locations/{region}/publishers/anthropic/models"
PROVIDERS: Mapping[Provider, ProviderTraits] = MappingProxyType(
    {
        "anthropic": ProviderTraits(
            sdk="AsyncAnthropic",
            arguments={"base_url": "base_url"},
            key_variables=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
            proof="key",
            credentials="ANTHROPIC_API_KEY",
            batches=True,
            models_list=True,
            structured_outputs=True,
            rate_headers=True,
        ),
        "aws": ProviderTraits(
            sdk="AsyncAnthropicAWS",
            arguments={**_AWS, "workspace_id": "workspace_id"},
            key_variables=("ANTHROPIC_AWS_API_KEY",),
            proof="sigv4",
            modules=_BOTO,
            credentials=f"{_AWS_CREDENTIALS} or ANTHROPIC_AWS_API_KEY",
            batches=True,
            models_list=True,
            structured_outputs=True,
            rate_headers=True,
        ),
        "bedrock": ProviderTraits(
            sdk="AsyncAnthropicBedrock",
            arguments=_AWS,
            key_variables=("AWS_BEARER_TOKEN_BEDROCK",),
            proof="sigv4",
            modules=_BOTO,
            credentials=_BEDROCK_KEY,
            # Of every model: the API's own later versions are for Claude 4.7 and above.
            version="bedrock-2023-05-31",
            route="/model/{model}/invoke",
            count_route=None,
            largest_request=20 * _MIB,
        ),
        "bedrock-mantle": ProviderTraits(
            sdk="AsyncAnthropicBedrockMantle",
            arguments=_AWS,
            key_variables=("AWS_BEARER_TOKEN_BEDROCK", "ANTHROPIC_AWS_API_KEY"),
            proof="sigv4",
            modules=_BOTO,
            credentials=_BEDROCK_KEY,
            largest_request=20 * _MIB,
        ),
        "vertex": ProviderTraits(
            sdk="AsyncAnthropicVertex",
            arguments={"base_url": "base_url", "region": "region", "project": "project_id"},
            key_argument="access_token",
            proof="google",
            modules=("google.auth", "requests"),
            credentials=_GOOGLE_CREDENTIALS,
            version="vertex-2023-10-16",
            route=_IN_PROJECT + "/{model}:rawPredict",
            count_route=_IN_PROJECT + "/count-tokens:rawPredict",
            structured_outputs=True,
            largest_request=30 * _MIB,
        ),
        "google-cloud": ProviderTraits(
            sdk="AsyncAnthropicGoogleCloud",
            arguments={
                "base_url": "base_url",
                "region": "location",
                "project": "project",
                "workspace_id": "workspace_id",
            },
            key_argument=None,
            renewing_argument="token_provider",
            proof="google",
            modules=("google.auth", "requests"),
            credentials=_GOOGLE_CREDENTIALS,
            batches=True,
            models_list=True,
            structured_outputs=True,
            rate_headers=True,
            largest_request=30 * _MIB,
        ),
        # Structured outputs are there or not by where a deployment is hosted.
        "foundry": ProviderTraits(
            sdk="AsyncAnthropicFoundry",
            arguments={"base_url": "base_url", "resource": "resource"},
            key_variables=("ANTHROPIC_FOUNDRY_API_KEY",),
            renewing_argument="azure_ad_token_provider",
            proof="entra",
            modules=("azure.identity",),
            credentials="ANTHROPIC_FOUNDRY_API_KEY, or an identity of Entra ID,",
        ),
    }
)
Account = tuple[str | Path | None, ...]


def account_of(endpoint: EndpointSettings) -> Account:
    """What is blocked together: all that is asked of one provider with the same credentials."""
    return (
        endpoint.provider,
        endpoint.base_url,
        endpoint.key_file,
        endpoint.project,
        endpoint.resource,
        endpoint.workspace_id,
    )


def credentials_of(endpoint: EndpointSettings) -> str:
    """What a person has to set where nobody is let in, in words."""
    if endpoint.key_file is not None:
        return f"the key in {endpoint.key_file}"
    return PROVIDERS[endpoint.provider].credentials


def has_key(endpoint: EndpointSettings) -> bool:
    """Whether a key is given, so that no request is signed and no token renewed."""
    if endpoint.key_file is not None:
        return True
    return any(map(os.environ.get, PROVIDERS[endpoint.provider].key_variables))


def model_at(endpoint: EndpointSettings) -> str:
    """The model's id as its provider writes it."""
    return platform_id(endpoint.model, endpoint.provider, region=endpoint.known_region)


def request_head(endpoint: EndpointSettings, *, counting: bool = False) -> dict[str, Any]:
    """The fields of a request that say who is asked and where, or whose tokens are counted."""
    version = PROVIDERS[endpoint.provider].version
    head: dict[str, Any] = {}
    if version is None or counting:
        head["model"] = model_at(endpoint)
    if version is not None:
        head["anthropic_version"] = version
    if endpoint.inference_geo is not None:
        head["inference_geo"] = endpoint.inference_geo
    if endpoint.service_tier is not None and not counting:
        head["service_tier"] = endpoint.service_tier
    return head


def routes_of(
    endpoint: EndpointSettings, *, project: str | None = None, region: str | None = None
) -> dict[str, str]:
    """By the API's own routes those of the provider; `project` and `region` as the SDK has them."""
    traits = PROVIDERS[endpoint.provider]
    values = {"model": model_at(endpoint), "project": project or "", "region": region or ""}
    in_path = {name: quote(value, safe=":") for name, value in values.items()}
    routes = {MESSAGES: traits.route, COUNT_TOKENS: traits.count_route or COUNT_TOKENS}
    return {name: route.format_map(in_path) for name, route in routes.items()}


def answer_form(endpoint: EndpointSettings, traits: Traits) -> AnswerForm:
    """How the answer of a model gets its form where it is asked.

    A model that thinks takes no forced tool. What comes back is validated in any case.
    """
    if PROVIDERS[endpoint.provider].structured_outputs and traits.takes_schema:
        return "format"
    return "prompt" if traits.thinks else "tool"
