"""How far each stage is behind, over time, as a table or for programs."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from pipeline.config import Settings
from pipeline.kafka.offsets import GroupLag, LagReader, PartitionLag, drain_seconds
from pipeline.kafka.topics import TopicNames
from pipeline.operators.topics import chosen

HEADINGS = ("Topic", "Partition", "End", "Committed", "Done above", "Lag", "Oldest", "Drained in")


@dataclass(frozen=True, slots=True)
class StageLag:
    """How far a stage is behind at one moment.

    Args:
        group: Its consumer group.
        members: Consumers in the group.
        lag: Events that are not processed.
        oldest_seconds: Age of the oldest of them; None where there is none, or it is not known.
        drain_seconds: Until nothing waits, if it goes on like this; None where the lag does not
            shrink, or was seen only once.
    """

    stage: str
    group: str
    at: datetime
    members: int
    lag: int
    oldest_seconds: float | None
    drain_seconds: float | None
    partitions: tuple[PartitionLag, ...]


async def lags(
    settings: Settings, stages: Sequence[str] | None, *, interval: float
) -> AsyncGenerator[list[StageLag], None]:
    """Sample the lag again and again; the first sample knows no pace yet.

    Args:
        settings: How the brokers are reached.
        stages: Which; the enabled ones if none is named.
        interval: Seconds between two samples.

    Raises:
        PipelineError: There is no such stage, or the brokers do not answer.
    """
    names = TopicNames(settings.topics)
    wanted = chosen(settings, stages)
    earlier: dict[str, GroupLag] = {}
    async with LagReader(settings.kafka) as reader:
        while True:
            found = []
            for stage in wanted:
                group = settings.kafka.group_prefix + stage
                sample = await reader.sample(group, [names.read_by(stage)])
                found.append(_stage_lag(stage, earlier.get(stage), sample))
                earlier[stage] = sample
            yield found
            await asyncio.sleep(interval)


async def show_all(
    samples: AsyncGenerator[list[StageLag], None], show: Callable[[list[StageLag]], None]
) -> None:
    """Show every sample."""
    async with aclosing(samples):
        async for sample in samples:
            show(sample)


async def show_once(
    samples: AsyncGenerator[list[StageLag], None], show: Callable[[list[StageLag]], None]
) -> None:
    """Show one sample; the second where something waits, since only two tell the pace."""
    async with aclosing(samples):
        sample = await anext(samples)
        if any(stage.lag for stage in sample):
            sample = await anext(samples)
        show(sample)


def rows(found: Sequence[StageLag]) -> Iterator[Sequence[str]]:
    """The table, under `HEADINGS`: the partitions of a stage, then their sum."""
    for stage in found:
        for each in stage.partitions:
            yield (
                each.topic,
                str(each.partition),
                str(each.end),
                "-" if each.committed is None else str(each.committed),
                str(each.done_above),
                str(each.lag),
                "" if each.oldest is None else duration((stage.at - each.oldest).total_seconds()),
                "",
            )
        yield (
            f"{stage.stage}, {stage.members} consumers",
            "",
            "",
            "",
            "",
            str(stage.lag),
            duration(stage.oldest_seconds),
            duration(stage.drain_seconds),
        )


def notes(found: Sequence[StageLag]) -> Iterator[str]:
    """What a table cannot say."""
    for stage in found:
        if stage.lag and not stage.members:
            yield f"{stage.stage}: nobody consumes; start it with `pipeline run {stage.stage}`."
        for each in stage.partitions:
            if each.fault is not None:
                yield f"{each.topic}, partition {each.partition}: {each.fault}"


def duration(seconds: float | None) -> str:
    """Seconds, minutes or hours, for a table."""
    if seconds is None:
        return "-"
    seconds = max(0.0, seconds)
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def _stage_lag(stage: str, earlier: GroupLag | None, now: GroupLag) -> StageLag:
    return StageLag(
        stage=stage,
        group=now.group,
        at=now.at,
        members=now.members,
        lag=now.lag,
        oldest_seconds=now.oldest_seconds,
        drain_seconds=None if earlier is None else drain_seconds(earlier, now),
        partitions=now.partitions,
    )
