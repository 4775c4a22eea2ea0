"""What Kubernetes would do to a replica: kill it for its memory, or for a liveness probe.

The limits are those of deploy/kubernetes. A replica here runs all stages in one process, so it
gets what the group with the most memory gets.
"""

import asyncio
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml  # type: ignore[import-untyped]  # its stubs are no dependency of this project

from tests.faults.replicas import Replica

_MANIFESTS = Path(__file__).parents[2] / "deploy" / "kubernetes"
_UNITS = {"Mi": 1 << 20, "Gi": 1 << 30}
_LOOK = 0.2
"""Seconds between two looks at the memory; a cgroup would see a shorter peak, too."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may do before it is killed.

    Args:
        memory: Bytes, of the process and its children together.
        probe_period: Seconds between two liveness probes.
        probe_timeout: Seconds an answer may take.
        probe_failures: In a row that end it.
    """

    memory: int
    probe_period: float
    probe_timeout: float
    probe_failures: int

    @classmethod
    def of_manifests(cls, group: str = "files") -> Self:
        """The limits that a group of deploy/kubernetes has."""
        manifest = yaml.safe_load((_MANIFESTS / "group" / "stateful-set.yaml").read_text())
        container = manifest["spec"]["template"]["spec"]["containers"][0]
        probe = container["livenessProbe"]
        memory = container["resources"]["limits"]["memory"]
        for operation in _patches(_MANIFESTS / "base" / group / "kustomization.yaml"):
            if operation["path"].endswith("/resources/limits/memory"):
                memory = operation["value"]
        return cls(
            memory=int(memory[:-2]) * _UNITS[memory[-2:]],
            probe_period=float(probe["periodSeconds"]),
            probe_timeout=float(probe["timeoutSeconds"]),
            probe_failures=int(probe["failureThreshold"]),
        )


class Kubelet:
    """Holds replicas to their limits.

    Args:
        replicas: Whom.
        limits: To what.
    """

    def __init__(self, replicas: Sequence[Replica], limits: Limits) -> None:
        self._replicas = replicas
        self.limits = limits
        self.kills: list[str] = []
        self.peak = 0

    async def watch(self) -> None:
        """Kill each replica that breaks a limit, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for replica in self._replicas:
                group.create_task(self._watch_memory(replica))
                group.create_task(self._probe(replica))

    async def _watch_memory(self, replica: Replica) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            pid = replica.pid
            if pid is None:
                continue
            used = await asyncio.to_thread(memory_of, pid)
            self.peak = max(self.peak, used)
            if used > self.limits.memory and replica.pid == pid:
                await self._kill(replica, f"{used >> 20} MiB")

    async def _probe(self, replica: Replica) -> None:
        failures = 0
        while True:
            await asyncio.sleep(self.limits.probe_period)
            pid, url = replica.pid, replica.dashboard
            if pid is None or url is None or replica.is_frozen:
                failures = 0
                continue
            is_alive = await asyncio.to_thread(self._answers, f"{url}/healthz")
            failures = 0 if is_alive or replica.pid != pid or replica.is_frozen else failures + 1
            if failures >= self.limits.probe_failures:
                failures = 0
                await self._kill(replica, "no answer to its liveness probes")

    def _answers(self, url: str) -> bool:
        try:
            with urllib.request.urlopen(url, timeout=self.limits.probe_timeout):
                return True
        except OSError:
            return False

    async def _kill(self, replica: Replica, why: str) -> None:
        self.kills.append(f"{replica.name} was killed: {why}")
        await replica.kill()
        replica.start()


def memory_of(pid: int) -> int:
    """Bytes that a process and its descendants hold, what they share counted once."""
    return sum(_proportional(each) for each in (pid, *_descendants(pid)))


def _descendants(pid: int) -> Iterator[int]:
    try:
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return
    for child in children:
        yield child
        yield from _descendants(child)


def _proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    sizes = dict(line.split(":") for line in lines[1:] if ":" in line)
    return int(sizes["Pss"].split()[0]) << 10 if "Pss" in sizes else 0


def _patches(kustomization: Path) -> list[Mapping[str, Any]]:
    patches = yaml.safe_load(kustomization.read_text())["patches"]
    return [
        operation
        for patch in patches
        if patch["target"]["kind"] == "StatefulSet"
        for operation in yaml.safe_load(patch["patch"])
    ]
