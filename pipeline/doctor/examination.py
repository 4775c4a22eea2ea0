"""What a check is and what it looks at; all of them look at once and are reported in order."""

import asyncio
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import wraps

from pipeline.config import Settings, load_settings
from pipeline.kafka.cluster import Cluster, inspect
from pipeline.kafka.connection import check_connection
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import PipelineError, UsageError
from pipeline.operators.inspection import topic_names


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"  # it works, but not as one may expect
    FAILED = "failed"  # it does not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    about: str  # which check found it, e.g. `brokers`; the runner of the check fills it in
    verdict: Verdict
    detail: str  # what is so, in a sentence
    why: str = ""  # why that matters; empty where all is well
    advice: str = ""  # what to do: a command or a setting; empty where all is well

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(part for part in (self.detail, self.why, self.advice) if part)


def ok(detail: str) -> Finding:
    return Finding("", Verdict.OK, detail)


def warning(detail: str, *, why: str, advice: str) -> Finding:
    return Finding("", Verdict.WARNING, detail, why, advice)


def failed(detail: str, *, why: str, advice: str) -> Finding:
    return Finding("", Verdict.FAILED, detail, why, advice)


class OutOfReach(Exception):
    """What a check needs was not reached; another check says why."""


@dataclass(frozen=True, slots=True)
class Site:
    """An installation, as its checks see it."""

    settings: Settings
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    # the address of the broker that answers, or why none does
    connected: "asyncio.Task[str | PipelineError] | None" = None
    # what the cluster looks like, or why that is not known; None where no broker answers
    inspected: "asyncio.Task[Cluster | PipelineError | None] | None" = None
    now: Callable[[], float] = time.time  # seconds since the epoch

    async def cluster(self) -> Cluster:
        """What the cluster looks like; it is looked at once for all checks.

        Raises:
            OutOfReach: The brokers cannot be asked.
        """
        cluster = await self.cluster_or_error()
        if isinstance(cluster, PipelineError):
            raise OutOfReach
        return cluster

    async def cluster_or_error(self) -> "Cluster | PipelineError":
        """The same, for the one check that says why it cannot be looked at.

        Raises:
            OutOfReach: No broker answers.
        """
        # Shielded: a check that has taken too long must not take it from the others.
        seen = None if self.inspected is None else await asyncio.shield(self.inspected)
        if seen is None:
            raise OutOfReach
        return seen


Look = Callable[[Site], Iterable[Finding] | AsyncIterable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One of the things that `pipeline doctor` looks at."""

    look: Look  # `check_...`; its docstring begins with `Finds` and ends with a full stop
    fine: str = ""  # what is said where it finds nothing
    seconds: float = 30  # it may take

    @property
    def name(self) -> str:
        """What its findings are about."""
        return self.look.__name__.removeprefix("check_").replace("_", "-")

    @property
    def finds(self) -> str:
        """The mistakes it finds, for a sentence and for docs/DOCTOR.md."""
        words = " ".join((self.look.__doc__ or "").split())
        return words.removeprefix("Finds ").removesuffix(".")


def of_cluster(look: Callable[[Site, Cluster], Iterable[Finding]]) -> Look:
    """A check of what the cluster looks like; pure."""

    @wraps(look)
    async def looks(site: Site) -> AsyncIterator[Finding]:
        for finding in look(site, await site.cluster()):
            yield finding

    return looks


async def examine(
    show: Callable[[Finding], None],
    checks: Sequence[Check],
    *,
    environment: Mapping[str, str] = os.environ,
) -> list[Finding]:
    """Look at everything, as far as it can be reached.

    `show` is called with each finding as soon as it is known and its turn has come.
    """
    try:
        settings = load_settings()
    except UsageError as error:
        unreadable = failed(
            str(error),
            why="Nothing starts with settings that are wrong.",
            advice="Fix the variable (PIPELINE_SECTION__NAME) or the line of pipeline.toml; the "
            "settings are in docs/SETTINGS.md.",
        )
        found = [replace(unreadable, about="settings")]
        show(found[0])
        return found
    found = []
    async with asyncio.TaskGroup() as group:
        connected = group.create_task(_connect(settings))
        inspected = group.create_task(_inspect(settings, connected))
        site = Site(settings, environment, connected, inspected)
        looks = [group.create_task(look(check, site)) for check in checks]
        for each in looks:
            for finding in await each:
                show(finding)
                found.append(finding)
    return found


async def look(check: Check, site: Site) -> list[Finding]:
    """Have one check look; what it does not come to an end with in time is a finding, too."""
    try:
        async with asyncio.timeout(check.seconds):
            found = await findings(check.look(site))
    except OutOfReach:
        return []
    except (TimeoutError, PipelineError) as error:
        late = f"Nothing was found out within {check.seconds:g} s."
        found = [
            failed(
                late if isinstance(error, TimeoutError) else str(error),
                why=f"So it is not known whether there is {check.finds}.",
                advice="Look at the brokers and the network, and try again.",
            )
        ]
    if check.fine and not found:
        found = [ok(check.fine)]
    return [replace(finding, about=check.name) for finding in found]


async def findings(looking: Iterable[Finding] | AsyncIterable[Finding]) -> list[Finding]:
    if isinstance(looking, AsyncIterable):
        return [finding async for finding in looking]
    return list(looking)


async def _connect(settings: Settings) -> str | PipelineError:
    try:
        return await check_connection(settings.kafka)
    except PipelineError as error:
        return error


async def _inspect(
    settings: Settings, connected: "asyncio.Task[str | PipelineError]"
) -> Cluster | PipelineError | None:
    if isinstance(await connected, PipelineError):
        return None
    names = TopicNames.under(settings)
    groups = [settings.kafka.group_prefix + stage for stage in settings.enabled]
    try:
        named = topic_names(settings, None)
        matched = [names.read_by(stage) for stage in settings.enabled]
        return await inspect(settings.kafka, named, groups, matched)
    except PipelineError as error:
        return error
