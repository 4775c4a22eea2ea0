"""`[notifications]`: what people are notified of by webhook, where, and when not."""

from datetime import time
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, field_validator, model_validator

from pipeline.config.tables import Count, Seconds, Section, setting

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class WebhookSettings(Section):
    """One place that notifications go to."""

    format: Literal["json", "slack", "teams"] = setting(
        "json", "what is sent: a plain document, or what Slack or Teams Workflows take"
    )
    url: SecretStr | None = setting(None, "where; who has it may post there")
    url_file: Path | None = setting(None, "or a file with it, read again each time")
    secret: SecretStr | None = setting(
        None, "signs each body: HMAC-SHA256 in the header X-Pipeline-Signature"
    )
    secret_file: Path | None = setting(None, "or a file with it, read again each time")

    @model_validator(mode="after")
    def _has_one_of_each(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("a webhook needs one of url and url_file")
        if self.secret is not None and self.secret_file is not None:
            raise ValueError("a webhook has secret and secret_file: set one of them")
        return self


class NotificationSettings(Section):
    """Notifications by webhook; off without any: [NOTIFICATIONS.md](NOTIFICATIONS.md)."""

    webhooks: dict[str, WebhookSettings] = setting({}, "by a name of yours")
    interval: Seconds = setting(60, "between looks")
    dead_letters_within: Seconds = setting(
        86_400, "a kind of dead letter is new if there was none for so long, and then has ended"
    )
    review_age: Seconds | None = setting(
        28_800, "that a case may wait for a person; unset: as long as it likes"
    )
    most_per_hour: Count = setting(20, "notifications to each webhook; the others wait")
    quiet_from: time | None = setting(None, "time of day from which nothing is sent, e.g. 18:00")
    quiet_until: time | None = setting(None, "time of day until then, the next day if earlier")
    quiet_days: list[Day] = setting([], "days on which nothing is sent")
    time_zone: str = setting("UTC", "whose time and days these are, e.g. Europe/Berlin")
    desk_url: Annotated[str, Field(pattern="^https?://")] | None = setting(
        None, "where people settle cases: linked to, by the dashboard too; desk.access.url if unset"
    )

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone {name!r}: write it as Europe/Berlin") from None
        return name

    @model_validator(mode="after")
    def _quiet_hours_have_both_ends(self) -> Self:
        if (self.quiet_from is None) != (self.quiet_until is None):
            raise ValueError("quiet hours need quiet_from and quiet_until")
        return self
