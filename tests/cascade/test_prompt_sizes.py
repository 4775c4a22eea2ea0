"""Whether the prompt cache will take a stage's static part, said before anything is asked."""

from collections.abc import Mapping
from typing import Any

import structlog

from pipeline.cascade.prompt_sizes import Prefix, log_prefixes, prefixes
from pipeline.claude.model_facts import known
from pipeline.config import Settings
from pipeline.config.stages import Label
from pipeline.model.records import Tier
from pipeline.stages.api import build_stages
from pipeline.stages.tickets import TicketEvent, Tickets


def found(settings: Settings) -> Mapping[tuple[str, str], Prefix]:
    stages = build_stages(settings.stages).values()
    return {(each.stage, each.model): each for each in prefixes(settings, stages, Tier)}


def test_every_stage_as_it_comes_is_long_enough_for_both_models() -> None:
    settings = Settings()
    seen = found(settings)
    names = build_stages(settings.stages)
    models = ("claude-haiku-5-5", "claude-sonnet-5-5")
    assert set(seen) == {(name, model) for name in names for model in models}
    assert not any(each.is_too_short for each in seen.values())
    assert {each.fewest for each in seen.values()} == {512}


def test_what_is_too_short_depends_on_the_model() -> None:
    settings = Settings()
    settings.models.haiku.model = "claude-haiku-4-5"
    seen = found(settings)
    assert seen["tickets", "claude-haiku-4-5"].is_too_short
    assert (
        seen["tickets", "claude-haiku-4-5"].fewest
        == known("claude-haiku-4-5").traits.cacheable_tokens
    )
    assert not seen["tickets", "claude-sonnet-5-5"].is_too_short


def test_labels_with_descriptions_make_it_longer() -> None:
    def tokens(description: str) -> int:
        settings = Settings()
        settings.stages.tickets.intents = [Label(name=n, description=description) for n in "ab"]
        return found(settings)["tickets", "claude-haiku-5-5"].tokens

    assert tokens("x" * 401) - tokens("x") == 400 * 2 * 2 // 5


def test_each_is_logged_with_the_estimate_and_the_minimum() -> None:
    with structlog.testing.capture_logs() as lines:
        log_prefixes([Prefix("tickets", "m", 400, 512), Prefix("code", "m", 512, 512)])
    short, long = lines
    assert (short["log_level"], long["log_level"]) == ("warning", "info")
    assert "too short" in short["static_part"]
    assert (short["estimated_tokens"], short["minimum_tokens"]) == (400, 512)
    assert (long["stage"], long["static_part"]) == ("code", "long enough to be cached")


def test_a_stage_that_takes_no_event_made_up_here_is_left_out() -> None:
    class Choosy(Tickets):
        def parse(
            self, value: bytes, *, key: bytes | None, headers: Mapping[str, bytes]
        ) -> TicketEvent:
            raise KeyError("amount")

    settings = Settings()
    stages: list[Any] = [Choosy(settings.stages.tickets)]
    assert list(prefixes(settings, stages, Tier)) == []
