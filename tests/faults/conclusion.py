"""From what a run left behind to what it came to."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

import orjson

from tests.faults.audit import Move, audit
from tests.faults.evidence import collect
from tests.faults.exposure import Fault, exposures, repetitions
from tests.faults.report import Result
from tests.faults.world import World


async def conclude(
    scenario: str,
    world: World,
    faults: Sequence[Fault],
    *,
    drained: bool,
    setting: dict[str, object],
    complaints: Sequence[str] = (),
    notes: dict[str, object] | None = None,
    moves: Sequence[Move] = (),
) -> Result:
    """Read what is on the topics and in the API's ledger, and judge it."""
    evidence = await asyncio.to_thread(collect, world.servers, world.topics, moves)
    found = evidence.records
    findings = audit(found.published, found.escalated, found.ended, moves)
    # What was published twice may be asked twice; calls without an event are about hostile records.
    calls = [
        call
        for call in await world.api.paid()
        if call.question.event and call.question.event not in findings.published_twice
    ]
    exposed = exposures(faults, calls, found.written)
    timeline = {
        "faults": [asdict(fault) for fault in faults],
        "calls": [asdict(call) for call in calls],
        "written": [[*what, when] for what, when in found.written.items()],
    }
    (world.directory / "timeline.json").write_bytes(orjson.dumps(timeline))
    return Result(
        scenario=scenario,
        setting=setting,
        findings=findings,
        calls=repetitions(calls, exposed, found.decided),
        exposures=exposed,
        aborted=evidence.aborted,
        drained=drained,
        delivery=sorted({mode for replica in world.replicas for mode in replica.deliveries}),
        unasked=[end for replica in world.replicas for end in replica.unasked],
        late_ends=sum(replica.late_ends for replica in world.replicas),
        open_transactions=evidence.open_transactions,
        harm=evidence.harm,
        complaints=[*complaints, *world.poisoner.refused],
        notes=notes or {},
    )
