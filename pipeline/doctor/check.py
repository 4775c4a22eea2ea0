"""What a check is, and what it looks at.

What a check found.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.config import Settings
from pipeline.kafka.cluster import Cluster
from pipeline.model.errors import PipelineError


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        about: Which check found it, e.g. `brokers`.
        verdict: How bad it is.
        detail: What is so, in a sentence.
        why: Why that matters; empty where all is well.
        advice: What to do: a command or a setting; empty where all is well.
    """

    about: str
    verdict: Verdict
    detail: str
    why: str = ""
    advice: str = ""

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(part for part in (self.detail, self.why, self.advice) if part)


def ok(about: str, detail: str) -> Finding:
    """All is well."""
    return Finding(about, Verdict.OK, detail)


def warning(about: str, detail: str, *, why: str, advice: str) -> Finding:
    """It works, but not as somebody may expect."""
    return Finding(about, Verdict.WARNING, detail, why, advice)


def failed(about: str, detail: str, *, why: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(about, Verdict.FAILED, detail, why, advice)


class OutOfReach(Exception):
    """What a check needs was not reached; another check says why."""


@dataclass(frozen=True, slots=True)
class Site:
    """An installation, as its checks see it.

    Args:
        settings: The whole tree.
        environment: Variables of this process.
        connected: The address of the broker that answers, or why none does.
        inspected: What the cluster looks like, or why that is not known; None where no broker
            answers.
        now: Seconds since the epoch.
    """

    settings: Settings
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    connected: "asyncio.Task[str | PipelineError] | None" = None
    inspected: "asyncio.Task[Cluster | PipelineError | None] | None" = None
    now: Callable[[], float] = time.time

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
        """The same; for the one check that tells why it cannot be looked at.

        Raises:
            OutOfReach: No broker answers.
        """
        # Shielded: a check that has taken too long must not take it from the others.
        seen = None if self.inspected is None else await asyncio.shield(self.inspected)
        if seen is None:
            raise OutOfReach
        return seen


Look = Callable[[Site], Awaitable[Iterable[Finding]]]


@dataclass(frozen=True, slots=True)
class Check:
    """One of the things that `pipeline doctor` looks at.

    Args:
        name: What its findings are about.
        finds: The mistakes it finds, for the documentation.
        look: Looks.
        seconds: It may take.
    """

    name: str
    finds: str
    look: Look
    seconds: float = 30


def local(look: Callable[[Site], Iterable[Finding]]) -> Look:
    """A check that asks nobody."""

    async def looks(site: Site) -> Iterable[Finding]:
        return list(look(site))

    return looks


def of_cluster(look: Callable[[Site, Cluster], Iterable[Finding]]) -> Look:
    """A check of what the cluster looks like; pure."""

    async def looks(site: Site) -> Iterable[Finding]:
        return list(look(site, await site.cluster()))

    return looks
