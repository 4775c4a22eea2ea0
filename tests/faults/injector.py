"""Does what a plan says, and writes down what was done."""

import asyncio
import time
from collections.abc import Callable, Sequence

from tests.faults.api import Api
from tests.faults.cluster import Cluster
from tests.faults.exposure import Fault, Kind
from tests.faults.plan import Planned
from tests.faults.replicas import Replica
from tests.faults.world import HEARTBEAT_INTERVAL

_NOTICED_WITHIN = 2 * HEARTBEAT_INTERVAL
"""Seconds after it woke in which a frozen replica must have learned what happened: from its next
heartbeat, or earlier from its next commit. Half of it is for slow machines."""

_JOINED_WITHIN = 20.0
_OUTAGES = ("outage", "gone")


class Injector:
    """Faults for replicas, brokers and the API.

    Args:
        replicas: All of them, running.
        cluster: The brokers.
        api: The simulated API.
        report: Takes a sentence about each fault.
    """

    def __init__(
        self, replicas: Sequence[Replica], cluster: Cluster, api: Api, report: Callable[[str], None]
    ) -> None:
        self._replicas = replicas
        self._cluster = cluster
        self._api = api
        self._report = report
        self.done: list[Fault] = []

    async def run(self, lanes: Sequence[Sequence[Planned]]) -> None:
        """Do all of it; lanes run at once, the faults of a lane one after the other."""
        start = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                group.create_task(self._follow(lane, start))

    async def _follow(self, lane: Sequence[Planned], start: float) -> None:
        now = asyncio.get_running_loop().time
        for planned in lane:
            await asyncio.sleep(start + planned.at - now())
            self._report(f"{now() - start:6.1f} s  {planned.kind} ({planned.target})")
            await self._do(planned)

    async def _do(self, planned: Planned) -> None:
        match planned.kind:
            case Kind.KILL | Kind.TERM | Kind.STOP:
                await self._fault_process(self._replicas[planned.target], planned)
            case Kind.OUTAGE:
                await self._cut(planned)
            case _:
                await self._end_broker(planned)

    async def _fault_process(self, replica: Replica, planned: Planned) -> None:
        # What has not joined yet has nothing in flight that could be lost.
        await replica.joined(_JOINED_WITHIN)
        woke = noticed = None
        caller = replica.caller
        if planned.kind is Kind.STOP:
            at = replica.freeze()
            await asyncio.sleep(planned.down)
            woke = replica.thaw()
            noticed = woke + _NOTICED_WITHIN
        else:
            kill = planned.kind is Kind.KILL
            at = await (replica.kill() if kill else replica.terminate())
            await asyncio.sleep(planned.down)
            replica.start()
        self.done.append(Fault(planned.kind, replica.name, caller, at, woke, noticed))

    async def _cut(self, planned: Planned) -> None:
        """Refuse all calls, or cut their connections, in turns."""
        earlier = sum(fault.kind is Kind.OUTAGE for fault in self.done)
        self.done.append(Fault(Kind.OUTAGE, "the API", None, time.time()))
        await self._api.fail(f"{_OUTAGES[earlier % len(_OUTAGES)]}:0:{planned.down:g}")
        await asyncio.sleep(planned.down)

    async def _end_broker(self, planned: Planned) -> None:
        """End a node; once it is back and in sync, give it its leaderships again."""
        cleanly = planned.kind is Kind.BROKER_STOP
        began = time.time()
        at = await self._cluster.end(planned.target, cleanly=cleanly, down=planned.down)
        await self._cluster.heal()
        node = f"node {planned.target + 1}"
        whole = time.time()
        self.done.append(Fault(planned.kind, node, None, at, away=(began, whole)))
        if self._cluster.size > 1:
            await self._cluster.move_leaders()
            moved = time.time()
            self.done.append(Fault(Kind.LEADERS, node, None, moved, away=(whole, moved)))
