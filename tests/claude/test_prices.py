from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.billing import PriceTable, Tokens, is_regional
from pipeline.claude.model_facts import MODELS
from pipeline.config import EndpointSettings, TokenPrices

TABLE = PriceTable()
HAIKU = "claude-haiku-5-5"


def test_a_ticket_costs_what_the_price_page_says() -> None:
    tokens = Tokens(input=412, cache_read=380, output=61)
    assert TABLE.cost(HAIKU, tokens) == Decimal("0.0000755")


def test_cache_writes_cost_by_how_long_they_are_kept() -> None:
    assert TABLE.cost(HAIKU, Tokens(cache_write_5m=1_000)) == Decimal("0.000125")
    assert TABLE.cost(HAIKU, Tokens(cache_write_1h=1_000)) == Decimal("0.0002")


def test_a_long_prompt_pays_the_higher_band_for_everything() -> None:
    at = Tokens(input=60_000, cache_read=40_000, output=1_000)
    above = Tokens(input=60_000, cache_read=40_001, output=1_000)
    assert TABLE.cost(HAIKU, at) == Decimal("0.0069")
    assert TABLE.cost(HAIKU, above) == Decimal("0.03450005")


def test_a_batch_costs_half_and_multipliers_stack() -> None:
    tokens = Tokens(input=1_000_000)
    assert TABLE.cost("claude-sonnet-5-5", tokens, batch=True) == Decimal(1)
    assert TABLE.cost("claude-sonnet-5-5", tokens, batch=True, regional=True) == Decimal("1.1")


def test_an_unknown_model_has_an_unknown_price_not_none_at_all() -> None:
    assert TABLE.cost("claude-next", Tokens(input=1)) is None


def test_settings_replace_a_price_altogether() -> None:
    one = Decimal(1)
    flat = TokenPrices(
        input=one, output=one, cache_write_5m=one, cache_write_1h=one, cache_read=one
    )
    table = PriceTable({HAIKU: flat})
    assert table.cost(HAIKU, Tokens(input=1_000_000)) == 1
    assert table.cost("anthropic." + HAIKU, Tokens(input=1_000_000)) == 1


@given(
    model=st.sampled_from(sorted(model for model, known in MODELS.items() if known.price)),
    one=st.builds(Tokens, *[st.integers(0, 10_000)] * 5),
    other=st.builds(Tokens, *[st.integers(0, 10_000)] * 5),
)
def test_costs_add_up_exactly_within_a_band(model: str, one: Tokens, other: Tokens) -> None:
    both = Tokens(
        one.input + other.input,
        one.cache_read + other.cache_read,
        one.cache_write_5m + other.cache_write_5m,
        one.cache_write_1h + other.cache_write_1h,
        one.output + other.output,
    )
    parts = [TABLE.cost(model, tokens) for tokens in (one, other)]
    assert sum(part for part in parts if part is not None) == TABLE.cost(model, both)


@pytest.mark.parametrize(
    ("endpoint", "regional"),
    [
        ({}, False),
        ({"inference_geo": "us"}, True),
        ({"inference_geo": "global"}, False),
        ({"provider": "bedrock", "region": "eu-west-1"}, True),
        ({"provider": "bedrock", "region": "sa-east-1"}, False),
        (
            {
                "provider": "bedrock",
                "region": "eu-west-1",
                "model": "global.anthropic.claude-haiku-5-5",
            },
            False,
        ),
        ({"provider": "bedrock-mantle", "region": "us-east-1"}, True),
        ({"provider": "vertex", "region": "global", "project": "p"}, False),
        ({"provider": "vertex", "region": "europe-west1", "project": "p"}, True),
        ({"provider": "foundry", "resource": "r"}, False),
    ],
)
def test_what_is_set_says_whether_inference_is_bound_to_a_region(
    endpoint: dict[str, str], regional: bool
) -> None:
    settings = EndpointSettings.model_validate({"model": HAIKU, **endpoint})
    assert is_regional(settings) is regional


def test_the_region_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert is_regional(EndpointSettings(model=HAIKU, provider="bedrock"))
    monkeypatch.setenv("AWS_REGION", "sa-east-1")
    assert not is_regional(EndpointSettings(model=HAIKU, provider="bedrock"))


def test_an_unknown_price_counts_as_the_highest_of_todays_models() -> None:
    one = Tokens(output=1_000_000)
    assert TABLE.at_most("our-deployment", one) == 50
    assert TABLE.at_most(HAIKU, one) == Decimal("0.5")


def test_current_models_have_a_price_and_none_is_made_up() -> None:
    assert TABLE.cost("claude-fable-5-2", Tokens(cache_read=1_000_000)) == Decimal("0.2")
    assert TABLE.cost("us.anthropic.claude-opus-5-5", Tokens(cache_write_1h=1_000_000)) == 8
    assert TABLE.cost("claude-mythos-preview", Tokens(input=1)) is None
