"""Messages in the shapes that receivers take, and delivering them.

Slack: incoming webhooks with blocks. Teams: an Adaptive Card, as the Workflows trigger "When a
Teams webhook request is received" takes it.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from pydantic import SecretStr

from pipeline.config.notifications import WebhookSettings
from pipeline.model.errors import PipelineError
from pipeline.notify.schedule import Notification

SIGNATURE = "X-Pipeline-Signature"
_WITHIN = 10.0
"""Seconds that a receiver has for each attempt."""
_BACKOFF = (1.0, 5.0)
"""Seconds before the second attempt, and the third, which is the last of this look."""
_LONGEST_PAUSE = 30.0
_WORDS = {"begun": "Begun", "ended": "Over", "test": "Test"}
_COLOURS = {"begun": "Attention", "ended": "Good", "test": "Accent"}
_REQUEST_TIMEOUT, _TOO_MANY, _SERVER_ERROR, _REDIRECT = 408, 429, 500, 300


class NotDelivered(PipelineError):
    """A receiver did not take a notification; the sentence has no part of its address."""


def as_json(notification: Notification) -> dict[str, Any]:
    """The plain document."""
    return {
        "schema": "notification/1",
        "state": notification.state,
        "title": notification.title,
        "text": notification.text,
        "at": notification.at.isoformat(),
        "since": notification.since.isoformat(),
        "link": notification.link,
    }


def as_slack(notification: Notification) -> dict[str, Any]:
    heading = f"*{_WORDS[notification.state]}: {_mrkdwn(notification.title)}*"
    lines = [heading, *([_mrkdwn(notification.text)] if notification.text else [])]
    if notification.link is not None:
        lines.append(f"<{_mrkdwn(notification.link)}|Open>")
    since = f"Since {notification.since:%Y-%m-%d %H:%M} UTC"
    return {
        "text": f"{_WORDS[notification.state]}: {_mrkdwn(notification.title)}",
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)}},
            {"type": "context", "elements": [{"type": "plain_text", "text": since}]},
        ],
    }


def as_teams(notification: Notification) -> dict[str, Any]:
    body: list[dict[str, Any]] = [
        {
            "type": "TextBlock",
            "text": f"{_WORDS[notification.state]}: {notification.title}",
            "weight": "Bolder",
            "color": _COLOURS[notification.state],
            "wrap": True,
        }
    ]
    if notification.text:
        body.append({"type": "TextBlock", "text": notification.text, "wrap": True})
    since = f"Since {notification.since:%Y-%m-%d %H:%M} UTC"
    body.append({"type": "TextBlock", "text": since, "isSubtle": True, "size": "Small"})
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    if notification.link is not None:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open", "url": notification.link}]
    kind = "application/vnd.microsoft.card.adaptive"
    attachment = {"contentType": kind, "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


SHAPES: Mapping[str, Callable[[Notification], dict[str, Any]]] = {
    "json": as_json,
    "slack": as_slack,
    "teams": as_teams,
}


def _mrkdwn(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Webhook:
    """One receiver.

    Args:
        name: What the settings call it.
        settings: Where it is and what it takes.
        backoff: Seconds before each further attempt.
    """

    def __init__(
        self, name: str, settings: WebhookSettings, *, backoff: Sequence[float] = _BACKOFF
    ) -> None:
        self.name = name
        self._settings = settings
        self._backoff = backoff

    async def send(self, notification: Notification) -> None:
        """Deliver it; tries again where that may help.

        Raises:
            NotDelivered: It was not taken; it may be later.
        """
        body = orjson.dumps(SHAPES[self._settings.format](notification))
        headers = {"Content-Type": "application/json"}
        if (
            secret := self._text("secret", self._settings.secret, self._settings.secret_file)
        ) is not None:
            digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
            headers[SIGNATURE] = f"sha256={digest}"
        url = self._text("url", self._settings.url, self._settings.url_file) or ""
        for pause in (*self._backoff, None):
            refused, after = await self._attempt(url, body, headers)
            if refused is None:
                return
            if after is None or pause is None:
                raise NotDelivered(
                    f"The webhook {self.name} {refused}: check notifications.webhooks.{self.name}, "
                    "and try it with `pipeline notify test`."
                )
            await asyncio.sleep(min(_LONGEST_PAUSE, max(pause, after)))

    async def _attempt(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[str | None, float | None]:
        """Why it was not taken, and after how many seconds it may be; None: never as it is."""
        try:
            async with (
                asyncio.timeout(_WITHIN),
                aiohttp.ClientSession(trust_env=True) as session,
                # Not to where it would be sent on: the address is as good as a password.
                session.post(url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                status = response.status
                retry = response.headers.get("Retry-After", "")
        except TimeoutError:
            return "does not answer in time", 0.0
        except (aiohttp.InvalidURL, ValueError):
            return "has an address that is no URL", None
        except (aiohttp.ClientError, OSError) as error:
            return f"cannot be reached ({type(error).__name__})", 0.0
        if status < _REDIRECT:
            return None, None
        may_pass = status in {_REQUEST_TIMEOUT, _TOO_MANY} or status >= _SERVER_ERROR
        after = float(retry) if retry.isdecimal() else 0.0
        return f"answers HTTP {status}", after if may_pass else None

    def _text(self, what: str, given: SecretStr | None, file: Path | None) -> str | None:
        if given is not None:
            return given.get_secret_value()
        if file is None:
            return None
        try:
            text = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            text = ""
        if not text:
            raise NotDelivered(
                f"There is nothing in {file}, which is notifications.webhooks.{self.name}."
                f"{what}_file: write it there."
            )
        return text
