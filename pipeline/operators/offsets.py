"""Where a stage's group is, and moving it on purpose: what that repeats, skips and costs.

All numbers are of offsets, so the markers of transactions count, too: an upper bound for events.
A group is moved while it has no members. What is known as done travels with the offset, as the
ledger in its metadata, wherever that still says something.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from pipeline.claude.billing import PriceTable
from pipeline.claude.workloads import Models, Workload, cost_table
from pipeline.config import Settings
from pipeline.kafka.topics import ESCALATIONS, Subscription, TopicNames
from pipeline.model.errors import PipelineError, UsageError
from pipeline.operators.inspection import chosen
from pipeline.operators.selection import moment
from pipeline.stream.ledger import CommitPoint, LedgerUnreadable, decode, encode
from pipeline.stream.protocols import Committed, LogBounds, TopicPartition


class Group(Protocol):
    """A consumer group from outside; `KafkaGroup` and, in memory, `MemoryGroup`."""

    @property
    def cluster(self) -> str: ...
    async def members(self) -> int: ...
    async def partitions(self, read: Subscription) -> Sequence[TopicPartition]: ...
    async def committed(
        self, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Committed | None]: ...
    async def bounds(self, partition: TopicPartition) -> LogBounds: ...
    async def offset_since(self, partition: TopicPartition, moment: float) -> int | None: ...
    async def fence(self, partitions: Sequence[TopicPartition]) -> None: ...
    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None: ...


USUAL = Workload(
    events=0,
    input_tokens=2_000,
    static_tokens=1_800,
    output_tokens=150,
    cached=True,
    escalated=Decimal("0.1"),
)
"""What `pipeline cost` takes an event for where nothing else is said."""
WORDS = ("earliest", "latest", "current")
OpenGroup = Callable[[str], AbstractAsyncContextManager[Group]]
SHOWN = (
    *("Topic", "Partition", "Begin", "End"),
    *("Committed", "Done above", "Unfinished", "Lag"),
)
MOVED = ("Topic", "Partition", "Committed", "Becomes", "Done above", "Done again", "Skipped")


@dataclass(frozen=True, slots=True)
class PartitionOffsets:
    """What a group committed in a partition whose log reaches from `begin` to before `end`.

    `metadata` is the ledger as it is committed; `unfinished` how many records it knows as not
    done; `fault` why it is not to be trusted. Where it cannot be read nothing above the committed
    offset counts as done.
    """

    topic: str
    partition: int
    begin: int
    end: int
    committed: int | None
    metadata: str
    done_above: int
    unfinished: int
    lag: int
    fault: str | None


@dataclass(frozen=True, slots=True)
class GroupOffsets:
    """A group at one moment; `pipeline offsets import` reads what `show --json` prints of it."""

    stage: str
    group: str
    at: datetime
    members: int
    partitions: tuple[PartitionOffsets, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """What becomes of a partition: what is done again of what was done, and skipped of the rest."""

    topic: str
    partition: int
    committed: int | None
    becomes: int
    metadata: str
    done_above: int
    again: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A move of a group; `usd` is what doing the `again` records costs, None if a price is unknown.

    `executed` is whether it was done.
    """

    stage: str
    group: str
    members: int
    again: int
    skipped: int
    usd: Decimal | None
    moves: tuple[Move, ...]
    notes: tuple[str, ...]
    executed: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """A partition as it is; `point` is where the group would start, `fault` as above."""

    partition: TopicPartition
    bounds: LogBounds
    committed: Committed | None
    point: CommitPoint
    fault: str | None = None


async def show(
    settings: Settings, stages: Sequence[str] | None, open_group: OpenGroup
) -> AsyncGenerator[GroupOffsets, None]:
    """One after the other; `UsageError` if there is no such stage."""
    for stage in chosen(settings, stages):
        name, read = _group_and_topics(settings, stage)
        async with open_group(name) as group:
            members = await group.members()
            seen = await _look(settings, group, await group.partitions(read))
        yield GroupOffsets(
            stage, name, datetime.now(UTC), members, tuple(_shown(each) for each in seen)
        )


def shown_rows(found: GroupOffsets) -> list[Sequence[str]]:
    """The table, under `SHOWN`."""
    return [
        (
            *(each.topic, str(each.partition), str(each.begin), str(each.end)),
            "-" if each.committed is None else str(each.committed),
            *(str(each.done_above), str(each.unfinished), str(each.lag)),
        )
        for each in found.partitions
    ]


def moved_rows(plan: Plan) -> list[Sequence[str]]:
    """The table, under `MOVED`."""
    return [
        (
            *(each.topic, str(each.partition)),
            "-" if each.committed is None else str(each.committed),
            *(str(each.becomes), str(each.done_above), str(each.again), str(each.skipped)),
        )
        for each in plan.moves
    ]


def summary(plan: Plan) -> str:
    """What was done, or would be, in a sentence."""
    usd = "at a price that is not known" if plan.usd is None else f"for some ${plan.usd:,.2f}"
    again = f"{plan.again:,} records are done again, {usd}" if plan.again else "none is done again"
    skipped = f"{plan.skipped:,} are skipped" if plan.skipped else "none is skipped"
    if plan.executed:
        return f"{plan.group} was moved: {again}, and {skipped}."
    return f"Nothing was moved. With --execute {again}, and {skipped}."


async def reset(
    settings: Settings,
    stage: str,
    to: str,
    open_group: OpenGroup,
    *,
    now: datetime,
    partitions: Sequence[int] = (),
    topics: Sequence[str] = (),
    keep_done: bool = False,
    execute: bool = False,
) -> Plan:
    """Move a stage's group to `earliest`, `latest`, `current`, an offset or a time.

    Of all topics and partitions that it reads, or of those that are named alone.

    What is done above the committed offset is done again where it lies above the new one, unless
    it is to be kept.

    Raises:
        UsageError: There is no such stage, topic, partition, or time.
        PipelineError: The group has members, or what is to be kept does not fit into the metadata.
    """
    chosen(settings, [stage])
    where = _target(to, now)
    name, read = _group_and_topics(settings, stage)
    async with open_group(name) as group:
        wanted = _wanted(await group.partitions(read), partitions, topics)
        members = await group.members()
        if execute:
            await _seize(group, name, wanted)
        moves = []
        seen = await _look(settings, group, wanted)
        for each in seen:
            target = await _offset_of(group, each, where)
            point = moved(each, target, keep_done=keep_done)
            moves.append(_moved(each, each.point, point, group.cluster))
        plan = _plan(settings, stage, members=members, moves=moves, notes=_faults(seen))
        return await _execute(plan, group) if execute else plan


async def import_from(
    settings: Settings,
    stage: str,
    source: str | Path,
    open_group: OpenGroup,
    *,
    execute: bool = False,
) -> Plan:
    """Take the offsets and ledgers of another group for a stage, or of a file of `show --json`.

    Partitions that the source says nothing of are left as they are.

    Raises:
        UsageError: There is no such stage; the file has nothing of it.
        PipelineError: Either group has members; the source is not of these logs.
    """
    chosen(settings, [stage])
    name, read = _group_and_topics(settings, stage)
    if source == name:
        raise UsageError(f"{name} is the group of {stage} itself: name the one it takes over.")
    async with open_group(name) as group:
        partitions = await group.partitions(read)
        members = await group.members()
        if execute:
            await _seize(group, name, partitions)
        if isinstance(source, Path):
            given = _read(source, stage, read)
        else:
            async with open_group(source) as other:
                if execute:
                    await _seize(other, source, partitions)
                found = await other.committed(partitions)
            given = {each: committed for each, committed in found.items() if committed is not None}
        if not given:
            raise PipelineError(f"{source} has committed nothing for {read}: name another.")
        moves, notes = [], []
        for each in await _look(settings, group, [p for p in partitions if p in given]):
            committed = given[each.partition]
            point, fault = _read_point(committed, group.cluster)
            if point.high > each.bounds.end:
                raise PipelineError(
                    f"{each.partition} ends at {each.bounds.end}, and {source} has seen it up to "
                    f"{point.high}: these offsets are of another log."
                )
            if fault is not None:
                notes.append(f"{each.partition}: {fault} It is taken without its ledger.")
            old = point if each.committed is None else each.point
            moves.append(_moved(each, old, point, group.cluster))
        left = [p for p in partitions if p not in given]
        if left:
            notes.append(f"{source} has nothing of {', '.join(map(str, left))}: left as it is.")
        plan = _plan(settings, stage, members=members, moves=moves, notes=notes)
        return await _execute(plan, group) if execute else plan


def moved(seen: Seen, target: int, *, keep_done: bool) -> CommitPoint:
    """Where a group starts that is moved to `target`, which is put within the log. Pure.

    Raises:
        PipelineError: What is to be kept does not fit into the metadata.
    """
    start, bounds = seen.point, seen.bounds
    target = min(max(target, bounds.begin), bounds.end)
    if keep_done and start.parked and target < start.high:
        raise PipelineError(
            f"{seen.partition}: events of {len(start.parked)} tenants are left for later below "
            f"{start.high}, and cannot be told from those that are done. Move it without "
            "--keep-done."
        )
    if not keep_done or target >= start.high or not start.unfinished:
        return CommitPoint(target, target)
    unfinished = tuple(range(target, start.base)) if target < start.base else ()
    unfinished += tuple(offset for offset in start.unfinished if offset >= target)
    if not unfinished:
        return CommitPoint(start.high, start.high)
    point = CommitPoint(unfinished[0], start.high, unfinished)
    try:
        encode(point)
    except ValueError:
        raise PipelineError(
            f"{seen.partition}: from {target} on there are {len(unfinished):,} records to do below "
            f"the {start.done_above:,} that are done above {start.base}: no commit can say that. "
            "Go back less far, or without --keep-done."
        ) from None
    return point


def opened(new: CommitPoint, old: CommitPoint, bounds: LogBounds) -> int:
    """How many offsets of the log are done by the `old` point and not by the `new` one. Pure."""
    begin, end = bounds.begin, bounds.end
    open_before = set(old.unfinished)
    held_back = sum(
        begin <= offset < min(end, old.high) and offset not in open_before
        for offset in new.unfinished
    )
    tail = max(begin, new.high)
    last = min(end, old.high)
    held_back += _parked(new, begin, last, but=old)
    done = max(0, last - tail) - sum(tail <= each < last for each in open_before)
    return held_back + max(0, done - _parked(old, tail, last))


def _parked(point: CommitPoint, begin: int, end: int, but: CommitPoint | None = None) -> int:
    """How many records of tenants are left for later there, at most, that `but` does not leave."""
    known = {each.who for each in but.parked} if but is not None else set()
    return sum(
        min(each.count, max(0, min(end, point.high) - max(begin, each.offset)))
        for each in point.parked
        if each.who not in known
    )


def price(settings: Settings, stage: str, events: int) -> Decimal | None:
    """What so many events cost in US dollars, by what `pipeline cost` takes an event for."""
    sections = settings.stages.by_name()
    shared = sections[stage].events_per_request if stage in sections else 1
    workload = replace(USUAL, events=events, events_per_request=shared, seconds=0)
    models = Models.of(settings.models)
    rows = cost_table(workload, PriceTable(settings.claude.prices), models)
    way = "sonnet" if stage == ESCALATIONS else "cascade"
    return next(row.usd_per_month for row in rows if row.way == way)


def _group_and_topics(settings: Settings, stage: str) -> tuple[str, Subscription]:
    return settings.kafka.group_prefix + stage, TopicNames.under(settings).read_by(stage)


def _wanted(
    partitions: Sequence[TopicPartition], numbers: Sequence[int], topics: Sequence[str]
) -> Sequence[TopicPartition]:
    there_are = dict.fromkeys(each.topic for each in partitions)
    if unknown := [topic for topic in topics if topic not in there_are]:
        raise UsageError(f"It does not read {unknown[0]}; it reads {', '.join(there_are)}.")
    found = [each for each in partitions if not topics or each.topic in topics]
    known = {each.partition for each in found}
    if unknown_numbers := [number for number in numbers if number not in known]:
        raise UsageError(
            f"There is no partition {unknown_numbers[0]}; there are {len(known)}, from 0."
        )
    places = {number: place for place, number in enumerate(dict.fromkeys(numbers))}
    if not places:
        return found
    wanted = [each for each in found if each.partition in places]
    return sorted(wanted, key=lambda each: places[each.partition])


async def _seize(group: Group, name: str, partitions: Sequence[TopicPartition]) -> None:
    members = await group.members()
    if members:
        raise PipelineError(
            f"Group {name} has {members} members: stop them first. One that crashed counts until "
            "its session is over (kafka.session_timeout)."
        )
    await group.fence(partitions)


async def _look(
    settings: Settings, group: Group, partitions: Sequence[TopicPartition]
) -> list[Seen]:
    committed = await group.committed(partitions)
    found = []
    for each in partitions:
        bounds, known = await group.bounds(each), committed[each]
        if known is None:
            at_end = settings.kafka.auto_offset_reset == "latest"
            start = bounds.end if at_end else bounds.begin
            found.append(Seen(each, bounds, None, CommitPoint(start, start)))
        else:
            point, fault = _read_point(known, group.cluster)
            if point.high > bounds.end:
                fault = (
                    f"The log ends at {bounds.end}, and all below {point.high} was seen: it was "
                    "created again or lost its end. What came since counts as done here and is not."
                )
            found.append(Seen(each, bounds, known, point, fault))
    return found


def _read_point(committed: Committed, cluster: str) -> tuple[CommitPoint, str | None]:
    try:
        return decode(committed.offset, committed.metadata, cluster), None
    except LedgerUnreadable as error:
        return CommitPoint(committed.offset, committed.offset), str(error)


def _shown(seen: Seen) -> PartitionOffsets:
    bounds, committed, point = seen.bounds, seen.committed, seen.point
    return PartitionOffsets(
        *(*seen.partition, bounds.begin, bounds.end),
        committed=None if committed is None else committed.offset,
        metadata="" if committed is None else committed.metadata,
        done_above=point.done_above,
        unfinished=len(point.unfinished),
        lag=point.lag(bounds.end, begin=bounds.begin),
        fault=seen.fault,
    )


async def _offset_of(group: Group, seen: Seen, to: str | int | datetime) -> int:
    match to:
        case "earliest":
            return seen.bounds.begin
        case "latest":
            return seen.bounds.end
        case "current":
            return seen.point.base
        case int():
            return to
        case datetime():
            since = await group.offset_since(seen.partition, to.timestamp())
            return seen.bounds.end if since is None else since
    raise AssertionError(to)


def _target(to: str, now: datetime) -> str | int | datetime:
    if to in WORDS:
        return to
    return int(to) if to.isascii() and to.isdecimal() else moment(to, now)


def _moved(seen: Seen, old: CommitPoint, new: CommitPoint, cluster: str) -> Move:
    return Move(
        *seen.partition,
        committed=None if seen.committed is None else seen.committed.offset,
        becomes=new.base,
        metadata=encode(new, cluster),
        done_above=new.done_above,
        again=opened(new, old, seen.bounds),
        skipped=opened(old, new, seen.bounds),
    )


def _plan(
    settings: Settings,
    stage: str,
    *,
    members: int,
    moves: Sequence[Move],
    notes: Sequence[str],
) -> Plan:
    again = sum(move.again for move in moves)
    return Plan(
        *(stage, settings.kafka.group_prefix + stage, members, again),
        skipped=sum(move.skipped for move in moves),
        usd=price(settings, stage, again),
        moves=tuple(moves),
        notes=tuple(notes),
    )


def _faults(seen: Sequence[Seen]) -> list[str]:
    return [f"{each.partition}: {each.fault}" for each in seen if each.fault is not None]


async def _execute(plan: Plan, group: Group) -> Plan:
    await group.commit(
        {
            TopicPartition(move.topic, move.partition): Committed(move.becomes, move.metadata)
            for move in plan.moves
        }
    )
    return replace(plan, executed=True)


_FILE = TypeAdapter(list[GroupOffsets])


def _read(file: Path, stage: str, read: Subscription) -> dict[TopicPartition, Committed]:
    """What the file has of the stage; `UsageError` where it is not what `show --json` prints."""
    try:
        found = _FILE.validate_json(file.read_bytes())
    except (OSError, ValidationError):
        raise UsageError(
            f"{file} is not what `pipeline offsets show --json` prints: name another, or a group."
        ) from None
    return {
        TopicPartition(each.topic, each.partition): Committed(each.committed, each.metadata)
        for group in found
        if group.stage == stage
        for each in group.partitions
        if read.takes(each.topic) and each.committed is not None
    }
