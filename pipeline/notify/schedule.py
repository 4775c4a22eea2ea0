"""What is due to be sent now: once when a condition begins, once when it ends. Pure.

What cannot be sent now (quiet hours, too many in an hour) is simply still due later; what began
and ended meanwhile is never sent.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from pipeline.config.notifications import NotificationSettings
from pipeline.notify.conditions import Condition

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Notification:
    """That a condition has begun, or ended; `text` is empty at its end."""

    state: Literal["begun", "ended", "test"]
    title: str
    text: str
    at: datetime
    since: datetime
    link: str | None = None


def due(
    current: Sequence[Condition], announced: Mapping[str, datetime], now: datetime
) -> list[Notification]:
    """What has to be sent to who knows of `announced` (titles, with when they began)."""
    titles = {condition.title for condition in current}
    ended = [
        Notification("ended", title, "", now, since)
        for title, since in announced.items()
        if title not in titles
    ]
    begun = [
        Notification("begun", each.title, each.text, now, each.since, each.link)
        for each in sorted(current, key=lambda condition: condition.since)
        if each.title not in announced
    ]
    return ended + begun


def is_quiet(settings: NotificationSettings, now: datetime) -> bool:
    """Whether nothing may be sent now; hours may go over midnight, and belong to either day."""
    local = now.astimezone(ZoneInfo(settings.time_zone))
    if _DAYS[local.weekday()] in settings.quiet_days:
        return True
    begin, end = settings.quiet_from, settings.quiet_until
    if begin is None or end is None:
        return False
    time = local.time()
    return begin <= time < end if begin <= end else time >= begin or time < end


@dataclass(slots=True)
class HourlyLimit:
    """How many more may be sent, of `most` in any hour."""

    most: int
    _sent: deque[datetime] = field(default_factory=deque)

    def room(self, now: datetime) -> int:
        while self._sent and now - self._sent[0] >= _HOUR:
            self._sent.popleft()
        return self.most - len(self._sent)

    def count(self, now: datetime) -> None:
        self._sent.append(now)
