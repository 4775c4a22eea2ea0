"""The same model under the names of all platforms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.model_facts import MODELS
from pipeline.claude.model_ids import base_id, geography_of, platform_id
from pipeline.claude.providers import MESSAGES, model_at, request_head, routes_of
from pipeline.config import EndpointSettings

PROVIDERS = (
    "anthropic", "aws", "bedrock", "bedrock-mantle", "vertex", "google-cloud", "foundry",
)  # fmt: skip
models = st.sampled_from(sorted(MODELS))
providers = st.sampled_from(PROVIDERS)
regions = st.sampled_from(["", "us-east-1", "eu-west-3", "ap-northeast-1", "sa-east-1"])
PROFILE = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/"


@pytest.mark.parametrize(
    ("written", "model"),
    [
        ("claude-haiku-5-5", "claude-haiku-5-5"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
        ("simulated-claude-haiku-5-5", "claude-haiku-5-5"),
        ("us.anthropic.claude-haiku-5-5", "claude-haiku-5-5"),
        ("us-gov.anthropic.claude-sonnet-5-5", "claude-sonnet-5-5"),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5"),
        ("anthropic.claude-3-haiku-20240307-v1:0:200k", "claude-3-haiku"),
        ("global.anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
        (f"{PROFILE}eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("claude-haiku-5-5@default", "claude-haiku-5-5"),
        (
            "projects/p/locations/global/publishers/anthropic/models/claude-haiku-5-5",
            "claude-haiku-5-5",
        ),
        ("anthropic/claude-haiku-5-5", "claude-haiku-5-5"),
        ("openrouter/anthropic/claude-haiku-5.5", "claude-haiku-5-5"),
        ("vertex_ai/claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("bedrock/us.anthropic.claude-haiku-5-5", "claude-haiku-5-5"),
        ("bedrock/converse/anthropic.claude-haiku-5-5", "claude-haiku-5-5"),
    ],
)
def test_the_model_is_recognised_whatever_the_platform_calls_it(written: str, model: str) -> None:
    assert base_id(written) == model


@pytest.mark.parametrize(
    "name",
    [
        "",
        "our-deployment",
        "team/our-haiku",
        "gpt-5",
        "bedrock/amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3",
        "claude-",
    ],
)
def test_a_name_that_says_no_model_stays_as_it_is(name: str) -> None:
    assert base_id(name) == name
    assert name not in MODELS


@pytest.mark.parametrize("name", ["claude-haiku-5-5-of-our-team", "claude-haiku-5-55"])
def test_a_name_that_begins_like_a_model_is_not_taken_for_it(name: str) -> None:
    assert base_id(name) not in MODELS


@given(models, providers, regions)
def test_what_is_written_for_a_platform_is_read_back(
    model: str, provider: str, region: str
) -> None:
    written = platform_id(model, provider, region=region)
    assert base_id(written) == model
    assert platform_id(written, provider, region=region) == written


@given(st.text() | st.from_regex(r"([a-z]{1,3}[./])*claude-[a-z0-9.@:/-]{0,20}", fullmatch=True))
def test_the_model_of_a_model_is_itself(text: str) -> None:
    assert base_id(base_id(text)) == base_id(text)


@pytest.mark.parametrize(
    ("provider", "written"),
    [
        ("anthropic", "claude-haiku-4-5"),
        ("aws", "claude-haiku-4-5"),
        ("google-cloud", "claude-haiku-4-5"),
        ("foundry", "claude-haiku-4-5"),
        ("bedrock", "global.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("bedrock-mantle", "anthropic.claude-haiku-4-5"),
        ("vertex", "claude-haiku-4-5@20251001"),
    ],
)
def test_a_plain_id_will_do_on_every_platform(provider: str, written: str) -> None:
    assert platform_id("claude-haiku-4-5", provider) == written
    dated = platform_id("claude-haiku-4-5-20251001", provider)
    assert base_id(dated) == "claude-haiku-4-5"
    if provider in {"bedrock", "bedrock-mantle", "vertex"}:
        assert dated == written


def test_recent_models_have_no_day_on_any_platform() -> None:
    written = {platform_id("claude-haiku-5-5", provider) for provider in PROVIDERS}
    assert written == {
        "claude-haiku-5-5",
        "anthropic.claude-haiku-5-5",
        "global.anthropic.claude-haiku-5-5",
    }


@given(providers, regions)
def test_a_deployments_own_name_and_an_arn_are_sent_as_they_are(provider: str, region: str) -> None:
    for name in ("our-deployment", f"{PROFILE}eu.anthropic.claude-sonnet-5-5"):
        assert platform_id(name, provider, region=region) == name


@pytest.mark.parametrize(
    ("region", "geography"),
    [
        ("eu-central-1", "eu"),
        ("us-west-2", "us"),
        ("us-gov-west-1", "us-gov"),
        ("ap-northeast-1", "jp"),
        ("ap-southeast-2", "au"),
        ("sa-east-1", "global"),
        ("", "global"),
    ],
)
def test_a_plain_id_on_bedrock_stays_in_the_geography_of_its_region(
    region: str, geography: str
) -> None:
    written = platform_id("claude-haiku-5-5", "bedrock", region=region)
    assert written == f"{geography}.anthropic.claude-haiku-5-5"


def test_the_geography_of_a_profile_is_told_from_its_id() -> None:
    assert geography_of("us.anthropic.claude-haiku-5-5") == "us"
    assert geography_of(f"{PROFILE}eu.anthropic.claude-haiku-5-5") == "eu"
    assert geography_of("bedrock/global.anthropic.claude-haiku-5-5") == "global"
    assert geography_of("anthropic.claude-haiku-5-5") == ""


@pytest.mark.parametrize(
    ("endpoint", "written"),
    [
        ({"provider": "bedrock", "region": "eu-west-1"}, "eu.anthropic.claude-haiku-5-5"),
        ({"provider": "bedrock-mantle", "region": "eu-west-1"}, "anthropic.claude-haiku-5-5"),
        ({"provider": "vertex", "region": "eu", "project": "p"}, "claude-haiku-5-5"),
        ({}, "claude-haiku-5-5"),
    ],
)
def test_an_endpoint_with_a_plain_id_is_asked_for_the_platforms_own(
    endpoint: dict[str, str], written: str
) -> None:
    settings = EndpointSettings.model_validate({"model": "claude-haiku-5-5", **endpoint})
    assert model_at(settings) == written
    in_path = settings.provider in {"bedrock", "vertex"}
    assert request_head(settings).get("model") == (None if in_path else written)
    assert (written in routes_of(settings, project="p", region="eu")[MESSAGES]) is in_path
