"""Looking, sending and keeping what was sent, against a receiver."""

import hashlib
import hmac
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.notifications import NotificationSettings, WebhookSettings
from pipeline.model.errors import PipelineError
from pipeline.notify.conditions import Condition
from pipeline.notify.schedule import Notification
from pipeline.notify.watcher import Watcher
from pipeline.notify.webhooks import NotDelivered, Webhook, as_json, as_slack, as_teams
from pipeline.testing import WebhookReceiver

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
EVIL = Notification("begun", "<!channel> & co", "<https://evil.example|here>", NOON, NOON,
                    "https://desk.example.com")  # fmt: skip


class Holding:
    """Conditions that a test sets."""

    def __init__(self, *titles: str) -> None:
        self.titles = titles
        self.problem: PipelineError | None = None

    async def conditions(self, now: datetime) -> Sequence[Condition]:
        if self.problem is not None:
            raise self.problem
        return [Condition(title, "text", NOON) for title in self.titles]


class Kept:
    """What the leaders of several processes keep, as the brokers do."""

    def __init__(self) -> None:
        self.text: str | None = ""
        self.fails = False

    async def note(self) -> str | None:
        return self.text

    async def keep(self, note: str) -> None:
        if self.fails:
            raise PipelineError("Another process leads.")
        self.text = note


def webhook(receiver: WebhookReceiver, name: str = "ops", **more: Any) -> Webhook:  # noqa: ANN401
    settings = WebhookSettings.model_validate({"url": receiver.url, **more})
    return Webhook(name, settings, backoff=(0, 0))


def watcher(
    *webhooks: Webhook, holding: Holding, kept: Kept, now: datetime = NOON, **more: object
) -> Watcher:
    settings = NotificationSettings.model_validate(more)
    return Watcher(settings, webhooks, [holding], kept, now=lambda: now)


def said(receiver: WebhookReceiver) -> list[tuple[str, str]]:
    return [(each["state"], each["title"]) for each in receiver.documents]


async def test_a_condition_is_sent_once_when_it_begins_and_once_when_it_ends() -> None:
    holding, kept = Holding("a"), Kept()
    async with WebhookReceiver() as receiver:
        mine = watcher(webhook(receiver), holding=holding, kept=kept)
        for titles in (["a"], ["a"], ["a", "b"], ["b"], []):
            holding.titles = tuple(titles)
            await mine.look()
        assert said(receiver) == [("begun", "a"), ("begun", "b"), ("ended", "a"), ("ended", "b")]


async def test_the_next_leader_neither_repeats_nor_forgets() -> None:
    holding, kept = Holding("a"), Kept()
    async with WebhookReceiver() as receiver:
        await watcher(webhook(receiver), holding=holding, kept=kept).look()
        holding.titles = ("b",)
        await watcher(webhook(receiver), holding=holding, kept=kept).look()
        assert said(receiver) == [("begun", "a"), ("ended", "a"), ("begun", "b")]


async def test_a_process_that_does_not_lead_sends_nothing() -> None:
    kept = Kept()
    kept.text = None
    async with WebhookReceiver() as receiver:
        await watcher(webhook(receiver), holding=Holding("a"), kept=kept).look()
        assert receiver.attempts == 0


async def test_a_leader_that_lost_its_place_sends_one_more_at_most() -> None:
    kept = Kept()
    kept.fails = True
    async with WebhookReceiver() as receiver:
        with pytest.raises(PipelineError):
            await watcher(webhook(receiver), holding=Holding("a", "b"), kept=kept).look()
        assert said(receiver) == [("begun", "a")]


async def test_what_cannot_be_known_ends_nothing() -> None:
    holding, kept = Holding("a"), Kept()
    async with WebhookReceiver() as receiver:
        mine = watcher(webhook(receiver), holding=holding, kept=kept)
        await mine.look()
        holding.problem = PipelineError("The brokers do not answer.")
        with pytest.raises(PipelineError):
            await mine.look()
        assert said(receiver) == [("begun", "a")]


async def test_nothing_is_sent_in_quiet_hours_and_what_still_holds_afterwards() -> None:
    holding, kept = Holding("passes", "stays"), Kept()
    quiet: dict[str, Any] = {"quiet_from": "11:00", "quiet_until": "13:00"}
    async with WebhookReceiver() as receiver:
        await watcher(webhook(receiver), holding=holding, kept=kept, **quiet).look()
        assert receiver.attempts == 0
        holding.titles = ("stays",)
        later = NOON + timedelta(hours=1)
        await watcher(webhook(receiver), holding=holding, kept=kept, now=later, **quiet).look()
        assert said(receiver) == [("begun", "stays")]


async def test_no_more_than_allowed_are_sent_in_an_hour_and_the_others_later() -> None:
    holding, kept = Holding(*"abcde"), Kept()
    clock = [NOON]
    async with WebhookReceiver() as receiver:
        settings = NotificationSettings(most_per_hour=2)
        mine = Watcher(settings, [webhook(receiver)], [holding], kept, now=lambda: clock[0])
        await mine.look()
        await mine.look()
        assert len(receiver.bodies) == 2
        clock[0] += timedelta(hours=1)
        await mine.look()
        assert len(receiver.bodies) == 4


async def test_a_receiver_that_is_down_is_sent_it_later_and_holds_up_no_other() -> None:
    holding, kept = Holding("a"), Kept()
    async with WebhookReceiver(deque([500] * 3)) as down, WebhookReceiver() as up:
        mine = watcher(webhook(down, "down"), webhook(up, "up"), holding=holding, kept=kept)
        await mine.look()
        assert (said(down), said(up)) == ([], [("begun", "a")])
        await mine.look()
        assert (said(down), said(up)) == ([("begun", "a")], [("begun", "a")])


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_what_may_pass_is_tried_again(status: int) -> None:
    async with WebhookReceiver(deque([status, status])) as receiver:
        await webhook(receiver).send(EVIL)
        assert (receiver.attempts, len(receiver.bodies)) == (3, 1)


@pytest.mark.parametrize("status", [302, 400, 401, 404, 410])
async def test_what_will_not_pass_is_not_tried_again_and_says_what_to_do(status: int) -> None:
    async with WebhookReceiver(deque([status])) as receiver:
        with pytest.raises(NotDelivered, match=rf"HTTP {status}.*pipeline notify test") as error:
            await webhook(receiver).send(EVIL)
        assert (receiver.attempts, "secret-part" in str(error.value)) == (1, False)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/secret-part", "secret-part", "ftp://secret-part"]
)
async def test_an_address_that_is_not_reached_is_not_shown(url: str) -> None:
    settings = WebhookSettings.model_validate({"url": url})
    with pytest.raises(NotDelivered) as error:
        await Webhook("ops", settings, backoff=()).send(EVIL)
    assert "secret-part" not in str(error.value)


async def test_address_and_secret_come_from_files_and_the_body_is_signed(tmp_path: Path) -> None:
    url, secret = tmp_path / "url", tmp_path / "secret"
    async with WebhookReceiver() as receiver:
        url.write_text(f"{receiver.url}\n")
        secret.write_text("key\n")
        table = {"url_file": str(url), "secret_file": str(secret)}
        mine = Webhook("ops", WebhookSettings.model_validate(table), backoff=())
        await mine.send(EVIL)
        digest = hmac.new(b"key", receiver.bodies[0], hashlib.sha256).hexdigest()
        assert receiver.sent[0]["X-Pipeline-Signature"] == f"sha256={digest}"
        url.write_text("")
        with pytest.raises(NotDelivered, match="url_file"):
            await mine.send(EVIL)


def test_slack_gets_no_markup_of_others() -> None:
    message = as_slack(EVIL)
    text = message["blocks"][0]["text"]["text"]
    assert "&lt;!channel&gt; &amp; co" in text
    assert "<https://evil" not in text
    assert text.endswith("<https://desk.example.com|Open>")
    assert "<!channel>" not in message["text"]


def test_teams_gets_an_adaptive_card() -> None:
    (attachment,) = as_teams(EVIL)["attachments"]
    card = attachment["content"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert card["body"][0]["text"] == "Begun: <!channel> & co"
    assert card["actions"][0]["url"] == "https://desk.example.com"


def test_the_plain_document_has_all_of_it() -> None:
    assert as_json(EVIL) == {
        "schema": "notification/1", "state": "begun", "title": EVIL.title, "text": EVIL.text,
        "at": "2026-11-25T12:00:00+00:00", "since": "2026-11-25T12:00:00+00:00",
        "link": "https://desk.example.com",
    }  # fmt: skip
