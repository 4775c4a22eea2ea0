"""The topics of the pipeline: how they must be, and how they are made."""

import asyncio
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NoError, TopicAlreadyExistsError, for_code

from pipeline.config import TopicSettings
from pipeline.config.topic_names import ESCALATIONS, Subscription, TopicNames
from pipeline.kafka.connection import patiently
from pipeline.model.errors import PipelineError

__all__ = ["ESCALATIONS", "Subscription", "TopicNames", "Topics"]
_BROKER_DEFAULT = -1
_CREATED_WITHIN = 30.0
_POLL = 0.02
_MAX_MESSAGE_BYTES = "max.message.bytes"
_CLEANUP = "cleanup.policy"
_COMPACT = "compact"
_COMPACT_AND_DELETE = "compact,delete"
_RETENTION = "retention.ms"
_SEGMENT = "segment.ms"
_SEGMENTS = 4
"""In a retention: records are removed a segment at a time, after the last of it has expired."""
_LONGEST_SEGMENT = 7 * 86_400.0
"""Seconds; Kafka's own default."""
_HOUR, _DAY = 3600.0, 86_400.0


class TopicsFailed(PipelineError):
    """A topic could not be made or described; the text says which and why."""


class TopicMissing(PipelineError):
    """A topic that was to be read or written does not exist."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is, its configuration as far as we may see it; times are in seconds.

    Records are removed with the segment that they are in, once `retention` has passed since the
    last of it was written: up to `segment` later. A retention without an end is infinite.
    """

    name: str
    partitions: int
    replication_factor: int
    max_message_bytes: int | None = None
    cleanup: str | None = None
    retention: float | None = None
    segment: float | None = None


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What `create` did; in what a topic that was there is not what the settings say."""

    name: str
    was_created: bool
    differences: tuple[str, ...] = field(default=())


def differences(
    state: TopicState, settings: TopicSettings, names: TopicNames | None = None
) -> tuple[str, ...]:
    """In what an existing topic is not what the settings say, and what to do. Pure.

    How a topic is made that the settings of a stage name is not the pipeline's to say.
    """
    names = names or TopicNames(settings)
    if names.is_given(state.name):
        return ()
    found = []
    if state.partitions != settings.partitions:
        found.append(
            f"{state.name} has {state.partitions} partitions and topics.partitions is "
            f"{settings.partitions}: keys keep their order only if that stays, so change the "
            "setting, or make a new topic."
        )
    if settings.replication_factor not in {_BROKER_DEFAULT, state.replication_factor}:
        found.append(
            f"{state.name} has replication factor {state.replication_factor} and "
            f"topics.replication_factor is {settings.replication_factor}: reassign its "
            "partitions with the tools of Kafka, or change the setting."
        )
    if state.max_message_bytes is not None and state.max_message_bytes < settings.max_message_bytes:
        found.append(
            f"{state.name} takes records of up to {state.max_message_bytes} bytes and "
            f"topics.max_message_bytes is {settings.max_message_bytes}: raise the topic's "
            f"{_MAX_MESSAGE_BYTES}, or lower the setting."
        )
    setting, retention = names.retention_of(state.name)
    if retention is not None and state.retention not in {None, retention}:
        found.append(
            f"{state.name} keeps records for {period(state.retention)} and {setting} is "
            f"{period(retention)}: set the topic's {_RETENTION} to {_milliseconds(retention)} (and "
            f"its {_SEGMENT} to {_milliseconds(_segment(retention))}), or change the setting."
        )
    if state.name in names.compacted and (forgets := why_forgetful(state)):
        found.append(forgets)
    if state.name == names.trust and _COMPACT not in (state.cleanup or _COMPACT):
        found.append(
            f"{state.name} has {_CLEANUP} {state.cleanup} and would keep what was forgotten, or "
            f"said otherwise later: set its {_CLEANUP} to {_COMPACT_AND_DELETE}."
        )
    return tuple(found)


def why_forgetful(state: TopicState) -> str | None:
    """Why a topic would lose what has to hold for ever; None where it would not. Pure."""
    if state.cleanup in {None, _COMPACT}:
        return None
    return (
        f"{state.name} has {_CLEANUP} {state.cleanup} and would forget what was done: set "
        f"its {_CLEANUP} to {_COMPACT}."
    )


def period(seconds: float | None) -> str:
    """A retention in words."""
    if seconds is None or math.isinf(seconds):
        return "ever"
    unit, size = ("days", _DAY) if seconds >= 2 * _DAY else ("hours", _HOUR)
    return f"{seconds / size:.4g} {unit}"


def _segment(retention: float) -> float:
    return min(retention / _SEGMENTS, _LONGEST_SEGMENT)


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))


def seconds_of(milliseconds: str | None) -> float | None:
    """A retention as brokers have it; -1, which has no end, is infinite."""
    if milliseconds is None:
        return None
    return math.inf if int(milliseconds) < 0 else int(milliseconds) / 1000


class Topics:
    """Makes topics like `settings`, with further `configs`, and describes them.

    `names` says what they are for; with the default ones if it is not given.
    """

    def __init__(
        self,
        admin: AIOKafkaAdminClient,
        settings: TopicSettings | None = None,
        *,
        names: TopicNames | None = None,
        configs: Mapping[str, str] | None = None,
    ) -> None:
        settings = settings or TopicSettings()
        self._admin = admin
        self._settings = settings
        self._names = names or TopicNames(settings)
        self._configs = {_MAX_MESSAGE_BYTES: str(settings.max_message_bytes), **(configs or {})}

    async def existing(self) -> frozenset[str]:
        """The names of all topics that this user may see."""
        return frozenset(await self._metadata())

    async def describe(self, names: Collection[str]) -> dict[str, TopicState]:
        # Some brokers make a topic that is asked for by name, so all are asked for.
        metadata = await self._metadata()
        present = [name for name in names if name in metadata]
        configs = await describe_configs(
            self._admin,
            ConfigResourceType.TOPIC,
            present,
            (_MAX_MESSAGE_BYTES, _CLEANUP, _RETENTION, _SEGMENT),
        )
        found = {}
        for name in present:
            config = configs.get(name, {})
            largest = config.get(_MAX_MESSAGE_BYTES)
            found[name] = TopicState(
                name=name,
                partitions=len(metadata[name]),
                replication_factor=len(metadata[name][0]["replicas"]),
                max_message_bytes=None if largest is None else int(largest),
                cleanup=config.get(_CLEANUP),
                retention=seconds_of(config.get(_RETENTION)),
                segment=seconds_of(config.get(_SEGMENT)),
            )
        return found

    async def require(self, names: Collection[str]) -> dict[str, TopicState]:
        """Describe topics that have to exist; `TopicMissing` names those that do not."""
        found = await self.describe(names)
        missing = [name for name in names if name not in found]
        if missing:
            raise TopicMissing(
                f"These topics do not exist, or this user may not see them: {', '.join(missing)}. "
                "Make them with `pipeline topics create`, or check topics.prefix in the settings."
            )
        return found

    async def partitions(self, read: Collection[str] | Subscription) -> list[TopicPartition]:
        """Those of topics by name, and of what a pattern matches now; raises as `require`."""
        if not isinstance(read, Subscription):
            names = read
        else:
            names = read.topics if read.pattern is None else read.among(await self.existing())
        return [
            TopicPartition(state.name, number)
            for state in (await self.require(names)).values()
            for number in range(state.partitions)
        ]

    async def create(self, names: Collection[str]) -> list[TopicReport]:
        """Make those that are missing and wait until they have leaders; `TopicsFailed`."""
        existing = await self.describe(names)
        missing = [name for name in names if name not in existing]
        made = await self._create(missing)
        try:
            async with asyncio.timeout(_CREATED_WITHIN):
                while not await self._have_leaders(missing):  # noqa: ASYNC110 - the brokers' state
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise TopicsFailed(
                f"No broker leads every partition of {', '.join(missing)} after "
                f"{_CREATED_WITHIN:g} s: look at the brokers."
            ) from None
        existing |= await self.describe([name for name in missing if name not in made])
        return [
            TopicReport(name, was_created=True)
            if name in made
            else TopicReport(name, False, differences(existing[name], self._settings, self._names))
            for name in names
        ]

    async def _create(self, names: Sequence[str]) -> set[str]:
        if not names:
            return set()
        factor = self._settings.replication_factor
        # aiokafka wants assignments, if only empty ones, beside the broker's default factor.
        assignments: dict[int, list[int]] | None = {} if factor == _BROKER_DEFAULT else None
        topics = [
            NewTopic(
                name,
                self._settings.partitions,
                factor,
                assignments,
                self._configs | self._own_configs(name),
            )
            for name in names
        ]
        response = await patiently(lambda: self._admin.create_topics(topics))
        made = set()
        for name, code, *text in response.topic_errors:
            error = for_code(code)
            if error is NoError:
                made.add(name)
            elif error is not TopicAlreadyExistsError:
                reason = (text[0] if text and text[0] else error.message).rstrip(".")
                raise TopicsFailed(f"The brokers refuse to make topic {name}: {reason}.")
        return made

    def _own_configs(self, name: str) -> dict[str, str]:
        if name in self._names.compacted:
            return {_CLEANUP: _COMPACT}
        _, retention = self._names.retention_of(name)
        if retention is None:
            return {}
        cleanup = {_CLEANUP: _COMPACT_AND_DELETE} if name == self._names.trust else {}
        return cleanup | {
            _RETENTION: _milliseconds(retention),
            _SEGMENT: _milliseconds(_segment(retention)),
        }

    async def _have_leaders(self, names: Sequence[str]) -> bool:
        metadata = await self._metadata()
        return all(
            name in metadata and all(partition["leader"] >= 0 for partition in metadata[name])
            for name in names
        )

    async def _metadata(self) -> dict[str, list[dict[str, Any]]]:
        described = await patiently(self._admin.describe_topics)
        return {
            topic["topic"]: topic["partitions"]
            for topic in described
            if topic["partitions"] and not topic["topic"].startswith("__")
        }


async def describe_configs(
    admin: AIOKafkaAdminClient, kind: ConfigResourceType, names: Iterable[str], keys: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Configurations by resource, as far as we may see them; raises aiokafka's errors."""
    resources = [ConfigResource(kind, name, dict.fromkeys(keys)) for name in names]
    if not resources:
        return {}
    responses = await patiently(lambda: admin.describe_configs(resources))
    return {
        name: {key: value for key, value, *_ in entries if key in keys and value is not None}
        for response in responses
        for code, _, _, name, entries in response.resources
        if for_code(code) is NoError
    }
