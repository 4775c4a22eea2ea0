"""The desk as a process that is killed: each verdict is one record, never two."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import orjson

from pipeline.config import TopicSettings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.reader import read_topics
from pipeline.kafka.topics import TopicNames, Topics
from pipeline.local.broker import NoidaBroker
from pipeline.local.environment import kafka_variables
from tests.brokers import FreshName
from tests.e2e.programs import Program, program
from tests.operators.dead_letters.examples import write
from tests.operators.review.items import outgoing, review


class Session:
    """A person at a desk."""

    def __init__(self, http: aiohttp.ClientSession, address: str, token: str) -> None:
        self._http, self._address, self._token = http, address, token

    async def decide(self, place: str) -> None:
        async with self._http.post(
            f"{self._address}/api/review/{place}/verdict",
            json={"accept": "haiku"},
            headers={"X-CSRF-Token": self._token},
        ) as answer:
            assert answer.status == 202, await answer.text()

    async def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        async with self._http.get(self._address + path) as answer:
            return await answer.json()

    async def is_waiting(self) -> bool:
        """Whether the latest verdict can still be undone."""
        return bool((await self.get("/api/review/verdicts"))[0]["state"] == "waiting")

    async def until_settled(self) -> None:
        """Wait until no verdict waits any more."""
        async with asyncio.timeout(60):
            while any(  # noqa: ASYNC110 - another process
                each["state"] in {"waiting", "publishing"}
                for each in await self.get("/api/review/verdicts")
            ):
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def desk(environment: Mapping[str, str]) -> AsyncIterator[tuple[Program, Session]]:
    variables = {**environment, "PIPELINE_DESK__PORT": "0"}
    async with program(["desk", "--json"], variables) as running, aiohttp.ClientSession() as http:
        address = orjson.loads(await running.says('{"desk":'))["desk"]
        async with http.get(f"{address}/api/session") as answer:
            token = (await answer.json())["csrf"]
        session = Session(http, address, token)
        async with asyncio.timeout(60):
            while not (await session.get("/api/review"))["loaded"]:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
        yield running, session


async def waiting(session: Session) -> list[str]:
    return [each["place"] for each in (await session.get("/api/review"))["cases"]]


async def test_a_desk_that_is_killed_between_verdict_and_publication_publishes_each_case_once(
    embedded_broker: NoidaBroker, fresh_name: FreshName
) -> None:
    prefix = fresh_name("desk") + "."
    topics = TopicSettings(prefix=prefix, partitions=1, replication_factor=1)
    names, kafka = TopicNames(topics), embedded_broker.settings
    async with admin_client(kafka) as admin:
        await Topics(admin, topics).create(names.of(["tickets"]))
    cases = 3
    await write(
        kafka, [outgoing(review(n), key=b"%d" % n, topic=names.review) for n in range(cases)]
    )
    environment = {**kafka_variables(kafka), "PIPELINE_TOPICS__PREFIX": prefix}

    async def published() -> Counter[str]:
        async with read_topics(kafka, [names.enriched("tickets")]) as found:
            return Counter([orjson.loads(each.value or b"")["event_id"] async for each in found])

    async with desk(environment) as (running, session):
        await session.decide("0:0")
        running.process.kill()
        await running.process.wait()
    assert await published() == {}

    # While it publishes: from before the transaction begins until after it has ended.
    for moment in (0.02, 0.25):
        async with desk(environment) as (running, session):
            places = await waiting(session)
            assert "0:0" in places or await published() == {"T-0": 1}
            if "0:0" in places:
                await session.decide("0:0")
                async with asyncio.timeout(60):
                    while await session.is_waiting():  # noqa: ASYNC110 - as above
                        await asyncio.sleep(0.01)
                await asyncio.sleep(moment)
            running.process.kill()
            await running.process.wait()

    async with desk(environment) as (_, session):
        for place in await waiting(session):
            await session.decide(place)
        await session.until_settled()
        assert await waiting(session) == []
    assert await published() == {f"T-{number}": 1 for number in range(cases)}
