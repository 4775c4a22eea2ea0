"""Mistakes that show only when brokers and the API are asked: real ones, and stand-ins."""

import asyncio
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.protocol.admin import CreateAclsRequest
from aiokafka.structs import OffsetAndMetadata

from pipeline.claude.probes import Probe
from pipeline.config import KafkaSettings, Settings, TopicSettings
from pipeline.doctor import CHECKS, examine
from pipeline.doctor.examination import (
    Check,
    Finding,
    OutOfReach,
    Site,
    Verdict,
    findings,
    look,
    ok,
)
from pipeline.doctor.model_api import Probers, check_access, check_clock
from pipeline.kafka import cluster
from pipeline.kafka.connection import admin_client, client_options
from pipeline.kafka.offsets import KafkaOffsets
from pipeline.kafka.topics import TopicNames, Topics
from pipeline.local.apache import GUEST, ApacheKafka
from pipeline.local.broker import LocalBroker
from pipeline.local.environment import kafka_variables
from pipeline.model.errors import PipelineError
from pipeline.stream.protocols import BrokersUnavailable, LogBounds
from pipeline.stream.protocols import TopicPartition as Partition
from tests.brokers import FreshName
from tests.doctor.sites import fine, reported, site

FAILED, WARNING = Verdict.FAILED, Verdict.WARNING
OF_BROKERS = [
    check for check in CHECKS if check.name not in {"access", "clock", "port", "key", "prompts"}
]
Look = Callable[..., Any]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Look:
    """Looks at an installation with this way to the brokers, and these variables."""

    async def at(kafka: KafkaSettings, **variables: str) -> list[Finding]:
        for name, value in {**kafka_variables(kafka), **variables}.items():
            monkeypatch.setenv(name, value)
        return await examine(lambda _: None, OF_BROKERS)

    return at


@dataclass(frozen=True)
class Place:
    """A broker, and a prefix of topics and groups that is this test's own."""

    kafka: KafkaSettings
    prefix: str

    @property
    def variables(self) -> dict[str, str]:
        return {
            "PIPELINE_TOPICS__PREFIX": self.prefix,
            "PIPELINE_TOPICS__PARTITIONS": "2",
            "PIPELINE_KAFKA__GROUP_PREFIX": self.prefix,
            "PIPELINE_ENABLED": '["tickets", "escalations"]',
        }

    async def make_topics(self) -> None:
        settings = TopicSettings(prefix=self.prefix, partitions=2)
        async with admin_client(self.kafka) as admin:
            await Topics(admin, settings).create(TopicNames(settings).of(["tickets"]))


@pytest.fixture
def place(any_broker: LocalBroker, fresh_name: FreshName) -> Place:
    return Place(any_broker.settings, fresh_name("doctor") + ".")


async def test_brokers_that_do_not_answer_are_reported_once_and_what_needs_them_is_left_out(
    looks: Look,
) -> None:
    found = await looks(KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    reported(found, FAILED, "127.0.0.1:1", "connection refused", "pipeline local")
    assert {"topics", "delivery"}.isdisjoint(finding.about for finding in found)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("no-such-host.invalid:9092", "the host name is not known"),
        ("http://127.0.0.1:9092", "scheme"),
        ("kafka:port", "must be host:port"),
    ],
)
async def test_an_address_that_cannot_be_is_reported(looks: Look, address: str, says: str) -> None:
    reported(await looks(KafkaSettings(bootstrap_servers=address)), FAILED, says)


async def test_where_all_is_there_all_is_fine(looks: Look, place: Place) -> None:
    await place.make_topics()
    found = await looks(place.kafka, **place.variables)
    fine(found)
    assert [check.name for check in OF_BROKERS] == list(dict.fromkeys(f.about for f in found))


async def test_missing_topics_are_reported_and_not_made_by_asking(
    looks: Look, place: Place
) -> None:
    for _ in range(2):
        found = await looks(place.kafka, **place.variables)
        reported(found, FAILED, "tickets.raw", "pipeline topics create")


async def test_a_stage_that_does_not_exist_is_reported(looks: Look, place: Place) -> None:
    found = await looks(place.kafka, **place.variables | {"PIPELINE_ENABLED": '["faxes"]'})
    reported([each for each in found if each.about == "topics"], FAILED, "faxes")


async def test_another_program_in_the_group_is_reported(looks: Look, place: Place) -> None:
    await place.make_topics()
    async with AIOKafkaConsumer(
        f"{place.prefix}tickets.raw",
        **client_options(place.kafka) | {"client_id": "their-app"},
        group_id=f"{place.prefix}tickets",
    ) as other:
        await other.getmany(timeout_ms=500)
        found = await looks(place.kafka, **place.variables)
    reported(found, FAILED, f"Group {place.prefix}tickets is used by something else", "their-app")


async def test_commits_of_another_program_and_records_from_the_future_are_reported(
    looks: Look, place: Place
) -> None:
    await place.make_topics()
    topic = f"{place.prefix}tickets.raw"
    options = client_options(place.kafka)
    later = round((time.time() + 1800) * 1000)
    async with AIOKafkaProducer(**options) as producer:
        await producer.send_and_wait(topic, b"{}", partition=0, timestamp_ms=later)
    async with AIOKafkaConsumer(
        **options,
        group_id=f"{place.prefix}tickets",
        enable_auto_commit=False,  # at its end it would commit its position, without the words
    ) as other:
        partition = TopicPartition(topic, 0)
        other.assign([partition])
        await other.commit({partition: OffsetAndMetadata(1, "their own words")})
    found = await looks(place.kafka, **place.variables)
    reported(found, FAILED, f"{topic}/0", "not the pipeline's", "offsets reset tickets")
    reported(found, WARNING, "in the future")


@pytest.mark.kafka
async def test_progress_that_comes_late_is_waited_for_and_unknown_progress_is_a_fault(
    looks: Look, apache_kafka: ApacheKafka, fresh_name: FreshName, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(apache_kafka.settings, fresh_name("doctor") + ".")
    await place.make_topics()
    bounds, asked = KafkaOffsets.bounds, 0

    async def no_leader_at_first(reader: KafkaOffsets, partition: Partition) -> LogBounds:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise BrokersUnavailable("There is no leader.")
        return await bounds(reader, partition)

    monkeypatch.setattr(KafkaOffsets, "bounds", no_leader_at_first)
    fine(await looks(place.kafka, **place.variables))

    async def no_leader(reader: KafkaOffsets, partition: Partition) -> LogBounds:
        raise BrokersUnavailable("There is no leader.")

    monkeypatch.setattr(KafkaOffsets, "bounds", no_leader)
    monkeypatch.setattr(cluster, "_PATIENCE", 0.0)
    found = await looks(place.kafka, **place.variables)
    reported(
        found, FAILED, f"{place.prefix}tickets.raw could not be read in full", "There is no leader."
    )


@pytest.mark.kafka
async def test_topics_that_lose_events_or_cannot_be_written_are_reported(
    looks: Look, apache_kafka: ApacheKafka, fresh_name: FreshName
) -> None:
    place = Place(apache_kafka.settings, fresh_name("doctor") + ".")
    raw = f"{place.prefix}tickets.raw"
    configs = {
        "cleanup.policy": "compact,delete",
        "retention.ms": "3600000",
        "max.message.bytes": "1000000",
        "min.insync.replicas": "2",
    }
    async with admin_client(place.kafka) as admin:
        await admin.create_topics([NewTopic(raw, 1, 1, topic_configs=configs)])
    await place.make_topics()
    async with AIOKafkaProducer(**client_options(place.kafka), acks="all") as producer:
        await producer.send_and_wait(raw, b"written all the same", key=b"a")
    found = await looks(place.kafka, **place.variables)
    reported(found, FAILED, f"{raw} is compacted")
    reported(found, WARNING, f"{raw} keeps records for 1 hours")
    reported(found, WARNING, f"Topic {raw} takes records of 1,000,000 bytes")
    reported(found, WARNING, f"{raw} wants 2 replicas in sync and has 1")
    reported(found, WARNING, f"{raw} has one partition")


async def test_a_lag_that_retention_will_overtake_is_reported(looks: Look, place: Place) -> None:
    await place.make_topics()
    topic = f"{place.prefix}tickets.raw"
    five_days_ago = round((time.time() - 5 * 86_400) * 1000)
    async with AIOKafkaProducer(**client_options(place.kafka)) as producer:
        await producer.send_and_wait(topic, b"old", partition=0, timestamp_ms=five_days_ago)
        await producer.send_and_wait(topic, b"new", partition=0)
    found = await looks(place.kafka, **place.variables)
    reported(found, WARNING, f"{topic} has records that {place.prefix}tickets has not processed")


@pytest.mark.kafka
async def test_limits_of_the_brokers_below_ours_are_reported(
    looks: Look, apache_kafka: ApacheKafka, fresh_name: FreshName
) -> None:
    place = Place(apache_kafka.settings, fresh_name("doctor") + ".")
    await place.make_topics()
    too_long = {"PIPELINE_STREAM__TRANSACTION_TIMEOUT": "100000"}
    found = await looks(place.kafka, **place.variables, **too_long)
    reported(found, FAILED, "transaction.max.timeout.ms", "stream.transaction_timeout")


@pytest.mark.kafka
async def test_a_password_that_is_wrong_is_reported_and_not_shown(
    looks: Look, secured_kafka: ApacheKafka
) -> None:
    wrong = secured_kafka.settings.model_dump() | {"sasl_password": "not-the-password"}
    found = await looks(KafkaSettings.model_validate(wrong))
    finding = reported(found, FAILED, "refused user 'pipeline'", "kafka.sasl_password")
    assert "not-the-password" not in finding.text


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"security_protocol": "PLAINTEXT", "ssl_ca_file": None, "sasl_username": None,
          "sasl_password": None}, "has TLS or asks for credentials"),
        ({"sasl_mechanism": "SCRAM-SHA-256"}, "does not take SCRAM-SHA-256"),
        ({"ssl_ca_file": None}, "is not accepted"),
    ],
)  # fmt: skip
async def test_a_way_to_the_brokers_that_is_not_theirs_is_reported(
    looks: Look, secured_kafka: ApacheKafka, changes: dict[str, object], says: str
) -> None:
    kafka = KafkaSettings.model_validate(secured_kafka.settings.model_dump() | changes)
    reported(await looks(kafka), FAILED, says)


@pytest.mark.kafka
async def test_tls_on_a_plain_port_is_reported(looks: Look, apache_kafka: ApacheKafka) -> None:
    kafka = apache_kafka.settings.model_copy(update={"security_protocol": "SSL"})
    (finding,) = [
        each
        for each in await looks(KafkaSettings.model_validate(kafka.model_dump()))
        if each.about == "brokers"
    ]
    reported([finding], FAILED, "TLS", "openssl s_client")


@pytest.mark.kafka
async def test_what_a_user_may_not_do_is_reported(
    looks: Look, secured_kafka: ApacheKafka, fresh_name: FreshName
) -> None:
    owner = Place(secured_kafka.settings, fresh_name("theirs") + ".")
    await owner.make_topics()
    raw = f"{owner.prefix}tickets.raw"
    await allow(owner.kafka, f"{owner.prefix}tickets.raw", _DESCRIBE)
    await allow(owner.kafka, f"{owner.prefix}review", _DESCRIBE)

    found = await looks(secured_kafka.settings_of(GUEST), **owner.variables)

    reported(found, FAILED, f"guest may not Read {raw}", f"--operation Read --topic {raw}")
    reported(found, FAILED, f"guest may not Write {owner.prefix}review")
    reported(found, FAILED, "guest may not see", f"{owner.prefix}dead-letters")
    reported(found, FAILED, f"consumer group {owner.prefix}tickets")
    reported(found, WARNING, "at_least_once would be in force", "--transactional-id")


_DESCRIBE, _ALLOW, _TOPIC, _LITERAL = 8, 3, 2, 3


async def allow(kafka: KafkaSettings, topic: str, operation: int) -> None:
    request = CreateAclsRequest(_TOPIC, topic, _LITERAL, f"User:{GUEST}", "*", operation, _ALLOW)
    async with admin_client(kafka) as admin:
        response = await admin._send_request(request)
    assert [code for code, *_ in response.creation_responses] == [0]


async def test_a_certificate_for_another_host_is_reported(looks: Look, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    await asyncio.to_thread(make_certificate, key, certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context
    )
    async with server:
        found = await looks(
            KafkaSettings(
                bootstrap_servers=f"127.0.0.1:{server.sockets[0].getsockname()[1]}",
                security_protocol="SSL",
                ssl_ca_file=certificate,
            )
        )
    reported(found, FAILED, "is for another host", "kafka.bootstrap_servers")


def make_certificate(key: Path, certificate: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-subj", "/CN=other.example", "-addext", "subjectAltName=DNS:other.example"),
            *("-days", "2", "-nodes", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )


@asynccontextmanager
async def api(*, ahead: float) -> AsyncIterator[str]:
    """An API whose clock is ahead of ours by that many seconds."""

    async def refuse(_: web.Request) -> web.Response:
        date = formatdate(time.time() + ahead, usegmt=True)
        return web.Response(status=401, headers={"Date": date})

    app = web.Application()
    app.router.add_get("/v1/models", refuse)
    runner = web.AppRunner(app, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(("ahead", "says"), [(90, "behind"), (-90, "ahead of")])
async def test_a_clock_that_is_wrong_is_reported(ahead: float, says: str) -> None:
    async with api(ahead=ahead) as url:
        found = await findings(check_clock(site({"ANTHROPIC_BASE_URL": url})))
    reported(found, WARNING, says, "timedatectl")


async def test_a_clock_that_agrees_or_cannot_be_compared_is_fine() -> None:
    async with api(ahead=0) as url:
        fine(await findings(check_clock(site({"ANTHROPIC_BASE_URL": url}))))
    fine(await findings(check_clock(site({"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}))))


def api_says(*probes: Probe) -> Probers:
    class Api:
        async def probe(self) -> Sequence[Probe]:
            return probes

    @asynccontextmanager
    async def connected(_: Settings) -> AsyncIterator[Api]:
        yield Api()

    return connected


async def test_what_the_api_says_of_each_model_is_reported() -> None:
    said = api_says(Probe("haiku-x", ok=True, detail="Fine."), Probe("s-x", ok=False, detail="No."))
    good, bad = await findings(check_access(site(), said))
    assert (good.verdict, bad.detail) == (Verdict.OK, "s-x: No.")
    reported([bad], FAILED, "s-x", "ANTHROPIC_BASE_URL")


def described(lifecycle: str, **changes: object) -> dict[str, Any]:
    return {"type": "model", "lifecycle": lifecycle, **changes}


def asked(model: str, description: dict[str, Any] | None = None, *, ok: bool = True) -> Probers:
    return api_says(Probe(model, ok=ok, detail="So.", described=description))


NOVEMBER = date(2026, 11, 25)


@pytest.mark.parametrize(
    ("model", "description", "verdict", "says"),
    [
        ("claude-haiku-5-5", described("retired"), FAILED, "has retired, as the API says"),
        (
            "claude-haiku-5-5",
            described("deprecated", retires_at="2027-05-01T00:00:00Z"),
            WARNING,
            "retires on 2027-05-01, as the API says",
        ),
        ("claude-haiku-5-5", described("deprecated"), WARNING, "on a day that is not set"),
        ("claude-sonnet-4-5", None, WARNING, "retires on 2026-11-30, by the announcements"),
        ("anthropic.claude-opus-4-20250514-v1:0", {}, FAILED, "has retired on 2026-06-15, by the"),
    ],
)
async def test_a_model_that_ends_is_reported_by_the_apis_word_or_the_tables(
    model: str, description: dict[str, Any] | None, verdict: Verdict, says: str
) -> None:
    found = await findings(check_access(site(), asked(model, description), lambda: NOVEMBER))
    reported(found, verdict, model, says, "pipeline evaluate")


async def test_a_model_that_has_retired_is_said_to_have_where_the_api_does_not_know_it() -> None:
    gone = asked("claude-3-5-haiku-20241022", ok=False)
    found = await findings(check_access(site(), gone, lambda: NOVEMBER))
    reported(found, FAILED, "has retired on 2026-02-19")


@pytest.mark.parametrize(
    ("model", "description"),
    [
        ("claude-haiku-5-5", None),
        ("claude-haiku-5-5", described("active", retires_at=None)),
        # The table is older than the API's word.
        ("claude-sonnet-4-5", described("active", retires_at=None)),
    ],
)
async def test_a_model_that_stays_is_fine(model: str, description: dict[str, Any] | None) -> None:
    fine(await findings(check_access(site(), asked(model, description), lambda: NOVEMBER)))


async def test_clouds_that_retire_models_by_themselves_are_not_held_to_the_table() -> None:
    there = site(models={"sonnet": {"model": "claude-sonnet-4", "provider": "bedrock",
                                    "region": "eu-west-1"}})  # fmt: skip
    fine(await findings(check_access(there, asked("claude-sonnet-4"), lambda: NOVEMBER)))


async def test_what_a_model_cannot_do_is_reported() -> None:
    without = described("active", capabilities={"structured_outputs": {"supported": False}})
    found = await findings(check_access(site(), asked("claude-haiku-5-5", without)))
    reported(found, WARNING, "claude-haiku-5-5 has no structured outputs")


async def test_a_check_that_comes_to_no_end_is_a_finding() -> None:
    async def check_hanging(_: Site) -> AsyncIterator[Finding]:
        await asyncio.Event().wait()
        yield ok("Never.")

    def check_broken(_: Site) -> Iterable[Finding]:
        raise PipelineError("It broke.")

    def check_others(_: Site) -> Iterable[Finding]:
        raise OutOfReach

    reported(await look(Check(check_hanging, seconds=0.01), site()), FAILED, "within 0.01 s")
    reported(await look(Check(check_broken), site()), FAILED, "It broke.")
    assert await look(Check(check_others, "Fine."), site()) == []


async def test_a_check_that_finds_nothing_says_so_in_its_own_name() -> None:
    def check_quiet(_: Site) -> Iterable[Finding]:
        return []

    def check_loud_noise(_: Site) -> Iterable[Finding]:
        return [ok("So it is.")]

    quiet, loud = Check(check_quiet, "All is well."), Check(check_loud_noise, "All is well.")
    assert await look(quiet, site()) == [Finding("quiet", Verdict.OK, "All is well.")]
    assert await look(loud, site()) == [Finding("loud-noise", Verdict.OK, "So it is.")]


async def test_findings_come_in_order_however_long_each_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIPELINE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    second_is_done = asyncio.Event()

    async def first(_: Site) -> AsyncIterator[Finding]:
        await second_is_done.wait()
        yield ok("Done.")

    async def second(_: Site) -> AsyncIterator[Finding]:
        second_is_done.set()
        yield ok("Done.")

    shown: list[Finding] = []
    checks = [Check(first), Check(second)]
    found = await examine(shown.append, checks, environment={})
    assert [finding.about for finding in shown] == ["first", "second"]
    assert shown == found
