"""What a process says of a model after the API took the key again, in virtual time."""

import asyncio

from tests.e2e.whole import (
    DOUBTFUL,
    STAGES,
    Api,
    Installation,
    Process,
    process,
    refusal,
)
from tests.stream.virtual import virtual_time

PROBED_WITHIN = 17.0
"""Seconds: a call tries every 15, and Haiku answers within one here."""


def blocked(one: Process) -> dict[str, float | None]:
    models = one.settings.models
    return {
        model: one.metric("pipeline_model_blocked", model=model)
        for model in (models.haiku.model, models.sonnet.model)
    }


def intake(one: Process) -> list[float | None]:
    return [one.metric("pipeline_intake_open", stage=stage) for stage in STAGES]


def closed(one: Process) -> float:
    model = one.settings.models.haiku.model
    return one.metric("pipeline_breaker_state", model=model, state="closed") or 0


@virtual_time
async def test_what_waited_goes_on_without_a_restart_soon_after_a_refused_key_is_fixed() -> None:
    api = Api(haiku=0.5, sonnet=1.0)
    installation = Installation(api)
    async with process(installation) as one:
        await asyncio.sleep(5)
        installation.publish(20)
        installation.publish(5, DOUBTFUL)
        api.refuses = refusal("bad_key")
        await asyncio.sleep(60)
        assert intake(one) == [0, 0]
        assert "ANTHROPIC_API_KEY" in "".join(one.complaints())
        assert not installation.enriched()

        api.refuses = None
        await asyncio.sleep(PROBED_WITHIN)
        assert intake(one) == [1, 1]
        assert one.complaints() == []
        await asyncio.sleep(10)
        assert installation.enriched() == 25


@virtual_time
async def test_a_model_that_nobody_asks_is_not_called_blocked_once_the_key_is_good() -> None:
    api = Api(haiku=0.5, sonnet=10.0)
    installation = Installation(api)
    async with process(installation) as one:
        await asyncio.sleep(5)
        installation.publish(1, DOUBTFUL)
        await asyncio.sleep(5)
        # Sonnet has the escalation. From now on Haiku is refused, and then Sonnet answers.
        api.refuses = refusal("bad_key")
        installation.publish(3)
        await asyncio.sleep(20)
        assert installation.enriched() == 1
        assert set(blocked(one).values()) == {1}

        api.refuses = None
        await asyncio.sleep(PROBED_WITHIN)
        assert installation.enriched() == 4
        assert set(blocked(one).values()) == {0}
        assert one.complaints() == []


@virtual_time
async def test_what_went_to_another_process_leaves_nothing_that_is_called_blocked() -> None:
    api = Api(haiku=0.5, sonnet=1.0)
    installation = Installation(api)
    async with process(installation) as one:
        await asyncio.sleep(5)
        api.refuses = refusal("bad_key")
        installation.publish(1)
        await asyncio.sleep(5)
        async with process(installation, "two") as two, process(installation, "three") as three:
            await asyncio.sleep(30)
            api.refuses = None
            await asyncio.sleep(2 * PROBED_WITHIN)
            assert installation.enriched() == 1
            for each in (one, two, three):
                assert set(blocked(each).values()) == {0}
                assert intake(each) == [1, 1]
                assert each.complaints() == []


@virtual_time
async def test_what_went_to_another_process_leaves_no_breaker_half_open() -> None:
    api = Api(haiku=0.5, sonnet=1.0)
    installation = Installation(api)
    async with process(installation) as one:
        await asyncio.sleep(5)
        api.refuses = refusal("overloaded")
        installation.publish(1)
        await asyncio.sleep(90)
        assert closed(one) == 0
        async with process(installation, "two") as two, process(installation, "three") as three:
            await asyncio.sleep(90)
            # The process that has the event reports it all the time, between its calls, too.
            reported = set()
            for _ in range(60):
                await asyncio.sleep(1)
                reported.add(tuple(map(closed, (one, two, three))))
            assert len(reported) == 1
            assert sorted(*reported) == [0, 1, 1]
            api.refuses = None
            await asyncio.sleep(60)
            assert installation.enriched() == 1
            assert [*map(closed, (one, two, three))] == [1, 1, 1]
