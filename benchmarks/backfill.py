"""A backfill that is killed again and again: every event once, and no batch paid twice.

`python -m benchmarks.backfill` publishes tickets to an Apache Kafka (Java 17+ and mvn; the
embedded broker where these are missing), runs `pipeline backfill tickets` against the simulated
API, and kills it with SIGKILL: every other time at the very moment at which the API has taken a
batch whose handle is not written down yet. Then it counts with a client that shares no code with
the pipeline. Prints what it does, and one JSON object as its last line; exits with 0 only if it
holds.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from pipeline.config import KafkaSettings, TopicSettings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.topics import TopicNames, Topics
from pipeline.kafka.writer import Writer
from pipeline.local.apache import ApacheKafka
from pipeline.local.broker import BrokerMissing, LocalBroker, NoidaBroker
from pipeline.local.child import Child
from pipeline.local.environment import SimulatedApiProcess, kafka_variables
from pipeline.stream.records import Outgoing
from tests.faults.reading import Record, committed_offsets, ends, read_all

STAGE = "tickets"
MARK = "E-[0-9]{6}"
BAD_EVERY = 997
"""One event in so many is none: a dead letter."""
KEYS = 500
SAMPLES = Path(__file__).parents[1] / "samples" / "tickets.jsonl"
ENDED_WITHIN = 600.0
_LOOK = 0.004
_MANY = 1 << 20
_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Args:
        events: How many there are.
        kills: How often the backfill is killed.
        batch_events: Events a batch.
        partitions: Of the topic.
        seed: Of the moments of the kills.
        prefix: Before every topic and group.
    """

    events: int = 20_000
    kills: int = 10
    batch_events: int = 0
    partitions: int = 6
    seed: int = 1
    prefix: str = ""

    @property
    def topics(self) -> TopicSettings:
        """How the topics are called and made."""
        return TopicSettings(prefix=self.prefix, partitions=self.partitions, replication_factor=1)

    @property
    def in_a_batch(self) -> int:
        """Events a batch; by default so that there are several batches for each kill."""
        return self.batch_events or max(1, self.events // max(20, 5 * self.kills))


@dataclass(slots=True)
class Finding:
    """What was counted.

    Args:
        broker: Which one, with its version.
        killed_in_doubt: Kills after the API had taken a batch and before its handle was known.
        batches: That the API has taken.
        paid: Answers that were paid, in batches.
        paid_twice: Events with more than one of them.
        asked_alone: Calls of the normal lane.
        lost: Events without an outcome.
        duplicated: Events with several.
        out_of_order: Outcomes of a key that came before those of earlier events.
        unknown_batches: That the API has taken and the compacted topic does not know.
        uncommitted: Events that a consumer of the stage would be given again.
    """

    broker: str
    events: int
    kills: int = 0
    killed_in_doubt: int = 0
    found_again: int = 0
    starts: int = 0
    seconds: float = 0.0
    batches: int = 0
    paid: int = 0
    paid_twice: int = 0
    asked_alone: int = 0
    lost: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    unknown_batches: int = 0
    uncommitted: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    cost_usd: str = "0"
    said: dict[str, Any] = field(default_factory=dict)

    def holds(self, plan: Plan) -> bool:
        """Whether it proves what it is to prove."""
        nothing = (
            self.paid_twice,
            self.asked_alone,
            self.lost,
            self.duplicated,
            self.out_of_order,
            self.unknown_batches,
            self.uncommitted,
        )
        bad = sum(number % BAD_EVERY == 0 for number in range(plan.events))
        return (
            not any(nothing)
            and self.kills == plan.kills
            and self.paid == plan.events - bad
            and self.ends.get("dead-letters", 0) == bad
            and self.said.get("done") is True
            and self.said.get("published") == plan.events
        )


class Api:
    """Looks into the simulated API, with the key of the backfill.

    Args:
        base_url: Where it is.
    """

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._http: aiohttp.ClientSession

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Api"]:
        """Connect, and have it note which event each answer is about."""
        headers = {"authorization": f"Bearer {VARIABLES['ANTHROPIC_API_KEY']}"}
        headers |= {"anthropic-version": "2026-10-21"}
        async with aiohttp.ClientSession(self._base_url, headers=headers) as self._http:
            async with self._http.put("/admin/mark", json={"pattern": MARK}) as response:
                response.raise_for_status()
            yield self

    async def newest(self) -> str | None:
        """The batch that was taken last."""
        found = (await self._get("/v1/messages/batches?limit=1"))["first_id"]
        return None if found is None else str(found)

    async def batches(self) -> list[dict[str, Any]]:
        """All batches that were taken."""
        found: list[dict[str, Any]] = (await self._get("/v1/messages/batches?limit=1000"))["data"]
        return found

    async def paid(self) -> list[dict[str, Any]]:
        """Every answer that was paid."""
        ledger = await self._get("/admin/requests")
        return [line for line in ledger["requests"] if line["billed"]]

    async def _get(self, path: str) -> dict[str, Any]:
        async with self._http.get(path) as response:
            response.raise_for_status()
            found: dict[str, Any] = await response.json()
            return found


VARIABLES: Mapping[str, str] = {
    "ANTHROPIC_API_KEY": "key-of-a-backfill",
    "PIPELINE_BACKFILL__POLL_INTERVAL": "1",
    "PIPELINE_BACKFILL__SETTLE": "6",
    "PIPELINE_STAGES__TICKETS__AUDIT_SHARE": "0",
    "PIPELINE_CLAUDE__BACKOFF_MAX": "2",
    "PIPELINE_LOG__FORMAT": "json",
}


class Killing:
    """Starts the backfill, and kills it as often as is planned.

    Args:
        plan: How often.
        api: Reports when a batch was taken.
        environment: Of the program.
        directory: Where its output goes.
    """

    def __init__(
        self, plan: Plan, api: Api, environment: Mapping[str, str], directory: Path
    ) -> None:
        self._plan = plan
        self._api = api
        self._environment = {**environment, "PYTHONPATH": str(_ROOT)}
        self._directory = directory
        self._random = random.Random(plan.seed)  # noqa: S311 - moments, not secrets
        self.starts = self.kills = self.in_doubt = self.found_again = 0

    async def to_the_end(self) -> dict[str, Any]:
        """Kill it as planned, then let it end; returns what it says last.

        Raises:
            RuntimeError: It ended with an error.
        """
        while self.kills < self._plan.kills:
            child = self._start()
            is_tight = self.kills % 2 == 0
            what = "has ended" if self.kills % 4 == 1 else "\n"
            done = await (
                self._after_a_submission(child) if is_tight else self._after_lines(child, what)
            )
            if done or not child.running:
                return await self._said(child)
            await child.kill()
            self.kills += 1
            output = child.output()
            newest = await self._api.newest() or ""
            in_doubt = is_tight and newest not in output
            self.in_doubt += in_doubt
            self.found_again += output.count("\nFound ")
            last = output.strip().splitlines()[-1:] or ["(nothing)"]
            sys.stdout.write(
                f"kill {self.kills} of {self._plan.kills}"
                f"{', right after a hand-in' if in_doubt else ''}; it had said last: {last[0]}\n"
            )
        return await self._said(self._start())

    def _start(self) -> Child:
        self.starts += 1
        log = self._directory / f"backfill-{self.starts:03d}.log"
        command = [sys.executable, "-m", "pipeline.cli", "backfill", STAGE, "--json"]
        return Child(command, log=log, env=self._environment)

    async def _after_a_submission(self, child: Child) -> bool:
        """Wait until the API has taken one more batch; returns whether the program has ended."""
        before = await self._api.newest()
        while child.running:
            if await self._api.newest() != before:
                return False
            await asyncio.sleep(_LOOK)
        return True

    async def _after_lines(self, child: Child, what: str) -> bool:
        """Wait until it has said that some times, and a moment; returns whether it has ended."""
        wanted = self._random.randint(1, 3)
        while child.running:
            if child.output().count(what) >= wanted:
                await asyncio.sleep(self._random.uniform(0, 0.6))
                return not child.running
            await asyncio.sleep(_LOOK)
        return True

    async def _said(self, child: Child) -> dict[str, Any]:
        async with asyncio.timeout(ENDED_WITHIN):
            code = await child.wait()
        output = child.output()
        self.found_again += output.count("\nFound ")
        if code != 0:
            raise RuntimeError(f"the backfill ended with {code}: {output.strip()[-2000:]}")
        # Its log goes the same way.
        (line,) = [line for line in output.splitlines() if line.startswith('{"stage"')]
        found: dict[str, Any] = orjson.loads(line)
        return found


async def prove(plan: Plan, broker: LocalBroker, directory: Path) -> Finding:
    """Publish, backfill, kill, count.

    Args:
        plan: What is to be done.
        broker: Running.
        directory: Where the program's output goes.
    """
    async with AsyncExitStack() as stack:
        sys.stdout.write(f"{plan.events:,} events on {broker.name}\n")
        await _fill(broker, plan)
        process = await stack.enter_async_context(SimulatedApiProcess())
        api = await stack.enter_async_context(Api(process.base_url).opened())
        environment = {
            **kafka_variables(broker.settings),
            **VARIABLES,
            "ANTHROPIC_BASE_URL": process.base_url,
            "PIPELINE_BACKFILL__BATCH_EVENTS": str(plan.in_a_batch),
            "PIPELINE_TOPICS__PREFIX": plan.prefix,
            "PIPELINE_KAFKA__GROUP_PREFIX": f"{plan.prefix}pipeline.",
        }
        killing = Killing(plan, api, environment, directory)
        started = time.monotonic()
        said = await killing.to_the_end()
        finding = Finding(broker.name, plan.events, said=said)
        finding.seconds = round(time.monotonic() - started, 1)
        finding.kills, finding.starts = killing.kills, killing.starts
        finding.killed_in_doubt, finding.found_again = killing.in_doubt, killing.found_again
        await _count(finding, api, broker.bootstrap_servers, plan)
        return finding


@asynccontextmanager
async def running_broker(wanted: str) -> AsyncIterator[LocalBroker]:
    """Start `kafka` or `noida`, or with `any` the first that is there; it is stopped at the end."""
    kinds: dict[str, LocalBroker] = {"kafka": ApacheKafka(), "noida": NoidaBroker()}
    for name, broker in kinds.items():
        if wanted not in {"any", name}:
            continue
        try:
            await broker.start()
        except BrokerMissing:
            if wanted != "any":
                raise
        else:
            try:
                yield broker
            finally:
                await broker.stop()
            return
    raise RuntimeError(f"there is no broker {wanted!r}")


async def _fill(broker: LocalBroker, plan: Plan) -> None:
    names = TopicNames(plan.topics)
    kafka: KafkaSettings = broker.settings
    # The embedded broker's own bounds would cut the backlog off.
    async with admin_client(kafka) as admin:
        await Topics(admin, plan.topics).create(names.of([STAGE]))
    samples = [orjson.loads(line) for line in SAMPLES.read_text().splitlines()]
    async with Writer(kafka, max_record_bytes=_MANY) as writer:
        for number in range(plan.events):
            event = dict(samples[number % len(samples)])
            event["id"] = f"E-{number:06d}"
            event["body"] = f"{event['body']}\nOur reference: {event['id']}"
            if number % BAD_EVERY == 0:
                del event["body"]
            key = f"customer-{number % KEYS}".encode()
            await writer.write(Outgoing(names.raw(STAGE), key, orjson.dumps(event), ()))


async def _count(finding: Finding, api: Api, servers: str, plan: Plan) -> None:
    names = TopicNames(plan.topics)
    outputs = [names.enriched(STAGE), names.escalations, names.dead_letters]
    records = await asyncio.to_thread(read_all, servers, [*outputs, names.backfills])
    _count_outcomes(finding, [record for record in records if record.topic in outputs], plan)
    finding.ends = {name.removeprefix(plan.prefix): n for name, n in finding.ends.items()}
    paid = await api.paid()
    in_batches = Counter(line["mark"] for line in paid if line["endpoint"] == "batch")
    finding.paid = sum(in_batches.values())
    finding.paid_twice = sum(times > 1 for times in in_batches.values())
    finding.asked_alone = sum(line["endpoint"] == "messages" for line in paid)
    known = _handles(records, names.backfills)
    taken = await api.batches()
    finding.batches = len(taken)
    finding.unknown_batches = sum(batch["id"] not in known for batch in taken)
    group = f"{plan.prefix}pipeline.{STAGE}"
    raw = names.raw(STAGE)
    committed = await asyncio.to_thread(committed_offsets, servers, group, raw, plan.partitions)
    end = await asyncio.to_thread(ends, servers, raw)
    finding.uncommitted = sum(e - max(0, c) for e, c in zip(end, committed, strict=True))


def _count_outcomes(finding: Finding, outcomes: Sequence[Record], plan: Plan) -> None:
    seen: Counter[str] = Counter()
    cost = Decimal(0)
    latest: dict[tuple[str, str], int] = defaultdict(lambda: -1)
    for record in outcomes:
        value = orjson.loads(record.value)
        seen[value["event_id"] if "event_id" in value else value["id"]] += 1
        finding.ends[record.topic] = finding.ends.get(record.topic, 0) + 1
        if "usage" not in value:
            continue
        cost += Decimal(value["usage"]["cost_usd"])
        place = (record.topic, record.key)
        finding.out_of_order += value["source"]["offset"] < latest[place]
        latest[place] = max(latest[place], value["source"]["offset"])
    finding.lost = sum(f"E-{number:06d}" not in seen for number in range(plan.events))
    finding.duplicated = sum(times > 1 for times in seen.values())
    finding.cost_usd = format(cost, "f")


def _handles(records: Sequence[Record], topic: str) -> set[str]:
    """The handles of the batches that the compacted topic calls published."""
    found = (orjson.loads(record.value) for record in records if record.topic == topic)
    return {job["batch_id"] for job in found if job.get("state") == "published"}


async def _prove(plan: Plan, wanted: str, directory: Path) -> Finding:
    async with running_broker(wanted) as broker:
        return await prove(plan, broker, directory)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prove it, print, and say whether it holds."""
    defaults = Plan()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backfill", description=__doc__)
    parser.add_argument("--events", type=int, default=defaults.events)
    parser.add_argument("--kills", type=int, default=defaults.kills)
    parser.add_argument("--batch-events", type=int, default=0, help="events a batch; 0: by events")
    parser.add_argument("--broker", choices=("any", "kafka", "noida"), default="any")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of the kills' moments")
    parser.add_argument("--keep", type=Path, help="a folder for the program's output")
    options = parser.parse_args(arguments)
    plan = Plan(
        options.events,
        options.kills,
        options.batch_events,
        seed=options.seed,
    )
    with tempfile.TemporaryDirectory(prefix="haiku-backfill-") as temporary:
        directory = Path(options.keep or temporary).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        finding = asyncio.run(_prove(plan, options.broker, directory))
    ok = finding.holds(plan)
    sys.stdout.write(json.dumps({**asdict(finding), "simulated": True, "ok": ok}) + "\n")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
