"""Issuing certificates into a file, seeing whether they hold, ending an alarm."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.cascade.certified import outgoing
from pipeline.cascade.policy import settings_digest
from pipeline.config import Settings
from pipeline.model.errors import UsageError
from pipeline.model.records import Provenance
from pipeline.operators.certificates import (
    acknowledge,
    certify_into,
    notify_of,
    read_alarms,
    read_drawn,
    status,
)
from pipeline.stream.records import Outgoing
from pipeline.testing import MemoryBroker, MemoryTopicReader
from pipeline.trust.certificate_file import CertificateFile, read_certificates
from pipeline.trust.export import read_export
from pipeline.trust.records import (
    AnswerLabel,
    LabelledAnswer,
    SampledAnswer,
    answer_key,
    label_key,
)
from tests.cascade.test_certified import acknowledged, alarm
from tests.operators.audited import audited, command
from tests.trust.examples import NOON, answer, label
from tests.trust.test_issuing import ISSUED

SETTINGS = Settings()
MADE = Provenance(provider="anthropic", prompt="p", settings=settings_digest(SETTINGS, "tickets"))


def labelled(count: int) -> list[LabelledAnswer]:
    return [LabelledAnswer(answer(n, provenance=MADE), [label(n)]) for n in range(count)]


def certify(path: Path, count: int, stage: str = "tickets") -> bool:
    [tried] = certify_into(
        path,
        SETTINGS,
        labelled(count),
        [stage],
        target=0.95,
        at_once=True,
        source="a file",
        at=ISSUED,
    )
    return tried.holds


class World:
    def __init__(self) -> None:
        self.broker = MemoryBroker()
        for topic in ("trust", "audit"):
            self.broker.create_topic(topic, 2)
        self.read = MemoryTopicReader(self.broker)

    async def publish(self, record: Outgoing) -> None:
        self.broker.publish(record.topic, record.value, key=record.key)


def test_a_certificate_is_written_with_its_ledger_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    assert not certify(path, 20)
    assert read_certificates(path).of("tickets") is None
    # The second attempt may be wrong in one of 120 cases only, which takes more labels.
    assert certify(path, 120)
    file = read_certificates(path)
    assert [each.number for each in file.trials("tickets")] == [1, 2]
    certificate = file.of("tickets")
    assert certificate is not None
    assert certificate.alpha == file.trials("tickets")[1].alpha
    assert [each.name for each in tmp_path.iterdir()] == ["certificate.json"]


def test_what_is_no_stage_or_no_certificate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    with pytest.raises(UsageError, match="no stage ticket;"):
        certify(path, 90, "ticket")
    with pytest.raises(UsageError, match="makes one"):
        read_certificates(path)
    path.write_text('{"schema": "trust.certificate/9"}')
    with pytest.raises(UsageError, match="not a certificate file of this version: schema"):
        certify(path, 90)
    with pytest.raises(UsageError, match="cannot be written"):
        certify(tmp_path / "nowhere" / "certificate.json", 90)


def test_labelled_answers_are_read_from_what_was_exported(tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    lines = [
        {
            "answer": each.answer.model_dump(mode="json", by_alias=True),
            "labels": [one.model_dump(mode="json", by_alias=True) for one in each.labels],
        }
        for each in labelled(2)
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert list(read_export(path)) == labelled(2)
    path.write_text('{"id": 1, "right": true}')
    with pytest.raises(UsageError, match=r"export.jsonl:1: answer: Field required"):
        list(read_export(path))


async def test_drawn_answers_without_a_label_are_read_for_the_reference() -> None:
    world = World()
    records: list[SampledAnswer | AnswerLabel] = [
        *(answer(1), answer(2), answer(3, stage="invoices"), label(1))
    ]
    for each in records:
        key = (
            label_key(each)
            if isinstance(each, AnswerLabel)
            else answer_key(each.stage, each.event_id)
        )
        world.broker.publish("trust", each.model_dump_json(by_alias=True).encode(), key=key)
    found = await read_drawn(world.read, "trust", ["tickets"])
    assert [(each.answer.event_id, len(each.labels)) for each in found] == [("T-1", 1), ("T-2", 0)]


async def test_an_alarm_is_in_force_until_a_person_acknowledges_it_which_is_audited() -> None:
    world = World()
    with pytest.raises(UsageError, match="No alarm of tickets is in force"):
        await acknowledge(world.read, world.publish, "trust", "tickets", command(), at=NOON)
    await world.publish(outgoing("trust", alarm()))
    assert (await read_alarms(world.read, "trust")).in_force("tickets") == alarm()
    done = await acknowledge(
        world.read,
        world.publish,
        "trust",
        "tickets",
        command("trust acknowledge", "acknowledged"),
        at=NOON,
    )
    assert done == alarm()
    assert (await read_alarms(world.read, "trust")).in_force("tickets") is None
    assert [(each.did, each.outcome) for each in audited(world.broker)] == [
        ("acknowledged", "begun"),
        ("acknowledged", "done"),
    ]
    # A replica that was slow writes the same alarm again.
    await world.publish(outgoing("trust", alarm()))
    assert (await read_alarms(world.read, "trust")).in_force("tickets") is None
    await world.publish(outgoing("trust", alarm(2)))
    assert (await read_alarms(world.read, "trust")).in_force("tickets") == alarm(2)


async def test_the_status_of_a_stage_is_what_is_certified_and_why_not(tmp_path: Path) -> None:
    path, world = tmp_path / "certificate.json", World()
    certify(path, 90)
    nothing = await read_alarms(world.read, "trust")
    rows = {each.stage: each.row() for each in status(SETTINGS, read_certificates(path), nothing)}
    assert rows["tickets"] == ("tickets", "certified", "95.0% right: haiku, stream", "")
    assert rows["invoices"][1:] == ("none", "", "nothing is certified of it")
    assert "escalations" not in rows

    changed = Settings.model_validate({"thresholds": {"low_confidence": 0.4}})
    [found] = [
        each
        for each in status(changed, read_certificates(path), nothing)
        if each.stage == "tickets"
    ]
    assert found.row()[1::2] == ("stale", "haiku's low_confidence is 0.4, certified 0.3")

    await world.publish(outgoing("trust", alarm()))
    alarms = await read_alarms(world.read, "trust")
    [found] = [
        each for each in status(SETTINGS, read_certificates(path), alarms) if each.alarm is not None
    ]
    assert found.row()[3] == "alarm 1 of 2026-11-23 12:00: 30 of 100 labels wrong (haiku)"


async def test_an_alarm_that_nobody_can_be_notified_of_is_no_fault() -> None:
    await notify_of(alarm(), url=None)
    await notify_of(alarm(), url="http://127.0.0.1:9/")


def test_an_empty_file_certifies_nothing() -> None:
    assert CertificateFile().of("tickets") is None
    assert acknowledged().at == ISSUED + timedelta(hours=1)
