"""What an operator does when a wrong setting turned events into dead letters."""

import asyncio
import os
from collections.abc import Mapping

import aiohttp
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.e2e.programs import PATIENCE, PIPELINE, Program, exported, program

# More than half of the 200 keys that are looked at, so none less makes an alarm of a few keys.
BEFORE, MEANWHILE = 101, 5
WRONG = {"PIPELINE_STAGES__TICKETS__MAX_TEXT_CHARS": "10"}


async def publish(kafka: str, numbers: range) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for number in numbers:
            ticket = {"id": f"x-{number}", "body": f"My card was charged {number + 2} times"}
            await producer.send_and_wait(
                "tickets.raw", orjson.dumps(ticket), key=b"%d" % (number % 4)
            )


async def address_of(run: Program) -> str:
    address: str = orjson.loads(await run.says("http://"))["dashboard"]
    return address


async def answer(url: str, wanted: str) -> tuple[int, str]:
    """Ask until the answer contains the text."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE):
        while True:
            async with session.get(url) as response:
                text = await response.text()
            if wanted in text:
                return response.status, text
            await asyncio.sleep(0.1)


async def command(environment: Mapping[str, str], *arguments: str) -> dict[str, object]:
    """Run a command; what it prints as JSON."""
    process = await asyncio.create_subprocess_exec(
        *PIPELINE, *arguments, "--json", env=environment, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    printed: dict[str, object] = orjson.loads(out)
    return printed


async def enriched(kafka: str, count: int) -> list[str]:
    """The events of the first records of the results."""
    found: list[str] = []
    async with AIOKafkaConsumer(
        "tickets.enriched",
        bootstrap_servers=kafka,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    ) as consumer:
        async with asyncio.timeout(PATIENCE):
            async for record in consumer:
                found.append(orjson.loads(record.value)["event_id"])
                if len(found) == count:
                    break
    return found


@pytest.mark.timeout(180)
async def test_intake_that_dead_letters_stopped_goes_on_after_the_cause_is_fixed_and_a_replay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with program(["local"]) as local:
        await local.says("ready")
        variables = exported(local.lines)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        kafka = variables["PIPELINE_KAFKA__BOOTSTRAP_SERVERS"]

        await publish(kafka, range(BEFORE))
        async with program(["run", "--json", "tickets", "escalations"], WRONG) as run:
            address = await address_of(run)
            status, said = await answer(f"{address}/readyz", "became dead letters")
            assert status == 503
            assert "fix the cause" in said
            assert "intake opens by itself" in said
            await answer(f"{address}/metrics", 'pipeline_intake_open{stage="tickets"} 0.0')
            await publish(kafka, range(BEFORE, BEFORE + MEANWHILE))
            # They wait, but for those that are let through to see whether the cause is gone.

        async with program(["run", "--json", "tickets", "escalations"]) as run:
            address = await address_of(run)
            status, _ = await answer(
                f"{address}/metrics", 'pipeline_intake_open{stage="tickets"} 1.0'
            )
            replayed = await command(os.environ, "dead-letters", "replay", "--reason", "too_large")
            put_back = replayed["replayed"]
            assert put_back in range(BEFORE, BEFORE + MEANWHILE + 1)
            assert replayed["refused"] == 0
            events = await enriched(kafka, BEFORE + MEANWHILE)
            assert sorted(events) == sorted(f"x-{n}" for n in range(BEFORE + MEANWHILE))
            again = await command(os.environ, "dead-letters", "replay", "--all")
            assert (again["replayed"], again["done_before"]) == (0, put_back)
