"""Looks at the conditions now and then, and sends what is due, in the one process that leads.

What was announced is kept with the leadership, so that the next leader neither repeats nor forgets
it. A leader that dies between sending and keeping has sent once more than it knows: then one
notification comes twice, none is lost.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

import orjson
import structlog

from pipeline.config import Settings, load_settings
from pipeline.config.notifications import NotificationSettings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.leadership import open_leadership
from pipeline.kafka.reader import TopicReader, read_topics
from pipeline.kafka.topics import ESCALATIONS, TopicNames, Topics
from pipeline.model.errors import PipelineError
from pipeline.notify.conditions import DeadLetterKinds, ReviewAge, Source, StaleCertificates
from pipeline.notify.schedule import HourlyLimit, Notification, due, is_quiet
from pipeline.notify.webhooks import NotDelivered, Webhook
from pipeline.operators import certificates
from pipeline.runtime.process import background_task
from pipeline.stream.protocols import TopicPartition
from pipeline.trust.certificate_file import read_certificates

Announced = dict[str, dict[str, datetime]]
"""By webhook: the titles that it was sent, and has not been sent the end of; since when."""
GROUP = "notifications"
"""Of which one member leads; behind `kafka.group_prefix`."""
_MOST_CHARACTERS = 3500
"""Of what is kept: brokers take 4,096 bytes of metadata unless they are set otherwise."""
_log = structlog.get_logger(__name__)


class Leadership(Protocol):
    """That one of several processes leads, and what it keeps for the next."""

    async def note(self) -> str | None:
        """What the last leader kept, empty if nothing; None where another process leads."""
        ...

    async def keep(self, note: str) -> None:
        """Keep a text for the next leader; raises `PipelineError` where another leads by now."""
        ...


class Watcher:
    """Sends what is due to every webhook.

    Args:
        settings: When not to send, and how much.
        webhooks: Where to.
        sources: What to look at.
        leadership: Whether this process sends.
        now: The time, with its zone.
    """

    def __init__(
        self,
        settings: NotificationSettings,
        webhooks: Sequence[Webhook],
        sources: Sequence[Source],
        leadership: Leadership,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._webhooks = webhooks
        self._sources = sources
        self._leadership = leadership
        self._now = now
        self._limits = {each.name: HourlyLimit(settings.most_per_hour) for each in webhooks}

    async def run(self) -> None:
        """Look for ever; trouble with brokers or receivers is logged, and looked at again."""
        while True:
            try:
                await self.look()
            except PipelineError as error:
                _log.warning("notifications_not_looked_at", because=str(error))
            await asyncio.sleep(self._settings.interval)

    async def look(self) -> None:
        """Look once, and send what is due; raises `PipelineError` where something is not known."""
        note = await self._leadership.note()
        now = self._now()
        if note is None or is_quiet(self._settings, now):
            return
        current = [each for source in self._sources for each in await source.conditions(now)]
        announced = decode(note)
        for webhook in self._webhooks:
            known = announced.setdefault(webhook.name, {})
            for notification in due(current, known, now)[: self._limits[webhook.name].room(now)]:
                if not await self._sent(webhook, notification, now):
                    break
                if notification.state == "ended":
                    del known[notification.title]
                else:
                    known[notification.title] = notification.since
                await self._leadership.keep(encode(announced))

    async def _sent(self, webhook: Webhook, notification: Notification, now: datetime) -> bool:
        self._limits[webhook.name].count(now)
        try:
            await webhook.send(notification)
        except NotDelivered as error:
            _log.warning("notification_not_delivered", because=str(error))
            return False
        _log.info("notified", webhook=webhook.name, state=notification.state,
                  about=notification.title)  # fmt: skip
        return True


def webhooks_of(settings: NotificationSettings) -> list[Webhook]:
    return [Webhook(name, each) for name, each in settings.webhooks.items()]


def sources_of(settings: Settings, load: Callable[[], Settings] = load_settings) -> list[Source]:
    """What is looked at, by the settings; `load` reads them again."""
    kafka, names, own = settings.kafka, TopicNames.under(settings), settings.notifications
    read = partial(read_topics, kafka)
    within = timedelta(seconds=own.dead_letters_within)
    stages = [*settings.stages.by_name(), ESCALATIONS]
    sources: list[Source] = [DeadLetterKinds(read, names.dead_letters, stages, within)]

    async def partitions() -> Sequence[TopicPartition]:
        async with admin_client(kafka) as admin:
            found = await Topics(admin).partitions([names.review])
        return [TopicPartition(*each) for each in found]

    if own.review_age is not None:
        limit, link = timedelta(seconds=own.review_age), own.desk_url or settings.desk.access.url
        age = ReviewAge(*(read, names.review, names.resolved, partitions), limit=limit, link=link)
        sources.append(age)
    if settings.trust.certificate is not None:
        sources.append(StaleCertificates(partial(current_certificates, read, load)))
    return sources


async def current_certificates(
    read: TopicReader, load: Callable[[], Settings]
) -> Sequence[certificates.StageStatus]:
    """What is certified, by the settings as they are now: those of stages change while it runs."""
    settings = await asyncio.to_thread(load)
    if settings.trust.certificate is None:
        return []
    file = await asyncio.to_thread(read_certificates, settings.trust.certificate)
    alarms = await certificates.read_alarms(read, TopicNames.under(settings).trust)
    return certificates.status(settings, file, alarms)


@asynccontextmanager
async def notifying(settings: Settings, *, ended: Callable[[], object]) -> AsyncIterator[None]:
    """Notify as long as this is entered, if there are webhooks and while this process leads.

    `ended` is called when that ends by a bug; raises `ConnectionFailed` at the start.
    """
    webhooks = webhooks_of(settings.notifications)
    if not webhooks:
        yield
        return
    topic = TopicNames.under(settings).dead_letters
    group = settings.kafka.group_prefix + GROUP
    async with open_leadership(settings.kafka, group, topic) as leadership:
        watcher = Watcher(settings.notifications, webhooks, sources_of(settings), leadership)
        async with background_task(watcher.run(), ended=ended):
            yield


def encode(announced: Mapping[str, Mapping[str, datetime]]) -> str:
    """As text; where it is too long without the oldest, which are then announced once more."""
    kept = {name: dict(titles) for name, titles in announced.items()}
    while True:
        seconds = {
            name: {title: round(since.timestamp()) for title, since in titles.items()}
            for name, titles in kept.items()
        }
        text = orjson.dumps(seconds).decode()
        if len(text.encode()) <= _MOST_CHARACTERS or not any(kept.values()):
            return text
        longest = max(kept.values(), key=len)
        del longest[min(longest, key=lambda title: longest[title])]


def decode(note: str) -> Announced:
    """What `encode` wrote; nothing where it was something else."""
    try:
        found = orjson.loads(note) if note else {}
        return {
            str(name): {
                str(title): datetime.fromtimestamp(since, UTC) for title, since in titles.items()
            }
            for name, titles in found.items()
        }
    except (ValueError, TypeError, AttributeError, OverflowError, OSError):
        return {}
