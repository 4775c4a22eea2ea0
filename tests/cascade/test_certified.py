"""What records say of a certificate, and what an alarm changes."""

import asyncio
from datetime import datetime, timedelta

import pytest

from benchmarks.drift import Log, Run
from pipeline.cascade.certified import Certified, outgoing
from pipeline.cascade.policy import Policy, in_force, settings_digest
from pipeline.config import Settings
from pipeline.model.observer import Observer
from pipeline.model.records import CertificateMark, Provenance, Tier
from pipeline.stream.records import Outgoing
from pipeline.testing import run_in_virtual_time
from pipeline.trust.certificate_file import CertificateFile, CertifiedStage
from pipeline.trust.issuing import Wish, issue
from pipeline.trust.live import Acknowledged, Alarm
from pipeline.trust.records import AnswerSignal, LabelledAnswer
from tests.trust.examples import NOON, answer, label
from tests.trust.test_issuing import ISSUED
from tests.trust.test_live import said

MADE = Provenance(provider="anthropic", prompt="p", settings="s")
HAIKU = "claude-haiku-5-5"


def certificates(settings: Settings) -> CertificateFile:
    """Of tickets, by answers of different confidence."""
    labelled = [
        LabelledAnswer(
            answer(n, signals=[AnswerSignal(code="low_confidence", strength=n / 400)]), [label(n)]
        )
        for n in range(100)
    ]
    policy = Policy.from_settings(settings)
    made = in_force(settings, policy, "tickets")
    wish = Wish("tickets", 0.95, made, "s", at_once=True, source="a file", at=ISSUED)
    issued: CertifiedStage = issue(wish, labelled, None)
    return CertificateFile(stages={"tickets": issued})


def process(settings: Settings, file: CertificateFile, *, now: datetime = ISSUED) -> Certified:
    policy = Policy.from_settings(settings)
    stages = ("tickets", "invoices")
    return Certified(file, settings, policy, stages, observer=Observer(), clock=lambda: now)


def with_threshold(strength: float) -> Settings:
    return Settings.model_validate({"thresholds": {"low_confidence": strength}})


def low_confidence(of: Certified) -> float:
    return of.policy["tickets", Tier.HAIKU].thresholds.low_confidence


def alarm(number: int = 1) -> Alarm:
    return Alarm(
        stage="tickets",
        number=number,
        scope="haiku",
        risk=0.05,
        labels=100,
        errors=30,
        run_length=1000,
        certificate="c",
        at=ISSUED,
    )


def acknowledged(number: int = 1) -> Acknowledged:
    return Acknowledged(
        stage="tickets", number=number, person="ada", at=ISSUED + timedelta(hours=1)
    )


@pytest.fixture(scope="module")
def file() -> CertificateFile:
    return certificates(Settings())


def mark(of: Certified, **changed: str) -> CertificateMark:
    model = changed.pop("model", HAIKU)
    return of.mark("tickets", Tier.HAIKU, model, MADE.model_copy(update=changed))


def test_an_answer_that_was_made_as_certified_says_so(file: CertificateFile) -> None:
    certificate = file.of("tickets")
    assert certificate is not None
    assert mark(process(Settings(), file)) == CertificateMark(state="certified", id=certificate.id)


@pytest.mark.parametrize(
    ("changed", "because"),
    [
        ({"model": "claude-haiku-6"}, ["model"]),
        ({"provider": "bedrock"}, ["provider"]),
        ({"prompt": "q"}, ["prompt"]),
    ],
)
def test_another_model_place_or_prompt_makes_an_answer_stale(
    file: CertificateFile, changed: dict[str, str], because: list[str]
) -> None:
    found = mark(process(Settings(), file), **changed)
    assert (found.state, found.because) == ("stale", because)


def test_a_changed_threshold_makes_the_certificate_stale_and_is_named(
    file: CertificateFile,
) -> None:
    found = process(with_threshold(0.4), file)
    assert mark(found).because == ["thresholds"]
    changed = Settings.model_validate({"stages": {"tickets": {"max_text_chars": 5000}}})
    assert mark(process(changed, file)).because == ["settings"]


def test_what_is_not_in_the_file_is_not_certified(file: CertificateFile) -> None:
    found = process(Settings(), file)
    assert found.mark("invoices", Tier.HAIKU, HAIKU, MADE).state == "none"
    assert found.mark("tickets", Tier.SONNET, "claude-sonnet-5-5", MADE).state == "none"
    assert found.mark("unknown", Tier.HAIKU, HAIKU, MADE).state == "none"


def test_on_an_alarm_other_thresholds_fall_back_to_the_certified_ones(
    file: CertificateFile,
) -> None:
    found = process(with_threshold(0.5), file)
    before = found.policy["tickets", Tier.HAIKU].settings
    found.take(alarm())
    assert low_confidence(found) == 0.3
    assert found.policy["tickets", Tier.HAIKU].settings != before
    assert mark(found).because == ["alarm"]
    assert found.policy["invoices", Tier.HAIKU].thresholds.low_confidence == 0.5


def test_on_an_alarm_certified_thresholds_become_the_stricter_ones_of_the_certificate(
    file: CertificateFile,
) -> None:
    certificate = file.of("tickets")
    assert certificate is not None
    found = process(Settings(), file)
    found.take(alarm())
    cut = certificate.stricter[Tier.HAIKU].default["low_confidence"]
    assert low_confidence(found) == cut < 0.3
    assert found.policy["tickets", Tier.SONNET].thresholds.low_confidence == 0.5


def test_settings_that_are_taken_up_during_an_alarm_stay_fallen_back(
    file: CertificateFile,
) -> None:
    found = process(Settings(), file)
    found.take(alarm())
    stricter = low_confidence(found)
    laxer = with_threshold(0.6)
    found.take_up(laxer, Policy.from_settings(laxer))
    # They are not the certified ones, so these hold; once it is over, those that were taken up.
    assert low_confidence(found) == 0.3 > stricter
    assert mark(found).because == ["alarm"]
    found.take(acknowledged())
    assert low_confidence(found) == 0.6
    assert mark(found).because == ["thresholds"]
    found.take_up(Settings(), Policy.from_settings(Settings()))
    assert mark(found).state == "certified"


@pytest.mark.parametrize("is_first", [True, False])
def test_an_alarm_ends_when_it_is_acknowledged_in_whatever_order_that_is_read(
    file: CertificateFile, *, is_first: bool
) -> None:
    found = process(Settings(), file)
    for record in (acknowledged(), alarm()) if is_first else (alarm(), acknowledged()):
        found.take(record)
    assert low_confidence(found) == 0.3
    assert mark(found).state == "certified"
    found.take(alarm(2))
    assert low_confidence(found) < 0.3


def test_an_alarm_of_a_label_or_a_tier_of_ones_own_survives_the_round_trip(
    file: CertificateFile,
) -> None:
    table = {"stages": {"tickets": {"labels": {"billing": {"low_confidence": 0.1}}}}}
    settings = Settings.model_validate({"thresholds": table | {"other": {"mine": 0.7}}})
    policy = Policy.from_settings(settings)
    own = policy["tickets", Tier.HAIKU]
    again = own.falling_back_to(own.as_certified())
    for chosen in (None, "billing", "Billing"):
        assert again.thresholds_of(chosen) == own.thresholds_of(chosen)


def test_the_digest_of_what_is_not_a_threshold_does_not_know_thresholds() -> None:
    one, other = Settings(), with_threshold(0.4)
    assert settings_digest(one, "tickets") != settings_digest(other, "tickets")
    rest = [settings_digest(each, "tickets", with_thresholds=False) for each in (one, other)]
    assert rest[0] == rest[1]


def test_labels_raise_one_alarm_that_every_replica_and_a_later_start_takes_over(
    file: CertificateFile,
) -> None:
    log, notified = Log(), []

    async def notify(alarm: Alarm) -> None:
        notified.append(alarm)

    async def publish(record: Outgoing) -> None:
        await log.publish(record)

    async def work() -> None:
        replicas = [process(Settings(), file) for _ in range(2)]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(each.watch(log.follow, publish, "trust", notify))
                for each in replicas
            ]
            for number in range(60):
                for record in said(number, right=number % 3 != 0):
                    log.add(record)
            await asyncio.sleep(5)
            assert [low_confidence(each) < 0.3 for each in replicas] == [True, True]
            late = process(Settings(), file, now=ISSUED + timedelta(days=1))
            tasks.append(group.create_task(late.watch(log.follow, publish, "trust", notify)))
            await asyncio.sleep(5)
            assert low_confidence(late) < 0.3
            log.add(acknowledged())
            await asyncio.sleep(5)
            assert [low_confidence(each) for each in (*replicas, late)] == [0.3] * 3
            for task in tasks:
                task.cancel()

    run_in_virtual_time(work())
    assert {each.number for each in notified} == {1}
    assert len(notified) <= 2


def test_an_alarm_that_was_dealt_with_is_not_raised_again_from_old_labels(
    file: CertificateFile,
) -> None:
    log = Log()
    log.add(acknowledged())
    for number in range(60):
        for record in said(number, right=False):
            log.add(record)

    async def notify(_: Alarm) -> None:
        raise AssertionError("an old alarm was raised again")

    async def work() -> None:
        replica = process(Settings(), file, now=ISSUED + timedelta(days=1))
        task = asyncio.create_task(replica.watch(log.follow, log.publish, "trust", notify))
        await asyncio.sleep(5)
        assert low_confidence(replica) == 0.3
        task.cancel()

    run_in_virtual_time(work())


def test_an_alarm_is_written_under_its_stage() -> None:
    record = outgoing("trust", alarm())
    assert (record.topic, record.key) == ("trust", b"alarm/tickets")
    assert outgoing("trust", acknowledged()).key == b"acknowledged/tickets"
    assert Alarm.model_validate_json(record.value or b"") == alarm()
    assert alarm().at > NOON


def test_drift_is_seen_said_and_answered_by_falling_back_and_ends_by_a_person() -> None:
    found = run_in_virtual_time(Run(1, window=250, calm=30, after=60).work())
    assert found.states["before"] == {"certified"}
    assert found.labels_until_alarm < 250
    assert found.raised_by_both
    assert found.metric == 1
    assert "thresholds fell back to the stricter ones" in found.page_says
    assert found.states["after the alarm"] == {"stale"}
    assert found.errors["after the alarm"] < found.errors["renamed"]
    assert found.escalated["after the alarm"] < 0.5
    assert found.ended
