"""Are the topics there, and are they what the pipeline needs?"""

from collections.abc import Iterable, Iterator, Sequence

from pipeline.config import Settings
from pipeline.doctor.check import Finding, Site, failed, ok, warning
from pipeline.kafka.cluster import Cluster, Progress, TopicSeen, progress_of
from pipeline.kafka.topics import TopicNames, TopicState, differences
from pipeline.model.errors import PipelineError
from pipeline.operators.topics import topic_names
from pipeline.stream.ledger import LedgerUnreadable, decode
from pipeline.stream.protocols import BrokersUnavailable

_SHORT_RETENTION = 24 * 3600.0
"""Seconds. An outage over night should be survived."""
_FUTURE = 60.0
"""Seconds that a publisher's clock may be ahead of ours."""


def wanted(settings: Settings) -> tuple[str, ...]:
    """The topics of the enabled stages."""
    return topic_names(settings, None)


def read_topics(settings: Settings) -> dict[str, str]:
    """What each enabled stage reads, by stage."""
    names = TopicNames(settings.topics)
    return {stage: names.read_by(stage) for stage in settings.enabled}


async def check_topics(site: Site) -> Iterable[Finding]:
    """Topics that do not exist, and what was meant to be otherwise."""
    cluster = await site.cluster_or_error()
    if isinstance(cluster, PipelineError):
        return [
            failed(
                "topics",
                str(cluster),
                why="So nothing is known of topics, groups and permissions.",
                advice="Mend `enabled` or [topics] in the settings, or look at the brokers.",
            )
        ]
    return list(of_topics(site, cluster))


def of_topics(site: Site, cluster: Cluster) -> Iterator[Finding]:
    """What is missing or different; pure."""
    names = wanted(site.settings)
    missing = [
        name for name in names if name not in cluster.topics and name not in cluster.forbidden
    ]
    if missing:
        yield failed(
            "topics",
            f"These do not exist: {', '.join(missing)}.",
            why="What reads or writes them waits for ever.",
            advice="`pipeline topics create`; or set topics.prefix and the names in [topics] to "
            "those that exist.",
        )
    for topic in cluster.topics.values():
        cleanup = topic.configs.get("cleanup.policy")
        state = TopicState(topic.name, topic.partitions, topic.replicas, cleanup=cleanup)
        for difference in differences(state, site.settings.topics):
            yield warning(
                "topics",
                f"{topic.name} is not what the settings say.",
                why=difference,
                advice="`pipeline topics describe` shows all of them.",
            )
    if not missing:
        yield ok("topics", f"{len(cluster.topics)} of {len(names)} can be seen.")


def check_partitions(site: Site, cluster: Cluster) -> Iterator[Finding]:
    """Too few partitions for those who share them."""
    found = list(_too_few(site, cluster))
    yield from found or [ok("partitions", "There are enough for those who share them.")]


def _too_few(site: Site, cluster: Cluster) -> Iterator[Finding]:
    prefix = site.settings.kafka.group_prefix
    for stage, name in read_topics(site.settings).items():
        topic = cluster.topics.get(name)
        if topic is None:
            continue
        group = cluster.groups.get(prefix + stage)
        members = 0 if group is None else len(group.members)
        if members > topic.partitions:
            yield warning(
                "partitions",
                f"{name} has {topic.partitions} partitions and group {prefix}{stage} "
                f"{members} members.",
                why="A partition has one reader, so the others have nothing to do.",
                advice=f"`kafka-topics.sh --alter --topic {name} --partitions {members}`, once "
                "the group has drained, as keys change their partition; or run fewer.",
            )
        elif topic.partitions == 1:
            yield warning(
                "partitions",
                f"{name} has one partition.",
                why="A second replica or worker has nothing to do.",
                advice=f"`kafka-topics.sh --alter --topic {name} --partitions "
                f"{max(6, site.settings.topics.partitions)}` before there is anything in it.",
            )


def check_replication(site: Site, cluster: Cluster) -> Iterator[Finding]:
    """Replicas that cannot be, or that are too few to write to."""
    found = [
        finding for topic in cluster.topics.values() for finding in _of_replicas(topic, cluster)
    ]
    factor = site.settings.topics.replication_factor
    if factor > len(cluster.brokers):
        found.append(
            failed(
                "replication",
                f"topics.replication_factor is {factor}, and there are {len(cluster.brokers)} "
                "brokers.",
                why="`pipeline topics create` is refused.",
                advice="Set it to -1 for the brokers' own default, or add brokers.",
            )
        )
    yield from found or [ok("replication", "Every topic has the replicas that it wants.")]


def _of_replicas(topic: TopicSeen, cluster: Cluster) -> Iterator[Finding]:
    least = topic.number("min.insync.replicas") or 1
    if least > topic.replicas:
        yield warning(
            "replication",
            f"{topic.name} wants {least} replicas in sync and has {topic.replicas}.",
            why="Brokers of today then want all that there are; older ones refuse whatever is "
            "written to it, so that no commit that publishes there succeeds.",
            advice=f"`kafka-configs.sh --alter --topic {topic.name} --add-config "
            f"min.insync.replicas={max(1, topic.replicas - 1)}`, or give it more replicas.",
        )
    elif topic.in_sync < least:
        yield failed(
            "replication",
            f"{topic.name} wants {least} replicas in sync and has {topic.in_sync} of "
            f"{topic.replicas} at present.",
            why="Nothing can be written to it until a broker is back.",
            advice="Look at the brokers that are away: `kafka-topics.sh --describe "
            "--under-min-isr-partitions`.",
        )
    elif topic.replicas == 1 and len(cluster.brokers) > 1:
        yield warning(
            "replication",
            f"{topic.name} has one replica, on {len(cluster.brokers)} brokers.",
            why="It is away while that broker is, and gone when its disk is.",
            advice="`kafka-reassign-partitions.sh` gives it more; topics.replication_factor is "
            "for new ones.",
        )


def check_cleaning(site: Site, cluster: Cluster) -> Iterator[Finding]:
    """Topics that throw away what is not processed yet."""
    names = TopicNames(site.settings.topics)
    sources = set(read_topics(site.settings).values())
    found = []
    for topic in cluster.topics.values():
        is_compacted = "compact" in topic.configs.get("cleanup.policy", "")
        if is_compacted and topic.name not in names.compacted:
            found.append(_compacted(topic, is_read=topic.name in sources))
        retention = topic.number("retention.ms")
        if topic.name in sources | {names.dead_letters} and retention is not None:
            found += _short(topic.name, retention / 1000)
    yield from found or [ok("cleaning", "No topic throws away what is not processed yet.")]


def _compacted(topic: TopicSeen, *, is_read: bool) -> Finding:
    tell = failed if is_read else warning
    return tell(
        "cleaning",
        f"{topic.name} is compacted (cleanup.policy={topic.configs['cleanup.policy']}).",
        why="Of events with the same key only the last one stays: the others are lost, those that "
        "are not processed yet among them.",
        advice=f"`kafka-configs.sh --alter --topic {topic.name} --add-config "
        "cleanup.policy=delete`.",
    )


def _short(name: str, seconds: float) -> Iterator[Finding]:
    if 0 <= seconds < _SHORT_RETENTION:
        yield warning(
            "cleaning",
            f"{name} keeps records for {seconds / 3600:.3g} hours.",
            why="What waits for longer, because the API is away or a budget is spent, is deleted "
            "without having been processed.",
            advice=f"`kafka-configs.sh --alter --topic {name} --add-config "
            "retention.ms=604800000`: longer than the longest outage and the time to catch up.",
        )


_PAID = "All of them are read at its first start, and paid for: `pipeline cost` says how much."
_SKIPPED = "They are skipped at its first start: only what comes after it is read."
_OTHER = {True: "earliest", False: "latest"}


async def check_progress(site: Site) -> Iterable[Finding]:
    """What was deleted unread, whose commits cannot be read, and records from the future."""
    cluster = await site.cluster()
    prefix = site.settings.kafka.group_prefix
    now = site.now()
    starts_at_end = site.settings.kafka.auto_offset_reset == "latest"
    found: list[Finding] = []
    for stage, name in read_topics(site.settings).items():
        topic = cluster.topics.get(name)
        if topic is not None:
            group = prefix + stage
            progress, untold = await progress_of(
                site.settings.kafka, group, topic, now=now, future=now + _FUTURE
            )
            found += of_progress(group, name, progress, starts_at_end=starts_at_end)
            if untold:
                found.append(_untold(group, name, untold))
    return found or [ok("progress", "What was committed can be read, and nothing was lost before.")]


def _untold(group: str, topic: str, problems: Sequence[BrokersUnavailable]) -> Finding:
    return failed(
        "progress",
        f"How far {group} is in {topic} was not told in full: {problems[0]}",
        why="So it is not known whether records there were lost, or are about to be.",
        advice="Look at the brokers and the network, and try again.",
    )


def of_progress(
    group: str, topic: str, progress: Sequence[Progress], *, starts_at_end: bool
) -> Iterator[Finding]:
    """What the progress of a group means; pure."""
    lost = sum(
        max(0, each.bounds.begin - each.committed.offset)
        for each in progress
        if each.committed is not None
    )
    if lost:
        yield failed(
            "progress",
            f"{topic} has deleted {lost:,} records that {group} had not processed.",
            why="Its retention is shorter than the lag was; what is deleted cannot be had back.",
            advice=f"Raise retention.ms of {topic}, look at `pipeline lag`, and have them "
            "published again.",
        )
    late = [each for each in progress if _is_late(each)]
    if late:
        yield warning(
            "progress",
            f"{topic} has records that {group} has not processed and that have half of their "
            "retention behind them.",
            why="If the lag stays as it is, they are deleted before they are processed.",
            advice=f"`kafka-configs.sh --alter --topic {topic} --add-config retention.ms=...` with "
            "more, at once; then see why it lags: `pipeline lag`.",
        )
    foreign = [each for each in progress if _is_foreign(each)]
    if foreign:
        yield failed(
            "progress",
            f"What {group} committed for {', '.join(str(each.partition) for each in foreign)} is "
            "not the pipeline's.",
            why="Another program commits in that group, or another version did; the partitions "
            "are not read, as nobody can tell what is done.",
            advice="Set kafka.group_prefix to one that is yours alone; or stop all members and "
            f"reset it: `kafka-consumer-groups.sh --group {group} --topic {topic} "
            "--reset-offsets --to-current --execute`.",
        )
    past = sum(each.bounds.end - each.bounds.begin for each in progress if each.committed is None)
    if past:
        yield warning(
            "progress",
            f"{topic} holds up to {past:,} records, and {group} has committed nothing there yet.",
            why=_SKIPPED if starts_at_end else _PAID,
            advice=f'Is that meant? kafka.auto_offset_reset = "{_OTHER[starts_at_end]}" does the '
            "other, before the first start.",
        )
    future = [each for each in progress if each.from_the_future]
    if future:
        yield warning(
            "progress",
            f"{topic} has records whose timestamps are more than a minute in the future.",
            why="A publisher's clock is wrong, or the one here: ages of events and retention are "
            "wrong with it.",
            advice="Set the publishers' clocks, or message.timestamp.type=LogAppendTime on the "
            "topic.",
        )


def _is_late(progress: Progress) -> bool:
    bounds, young = progress.bounds, progress.half_expired
    base = bounds.begin if progress.committed is None else progress.committed.offset
    return young is not None and max(base, bounds.begin) < min(young, bounds.end)


def _is_foreign(progress: Progress) -> bool:
    committed = progress.committed
    if committed is None or not committed.metadata:
        return False
    try:
        decode(committed.offset, committed.metadata)
    except LedgerUnreadable:
        return True
    return False
