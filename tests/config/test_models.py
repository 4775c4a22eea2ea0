"""Where the models of the two tiers are asked: an id alone, or a table, from any source."""

from pathlib import Path

import pytest

from pipeline.config import EndpointSettings, ModelSettings, Settings, TierSettings, load_settings
from pipeline.model.errors import UsageError
from pipeline.model.records import Tier

VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION", "CLOUD_ML_REGION", "GOOGLE_CLOUD_PROJECT")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def written(text: str) -> None:
    Path("pipeline.toml").write_text(text)


def test_each_tier_is_asked_at_anthropic_where_nothing_is_set() -> None:
    models = load_settings().models
    assert models.of(Tier.HAIKU) == TierSettings(model="claude-haiku-5-5")
    assert models.of(Tier.SONNET) == TierSettings(model="claude-sonnet-5-5")
    assert {models.of(tier).provider for tier in Tier} == {"anthropic"}


def test_an_id_alone_is_a_table_with_nothing_else() -> None:
    written('models.haiku = "claude-haiku-4-5"')
    assert load_settings().models.haiku == TierSettings(model="claude-haiku-4-5")
    assert Settings(models=ModelSettings(haiku="x")).models.haiku.model == "x"


def test_a_table_without_a_model_keeps_the_tier_s() -> None:
    written('[models.sonnet]\nprovider = "foundry"\nresource = "acme"')
    sonnet = load_settings().models.sonnet
    assert (sonnet.model, sonnet.resource) == ("claude-sonnet-5-5", "acme")


@pytest.mark.parametrize("tier", ['haiku = "x"', "haiku.inference_geo = 'us'"])
def test_the_file_and_the_environment_set_parts_of_one_table(
    tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(f"[models]\n{tier}")
    monkeypatch.setenv("PIPELINE_MODELS__HAIKU__SERVICE_TIER", "standard_only")
    monkeypatch.setenv("PIPELINE_MODELS__SONNET", "y")
    models = load_settings().models
    assert models.haiku.service_tier == "standard_only"
    assert (models.haiku.model == "x") is (models.haiku.inference_geo is None)
    assert models.sonnet.model == "y"


@pytest.mark.parametrize("first", ["PIPELINE_MODELS__HAIKU", "PIPELINE_MODELS__HAIKU__FALLBACK"])
def test_an_id_and_the_rest_of_its_table_may_both_be_variables(
    first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{first}__PROVIDER", "bedrock")
    monkeypatch.setenv(first, "anthropic.claude-haiku-5-5")
    monkeypatch.setenv(f"{first}__REGION", "eu-central-1")
    haiku = load_settings().models.haiku
    found = haiku if first.endswith("HAIKU") else haiku.fallback
    assert found is not None
    assert found.name == "bedrock/anthropic.claude-haiku-5-5"
    assert found.region == "eu-central-1"


def test_what_code_gives_an_id_for_keeps_the_rest_of_the_file_s_table() -> None:
    written('[models.haiku]\ninference_geo = "us"\nfallback = "z"')
    haiku = Settings(models={"haiku": "x"}).models.haiku
    assert (haiku.model, haiku.inference_geo) == ("x", "us")
    assert haiku.fallback == EndpointSettings(model="z")


def test_a_variable_may_hold_a_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_MODELS__HAIKU", '{"model": "x", "fallback": {"model": "y"}}')
    haiku = load_settings().models.haiku
    assert haiku.fallback is not None
    assert (haiku.model, haiku.fallback.model) == ("x", "y")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('provider = "vertex"\nregion = "global"', "vertex needs project: set it, or ANTHROPIC_V"),
        ('provider = "aws"', "aws needs region: set it, or AWS_REGION or AWS_DEFAULT_REGION in"),
        ('provider = "bedrock"', "bedrock needs region"),
        ('provider = "foundry"', "foundry needs resource"),
        ('provider = "google-cloud"\nproject = "p"', "google-cloud needs workspace_id"),
        ('region = "eu-west-1"', "anthropic has no region, which is of aws, bedrock, .*, google"),
        ('provider = "foundry"\nresource = "a"\nregion = "b"', "foundry has no region"),
        ('provider = "foundry"\nresource = "a"\nbase_url = "http://b"', "leave one out"),
        ('base_url = "api.example"', "base_url: String should match"),
        ('model = ""', "at least 1 character"),
        ('fallback = { provider = "foundry", resource = "a" }', "fallback.model: Field required"),
        ('fallback = { model = "x", fallback = "y" }', "fallback.fallback: Extra inputs"),
    ],
)
def test_what_does_not_fit_a_provider_or_is_missing_is_refused_with_what_to_do(
    table: str, said: str
) -> None:
    written(f"[models.haiku]\n{table}")
    with pytest.raises(UsageError, match=rf"models\.haiku.*{said}"):
        load_settings()


@pytest.mark.parametrize(
    "address", ['provider = "foundry"', 'provider = "google-cloud"\nregion = "global"']
)
def test_an_address_takes_the_place_of_what_only_serves_to_find_it(address: str) -> None:
    written(f'[models.haiku]\n{address}\nbase_url = "http://127.0.0.1:9"')
    assert load_settings().models.haiku.base_url == "http://127.0.0.1:9"


def test_what_the_sdk_reads_in_the_environment_need_not_be_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    written('[models.haiku]\nprovider = "bedrock"')
    assert load_settings().models.haiku.region is None
