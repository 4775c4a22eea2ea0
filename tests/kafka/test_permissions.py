"""What docs/OPERATIONS.md lists for each account is enough on a Kafka that refuses all else."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from pipeline.config import Settings, TopicSettings
from pipeline.doctor import CHECKS, Finding, Verdict, examine
from pipeline.doctor.kafka_access import grants_on_topics, judged
from pipeline.kafka.connection import admin_client
from pipeline.kafka.reader import read_topics
from pipeline.kafka.topics import TopicNames, Topics
from pipeline.local.apache import GUEST, ApacheKafka
from pipeline.local.environment import SimulatedApiProcess, kafka_variables
from pipeline.stream.records import Outgoing
from tests.brokers import FreshName
from tests.e2e.programs import PATIENCE, PIPELINE, program
from tests.kafka.permissions import Acls, Kind, Operation, Permission
from tests.operators.dead_letters.examples import buried, raw, write
from tests.operators.review.items import outgoing, review

pytestmark = pytest.mark.kafka

TEXT = (Path(__file__).parents[2] / "docs" / "OPERATIONS.md").read_text("utf-8")
STAGES = ("tickets",)
REPORTED_BY = ("topics", "permissions", "delivery")
"""The checks of the doctor that permissions matter to."""


@dataclass
class Account:
    """An account that may do nothing at first, and the topics and names that are theirs alone."""

    kafka: ApacheKafka
    prefix: str

    @property
    def topics(self) -> TopicSettings:
        return TopicSettings(prefix=self.prefix, partitions=1, replication_factor=1)

    @property
    def names(self) -> TopicNames:
        return TopicNames(self.topics)

    @property
    def acls(self) -> Acls:
        return Acls(self.kafka.settings, GUEST)

    @property
    def variables(self) -> Mapping[str, str]:
        return {
            **kafka_variables(self.kafka.settings_of(GUEST)),
            "PIPELINE_TOPICS__PREFIX": self.prefix,
            "PIPELINE_TOPICS__PARTITIONS": "1",
            "PIPELINE_KAFKA__GROUP_PREFIX": f"{self.prefix}pipeline.",
            "PIPELINE_ENABLED": orjson.dumps([*STAGES, "escalations"]).decode(),
        }

    def listed(self, command: str) -> list[Permission]:
        """What the table says about a command."""
        [row] = re.findall(rf"^\| `pipeline {command}` \|(.+)\|$", TEXT, re.MULTILINE)
        cells = [re.findall(r"`([^`]+)`", cell) for cell in row.split("|")]
        columns = (
            (Operation.READ, Kind.TOPIC),
            (Operation.WRITE, Kind.TOPIC),
            (Operation.READ, Kind.GROUP),
            (Operation.WRITE, Kind.TRANSACTIONAL_ID),
        )
        return [
            Permission(operation, kind, self.prefix + name.replace("<stage>", stage))
            for (operation, kind), names in zip(columns, cells, strict=True)
            for name in names
            for stage in (STAGES if "<stage>" in name else ("",))
        ]

    async def make_topics(self) -> None:
        async with admin_client(self.kafka.settings) as admin:
            await Topics(admin, self.topics).create(self.names.of([*STAGES, "escalations"]))

    async def put(self, *values: bytes) -> None:
        """Raw tickets, by a publisher."""
        topic = self.names.raw("tickets")
        await write(
            self.kafka.settings,
            [Outgoing(topic, b"%d" % n, value, ()) for n, value in enumerate(values)],
        )

    async def found(self, topic: str, count: int) -> list[bytes]:
        """The first values of a topic that a committed reader gets."""
        values: list[bytes] = []
        kafka = self.kafka.settings
        async with asyncio.timeout(PATIENCE), read_topics(kafka, [topic], end="never") as records:
            async for record in records:
                values.append(record.value or b"")
                if len(values) == count:
                    break
        return values

    async def runs(self, *arguments: str) -> tuple[int | None, str, str]:
        """The end of a command under this account, and what it printed and said."""
        process = await asyncio.create_subprocess_exec(
            *PIPELINE, *arguments, env={**os.environ, **self.variables},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()


@pytest.fixture
async def account(secured_kafka: ApacheKafka, fresh_name: FreshName) -> Account:
    return Account(secured_kafka, fresh_name("acl") + ".")


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Settings that reach a simulated API."""
    async with SimulatedApiProcess() as process:
        for name, value in {
            "ANTHROPIC_BASE_URL": process.base_url,
            "ANTHROPIC_API_KEY": "key-of-a-test",
            "PIPELINE_CLAUDE__CALL_TIMEOUT": "600",
            "PIPELINE_BACKFILL__POLL_INTERVAL": "0.2",
            "PIPELINE_BACKFILL__SETTLE": "2",
        }.items():
            monkeypatch.setenv(name, value)
        yield


def tickets(count: int) -> list[bytes]:
    return [
        orjson.dumps({"id": f"T-{n}", "body": f"I was charged twice for order {n}, please refund."})
        for n in range(count)
    ]


async def test_topics_are_made_with_create_and_describe(account: Account) -> None:
    code, _, err = await account.runs("topics", "create")
    assert (code, "uthoriz" in err) == (1, True), err
    await account.acls.give(
        Permission(operation, Kind.TOPIC, f"{account.prefix}*")
        for operation in (Operation.CREATE, Operation.DESCRIBE)
    )
    code, _, err = await account.runs("topics", "create")
    assert code == 0, err


@pytest.mark.usefixtures("api")
async def test_the_pipeline_runs_exactly_once_with_what_is_listed(account: Account) -> None:
    await account.make_topics()
    await account.acls.give(account.listed("run"))
    await account.put(*tickets(6), b"no ticket")
    # Every answer is doubted, so that the second tier has to be allowed its part, too.
    variables = {**account.variables, "PIPELINE_STAGES__TICKETS__AUDIT_SHARE": "1"}
    async with program(["run", "--json"], variables) as run:
        assert orjson.loads(await run.says("dashboard"))["delivery"] == "exactly_once"
        assert await account.found(account.names.dead_letters, 1) == [b"no ticket"]
        assert len(await account.found(account.names.escalations, 6)) == 6
        decided = await account.found(account.names.enriched("tickets"), 6)
        assert {orjson.loads(each)["event_id"] for each in decided} == {f"T-{n}" for n in range(6)}
        assert await run.stop() == 0


async def findings_of_doctor(account: Account, monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    for name, value in account.variables.items():
        monkeypatch.setenv(name, value)
    # The topic of the budget is needed where there is one.
    monkeypatch.setenv("PIPELINE_CLAUDE__BUDGET_USD_PER_DAY", "100")
    checks = [check for check in CHECKS if check.name in REPORTED_BY]
    return await examine(lambda _: None, environment={}, checks=checks)


async def test_the_doctor_reports_each_permission_that_is_missing(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    await account.make_topics()
    listed = account.listed("run")
    await account.acls.give(listed)
    assert {each.verdict for each in await findings_of_doctor(account, monkeypatch)} == {Verdict.OK}
    for permission in listed:
        await account.acls.take(permission)
        wrong = [
            each
            for each in await findings_of_doctor(account, monkeypatch)
            if each.verdict is not Verdict.OK
        ]
        assert wrong, permission
        assert any(permission.name.removesuffix("*") in each.text for each in wrong), wrong
        assert any("kafka-acls.sh" in each.advice for each in wrong), wrong
        await account.acls.give([permission])


async def test_the_doctor_reports_which_publisher_may_write_too_much(account: Account) -> None:
    await account.make_topics()
    settings = Settings(
        kafka=account.kafka.settings, topics=account.topics, enabled=("tickets", "escalations")
    )
    writing = [
        Permission(Operation.WRITE, Kind.TOPIC, name)
        for name in (account.names.raw("tickets"), account.names.escalations)
    ]
    await account.acls.give(writing)
    grants = await grants_on_topics(settings.kafka)
    assert grants is not None
    found = [each.detail for each in judged(settings, grants)]
    assert found == [f"User:{GUEST} may write raw events, and {account.names.escalations}, too."]
    await account.acls.take(writing[1])
    grants = await grants_on_topics(settings.kafka)
    assert grants is not None
    assert list(judged(settings, grants)) == []
    # An account that may not look does not learn it.
    assert await grants_on_topics(account.kafka.settings_of(GUEST)) is None


async def test_dead_letters_are_replayed_exactly_once_with_what_is_listed(account: Account) -> None:
    await account.make_topics()
    await account.acls.give(account.listed("dead-letters"))
    names = account.names
    dead_letters = [
        buried(raw(n, topic=names.raw("tickets")), into=names.dead_letters) for n in (0, 1)
    ]
    await write(account.kafka.settings, dead_letters)
    code, _, err = await account.runs("dead-letters", "list")
    assert code == 0, err
    code, out, err = await account.runs("dead-letters", "replay", "--all")
    assert code == 0, err
    assert out.startswith("2 replayed")
    assert "At least once" not in err
    assert len(await account.found(names.raw("tickets"), 2)) == 2


async def test_reviews_are_resolved_exactly_once_with_what_is_listed(account: Account) -> None:
    await account.make_topics()
    await account.acls.give(account.listed("review"))
    names = account.names
    await write(account.kafka.settings, [outgoing(review(0), key=b"0", topic=names.review)])
    code, _, err = await account.runs("review", "list", "--open")
    assert code == 0, err
    code, _, err = await account.runs("review", "resolve", "0:0", "--accept", "sonnet")
    assert code == 0, err
    assert "At least once" not in err
    assert len(await account.found(names.enriched("tickets"), 1)) == 1


async def test_a_key_is_forgotten_exactly_once_with_what_is_listed(account: Account) -> None:
    await account.make_topics()
    await account.acls.give(account.listed("forget"))
    names = account.names
    dead = buried(raw(0, topic=names.raw("tickets"), key=b"ada"), into=names.dead_letters)
    item = outgoing(review(0), key=b"ada", topic=names.review)
    await write(account.kafka.settings, [item, dead])
    found = {}
    for settled in (1, 0):
        code, out, err = await account.runs("forget", "ada", "--execute", "--json")
        assert code == 0, err
        assert "At least once" not in err
        found = orjson.loads(out)
        assert (found["review_items"], found["dead_letters"]) == (settled, settled)
    # Without DescribeConfigs the brokers do not say how long they keep a topic.
    assert {each["removed_by"] for each in found["remains"]} == {"unknown"}
    assert len(await account.found(names.audit, 3)) == 3


@pytest.mark.usefixtures("api")
async def test_a_backfill_runs_with_what_is_listed(account: Account) -> None:
    await account.make_topics()
    await account.acls.give(account.listed("backfill"))
    await account.put(*tickets(3), b"no ticket")
    code, out, err = await account.runs("backfill", "tickets", "--json")
    assert code == 0, err
    said = orjson.loads(out)
    assert (said["published"], said["dead_letters"]) == (4, 1)
    assert "least once" not in err


async def test_offsets_are_shown_and_moved_with_what_is_listed(account: Account) -> None:
    await account.make_topics()
    await account.acls.give(account.listed("offsets"))
    await account.put(*tickets(3))
    code, out, err = await account.runs("offsets", "show", "tickets", "--json")
    assert code == 0, err
    assert orjson.loads(out)[0]["partitions"][0]["lag"] == 3
    code, out, err = await account.runs("offsets", "reset", "tickets", "--to", "1", "--execute")
    assert code == 0, err
    assert "1 are skipped" in out
    code, out, err = await account.runs("offsets", "show", "tickets", "--json")
    assert code == 0, err
    assert orjson.loads(out)[0]["partitions"][0]["committed"] == 1
