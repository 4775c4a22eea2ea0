"""Mistakes in where models are asked."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.doctor import Verdict, endpoints
from pipeline.doctor.endpoints import (
    check_credentials,
    check_fallbacks,
    check_platforms,
    check_regions,
)
from pipeline.doctor.examination import Site
from tests.doctor.sites import fine, reported, site

FAILED, WARNING = Verdict.FAILED, Verdict.WARNING


def asked_at(**place: Any) -> Site:  # noqa: ANN401 - any settings
    """An installation whose Haiku is asked there."""
    return site(models={"haiku": {"model": "claude-haiku-5-5", **place}})


def test_anthropic_with_a_key_of_the_environment_is_no_concern_here() -> None:
    assert list(check_credentials(site())) == []
    assert list(check_regions(site())) == []


def test_a_key_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    found = check_credentials(asked_at(key_file=tmp_path / "key"))
    reported(found, FAILED, "models.haiku.key_file", "cannot be read", "Mount it")


@pytest.mark.parametrize(("text", "says"), [("\n", "is empty"), ("A=1\nB=2", "more than a key")])
def test_a_key_file_without_a_key_alone_in_it_is_reported_and_not_quoted(
    tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "key").write_text(text)
    finding = reported(check_credentials(asked_at(key_file=tmp_path / "key")), FAILED, says)
    assert "A=1" not in finding.text


def test_a_key_file_with_a_key_is_fine(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a-key\n")
    fine(check_credentials(asked_at(key_file=tmp_path / "key")))


def test_a_package_that_signs_and_is_not_installed_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endpoints, "is_installed", lambda name: name != "botocore")
    found = check_credentials(asked_at(provider="bedrock", region="us-east-1"))
    reported(found, FAILED, "botocore", "haiku-pipeline[bedrock]")


def test_a_bearer_token_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "is_installed", lambda _: False)
    place = asked_at(provider="bedrock", region="us-east-1")
    fine(check_credentials(Site(place.settings, {"AWS_BEARER_TOKEN_BEDROCK": "x"})))


@pytest.mark.parametrize(
    ("provider", "region"),
    [("bedrock", "us-east"), ("bedrock", "global"), ("vertex", "us-east-1"), ("vertex", "US")],
)
def test_a_region_of_another_platform_is_reported(provider: str, region: str) -> None:
    more = {"project": "mine"} if provider == "vertex" else {}
    found = check_regions(asked_at(provider=provider, region=region, **more))
    reported(found, FAILED, repr(region), provider)


@pytest.mark.parametrize(
    ("model", "region"),
    [
        ("us.anthropic.claude-haiku-5-5", "eu-central-1"),
        ("us.anthropic.claude-haiku-5-5", "us-gov-west-1"),
        ("eu.anthropic.claude-haiku-5-5", "us-east-1"),
        ("jp.anthropic.claude-haiku-5-5", "ap-southeast-2"),
    ],
)
def test_an_id_for_another_part_of_the_world_is_reported(model: str, region: str) -> None:
    found = check_regions(asked_at(model=model, provider="bedrock", region=region))
    reported(found, FAILED, f"{model} is not asked from {region}", "global.")


@pytest.mark.parametrize(
    ("model", "region"),
    [
        ("us.anthropic.claude-haiku-5-5", "us-west-2"),
        ("global.anthropic.claude-haiku-5-5", "eu-central-1"),
        ("anthropic.claude-haiku-5-5", "eu-central-1"),
        ("jp.anthropic.claude-haiku-5-5", "ap-northeast-1"),
    ],
)
def test_an_id_that_is_asked_from_its_region_is_fine(model: str, region: str) -> None:
    fine(check_regions(asked_at(model=model, provider="bedrock", region=region)))


def test_the_region_of_the_environment_counts_where_none_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    place = asked_at(model="us.anthropic.claude-haiku-5-5", provider="bedrock")
    found = check_regions(Site(place.settings, {"AWS_REGION": "eu-central-1"}))
    reported(found, FAILED, "is not asked from eu-central-1")


def test_what_a_platform_lacks_is_said_with_what_is_done_instead() -> None:
    anthropic, bedrock = sorted(
        finding.detail
        for finding in check_platforms(asked_at(provider="bedrock", region="us-east-1"))
    )
    assert anthropic == "anthropic has all that is used."
    for word in ("backfill", "a question of a few tokens", "input of a tool", "429"):
        assert word in bedrock


def test_a_fallback_with_the_account_of_its_first_is_reported() -> None:
    found = check_fallbacks(asked_at(fallback={"model": "claude-haiku-4-5"}))
    reported(found, WARNING, "models.haiku.fallback", "same account")


def test_a_fallback_that_costs_a_multiple_is_reported() -> None:
    bedrock = {"provider": "bedrock", "region": "us-east-1"}
    found = check_fallbacks(asked_at(fallback={"model": "anthropic.claude-sonnet-5-5", **bedrock}))
    reported(found, WARNING, "20 times as much", "budget")
    fine(check_fallbacks(asked_at(fallback={"model": "anthropic.claude-haiku-5-5", **bedrock})))
