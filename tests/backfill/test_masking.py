"""A backfill sends placeholders, and publishes what they stand for."""

import re
from collections.abc import Callable
from typing import Any

import orjson

from pipeline.config import PrivacySettings
from pipeline.testing import run_in_virtual_time
from tests.backfill.api import BatchApi, Result
from tests.backfill.world import World, answer_to

EMAIL = re.compile(r"\[EMAIL_\d\]|[\w.]+@[\w.]+")
NOTES = [(f"k-{n % 3}", f"fine, says u{n}@example.com") for n in range(8)]
MASKED = PrivacySettings(mask=["email"])


def address_in(params: dict[str, Any]) -> dict[str, Any]:
    text = params["messages"][0]["content"][0]["text"]
    return {**answer_to(params), "mood": EMAIL.findall(text)[0]}


def ran(privacy: PrivacySettings, fate: Callable[[dict[str, Any]], Result]) -> World:
    async def scenario() -> World:
        made = World(api=BatchApi(address_in, fate=fate), privacy=privacy)
        made.publish(NOTES)
        await made.process()
        made.check()
        return made

    return run_in_virtual_time(scenario())


def moods(made: World) -> dict[str, str]:
    return {name: found["result"]["mood"] for name, [found] in made.outcomes().items()}


def sent(made: World) -> str:
    batches = [each.requests for each in made.api.batches]
    return orjson.dumps([batches, made.api.asked_alone]).decode()


def test_a_batch_has_placeholders_and_its_results_the_values() -> None:
    made = ran(MASKED, lambda _: "succeeded")
    assert moods(made) == {f"n-{n}": f"u{n}@example.com" for n in range(8)}
    assert "example.com" not in sent(made)
    assert made.api.asked_alone == []


def test_what_a_batch_does_not_answer_is_masked_in_the_normal_lane() -> None:
    made = ran(MASKED, lambda _: "errored")
    assert moods(made) == {f"n-{n}": f"u{n}@example.com" for n in range(8)}
    assert "example.com" not in sent(made)
    assert made.api.asked_alone


def test_without_masking_a_batch_has_the_events_as_they_are() -> None:
    assert "u0@example.com" in sent(ran(PrivacySettings(), lambda _: "succeeded"))
