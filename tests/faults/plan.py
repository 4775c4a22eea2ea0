"""Which faults happen when, and to whom: drawn from a seed. Pure."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tests.faults.exposure import PROCESS_KINDS, Kind

_WARM_UP = 8.0
"""Seconds before the first fault."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault to come.

    Args:
        at: Seconds after the start of the run.
        kind: What.
        target: Number of the replica or node; 0 where there is only one.
        down: Seconds between the fault and its end: a restart, a SIGCONT, the API's return.
    """

    at: float
    kind: Kind
    target: int
    down: float


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """What a run shall have.

    Args:
        seconds: How long faults go on.
        replicas: Processes of the pipeline.
        nodes: Brokers.
        kills: Of each kind a process can end, or be frozen.
        broker_kills: Ends of brokers, half of them clean.
        outages: Of the API.
        outage_seconds: Of each.
        freeze_seconds: After which a frozen process surely counts as dead.
        together: Moments at which everything happens at once.
    """

    seconds: float
    replicas: int
    nodes: int
    kills: int
    broker_kills: int
    outages: int
    outage_seconds: float
    freeze_seconds: float
    together: int = 1


def make_plan(spec: PlanSpec, seed: int) -> list[list[Planned]]:
    """Draw a plan: a lane for each replica, one for all brokers, one for the API.

    What is in one lane happens one after the other; lanes overlap as they like.
    """
    draw = random.Random(seed)
    moments = [spec.seconds * (n + 0.5) / spec.together for n in range(spec.together)]
    kinds = [kind for kind in PROCESS_KINDS for _ in range(spec.kills)]
    draw.shuffle(kinds)
    lanes = []
    for replica in range(spec.replicas):
        own = kinds[replica :: spec.replicas]
        lanes.append([_of_process(spec, kind, replica, draw) for kind in own])
    brokers = [Kind.BROKER_KILL, Kind.BROKER_STOP] * ((spec.broker_kills + 1) // 2)
    nodes = _each_in_turn(spec.nodes, draw)
    lanes.append(
        [
            Planned(0.0, kind, next(nodes), draw.uniform(0.5, 3.0))
            for kind in brokers[: spec.broker_kills]
        ]
    )
    lanes.append([Planned(0.0, Kind.OUTAGE, 0, spec.outage_seconds) for _ in range(spec.outages)])
    return [_spread(lane, spec.seconds, moments, draw) for lane in lanes]


def _of_process(spec: PlanSpec, kind: Kind, replica: int, draw: random.Random) -> Planned:
    down = {
        # Before the group has noticed the end, and after.
        Kind.KILL: draw.uniform(0.2, spec.freeze_seconds),
        Kind.TERM: draw.uniform(0.2, 2.0),
        Kind.STOP: spec.freeze_seconds + draw.uniform(0.0, 2.0),
    }
    return Planned(0.0, kind, replica, down[kind])


def _each_in_turn(count: int, draw: random.Random) -> Iterator[int]:
    while True:
        yield from draw.sample(range(count), count)


def _spread(
    lane: Sequence[Planned], seconds: float, moments: Sequence[float], draw: random.Random
) -> list[Planned]:
    """Give each fault of a lane its time: in a slot of its own, or at a common moment."""
    if not lane:
        return []
    slot = (seconds - _WARM_UP) / len(lane)
    at = [_WARM_UP + slot * (n + draw.uniform(0.0, 0.5)) for n in range(len(lane))]
    for moment in moments:
        nearest = min(range(len(lane)), key=lambda n: abs(at[n] - moment))
        at[nearest] = moment
    return [replace(fault, at=when) for fault, when in zip(lane, sorted(at), strict=True)]
