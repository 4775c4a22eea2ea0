"""Every record says what produced its answer, so that answers can be told apart."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from pipeline.cascade.deciding import CascadePolicy, provenance_of
from pipeline.cascade.policy import Policy, settings_digest
from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import Escalations, RawEvents
from pipeline.config import Settings, TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import AnswerError, Refused
from pipeline.model.observer import Observer
from pipeline.model.questions import Question, Response
from pipeline.model.records import Tier
from tests.cascade.stand_ins import (
    NOON,
    SPENT,
    NoteAnswer,
    NoteStage,
    ScriptedAsker,
    published,
    received,
)

SURE = NoteAnswer(mood="glad", confidence=0.95, unclear=False)
UNCLEAR = NoteAnswer(mood="glad", confidence=0.9, unclear=True)
NOTE = {"id": "n-1", "text": "all is well"}
HAIKU = {"provider": "fake", "prompt": "prompt-haiku", "settings": ""}
SONNET = {"provider": "fake", "prompt": "prompt-sonnet", "settings": ""}


Step = NoteAnswer | AnswerError


class Telling(ScriptedAsker):
    """Says with which prompt it was asked, and where."""

    async def ask(
        self, question: Question[Any], tier: Tier, *, max_output_tokens: int | None = None
    ) -> Response[Any]:
        response = await super().ask(question, tier, max_output_tokens=max_output_tokens)
        return replace(response, prompt=f"prompt-{tier}", provider="fake")


async def handled(
    reader: RawEvents | Escalations, tier: Tier, step: Step, record: object
) -> dict[str, Any]:
    processor = Processor(
        reader,
        CascadePolicy(Telling(step), Policy({}), tier),
        TopicNames(TopicSettings()),
        clock=lambda: NOON,
        observer=Observer(),
    )
    return published(await processor(received(record)))


async def first(step: Step) -> dict[str, Any]:
    return await handled(RawEvents(NoteStage()), Tier.HAIKU, step, NOTE)


async def second(step: Step, escalation: object) -> dict[str, Any]:
    return await handled(Escalations({"notes": NoteStage()}), Tier.SONNET, step, escalation)


async def test_a_record_says_what_produced_the_answer_of_each_tier() -> None:
    assert (await first(SURE))["provenance"] == HAIKU
    escalation = await first(UNCLEAR)
    assert escalation["provenance"] == HAIKU
    settled = await second(SURE, escalation)
    assert settled["provenance"] == SONNET
    assert settled["escalation"]["haiku_provenance"] == HAIKU
    review = await second(UNCLEAR, escalation)
    assert (review["haiku_provenance"], review["provenance"]) == (HAIKU, SONNET)


async def test_where_no_usable_answer_came_it_says_what_was_set_alone() -> None:
    refused = Refused("no", usage=SPENT, model="model-haiku", seconds=0.5)
    escalation = await first(refused)
    assert escalation["provenance"] == {"provider": "", "prompt": "", "settings": ""}


async def test_an_escalation_of_before_is_read_without_it() -> None:
    escalation = await first(UNCLEAR)
    del escalation["provenance"]
    assert (await second(SURE, escalation))["escalation"]["haiku_provenance"] is None


def test_several_prompts_have_one_digest_in_whatever_order_they_came() -> None:
    both = provenance_of("anthropic", frozenset({"a", "b"}), "s")
    assert both == provenance_of("anthropic", frozenset({"b", "a"}), "s")
    assert len(both.prompt) == 16
    assert provenance_of("anthropic", frozenset({"a"}), "s").prompt == "a"
    assert both.prompt not in {"a", "b", "ab"}


def changed(**changes: object) -> Settings:
    return Settings.model_validate(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"models": {"haiku": "claude-haiku-4-5"}},
        {"models": {"haiku": {"provider": "bedrock", "region": "eu-west-1"}}},
        {"models": {"haiku": {"fallback": {"model": "claude-sonnet-5-5"}}}},
        {"claude": {"haiku_effort": "high"}},
        {"stages": {"tickets": {"audit_share": 0.5}}},
        {"stages": {"tickets": {"events_per_request": 4}}},
        {"thresholds": {"low_confidence": 0.2}},
        {"thresholds": {"stages": {"tickets": {"low_confidence": 0.2}}}},
        {"escalation": {"second_opinion": {"tickets": 0.5}}},
        {"privacy": {"mask": ["email"]}},
    ],
)
def test_what_decides_about_an_answer_changes_the_digest(changes: dict[str, Any]) -> None:
    assert settings_digest(changed(**changes), "tickets") != settings_digest(Settings(), "tickets")


@pytest.mark.parametrize(
    "changes",
    [
        {"models": {"haiku": {"base_url": "https://gateway.example"}}},
        {"stages": {"tickets": {"budget_usd_per_day": Decimal(5)}}},
        {"stages": {"invoices": {"audit_share": 0.5}}},
        {"thresholds": {"stages": {"invoices": {"low_confidence": 0.2}}}},
        {"stream": {"max_in_flight": 7}},
        {"kafka": {"client_id": "another"}},
    ],
)
def test_what_does_not_leaves_it_as_it_is(changes: dict[str, Any]) -> None:
    assert settings_digest(changed(**changes), "tickets") == settings_digest(Settings(), "tickets")


def test_the_policy_of_each_stage_has_its_digest() -> None:
    policy = Policy.from_settings(Settings())
    digests = {policy[name, Tier.HAIKU].settings for name in Settings().stages.by_name()}
    assert len(digests) == len(Settings().stages.by_name())
    assert policy["tickets", Tier.SONNET].settings == settings_digest(Settings(), "tickets")
