"""`pipeline ask`, with a client that answers as a test says: what is shown is what happens."""

import json
from collections.abc import Mapping
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.claude.responses import HttpReply
from pipeline.config import Settings, load_settings
from pipeline.model.errors import UsageError
from pipeline.operators.single_event import (
    GivenEvent,
    ask_about,
    document,
    given_event,
    without_files,
)
from pipeline.stages.api import build_stages
from pipeline.stream.records import Disposition
from pipeline.testing import FakeClient
from tests.inputs.mails import mail_with

STAGES = build_stages(Settings().stages)
WORDS = "The invoice of March was charged twice."
ANSWER = {
    "quote": WORDS, "intent": "billing", "runner_up": None, "several_matters": False,
    "priority": "high", "language": "en", "summary": "Charged twice.", "confidence": 0.97,
    "unclear": False,
}  # fmt: skip


def client(*, haiku: Mapping[str, Any] = ANSWER, sonnet: Mapping[str, Any] = ANSWER) -> FakeClient:
    def answer(request: dict[str, Any]) -> HttpReply:
        said = haiku if "haiku" in request["model"] else sonnet
        message = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": request["model"],
            "content": [{"type": "text", "text": json.dumps(said)}], "stop_reason": "end_turn",
            "usage": {"input_tokens": 100, "output_tokens": 20},
        }  # fmt: skip
        return HttpReply(200, {}, json.dumps(message).encode())

    return FakeClient(answer)


def tickets(text: str = WORDS) -> GivenEvent:
    return given_event(STAGES["tickets"], text, None)


async def test_prompt_request_answer_signals_decision_and_cost_are_reported() -> None:
    report = await ask_about(Settings(), "tickets", tickets(), "both", client=client())
    assert report.end is Disposition.ENRICHED
    [tier] = document(report)["tiers"]
    [request] = tier["requests"]
    assert WORDS in json.dumps(request["body"]["messages"])
    assert "support tickets" in request["body"]["system"][0]["text"]
    assert request["status"] == 200
    assert tier["answer"]["intent"] == "billing"
    assert tier["doubts"] == []
    assert tier["usage"]["calls"] == 1
    assert report.record is not None
    assert report.record["result"]["intent"] == "billing"


async def test_sonnet_is_asked_where_haiku_is_doubted_and_people_where_sonnet_is() -> None:
    doubted = {**ANSWER, "confidence": 0.1, "unclear": True}
    asked = client(haiku=doubted)
    report = await ask_about(Settings(), "tickets", tickets(), "both", client=asked)
    assert [each.tier.value for each in report.tiers] == ["haiku", "sonnet"]
    assert report.end is Disposition.ENRICHED
    assert report.record is not None
    assert report.record["decided_by"] == "sonnet"
    alone = await ask_about(Settings(), "tickets", tickets(), "haiku", client=asked)
    assert (alone.end, len(alone.tiers)) == (Disposition.ESCALATED, 1)
    both = client(haiku=doubted, sonnet=doubted)
    report = await ask_about(Settings(), "tickets", tickets(), "both", client=both)
    assert report.end is Disposition.REVIEW
    only = await ask_about(Settings(), "tickets", tickets(), "sonnet", client=both)
    assert (only.end, len(only.tiers)) == (Disposition.REVIEW, 1)


async def test_an_event_of_the_topics_shape_goes_through_the_mapping_and_the_filter() -> None:
    settings = Settings.model_validate(
        {"stages": {"tickets": {"map": {"id": "no", "body": "msg"}, "where": "no"}}}
    )
    given = tickets(json.dumps({"no": 7, "msg": WORDS}))
    report = await ask_about(settings, "tickets", given, "haiku", client=client())
    assert report.record is not None
    assert report.record["event_id"] == "7"
    over = await ask_about(settings, "tickets", tickets('{"msg": "x"}'), "both", client=client())
    assert (over.end, over.record) == (Disposition.PASSED_OVER, None)
    # A text alone is the event's own.
    assert (await ask_about(settings, "tickets", tickets(), "haiku", client=client())).record


def colours() -> FakeClient:
    """Of which neither is sure."""

    def answer(request: dict[str, Any]) -> HttpReply:
        said = {
            "quote": "red", "language": "en", "legibility": "legible", "colour": "red",
            "confidence": 0.1, "unclear": True,
        }  # fmt: skip
        message = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": request["model"],
            "content": [{"type": "text", "text": json.dumps(said)}], "stop_reason": "end_turn",
            "usage": {"input_tokens": 100, "output_tokens": 20},
        }  # fmt: skip
        return HttpReply(200, {}, json.dumps(message).encode())

    return FakeClient(answer)


async def test_of_an_event_in_several_parts_each_is_asked_on_and_shown() -> None:
    settings = load_settings(
        stages={
            "photos": {
                "kind": "extract",
                "fields": [{"name": "colour", "description": "Of it.", "quoted": False}],
                "input": {"format": "email", "attachments": "each"},
            }
        }
    )
    given = GivenEvent(mail_with("a.png", "b.png"), ())
    report = await ask_about(settings, "photos", given, "both", client=colours())
    assert report.end is Disposition.REVIEW
    assert [each.tier.value for each in report.tiers] == ["haiku", "sonnet", "sonnet"]
    assert [each["event_id"] for each in report.records] == [
        "m-1@b.example#1",
        "m-1@b.example#2",
    ]
    assert {each["schema"] for each in report.records} == {"review/1"}
    shown = document(report)
    assert len(shown["tiers"][0]["parts"]) == 2
    assert shown["record"] == shown["records"][0]
    alone = await ask_about(settings, "photos", given, "haiku", client=colours())
    assert alone.end is Disposition.ESCALATED
    assert len(alone.records) == 2


async def test_a_stage_that_reads_by_a_pattern_can_be_tried() -> None:
    settings = Settings.model_validate({"stages": {"tickets": {"input": {"pattern": "crm.*"}}}})
    report = await ask_about(settings, "tickets", tickets(), "haiku", client=client())
    assert report.end is Disposition.ENRICHED


async def test_a_dead_letter_says_why_and_asks_nobody() -> None:
    report = await ask_about(Settings(), "tickets", tickets("{}"), "both", client=client())
    assert report.dead_letter == {"reason": "invalid_event", "detail": "id: missing (1 more)."}
    assert report.tiers[0].requests == ()


def test_a_text_a_file_or_json_is_an_event(tmp_path: Path) -> None:
    text = tmp_path / "letter.txt"
    text.write_text(WORDS, "utf-8")
    given = given_event(STAGES["tickets"], None, text)
    assert json.loads(given.value) == {"id": "letter.txt", "body": WORDS}
    code = tmp_path / "add.py"
    code.write_text("def add(a, b): return a + b\n", "utf-8")
    assert json.loads(given_event(STAGES["code"], None, code).value)["language"] == "python"
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    given = given_event(STAGES["images"], None, picture)
    assert (given.key, dict(given.headers)["content-type"]) == (b"a", b"image/png")
    assert not given.is_own


@pytest.mark.parametrize(
    ("stage", "text", "why"),
    [("tickets", None, "no event"), ("images", "x", "takes files"), ("code", "x = 1", "language")],
)
def test_what_is_no_event_of_the_stage_is_refused(stage: str, text: str | None, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        given_event(STAGES[stage], text, None)


def test_of_a_file_in_a_request_only_its_beginning_is_shown() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 1000}
    [block] = without_files([{"type": "image", "source": source}])
    assert block["source"]["data"] == "A" * 60 + "... (1,000 characters)"


async def test_of_a_mail_with_several_files_each_is_asked_about_and_reported() -> None:
    mail = EmailMessage()
    mail["From"], mail["Message-ID"] = "a@b.example", "<m-1@b.example>"
    for color in ("red", "blue"):
        picture = BytesIO()
        Image.new("RGB", (300, 200), color).save(picture, "PNG")
        mail.add_attachment(
            picture.getvalue(), maintype="image", subtype="png", filename=f"{color}.png"
        )
    settings = Settings.model_validate(
        {"stages": {"images": {"input": {"format": "email", "attachments": "each"}}}}
    )
    answer: dict[str, Any] = {
        "quote": "", "document_type": "other", "runner_up": None, "legibility": "legible",
        "description": "A plain picture.", "defects": [], "needs_moderation": False,
        "confidence": 0.97, "unclear": False,
    }  # fmt: skip
    given = GivenEvent(mail.as_bytes(), ())
    report = await ask_about(settings, "images", given, "haiku", client=client(haiku=answer))
    [tier] = report.tiers
    assert len(tier.decisions) == len(tier.requests) == 2
    ids = [each["event_id"] for each in document(report)["records"]]
    assert ids == ["m-1@b.example#1", "m-1@b.example#2"]
