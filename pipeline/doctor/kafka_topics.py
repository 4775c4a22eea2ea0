"""The topics and the groups: are they there, and are they what the pipeline needs?"""

from collections.abc import AsyncIterator, Iterator, Sequence

from pipeline.config import Settings
from pipeline.doctor.examination import Finding, Site, failed, ok, warning
from pipeline.doctor.installation import BASE64, size_limits
from pipeline.kafka.cluster import Cluster, Progress, TopicSeen, progress_of
from pipeline.kafka.topics import TopicNames, TopicState, differences, period, seconds_of
from pipeline.model.errors import PipelineError
from pipeline.operators.inspection import topic_names
from pipeline.stream.ledger import LedgerMoved, LedgerUnreadable, decode

_SHORT_RETENTION = 24 * 3600.0
"""Seconds. An outage over night should be survived."""
_FUTURE = 60.0
"""Seconds that a publisher's clock may be ahead of ours."""


def _sources(settings: Settings, cluster: Cluster) -> dict[str, tuple[str, ...]]:
    """What each enabled stage reads: the topics that it names, and those it matches."""
    names = TopicNames.under(settings)
    return {stage: names.read_by(stage).among(cluster.topics) for stage in settings.enabled}


async def check_topics(site: Site) -> AsyncIterator[Finding]:
    """Finds a topic that does not exist, or is not what the settings say."""
    cluster = await site.cluster_or_error()
    if isinstance(cluster, PipelineError):
        yield failed(
            str(cluster),
            why="So nothing is known of topics, groups and permissions.",
            advice="Fix `enabled` or [topics] in the settings, or look at the brokers.",
        )
        return
    for finding in of_topics(site, cluster):
        yield finding


def of_topics(site: Site, cluster: Cluster) -> Iterator[Finding]:
    """What is missing or different; pure."""
    known = TopicNames.under(site.settings)
    names, budget = topic_names(site.settings, None, cluster.topics), known.budget
    missing = [
        name for name in names if name not in cluster.topics and name not in cluster.forbidden
    ]
    if budget in missing:
        missing.remove(budget)
        report = failed if site.settings.has_budget else warning
        yield report(
            f"{budget} does not exist.",
            why="With a budget `pipeline run` does not start: processes share it by that topic.",
            advice="`pipeline topics create`.",
        )
    if known.trust in missing:
        missing.remove(known.trust)
        yield warning(
            f"{known.trust} does not exist.",
            why="No answers are drawn for people to label, so nothing is known of how many are "
            "right.",
            advice="`pipeline topics create`, then start the processes again; or set "
            "trust.sample_share to 0.",
        )
    if missing:
        yield failed(
            f"These do not exist: {', '.join(missing)}.",
            why="What reads or writes them waits for ever.",
            advice="`pipeline topics create`; or set topics.prefix and the names in [topics] to "
            "those that exist, or the stages' input.topics and output.topic.",
        )
    for stage, topics in _sources(site.settings, cluster).items():
        if not topics:
            yield warning(
                f"No topic matches stages.{stage}.input.pattern.",
                why="It reads nothing until there is one, which it takes up by itself.",
                advice="Is that meant? It has to match whole names, of topics that this user may "
                "see; what the pipeline itself writes is never among them.",
            )
    for topic in cluster.topics.values():
        cleanup = topic.configs.get("cleanup.policy")
        state = TopicState(
            topic.name,
            topic.partitions,
            topic.replicas,
            cleanup=cleanup,
            retention=seconds_of(topic.configs.get("retention.ms")),
        )
        for difference in differences(state, site.settings.topics, known):
            yield warning(
                f"{topic.name} is not what the settings say.",
                why=difference,
                advice="`pipeline topics describe` shows all of them.",
            )
    if not missing:
        yield ok(f"{len(cluster.topics)} of {len(names)} can be seen.")


def check_partitions(site: Site, cluster: Cluster) -> Iterator[Finding]:
    """Finds fewer partitions than members; a single one."""
    prefix = site.settings.kafka.group_prefix
    for stage, sources in _sources(site.settings, cluster).items():
        topics = [cluster.topics[name] for name in sources if name in cluster.topics]
        if not topics:
            continue
        partitions = sum(topic.partitions for topic in topics)
        name, have = ", ".join(topic.name for topic in topics), "has" if not topics[1:] else "have"
        group = cluster.groups.get(prefix + stage)
        members = 0 if group is None else len(group.members)
        if members > partitions:
            yield warning(
                f"{name} {have} {partitions} partitions and group {prefix}{stage} "
                f"{members} members.",
                why="A partition has one reader, so the others have nothing to do.",
                advice=f"`kafka-topics.sh --alter --topic {topics[0].name} --partitions "
                f"{topics[0].partitions + members - partitions}`, once "
                "the group has drained, as keys change their partition; or run fewer.",
            )
        elif partitions == 1:
            yield warning(
                f"{name} has one partition.",
                why="A second replica or worker has nothing to do.",
                advice=f"`kafka-topics.sh --alter --topic {name} --partitions "
                f"{max(6, site.settings.topics.partitions)}` before there is anything in it.",
            )


def check_replication(site: Site, cluster: Cluster) -> Iterator[Finding]:
    """Finds a replication factor or min.insync.replicas that cannot be met; a single replica."""
    for topic in cluster.topics.values():
        yield from _of_replicas(topic, cluster)
    factor = site.settings.topics.replication_factor
    if factor > len(cluster.brokers):
        yield failed(
            f"topics.replication_factor is {factor}, and there are {len(cluster.brokers)} brokers.",
            why="`pipeline topics create` is refused.",
            advice="Set it to -1 for the brokers' own default, or add brokers.",
        )


def _of_replicas(topic: TopicSeen, cluster: Cluster) -> Iterator[Finding]:
    least = topic.number("min.insync.replicas") or 1
    if least > topic.replicas:
        yield warning(
            f"{topic.name} wants {least} replicas in sync and has {topic.replicas}.",
            why="Brokers of today then want all that there are; older ones refuse whatever is "
            "written to it, so that no commit that publishes there succeeds.",
            advice=f"`kafka-configs.sh --alter --topic {topic.name} --add-config "
            f"min.insync.replicas={max(1, topic.replicas - 1)}`, or give it more replicas.",
        )
    elif topic.in_sync < least:
        yield failed(
            f"{topic.name} wants {least} replicas in sync and has {topic.in_sync} of "
            f"{topic.replicas} at present.",
            why="Nothing can be written to it until a broker is back.",
            advice="Look at the brokers that are away: `kafka-topics.sh --describe "
            "--under-min-isr-partitions`.",
        )
    elif topic.replicas == 1 and len(cluster.brokers) > 1:
        yield warning(
            f"{topic.name} has one replica, on {len(cluster.brokers)} brokers.",
            why="It is away while that broker is, and gone when its disk is.",
            advice="`kafka-reassign-partitions.sh` gives it more; topics.replication_factor is "
            "for new ones.",
        )


def check_broker_sizes(site: Site, cluster: Cluster) -> Iterator[Finding]:
    """Finds max.message.bytes of a topic (which limits what is compressed), or the brokers' limit
    on requests, below what stages take; raw topics that take more than a dead letter may have.
    """
    settings, names = site.settings, TopicNames.under(site.settings)
    most = settings.topics.max_message_bytes

    def takes(name: str) -> int | None:
        topic = cluster.topics.get(name)
        return None if topic is None else topic.number("max.message.bytes")

    # Whatever comes in must fit where it is put aside.
    room = min(most, takes(names.dead_letters) or most)
    for stage, setting, limit in size_limits(settings):
        raws = names.read_by(stage).among(cluster.topics)
        factors = {**dict.fromkeys(raws, 1.0), names.escalations: BASE64, names.dead_letters: 1.0}
        for name, factor in factors.items():
            taken = takes(name)
            if taken is not None and taken < limit * factor:
                yield warning(
                    f"Topic {name} takes records of {taken:,} bytes, and {stage} events of "
                    f"{limit:,}.",
                    why="Publishers are refused with larger events, unless they compress them: "
                    "the limit is on what is compressed. What cannot be escalated becomes a dead "
                    "letter, and what even that topic does not take one without the event.",
                    advice=f"`kafka-configs.sh --alter --topic {name} --add-config "
                    f"max.message.bytes={most}`, or lower {setting}.",
                )
        for raw in raws:
            taken = takes(raw)
            if taken is None or taken <= room:
                continue
            yield warning(
                f"Topic {raw} takes records of {taken:,} bytes, and no dead letter may have more "
                f"than {room:,}.",
                why="Of a larger event the dead letter has only size, hash and place: the event is "
                "gone once its own topic removes it. Compressed ones pass any limit on a topic.",
                advice=f"`kafka-configs.sh --alter --topic {raw} --add-config "
                f"max.message.bytes={room}`, or raise topics.max_message_bytes and the "
                f"max.message.bytes of {names.dead_letters}.",
            )
    request = cluster.configs.get("socket.request.max.bytes")
    if request is not None and int(request) < most:
        yield warning(
            f"The brokers take requests of {int(request):,} bytes (socket.request.max.bytes), and "
            f"topics.max_message_bytes is {most:,}.",
            why="A broker closes the connection on a larger request, without a word.",
            advice="Raise it on the brokers, or lower topics.max_message_bytes.",
        )


def check_cleaning(site: Site, cluster: Cluster) -> Iterator[Finding]:
    """Finds compaction of a topic, which deletes events that are not processed; a short
    retention. Of stages that pass tombstones on it is meant.
    """
    names = TopicNames.under(site.settings)
    read_by = _sources(site.settings, cluster)
    sources = {name for read in read_by.values() for name in read}
    tables = site.settings.stages.by_name()
    passing = {each for each in read_by if each in tables and tables[each].output.tombstones}
    meant = {name for each in passing for name in (*read_by[each], *names.results_of(each))}
    meant -= {name for each in read_by.keys() - passing for name in read_by[each]}
    for topic in cluster.topics.values():
        policy = topic.configs.get("cleanup.policy", "")
        if "compact" in policy and topic.name in meant:
            yield ok(
                f"{topic.name} is compacted: of records with the same key that wait the last one "
                "is handled, and tombstones are passed on."
            )
        elif "compact" in policy and topic.name not in {names.trust, *names.compacted}:
            finding = failed if topic.name in sources else warning
            yield finding(
                f"{topic.name} is compacted (cleanup.policy={policy}).",
                why="Of events with the same key only the last one stays: the others are lost, "
                "those that are not processed yet among them.",
                advice=f"`kafka-configs.sh --alter --topic {topic.name} --add-config "
                "cleanup.policy=delete`.",
            )
        retention = seconds_of(topic.configs.get("retention.ms"))
        waited_for = sources | {names.dead_letters, names.review}
        if topic.name in waited_for and retention is not None and retention < _SHORT_RETENTION:
            setting, configured = names.retention_of(topic.name)
            yield warning(
                f"{topic.name} keeps records for {period(retention)}.",
                why="What waits for longer, because the API is away, a budget is spent, or nobody "
                "has looked yet, is deleted without having been dealt with.",
                advice=f"`kafka-configs.sh --alter --topic {topic.name} --add-config "
                "retention.ms=604800000`: longer than the longest outage and the time to catch up"
                f"{f'; and raise {setting}' if configured is not None else ''}.",
            )


def check_groups(site: Site, cluster: Cluster) -> Iterator[Finding]:
    """Finds a consumer group that something else uses."""
    ours = site.settings.kafka.client_id
    for group in cluster.groups.values():
        others = [
            member
            for member in group.members
            if not member.client_id.startswith(ours)
            or (member.topics and not member.topics <= set(cluster.topics))
        ]
        if others or group.kind not in {"", "consumer"}:
            who = ", ".join(sorted({f"{each.client_id} ({each.host})" for each in others}))
            yield failed(
                f"Group {group.name} is used by something else: {who or group.kind}.",
                why="Partitions that go to the other are not processed here, and its commits "
                "overwrite ours: events are lost or done twice.",
                advice="Set kafka.group_prefix to one that is yours alone.",
            )
        if len(frozenset().union(*(member.asks for member in group.members))) > 1:
            yield warning(
                f"Members of group {group.name} ask the models different things.",
                why="Chance decides which of them answers an event. In a rollout that is wanted.",
                advice="Finish the rollout; of two deployments, give one another "
                "kafka.group_prefix.",
            )


async def check_progress(site: Site) -> AsyncIterator[Finding]:
    """Finds a lag that retention will overtake, or has: records deleted before they were processed;
    commits of another program, or of another log; records from the future; a group that has
    committed nothing on a topic with a past, and what its first start will do.
    """
    cluster, kafka, now = await site.cluster(), site.settings.kafka, site.now()
    starts_at_end = kafka.auto_offset_reset == "latest"
    read = _sources(site.settings, cluster).items()
    for stage, name in ((stage, name) for stage, names in read for name in names):
        topic = cluster.topics.get(name)
        if topic is None:
            continue
        group = kafka.group_prefix + stage
        progress, problems = await progress_of(kafka, group, topic, now=now, future=now + _FUTURE)
        for finding in of_progress(group, name, progress, starts_at_end=starts_at_end):
            yield finding
        for finding in of_offsets(group, stage, progress):
            yield finding
        if problems:
            yield failed(
                f"How far {group} is in {name} could not be read in full: {problems[0]}",
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
            f"{topic} has deleted {lost:,} records that {group} had not processed.",
            why="Its retention is shorter than the lag was; what is deleted cannot be had back.",
            advice=f"Raise retention.ms of {topic}, look at `pipeline lag`, and have them "
            "published again.",
        )
    if any(_is_late(each) for each in progress):
        yield warning(
            f"{topic} has records that {group} has not processed and that have half of their "
            "retention behind them.",
            why="If the lag stays as it is, they are deleted before they are processed.",
            advice=f"`kafka-configs.sh --alter --topic {topic} --add-config retention.ms=...` with "
            "more, at once; then see why it lags: `pipeline lag`.",
        )
    past = sum(each.bounds.end - each.bounds.begin for each in progress if each.committed is None)
    if past:
        other = "earliest" if starts_at_end else "latest"
        yield warning(
            f"{topic} holds up to {past:,} records, and {group} has committed nothing there yet.",
            why="They are skipped at its first start: only what comes after it is read."
            if starts_at_end
            else "All of them are read at its first start, and paid for: `pipeline cost` says how "
            "much.",
            advice=f'Is that meant? kafka.auto_offset_reset = "{other}" does the other, before '
            "the first start.",
        )
    if any(each.from_the_future for each in progress):
        yield warning(
            f"{topic} has records whose timestamps are more than a minute in the future.",
            why="A publisher's clock is wrong, or the one here: ages of events and retention are "
            "wrong with it.",
            advice="Set the publishers' clocks, or message.timestamp.type=LogAppendTime on the "
            "topic.",
        )


def of_offsets(group: str, stage: str, progress: Sequence[Progress]) -> Iterator[Finding]:
    """What stands beside committed offsets and does not fit to them, or to their logs; pure."""
    foreign, translated, shorter = [], [], []
    for each in progress:
        if each.committed is None:
            continue
        try:
            point = decode(each.committed.offset, each.committed.metadata, each.cluster)
        except LedgerMoved:
            translated.append(str(each.partition))
        except LedgerUnreadable:
            foreign.append(str(each.partition))
        else:
            if point.high > each.bounds.end:
                shorter.append(str(each.partition))
    if foreign:
        yield failed(
            f"What {group} committed for {', '.join(foreign)} is not the pipeline's.",
            why="Another program commits in that group, or another version did; the partitions "
            "are not read, as nobody can know what is done.",
            advice="Set kafka.group_prefix to one that is yours alone; or stop all members and "
            f"commit the offsets again: `pipeline offsets reset {stage} --to current --execute`.",
        )
    if translated:
        yield warning(
            f"{group} has offsets for {', '.join(translated)} that were translated from another "
            "cluster, with ledgers that were not.",
            why="At its next start what was done above these offsets is done, and paid, again.",
            advice="Nothing to do; `pipeline offsets show` has the offsets.",
        )
    if shorter:
        yield warning(
            f"The log of {', '.join(shorter)} ends before what {group} has done in it.",
            why="It was created again or lost its end. At the next start all that it holds is "
            "done, and paid, again.",
            advice=f"Is that meant? `pipeline offsets reset {stage} --to TIME` starts elsewhere.",
        )


def _is_late(progress: Progress) -> bool:
    bounds, young = progress.bounds, progress.half_expired
    base = bounds.begin if progress.committed is None else progress.committed.offset
    return young is not None and max(base, bounds.begin) < min(young, bounds.end)
