"""docs/INPUTS.md cannot rot: its settings are read, its records are put through the real code."""

import email
import importlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Settings
from pipeline.inputs.cloudevents import CloudEvents
from pipeline.inputs.debezium import Debezium
from pipeline.inputs.mail import Mail
from pipeline.inputs.plain_text import PlainText
from pipeline.inputs.records import Document, Format, InputRecord, JsonObjects
from pipeline.stages.api import build_stages
from tests.inputs.records import read, record

TEXT = (Path(__file__).parents[2] / "docs" / "INPUTS.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RECIPES = {
    title: blocks
    for section in re.split(r"^## ", TEXT, flags=re.MULTILINE)
    if (title := section.partition("\n")[0])
    and len(blocks := [each for each in BLOCK.findall(section) if each[0] != "python"]) == 3
}
adapter_of: Any = getattr(importlib.import_module("pipeline.cascade.reading"), "adapter_of", None)


def format_of(settings: Any, sample: bytes) -> Format:  # noqa: ANN401
    """What reads a recipe's record; what a registry decodes is in the document as it comes out."""

    class Decoded:
        async def read(self, record: InputRecord) -> Document | None:
            return Document(json.loads(sample))

    inner: dict[str, Format] = {
        "json": JsonObjects(),
        "registry": Decoded(),
        "email": Mail(settings.attachments),
        "text": PlainText(),
    }
    found = inner[settings.format]
    match settings.envelope:
        case "cloudevents":
            return CloudEvents(found)
        case "debezium":
            return Debezium(found)
    return found


def recipe(title: str) -> tuple[Settings, str, Format, InputRecord, Any]:
    (kind, settings), (_, sample), (_, expected) = RECIPES[title]
    assert kind == "toml"
    read_settings = Settings.model_validate(tomllib.loads(settings))
    (stage,) = tomllib.loads(settings)["stages"]
    value = sample.removesuffix("\n").encode()
    own = read_settings.stages.by_name()[stage].input
    each = record(value, key=b"line-5")
    return read_settings, stage, format_of(own, value), each, json.loads(expected)


def test_every_recipe_is_found() -> None:
    assert len(RECIPES) == 10


@pytest.mark.parametrize("title", RECIPES)
async def test_the_record_of_a_recipe_is_of_the_format_that_it_sets(title: str) -> None:
    _, _, format_, each, _ = recipe(title)
    assert (await read(format_, each)).fields


@pytest.mark.parametrize("title", RECIPES)
async def test_a_recipe_makes_of_its_record_what_it_says(
    title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if adapter_of is None:
        pytest.skip("nothing maps records here yet")
    settings, name, format_, each, expected = recipe(title)
    stage = build_stages(settings.stages)[name]
    if settings.stages.by_name()[name].input.format == "registry":
        monkeypatch.setattr("pipeline.cascade.reading.open_format", lambda *_: format_)
    adapted = await adapter_of(settings, stage).read(each)
    assert json.loads(adapted.value) == expected
    assert stage.parse(adapted.value, key=each.key, headers=adapted.headers).id == expected["id"]


class Mailbox:
    """What `imaplib` answers, of a mailbox in memory."""

    def __init__(self, *mails: bytes) -> None:
        self.unseen = {str(at).encode(): mail for at, mail in enumerate(mails, 1)}

    def search(self, charset: None, criterion: str) -> tuple[str, list[bytes]]:
        assert criterion == "UNSEEN"
        return "OK", [b" ".join(self.unseen)]

    def fetch(self, number: bytes, parts: str) -> tuple[str, list[Any]]:
        assert parts == "(BODY.PEEK[])"
        return "OK", [(b"%b (BODY[] {9}" % number, self.unseen[number]), b")"]

    def store(self, number: bytes, command: str, flags: str) -> None:
        assert (command, flags) == ("+FLAGS", r"(\Seen)")
        del self.unseen[number]


async def test_the_mailbox_is_forwarded_and_a_mail_that_kafka_did_not_take_stays_unseen() -> None:
    (code,) = [block for kind, block in BLOCK.findall(TEXT) if kind == "python"]
    names: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(code, "docs/INPUTS.md", "exec"), names)
    mailbox, sent = Mailbox(b"Subject: 1\n\none", b"Subject: 2\n\ntwo"), list[bytes]()

    async def send(topic: str, value: bytes) -> None:
        if sent:
            raise ConnectionError
        sent.append(value)

    with pytest.raises(ConnectionError):
        await names["forward"](mailbox, send)
    assert email.message_from_bytes(sent[0])["subject"] == "1"
    assert list(mailbox.unseen) == [b"2"]
