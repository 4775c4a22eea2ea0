"""Do the limits on sizes fit each other, in the settings and on the brokers?"""

from collections.abc import Iterator
from typing import NamedTuple

from pipeline.config import FileSettings, Settings
from pipeline.doctor.check import Finding, Site, ok, warning
from pipeline.kafka.cluster import Cluster
from pipeline.kafka.topics import TopicNames

_ABOUT = "sizes"
_BASE64 = 4 / 3
_ENVELOPE = 64 << 10
"""More than what an escalation record adds to the event: doubts, a result, the source."""


def check_sizes(site: Site) -> Iterator[Finding]:
    """Hold what stages take against what topics and memory take, by the settings alone."""
    found = [*_of_stages(site.settings), *_of_fetches(site.settings)]
    yield from found or [ok(_ABOUT, "By the settings, topics and memory take what stages take.")]


class _Limit(NamedTuple):
    """How large the events of a stage may be, and by which setting."""

    stage: str
    setting: str
    size: int


def _limits(settings: Settings) -> Iterator[_Limit]:
    for name in settings.enabled:
        stage = settings.stages.of(name)
        if stage is not None:
            setting = "max_event_bytes" if isinstance(stage, FileSettings) else "max_text_chars"
            yield _Limit(name, f"stages.{name}.{setting}", stage.largest_event)


def _of_stages(settings: Settings) -> Iterator[Finding]:
    largest = settings.topics.max_message_bytes
    for name, setting, limit in _limits(settings):
        if limit > largest:
            yield warning(
                _ABOUT,
                f"{setting} allows events of {limit:,} bytes, but topics take {largest:,}.",
                why="Nobody can publish such events.",
                advice="Raise topics.max_message_bytes, on the topics, too, or lower the other.",
            )
        elif limit * _BASE64 + _ENVELOPE > largest:
            yield warning(
                _ABOUT,
                f"The largest events of {name} cannot be escalated.",
                why=f"Of {limit:,} bytes the JSON of an escalation may make a third more, "
                f"and topics take {largest:,}; it would become a dead letter.",
                advice=f"Raise topics.max_message_bytes, or lower {setting}: events of "
                f"{int((largest - _ENVELOPE) / _BASE64):,} bytes fit.",
            )


def _of_fetches(settings: Settings) -> Iterator[Finding]:
    for _, setting, limit in _limits(settings):
        if limit > settings.stream.max_in_flight_bytes:
            yield warning(
                _ABOUT,
                f"{setting} allows events of {limit:,} bytes, and stream.max_in_flight_bytes "
                f"{settings.stream.max_in_flight_bytes:,}.",
                why="One large event holds up all others of the stage until it is done.",
                advice="Raise stream.max_in_flight_bytes, and the memory limit with it.",
            )
        if limit > settings.kafka.fetch_max_bytes:
            yield warning(
                _ABOUT,
                f"{setting} allows events of {limit:,} bytes, and kafka.fetch_max_bytes "
                f"{settings.kafka.fetch_max_bytes:,}.",
                why="Brokers then send such an event alone, so each takes a round trip of its own.",
                advice="Raise kafka.fetch_max_bytes above it.",
            )


def check_broker_sizes(site: Site, cluster: Cluster) -> Iterator[Finding]:
    """Hold what the stages take against what topics and brokers really take."""
    found = [
        *_of_topics(site.settings, cluster),
        *_of_dead_letters(site.settings, cluster),
        *_of_brokers(site.settings, cluster),
    ]
    yield from found or [ok("broker-sizes", "Topics and brokers take what stages take.")]


def _of_topics(settings: Settings, cluster: Cluster) -> Iterator[Finding]:
    names = TopicNames(settings.topics)
    for stage, setting, limit in _limits(settings):
        topics = (names.raw(stage), names.escalations, names.dead_letters)
        for name, factor in zip(topics, (1.0, _BASE64, 1.0), strict=True):
            takes = _takes(cluster, name)
            if takes is not None and takes < limit * factor:
                yield warning(
                    "broker-sizes",
                    f"Topic {name} takes records of {takes:,} bytes, and {stage} events of "
                    f"{limit:,}.",
                    why="Publishers are refused with larger events, unless they compress them: "
                    "the limit is on what is compressed. What cannot be escalated becomes a dead "
                    "letter, and what even that topic does not take one without the event.",
                    advice=f"`kafka-configs.sh --alter --topic {name} --add-config "
                    f"max.message.bytes={settings.topics.max_message_bytes}`, or lower "
                    f"{setting}.",
                )


def _of_dead_letters(settings: Settings, cluster: Cluster) -> Iterator[Finding]:
    """Whatever comes in must fit where it is put aside."""
    names = TopicNames(settings.topics)
    last = _takes(cluster, names.dead_letters)
    room = min(settings.topics.max_message_bytes, last or settings.topics.max_message_bytes)
    for stage, *_ in _limits(settings):
        takes = _takes(cluster, names.raw(stage))
        if takes is not None and takes > room:
            yield warning(
                "broker-sizes",
                f"Topic {names.raw(stage)} takes records of {takes:,} bytes, and no dead letter "
                f"may have more than {room:,}.",
                why="Of a larger event the dead letter has only size, hash and place: the event is "
                "gone once its own topic removes it. Compressed ones pass any limit on a topic.",
                advice=f"`kafka-configs.sh --alter --topic {names.raw(stage)} --add-config "
                f"max.message.bytes={room}`, or raise topics.max_message_bytes and the "
                f"max.message.bytes of {names.dead_letters}.",
            )


def _takes(cluster: Cluster, name: str) -> int | None:
    topic = cluster.topics.get(name)
    return None if topic is None else topic.number("max.message.bytes")


def _of_brokers(settings: Settings, cluster: Cluster) -> Iterator[Finding]:
    value = cluster.configs.get("socket.request.max.bytes")
    if value is not None and int(value) < settings.topics.max_message_bytes:
        yield warning(
            "broker-sizes",
            f"The brokers take requests of {int(value):,} bytes (socket.request.max.bytes), and "
            f"topics.max_message_bytes is {settings.topics.max_message_bytes:,}.",
            why="A broker closes the connection on a larger request, without a word.",
            advice="Raise it on the brokers, or lower topics.max_message_bytes.",
        )
